"""Parts of an evaluation beside each other: on a CPU, one thread each does more than all threads on one part in turn."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from typing import Any

import torch

AT_ONCE = 4  # parts at most: each holds a batch of pictures and their features


class Beside:
    """Runs parts that do not need each other.

    Args:
        device: where they compute. Off the CPU they run in turn.
    """

    def __init__(self, device: torch.device) -> None:
        self.threads = torch.get_num_threads()
        self.workers = min(self.threads, AT_ONCE) if device.type == "cpu" else 1
        self.stopped = threading.Event()

    def check(self) -> None:
        """To be called by parts now and then: ends them early where another one failed or the user stopped.

        Raises:
            CancelledError: it was stopped.
        """
        if self.stopped.is_set():
            raise CancelledError

    def run(self, parts: Sequence[Callable[[], Any]]) -> list[Any]:
        """What the parts return, in their order.

        Raises:
            Exception: the first one that a part raised; the others are stopped and nothing more is begun.
        """
        if self.workers == 1:
            return [part() for part in parts]
        pool = ThreadPoolExecutor(self.workers, "evaluate", torch.set_num_threads, (self.threads // self.workers,))
        try:
            futures = [pool.submit(part) for part in parts]
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
            return [future.result() for future in futures]
        finally:
            self.stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(self.threads)  # what the workers set is also the start of threads to come
