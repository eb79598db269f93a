"""The streams that the command line writes to: closed ones, full ones, and ones that cannot show every character."""

import io
import os
import sys


def open_streams() -> None:
    """Make standard streams that were closed (``>&-``) lead to nowhere, so that no file is opened under their numbers.

    Characters that a stream cannot show are written as escapes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (lasts as long as the process)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream in (sys.__stdout__, sys.__stderr__):
            stream.reconfigure(errors="backslashreplace")


def output_failed() -> bool:
    """Whether standard output or standard error cannot be written; such a stream leads to nowhere from now on."""
    failed = False
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            failed = True
            _silence(stream)
    return failed


def note(text: str) -> None:
    """Print a line on standard error; where that cannot be written, nothing."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)


def _silence(stream: io.TextIOBase | object) -> None:
    """Lead a stream to nowhere, so that Python's shutdown does not fail on what it still holds."""
    try:
        number = stream.fileno()  # type: ignore[union-attr]
    except (OSError, ValueError, AttributeError):
        return
    target = os.open(os.devnull, os.O_WRONLY)
    os.dup2(target, number)
    os.close(target)
