"""Converting a folder of pictures into a prepared set of one size (see ``dataset.py``)."""

import contextlib
import hashlib
import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..core.checks import checked
from ..core.errors import ProxymaskError, cannot_write
from ..core.files import check_folder, check_path, read_json, write_json
from ..core.lock import folder_lock, is_lock
from ..core.sizes import Size, as_size, centre_box, height_width, short_text
from ..core.text import counted, shell_word
from ..core.threads import available_cpus
from ..imaging.bit_depth import DEEP_MODES, deep_maximum, full_scale
from ..imaging.labels import LabelSet
from ..imaging.masks import read_mask_notes
from ..imaging.picture_files import NAMED, Listing, list_pictures, named, picture_suffixes, reason
from ..imaging.reader import crop, is_deep, open_picture, pixel_count, read_picture

SET_FORMAT = 1  # of prepared sets
NEARLY_BLACK = 16  # a picture whose maximum times this is below the range of its set is of fewer bits
LARGE_FILE, LARGE_PICTURE = 2**20, 40_000_000  # bytes, pixels: larger ones are decoded one at a time, to save memory
LISTED = 20  # files that are left out and named in index.json
NPY_HEADER = 128  # bytes; fixed, so that the number of pictures can be written at the end


@dataclass
class PrepareReport:
    """Result of :func:`prepare_folder`."""

    kept: int = 0
    """Number of pictures in the set."""
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    """Picture files that could not be used, with the reason."""
    others: list[Path] = field(default_factory=list)
    """Files without the suffix of a picture."""
    notes: list[str] = field(default_factory=list)
    """What was assumed, and for how many pictures."""


@checked
def prepare_folder(
    images: str | Path, out: str | Path, size: Size, progress: Callable[[int, int], None] | None = None, strict: bool = False
) -> PrepareReport:
    """Write the pictures of a folder as a prepared set: RGB, upright, cropped to the aspect ratio of ``size``, resized by Lanczos.

    All picture files below ``images`` are used, in the order of their paths, except in hidden folders. Transparency becomes white, colour
    profiles are converted. The range of grey pictures with more than 8 bits is decided for the whole set: the fewest bits that hold its
    largest value; pictures that stay below 1/16 of that are of fewer bits, and are read as such. A file that cannot be read is skipped and
    listed in the report. If ``images`` is a dataset with ``images/``, ``masks/`` and
    ``labels.json``, its masks are cropped likewise and resized by nearest neighbour.

    Args:
        images: the folder.
        out: the prepared set; new, empty, or an older prepared set, which is replaced.
        size: side of the pictures in pixels, 8 to 4096, or their height and width.
        progress: called with (files done, files).
        strict: skip pictures whose mask holds colours that are not exactly those of the labels, see :func:`read_mask`.

    Raises:
        ProxymaskError: missing folder, no readable picture, ``out`` has other content or is written by another process, a full disk.
    """
    images, out = check_path(images, "images"), check_path(out, "out")
    check_folder(out)
    with folder_lock(out):
        return _prepare_folder(images, out, size, progress, strict)


