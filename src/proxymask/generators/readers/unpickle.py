"""Reads pickles without running them: an interpreter of the opcodes that imports nothing and calls nothing a file names.

A pickle is a program for a small stack machine. Most of its opcodes build plain values. The dangerous ones name a global (``GLOBAL``,
``STACK_GLOBAL``, ``INST``) and call it (``REDUCE``, ``NEWOBJ``, ``BUILD``). Here a global is never looked up: it becomes a
:class:`Global`, which is two strings. Calling one of the few in ``_CALLS`` runs a function of this file instead, which checks what
it is given and builds a tensor, an array or a container. Calling any other makes a :class:`Record` of what was called with what.

So a checkpoint whose optimiser or data set is of an unknown class can still be read for its generator, and what was not understood
is listed in the :class:`ReadReport`.

Arrays and tensors show memory of the file where they can (it is mapped, private to this process); everything else is copied once.
Every cost is charged to a :class:`~.limits.Budget`. Nothing recurses with the depth of the data.
"""

import codecs
import mmap
import re
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import numpy as np
import torch

from ...errors import ProxymaskError
from .limits import Budget, Limits, naming, printable

Buffer = bytes | bytearray | memoryview
Persistence = Callable[[object], object]

SHARED_BYTES = 64 * 1024  # from this size on, bytes in a pickle are not copied out of the file

_HASHED_INTEGERS = 2**61 - 1  # Python's hash of smaller integers is the integer: nobody can make them collide at will
_ODD_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function that a file names. It is never looked up."""

    module: str
    name: str

    @property
    def qualified(self) -> str:
        """``module.name``, fit to print."""
        return printable(f"{self.module}.{self.name}")


@dataclass(slots=True, eq=False, repr=False)
class Record:
    """An object of a class that is not made: what a file says of it, inert.

    Attributes:
        module, name: of the class or function.
        args: what it was to be called with.
        state: what its attributes were to be set to: mostly a dict, None where nothing was said.
        items: what was appended, where it was treated as a list (or a set).
        entries: what was set, where it was treated as a dict.
    """

    module: str
    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] | None = None
    entries: dict[Any, Any] | None = None

    @property
    def qualified(self) -> str:
        """``module.name``, fit to print."""
        return printable(f"{self.module}.{self.name}")

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute ``name`` out of the state."""
        return self.state.get(name, default) if isinstance(self.state, dict) else default

    def __repr__(self) -> str:  # short: records may hold themselves
        return f"Record({self.qualified!r})"


