"""Whether a mask can be used with a bundle (``proxymask mask check``): a report, what to mind, and a picture of how it is understood."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..core.errors import ProxymaskError
from ..core.files import read_json
from ..core.sizes import START, Size, as_size, block_size, height_width, size_text
from ..imaging.labels import LabelSet
from ..imaging.masks import check_report, overlay, read_mask, resize_mask
from ..imaging.pictures import PAPER, legend
from ..imaging.reader import read_picture
from .bundle import check_bundle
from .find import find_bundle

GREY = 128
SIDE = 512  # of the overlay picture, the longer one
FEW_CELLS = 2  # a class that covers fewer cells of the proxy grid than this is likely to be lost


class Target(NamedTuple):
    """What a mask must fit: the labels, the size of the pictures and of the proxy masks of a bundle."""

    labels: LabelSet
    pictures: Size
    grid: Size


class MaskCheck(NamedTuple):
    """``report``: size and classes; ``problems``: what to mind, though the mask can be used; ``picture``: overlay and legend."""

    report: str
    problems: list[str]
    picture: Image.Image


def read_target(bundle: str | Path) -> Target:
    """What masks of a bundle must fit, without opening its networks.

    Raises:
        ProxymaskError: no such bundle, a damaged one, or one without labels.
    """
    folder = find_bundle(bundle)
    problems = check_bundle(folder, hashes=False)
    if problems:
        raise ProxymaskError(f"{folder}: " + "; ".join(problems))
    if not (folder / "labels.json").is_file():
        raise ProxymaskError(f"the bundle {bundle} has no labels yet: train its mapper first (proxymask fit --bundle ... --labels ...)")
    about = read_json(folder / "bundle.json")
    sizes = [as_size(block_size(int(about[name]), about.get("start", START))) for name in ("resolution", "cut")]
    return Target(LabelSet.load(folder / "labels.json"), *sizes)


def check_mask(file: str | Path, target: Target, over: str | Path | None = None) -> MaskCheck:
    """Read a mask as ``generate`` does and say what it holds.

    Args:
        file: the mask.
        target: see :func:`read_target`.
        over: a picture to lay it over, in grey; plain grey where None.

    Raises:
        ProxymaskError: the mask cannot be used, or ``over`` cannot be read.
    """
    mask = read_mask(file, target.labels)
    used = resize_mask(mask, target.pictures, str(file))
    grid = resize_mask(used, target.grid)
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
    return MaskCheck(check_report(mask, target.labels), _problems(mask, used, grid, target), picture)


def _problems(mask: np.ndarray, used: np.ndarray, grid: np.ndarray, target: Target) -> list[str]:
    found = []
    (height, width), pictures = height_width(target.pictures), size_text(target.pictures)
    if mask.shape[0] < height or mask.shape[1] < width:
        found.append(f"it is smaller than the pictures ({pictures}), so its edges will be blocky: paint it larger")
    if mask.shape[0] * width != mask.shape[1] * height:
        shape = "square" if height == width else f"of the shape of {pictures}"
        found.append(f"it is {size_text(mask.shape)}, not quite {shape}, and will be stretched a little")
    names = target.labels.names
    for i in np.unique(mask):
        pixels = np.count_nonzero(mask == i)
        if not (used == i).any():
            found.append(f"{names[i]} ({pixels} pixels) is lost when the mask is resized to {pictures}: paint it larger")
        elif np.count_nonzero(grid == i) < FEW_CELLS:
            found.append(
                f"{names[i]} ({pixels} pixels) covers hardly a cell of the {size_text(target.grid)} grid in which the model thinks "
                f"(a cell is {min(mask.shape) / min(height_width(target.grid)):.3g} pixels wide here) and may not show: paint it larger"
            )
    if len(np.unique(mask)) == 1:
        found.append(f"it is {names[mask.flat[0]]} all over, so there is no shape to follow")
    return found
