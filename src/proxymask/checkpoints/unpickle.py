"""Reads pickles without running them: an interpreter of the opcodes that imports nothing and calls nothing a file names.

A pickle is a program for a small stack machine. Most of its opcodes build plain values. The dangerous ones name a global (``GLOBAL``,
``STACK_GLOBAL``, ``INST``) and call it (``REDUCE``, ``NEWOBJ``, ``BUILD``). Here a global is never looked up: it becomes a
:class:`Global`, which is two strings. Calling one of the few in ``calls.CALLS`` runs a function of this file instead, which checks what
it is given and builds a tensor, an array or a container. Calling any other makes a :class:`Record` of what was called with what.

So a checkpoint whose optimiser or data set is of an unknown class can still be read for its generator, and what was not understood
is listed in the :class:`ReadReport`.

Arrays and tensors show memory of the file where they can (it is mapped, private to this process); everything else is copied once.
Every cost is charged to a :class:`~.limits.Budget`. Nothing recurses with the depth of the data.
"""

import codecs
import mmap
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from ..errors import ProxymaskError
from .calls import CALLS, CONTAINERS, MODULES, TF_NETWORK, TORCH_DTYPES, build_array, build_dtype, is_data, is_known, without_source
from .limits import Budget, Limits, find_line_end, naming, printable
from .records import Buffer, Global, Pending, Persistent, ReadReport, Record, finish, state_dict

__all__ = ["Global", "Persistent", "ReadReport", "Reader", "Record", "map_file", "read_pickle", "state_dict"]

Persistence = Callable[[object], object]

SHARED_BYTES = 64 * 1024  # from this size on, bytes in a pickle are not copied out of the file

codecs.lookup("raw-unicode-escape")  # the one codec that Python would import only when a file first asks for it

_HASHED_INTEGERS = 2**61 - 1  # Python's hash of smaller integers is the integer: nobody can make them collide at will
_ODD_KEYS = 10_000


def read_pickle(
    source: Buffer | BinaryIO | str | Path,
    limits: Limits = Limits(),  # noqa: B008
    persistent: Persistence | None = None,
    report: ReadReport | None = None,
) -> Any:
    """Read one pickle (protocol 0 to 5) and run nothing.

    Args:
        source: bytes, a file open for binary reading (read to its end) or a path (mapped).
        limits: what it may cost.
        persistent: gives the object for a persistent id; where None, such ids are refused.
        report: is filled where given.

    Returns:
        None, bool, int, float, str, bytes, list, tuple, set, dict, :class:`collections.OrderedDict`, numpy arrays and scalars, torch
        tensors (on the CPU, never requiring gradients), dtypes and devices, :class:`Persistent`, :class:`Record`, :class:`Global`.
        Bytes of 64 KiB and more that no array is made of come as a memoryview. Arrays may be read-only.

    Raises:
        ProxymaskError: damaged, truncated, over a limit, or not a pickle; the message names a file.
    """
    if isinstance(source, str | Path):
        with naming(source):
            return read_pickle(map_file(Path(source)), limits, persistent, report)
    data = memoryview(source if isinstance(source, Buffer) else source.read())
    budget = Budget(limits, len(data))
    report = report if report is not None else ReadReport()
    reader = Reader(data, 0, budget, report, persistent)
    result = finish(reader.load(), limits, report)
    report.opcodes = limits.max_opcodes - budget.opcodes
    return result


def map_file(path: Path) -> memoryview:
    """The bytes of a file, mapped: writable, but nothing written goes back to the file.

    Raises:
        ProxymaskError: it cannot be opened, or is empty.
    """
    try:
        with path.open("rb") as opened:
            return memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY))
    except ValueError:
        raise ProxymaskError("the file is empty: get it again") from None
    except OSError as error:
        raise ProxymaskError(f"cannot be opened ({error.strerror})") from None


