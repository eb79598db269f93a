"""Reads what ``torch.save`` writes, and bare pickles: the zip, the legacy stream, and pickles with such streams in them.

All hold a pickle that names its storages by a persistent id ``("storage", class, key, device, length)``; the storages' bytes lie outside
of it. In a zip they are entries, and tensors are views of the mapped file. In a legacy stream they follow the pickle, so each is allocated
when it is named and filled at the end. Source: ``torch/serialization.py``.
"""

import mmap
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch

from ...core.errors import ProxymaskError
from .budget import DEFAULT_LIMITS, Budget, Limits
from .checks import check_result
from .containers import (
    LEGACY_MAGIC,
    TORCH_LEGACY,
    TORCH_ZIP,
    TORCHSCRIPT_PROBLEM,
    container_of,
    find_data_pkl,
    is_torchscript,
    not_from_torch,
)
from .context import ReadContext
from .inert import Buffer, InertObject, ReadReport, Storage, check_booleans
from .known_names import storage_dtype
from .messages import BROKEN_DOWNLOAD, DAMAGED, MALICIOUS, file_errors, printable
from .stack_machine import PersistentLoad, StackMachine
from .unpickler import run_pickle
from .zip_archive import ZipArchive

LEGACY_VERSION = 1001  # torch.serialization.PROTOCOL_VERSION


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


def read_stream(data: memoryview, limits: Limits = DEFAULT_LIMITS, report: ReadReport | None = None) -> Any:
    """Read a zip, a legacy stream or a bare pickle out of memory.

    Args:
        data: from its first byte on.
        limits: what it may cost.
        report: is filled where given.

    Returns:
        as :func:`read_pickle`.

    Raises:
        ProxymaskError: damaged, truncated, over a limit, or none of the three.
    """
    return _read(data, limits, report, _read_any)


def read_pickle(
    source: Buffer | BinaryIO | str | Path,
    limits: Limits = DEFAULT_LIMITS,
    persistent_load: PersistentLoad | None = None,
    report: ReadReport | None = None,
) -> Any:
    """Read one pickle (protocol 0 to 5) and run nothing.

    Args:
        source: bytes, a file open for binary reading (read to its end) or a path (mapped).
        limits: what it may cost.
        persistent_load: gives the object for a persistent id; where None, such ids are refused.
        report: is filled where given.

    Returns:
        None, bool, int, float, str, bytes, list, tuple, set, dict, :class:`collections.OrderedDict`, numpy arrays and scalars, torch
        tensors (on the CPU, never requiring gradients), dtypes and devices, :class:`~.inert.PersistentModule`,
        :class:`~.inert.InertObject`, :class:`~.inert.Global`. Bytes of 64 KiB and more that no array is made of come as a memoryview.
        Arrays may be read-only.

    Raises:
        ProxymaskError: damaged, truncated, over a limit, or not a pickle; the message begins with the path where one was given.
    """
    if isinstance(source, str | Path):
        with file_errors(source):
            return read_pickle(map_file(Path(source)), limits, persistent_load, report)
    data = memoryview(source if isinstance(source, Buffer) else source.read())
    return _read(data, limits, report, lambda data, file: run_pickle(StackMachine(data, file, persistent_load=persistent_load)))


def _read(data: memoryview, limits: Limits, report: ReadReport | None, read: Callable[[memoryview, ReadContext], Any]) -> Any:
    report = report if report is not None else ReadReport()
    budget = Budget(limits, len(data))
    with file_errors():
        result = check_result(read(data, ReadContext(budget, report, _read_any)), limits, report)
    report.opcodes = limits.max_opcodes - budget.opcodes_left
    return result


def _read_any(data: memoryview, file: ReadContext) -> Any:
    """Read one of the three containers; those that are nested in a pickle come here too."""
    container = container_of(data)
    if container == TORCH_ZIP:
        return _ZipReader(data, file).load()
    if container == TORCH_LEGACY:
        return _LegacyReader(data, file).load()
    return run_pickle(StackMachine(data, file))


