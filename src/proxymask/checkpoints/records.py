"""What reading a file leaves: inert records, a report, and the checks and helpers for those who use them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..errors import ProxymaskError
from .limits import MIB, Budget, Limits, megabytes, printable

Buffer = bytes | bytearray | memoryview


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


class Pending:
    """An array or a dtype between its ``REDUCE`` and its ``BUILD``; ``memo`` lists where the finished one has to go as well."""

    __slots__ = ("dtype", "memo")

    def __init__(self, dtype: np.dtype[Any] | None = None) -> None:
        self.dtype = dtype
        self.memo: list[int] = []


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
    if type(root) is Pending:
        raise ProxymaskError("an array in it was never filled: the file is damaged")
    if not isinstance(root, holders):
        return root
    too_deep = ProxymaskError(f"its containers lie more than {limits.max_depth} deep")
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
                raise too_deep
            if levels:
                levels[-1] = max(levels[-1], depth)
        elif isinstance(child, holders):
            known = depths.get(id(child))
            if known is None:
                depths[id(child)] = 0
                if len(path) >= limits.max_depth:
                    raise too_deep
                path.append((child, _children(child)))
                levels.append(0)
            elif known == 0:
                report.cyclic = True
            else:
                levels[-1] = max(levels[-1], known)
        elif type(child) is Pending:
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
    found: dict[str, torch.Tensor] = {}
    if isinstance(record, Mapping):
        for name, value in record.items():
            found[name] = _checked(name, value)
        return _affordable(found)
    left = limits.max_objects
    pending: list[tuple[str, Any, int]] = [("", record, 0)]
    while pending:
        prefix, module, depth = pending.pop()
        state = module.state if isinstance(module, Persistent | Record) else None
        if not isinstance(state, dict) or not isinstance(state.get("_parameters"), dict):
            raise ProxymaskError(f"{printable(prefix) or 'it'} is no torch module: {printable(type(module).__name__)}")
        if depth > limits.max_depth or len(prefix) > 512:
            raise ProxymaskError(f"its modules lie more than {limits.max_depth} deep, or hold themselves")
        own = {**state["_parameters"], **_mapping(state, "_buffers")}
        modules = _mapping(state, "_modules")
        left -= 1 + len(own) + len(modules)
        if left < 0:
            raise ProxymaskError(f"its modules hold more than {limits.max_objects:,} tensors")
        if not all(type(name) is str and len(name) <= 512 for name in (*own, *modules)):
            raise ProxymaskError("a module has a part whose name is no text of up to 512 characters: the file is damaged")
        for name, value in own.items():
            if value is not None:
                found[f"{prefix}{name}"] = _checked(f"{prefix}{name}", value)
        # The last in is the first out: reversed, so that modules keep their order.
        pending += [(f"{prefix}{name}.", inner, depth + 1) for name, inner in reversed(modules.items()) if inner is not None]
    return _affordable(found)


def _affordable(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``found``, unless most of it is the same few tensors under other names: whoever copies it would pay for each."""
    stored = {value.data_ptr(): value.nbytes for value in found.values()}
    shown = sum(value.nbytes for value in found.values())
    if shown > 4 * sum(stored.values()) + 64 * MIB:
        raise ProxymaskError(f"its names stand for {megabytes(shown)} of tensors, many times what is stored")
    return found


def _mapping(state: dict[str, Any], name: str) -> dict[str, Any]:
    found = state.get(name, {})
    if not isinstance(found, dict):
        raise ProxymaskError(f"a module's {name} is no dict: the file is damaged")
    return found


def _checked(name: Any, value: Any) -> torch.Tensor:
    if type(name) is not str:
        raise ProxymaskError("a state dict has a name that is no text")
    if len(name) > 512:
        raise ProxymaskError(f"a tensor's name is longer than 512 characters ({printable(name)})")
    if not isinstance(value, torch.Tensor):
        what = value.qualified if isinstance(value, Record | Global) else type(value).__name__
        raise ProxymaskError(f"{printable(name)} is no tensor but {what}, which is not understood")
    return value
