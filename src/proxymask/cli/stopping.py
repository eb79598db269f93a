"""SIGTERM as an interrupt, as Ctrl-C is one."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """While the body runs, SIGTERM raises ``KeyboardInterrupt("SIGTERM")``, so that temporary files are removed and the user is told.

    Not with torchrun, which ends processes that wait for another one by this signal, nor where the caller handles the signal itself, nor in
    another thread than the main one.
    """
    try:
        ours = int(os.environ.get("WORLD_SIZE", "1")) == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        if ours:
            signal.signal(signal.SIGTERM, _interrupt)
    except ValueError:  # not the main thread
        ours = False
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt("SIGTERM")
