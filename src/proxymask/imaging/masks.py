"""Reading, checking, resizing, colouring and writing semantic masks. The forms that are read: ``mask_forms``, docs/inputs.md.

Shapes: H x W the size of a mask; masks are ids, uint8 (H, W).
"""

import functools
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..core.errors import ProxymaskError
from ..core.sizes import Size, height_width, same_aspect_ratio, size_text
from .labels import LabelSet, labels_file_near
from .mask_forms.annotations import load
from .mask_forms.class_files import from_folder
from .mask_forms.coco import SEPARATOR, from_coco, is_coco
from .mask_forms.ids import check_ids
from .mask_forms.labelme import from_labelme, is_labelme
from .mask_forms.notes import Notes
from .mask_forms.pictures import from_array, from_picture
from .reader import stored_array

MaskSource = Any  # str | os.PathLike | np.ndarray | torch.Tensor | Image.Image


class MaskReading(NamedTuple):
    """A mask as it was read: ``ids``, uint8 (H, W); where it is ``painted``, bool (H, W), transparent pixels are not; ``notes``."""

    ids: np.ndarray
    painted: np.ndarray
    notes: tuple[str, ...]


def read_mask(source: MaskSource, labels: LabelSet, size: Size | None = None, strict: bool = False) -> np.ndarray:
    """Read a mask as label ids. What was decided on the way is given as warnings; :func:`read_mask_notes` returns it.

    Args:
        source: a file, a PIL picture, an array or tensor, or a folder. Upright, as a viewer shows it; the first frame of an animation.
            Ids: grey pictures of 1 to 16 bits; palette pictures whose palette has not the colours of classes; integers (H, W) or
            (1, H, W), bools.
            Colours of ``labels``: other pictures; palettes of these colours, in any order; arrays (H, W, 3 or 4) or (3 or 4, H, W) of
            integers 0 to 255 or floats 0 to 1. A shade off is read; anti-aliased, resized and compressed edges get a class of the
            neighbourhood, with a warning that has the share.
            Transparent pixels (less than half opaque) are class 0, whatever is stored under them.
            A folder has one black-and-white file for each class, named after its name or id; pixels in none of them are class 0, and
            where files overlap, the higher id is used.
            JSON of labelme, or of COCO (instances; ``annotations.json#IMAGE`` for one of several images); what has no shape is class 0.
        labels: the N classes.
        size: side of the result, or its height and width, by nearest neighbour. None: keep the size.
        strict: refuse guesses: colours that are not exactly those of classes, and masks with two meanings.

    Returns:
        uint8 (H, W), every value an id of ``labels``.

    Raises:
        ProxymaskError: missing or damaged file, ids or colours of no class, ids after lossy compression or smooth resizing, a photo,
            another aspect ratio than that of ``size``.
    """
    read = read_mask_notes(source, labels, size, strict)
    for note in read.notes:
        warnings.warn(f"{mask_name(source)}: {note}", stacklevel=2)
    return read.ids


def read_mask_notes(source: MaskSource, labels: LabelSet, size: Size | None = None, strict: bool = False) -> MaskReading:
    """As :func:`read_mask`; also returns where it is painted, and the notes."""
    notes = Notes(mask_name(source), strict, _stored_labels(source))
    painted: np.ndarray | None = None
    if isinstance(source, str | os.PathLike) and Path(source).is_dir():
        mask = from_folder(Path(source), labels, notes)
    elif (annotations := _annotations(source)) is not None:
        mask = _from_json(*annotations, labels, notes)
    else:
        array = stored_array(source)
        if array is not None:
            mask, painted = from_array(array, labels, notes)
        else:
            mask, painted = from_picture(source, labels, notes)
    if size is not None:
        mask = resize_mask(mask, size, notes.name)
        painted = None if painted is None else resize_mask(painted.astype(np.uint8), size, notes.name) > 0
    return MaskReading(mask, np.ones(mask.shape, bool) if painted is None else painted, tuple(notes.texts))


def _stored_labels(source: MaskSource) -> tuple[LabelSet, Path] | None:
    """The classes of the data set that a mask lies in, with their file; None where there is none that can be read."""
    if not isinstance(source, str | os.PathLike):
        return None
    try:
        file = labels_file_near(Path(source))
        return None if file is None else (_load_labels(file, file.stat().st_mtime_ns), file)
    except (ProxymaskError, OSError):  # of another program, or in a folder that may not be read
        return None


@functools.lru_cache(maxsize=16)
def _load_labels(file: Path, modified: int) -> LabelSet:
    return LabelSet.load(file)


def mask_name(source: MaskSource) -> str:
    """The name of a mask in messages."""
    return str(source) if isinstance(source, str | os.PathLike) else "the mask"


