"""Mask files on disk: those in a given folder, and the examples that come with the package."""

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from ..core.errors import ProxymaskError
from .labels import LabelSet
from .picture_files import distinct_names, enters
from .reader import SUFFIXES

PLACES = (Path(__file__).parents[1] / "examples" / "masks", Path(__file__).parents[3] / "examples" / "masks")  # wheel, checkout

README = """Example masks of the embedded bundle avatars: palette PNGs whose indices are the ids in labels.json. Paint over one with the
colours of the classes, in any image editor, save it as PNG, and run: proxymask mask check MASK
"""


class MaskFile(NamedTuple):
    """A mask on disk."""

    name: str
    """Path below the folder that was searched, without suffix; with it, as ``face-png``, where two files differ in nothing else."""
    path: Path


def example_masks() -> Path:
    """The folder of the example masks of avatars.

    Raises:
        ProxymaskError: neither in the installed package nor in a checkout.
    """
    for place in PLACES:
        if place.is_dir():
            return place
    raise ProxymaskError(f"{PLACES[0]} is missing: install proxymask again")


def write_example_masks(out: Path, labels: LabelSet) -> list[Path]:
    """Copy the example masks to ``out``, with labels.json and a README.md.

    Args:
        out: a new or empty folder.
        labels: the classes of the masks.

    Returns:
        The masks that were written.

    Raises:
        ProxymaskError: ``out`` is a file or holds files, or cannot be written.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ProxymaskError(f"--out {out} {'is a file' if out.is_file() else 'holds files'}: give a new or an empty folder")
    source = example_masks()
    written = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for mask in find_masks(source, labels):
            target = out / mask.path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            written.append(Path(shutil.copyfile(mask.path, target)))
        labels.save(out / "labels.json")
        (out / "README.md").write_text(README, encoding="utf-8")
    except OSError as error:
        raise ProxymaskError(f"cannot write to --out {out} ({error.strerror or error}): make room or give another folder") from None
    return written


def find_masks(path: str | Path, labels: LabelSet) -> list[MaskFile]:
    """The masks at ``path``: the one file; or every picture in a folder and below, by path.

    A folder whose pictures are all named after classes is one mask, a file a class, as ``read_mask`` takes it. Hidden files and
    folders are left out.

    Raises:
        ProxymaskError: nothing there, or no picture in the folder.
    """
    path = Path(path)
    if not path.exists():
        raise ProxymaskError(f"{path} does not exist: give a mask file or a folder of masks")
    if path.is_file():
        return [MaskFile(path.stem, path)]
    real = os.path.realpath(path)
    found = _below(path, path, set(labels.names) | {str(label.id) for label in labels.labels}, real, {real})
    if not found:
        raise ProxymaskError(f"{path} holds no masks ({', '.join(sorted(SUFFIXES))})")
    return [MaskFile(name, file.path) for name, file in zip(distinct_names(found), found, strict=True)]


def _below(folder: Path, root: Path, classes: set[str], real: str, seen: set[str]) -> list[MaskFile]:
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:  # named by the verb that asks for the masks
        return []
    files = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in SUFFIXES]
    if files and all(file.stem in classes for file in files):
        return [MaskFile(folder.name if folder == root else folder.relative_to(root).as_posix(), folder)]
    found = [MaskFile(file.relative_to(root).with_suffix("").as_posix(), file) for file in files]
    for entry in entries:
        if entry.is_dir() and enters(entry, real, seen):
            found += _below(entry, root, classes, real, seen)
    return found