@dataclass(slots=True, eq=False, repr=False)
class Persistent:
    """A network of NVIDIA's ``torch_utils.persistence``; the source code that the file carries for it is dropped unread.

    Attributes:
        class_name: of the network in that source code, as ``Generator``.
        init_args, init_kwargs: what it was made with.
        state: the module's ``__dict__``, with ``_parameters``, ``_buffers`` and ``_modules``; see :func:`state_dict`.
        version: of the wrapper, 6 in every published file.
        notice: the comment that the source code begins with where it speaks of copyright or a licence, else "".
        source_length: of the source code, in characters.
    """

    class_name: str
    init_args: tuple[Any, ...]
    init_kwargs: dict[str, Any]
    state: dict[str, Any]
    version: int = 0
    notice: str = ""
    source_length: int = 0

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute ``name`` of the module."""
        return self.state.get(name, default)

    def __repr__(self) -> str:
        return f"Persistent({printable(self.class_name)!r})"


@dataclass
class ReadReport:
    """What reading a file met.

    Attributes:
        unknown: ``module.name`` of every global that is not understood -> how many inert records were made of it (0: only named).
        notices: licence notices of networks, each once.
        opcodes: how many were run, those of nested pickles included.
        cyclic: whether some container holds itself; who walks such a thing must expect it.
    """

    unknown: dict[str, int] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    opcodes: int = 0
    cyclic: bool = False

    def require_known(self) -> None:
        """Raise :class:`ProxymaskError` if anything unknown was met (``--strict``)."""
        if self.unknown:
            names = sorted(self.unknown)
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise ProxymaskError(
                f"it names {', '.join(names[:5])}{more}, which are not understood; without --strict they are kept as inert records"
            )


class Storage:
    """The memory that tensors of a file share: ``data`` is uint8 of shape (bytes), to be seen as ``dtype``."""

    __slots__ = ("data", "dtype")

    def __init__(self, dtype: torch.dtype, data: torch.Tensor) -> None:
        self.dtype = dtype
        self.data = data

    def __len__(self) -> int:
        return self.data.numel() // self.dtype.itemsize


class _Pending:
    """An array or a dtype between its ``REDUCE`` and its ``BUILD``; ``memo`` lists where the finished one has to go as well."""

    __slots__ = ("dtype", "memo")

    def __init__(self, dtype: np.dtype[Any] | None = None) -> None:
        self.dtype = dtype
        self.memo: list[int] = []


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


def storage_from(dtype: torch.dtype, data: memoryview, budget: Budget) -> Storage:
    """A storage over ``data`` (whole elements), which is copied where its address does not suit ``dtype`` or it cannot be written."""
    budget.take_bytes(len(data))
    if not len(data):
        return Storage(dtype, torch.empty(0, dtype=torch.uint8))
    shown = np.frombuffer(data, dtype=np.uint8)
    if dtype == torch.bool and shown.max() > 1:  # undefined in every operation on it
        raise ProxymaskError("a boolean tensor holds bytes other than 0 and 1: the file is damaged")
    if data.readonly or shown.ctypes.data % dtype.itemsize:
        shown = shown.copy()
    return Storage(dtype, torch.from_numpy(shown))


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
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError, MemoryError, struct.error) as error:
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
        found = bytes(self.data[self.at : self.at + longest + 1])
        end = found.find(b"\n")
        if end < 0:
            if len(found) <= longest:
                raise self.truncated()
            raise ProxymaskError(f"a line at byte {self.at:,} is longer than {longest:,} bytes: the file is damaged, or no pickle")
        self.at += end + 1
        return found[:end].removesuffix(b"\r")

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
        if type(value) is _Pending:
            value.memo.append(index)

    def replace(self, pending: _Pending, value: Any) -> None:
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
        if module == "torch" and name in _TORCH_DTYPES:
            return _TORCH_DTYPES[name]
        found = Global(_MODULES.get(module, module), name)
        if not _is_known(found):
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
        if not isinstance(called, Global) or not _is_data(called):
            self.report.unknown[record.qualified] = self.report.unknown.get(record.qualified, 0) + 1
        return record

    def call(self, called: Any, args: Any) -> Any:
        if type(args) is not tuple:
            raise ProxymaskError(f"near byte {self.at:,} a call has no tuple of arguments: the file is damaged")
        run = _CALLS.get((called.module, called.name)) if isinstance(called, Global) else None
        return self.inert(called, args) if run is None else run(self, called, args)

    def make(self, cls: Any, args: Any, keywords: Any = None) -> Any:
        """An instance of ``cls``, as NEWOBJ, NEWOBJ_EX and copyreg ask for."""
        if type(args) is not tuple or not (keywords is None or type(keywords) is dict):
            raise ProxymaskError(f"near byte {self.at:,} an object has no tuple of arguments: the file is damaged")
        if isinstance(cls, Global) and not keywords and (cls.module, cls.name) in _CONTAINERS:
            return self.call(cls, args)
        return self.inert(cls, (*args, keywords) if keywords else args)

    def build(self, state: Any) -> None:
        target = self.stack[-1]
        kind = type(target)
        if kind is Record:
            target.state = _without_source(self, state) if (target.module, target.name) == _TF_NETWORK else state
        elif kind is _Pending:
            self.replace(target, _build_dtype(self, target, state) if target.dtype is not None else _build_array(self, state))
        elif kind is dict:  # an EasyDict, whose attributes are its entries
            attributes = state[1] if type(state) is tuple and len(state) == 2 and state[0] is None else state
            if not isinstance(attributes, dict):
                raise ProxymaskError(f"near byte {self.at:,} the state of a dict is no dict: the file is damaged")
            self.budget.take_steps(len(attributes))
            target.update(attributes)
        elif kind is not OrderedDict:  # whose attributes (torch's _metadata) nobody needs
            raise ProxymaskError(f"near byte {self.at:,} it sets the state of a {kind.__name__}, which has none: the file is damaged")


# What a file may call. Every function gets the reader, the name it was called by and a tuple of arguments.


def _is_text(value: Any) -> TypeGuard[str]:
    return type(value) is str


def _container(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    """``dict(pairs)``, ``OrderedDict(pairs)``, ``set(items)`` and so on of what is already there."""
    make = _CONTAINERS[called.module, called.name]
    if called.name == "defaultdict":  # the factory is a name that nobody will call
        args = args[1:]
    if len(args) > 1:
        return reader.inert(called, args)
    if not args:
        return make()
    items = args[0]
    if type(items) not in (list, tuple, set, dict, OrderedDict, frozenset):
        return reader.inert(called, args)
    reader.budget.take_steps(len(items))
    if issubclass(make, dict):
        if isinstance(items, dict):
            return make(items)
        if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in items):
            return reader.inert(called, args)
        return make((reader.key(key), value) for key, value in items)
    if issubclass(make, set | frozenset):
        return make(reader.key(item) for item in items)
    return list(items) if make is list else tuple(items)


def _bytes(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    """``bytes(b)``, ``bytearray(b)`` and, for bytes in old protocols, ``_codecs.encode(text, "latin1")``."""
    if not args and called.name != "encode":
        return b""
    if args and isinstance(args[0], Buffer) and len(args) == 1 and called.name != "encode":
        return args[0]
    if len(args) == 2 and _is_text(args[0]) and args[1] in ("latin1", "latin-1"):
        reader.budget.take_bytes(len(args[0]))
        return args[0].encode("latin-1")
    return reader.inert(called, args)


def _complex(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    if len(args) == 2 and all(type(part) in (int, float) for part in args):
        return complex(float(args[0]), float(args[1]))
    return reader.inert(called, args)


def _new_object(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    """``copyreg._reconstructor(cls, object, None)``, ``copyreg.__newobj__(cls, *args)``, ``copyreg.__newobj_ex__(cls, args, kwargs)``."""
    if called.name == "_reconstructor":
        if len(args) != 3 or not isinstance(args[0], Global):
            return reader.inert(called, args)
        if args[2] is not None:  # a subclass of a plain type, with its value
            return reader.make(args[0], (args[2],))
        return reader.make(args[0], ())
    if called.name == "__newobj_ex__":
        return reader.make(*args) if len(args) == 3 else reader.inert(called, args)
    return reader.make(args[0], args[1:]) if args else reader.inert(called, args)


def _persistent(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    meta = args[0] if len(args) == 1 else None
    if not isinstance(meta, dict):
        raise ProxymaskError("a network has no persistence record: the file is damaged")
    state, name = meta.get("state"), meta.get("class_name")
    if not isinstance(state, dict) or not _is_text(name) or meta.get("type") != "class":
        raise ProxymaskError("a network's persistence record lacks its state or class name: the file is damaged, or newer than is known")
    init_args, init_kwargs = state.get("_init_args", ()), state.get("_init_kwargs", {})
    if type(init_args) is not tuple or not isinstance(init_kwargs, dict) or not all(_is_text(key) for key in init_kwargs):
        raise ProxymaskError(f"the network {printable(name)} has no arguments it was made with: the file is damaged")
    reader.budget.take_object()
    source = meta.get("module_src")
    notice = _notice(source) if isinstance(source, str) else ""
    if notice and notice not in reader.report.notices and len(reader.report.notices) < 16:
        reader.report.notices.append(notice)
    version = meta.get("version")
    return Persistent(
        class_name=name,
        init_args=init_args,
        init_kwargs=init_kwargs,
        state=state,
        version=version if type(version) is int else 0,
        notice=notice,
        source_length=len(source) if isinstance(source, str) else 0,
    )


def _notice(source: str) -> str:
    """The comment or docstring that source code begins with, where it speaks of rights: at most 2,000 characters, fit to print."""
    kept: list[str] = []
    for line in source[:8192].splitlines()[:60]:
        if not line.startswith("#"):
            break
        kept.append(printable(line.lstrip("#").strip(), 200))
    text = "\n".join(kept).strip()[:2000]
    return text if re.search(r"copyright|licen[cs]e|\(c\)", text, re.IGNORECASE) else ""


def _without_source(reader: Reader, state: Any) -> Any:
    """The state of a TensorFlow network without its source code; ``notice`` and ``source_length`` take its place."""
    if not isinstance(state, dict):
        raise ProxymaskError("a TensorFlow network's state is no dict: the file is damaged")
    reader.budget.take_steps(len(state))
    source = state.get("build_module_src")
    notice = _notice(source) if isinstance(source, str) else ""
    if notice and notice not in reader.report.notices and len(reader.report.notices) < 16:
        reader.report.notices.append(notice)
    kept = {key: value for key, value in state.items() if key != "build_module_src"}
    return {**kept, "notice": notice, "source_length": len(source) if isinstance(source, str) else 0}


def _dtype(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    if args and _is_text(args[0]) and re.fullmatch(r"[<>|=]?([biufc][0-9]{1,2}|[SU][0-9]{1,4})", args[0]):
        try:
            return _Pending(np.dtype(args[0]))
        except TypeError:  # a size that this machine does not have
            pass
    return reader.inert(called, args)


def _build_dtype(reader: Reader, pending: _Pending, state: Any) -> Any:
    """numpy's ``(version, byte order, subdtype, names, fields, size, alignment, flags)``: of a plain type only the order matters."""
    found = pending.dtype
    assert found is not None
    if type(state) is not tuple or len(state) < 8 or state[1] not in ("<", ">", "|", "="):
        raise ProxymaskError(f"near byte {reader.at:,} the state of a numpy dtype is no such thing: the file is damaged")
    if any(part is not None for part in state[2:5]):
        raise ProxymaskError(f"near byte {reader.at:,} a plain numpy dtype has fields: the file is damaged")
    return found if state[1] == "|" else found.newbyteorder(state[1])


