"""What a file may cost: every bound that reading a checkpoint of unknown origin is held to."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import ProxymaskError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Bounds on one file. The defaults take every checkpoint of the family with room to spare.

    A 1024x1024 checkpoint with both networks and their optimisers has about 2,000 tensors, 100,000 opcodes and 20 levels.

    Attributes:
        max_bytes: of all tensors, arrays and copies together; None is four times the file's size and 64 MiB.
        max_elements: in one tensor or array, and in one of its dimensions.
        max_opcodes: of all pickles in the file, nested ones included.
        max_objects: tensors, arrays and records that are no plain containers.
        max_depth: levels of containers in containers.
        max_memo: entries in the memo of one pickle.
        max_string: bytes of one string.
        max_digits: bytes of one integer.
        max_streams: pickles in pickles (a storage in an NVIDIA pickle is at level 1).
        max_entries: files in a zip.
        max_ratio: how many times a zip's contents may be larger than the zip (on top of 16 MiB).
    """

    max_bytes: int | None = None
    max_elements: int = 2**30
    max_opcodes: int = 1_000_000
    max_objects: int = 100_000
    max_depth: int = 200
    max_memo: int = 1_000_000
    max_string: int = 16 * MIB
    max_digits: int = 1024
    max_streams: int = 4
    max_entries: int = 50_000
    max_ratio: int = 20


class Budget:
    """What is left of the :class:`Limits` while one file is being read; pickles nested in it draw on the same."""

    def __init__(self, limits: Limits, size: int) -> None:
        """``size``: of the file in bytes."""
        self.limits = limits
        self.allowed = 4 * size + 64 * MIB if limits.max_bytes is None else limits.max_bytes
        self.bytes = self.views = self.allowed
        self.opcodes = limits.max_opcodes
        self.objects = limits.max_objects

    def take_bytes(self, count: int) -> None:
        """Pay for ``count`` bytes of storage or copying; raises :class:`ProxymaskError` where none are left."""
        self.bytes -= count
        if self.bytes < 0:
            raise ProxymaskError(f"its tensors and copies take more than {megabytes(self.allowed)}, which is more than this file may")

    def take_view(self, count: int) -> None:
        """Pay for a tensor that shows ``count`` bytes. Views cost nothing yet, but whoever copies them pays in full."""
        self.views -= count
        if self.views < 0:
            raise ProxymaskError(f"its tensors show more than {megabytes(self.allowed)}, many times what is stored")

    def take_steps(self, count: int) -> None:
        """Pay for work on ``count`` elements that a single opcode asks for."""
        self.opcodes -= count
        if self.opcodes < 0:
            raise ProxymaskError(f"it takes more than {self.limits.max_opcodes:,} steps to read, far more than a checkpoint does")

    def take_object(self) -> None:
        """Pay for a tensor, an array or a record."""
        self.objects -= 1
        if self.objects < 0:
            raise ProxymaskError(f"it holds more than {self.limits.max_objects:,} objects, far more than a checkpoint does")


def megabytes(count: int) -> str:
    """``count`` bytes for people, as ``12.3 MB``."""
    return f"{count / 1e6:,.1f} MB"


def printable(text: str, longest: int = 80) -> str:
    """Text out of a file made fit to print: no control or escape characters, no lone surrogates, at most ``longest`` characters."""
    found = re.sub(r"[^\x20-\x7e]", "?", text[: longest + 1])
    return found if len(found) <= longest else found[: longest - 3] + "..."


def find_line_end(data: memoryview, at: int, longest: int) -> int | None:
    """Where the line that begins at ``at`` has its newline; None where the data or ``longest`` bytes end before it.

    Looks at little more than the line: short lines in front of much data cost little each.
    """
    end, step = min(at + longest + 1, len(data)), 128
    while at < end:
        chunk = bytes(data[at : min(at + step, end)])
        found = chunk.find(b"\n")
        if found >= 0:
            return at + found
        at, step = at + len(chunk), 2 * step
    return None


@contextmanager
def naming(what: object) -> Iterator[None]:
    """Put the file's name before the message of every :class:`ProxymaskError` that is raised inside."""
    try:
        yield
    except ProxymaskError as error:
        raise ProxymaskError(f"{what}: {error}") from None