class Reader:
    """Runs one pickle out of ``data`` from ``at`` on; ``at`` is after its end when :meth:`load` has returned."""

    def __init__(
        self, data: memoryview, at: int, budget: Budget, report: ReadReport, persistent: Persistence | None = None, level: int = 0
    ) -> None:
        """``level``: how many pickles this one is nested in."""
        self.data = data
        self.at = at
        self.budget = budget
        self.report = report
        self.persistent = persistent
        self.level = level
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks below each MARK
        self.memo: dict[int, Any] = {}
        self.odd_keys = 0
        if level > budget.limits.max_streams:
            raise ProxymaskError(f"it nests pickles more than {budget.limits.max_streams} deep")

    def load(self) -> Any:
        """Run to the STOP opcode and return what is on top of the stack (not yet checked by :func:`finish`)."""
        start, data, end, budget = self.at, self.data, len(self.data), self.budget
        try:
            while True:
                if self.at >= end:
                    raise self.truncated()
                code = data[self.at]
                self.at += 1
                budget.opcodes -= 1
                if budget.opcodes < 0:
                    budget.take_steps(0)
                if code == 0x2E:  # STOP
                    return self.stack.pop()
                run = _OPCODES[code]
                if run is None:
                    raise ProxymaskError(f"byte {self.at - 1:,} is no pickle opcode (0x{code:02x}): the file is damaged, or no pickle")
                run(self)
        except ProxymaskError:
            raise
        except Exception as error:  # whatever nonsense in a file leads to, its user is told that the file is damaged
            raise ProxymaskError(
                f"the pickle that begins at byte {start:,} is damaged near byte {self.at:,} ({type(error).__name__}): get the file again"
            ) from None

    # Reading

    def truncated(self) -> ProxymaskError:
        return ProxymaskError(f"the file ends in the middle of its contents (at byte {len(self.data):,}), a broken download: get it again")

    def read(self, count: int) -> memoryview:
        at = self.at
        if count > len(self.data) - at:
            raise self.truncated()
        self.at = at + count
        return self.data[at : at + count]

    def number(self, size: int) -> int:
        return int.from_bytes(self.read(size), "little")

    def line(self, longest: int = 512) -> bytes:
        at, end = self.at, find_line_end(self.data, self.at, longest)
        if end is None:
            if len(self.data) - at <= longest:
                raise self.truncated()
            raise ProxymaskError(f"a line at byte {at:,} is longer than {longest:,} bytes: the file is damaged, or no pickle")
        self.at = end + 1
        return bytes(self.data[at:end]).removesuffix(b"\r")

    def text(self, size: int) -> str:
        if size > self.budget.limits.max_string:
            if size > len(self.data) - self.at:
                raise self.truncated()
            raise ProxymaskError(f"a string takes {size:,} bytes, more than {self.budget.limits.max_string:,}")
        return str(self.read(size), "utf-8", "surrogatepass")

    def blob(self, size: int) -> bytes | memoryview:
        found = self.read(size)
        return found if size >= SHARED_BYTES else bytes(found)

    # The stack

    def pop_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.marked.pop()
        return items

    def put(self, index: int) -> None:
        value = self.stack[-1]
        self.memo[index] = value
        if len(self.memo) > self.budget.limits.max_memo:
            raise ProxymaskError(f"its memo has more than {self.budget.limits.max_memo:,} entries")
        if type(value) is Pending:
            value.memo.append(index)

    def replace(self, pending: Pending, value: Any) -> None:
        """Put the finished ``value`` where ``pending`` is: on top of the stack and in the memo."""
        self.stack[-1] = value
        for index in pending.memo:
            if self.memo.get(index) is pending:
                self.memo[index] = value

    def key(self, key: Any) -> Any:
        """``key``, if hashing it is cheap and cannot be made to collide; dicts and sets take no other."""
        kind = type(key)
        if kind is str or (kind is int and -_HASHED_INTEGERS < key < _HASHED_INTEGERS) or key is None or kind is bool:
            return key
        self.odd_keys += 1
        if self.odd_keys > _ODD_KEYS:
            raise ProxymaskError(f"it has more than {_ODD_KEYS:,} dict keys that are neither text nor small numbers")
        if kind is tuple and len(key) <= 16 and all(part is None or type(part) in (str, int, float, bool, bytes) for part in key):
            return key
        if kind in (int, float, bytes, Global, Record, Persistent, torch.Tensor, torch.dtype, torch.device) or isinstance(key, np.generic):
            return key
        raise ProxymaskError(f"a dict has a key of the kind {kind.__name__}, which no checkpoint needs")

    def set_items(self, items: list[Any]) -> None:
        """``items``: key, value, key, value, ... into the container on top of the stack."""
        if len(items) % 2:
            raise ProxymaskError(f"a dict near byte {self.at:,} has a key without a value: the file is damaged")
        target = self.stack[-1]
        if type(target) is Record:
            if target.entries is None:
                target.entries = {}
            target = target.entries
        elif not isinstance(target, dict):
            raise ProxymaskError(f"near byte {self.at:,} an entry is set in what is no dict: the file is damaged")
        for i in range(0, len(items), 2):
            target[self.key(items[i])] = items[i + 1]

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is Record:
            if target.items is None:
                target.items = []
            target = target.items
        elif type(target) is not list:
            raise ProxymaskError(f"near byte {self.at:,} an item is appended to what is no list: the file is damaged")
        target.extend(items)

    # Globals and calls

    def name(self, module: Any, name: Any) -> Any:
        """What a global stands for: a torch dtype, or the inert name itself."""
        if type(module) is not str or type(name) is not str:
            raise ProxymaskError(f"near byte {self.at:,} a global is named by what is no text: the file is damaged")
        if len(module) > 512 or len(name) > 512:
            raise ProxymaskError(f"near byte {self.at:,} a global's name is longer than 512 characters: the file is damaged")
        if module == "torch" and name in TORCH_DTYPES:
            return TORCH_DTYPES[name]
        found = Global(MODULES.get(module, module), name)
        if not is_known(found):
            self.report.unknown.setdefault(found.qualified, 0)
            if len(self.report.unknown) > 10_000:
                raise ProxymaskError("it names more than 10,000 globals that are not understood")
        return found

    def inert(self, called: Any, args: tuple[Any, ...]) -> Record:
        """A record of what would have been called with what; counted as unknown unless it is of a class known to be just data."""
        self.budget.take_object()
        if isinstance(called, Global):
            record = Record(called.module, called.name, args)
        elif isinstance(called, Record):
            record = Record(called.module, printable(f"{called.name}()", 512), (called, args))
        else:
            raise ProxymaskError(f"near byte {self.at:,} it calls what is no function: the file is damaged or malicious")
        if not isinstance(called, Global) or not is_data(called):
            self.report.unknown[record.qualified] = self.report.unknown.get(record.qualified, 0) + 1
        return record

    def call(self, called: Any, args: Any) -> Any:
        if type(args) is not tuple:
            raise ProxymaskError(f"near byte {self.at:,} a call has no tuple of arguments: the file is damaged")
        run = CALLS.get((called.module, called.name)) if isinstance(called, Global) else None
        return self.inert(called, args) if run is None else run(self, called, args)

    def make(self, cls: Any, args: Any, keywords: Any = None) -> Any:
        """An instance of ``cls``, as NEWOBJ, NEWOBJ_EX and copyreg ask for."""
        if type(args) is not tuple or not (keywords is None or type(keywords) is dict):
            raise ProxymaskError(f"near byte {self.at:,} an object has no tuple of arguments: the file is damaged")
        if isinstance(cls, Global) and not keywords and (cls.module, cls.name) in CONTAINERS:
            return self.call(cls, args)
        return self.inert(cls, (*args, keywords) if keywords else args)

    def build(self, state: Any) -> None:
        target = self.stack[-1]
        kind = type(target)
        if kind is Record:
            target.state = without_source(self, state) if (target.module, target.name) == TF_NETWORK else state
        elif kind is Pending:
            self.replace(target, build_dtype(self, target, state) if target.dtype is not None else build_array(self, state))
        elif kind is dict:  # an EasyDict, whose attributes are its entries
            attributes = state[1] if type(state) is tuple and len(state) == 2 and state[0] is None else state
            if not isinstance(attributes, dict):
                raise ProxymaskError(f"near byte {self.at:,} the state of a dict is no dict: the file is damaged")
            self.budget.take_steps(len(attributes))
            target.update(attributes)
        elif kind is not OrderedDict:  # whose attributes (torch's _metadata) nobody needs
            raise ProxymaskError(f"near byte {self.at:,} it sets the state of a {kind.__name__}, which has none: the file is damaged")


