"""``ImageSet``: a prepared set of pictures on disk, memory-mapped, with or without masks.

A prepared set is a folder of ``images.npy``, uint8 (N, H, W, 3), ``index.json`` and, with masks, ``masks.npy``, uint8 (N, H, W), and
``labels.json``. ``index.json`` is written last, so a folder that has it is complete.

Shapes: N pictures in the set, B in a batch, H x W their size.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.errors import ProxymaskError
from ..core.files import check_path, read_json
from ..core.sizes import Size, as_size, height_width, short_text
from ..imaging.labels import LabelSet
from ..imaging.picture_files import NAMED, named, others_text
from .prepare import SET_FORMAT, prepare_once

FINGERPRINT_SAMPLES = 64


class ImageSet:
    """Pictures (and masks) of one size, read from disk on access. Open one with :meth:`open`."""

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self.folder = folder
        self.names: list[str] = index["names"]
        self.size: Size = as_size(index["size"])
        self.skipped: int = (index.get("left_out") or {}).get("skipped", 0)
        """Picture files that could not be used when the set was prepared."""
        self.source: str = index.get("source") or ""
        """A hash of the files that it was prepared from, which is the same at every size."""
        self.content: str | None = index.get("content")
        """SHA-256 (hex) of all pictures and masks; sets of earlier versions do not have it."""
        shape = (len(self.names), *height_width(self.size))
        self._images = _map(folder / "images.npy", (*shape, 3))
        self._masks = _map(folder / "masks.npy", shape) if index["masks"] else None
        self.labels: LabelSet | None = LabelSet.load(folder / "labels.json") if index["masks"] else None

    @classmethod
    def open(
        cls, path: str | Path, size: Size | None = None, progress: Callable[[int, int], None] | None = None, strict: bool = False
    ) -> "ImageSet":
        """Open a prepared set, or prepare a folder of pictures first.

        Args:
            path: a prepared set, or any folder of pictures, or a dataset of ``make_dataset``. The latter two are prepared into
                ``<path>/.prepared-<size>``, once and again whenever their files change.
            size: side of the pictures in pixels, or (height, width). Required if ``path`` is not prepared, checked if it is.
            progress: called with (files done, files) while preparing.
            strict: leave out pictures whose mask holds colours that are not exactly those of the labels.

        Raises:
            ProxymaskError: missing folder, no pictures, another size or format, damaged files; with ``strict``, a set whose masks were
                prepared without it.
        """
        path = check_path(path, "path")
        if not path.is_dir():
            raise ProxymaskError(f"{path} is not a folder" if path.exists() else f"{path} does not exist")
        if not (path / "index.json").is_file():
            if size is None:
                raise ProxymaskError(f"{path} is not a prepared set (no index.json): give the size to prepare it at, or prepare it first")
            path = prepare_once(path, size, progress, strict)
        index = read_json(path / "index.json")
        if not isinstance(index, dict) or not {"format", "names", "size", "masks"} <= index.keys():
            raise ProxymaskError(f"{path / 'index.json'} is not the index of a prepared set")
        if index["format"] != SET_FORMAT:
            raise ProxymaskError(f"{path} has format {index['format']}, this version reads {SET_FORMAT}: prepare it again")
        if not _is_size(index["size"]):
            raise ProxymaskError(f"{path / 'index.json'} is damaged: its size is {index['size']!r}; prepare the set again")
        if size is not None and as_size(size) != as_size(index["size"]):
            have, wanted = short_text(index["size"]), short_text(size)
            raise ProxymaskError(f"{path} is prepared at {have} pixels, not {wanted}: prepare it again at {wanted}")
        if strict and index["masks"] and not index.get("strict"):
            raise ProxymaskError(
                f"--strict: the masks in {path} were prepared without it: prepare them again with --strict, or leave it out"
            )
        for note in _left_out_notes(path, index):
            warnings.warn(note, stacklevel=2)
        return cls(path, index)

    def __len__(self) -> int:
        return len(self.names)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.folder,)  # a worker process maps the files again; their content is not pickled

    def images(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> pictures, float32 (B, 3, H, W) in [-1, 1]."""
        batch = torch.from_numpy(self._images[_indices(indices)])
        return batch.permute(0, 3, 1, 2).contiguous().float().div_(127.5).sub_(1)

    def masks(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> masks of label ids, int64 (B, H, W); a :class:`ProxymaskError` if the set has none."""
        if self._masks is None:
            raise ProxymaskError(f"{self.folder} has no masks")
        return torch.from_numpy(self._masks[_indices(indices)]).long()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the names, the size, the labels, and all pictures and masks; independent of the folder.

        Of a set that an earlier version prepared: of a sample of the pictures and masks, as that version had it.
        """
        if self.content is None:
            return self._sampled_fingerprint
        return hashlib.sha256(f"{self._described} {self.content}".encode()).hexdigest()

    def has_fingerprint(self, other: str | None) -> bool:
        """Whether ``other`` is the fingerprint of this set, in the form of this version or of an earlier one."""
        return other in (self.fingerprint, self._sampled_fingerprint)

    @property
    def _described(self) -> str:
        labels = [[label.id, label.name, label.hex] for label in self.labels.labels] if self.labels else None
        return json.dumps([SET_FORMAT, self.size, self.names, labels])

    @cached_property
    def _sampled_fingerprint(self) -> str:
        digest = hashlib.sha256(self._described.encode())
        sample = np.unique(np.linspace(0, len(self) - 1, FINGERPRINT_SAMPLES).round().astype(np.int64))
        for array in (self._images, self._masks):
            if array is not None:
                digest.update(array[sample].tobytes())
        return digest.hexdigest()


def _reopened(folder: Path) -> ImageSet:
    """The set again, without its notes."""
    return ImageSet(folder, read_json(folder / "index.json"))


def _left_out_notes(folder: Path, index: dict[str, Any]) -> list[str]:
    """What the set says of the files that are not in it, and of what was assumed when it was prepared."""
    about = index.get("left_out")  # sets of earlier versions do not have it
    if not isinstance(about, dict):
        return []
    source = folder.parent if folder.name.startswith(".prepared-") else folder
    notes = [f"{source}: {note}" for note in about["notes"]]
    if about["skipped"]:
        kept, some = len(index["names"]), about["files"][:NAMED]
        rest, names = about["skipped"] - len(some), dict[str, list[str]]()
        for name, why in some:
            names.setdefault(why, []).append(name)
        listed = "; ".join(named(", ".join(group), why) for why, group in names.items()) + (f"; and {rest:,} more" if rest else "")
        notes.append(f"{source}: {kept:,} of {kept + about['skipped']:,} pictures can be used; left out: {listed}")
    if about["others"]:
        notes.append(f"{source}: {others_text([Path(name) for name in about['others']])}")
    return notes


def _is_size(size: Any) -> bool:
    """Whether a JSON value is a stored :data:`Size`."""
    return isinstance(size, int) or (isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size))


def _indices(indices: Sequence[int] | torch.Tensor) -> np.ndarray:
    if isinstance(indices, torch.Tensor):
        return indices.detach().cpu().numpy().astype(np.int64)
    return np.asarray(indices, dtype=np.int64)


def _map(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Memory-map a uint8 array of exactly this shape."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ProxymaskError(f"{path} is missing: prepare the set again") from None
    except (ValueError, OSError) as error:
        raise ProxymaskError(f"{path} is damaged or truncated ({error}): prepare the set again") from None
    if array.dtype != np.uint8 or array.shape != shape:
        raise ProxymaskError(f"{path} holds {array.dtype} {array.shape}, its index.json says uint8 {shape}: prepare the set again")
    return array
