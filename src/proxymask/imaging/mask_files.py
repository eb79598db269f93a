"""Mask files on disk: those in a given folder, and the examples that come with the package."""

import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..core.errors import ProxymaskError, cannot_write
from .labels import LabelSet
from .mask_forms.annotations import load
from .mask_forms.class_files import is_mask_file, is_two_valued
from .mask_forms.coco import SEPARATOR, image_names, is_coco
from .mask_forms.labelme import is_labelme
from .picture_files import distinct_names, enters, why_unreadable
from .reader import SUFFIXES, open_picture

PLACES = (Path(__file__).parents[1] / "examples" / "masks", Path(__file__).parents[3] / "examples" / "masks")  # wheel, checkout

OWN_FILES = ("labels.json", "README.md")  # of a folder of masks

README = """Example masks of {name}: palette PNGs whose indices are the ids in labels.json. Paint over one with the colours of the
classes, in any image editor, save it as PNG, and run: proxymask mask check MASK{bundle}
"""


class MaskFile(NamedTuple):
    """A mask on disk."""

    name: str
    """Path below the folder that was searched, without suffix; with it, as ``face-png``, where two files differ in nothing else."""
    path: Path


def example_masks(name: str = "avatars") -> Path:
    """The folder of the example masks of an embedded bundle.

    Raises:
        ProxymaskError: neither in the installed package nor in a checkout.
    """
    for place in PLACES:
        if (place / name).is_dir():
            return place / name
    raise ProxymaskError(f"{PLACES[0] / name} is missing: install proxymask again")


def examples_with(labels: LabelSet) -> Path | None:
    """The folder of the example masks whose classes have the ids and names of ``labels``; None: there are none with these classes."""
    wanted = [(label.id, label.name) for label in labels.labels]
    for place in PLACES:
        for file in sorted(place.glob("*/labels.json")):
            if [(label.id, label.name) for label in LabelSet.load(file).labels] == wanted:
                return file.parent
    return None