# Opcodes


def _unpack(layout: str) -> Callable[[Reader], Any]:
    packed = struct.Struct(layout)
    return lambda reader: packed.unpack(reader.read(packed.size))[0]


_int32, _uint16, _float64 = _unpack("<i"), _unpack("<H"), _unpack(">d")


def _pushing(value: Callable[[Reader], Any]) -> Callable[[Reader], None]:
    return lambda reader: reader.stack.append(value(reader))


def _digits(reader: Reader, size: int) -> int:
    if size < 0 or size > reader.budget.limits.max_digits:
        raise ProxymaskError(f"near byte {reader.at:,} an integer takes {size:,} bytes: the file is damaged or malicious")
    return int.from_bytes(reader.read(size), "little", signed=True)


def _int_line(reader: Reader) -> int | bool:
    line = reader.line()
    return {b"00": False, b"01": True}.get(line, 0) if line in (b"00", b"01") else int(line.decode("ascii"))


def _long_line(reader: Reader) -> int:
    return int(reader.line(3 * reader.budget.limits.max_digits).decode("ascii").removesuffix("L"))


def _python2(raw: bytes) -> str | bytes:
    """A string of Python 2 was text or bytes; what is not ASCII can only be taken for bytes."""
    return raw.decode("ascii") if raw.isascii() else raw


