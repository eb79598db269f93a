"""The streams that the command line writes to: closed ones, full ones, and ones that cannot show every character."""

import io
import os
import sys
from collections import Counter
from typing import Any

OUTPUT = "the output"  # in place of a file's name in errors of standard output
SHOWN = 5  # files of a kind that :class:`FileNotes` names


class _Output(io.FileIO):
    """Standard output, whose errors say so."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, OUTPUT) from None


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
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and out is sys.__stdout__:
        out.flush()
        raw = io.BufferedWriter(_Output(out.fileno(), "w", closefd=False))
        sys.stdout = io.TextIOWrapper(raw, out.encoding, "backslashreplace", line_buffering=out.line_buffering)


def silence_output() -> None:
    """Lead standard output to nowhere, so that Python's shutdown does not fail on what it still holds."""
    _silence(sys.stdout)


def note(text: str) -> None:
    """Print a line on standard error; where that cannot be written, nothing."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)


class FileNotes:
    """Lines about files on standard error: of each kind the first ones are shown, the others are counted by :meth:`end`."""

    def __init__(self) -> None:
        self._counts = Counter[str]()

    def say(self, kind: str, line: str) -> None:
        """A line; ``kind``: what it has in common with others, which begins the line that counts them."""
        self._counts[kind] += 1
        if self._counts[kind] <= SHOWN:
            note(line)

    def end(self) -> None:
        """Say how many were not shown."""
        for kind, count in self._counts.items():
            if count > SHOWN:
                note(f"{kind}: {count - SHOWN:,} more files")


def _silence(stream: io.TextIOBase | object) -> None:
    try:
        number = stream.fileno()  # type: ignore[union-attr]
    except (OSError, ValueError, AttributeError):
        return
    target = os.open(os.devnull, os.O_WRONLY)
    os.dup2(target, number)
    os.close(target)
