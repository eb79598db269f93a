"""Line drawings: sketch, edges, HED, Photo-Sketching. One plane of ink, 0 paper to 1 line."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..core.errors import ProxymaskError
from ..core.sizes import Size
from ..imaging.bit_depth import DEEP_MODES, deep_maximum, deep_values, full_scale, grey_picture
from ..imaging.labels import LabelSet
from ..imaging.reader import as_picture, opacity, reduced, source_name
from . import augmentations
from .base import Condition, Reading, Source, area_resize, pad_to_aspect_ratio
from .extractors import Extractor, check_extractor, get_extractor, given_weights_hash, terms_of

MIN_PAPER, MIN_PAPER_OF_EDGE_MAP = 0.5, 0.3  # share of the pixels that are paper; edge maps have broad lines
PAPER_TOLERANCE = 0.12  # difference in lightness up to which a pixel is paper
LIGHT, DARK = 0.6, 0.3  # lightness: paper is lighter than the first, inverted paper darker than the second
MAX_PAPER_CHROMA, MAX_PEN_CHROMA = 0.15, 0.2  # of cream paper; of a pen, above which it is a coloured area
MAX_FILLED = 0.03  # share of the picture in filled areas; with more it is a photo
MIN_INK = 0.0008  # share of the pixels; with less it is empty
FAINTEST = 0.1  # opacity of a layer's strongest pixel; with less the layer is empty
LONGEST = 3072  # pixels of the longer side; larger drawings are reduced
ROWS = 1024  # of a picture that are converted to floating point at once
INK_RADIUS = 8  # ink prescribes the layout within 1 / INK_RADIUS of the shorter side


class LineCondition(Condition):
    """Lines as one extractor draws them.

    Args:
        name: of the condition.
        extractor: a key of ``extractors.SPECS`` whose output is lines.
        weights: file or folder of the extractor's weights.
        paper: black lines on "white" paper, or white lines on "black".
    """

    colour_invariant = True

    def __init__(self, name: str, extractor: str, weights: Path | None = None, paper: Literal["white", "black"] = "white") -> None:
        super().__init__(name, 1)
        check_extractor(extractor, "lines")
        self.extractor, self.weights, self.paper = extractor, weights, paper
        self._open: Extractor | None = None

    def about(self) -> dict[str, Any]:
        return {**super().about(), "extractor": self.extractor}

    def terms(self) -> str:
        return terms_of(self.extractor, self.weights)

    def network_hash(self) -> str | None:
        return given_weights_hash(self.weights)

    def extract(self, pictures: torch.Tensor, labels: torch.Tensor | None, rng: torch.Generator) -> torch.Tensor:
        if self._open is None:
            self._open = get_extractor(self.extractor, "lines", self.weights)
        with torch.autocast(pictures.device.type, enabled=False):
            return self._open(pictures.float()).float()

    def augment(self, planes: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Random threshold, displacement, width, blur, missing parts, gaps in lines, pen pressure, specks."""
        b = len(planes)
        # a random threshold: from the extractor's soft values to hard lines
        low, gain = augmentations.uniform(rng, b, 0.0, 0.4), augmentations.uniform(rng, b, 1.0, 6.0)
        hard = ((planes - low.to(planes)) * gain.to(planes)).clamp(0, 1)
        planes = torch.where(augmentations.chance(rng, b, 0.8).to(planes) > 0, hard, planes)
        planes = augmentations.jitter(planes, augmentations.uniform(rng, b, -0.5, 1.5).clamp(min=0), rng)
        planes = augmentations.thicken(planes, augmentations.uniform(rng, b, -2.0, 2.49).clamp(min=0))
        planes = augmentations.soften(planes, augmentations.uniform(rng, b, -1.0, 1.0).clamp(min=0))
        planes = augmentations.remove(planes, augmentations.uniform(rng, b, -0.3, 0.4).clamp(min=0), rng)
        planes = augmentations.remove(planes, augmentations.uniform(rng, b, -0.3, 0.25).clamp(min=0), rng, cells=24)  # gaps in the line
        planes = augmentations.blank_half(planes, augmentations.chance(rng, b, 0.1), rng)
        planes = planes * augmentations.uniform(rng, b, 0.6, 1.0).to(planes)
        specks = (torch.rand(planes.shape, generator=rng) < 0.004 * augmentations.chance(rng, b, 0.3)).to(planes)
        return torch.maximum(planes, specks * 0.7)

    def read(self, source: Source, size: Size, invert: bool = False, mean_condition: torch.Tensor | None = None) -> Reading:
        ink, painted, notes = read_ink(source, invert, white_is_usual=self.paper == "black")
        ink, margins = pad_to_aspect_ratio(ink, size)
        painted = None if painted is None else pad_to_aspect_ratio(painted, size)[0]
        planes = area_resize(ink, size)
        strong = planes[planes > 0.05]
        if strong.numel():  # thin lines of a large drawing fade when it is resized: scale them up to full ink
            planes = (planes / torch.quantile(strong, 0.9).clamp(min=0.05)).clamp(0, 1)
        given = dilate(planes[0] > 0.2, INK_RADIUS) if painted is None else area_resize(painted, size)[0] > 0.5
        return Reading(planes, given, notes + margins)

    def show(self, planes: torch.Tensor) -> np.ndarray:
        return super().show(1 - planes if self.paper == "white" else planes)