def _string_line(reader: Reader) -> str | bytes:
    line = reader.line(reader.budget.limits.max_string)
    if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
        raise ProxymaskError(f"near byte {reader.at:,} a string has no quotes: the file is damaged")
    return _python2(codecs.escape_decode(line[1:-1])[0])


def _string(reader: Reader, size: int) -> str | bytes | memoryview:
    if size < 0:
        raise ProxymaskError(f"near byte {reader.at:,} a string has a negative length: the file is damaged")
    found = reader.blob(size)
    return found if isinstance(found, memoryview) else _python2(found)


def _unicode_line(reader: Reader) -> str:
    return str(reader.line(reader.budget.limits.max_string), "raw-unicode-escape")


def _proto(reader: Reader) -> None:
    version = reader.number(1)
    if version > 5:
        raise ProxymaskError(f"it is a pickle of protocol {version}, newer than is known (5), or damaged")


def _frame(reader: Reader) -> None:
    if reader.number(8) > len(reader.data) - reader.at:
        raise reader.truncated()


def _pop(reader: Reader) -> None:
    if reader.stack:
        reader.stack.pop()
    else:
        reader.pop_mark()


def _mark(reader: Reader) -> None:
    if len(reader.marked) >= 10 * reader.budget.limits.max_depth:
        raise ProxymaskError(f"its containers lie more than {reader.budget.limits.max_depth} deep")
    reader.marked.append(reader.stack)
    reader.stack = []


def _take(count: int) -> Callable[[Reader], None]:
    """TUPLE1 to TUPLE3."""

    def run(reader: Reader) -> None:
        if len(reader.stack) < count:
            raise IndexError
        reader.stack[-count:] = [tuple(reader.stack[-count:])]

    return run


def _tuple(reader: Reader) -> None:
    items = reader.pop_mark()
    reader.stack.append(tuple(items))


def _list(reader: Reader) -> None:
    items = reader.pop_mark()
    reader.stack.append(items)


def _dict(reader: Reader) -> None:
    items = reader.pop_mark()
    reader.stack.append({})
    reader.set_items(items)


def _frozenset(reader: Reader) -> None:
    items = reader.pop_mark()
    reader.stack.append(frozenset(reader.key(item) for item in items))


def _append(reader: Reader) -> None:
    value = reader.stack.pop()
    reader.append([value])


def _appends(reader: Reader) -> None:
    reader.append(reader.pop_mark())


def _set_item(reader: Reader) -> None:
    value = reader.stack.pop()
    key = reader.stack.pop()
    reader.set_items([key, value])


def _set_items(reader: Reader) -> None:
    reader.set_items(reader.pop_mark())


def _add_items(reader: Reader) -> None:
    items = reader.pop_mark()
    target = reader.stack[-1]
    if type(target) is Record:
        reader.append(items)
    elif type(target) is set:
        target.update(reader.key(item) for item in items)
    else:
        raise ProxymaskError(f"near byte {reader.at:,} an item is added to what is no set: the file is damaged")


def _get(index: int, reader: Reader) -> None:
    if index not in reader.memo:
        raise ProxymaskError(f"near byte {reader.at:,} it refers to an object {index} that is not there: the file is damaged")
    reader.stack.append(reader.memo[index])


def _decimal(reader: Reader) -> int:
    index = int(reader.line(20))
    if index < 0:
        raise ValueError
    return index


def _global(reader: Reader) -> Any:
    module = reader.line().decode("utf-8")
    return reader.name(module, reader.line().decode("utf-8"))


def _stack_global(reader: Reader) -> None:
    name = reader.stack.pop()
    module = reader.stack.pop()
    reader.stack.append(reader.name(module, name))


def _inst(reader: Reader) -> None:
    cls = _global(reader)
    args = tuple(reader.pop_mark())
    reader.stack.append(reader.make(cls, args))


def _obj(reader: Reader) -> None:
    cls, *args = reader.pop_mark()
    reader.stack.append(reader.make(cls, tuple(args)))


def _new(reader: Reader) -> None:
    args = reader.stack.pop()
    cls = reader.stack.pop()
    reader.stack.append(reader.make(cls, args))