def _prepare_folder(images: Path, out: Path, size: Size, progress: Callable[[int, int], None] | None, strict: bool) -> PrepareReport:
    height, width = height_width(size)
    if not 8 <= min(height, width) <= max(height, width) <= 4096:
        raise ProxymaskError(f"size must be 8 to 4096 pixels, got {short_text(size)}")
    root, masks, labels = _layout(images)
    listing = list_pictures(root)
    files = listing.files
    if not files:
        raise no_pictures(images, listing)
    if out.exists() and (not out.is_dir() or any(not _is_part_of_set(entry) for entry in out.iterdir())):
        raise ProxymaskError(f"{out} {'holds something else' if out.is_dir() else 'is a file'}: choose a new or empty folder")
    source = _source_hash(images)
    report, names = PrepareReport(skipped=list(listing.broken), others=listing.others), []
    scales, said, of_masks = _deep_scales(files, report.notes), Counter[str](), list[str]()
    one_large = threading.Lock()

    def read(file: Path) -> _Pair | str:
        try:
            large = file.stat().st_size > LARGE_FILE and pixel_count(file) > LARGE_PICTURE
            with one_large if large else contextlib.nullcontext():
                mask = masks / file.relative_to(root).with_suffix(".png") if masks else None
                return _read_pair(file, mask, labels, size, scales.get(file), strict)
        except ProxymaskError as error:
            return error.message
        except OSError as error:
            return f"cannot be read ({error.strerror or error})"

    try:
        out.mkdir(parents=True, exist_ok=True)
        with (
            _NpyWriter(out / "images.npy", (height, width, 3)) as pictures,
            _NpyWriter(out / "masks.npy", (height, width), masks is not None) as ids,
        ):
            for number, (file, result) in enumerate(_in_threads(read, files), start=1):
                if isinstance(result, str):
                    report.skipped.append((file, reason(file, result)))
                else:
                    pictures.append(result.picture)
                    if result.mask is not None:
                        ids.append(result.mask)
                    said.update(result.notes)
                    if result.enlarged:
                        said[f"smaller than {short_text(size)} and enlarged; at a smaller size they stay sharp"] += 1
                    of_masks += result.of_mask
                    names.append(file.relative_to(root).as_posix())
                if progress:
                    progress(number, len(files))
            if not names:  # an earlier set in the folder stays
                total = len(files) + len(listing.broken)
                raise ProxymaskError(f"none of the {total} files in {images} can be used; {named(*report.skipped[0])}")
            (out / "index.json").unlink(missing_ok=True)  # the folder is no prepared set until the new index is written
        report.kept = len(names)
        report.notes += [f"{counted(count, 'picture')}: {note}" for note, count in said.items()]
        report.notes += of_masks[:NAMED] + (
            [f"and {counted(len(of_masks) - NAMED, 'note')} of other masks"] if len(of_masks) > NAMED else []
        )
        if labels:
            labels.save(out / "labels.json")
        index: dict[str, Any] = {
            "format": SET_FORMAT,
            "size": as_size(size),
            "masks": masks is not None,
            "strict": strict,
            "source": source,
            "content": hashlib.sha256(pictures.digest.digest() + ids.digest.digest()).hexdigest(),
        }
        write_json(out / "index.json", {**index, "left_out": _left_out(report, root), "names": names})
    except OSError as error:
        raise cannot_write(out, error, "another folder") from None
    return report


def no_pictures(folder: Path, listing: Listing) -> ProxymaskError:
    """The error for a folder without picture files: the first that cannot be opened, or the suffixes that are looked for."""
    if listing.broken:
        return ProxymaskError(f"{folder} holds no pictures: {named(*listing.broken[0])}")
    there = f"; its {len(listing.others):,} files have other suffixes, as {listing.others[0].name}" if listing.others else ""
    return ProxymaskError(f"{folder} holds no pictures ({picture_suffixes()}){there}")


def source_files(folder: Path) -> Listing:
    """The picture files that :func:`prepare_folder` takes from a folder.

    Raises:
        ProxymaskError: no such folder, or a damaged data set.
    """
    return list_pictures(_layout(folder)[0])


def _deep_scales(files: Sequence[Path], notes: list[str]) -> dict[Path, int]:
    """The value that is white in each grey picture with more than 8 bits; a note says what was decided."""
    largest: dict[Path, float] = {}
    for file, maximum in _in_threads(_maximum, [file for file in files if is_deep(file)]):
        if maximum is not None:
            largest[file] = maximum
    if not largest:
        return {}
    of_set = full_scale(max(largest.values()))
    scales = {file: of_set if maximum * NEARLY_BLACK >= of_set else full_scale(maximum) for file, maximum in largest.items()}
    text = f"{len(largest):,} grey {'picture has' if len(largest) == 1 else 'pictures have'} more than 8 bits: read as {_range(of_set)}"
    apart = [file for file, scale in scales.items() if scale != of_set]
    if apart:
        some = ", ".join(f"{file.name} as {_range(scales[file])}" for file in apart[:3]) + (", ..." if len(apart) > 3 else "")
        text += f", except {len(apart):,} that would be nearly black ({some})"
    notes.append(text)
    return scales


def _maximum(file: Path) -> float | None:
    try:
        picture = open_picture(file, [])
        return deep_maximum(picture) if picture.mode in DEEP_MODES else None
    except ProxymaskError:  # said when it is read
        return None


def _range(full: int) -> str:
    return f"{full.bit_length()} bits (0 to {full:,})" if full > 1 else "0 to 1"


