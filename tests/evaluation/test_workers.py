"""Functions on several threads: in order, one thread each, and stopped together."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest
import torch

from proxymask.evaluation.workers import Workers


@pytest.fixture(autouse=True)
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


def test_order_and_threads() -> None:
    both = threading.Barrier(2, timeout=30)

    def part(number: int) -> tuple[int, int]:
        both.wait()  # passes only where two run at once
        return number, torch.get_num_threads()

    workers = Workers(torch.device("cpu"))
    assert workers.run([lambda n=n: part(n) for n in range(6)]) == [(n, 1) for n in range(6)]
    assert torch.get_num_threads() == 2


def test_off_the_cpu_in_turn() -> None:
    workers = Workers(torch.device("meta"))
    assert set(workers.run([threading.current_thread for _ in range(3)])) == {threading.current_thread()}


def test_an_error_stops_the_others() -> None:
    ended: list[str] = []
    begun = threading.Event()
    workers = Workers(torch.device("cpu"))

    def endless() -> None:
        begun.set()
        try:
            while True:
                workers.check()
                time.sleep(0.01)
        except CancelledError:
            ended.append("endless")
            raise

    def wrong() -> None:
        begun.wait(30)
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        workers.run([endless, wrong, lambda: ended.append("later")])
    assert ended == ["endless"]
    assert torch.get_num_threads() == 2