def dilate(marks: torch.Tensor, fraction: int) -> torch.Tensor:
    """Marks (H, W) bool -> the same, dilated by 1 / ``fraction`` of the shorter side."""
    radius = max(1, min(marks.shape) // fraction)
    return F.max_pool2d(marks[None, None].float(), 2 * radius + 1, stride=1, padding=radius)[0, 0] > 0


def read_ink(source: Source, invert: bool, white_is_usual: bool = False) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """Read a drawing -> ink (H, W) float32 in [0, 1]; the opaque part (H, W) float32, None where all is opaque; notes.

    Paper is the most frequent lightness. Dark paper means white lines on black; ``invert`` forces that. A picture with transparency is
    ink of any colour alone on a transparent layer where its opaque part is thin, or has one colour, or is not paper for the most part;
    otherwise it is a drawing with its paper. Colours of transparent pixels are not used. Drawings with more than ``LONGEST`` pixels a
    side are read at a half, a third, ... of their size.

    Args:
        white_is_usual: the source is an edge map: usually white on black, with broader lines.

    Raises:
        ProxymaskError: a photo, or an empty drawing.
    """
    name = source_name(source)
    said: list[str] = []
    light, chroma, alpha = _light_and_alpha(as_picture(source, said))
    strongest = float(alpha.max())
    if strongest < FAINTEST:
        raise ProxymaskError(f"{name} is empty: it is transparent all over")
    if strongest <= 0.5:  # ink that is faint everywhere, as a pencil layer of an editor
        return _checked_ink(alpha / strongest, name), None, tuple(said)
    opaque = alpha > 0.5
    holes = float(opaque.mean()) < 0.98
    level, share = _paper(light[opaque])
    if holes and float(opaque.mean()) < 0.5:
        one_colour = float((np.abs(light - level) > PAPER_TOLERANCE)[opaque].mean()) * float(opaque.mean()) < MIN_INK
        if share < MIN_PAPER or level < LIGHT or one_colour or _filled(opaque) <= MAX_FILLED:
            return _checked_ink(alpha, name), None, tuple(said)
    paper = (np.abs(light - level) <= PAPER_TOLERANCE) | ~opaque
    coloured = float(chroma[paper & opaque].mean()) > MAX_PAPER_CHROMA
    # areas in colours, or in tones between paper and ink, are not drawn by a pen; edge maps have broad grey lines
    toned = (chroma > MAX_PEN_CHROMA) | (~paper & (light > DARK) if not white_is_usual else np.zeros_like(paper))
    filled = _filled(~paper & toned)
    why = ""
    if share < (MIN_PAPER_OF_EDGE_MAP if white_is_usual else MIN_PAPER):
        why = f"only {share:.0%} of it is paper"
    elif coloured:
        why = "its background is in colours"
    elif DARK < level < LIGHT:
        why = "its background is neither light nor dark"
    elif filled > MAX_FILLED:
        why = f"{filled:.0%} of it is filled with tones"
    if why:
        raise ProxymaskError(f"{name} looks like a photo, not a drawing ({why}): add --from-photo to extract the lines from it first")
    notes = tuple(said)
    dark = level <= DARK
    if dark and not invert and not white_is_usual:
        notes += ("it is white on black: read as inverted",)
    inverted = dark or invert
    ink = (light - level) / max(1 - level, 1e-3) if inverted else (level - light) / max(level, 1e-3)
    ink = ((ink - PAPER_TOLERANCE / 2) / (1 - PAPER_TOLERANCE / 2)).clip(0, 1) * alpha
    return _checked_ink(ink, name, inverted and not dark), opaque.astype(np.float32) if holes else None, notes


def _checked_ink(ink: np.ndarray, name: str, inverted: bool = False) -> np.ndarray:
    if float((ink > 0.2).mean()) < MIN_INK:
        why = "read as inverted, all of it is paper; leave --invert out" if inverted else "nothing is drawn on it"
        raise ProxymaskError(f"{name} is empty: {why}")
    return ink.astype(np.float32)


def _light_and_alpha(picture: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lightness, chroma (the largest minus the smallest of red, green and blue) and alpha, (H, W) each, in [0, 1]."""
    if picture.mode in DEEP_MODES:
        full, hidden = full_scale(deep_maximum(picture)), opacity(picture)
        if max(picture.size) <= LONGEST:
            values = deep_values(picture, full)
            alpha = np.ones_like(values) if hidden is None else hidden.astype(np.float32) / 255
            return values, np.zeros_like(values), alpha
        picture = grey_picture(picture, full)
        if hidden is not None:
            picture.putalpha(Image.fromarray(hidden))
    pixels = np.asarray(reduced(picture, LONGEST))
    light, chroma, alpha = (np.empty(pixels.shape[:2], np.float32) for _ in range(3))
    for start in range(0, len(pixels), ROWS):
        rows = slice(start, start + ROWS)
        rgba = pixels[rows].astype(np.float32) / 255
        colours = rgba[..., :3]
        light[rows] = colours @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        chroma[rows] = colours.max(axis=-1) - colours.min(axis=-1)
        alpha[rows] = rgba[..., 3]
    return light, chroma, alpha


def _paper(light: np.ndarray) -> tuple[float, float]:
    """Lightness of the paper, the most frequent one, and its share of the pixels."""
    counts, edges = np.histogram(light, bins=25, range=(0, 1))
    near = counts.copy()
    near[1:] += counts[:-1]
    near[:-1] += counts[1:]
    peak = int(near.argmax())
    low, high = edges[max(0, peak - 1)], edges[min(25, peak + 2)]
    level = float(np.median(light[(light >= low) & (light <= high)]))
    return level, float((np.abs(light - level) <= PAPER_TOLERANCE).mean())


def _filled(marks: np.ndarray) -> float:
    """Share of the picture in filled areas: where all marks in a window of 5/64 of the side are set."""
    square, _ = pad_to_aspect_ratio(marks.astype(np.float32), 64)
    coarse = area_resize(square, 64)[None]
    return float((-F.max_pool2d(-coarse, 5, stride=1, padding=2) > 0.8).float().mean())


def sketch(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> LineCondition:
    """Pen lines; the default extractor is XDoG."""
    return LineCondition("sketch", extractor or "xdog", weights)


def edges(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> LineCondition:
    """An edge map; the default extractor is Canny."""
    return LineCondition("edges", extractor or "canny", weights, paper="black")


def hed(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> LineCondition:
    """Soft edges; the default extractor is HED, and PiDiNet is a lighter one."""
    return LineCondition("hed", extractor or "hed", weights, paper="black")


def photo_sketch(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> LineCondition:
    """Contour drawings; the default extractor is Photo-Sketching, and LDC is a lighter one."""
    return LineCondition("photo-sketch", extractor or "photo-sketch", weights)