def _array_pending(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    """``numpy.core.multiarray._reconstruct(ndarray, (0,), b"b")``: an empty array whose state follows."""
    if len(args) == 3 and args[0] == Global("numpy", "ndarray"):
        return _Pending()
    return reader.inert(called, args)


def _build_array(reader: Reader, state: Any) -> Any:
    """numpy's ``(version, shape, dtype, is Fortran, raw bytes)``."""
    if type(state) is not tuple or len(state) not in (4, 5):
        raise ProxymaskError(f"near byte {reader.at:,} the state of a numpy array is no such thing: the file is damaged")
    shape, dtype, fortran, raw = state[-4:]
    return _array(reader, Global("numpy", "ndarray"), shape, dtype, "F" if fortran else "C", raw)


def _from_buffer(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    """``numpy.core.numeric._frombuffer(raw, dtype, shape, order)`` of protocol 5."""
    if len(args) != 4:
        return reader.inert(called, args)
    raw, dtype, shape, order = args
    return _array(reader, called, shape, dtype, order, raw)


def _array(reader: Reader, called: Global, shape: Any, dtype: Any, order: Any, raw: Any) -> Any:
    dtype = dtype.dtype if type(dtype) is _Pending else dtype
    if not isinstance(dtype, np.dtype):  # of objects or fields: whoever needs its numbers will find a record instead
        return reader.inert(called, (shape, dtype, order, raw))
    if type(raw) is str:  # from Python 2
        reader.budget.take_bytes(len(raw))
        raw = raw.encode("latin-1")
    count = _count(reader, shape)
    if not isinstance(raw, Buffer) or count * dtype.itemsize != len(raw) or order not in ("C", "F"):
        raise ProxymaskError(f"a numpy array near byte {reader.at:,} does not have the size it says: the file is damaged")
    reader.budget.take_object()
    reader.budget.take_bytes(len(raw))
    reader.budget.take_view(len(raw))
    if not len(raw):
        return np.zeros(shape, dtype)
    if dtype.kind == "b" and np.frombuffer(raw, np.uint8).max() > 1:
        raise ProxymaskError("a boolean array holds bytes other than 0 and 1: the file is damaged")
    found = np.frombuffer(raw, dtype)
    if not found.flags.aligned:
        found = found.copy()
    return found.reshape(shape, order=order)


def _count(reader: Reader, shape: Any) -> int:
    """The number of elements in a shape, which is a tuple of a few small natural numbers."""
    most = reader.budget.limits.max_elements
    if type(shape) is not tuple or len(shape) > 32 or not all(type(side) is int and 0 <= side <= most for side in shape):
        raise ProxymaskError(f"near byte {reader.at:,} the shape of a tensor is no shape: the file is damaged or malicious")
    count = 1
    for side in shape:
        count *= side
    if count > most:
        raise ProxymaskError(f"a tensor near byte {reader.at:,} has {count:,} elements, more than {most:,}")
    return count


def _scalar(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    dtype = args[0] if args else None
    dtype = dtype.dtype if type(dtype) is _Pending else dtype
    if len(args) != 2 or not isinstance(dtype, np.dtype):
        return reader.inert(called, args)
    raw = args[1].encode("latin-1") if type(args[1]) is str else args[1]
    if not isinstance(raw, Buffer) or len(raw) != dtype.itemsize or not len(raw):
        raise ProxymaskError(f"a numpy number near byte {reader.at:,} does not have the size it says: the file is damaged")
    reader.budget.take_object()
    return np.frombuffer(raw, dtype)[0]


def _load_from_bytes(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    """``torch.storage._load_from_bytes(b)``, which torch opens with full pickle: here it goes through the same reader."""
    if len(args) != 1 or not isinstance(args[0], Buffer):
        raise ProxymaskError(f"near byte {reader.at:,} a nested storage is no bytes: the file is damaged")
    from .torchfile import read_stream

    return read_stream(memoryview(args[0]), reader.budget, reader.report, reader.level + 1)


def _tensor(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    """``_rebuild_tensor(storage, offset, size, stride)`` and its successors: a view that must lie within its storage."""
    if len(args) < (7 if called.name == "_rebuild_tensor_v3" else 4) or not isinstance(args[0], Storage):
        return reader.inert(called, args)
    storage, offset, size, stride = args[:4]
    dtype = args[6] if called.name == "_rebuild_tensor_v3" else storage.dtype
    if not isinstance(dtype, torch.dtype):
        return reader.inert(called, args)
    count = _count(reader, size)
    if type(stride) is not tuple or len(stride) != len(size) or not all(type(step) is int and step >= 0 for step in stride):
        raise ProxymaskError(f"near byte {reader.at:,} the strides of a tensor are none: the file is damaged or malicious")
    if type(offset) is not int or offset < 0:
        raise ProxymaskError(f"near byte {reader.at:,} a tensor begins before its storage: the file is damaged or malicious")
    stored = storage.data.numel() // dtype.itemsize
    reader.budget.take_object()
    reader.budget.take_view(count * dtype.itemsize)
    if not count:
        return torch.empty(size, dtype=dtype)
    # In the order of their steps, every dimension has to step over all that those before it span: then no element is shown twice.
    last = 0
    for step, side in sorted(zip(stride, size, strict=True)):
        if side > 1:
            if step <= last:
                raise ProxymaskError("a tensor shows the same numbers twice (its strides overlap): the file is damaged or malicious")
            last += step * (side - 1)
    if offset + last >= stored:
        raise ProxymaskError(
            f"a tensor near byte {reader.at:,} reaches beyond its storage ({offset + last + 1:,} of {stored:,} numbers): "
            "the file is damaged or malicious"
        )
    data = storage.data
    whole = data[: stored * dtype.itemsize].view(dtype)
    return whole.as_strided(size, stride, offset)


def _parameter(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    """``_rebuild_parameter(tensor, requires_grad, hooks)``: the tensor; hooks are never run."""
    return args[0] if args and isinstance(args[0], torch.Tensor) else reader.inert(called, args)


def _typed(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    """``_rebuild_from_type_v2(function, class, args, state)``: a tensor with attributes of its own, which are dropped."""
    plain = (Global("torch", "Tensor"), Global("torch.nn.parameter", "Parameter"), Global("torch.nn.parameter", "Buffer"))
    if len(args) < 3 or not isinstance(args[0], Global) or args[1] not in plain or type(args[2]) is not tuple:
        return reader.inert(called, args)
    run = _CALLS.get((args[0].module, args[0].name))
    return run(reader, args[0], args[2]) if run in (_tensor, _parameter) else reader.inert(called, args)


def _size(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    return args[0] if len(args) == 1 and type(args[0]) is tuple else reader.inert(called, args)


def _device(reader: Reader, called: Global, args: tuple[Any, ...]) -> Any:
    if 1 <= len(args) <= 2 and _is_text(args[0]) and len(args[0]) < 32 and (len(args) == 1 or type(args[1]) is int):
        try:
            return torch.device(*args)
        except (RuntimeError, ValueError, OverflowError):
            pass
    return reader.inert(called, args)


_Call = Callable[[Reader, Global, tuple[Any, ...]], Any]

# Python 2 and older numpy call the same things by other names.
_MODULES = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
}
_TORCH_DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name)
    for name in (
        *("float16", "float32", "float64", "bfloat16", "complex64", "complex128", "bool"),
        *("uint8", "int8", "int16", "int32", "int64", "half", "float", "double", "short", "int", "long"),
    )
}
_STORAGES: dict[str, torch.dtype] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
_CONTAINERS: dict[tuple[str, str], type] = {
    ("builtins", "dict"): dict,
    ("builtins", "list"): list,
    ("builtins", "tuple"): tuple,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): dict,
    ("dnnlib", "EasyDict"): dict,
    ("dnnlib.util", "EasyDict"): dict,
    ("easydict", "EasyDict"): dict,
}
_CALLS: dict[tuple[str, str], _Call] = {
    **dict.fromkeys(_CONTAINERS, _container),
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _bytes,
    ("_codecs", "encode"): _bytes,
    ("builtins", "complex"): _complex,
    ("copyreg", "_reconstructor"): _new_object,
    ("copyreg", "__newobj__"): _new_object,
    ("copyreg", "__newobj_ex__"): _new_object,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _array_pending,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch.storage", "_load_from_bytes"): _load_from_bytes,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type"): _typed,
    ("torch._tensor", "_rebuild_from_type_v2"): _typed,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent,
}
_TF_NETWORK = ("dnnlib.tflib.network", "Network")
_DATA = {  # records of these say all there is to know
    ("argparse", "Namespace"),
    ("types", "SimpleNamespace"),
    _TF_NETWORK,
}
_NAMES = {  # classes that are only named, as arguments
    ("builtins", "object"),
    ("numpy", "ndarray"),
    ("torch", "Tensor"),
    ("torch.nn.parameter", "Parameter"),
    ("torch.nn.parameter", "Buffer"),
}


def storage_dtype(kind: Any) -> torch.dtype | None:
    """The dtype of a storage class that a persistent id names; None where it is not known."""
    if not isinstance(kind, Global):
        return None
    if kind.module == "torch.storage" and kind.name == "UntypedStorage":
        return torch.uint8
    return _STORAGES.get(kind.name) if kind.module in ("torch", "torch.cuda") else None


def _is_data(found: Global) -> bool:
    return (found.module, found.name) in _DATA or found.module.startswith("torch.nn.modules.")


def _is_known(found: Global) -> bool:
    key = (found.module, found.name)
    return key in _CALLS or key in _NAMES or _is_data(found) or storage_dtype(found) is not None


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
    return int(reader.line().decode("ascii").removesuffix("L"))


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


# What is done with the result


def _children(value: Any) -> Iterator[Any]:
    """What a container of a file holds; nothing for anything else."""
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif type(value) is Record:
        yield from (value.args, value.state, value.items, value.entries)
    elif type(value) is Persistent:
        yield from (value.init_args, value.init_kwargs, value.state)


def finish(root: Any, limits: Limits, report: ReadReport) -> Any:
    """Check what a pickle left: nothing half made in it, nothing nested deeper than the limit. Notes whether it holds itself.

    Walks every container once, without recursion, so a billion references to the same list cost what one does.
    """
    holders = (dict, list, tuple, set, frozenset, Record, Persistent)
    if type(root) is _Pending:
        raise ProxymaskError("an array in it was never filled: the file is damaged")
    if not isinstance(root, holders):
        return root
    depths: dict[int, int] = {id(root): 0}  # 0: being walked
    path: list[tuple[Any, Iterator[Any]]] = [(root, _children(root))]
    levels = [0]
    while path:
        node, rest = path[-1]
        child = next(rest, path)
        if child is path:  # no more children
            path.pop()
            depth = levels.pop() + 1
            depths[id(node)] = depth
            if depth > limits.max_depth:
                raise ProxymaskError(f"its containers lie more than {limits.max_depth} deep")
            if levels:
                levels[-1] = max(levels[-1], depth)
        elif isinstance(child, holders):
            known = depths.get(id(child))
            if known is None:
                depths[id(child)] = 0
                path.append((child, _children(child)))
                levels.append(0)
            elif known == 0:
                report.cyclic = True
            else:
                levels[-1] = max(levels[-1], known)
        elif type(child) is _Pending:
            raise ProxymaskError("an array in it was never filled: the file is damaged")
    return root


def state_dict(record: Any, limits: Limits = Limits()) -> dict[str, torch.Tensor]:  # noqa: B008
    """Parameters and buffers of a module, by dotted name, in the module's order.

    Args:
        record: a :class:`Persistent` or :class:`Record` of a module, or a mapping that is a state dict already.
        limits: ``max_depth`` bounds modules in modules, ``max_objects`` what is walked; shared modules are walked every time.

    Returns:
        name -> tensor, shapes as in the file.

    Raises:
        ProxymaskError: no module, a parameter that is not a tensor (such as one that hangs on something unknown), or over a limit.
    """
    if isinstance(record, Mapping):
        return {name: _checked(name, value) for name, value in record.items()}
    found: dict[str, torch.Tensor] = {}
    left = limits.max_objects
    pending: list[tuple[str, Any, int]] = [("", record, 0)]
    while pending:
        prefix, module, depth = pending.pop()
        state = module.state if isinstance(module, Persistent | Record) else None
        if not isinstance(state, dict) or not isinstance(state.get("_parameters"), dict):
            raise ProxymaskError(f"{printable(prefix) or 'it'} is no torch module: {printable(type(module).__name__)}")
        if depth > limits.max_depth:
            raise ProxymaskError(f"its modules lie more than {limits.max_depth} deep, or hold themselves")
        own = {**state["_parameters"], **_mapping(state, "_buffers")}
        modules = _mapping(state, "_modules")
        left -= 1 + len(own) + len(modules)
        if left < 0:
            raise ProxymaskError(f"its modules hold more than {limits.max_objects:,} tensors")
        for name, value in own.items():
            if value is not None:
                found[f"{prefix}{name}"] = _checked(f"{prefix}{name}", value)
        # The last in is the first out: reversed, so that modules keep their order.
        pending += [(f"{prefix}{name}.", inner, depth + 1) for name, inner in reversed(modules.items()) if inner is not None]
    return found


def _mapping(state: dict[str, Any], name: str) -> dict[str, Any]:
    found = state.get(name, {})
    if not isinstance(found, dict):
        raise ProxymaskError(f"a module's {name} is no dict: the file is damaged")
    return found


def _checked(name: Any, value: Any) -> torch.Tensor:
    if type(name) is not str:
        raise ProxymaskError("a state dict has a name that is no text")
    if not isinstance(value, torch.Tensor):
        what = value.qualified if isinstance(value, Record | Global) else type(value).__name__
        raise ProxymaskError(f"{printable(name)} is no tensor but {what}, which is not understood")
    return value