def write_example_masks(out: Path, labels: LabelSet, options: str = "") -> list[Path]:
    """Copy the example masks with the classes ``labels`` to ``out``, with labels.json and a README.md.

    Args:
        out: a new or empty folder.
        labels: the classes of the masks.
        options: further options of the command in README.md.

    Returns:
        The masks that were written.

    Raises:
        ProxymaskError: ``out`` is a file or holds files, or cannot be written; there are no examples with these classes.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ProxymaskError(f"--out {out} {'is a file' if out.is_file() else 'holds files'}: give a new or an empty folder")
    source = examples_with(labels)
    if source is None:
        raise no_examples(labels, "write samples with proxymask sample, and paint over them")
    written = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for mask in find_masks(source, labels):
            target = out / mask.path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            written.append(Path(shutil.copyfile(mask.path, target)))
        labels.save(out / "labels.json")
        (out / "README.md").write_text(README.format(name=source.name, bundle=options), encoding="utf-8")
    except OSError as error:
        raise cannot_write(f"to --out {out}", error, "another folder") from None
    return written


def no_examples(labels: LabelSet, advice: str) -> ProxymaskError:
    """The error where no example masks have the classes ``labels``; ``advice``: what to do."""
    names = ", ".join(labels.names[:6]) + (", ..." if len(labels) > 6 else "")
    return ProxymaskError(f"there are no example masks with the classes of the bundle ({names}): {advice}")


def find_masks(path: str | Path, labels: LabelSet) -> list[MaskFile]:
    """The masks at ``path``: the one file; or every picture in a folder and below, by path.

    A folder whose pictures are all named after classes is one mask, a file a class, as ``read_mask`` takes it. JSON of labelme is a
    mask, and the picture it belongs to is none; JSON of COCO holds a mask for each image. Hidden files and folders are left out; other
    files that are no masks are counted in a warning. No two masks get the same name.

    Raises:
        ProxymaskError: nothing there, or no mask in the folder.
    """
    path = Path(path)
    if path.is_file():
        found = [MaskFile(path.stem, path)]
        return _distinct(_images(path)) if path.suffix.lower() == ".json" else found
    if not path.exists():
        if SEPARATOR in path.name:
            return [MaskFile(Path(path.name.partition(SEPARATOR)[2]).stem, path)]
        if os.path.islink(path):
            raise ProxymaskError(f"{path} {why_unreadable(path)}: give a mask file or a folder of masks")
        raise ProxymaskError(f"{path} does not exist: give a mask file or a folder of masks")
    if not path.is_dir():
        raise ProxymaskError(f"{path} is a pipe or a device: give a mask file or a folder of masks")
    others: list[Path] = []
    real = os.path.realpath(path)
    found = _below(path, path, labels, others, real, {real})
    if not found:
        raise ProxymaskError(f"{path} holds no masks ({', '.join(sorted(SUFFIXES))}, or .json of labelme or COCO)")
    if others:
        named = ", ".join(_left_out(other, path) for other in others[:5])
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        warnings.warn(
            f"{path}: {len(others)} file{'s are' if len(others) > 1 else ' is'} no mask and left out: {named}{more}", stacklevel=2
        )
    return _distinct(found)


def _left_out(path: Path, root: Path) -> str:
    """The name of what is no mask, with the reason where it cannot be opened."""
    name = path.relative_to(root).as_posix()
    return name if os.path.isfile(path) else f"{name} ({why_unreadable(path)})"


def is_class_folder(files: Sequence[Path], labels: LabelSet) -> bool:
    """Whether pictures of one folder are the classes of one mask: all are named after classes, and numbers alone are black and white."""
    if not files or not all(labels.find(file.stem) for file in files):
        return False
    if not all(file.stem.strip().isdigit() for file in files):
        return True
    try:
        return all(is_two_valued(open_picture(file, [])) for file in files)
    except ProxymaskError:
        return False


def _below(folder: Path, root: Path, labels: LabelSet, others: list[Path], real: str, seen: set[str]) -> list[MaskFile]:
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        others.append(folder)
        return []
    files = [entry for entry in entries if is_mask_file(entry)]
    if is_class_folder(files, labels):
        return [MaskFile(folder.name if folder == root else folder.relative_to(root).as_posix(), folder)]
    found, photos = [], set()
    for entry in entries:
        if os.path.isdir(entry) or entry in files or entry.name in OWN_FILES:
            continue
        annotated = _annotated(entry) if entry.suffix.lower() == ".json" else None
        if annotated is None:
            others.append(entry)
            continue
        photos |= annotated
        name = entry.relative_to(root).with_suffix("").as_posix()
        images = _images(entry)
        found += [MaskFile(name if image.path == entry else f"{name}/{image.name}", image.path) for image in images]
    left_out = [file for file in files if file.name in photos]
    others += left_out
    found += [MaskFile(file.relative_to(root).with_suffix("").as_posix(), file) for file in files if file not in left_out]
    for entry in entries:
        if os.path.isdir(entry) and enters(entry, real, seen):
            found += _below(entry, root, labels, others, real, seen)
    return found


def _annotated(file: Path) -> set[str] | None:
    """The names of the pictures beside a JSON file that it annotates; None where it holds no masks, or is damaged."""
    try:
        content = load(file)
        names = image_names(content, str(file)) if is_coco(content) else None
    except ProxymaskError:
        return None
    if names is not None:
        return {Path(name).name for name in names}
    if is_labelme(content):
        return {Path(str(content.get("imagePath") or "").replace("\\", "/")).name}
    return None


def _images(file: Path) -> list[MaskFile]:
    """The masks in a JSON file: one for each image of a COCO file, otherwise the file itself."""
    content = load(file)
    names = image_names(content, str(file)) if is_coco(content) else []
    if len(names) < 2:
        return [MaskFile(file.stem, file)]
    found = []
    for name in names:
        parts = [part for part in name.replace("\\", "/").split("/") if part.strip(". ") and ":" not in part]  # never outside the folder
        plain = "/".join([*parts[:-1], Path(parts[-1]).stem]) if parts else "image"
        found.append(MaskFile(plain, Path(f"{file}{SEPARATOR}{name}")))
    return found


def _distinct(found: list[MaskFile]) -> list[MaskFile]:
    """The masks with names of their own."""
    names = distinct_names([(mask.name, mask.path) for mask in found])
    return [MaskFile(name, mask.path) for name, mask in zip(names, found, strict=True)]