class _StorageId(NamedTuple):
    """A persistent id of ``torch.save``: dtype is None for a storage class that is not known; the length is in elements."""

    cls: Any
    dtype: torch.dtype | None
    key: str
    length: int

    @property
    def nbytes(self) -> int:
        assert self.dtype is not None
        return self.length * self.dtype.itemsize

    @property
    def class_name(self) -> str:
        return str(getattr(self.cls, "qualified", "no class"))


def _storage_id(found: Any) -> _StorageId:
    if type(found) is not tuple or len(found) not in (5, 6) or found[0] != "storage":
        raise ProxymaskError(f"a persistent id in it names no storage; not from torch.save, or {DAMAGED}")
    _, cls, key, _, length = found[:5]
    if type(key) is not str or not re.fullmatch(r"[A-Za-z0-9_]{1,64}", key):
        raise ProxymaskError(f"a storage in it has a key that is no plain word of letters and digits: {MALICIOUS}")
    if type(length) is not int or length < 0:
        raise ProxymaskError(f"the storage {key} has no length: {MALICIOUS}")
    if len(found) == 6 and found[5] is not None:
        raise ProxymaskError(f"the storage {key} is part of another, as PyTorch 0.3 wrote it: save the file again with a newer PyTorch")
    return _StorageId(cls, storage_dtype(cls), key, length)


class _TorchReader(ABC):
    """What the zip and the legacy stream have in common: the storages that the pickle names, each once, by key."""

    def __init__(self, data: memoryview, file: ReadContext) -> None:
        self.data = data
        self.file = file
        self.storages: dict[str, Storage] = {}

    def persistent_load(self, found: Any) -> Any:
        """The storage of a persistent id, or the class of a whole module, which was once saved with its source code."""
        if type(found) is tuple and len(found) == 4 and found[0] == "module":  # ("module", class, source file, source)
            return found[1]
        wanted = _storage_id(found)
        known = self.storages.get(wanted.key)
        if known is None:
            return self.unknown_storage(wanted) if wanted.dtype is None else self.new_storage(wanted)
        if known.dtype != wanted.dtype or len(known) != wanted.length:
            raise ProxymaskError(f"the storage {wanted.key} is used with two kinds of numbers: {MALICIOUS}")
        return known

    @abstractmethod
    def unknown_storage(self, wanted: _StorageId) -> Any:
        """What stands for a storage of an unknown class."""

    @abstractmethod
    def new_storage(self, wanted: _StorageId) -> Storage:
        """Make the storage, and keep it by its key."""


class _ZipReader(_TorchReader):
    """The zip: its entries are ``PREFIX/data.pkl`` and ``PREFIX/data/KEY``."""

    def __init__(self, data: memoryview, file: ReadContext) -> None:
        super().__init__(data, file)
        self.archive = ZipArchive(data, file.budget)
        names = self.archive.names
        if is_torchscript(names):
            raise ProxymaskError(TORCHSCRIPT_PROBLEM)
        entry = find_data_pkl(names)
        if entry is None:
            raise ProxymaskError(not_from_torch(names))
        self.entry, self.entries, self.prefix = entry, set(names), entry.removesuffix("data.pkl")
        byteorder = f"{self.prefix}byteorder"
        self.big_endian = byteorder in self.entries and bytes(self.archive.read(byteorder)).strip() == b"big"

    def load(self) -> Any:
        return run_pickle(StackMachine(self.archive.read(self.entry), self.file, persistent_load=self.persistent_load))

    def unknown_storage(self, wanted: _StorageId) -> InertObject:
        """Its tensors become inert objects as well."""
        self.file.report.count_unknown(printable(f"storage of {wanted.class_name}"))
        self.file.budget.charge_object()
        return InertObject("torch", "storage", (wanted.cls, wanted.key, wanted.length))

    def new_storage(self, wanted: _StorageId) -> Storage:
        assert wanted.dtype is not None
        name = f"{self.prefix}data/{wanted.key}"
        if name not in self.entries:
            raise ProxymaskError(f"the storage {wanted.key} is not in the zip: {DAMAGED}")
        size = self.archive.size(name)
        if size != wanted.nbytes:
            raise ProxymaskError(f"the storage {wanted.key} has {size:,} bytes instead of {wanted.nbytes:,}: {MALICIOUS}")
        self.file.budget.charge_object()
        stored = self.archive.read(name)
        if self.big_endian:
            stored = self._to_little_endian(stored, wanted.dtype)
        self.storages[wanted.key] = Storage.over(stored, wanted.dtype, self.file.budget)
        return self.storages[wanted.key]

    def _to_little_endian(self, stored: memoryview, dtype: torch.dtype) -> memoryview:
        width = dtype.itemsize // (2 if dtype.is_complex else 1)  # complex numbers are pairs
        self.file.budget.charge_bytes(len(stored))
        return memoryview(np.frombuffer(stored, f"u{width}").byteswap().tobytes()) if width > 1 else stored


