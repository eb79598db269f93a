"""Check of a mask against a bundle (``proxymask mask check``): a report, warnings, and a picture of how it is read."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..core.errors import ProxymaskError
from ..core.files import read_json
from ..core.sizes import START, Size, as_size, block_size, height_width, size_text
from ..imaging.labels import LabelSet
from ..imaging.masks import MaskReading, check_report, overlay, read_mask_notes, resize_mask
from ..imaging.pictures import PAPER, legend
from ..imaging.reader import read_picture
from .bundle import check_bundle
from .find import find_bundle

GREY = 128  # background of the overlay
SIDE = 512  # longer side of the overlay in pixels
FEW_CELLS = 2  # a class that covers fewer cells of the proxy mask than this is likely to be lost


class Target(NamedTuple):
    """What masks must fit: the labels and sizes of a bundle."""

    labels: LabelSet
    pictures: Size
    grid: Size
    """Size of the proxy masks."""


class MaskCheck(NamedTuple):
    """Result of :func:`check_mask`."""

    report: str
    """Size and classes of the mask."""
    notes: tuple[str, ...]
    """What was decided when it was read."""
    problems: list[str]
    """Warnings, though the mask can be used."""
    picture: Image.Image
    """The classes over a picture or grey, with a legend."""


def read_target(bundle: str | Path) -> Target:
    """The labels and sizes of a bundle, without opening its networks.

    Raises:
        ProxymaskError: no such bundle, a damaged one, or one without labels.
    """
    folder = find_bundle(bundle)
    problems = check_bundle(folder, hashes=False)
    if problems:
        raise ProxymaskError(f"{folder}: " + "; ".join(problems))
    if not (folder / "labels.json").is_file():
        raise ProxymaskError(f"--bundle {bundle} has no labels yet: train its mapper first (proxymask fit --bundle ... --labels ...)")
    about = read_json(folder / "bundle.json")
    sizes = [as_size(block_size(int(about[name]), about.get("start", START))) for name in ("resolution", "cut")]
    return Target(LabelSet.load(folder / "labels.json"), *sizes)


def check_mask(file: str | Path, target: Target, over: str | Path | None = None, strict: bool = False) -> MaskCheck:
    """Read a mask as ``proxymask generate`` does, and report what it holds.

    Args:
        file: the mask.
        target: see :func:`read_target`.
        over: a picture to draw the classes over, converted to grey; plain grey where None.
        strict: see :func:`read_mask_notes`.

    Raises:
        ProxymaskError: the mask cannot be used, or ``over`` cannot be read.
    """
    read = read_mask_notes(file, target.labels, strict=strict)
    mask = read.ids
    used = resize_mask(mask, target.pictures, str(file))
    tall, wide = height_width(target.pictures)
    height, width = (round(side * SIDE / max(tall, wide)) for side in (tall, wide))
    base = np.full((height, width, 3), GREY, dtype=np.uint8)
    if over is not None:
        grey = read_picture(over).convert("L").resize((width, height), Image.Resampling.LANCZOS)
        base = np.repeat(np.asarray(grey)[..., None], 3, axis=2)
    laid = Image.fromarray(overlay(base, resize_mask(used, (height, width)), target.labels, alpha=0.5 if over is not None else 0.75))
    key = legend(target.labels, width, used=np.unique(mask).tolist())
    picture = Image.new("RGB", (width, height + key.height), PAPER)
    picture.paste(laid, (0, 0))
    picture.paste(key, (0, height))
    return MaskCheck(check_report(mask, target.labels), read.notes, mask_problems(read, used, target), picture)


def mask_problems(read: MaskReading, used: np.ndarray, target: Target) -> list[str]:
    """Warnings of a mask that can be used: what of it is too small, stretched, or transparent.

    Args:
        read: the mask in its own size.
        used: its ids at the size of the pictures.
        target: see :func:`read_target`.
    """
    found = []
    mask, grid = read.ids, resize_mask(used, target.grid)
    (height, width), pictures = height_width(target.pictures), size_text(target.pictures)
    if mask.shape[0] < height or mask.shape[1] < width:
        found.append(f"it is smaller than the pictures ({pictures}), so its edges will be blocky: paint it larger")
    if mask.shape[0] * width != mask.shape[1] * height:
        shape = "square" if height == width else f"of the shape of {pictures}"
        found.append(f"it is {size_text(mask.shape)}, not exactly {shape}, and will be stretched")
    names = target.labels.names
    if not read.painted.all():
        found.append(f"{100 * (1 - read.painted.mean()):.1f} % of it is transparent, which counts as {names[0]}")
    for i in np.unique(mask):
        pixels = np.count_nonzero(mask == i)
        if not (used == i).any():
            found.append(f"{names[i]} ({pixels} pixels) is lost when the mask is resized to {pictures}: paint it larger")
        elif np.count_nonzero(grid == i) < FEW_CELLS:
            found.append(
                f"{names[i]} ({pixels} pixels) covers less than {FEW_CELLS} cells of the proxy mask ({size_text(target.grid)}; a cell is "
                f"{min(mask.shape) / min(height_width(target.grid)):.3g} pixels wide in this mask) and may be lost: paint it larger"
            )
    if len(np.unique(mask)) == 1:
        found.append(f"it is {names[mask.flat[0]]} all over, so there are no shapes to follow")
    return found
