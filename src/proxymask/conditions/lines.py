"""Drawings in lines: sketch, edges, HED, Photo-Sketching. One plane of ink, 0 paper to 1 line."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..core.errors import ProxymaskError
from ..core.sizes import Size
from ..imaging.labels import LabelSet
from . import disturb
from .base import Condition, Reading, Source, area_resize, as_picture, named, padded
from .extractors import SPECS, Extractor, get_extractor

PAPER_SHARE, SOFT_SHARE = 0.5, 0.3  # less paper than this is no drawing; the second for edge maps, whose lines are broad
PAPER_WIDTH = 0.12  # levels of grey that still count as the paper's
LIGHT, DARK = 0.6, 0.3  # paper is at least so light, or where it is inverted at most so light
PAPER_CHROMA, TONE_CHROMA = 0.15, 0.2  # colours of cream paper; of a pen, or of a thing
MOST_FILLED = 0.03  # share of the picture
LEAST_INK = 0.0008  # share of the pixels; less is empty
REACH = 8  # ink says something about this fraction of the side around it


class LineCondition(Condition):
    """Lines of one extractor.

    Args:
        name: what it is called by.
        extractor: one of ``extractors.SPECS`` that gives lines.
        weights: of the extractor.
        paper: how it is shown: black lines on "white", or white on "black".
    """

    colourless = True

    def __init__(self, name: str, extractor: str, weights: Path | None = None, paper: Literal["white", "black"] = "white") -> None:
        super().__init__(name, 1)
        if extractor not in SPECS or SPECS[extractor].gives != "lines":
            able = ", ".join(spec.name for spec in SPECS.values() if spec.gives == "lines")
            raise ProxymaskError(f"{extractor!r} is no extractor of lines: there are {able}")
        self.extractor, self.weights, self.paper = extractor, weights, paper
        self._open: Extractor | None = None

    def about(self) -> dict[str, Any]:
        return {**super().about(), "extractor": self.extractor}

    def extract(self, pictures: torch.Tensor, labels: torch.Tensor | None, rng: torch.Generator) -> torch.Tensor:
        if self._open is None:
            self._open = get_extractor(self.extractor, "lines", self.weights)
        with torch.autocast(pictures.device.type, enabled=False):
            return self._open(pictures.float()).float()

    def augment(self, planes: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Pen pressure and threshold, width, place, gaps, parts left out, specks."""
        b = len(planes)
        # a random threshold, from what the extractor says to bare lines
        low, gain = disturb.uniform(rng, b, 0.0, 0.4), disturb.uniform(rng, b, 1.0, 6.0)
        hard = ((planes - low.to(planes)) * gain.to(planes)).clamp(0, 1)
        planes = torch.where(disturb.chance(rng, b, 0.8).to(planes) > 0, hard, planes)
        planes = disturb.jitter(planes, disturb.uniform(rng, b, -0.5, 1.5).clamp(min=0), rng)
        planes = disturb.thicken(planes, disturb.uniform(rng, b, -2.0, 2.49).clamp(min=0))
        planes = disturb.soften(planes, disturb.uniform(rng, b, -1.0, 1.0).clamp(min=0))
        planes = disturb.remove(planes, disturb.uniform(rng, b, -0.3, 0.4).clamp(min=0), rng)
        planes = disturb.remove(planes, disturb.uniform(rng, b, -0.3, 0.25).clamp(min=0), rng, cells=24)  # gaps in the line
        planes = disturb.blank_half(planes, disturb.chance(rng, b, 0.1), rng)
        planes = planes * disturb.uniform(rng, b, 0.6, 1.0).to(planes)
        specks = (torch.rand(planes.shape, generator=rng) < 0.004 * disturb.chance(rng, b, 0.3)).to(planes)
        return torch.maximum(planes, specks * 0.7)

    def read(self, source: Source, size: Size, invert: bool = False, typical: torch.Tensor | None = None) -> Reading:
        ink, painted, notes = read_ink(source, invert, white_is_usual=self.paper == "black")
        ink, margins = padded(ink, size)
        painted = None if painted is None else padded(painted, size)[0]
        planes = area_resize(ink, size)
        strong = planes[planes > 0.05]
        if strong.numel():  # thin lines of a large drawing have faded: full ink is what the strongest have
            planes = (planes / torch.quantile(strong, 0.9).clamp(min=0.05)).clamp(0, 1)
        given = around(planes[0] > 0.2, REACH) if painted is None else area_resize(painted, size)[0] > 0.5
        return Reading(planes, given, notes + margins)

    def show(self, planes: torch.Tensor) -> np.ndarray:
        return super().show(1 - planes if self.paper == "white" else planes)


