"""Converting a folder of pictures into a prepared set of one size (see ``dataset.py``)."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..core.errors import ProxymaskError
from ..core.files import read_json, write_json
from ..core.sizes import Size, as_size, centre_box, height_width, short_text
from ..core.threads import available_cpus
from ..imaging.labels import LabelSet
from ..imaging.masks import read_mask
from ..imaging.reader import SUFFIXES, read_picture

SET_FORMAT = 1  # of prepared sets
NPY_HEADER = 128  # bytes; fixed, so that the number of pictures can be written at the end


@dataclass
class PrepareReport:
    """Result of :func:`prepare_folder`: number of pictures ``kept``; files ``skipped``, with the reason; number of pictures ``upscaled``,
    because they were smaller than ``size``."""

    kept: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    upscaled: int = 0


def prepare_folder(images: str | Path, out: str | Path, size: Size, progress: Callable[[int, int], None] | None = None) -> PrepareReport:
    """Write the pictures of a folder as a prepared set: RGB, upright, cropped to the aspect ratio of ``size``, resized by Lanczos.

    All PNG, JPEG and WebP files below ``images`` are used, in the order of their paths, except in hidden folders. Transparency becomes
    white. A file that cannot be read is skipped and listed in the report. If ``images`` is a dataset with ``images/``, ``masks/`` and
    ``labels.json``, its masks are cropped likewise and resized by nearest neighbour.

    Args:
        images: the folder.
        out: the prepared set; new, empty, or an older prepared set, which is replaced.
        size: side of the pictures in pixels, 8 to 4096, or their height and width.
        progress: called with (files done, files).

    Raises:
        ProxymaskError: missing folder, no readable picture, ``out`` has other content, a full disk.
    """
    images, out = Path(images), Path(out)
    height, width = height_width(size)
    if not 8 <= min(height, width) <= max(height, width) <= 4096:
        raise ProxymaskError(f"size must be 8 to 4096 pixels, got {short_text(size)}")
    root, masks, labels = _layout(images)
    files = _pictures(root)
    if not files:
        raise ProxymaskError(f"{images} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    if out.exists() and (not out.is_dir() or any(not _is_part_of_set(entry) for entry in out.iterdir())):
        raise ProxymaskError(f"{out} holds something else: choose a new or empty folder")
    source = _source_hash(images)
    report, names = PrepareReport(), []

    def read(file: Path) -> tuple[np.ndarray, np.ndarray | None, bool] | str:
        try:
            return _read_pair(file, masks / file.relative_to(root).with_suffix(".png") if masks else None, labels, size)
        except ProxymaskError as error:
            return str(error)

    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "index.json").unlink(missing_ok=True)  # the folder is no prepared set until the new index is written
        with (
            _NpyWriter(out / "images.npy", (height, width, 3)) as pictures,
            _NpyWriter(out / "masks.npy", (height, width), masks is not None) as ids,
        ):
            for number, (file, result) in enumerate(_in_threads(read, files), start=1):
                if isinstance(result, str):
                    report.skipped.append((file, result))
                else:
                    pictures.append(result[0])
                    if result[1] is not None:
                        ids.append(result[1])
                    report.upscaled += result[2]
                    names.append(file.relative_to(root).as_posix())
                if progress:
                    progress(number, len(files))
        report.kept = len(names)
        if not names:
            file, reason = report.skipped[0]
            raise ProxymaskError(f"none of the {len(files)} files in {images} can be used; the first, {file.name}: {reason}")
        if labels:
            labels.save(out / "labels.json")
        index = {"format": SET_FORMAT, "size": as_size(size), "masks": masks is not None, "source": source, "names": names}
        write_json(out / "index.json", index)
    except OSError as error:
        raise ProxymaskError(f"cannot write {out} ({error.strerror or error}): make room or choose another folder") from None
    return report


def prepared_folder(folder: Path, size: Size) -> Path:
    """The folder of :func:`prepare_once`: ``.prepared-128`` in ``folder``, or ``.prepared-256x128`` (width x height)."""
    return folder / f".prepared-{short_text(size)}"


def prepare_once(folder: Path, size: Size, progress: Callable[[int, int], None] | None = None) -> Path:
    """Prepare ``folder`` into :func:`prepared_folder`, unless that exists and the files have not changed. Returns the prepared folder."""
    out = prepared_folder(folder, size)
    if (out / "index.json").is_file():
        index = read_json(out / "index.json")
        if isinstance(index, dict) and index.get("format") == SET_FORMAT and index.get("source") == _source_hash(folder):
            return out
    prepare_folder(folder, out, size, progress)
    return out


def _read_pair(file: Path, mask_file: Path | None, labels: LabelSet | None, size: Size) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """A picture, uint8 (H, W, 3), its mask, uint8 (H, W) or None, and whether the picture was smaller than ``size``."""
    picture = read_picture(file)
    height, width = height_width(size)
    box = centre_box(picture.height, picture.width, size)
    mask = None
    if mask_file is not None and labels is not None:
        ids = read_mask(mask_file, labels)
        if ids.shape != (picture.height, picture.width):
            raise ProxymaskError(f"its mask is {ids.shape[1]}x{ids.shape[0]}, the picture {picture.width}x{picture.height}")
        mask = np.asarray(Image.fromarray(ids).crop(box).resize((width, height), Image.Resampling.NEAREST))
    # Crop first: resize with a box would filter pixels from outside the box.
    resized = picture.crop(box).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(resized), mask, box[2] - box[0] < width


def _layout(folder: Path) -> tuple[Path, Path | None, LabelSet | None]:
    """The folders of the pictures and, in a dataset, of the masks, and the labels."""
    if not folder.is_dir():
        raise ProxymaskError(f"{folder} is not a folder" if folder.exists() else f"{folder} does not exist")
    if not ((folder / "images").is_dir() and (folder / "masks").is_dir() and (folder / "labels.json").is_file()):
        return folder, None, None
    if (folder / "dataset.json").is_file():
        about, there = read_json(folder / "dataset.json"), sum(1 for _ in (folder / "images").glob("*.png"))
        if there < about.get("count", 0):
            raise ProxymaskError(f"{folder} has {there} of its {about['count']} pictures: make the dataset again with the same arguments")
    return folder / "images", folder / "masks", LabelSet.load(folder / "labels.json")


def _pictures(root: Path) -> list[Path]:
    """All picture files below ``root``, sorted by path, except hidden files and folders."""
    found = []
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in files if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _source_hash(folder: Path) -> str:
    """A hash of the names, sizes and times of the files in ``folder``, which changes when one is added, removed or edited."""
    digest = hashlib.sha256()
    for file in _pictures(folder):
        stat = file.stat()
        digest.update(f"{file.relative_to(folder).as_posix()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    if (folder / "labels.json").is_file():
        digest.update((folder / "labels.json").read_bytes())
    return digest.hexdigest()


def _is_part_of_set(entry: Path) -> bool:
    """Whether a file belongs to a prepared set."""
    return entry.name.removesuffix(".tmp") in {"images.npy", "masks.npy", "labels.json", "index.json"}


def _in_threads(read: Callable[[Path], Any], files: Iterable[Path]) -> Iterator[tuple[Path, Any]]:
    """(file, ``read(file)``) in order, read in threads, a limited number ahead. Decoding releases the interpreter lock."""
    workers = available_cpus()
    with ThreadPoolExecutor(workers) as pool:
        iterator = iter(files)
        while block := list(itertools.islice(iterator, 16 * workers)):
            yield from zip(block, pool.map(read, block), strict=True)


class _NpyWriter:
    """Writes a uint8 array row by row, without knowing its length in advance. The file gets its name when it is complete.

    ``active`` False writes nothing and removes an older file.
    """

    def __init__(self, path: Path, row: tuple[int, ...], active: bool = True) -> None:
        self.path, self.row, self.active, self.count = path, row, active, 0
        self.temporary = path.with_name(path.name + ".tmp")

    def __enter__(self) -> "_NpyWriter":
        if self.active:
            self.file = self.temporary.open("wb")
            self.file.write(bytes(NPY_HEADER))
        return self

    def append(self, array: np.ndarray) -> None:
        assert (array.dtype, array.shape) == (np.uint8, self.row)
        self.file.write(np.ascontiguousarray(array).tobytes())
        self.count += 1

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if not self.active:
            self.path.unlink(missing_ok=True)
            return
        try:
            if kind is None:
                text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(self.count, *self.row)}, }}"
                self.file.seek(0)
                self.file.write(b"\x93NUMPY\x01\x00" + (NPY_HEADER - 10).to_bytes(2, "little"))
                self.file.write(text.ljust(NPY_HEADER - 11).encode() + b"\n")
        finally:
            self.file.close()
        if kind is None:
            os.replace(self.temporary, self.path)
        else:
            self.temporary.unlink(missing_ok=True)
