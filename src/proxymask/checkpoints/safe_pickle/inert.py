"""What takes the place of the classes and functions that a pickle names: plain data that runs nothing.

A global becomes a :class:`Global` (two strings), an object of an unknown class an :class:`InertObject`, a network in an NVIDIA pickle
a :class:`PersistentModule`. :class:`ReadReport` lists what was not understood.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ...core.errors import ProxymaskError
from .budget import Budget
from .messages import DAMAGED, printable

Buffer = bytes | bytearray | memoryview
MAX_NOTICES = 16


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function that a file names. It is never looked up."""

    module: str
    name: str

    @property
    def qualified(self) -> str:
        """``module.name``, safe to print."""
        return printable(f"{self.module}.{self.name}")


@dataclass(slots=True, eq=False, repr=False)
class InertObject:
    """An object that was not made: its class and the values in the file.

    Attributes:
        module, name: of the class or function.
        args: what it was to be called with.
        state: what its attributes were to be set to (BUILD): mostly a dict, None without BUILD.
        items: what was to be appended, where the file treats it as a list or a set.
        entries: what was to be set, where the file treats it as a dict.
    """

    module: str
    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] | None = None
    entries: dict[Any, Any] | None = None

    @property
    def qualified(self) -> str:
        """``module.name``, safe to print."""
        return printable(f"{self.module}.{self.name}")

    def get(self, name: str, default: Any = None) -> Any:
        """The attribute ``name`` out of the state."""
        return self.state.get(name, default) if isinstance(self.state, dict) else default

    def __repr__(self) -> str:  # short: it may hold itself
        return f"InertObject({self.qualified!r})"


@dataclass(slots=True, eq=False, repr=False)
class PersistentModule:
    """A network of NVIDIA's ``torch_utils.persistence``. The source code that the file carries for it is dropped, not run.

    Attributes:
        class_name: of the network in that source code, as ``Generator``.
        init_args, init_kwargs: what it was made with.
        state: the module's ``__dict__``, with ``_parameters``, ``_buffers`` and ``_modules``; see :func:`~.state_dict.state_dict`.
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
        return f"PersistentModule({printable(self.class_name)!r})"


@dataclass
class ReadReport:
    """What was met while a file was read.

    Attributes:
        unknown: ``module.name`` of every global that is not understood -> how many inert objects were made of it (0: only named).
        notices: licence notices of networks, each once.
        opcodes: how many were run, those of nested pickles included.
        cyclic: whether a container holds itself; code that walks the result must expect it.
    """

    unknown: dict[str, int] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    opcodes: int = 0
    cyclic: bool = False

    def count_unknown(self, name: str, made: int = 1) -> None:
        """Note that ``made`` inert objects of the global ``name`` were made."""
        self.unknown[name] = self.unknown.get(name, 0) + made

    def add_notice(self, notice: str) -> None:
        """Keep a licence notice, each once, at most 16."""
        if notice and notice not in self.notices and len(self.notices) < MAX_NOTICES:
            self.notices.append(notice)

    def require_known(self) -> None:
        """Raise :class:`ProxymaskError` if anything unknown was met (``--strict``)."""
        if self.unknown:
            names = sorted(self.unknown)
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise ProxymaskError(
                f"it names {', '.join(names[:5])}{more}, which are not understood; without --strict they are kept as inert objects"
            )


class Storage:
    """The memory that tensors of a file share: ``data`` is uint8 (bytes,), to be viewed as ``dtype``; the length is in elements."""

    __slots__ = ("data", "dtype")

    def __init__(self, dtype: torch.dtype, data: torch.Tensor) -> None:
        self.dtype = dtype
        self.data = data

    def __len__(self) -> int:
        return self.data.numel() // self.dtype.itemsize

    @classmethod
    def over(cls, data: memoryview, dtype: torch.dtype, budget: Budget) -> "Storage":
        """A storage that shows ``data``; a copy where the data are read-only or not aligned to ``dtype``."""
        budget.charge_bytes(len(data))
        if not len(data):
            return cls(dtype, torch.empty(0, dtype=torch.uint8))
        shown = np.frombuffer(data, dtype=np.uint8)
        if dtype == torch.bool:
            check_booleans(shown, "tensor")
        if data.readonly or shown.ctypes.data % dtype.itemsize:
            shown = shown.copy()
        return cls(dtype, torch.from_numpy(shown))


class UnfinishedArray:
    """A numpy array or dtype between its REDUCE and its BUILD opcode.

    Attributes:
        dtype: the dtype whose byte order is still to be set; None for an array.
        memo: indices of the pickle's memo where the finished object has to go as well.
    """

    __slots__ = ("dtype", "memo")

    def __init__(self, dtype: np.dtype[Any] | None = None) -> None:
        self.dtype = dtype
        self.memo: list[int] = []


def check_booleans(data: np.ndarray[Any, Any], what: str) -> None:
    """Refuse bytes other than 0 and 1 in boolean ``data`` (uint8, not empty): every operation on them would be undefined."""
    if data.max() > 1:
        raise ProxymaskError(f"a boolean {what} holds bytes other than 0 and 1: {DAMAGED}")
