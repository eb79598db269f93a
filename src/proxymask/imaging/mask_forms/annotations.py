"""Masks in JSON: the polygons of labelme, and the annotations of COCO (instances).

Sizes, coordinates and counts come from files of others: all are checked before anything of that size is made.
"""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from ...core.errors import ProxymaskError
from ...core.files import read_json
from ...core.text import without_controls
from ..labels import LabelSet
from ..reader import MAX_PIXELS
from .notes import Notes, listed, percent

LARGEST = 1 << 30  # bytes of a JSON file
MAX_POINTS = 1_000_000  # in one mask
MAX_SHAPES = 100_000  # in one mask
MAX_AREA = 1 << 31  # pixels in the boxes of all shapes of one mask
REACH = 1_000_000  # coordinates are at most this far from 0


class Canvas:
    """A mask that is drawn shape by shape; later shapes cover earlier ones."""

    def __init__(self, width: Any, height: Any, name: str) -> None:
        if type(width) is not int or type(height) is not int or min(width, height) < 1 or width * height > MAX_PIXELS:
            raise ProxymaskError(f"{name} gives a size of {short(width)} x {short(height)}: whole pixels, up to {MAX_PIXELS:,} in all")
        self.name, self.points, self.area, self.overlap = name, 0, 0, 0
        self.ids = np.zeros((height, width), np.uint8)
        self.drawn = np.zeros((height, width), bool)

    def put(self, label: int, inside: np.ndarray, top: int = 0, left: int = 0) -> None:
        """Give a class to the pixels where ``inside``, bool (h, w), is true; its corner lies at ``top``, ``left``, also outside."""
        height, width = self.ids.shape
        rows = slice(max(0, top), min(height, top + inside.shape[0]))
        columns = slice(max(0, left), min(width, left + inside.shape[1]))
        if rows.start >= rows.stop or columns.start >= columns.stop:  # all of it lies outside
            return
        part = inside[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        self.overlap += int(np.count_nonzero(self.drawn[rows, columns] & part))
        self.drawn[rows, columns] |= part
        self.ids[rows, columns][part] = label

    def polygons(self, label: int, polygons: Sequence[np.ndarray]) -> None:
        """Fill polygons with corners (n, 2), x and y; one object, whose parts do not overlap each other."""
        box = self._box(np.concatenate(polygons), 1)
        if box is not None:
            picture = Image.new("1", (box[2] - box[0], box[3] - box[1]))
            for points in polygons:
                ImageDraw.Draw(picture).polygon(_within(points, box), fill=1)
            self.put(label, np.asarray(picture), box[1], box[0])

    def line(self, label: int, points: np.ndarray, width: int) -> None:
        """Draw a line through points (n, 2)."""
        box = self._box(points, width + 1)
        if box is not None:
            picture = Image.new("1", (box[2] - box[0], box[3] - box[1]))
            ImageDraw.Draw(picture).line(_within(points, box), fill=1, width=width, joint="curve")
            self.put(label, np.asarray(picture), box[1], box[0])

    def disc(self, label: int, centre: np.ndarray, radius: float) -> None:
        """Fill a circle."""
        box = self._box(np.stack([centre - radius, centre + radius]), 1)
        if box is not None:
            y, x = np.ogrid[box[1] : box[3], box[0] : box[2]]
            self.put(label, (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2, box[1], box[0])

    def coordinates(self, points: Any, what: str, least: int) -> np.ndarray:
        """Points from JSON as float (n, 2); a :class:`ProxymaskError` if they are none, fewer than ``least``, or out of range."""
        good = isinstance(points, list) and len(points) >= least
        self.points += len(points) if isinstance(points, list) else 0
        if self.points > MAX_POINTS:
            raise ProxymaskError(f"{self.name} has more than {MAX_POINTS:,} points: simplify its polygons")
        if not good or not all(isinstance(p, list | tuple) and len(p) == 2 and all(is_number(value) for value in p) for p in points):
            raise ProxymaskError(f"{self.name}: {what} needs {least} or more points [x, y] of finite numbers up to {REACH:,}")
        return np.array(points, dtype=np.float64).reshape(-1, 2)

    def _box(self, points: np.ndarray, margin: int) -> tuple[int, int, int, int] | None:
        """The part of the canvas around points: left, top, right, bottom; None where they lie outside."""
        height, width = self.ids.shape
        left, top = np.floor(points.min(axis=0)).astype(int) - margin
        right, bottom = np.ceil(points.max(axis=0)).astype(int) + margin + 1
        left, top, right, bottom = max(0, int(left)), max(0, int(top)), min(width, int(right)), min(height, int(bottom))
        if left >= right or top >= bottom:
            return None
        self.area += (right - left) * (bottom - top)
        if self.area > MAX_AREA:
            raise ProxymaskError(
                f"{self.name} has shapes that cover each other too often: their sizes add up to more than {MAX_AREA:,} pixels"
            )
        return left, top, right, bottom

    def say(self, notes: Notes) -> None:
        """Note what overlaps, and that nothing was drawn."""
        if self.overlap:
            notes.say(f"its shapes overlap in {percent(self.overlap, self.ids.size)} of the pixels: later ones cover earlier ones")
        if not self.drawn.any():
            notes.say("no shape lies in the picture: it is class 0 all over")


def _within(points: np.ndarray, box: tuple[int, int, int, int]) -> list[tuple[float, float]]:
    return [(float(x) - box[0], float(y) - box[1]) for x, y in points]


def is_number(value: Any) -> bool:
    """Whether a value from JSON is a finite number within ``REACH``."""
    return type(value) in (int, float) and math.isfinite(value) and abs(value) <= REACH


def short(value: Any) -> str:
    """A value from JSON in a message."""
    return without_controls(repr(value)[:40])


def load(path: Path) -> Any:
    """Read the JSON of annotations, once for all images of a file; a :class:`ProxymaskError` if it is none."""
    try:
        stat = path.stat()
    except OSError:
        return read_json(path, LARGEST)
    return _load(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _load(path: Path, size: int, modified: int) -> Any:
    return read_json(path, LARGEST)


class Names(NamedTuple):
    """Finds classes by the names in a file, and collects those that are of no class."""

    labels: LabelSet
    unknown: dict[str, int]

    def find(self, name: Any) -> int | None:
        """The id of the class of this name; ``_background_``, as labelme writes it, is class 0."""
        text = name if isinstance(name, str) else str(name)[:80]
        label = self.labels.find(text)
        if label is None and text.strip("_ ").lower() == "background":
            return 0
        if label is None:
            self.unknown[text] = self.unknown.get(text, 0) + 1
            return None
        return label.id

    def check(self, name: str, what: str) -> None:
        """Raise a :class:`ProxymaskError` if a name was of no class."""
        if self.unknown:
            given = listed([f"{without_controls(text, 60)!r} ({count})" for text, count in self.unknown.items()])
            raise ProxymaskError(f"{name} has {what} of no class: {given}; name them {', '.join(self.labels.names)}, or remove them")


def whole(values: Sequence[Any]) -> bool:
    """Whether all values are whole numbers of 0 or more that fit 53 bits."""
    return all(type(value) is int and 0 <= value <= 2**53 for value in values)
