"""Masks, and scribbles: a few strokes in the colours of the labels. One plane for each class; all are zero where nothing is painted."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from ..core.errors import ProxymaskError
from ..core.sizes import Size
from ..imaging.labels import LabelSet
from ..imaging.masks import read_mask_notes
from ..imaging.reader import source_name
from . import augmentations
from .base import Condition, Reading, Source, area_resize, pad_to_aspect_ratio
from .lines import dilate
from .strokes import read_strokes

COVERED = 0.05  # share of the pixels under strokes
COVERED_FROM, COVERED_TO = 0.015, 0.12  # its range in training
MIN_PAINTED = 0.0005  # share of the pixels; with less it is empty
STROKE_RADIUS = 16  # strokes prescribe the class within 1 / STROKE_RADIUS of the shorter side
LONGEST = 2048  # pixels of the longer side; the classes' shares in larger pictures are computed from means of blocks


class ScribbleCondition(Condition):
    """Coloured strokes; in training drawn inside the regions of the few-shot segmenter's labels (supplement E)."""

    needs_labels = True

    def __init__(self, labels: LabelSet, covered: float | None = None) -> None:
        """``covered``: share of the pixels under the strokes of :meth:`extract`; None: random, 1.5 to 12 %."""
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
        """Random missing classes, displacement of strokes, missing parts."""
        b = len(planes)
        kept = (torch.rand(b, planes.shape[1], 1, 1, generator=rng) > 0.12).to(planes)
        planes = planes * torch.where(augmentations.chance(rng, b, 0.5).to(planes) > 0, kept, torch.ones_like(kept))
        planes = augmentations.jitter(planes, augmentations.uniform(rng, b, -0.5, 1.5).clamp(min=0), rng, mode="nearest")
        planes = augmentations.remove(planes, augmentations.uniform(rng, b, -0.4, 0.4).clamp(min=0), rng)
        return augmentations.blank_half(planes, augmentations.chance(rng, b, 0.08), rng)

    def read(self, source: Source, size: Size, invert: bool = False, mean_condition: torch.Tensor | None = None) -> Reading:
        if invert:
            raise ProxymaskError("scribbles have colours, which cannot be inverted: leave --invert out")
        assert self.labels is not None
        name = source_name(source)
        ids, painted, said = read_strokes(source, self.labels)
        if float(painted.mean()) < MIN_PAINTED:
            raise ProxymaskError(f"{name} is empty: paint strokes in the colours of the labels on a white or transparent background")
        small, notes = self._small(ids, painted, size)
        notes = said + notes
        cover = small.sum(dim=0)
        given = cover > min(0.3, 0.5 * float(cover.max()))  # strokes thinner than a pixel still count
        best = small.argmax(dim=0)
        one_hot = torch.nn.functional.one_hot(best, self.channels).permute(2, 0, 1).float() * given
        if float(given.float().mean()) > 0.6:
            notes += ("most of it is painted, as in a mask: the condition mask follows edges more closely",)
        return Reading(one_hot, dilate(given, STROKE_RADIUS), notes)

    def _small(self, ids: np.ndarray, painted: np.ndarray, size: Size) -> tuple[torch.Tensor, tuple[str, ...]]:
        """Share of each class in the pixels of ``size``, (C, H, W), one class after the other, and notes."""
        factor, planes = -(-max(ids.shape) // LONGEST), []
        notes: tuple[str, ...] = ()
        for i in range(self.channels):
            marks = (ids == i) & painted
            if factor == 1:
                plane = marks.astype(np.float32)
            else:
                plane = np.asarray(Image.fromarray(marks.view(np.uint8) * np.uint8(255)).reduce(factor)) / np.float32(255)
            plane, notes = pad_to_aspect_ratio(plane, size)
            planes.append(area_resize(plane, size))
        if factor > 1 and notes:
            notes = pad_to_aspect_ratio(ids, size)[1]  # with the size of the file
        return torch.cat(planes), notes

    def show(self, planes: torch.Tensor) -> np.ndarray:
        """Strokes in the colours of the labels, on white."""
        assert self.labels is not None
        colours = self.labels.colors[planes.argmax(dim=1).cpu().numpy()]
        painted = (planes.amax(dim=1) > 0.5).cpu().numpy()
        return np.where(painted[..., None], colours, 255).astype(np.uint8)


def draw_strokes(ids: np.ndarray, classes: int, covered: float, rng: np.random.Generator) -> np.ndarray:
    """Draw strokes inside the regions of a mask (H, W) -> (classes, H, W) float32, 0 or 1.

    The share ``covered`` of the pixels is divided among the classes by the square roots of their areas, because people scribble small
    regions more densely. Strokes are curves through three random points of the region, 1 to 3 pixels wide at 64 pixels, and clipped to the
    region.
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
            if length > wanted:  # not longer than the remaining budget
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
    """The region without its border pixels, or the region itself where nothing would be left."""
    padded = np.pad(region, 1)
    inner = region & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inner if inner.any() else region


def _curve(points: np.ndarray) -> np.ndarray:
    """Nine points (9, 2) on a quadratic curve through three points (3, 2)."""
    t = np.linspace(0, 1, 9)[:, None]
    control = 2 * points[1] - (points[0] + points[2]) / 2
    return (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * control + t**2 * points[2]


class MaskCondition(Condition):
    """A whole mask: every pixel has a class. Transparent pixels are unpainted; the mapper gets class 0 there."""

    needs_labels = True

    def __init__(self, labels: LabelSet) -> None:
        super().__init__("mask", len(labels), labels)

    def extract(self, pictures: torch.Tensor, labels: torch.Tensor | None, rng: torch.Generator) -> torch.Tensor:
        assert labels is not None
        return torch.nn.functional.one_hot(labels, self.channels).permute(0, 3, 1, 2).float()

    def augment(self, planes: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        return planes

    def read(self, source: Source, size: Size, invert: bool = False, mean_condition: torch.Tensor | None = None) -> Reading:
        if invert:
            raise ProxymaskError("a mask has classes, which cannot be inverted: leave --invert out")
        assert self.labels is not None
        read = read_mask_notes(source, self.labels, size)
        ids = torch.from_numpy(read.ids.copy()).long()
        planes = torch.nn.functional.one_hot(ids, self.channels).permute(2, 0, 1).float()
        return Reading(planes, torch.from_numpy(read.painted.copy()), read.notes)

    def show(self, planes: torch.Tensor) -> np.ndarray:
        """The mask in the colours of its classes."""
        assert self.labels is not None
        return self.labels.colors[planes.argmax(dim=1).cpu().numpy()]


def _labels_of(name: str, labels: LabelSet | None, extractor: str | None, weights: Path | None) -> LabelSet:
    if labels is None:
        raise ProxymaskError(f"a {name} needs labels, and this bundle has none: make it with proxymask fit --labels")
    if extractor is not None or weights is not None:
        raise ProxymaskError(f"a {name} is made of labels, not by an extractor: leave --extractor and --weights out")
    return labels


def scribble(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> ScribbleCondition:
    """Coloured strokes."""
    return ScribbleCondition(_labels_of("scribble", labels, extractor, weights))


def mask(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> MaskCondition:
    """A whole mask."""
    return MaskCondition(_labels_of("mask", labels, extractor, weights))
