"""Reads what ``torch.save`` writes, and bare pickles: the zip of today, the old stream, and pickles with such streams in them.

All three hold a pickle that names its storages by key; the storages' bytes lie beside it. In a zip they are entries, and tensors show
the mapped file itself. In an old stream they follow the pickle, so each is allocated when it is named and filled at the end.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ProxymaskError
from .archive import Archive
from .calls import storage_dtype
from .detect import sniff
from .limits import Budget, Limits, naming, printable
from .records import ReadReport, Record, Storage, finish, storage_from
from .skim import LEGACY_MAGIC
from .unpickle import Reader, map_file

ZIP, LEGACY, PICKLE = "torch zip", "torch legacy stream", "pickle"


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        object: as :func:`~.unpickle.read_pickle` returns; tensors on the CPU, which may show the mapped file: leave it as it is
            while they are in use.
        format: ``torch zip``, ``torch legacy stream`` or ``pickle``.
        report: what was not understood.
    """

    object: Any
    format: str
    report: ReadReport


def read_torch(path: str | Path, limits: Limits = Limits()) -> Checkpoint:  # noqa: B008
    """Read a checkpoint of unknown origin: ``.pt``, ``.pth``, ``.pkl``, by what is in it and not by its name. Runs nothing.

    Args:
        path: of the file.
        limits: what it may cost.

    Raises:
        ProxymaskError: no such file, not a checkpoint (says what it is), damaged, truncated, or over a limit.
    """
    path = Path(path)
    facts = sniff(path)
    if facts.problem is not None:
        raise ProxymaskError(f"{path}: {facts.problem}")
    with naming(path):
        data = map_file(path)
        report, budget = ReadReport(), Budget(limits, len(data))
        result = finish(read_stream(data, budget, report), limits, report)
        report.opcodes = limits.max_opcodes - budget.opcodes
        return Checkpoint(result, format_of(data), report)


def format_of(data: memoryview) -> str:
    """Which of the three it is, by its first bytes."""
    return ZIP if data[:4] == b"PK\3\4" else LEGACY if data[: len(LEGACY_MAGIC)] == LEGACY_MAGIC else PICKLE


def read_stream(data: memoryview, budget: Budget, report: ReadReport, level: int = 0) -> Any:
    """Read a zip, an old stream or a bare pickle out of memory; nested ones come here too.

    Args:
        data: from its first byte on.
        budget, report: of the file it is in.
        level: how many pickles it is nested in.

    Returns:
        what is in it, not yet checked by :func:`~.records.finish`.
    """
    kind = format_of(data)
    if kind == ZIP:
        return _read_zip(data, budget, report, level)
    if kind == LEGACY:
        return _read_legacy(data, budget, report, level)
    return Reader(data, 0, budget, report, None, level).load()


def _storage_id(found: Any) -> tuple[Any, torch.dtype | None, str, int]:
    """Class, dtype, key and length of a storage out of its persistent id ``("storage", class, key, device, length)``."""
    if type(found) is not tuple or len(found) not in (5, 6) or found[0] != "storage":
        raise ProxymaskError("a persistent id in it names no storage: the file is damaged, or not from torch.save")
    _, kind, key, _, count = found[:5]
    if type(key) is not str or not re.fullmatch(r"[A-Za-z0-9_]{1,64}", key):
        raise ProxymaskError("a storage in it has a key that is no plain word: the file is damaged or malicious")
    if type(count) is not int or count < 0:
        raise ProxymaskError(f"the storage {key} has no length: the file is damaged or malicious")
    if len(found) == 6 and found[5] is not None:
        raise ProxymaskError(f"the storage {key} is part of another, as PyTorch 0.3 wrote it: save the file again with a newer PyTorch")
    return kind, storage_dtype(kind), key, count


def _is_module(found: Any) -> bool:
    """Whole modules were once saved with their source code: ``("module", class, source file, source)``."""
    return type(found) is tuple and len(found) == 4 and found[0] == "module"


def _same(known: Storage, dtype: torch.dtype | None, key: str, count: int) -> Storage:
    if known.dtype != dtype or len(known) != count:
        raise ProxymaskError(f"the storage {key} is said to be of two kinds: the file is damaged or malicious")
    return known