def _left_out(report: PrepareReport, root: Path) -> dict[str, Any]:
    """What ``index.json`` says of files that are not in the set."""
    some = [[_short(path, root), why] for path, why in report.skipped[:LISTED]]
    return {"skipped": len(report.skipped), "files": some, "others": [path.name for path in report.others[:LISTED]], "notes": report.notes}


def _short(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def prepared_folder(folder: Path, size: Size) -> Path:
    """The folder of :func:`prepare_once`: ``.prepared-128`` in ``folder``, or ``.prepared-256x128`` (width x height)."""
    return folder / f".prepared-{short_text(size)}"


def prepare_once(folder: Path, size: Size, progress: Callable[[int, int], None] | None = None, strict: bool = False) -> Path:
    """Prepare ``folder`` into :func:`prepared_folder`, unless that exists and the files have not changed. Returns the prepared folder."""
    out = prepared_folder(folder, size)
    if (out / "index.json").is_file():
        index = read_json(out / "index.json")
        same = isinstance(index, dict) and index.get("format") == SET_FORMAT and index.get("source") == _source_hash(folder)
        if same and (not index.get("masks") or index.get("strict", False) == strict):
            return out
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise ProxymaskError(
            f"cannot write into {folder}, where its pictures are prepared: run proxymask data prepare {shell_word(folder)} --size "
            f"{short_text(size)} --out FOLDER, and give that FOLDER"
        )
    prepare_folder(folder, out, size, progress, strict)
    return out


class _Pair(NamedTuple):
    """A picture that was read."""

    picture: np.ndarray
    """uint8 (H, W, 3)."""
    mask: np.ndarray | None
    """Ids, uint8 (H, W)."""
    enlarged: bool
    """The picture was smaller than the size of the set."""
    notes: list[str]
    """On the picture."""
    of_mask: list[str]
    """On its mask, with the name of the file."""


def _read_pair(file: Path, mask_file: Path | None, labels: LabelSet | None, size: Size, full: int | None, strict: bool) -> _Pair:
    """A picture and its mask, at ``size``."""
    notes, of_mask = list[str](), list[str]()
    picture = read_picture(file, full, notes)
    height, width = height_width(size)
    box = centre_box(picture.height, picture.width, size)
    mask = None
    if mask_file is not None and labels is not None:
        found = read_mask_notes(mask_file, labels, strict=strict)
        ids, of_mask = found.ids, [f"{mask_file}: {note}" for note in found.notes]
        if ids.shape != (picture.height, picture.width):
            raise ProxymaskError(f"its mask is {ids.shape[1]}x{ids.shape[0]}, the picture {picture.width}x{picture.height}")
        mask = np.asarray(Image.fromarray(ids).crop(box).resize((width, height), Image.Resampling.NEAREST))
    # Crop first: resize with a box would filter pixels from outside the box.
    resized = crop(picture, box).resize((width, height), Image.Resampling.LANCZOS)
    return _Pair(np.asarray(resized), mask, box[2] - box[0] < width, notes, of_mask)


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


def _source_hash(folder: Path) -> str:
    """A hash of the names, sizes and times of the files in ``folder``, which changes when one is added, removed or edited."""
    digest = hashlib.sha256()
    for file in list_pictures(folder).files:
        try:
            stat = file.stat()
            about = f"{stat.st_size}\0{stat.st_mtime_ns}"
        except OSError:  # a link to itself
            about = "unreadable"
        digest.update(os.fsencode(f"{file.relative_to(folder).as_posix()}\0{about}\n"))
    if (folder / "labels.json").is_file():
        digest.update((folder / "labels.json").read_bytes())
    return digest.hexdigest()


def _is_part_of_set(entry: Path) -> bool:
    """Whether a file belongs to a prepared set."""
    return is_lock(entry) or entry.name.removesuffix(".tmp") in {"images.npy", "masks.npy", "labels.json", "index.json"}


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
        self.path, self.row, self.active, self.count, self.digest = path, row, active, 0, hashlib.sha256()
        self.temporary = path.with_name(path.name + ".tmp")

    def __enter__(self) -> "_NpyWriter":
        if self.active:
            self.file = self.temporary.open("wb")
            self.file.write(bytes(NPY_HEADER))
        return self

    def append(self, array: np.ndarray) -> None:
        assert (array.dtype, array.shape) == (np.uint8, self.row)
        values = np.ascontiguousarray(array).tobytes()
        self.file.write(values)
        self.digest.update(values)
        self.count += 1

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if not self.active:
            if kind is None:
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
