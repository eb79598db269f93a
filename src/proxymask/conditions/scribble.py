"""Scribbles: a few strokes in the colours of the labels. One plane a class; where nothing is painted, all are zero."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from ..core.errors import ProxymaskError
from ..core.sizes import Size, height_width
from ..imaging.labels import LabelSet
from ..imaging.masks import read_mask
from . import disturb
from .base import Condition, Reading, Source, area_resize, as_picture, named, padded
from .lines import around

COVERED = 0.05  # share of the pixels under strokes
COVERED_FROM, COVERED_TO = 0.015, 0.12  # in training, at random
NEAR = 40.0  # distance in RGB up to which a painted colour is a class'
LEAST = 0.0005  # share of painted pixels; less is empty
REACH = 16  # strokes say something about this fraction of the side around them
STAINED = 0.6  # more of it in colours that are no class' is a photo


class ScribbleCondition(Condition):
    """Coloured strokes, made of the few-shot segmenter's regions (supplement E)."""

    needs_labels = True

    def __init__(self, labels: LabelSet, covered: float | None = None) -> None:
        """``covered``: share of the pixels under the strokes that :meth:`extract` draws; drawn from 1.5 to 12 % where None."""
        super().__init__("scribble", len(labels), labels)
        self.covered = covered

    def extract(self, pictures: torch.Tensor, labels: torch.Tensor | None, rng: torch.Generator) -> torch.Tensor:
        assert labels is not None
        numbers = np.random.default_rng(int(torch.randint(2**62, (), generator=rng)))
        drawn = []
        for ids in labels.to("cpu", torch.uint8).numpy():
            covered = self.covered or float(np.exp(numbers.uniform(np.log(COVERED_FROM), np.log(COVERED_TO))))
            drawn.append(draw_strokes(ids, self.channels, covered, numbers))
        return torch.from_numpy(np.stack(drawn)).to(labels.device)

    def augment(self, planes: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Classes left out, parts left out, strokes beside their place."""
        b = len(planes)
        kept = (torch.rand(b, planes.shape[1], 1, 1, generator=rng) > 0.12).to(planes)
        planes = planes * torch.where(disturb.chance(rng, b, 0.5).to(planes) > 0, kept, torch.ones_like(kept))
        planes = disturb.jitter(planes, disturb.uniform(rng, b, -0.5, 1.5).clamp(min=0), rng, mode="nearest")
        planes = disturb.remove(planes, disturb.uniform(rng, b, -0.4, 0.4).clamp(min=0), rng)
        return disturb.blank_half(planes, disturb.chance(rng, b, 0.08), rng)

    def read(self, source: Source, size: Size, invert: bool = False, typical: torch.Tensor | None = None) -> Reading:
        if invert:
            raise ProxymaskError("scribbles have colours, which cannot be inverted: leave --invert out")
        assert self.labels is not None
        name = named(source)
        ids, painted = read_strokes(source, self.labels)
        if float(painted.mean()) < LEAST:
            raise ProxymaskError(f"{name} is empty: paint strokes in the colours of the labels on white or on nothing")
        planes = np.eye(self.channels, dtype=np.float32)[ids] * painted[..., None]
        planes, notes = padded(planes, size)
        small = area_resize(planes, size)
        cover = small.sum(dim=0)
        given = cover > min(0.3, 0.5 * float(cover.max()))  # strokes that are thin beside a pixel still count
        best = small.argmax(dim=0)
        one_hot = torch.nn.functional.one_hot(best, self.channels).permute(2, 0, 1).float() * given
        if float(given.float().mean()) > 0.6:
            notes += ("most of it is painted, as in a mask: --condition mask follows edges more closely",)
        return Reading(one_hot, around(given, REACH), notes)

    def show(self, planes: torch.Tensor) -> np.ndarray:
        """Strokes in the colours of the labels on white."""
        assert self.labels is not None
        colours = self.labels.colors[planes.argmax(dim=1).cpu().numpy()]
        painted = (planes.amax(dim=1) > 0.5).cpu().numpy()
        return np.where(painted[..., None], colours, 255).astype(np.uint8)


def read_strokes(source: Source, labels: LabelSet) -> tuple[np.ndarray, np.ndarray]:
    """Ids (H, W) uint8 and where they are painted (H, W) bool, of a picture in the colours of ``labels``.

    Unpainted is: transparent, white (or black where that is all the rest), index 255 of an index picture. Soft edges of strokes belong
    to the nearest class, where one is near; else they are unpainted.

    Raises:
        ProxymaskError: most of it has colours that are no class'.
    """
    picture = as_picture(source)
    if picture.mode in ("L", "P", "I", "1") or picture.mode.startswith("I;16"):
        indices = np.asarray(picture)
        used = np.unique(indices)
        inside = used[used != 255]
        palette_is_ours = picture.mode != "P" or not _paletted(picture, labels)
        if inside.size and int(inside.max()) < len(labels) and palette_is_ours:
            return np.where(indices == 255, 0, indices).astype(np.uint8), indices != 255
    rgba = np.asarray(picture.convert("RGBA"))
    colours = rgba[..., :3].astype(np.int32)
    distance = np.sqrt(((colours[..., None, :] - labels.colors.astype(np.int32)) ** 2).sum(axis=-1))
    ids, near = distance.argmin(axis=-1), distance.min(axis=-1)
    opaque = rgba[..., 3] > 127
    blank = ((colours.min(axis=-1) > 250) | (colours.max(axis=-1) < 5)) & (near > 0)
    foreign = opaque & ~blank & (near > NEAR)
    if foreign.mean() > STAINED * max(float((opaque & ~blank).mean()), 1e-6):
        first = "#{:02x}{:02x}{:02x}".format(*colours[foreign][0])
        raise ProxymaskError(
            f"{named(source)} is in colours that are no class' (the first is {first}): paint with those of the labels, on white "
            "(proxymask inspect BUNDLE lists them); a photo cannot be a scribble"
        )
    return ids.astype(np.uint8), opaque & ~blank & (near <= NEAR)


def _paletted(picture: Image.Image, labels: LabelSet) -> bool:
    """Whether the used entries of the palette are colours that are not the labels' in their order, so that colours must decide."""
    palette = np.array(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    used = [i for i in np.unique(np.asarray(picture)) if i != 255]
    return not all(i < len(labels) and i < len(palette) and (palette[i] == labels.colors[i]).all() for i in used)


def draw_strokes(ids: np.ndarray, classes: int, covered: float, rng: np.random.Generator) -> np.ndarray:
    """Strokes (classes, H, W) float32, 0 or 1, inside the regions of a mask (H, W).

    Every class that is there gets its share of ``covered`` by the square root of its area (people do not scribble a wall as densely as
    an eye), in curved strokes 1 to 3 pixels wide at 64 through random points of its region; what leaves the region is cut off.
    """
    height, width = ids.shape
    planes = np.zeros((classes, height, width), dtype=np.float32)
    present, areas = np.unique(ids, return_counts=True)
    weights = np.sqrt(areas) / np.sqrt(areas).sum()
    unit = max(1.0, min(height, width) / 64)
    for label, area, weight in zip(present, areas, weights, strict=True):
        budget = min(max(3.0, covered * ids.size * weight), 0.9 * area)
        region = ids == label
        rows, columns = np.nonzero(_inner(region))
        canvas = Image.new("L", (width, height))
        pen = ImageDraw.Draw(canvas)
        done = 0.0
        for _ in range(12):
            pick = rng.integers(len(rows), size=3)
            points = np.stack([columns[pick], rows[pick]], axis=1).astype(np.float64)
            thick = int(np.clip(round(rng.uniform(0.6, 2.6) * unit), 1, max(1, round(np.sqrt(area) / 3))))
            length = np.abs(np.diff(points, axis=0)).sum() * thick
            wanted = max(2.0, budget - done)
            if length > wanted:  # no longer than what is left to spend
                points = points[0] + (points - points[0]) * (wanted / length)
            pen.line([tuple(p) for p in _curve(points)], fill=255, width=thick)
            done = float(((np.asarray(canvas) > 0) & region).sum())
            if done >= 0.85 * budget:
                break
        if not done:
            canvas.putpixel((int(columns[0]), int(rows[0])), 255)
        planes[label] = (np.asarray(canvas) > 0) & region
    return planes


def _inner(region: np.ndarray) -> np.ndarray:
    """The region without its rim, where something is left of it: hands start inside."""
    padded = np.pad(region, 1)
    inner = region & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inner if inner.any() else region


def _curve(points: np.ndarray) -> np.ndarray:
    """A quadratic curve through three points (3, 2), as nine."""
    t = np.linspace(0, 1, 9)[:, None]
    bend = 2 * points[1] - (points[0] + points[2]) / 2
    return (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * bend + t**2 * points[2]


class MaskCondition(Condition):
    """A whole mask: every pixel has its class. Transparent pixels are unpainted (and class 0 where the mapper decides)."""

    needs_labels = True

    def __init__(self, labels: LabelSet) -> None:
        super().__init__("mask", len(labels), labels)

    def extract(self, pictures: torch.Tensor, labels: torch.Tensor | None, rng: torch.Generator) -> torch.Tensor:
        assert labels is not None
        return torch.nn.functional.one_hot(labels, self.channels).permute(0, 3, 1, 2).float()

    def augment(self, planes: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        return planes

    def read(self, source: Source, size: Size, invert: bool = False, typical: torch.Tensor | None = None) -> Reading:
        if invert:
            raise ProxymaskError("a mask has classes, which cannot be inverted: leave --invert out")
        assert self.labels is not None
        ids = torch.from_numpy(read_mask(source, self.labels, size).copy()).long()
        painted = torch.ones(height_width(size), dtype=torch.bool)
        if not (isinstance(source, str | Path) and Path(source).is_dir()):
            picture = as_picture(source)
            if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
                alpha = picture.convert("RGBA").getchannel("A").resize(height_width(size)[::-1], Image.Resampling.NEAREST)
                painted = torch.from_numpy(np.asarray(alpha) > 127)
        return Reading(torch.nn.functional.one_hot(ids, self.channels).permute(2, 0, 1).float(), painted)

    def show(self, planes: torch.Tensor) -> np.ndarray:
        """The classes in their colours."""
        assert self.labels is not None
        return self.labels.colors[planes.argmax(dim=1).cpu().numpy()]


def _labels_of(name: str, labels: LabelSet | None, extractor: str | None, weights: Path | None) -> LabelSet:
    if labels is None:
        raise ProxymaskError(f"a {name} is painted in the colours of labels, and this bundle has none: proxymask fit --labels ...")
    if extractor is not None or weights is not None:
        raise ProxymaskError(f"a {name} is made of labels by no extractor: leave --extractor and --weights out")
    return labels


def scribble(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> ScribbleCondition:
    """Coloured strokes."""
    return ScribbleCondition(_labels_of("scribble", labels, extractor, weights))


def mask(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> MaskCondition:
    """A whole mask."""
    return MaskCondition(_labels_of("mask", labels, extractor, weights))