def _read_zip(data: memoryview, budget: Budget, report: ReadReport, level: int) -> Any:
    archive = Archive(data, budget)
    names = archive.names
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise ProxymaskError("a TorchScript archive, a program that would have to be run: get the checkpoint it was made from")
    pickles = [name for name in names if name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1)]
    if len(pickles) != 1:
        shown = ", ".join(printable(name, 40) for name in names[:3])
        raise ProxymaskError(f"a zip, but not from torch.save (it holds {shown or 'nothing'}): unpack it and give the checkpoint inside")
    prefix = pickles[0].removesuffix("data.pkl")
    entries = set(names)
    swapped = f"{prefix}byteorder" in entries and bytes(archive.read(f"{prefix}byteorder")).strip() == b"big"
    storages: dict[str, Storage] = {}

    def persistent(found: Any) -> Any:
        if _is_module(found):
            return found[1]
        kind, dtype, key, count = _storage_id(found)
        if key in storages:
            return _same(storages[key], dtype, key, count)
        if dtype is None:  # its tensors become records as well
            record = Record("torch", "storage", (kind, key, count))
            name = printable(f"storage of {getattr(kind, 'qualified', 'no class')}")
            report.unknown[name] = report.unknown.get(name, 0) + 1
            budget.take_object()
            return record
        name = f"{prefix}data/{key}"
        if name not in entries:
            raise ProxymaskError(f"the storage {key} is not in the zip: the file is damaged")
        if archive.size(name) != count * dtype.itemsize:
            there, said = archive.size(name), count * dtype.itemsize
            raise ProxymaskError(f"the storage {key} has {there:,} bytes instead of {said:,}: the file is damaged or malicious")
        budget.take_object()
        stored = archive.read(name)
        if swapped:
            stored = _swapped(stored, dtype, budget)
        storages[key] = storage_from(dtype, stored, budget)
        return storages[key]

    return Reader(archive.read(pickles[0]), 0, budget, report, persistent, level).load()


def _swapped(stored: memoryview, dtype: torch.dtype, budget: Budget) -> memoryview:
    """Bytes of a big-endian machine in this order; complex numbers are pairs."""
    width = dtype.itemsize // (2 if dtype.is_complex else 1)
    budget.take_bytes(len(stored))
    return memoryview(np.frombuffer(stored, f"u{width}").byteswap().tobytes()) if width > 1 else stored


def _read_legacy(data: memoryview, budget: Budget, report: ReadReport, level: int) -> Any:
    at = len(LEGACY_MAGIC)
    for what in ("version", "machine"):
        reader = Reader(data, at, budget, report, None, level)
        found = reader.load()
        at = reader.at
        if what == "version" and found != 1001:
            raise ProxymaskError("the old stream of torch.save has a version that never was: the file is damaged")
        if what == "machine" and (not isinstance(found, Mapping) or found.get("little_endian") is not True):
            raise ProxymaskError("it was saved on a big-endian machine, or is damaged: save it again in today's format")
    storages: dict[str, Storage] = {}
    left = len(data)

    def persistent(found: Any) -> Any:
        nonlocal left
        if _is_module(found):
            return found[1]
        kind, dtype, key, count = _storage_id(found)
        if key in storages:
            return _same(storages[key], dtype, key, count)
        if dtype is None:
            name = getattr(kind, "qualified", "no class")
            raise ProxymaskError(f"a storage of the kind {name} is not understood, and nothing behind it can be found")
        left -= count * dtype.itemsize
        if left < 0:  # checked before anything is allocated
            raise ProxymaskError("its storages need more bytes than the file has: a broken download, or malicious; get it again")
        budget.take_object()
        budget.take_bytes(count * dtype.itemsize)
        storages[key] = Storage(dtype, torch.empty(count * dtype.itemsize, dtype=torch.uint8))
        return storages[key]

    reader = Reader(data, at, budget, report, persistent, level)
    result = reader.load()
    keys_reader = Reader(data, reader.at, budget, report, None, level)
    keys = keys_reader.load()
    at = keys_reader.at
    if type(keys) is not list or not all(type(key) is str for key in keys) or len(set(keys)) != len(keys) or set(keys) != set(storages):
        raise ProxymaskError("the list of its storages is not that of its tensors: the file is damaged")
    for key in keys:
        storage = storages[key]
        size = storage.data.numel()
        if at + 8 + size > len(data):
            raise ProxymaskError(f"the file ends in the middle of its contents (at byte {len(data):,}), a broken download: get it again")
        if int.from_bytes(data[at : at + 8], "little") != len(storage):
            raise ProxymaskError(f"the storage {key} does not have the length it says: the file is damaged")
        stored = np.frombuffer(data[at + 8 : at + 8 + size], np.uint8)
        if storage.dtype == torch.bool and size and stored.max() > 1:
            raise ProxymaskError("a boolean tensor holds bytes other than 0 and 1: the file is damaged")
        storage.data.numpy()[:] = stored
        at += 8 + size
    return result
