"""Walks over a pickle without building anything: where it ends, and which globals it names. Needs no PyTorch.

Source: the argument sizes of ``pickletools.opcodes``.
"""

import pickle  # for the names of its opcodes only: nothing is unpickled here
from dataclasses import dataclass

from ...core.errors import ProxymaskError
from .budget import DEFAULT_LIMITS
from .messages import printable

MAX_SCANNED_OPCODES = 250_000  # a checkpoint with all that goes with it has about 100,000
MAX_GLOBALS = 1_000
MAX_NAME_BYTES = 512


def _opcodes(size: int, *opcodes: bytes) -> dict[int, int]:
    return {code[0]: size for code in opcodes}


# Opcode -> bytes of its argument.
_FIXED_SIZE = {
    **_opcodes(0, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK, pickle.DUP),
    **_opcodes(0, pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, pickle.EMPTY_SET, pickle.LIST, pickle.DICT, pickle.TUPLE),
    **_opcodes(0, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.FROZENSET, pickle.APPEND, pickle.APPENDS, pickle.ADDITEMS),
    **_opcodes(0, pickle.SETITEM, pickle.SETITEMS, pickle.BUILD, pickle.REDUCE, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
    **_opcodes(0, pickle.BINPERSID, pickle.STACK_GLOBAL, pickle.MEMOIZE, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
    **_opcodes(1, pickle.BININT1, pickle.BINPUT, pickle.BINGET, pickle.PROTO, pickle.EXT1),
    **_opcodes(2, pickle.BININT2, pickle.EXT2),
    **_opcodes(4, pickle.BININT, pickle.LONG_BINPUT, pickle.LONG_BINGET, pickle.EXT4),
    **_opcodes(8, pickle.BINFLOAT, pickle.FRAME),
}
# Opcode -> bytes of the length that stands before its argument.
_WITH_LENGTH = {
    **_opcodes(1, pickle.SHORT_BINSTRING, pickle.SHORT_BINBYTES, pickle.LONG1, pickle.SHORT_BINUNICODE),
    **_opcodes(4, pickle.BINSTRING, pickle.BINUNICODE, pickle.BINBYTES, pickle.LONG4),
    **_opcodes(8, pickle.BINUNICODE8, pickle.BINBYTES8, pickle.BYTEARRAY8),
}
# Opcode -> lines of text that are its argument.
_LINES = {
    **_opcodes(1, pickle.INT, pickle.FLOAT, pickle.LONG, pickle.STRING, pickle.UNICODE, pickle.PERSID, pickle.PUT, pickle.GET),
    **_opcodes(2, pickle.GLOBAL, pickle.INST),
}
_STOP, _STACK_GLOBAL, _MEMOIZE, _PUT = (code[0] for code in (pickle.STOP, pickle.STACK_GLOBAL, pickle.MEMOIZE, pickle.PUT))
_BINARY_PUTS = pickle.BINPUT + pickle.LONG_BINPUT
_BINARY_GETS = pickle.BINGET + pickle.LONG_BINGET
_STRING_LINES = pickle.STRING + pickle.UNICODE
_STRINGS = pickle.SHORT_BINSTRING + pickle.BINUNICODE + pickle.SHORT_BINUNICODE + pickle.BINUNICODE8 + _STRING_LINES


@dataclass(frozen=True)
class PickleScan:
    """What a scan finds in a pickle.

    Attributes:
        end: the byte after its STOP opcode; None where that was not reached.
        truncated: whether the data end before STOP.
        globals: ``module.name`` of its globals, each once, in order, at most 1,000. A file can hide a global from this list (through
            its memo): it serves to tell files apart, not to trust them.
    """

    end: int | None
    truncated: bool
    globals: tuple[str, ...]


def scan_pickle(data: memoryview, start: int = 0) -> PickleScan:
    """Walk over the pickle that begins at byte ``start``, at most 250,000 opcodes far.

    Raises:
        ProxymaskError: an unknown opcode: it is no pickle.
    """
    return _Scanner(data, start).run()


def find_line_end(data: memoryview, start: int, longest: int) -> int | None:
    """The byte of the newline that ends the line at ``start``; None where the data or ``longest`` bytes end before it.

    Reads little more than the line, so that many short lines in a large file cost little each.
    """
    end, step = min(start + longest + 1, len(data)), 128
    while start < end:
        chunk = bytes(data[start : min(start + step, end)])
        found = chunk.find(b"\n")
        if found >= 0:
            return start + found
        start, step = start + len(chunk), 2 * step
    return None


class _TruncatedError(Exception):
    pass


class _Scanner:
    """Follows strings through the stack and the memo as far as it takes to know what STACK_GLOBAL names."""

    def __init__(self, data: memoryview, start: int) -> None:
        self.data = data
        self.position = start
        self.globals: dict[str, None] = {}
        self.strings: list[str] = []  # the last two that were pushed: STACK_GLOBAL takes them
        self.memo: dict[int, str] = {}
        self.memo_size = 0  # where MEMOIZE stores
        self.last = ""  # what it stores

    def run(self) -> PickleScan:
        try:
            for _ in range(MAX_SCANNED_OPCODES):
                if self.position >= len(self.data):
                    raise _TruncatedError
                code = self.data[self.position]
                self.position += 1
                pushed = self._step(code)
                if code == _STOP:
                    return PickleScan(self.position, False, tuple(self.globals))
                if code not in (_MEMOIZE, _PUT, *_BINARY_PUTS):
                    self.last = pushed
                if pushed:
                    self.strings = [*self.strings[-1:], pushed]
        except _TruncatedError:
            return PickleScan(None, True, tuple(self.globals))
        return PickleScan(None, False, tuple(self.globals))

    def _step(self, code: int) -> str:
        """Skip one opcode's argument; returns the string that it pushes, "" for anything else."""
        if code in _FIXED_SIZE:
            return self._fixed(code, _FIXED_SIZE[code])
        if code in _WITH_LENGTH:
            return self._with_length(code, _WITH_LENGTH[code])
        if code in _LINES:
            return self._lines(code, _LINES[code])
        raise ProxymaskError(f"no pickle: byte {self.position - 1:,} is no opcode")

    def _fixed(self, code: int, size: int) -> str:
        value = int.from_bytes(self.data[self.position : self.position + size], "little")
        self.position += size
        if code == _MEMOIZE:
            self._store(self.memo_size)
        elif code in _BINARY_PUTS:
            self._store(value)
        elif code in _BINARY_GETS:
            return self.memo.get(value, "")
        elif code == _STACK_GLOBAL and len(self.strings) >= 2:
            self._add_global(".".join(self.strings[-2:]))
        return ""

    def _with_length(self, code: int, length_bytes: int) -> str:
        size = int.from_bytes(self.data[self.position : self.position + length_bytes], "little")
        start = self.position + length_bytes
        if size > len(self.data) - start:
            raise _TruncatedError
        self.position = start + size
        wanted = code in _STRINGS and size <= MAX_NAME_BYTES
        return bytes(self.data[start : self.position]).decode("utf-8", "replace") if wanted else ""

    def _lines(self, code: int, count: int) -> str:
        lines = []
        for _ in range(count):
            longest = DEFAULT_LIMITS.max_string_bytes if code in _STRING_LINES else MAX_NAME_BYTES
            end = find_line_end(self.data, self.position, longest)
            if end is None:
                if len(self.data) - self.position <= longest:
                    raise _TruncatedError
                raise ProxymaskError("no pickle: a line in it does not end")
            lines.append(bytes(self.data[self.position : min(end, self.position + MAX_NAME_BYTES)]).decode("utf-8", "replace"))
            self.position = end + 1
        if count == 2:
            self._add_global(".".join(lines))
        if code == _PUT and lines[0].isascii() and lines[0].isdecimal() and len(lines[0]) < 10:
            self._store(int(lines[0]))
        return lines[0].strip("'\"") if code in _STRING_LINES else ""

    def _store(self, index: int) -> None:
        self.memo[index] = self.last
        self.memo_size += 1

    def _add_global(self, name: str) -> None:
        if len(self.globals) < MAX_GLOBALS:
            self.globals[printable(name, 120)] = None
