"""Where mask files are: in a folder that a person names, and the examples that come with the package."""

from pathlib import Path
from typing import NamedTuple

from ..core.errors import ProxymaskError
from .labels import LabelSet
from .reader import SUFFIXES

PLACES = (Path(__file__).parents[1] / "examples" / "masks", Path(__file__).parents[3] / "examples" / "masks")  # wheel, checkout


class MaskFile(NamedTuple):
    """A mask on disk: its ``name``, which is the path below the folder that was searched, without suffix, and its ``path``."""

    name: str
    path: Path


def example_masks() -> Path:
    """The folder of the example masks of avatars.

    Raises:
        ProxymaskError: neither in the package nor beside it.
    """
    for place in PLACES:
        if place.is_dir():
            return place
    raise ProxymaskError(f"{PLACES[0]} is missing: install proxymask again")


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
    found = _below(path, path, set(labels.names) | {str(label.id) for label in labels.labels})
    if not found:
        raise ProxymaskError(f"{path} holds no masks ({', '.join(sorted(SUFFIXES))})")
    return found


def _below(folder: Path, root: Path, classes: set[str]) -> list[MaskFile]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    files = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in SUFFIXES]
    if files and all(file.stem in classes for file in files):
        return [MaskFile(folder.name if folder == root else folder.relative_to(root).as_posix(), folder)]
    found = [MaskFile(file.relative_to(root).with_suffix("").as_posix(), file) for file in files]
    for entry in entries:
        if entry.is_dir():
            found += _below(entry, root, classes)
    return found