def _annotations(source: MaskSource) -> tuple[Path, str | None] | None:
    """The JSON file that a source names, and the image in it; None where it names none."""
    if not isinstance(source, str | os.PathLike):
        return None
    path = Path(source)
    if path.suffix.lower() == ".json" and (path.exists() or SEPARATOR not in str(source)):
        return path, None
    text = source if isinstance(source, str) else path.as_posix()  # names in COCO files have slashes
    file, found, image = text.rpartition(SEPARATOR)
    while found and not file.lower().endswith(".json"):
        file, found, more = file.rpartition(SEPARATOR)
        image = f"{more}{SEPARATOR}{image}"
    return (Path(file), image) if found and not path.exists() else None


def _from_json(path: Path, image: str | None, labels: LabelSet, notes: Notes) -> np.ndarray:
    content = load(path)
    if is_coco(content):
        return from_coco(content, image, labels, notes)
    if not is_labelme(content):
        raise ProxymaskError(f"{path} is JSON, but no mask: labelme's shapes and COCO's annotations (instances) are read")
    if image is not None:
        raise ProxymaskError(f"{path} is of labelme and holds one image: leave {SEPARATOR}{image} out")
    return from_labelme(content, labels, notes)


def resize_mask(mask: np.ndarray, size: Size, name: str = "the mask") -> np.ndarray:
    """Resize ids, uint8 (H, W), by nearest neighbour; a :class:`ProxymaskError` if the aspect ratio differs by more than 2 %."""
    height, width = height_width(size)
    if min(height, width) < 1:
        raise ProxymaskError(f"the size of a mask must be 1 or more, got {size}")
    if not same_aspect_ratio(mask.shape, size):
        is_not, to = "a square", "a square"
        if height != width:
            is_not, to = f"the shape of the pictures, {size_text(size)}", "that shape"
        raise ProxymaskError(
            f"{name} is {size_text(mask.shape)}, which is not {is_not}: crop it to {to} first (stretching would distort it)"
        )
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def write_mask(path: str | Path, mask: np.ndarray, labels: LabelSet) -> None:
    """Write ids as a palette PNG: index = id, palette = the colours of ``labels``."""
    picture = Image.fromarray(_checked(mask, labels, "the mask"))
    picture.putpalette(labels.palette())
    try:
        picture.save(path, format="PNG")
    except OSError as error:
        raise ProxymaskError(f"cannot write {path} ({error.strerror or error})") from None


def colorize(mask: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Ids (H, W) -> colours, uint8 (H, W, 3)."""
    return labels.colors[_checked(mask, labels, "the mask")]


def overlay(picture: np.ndarray, mask: np.ndarray, labels: LabelSet, alpha: float = 0.5) -> np.ndarray:
    """Blend ``picture``, uint8 (H, W, 3), with the colours of ``mask``, ids (H, W); ``alpha`` 0 is the picture, 1 the mask."""
    if picture.shape != (*mask.shape, 3):
        raise ProxymaskError(f"the picture is {picture.shape}, the mask {mask.shape}: they must have the same height and width")
    if not 0 <= alpha <= 1:
        raise ProxymaskError(f"alpha must be 0 to 1, got {alpha}")
    mixed = (1 - alpha) * picture.astype(np.float32) + alpha * colorize(mask, labels).astype(np.float32)
    return mixed.round().astype(np.uint8)


def check_report(mask: np.ndarray, labels: LabelSet) -> str:
    """A report on a mask, several lines: its size, the share of each class, and the classes that are missing."""
    counts = np.bincount(_checked(mask, labels, "the mask").reshape(-1), minlength=len(labels))
    lines = [f"{mask.shape[1]}x{mask.shape[0]} pixels, {np.count_nonzero(counts)} of {len(labels)} classes"]
    width = max(len(name) for name in labels.names)
    for i in np.argsort(-counts, kind="stable"):
        if counts[i]:
            label = labels.labels[i]
            share = f"{counts[i] / mask.size:.1%}" if counts[i] >= 0.001 * mask.size else "<0.1%"
            lines.append(f"  {label.id:3d}  {label.name:<{width}}  {label.hex}  {share:>6}")
    absent = [label.name for label in labels.labels if not counts[label.id]]
    if absent:
        lines.append(f"not in it: {', '.join(absent)}")
    return "\n".join(lines)


def _checked(mask: np.ndarray, labels: LabelSet, name: str) -> np.ndarray:
    if mask.ndim != 2:
        raise ProxymaskError(f"{name} must be an array (H, W) of ids, got shape {mask.shape}")
    if not np.issubdtype(mask.dtype, np.integer) or mask.min(initial=0) < 0 or mask.max(initial=0) >= len(labels):
        return check_ids(mask.astype(np.int64), labels, Notes(name))
    return mask.astype(np.uint8)