def _new_with_keywords(reader: Reader) -> None:
    keywords = reader.stack.pop()
    args = reader.stack.pop()
    cls = reader.stack.pop()
    reader.stack.append(reader.make(cls, args, keywords))


def _reduce(reader: Reader) -> None:
    args = reader.stack.pop()
    called = reader.stack.pop()
    reader.stack.append(reader.call(called, args))


def _build(reader: Reader) -> None:
    state = reader.stack.pop()
    reader.build(state)


def _persistent_id(reader: Reader, found: Any) -> None:
    if reader.persistent is None:
        raise ProxymaskError("it refers to data outside of itself (a persistent id), which a plain pickle cannot have")
    reader.stack.append(reader.persistent(found))


def _extension(reader: Reader) -> None:
    raise ProxymaskError("it uses pickle's extension registry, which no checkpoint does: the file is damaged or malicious")


def _out_of_band(reader: Reader) -> None:
    raise ProxymaskError("its data lie outside of the file (out-of-band buffers): save it again without a buffer callback")


def _table() -> list[Callable[[Reader], None] | None]:
    table: list[Callable[[Reader], None] | None] = [None] * 256
    found: dict[bytes, Callable[[Reader], None]] = {
        b"\x80": _proto,
        b"\x95": _frame,
        # numbers and constants
        b"N": _pushing(lambda r: None),
        b"\x88": _pushing(lambda r: True),
        b"\x89": _pushing(lambda r: False),
        b"J": _pushing(_int32),
        b"K": _pushing(lambda r: r.number(1)),
        b"M": _pushing(_uint16),
        b"G": _pushing(_float64),
        b"I": _pushing(_int_line),
        b"L": _pushing(_long_line),
        b"F": _pushing(lambda r: float(r.line())),
        b"\x8a": _pushing(lambda r: _digits(r, r.number(1))),
        b"\x8b": _pushing(lambda r: _digits(r, _int32(r))),
        # text and bytes
        b"S": _pushing(_string_line),
        b"T": _pushing(lambda r: _string(r, _int32(r))),
        b"U": _pushing(lambda r: _string(r, r.number(1))),
        b"V": _pushing(_unicode_line),
        b"X": _pushing(lambda r: r.text(r.number(4))),
        b"\x8c": _pushing(lambda r: r.text(r.number(1))),
        b"\x8d": _pushing(lambda r: r.text(r.number(8))),
        b"B": _pushing(lambda r: r.blob(r.number(4))),
        b"C": _pushing(lambda r: r.blob(r.number(1))),
        b"\x8e": _pushing(lambda r: r.blob(r.number(8))),
        b"\x96": _pushing(lambda r: r.blob(r.number(8))),  # a bytearray, which nobody needs to write to
        # containers
        b"]": _pushing(lambda r: []),
        b"}": _pushing(lambda r: {}),
        b")": _pushing(lambda r: ()),
        b"\x8f": _pushing(lambda r: set()),
        b"\x85": _take(1),
        b"\x86": _take(2),
        b"\x87": _take(3),
        b"t": _tuple,
        b"l": _list,
        b"d": _dict,
        b"\x91": _frozenset,
        b"a": _append,
        b"e": _appends,
        b"s": _set_item,
        b"u": _set_items,
        b"\x90": _add_items,
        # the stack and the memo
        b"(": _mark,
        b"0": _pop,
        b"1": lambda r: r.pop_mark().clear(),
        b"2": _pushing(lambda r: r.stack[-1]),
        b"p": lambda r: r.put(_decimal(r)),
        b"q": lambda r: r.put(r.number(1)),
        b"r": lambda r: r.put(r.number(4)),
        b"\x94": lambda r: r.put(len(r.memo)),
        b"g": lambda r: _get(_decimal(r), r),
        b"h": lambda r: _get(r.number(1), r),
        b"j": lambda r: _get(r.number(4), r),
        # globals and calls
        b"c": _pushing(_global),
        b"\x93": _stack_global,
        b"i": _inst,
        b"o": _obj,
        b"\x81": _new,
        b"\x92": _new_with_keywords,
        b"R": _reduce,
        b"b": _build,
        b"P": lambda r: _persistent_id(r, r.line().decode("ascii")),
        b"Q": lambda r: _persistent_id(r, r.stack.pop()),
        b"\x82": _extension,
        b"\x83": _extension,
        b"\x84": _extension,
        b"\x97": _out_of_band,
        b"\x98": _out_of_band,
    }
    for code, run in found.items():
        table[code[0]] = run
    return table


_OPCODES = _table()