def around(marks: torch.Tensor, reach: int) -> torch.Tensor:
    """Marks (H, W) bool, and what lies within a ``reach``-th of the shorter side of one."""
    cells = max(1, min(marks.shape) // reach)
    return F.max_pool2d(marks[None, None].float(), 2 * cells + 1, stride=1, padding=cells)[0, 0] > 0


def read_ink(source: Source, invert: bool, white_is_usual: bool = False) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """The ink of a drawing, float32 (H, W) in [0, 1]; where it is painted (H, W), if it has transparent parts; notes.

    White lines on black are told from black ones on white by the paper, which is most of a drawing; ``invert`` says that they are.
    ``white_is_usual``: an edge map, which is white on black without a word, and has broader lines. On transparent ground, what is
    opaque is either the drawing on its paper or, where most of it is not paper, the ink itself.

    Raises:
        ProxymaskError: a photo, or nothing drawn.
    """
    name = named(source)
    light, chroma, alpha = _light_and_alpha(as_picture(source))
    opaque = alpha > 0.5
    holes = float(opaque.mean()) < 0.98
    if not opaque.any():
        raise ProxymaskError(f"{name} is empty: it is transparent all over")
    level, share = _paper(light[opaque])
    if holes and float(opaque.mean()) < 0.5 and (share < PAPER_SHARE or level < LIGHT):
        return _checked_ink(alpha, name), None, ()  # ink on a transparent layer
    paper = (np.abs(light - level) <= PAPER_WIDTH) | ~opaque
    coloured = float(chroma[paper & opaque].mean()) > PAPER_CHROMA
    # edge maps have broad lines in grey; anything broad in colours, or in tones between paper and ink, no pen drew
    toned = (chroma > TONE_CHROMA) | (~paper & (light > DARK) if not white_is_usual else np.zeros_like(paper))
    filled = _filled(~paper & toned)
    why = ""
    if share < (SOFT_SHARE if white_is_usual else PAPER_SHARE):
        why = f"no more than {share:.0%} of it is paper"
    elif coloured:
        why = "its ground is in colours"
    elif DARK < level < LIGHT:
        why = "its ground is neither light nor dark"
    elif filled > MOST_FILLED:
        why = f"{filled:.0%} of it is filled with tones"
    if why:
        raise ProxymaskError(f"{name} looks like a photo, not a drawing ({why}): add --from-photo to find the lines in it first")
    notes: tuple[str, ...] = ()
    dark = level <= DARK
    if dark and not invert and not white_is_usual:
        notes = ("it is white on black: read as inverted",)
    turned = dark or invert
    ink = (light - level) / max(1 - level, 1e-3) if turned else (level - light) / max(level, 1e-3)
    clear = ((ink - PAPER_WIDTH / 2) / (1 - PAPER_WIDTH / 2)).clip(0, 1) * alpha
    return _checked_ink(clear, name), opaque.astype(np.float32) if holes else None, notes


def _checked_ink(ink: np.ndarray, name: str) -> np.ndarray:
    if float((ink > 0.2).mean()) < LEAST_INK:
        raise ProxymaskError(f"{name} is empty: nothing is drawn on it")
    return ink.astype(np.float32)


def _light_and_alpha(picture: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lightness, chroma (the strongest colour less the weakest) and alpha, (H, W) each, in [0, 1]."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        values = np.asarray(picture).astype(np.float32)
        top = float(values.max())
        values /= 65535 if top > 255 else 255 if top > 1 else 1
        return values.clip(0, 1), np.zeros_like(values), np.ones_like(values)
    rgba = np.asarray(picture.convert("RGBA"), dtype=np.float32) / 255
    colours = rgba[..., :3]
    light = colours @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return light, colours.max(axis=-1) - colours.min(axis=-1), rgba[..., 3]


def _paper(light: np.ndarray) -> tuple[float, float]:
    """Level of the paper, the commonest lightness, and its share."""
    counts, edges = np.histogram(light, bins=25, range=(0, 1))
    near = counts.copy()
    near[1:] += counts[:-1]
    near[:-1] += counts[1:]
    peak = int(near.argmax())
    low, high = edges[max(0, peak - 1)], edges[min(25, peak + 2)]
    level = float(np.median(light[(light >= low) & (light <= high)]))
    return level, float((np.abs(light - level) <= PAPER_WIDTH).mean())


def _filled(marks: np.ndarray) -> float:
    """Share of the picture whose surroundings, five 64ths of the side wide, are marked throughout."""
    square, _ = padded(marks.astype(np.float32), 64)
    coarse = area_resize(square, 64)[None]
    return float((-F.max_pool2d(-coarse, 5, stride=1, padding=2) > 0.8).float().mean())


def sketch(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> LineCondition:
    """Pen lines; by XDoG unless another extractor is named."""
    return LineCondition("sketch", extractor or "xdog", weights)


def edges(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> LineCondition:
    """An edge map; by Canny unless another extractor is named."""
    return LineCondition("edges", extractor or "canny", weights, paper="black")


def hed(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> LineCondition:
    """Soft edges; by HED unless another extractor is named (PiDiNet stands in for it)."""
    return LineCondition("hed", extractor or "hed", weights, paper="black")


def photo_sketch(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> LineCondition:
    """Contour drawings; by Photo-Sketching unless another extractor is named (LDC stands in for it)."""
    return LineCondition("photo-sketch", extractor or "photo-sketch", weights)