class _LegacyReader(_TorchReader):
    """The legacy stream: magic number, version, machine, pickle, list of keys; then for each key its length (8 bytes) and its bytes."""

    def __init__(self, data: memoryview, file: ReadContext) -> None:
        super().__init__(data, file)
        self.position = len(LEGACY_MAGIC)
        self.bytes_left = len(data)  # for storages: checked before anything is allocated

    def load(self) -> Any:
        if self._next_pickle() != LEGACY_VERSION:
            raise ProxymaskError(f"the legacy stream of torch.save is of an unknown version: {DAMAGED}")
        machine = self._next_pickle()
        if not isinstance(machine, Mapping) or machine.get("little_endian") is not True:
            raise ProxymaskError("it was saved on a big-endian machine, or is damaged: save it again in today's format")
        result = self._next_pickle(self.persistent_load)
        keys = self._next_pickle()
        if type(keys) is not list or not all(type(key) is str for key in keys):
            raise self._wrong_keys()
        if len(set(keys)) != len(keys) or set(keys) != set(self.storages):
            raise self._wrong_keys()
        for key in keys:
            self._fill(key)
        return result

    def _next_pickle(self, persistent_load: PersistentLoad | None = None) -> Any:
        machine = StackMachine(self.data, self.file, self.position, persistent_load)
        found = run_pickle(machine)
        self.position = machine.position
        return found

    def _wrong_keys(self) -> ProxymaskError:
        return ProxymaskError(f"the list of its storages is not that of its tensors: {DAMAGED}")

    def unknown_storage(self, wanted: _StorageId) -> Any:
        raise ProxymaskError(
            f"a storage of the class {wanted.class_name} is not understood, and nothing that follows it can be found: "
            "save the file again with tensors of plain numbers"
        )

    def new_storage(self, wanted: _StorageId) -> Storage:
        """Memory for a storage that is filled at the end."""
        assert wanted.dtype is not None
        self.bytes_left -= wanted.nbytes
        if self.bytes_left < 0:
            raise ProxymaskError(f"its storages need more bytes than the file has, {BROKEN_DOWNLOAD} from a source that you trust")
        self.file.budget.charge_object()
        self.file.budget.charge_bytes(wanted.nbytes)
        self.storages[wanted.key] = Storage(wanted.dtype, torch.empty(wanted.nbytes, dtype=torch.uint8))
        return self.storages[wanted.key]

    def _fill(self, key: str) -> None:
        storage, start, data = self.storages[key], self.position + 8, self.data
        end = start + storage.data.numel()
        if end > len(data):
            raise ProxymaskError(f"the file ends in the middle of its contents (at byte {len(data):,}), {BROKEN_DOWNLOAD}")
        if int.from_bytes(data[self.position : start], "little") != len(storage):
            raise ProxymaskError(f"the storage {key} does not have its stated length: {DAMAGED}")
        stored = np.frombuffer(data[start:end], np.uint8)
        if storage.dtype == torch.bool and stored.size:
            check_booleans(stored, "tensor")
        storage.data.numpy()[:] = stored
        self.position = end
