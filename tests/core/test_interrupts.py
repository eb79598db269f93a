"""Interrupts that are held back."""

import os
import signal
import threading
from pathlib import Path

import pytest

from proxymask.core import lock
from proxymask.core.interrupts import interrupts_held_back


def test_an_interrupt_comes_after_the_body() -> None:
    done: list[int] = []

    def run() -> None:
        with interrupts_held_back():
            os.kill(os.getpid(), signal.SIGINT)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_comes_where_nothing_came() -> None:
    with interrupts_held_back():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_body_is_kept_where_nothing_came() -> None:
    with pytest.raises(ValueError, match="of the body"), interrupts_held_back():
        raise ValueError("of the body")


def test_another_thread_changes_no_handler() -> None:
    seen: list[object] = []

    def run() -> None:
        with interrupts_held_back():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


@pytest.mark.parametrize("moment", ["unlink", "rmdir", "join", "link"])
def test_an_interrupt_leaves_no_lock(moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Just before the file of the lock is made or removed, its folder is removed, or its thread has ended."""
    place, name = (os, "link") if moment == "link" else (threading.Thread, "join") if moment == "join" else (Path, moment)
    real = getattr(place, name)

    def interrupted(*args: object, **kwargs: object) -> object:
        monkeypatch.setattr(place, name, real)
        os.kill(os.getpid(), signal.SIGINT)
        return real(*args, **kwargs)

    def run() -> None:
        with lock.folder_lock(folder):
            pass

    folder = tmp_path / "run"
    monkeypatch.setattr(place, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not folder.exists()
    with lock.folder_lock(folder):
        assert (folder / lock.LOCK).is_file()
