"""Masks from labelme's JSON: polygons, rectangles, circles, lines, points and masks of labelled objects."""

import base64
import binascii
import io
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import ProxymaskError
from ..labels import LabelSet
from ..reader import open_picture
from .annotations import MAX_SHAPES, Canvas, Names, short
from .notes import Notes

LINE_WIDTH, POINT_SIZE = 10, 5  # of labelme's own shape_to_mask: width of lines, radius of points, in pixels
LEAST = {"polygon": 3, "rectangle": 2, "circle": 2, "line": 2, "linestrip": 2, "point": 1, "points": 1, "mask": 2}
"""The kinds of shapes, and how many points each needs."""


def is_labelme(stored: Any) -> bool:
    """Whether JSON holds the shapes of one picture."""
    return isinstance(stored, dict) and isinstance(stored.get("shapes"), list)


def from_labelme(stored: dict[str, Any], labels: LabelSet, notes: Notes) -> np.ndarray:
    """Ids, uint8 (H, W); class 0 where no shape is. Later shapes cover earlier ones; groups change nothing.

    Raises:
        ProxymaskError: labels of no class, no size, unknown or damaged shapes.
    """
    shapes, names = stored["shapes"], Names(labels, {})
    if len(shapes) > MAX_SHAPES:
        raise ProxymaskError(f"{notes.name} has {len(shapes):,} shapes: up to {MAX_SHAPES:,} are read")
    for number, shape in enumerate(shapes):
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
            raise ProxymaskError(f"{notes.name}: shape {number} has no label")
        names.find(shape["label"])
    names.check(notes.name, "labels")
    width, height = stored.get("imageWidth"), stored.get("imageHeight")
    if width is None or height is None:
        width, height = _picture_size(stored, notes.name)
    canvas = Canvas(width, height, notes.name)
    for number, shape in enumerate(shapes):
        label = names.find(shape["label"])
        assert label is not None
        _draw(canvas, label, shape, f"shape {number} ({short(shape['label'])})")
    canvas.say(notes)
    return canvas.ids


def _draw(canvas: Canvas, label: int, shape: dict[str, Any], what: str) -> None:
    kind = shape.get("shape_type") or "polygon"
    if not isinstance(kind, str) or kind not in LEAST:
        raise ProxymaskError(f"{canvas.name}: {what} is of kind {short(kind)}: {', '.join(LEAST)} are read")
    points = canvas.coordinates(shape.get("points"), f"{what}, a {kind},", LEAST[kind])
    if kind == "polygon":
        canvas.polygons(label, [points])
    elif kind == "rectangle":
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        canvas.polygons(label, [np.array([[left, top], [right, top], [right, bottom], [left, bottom]])])
    elif kind == "circle":
        canvas.disc(label, points[0], float(np.hypot(*(points[1] - points[0]))))
    elif kind in ("line", "linestrip"):
        canvas.line(label, points, LINE_WIDTH)
    elif kind == "mask":
        canvas.put(label, _stored_mask(shape.get("mask"), f"{canvas.name}: {what}"), *(int(v) for v in points.min(axis=0)[::-1]))
    else:
        for point in points:
            canvas.disc(label, point, POINT_SIZE)


def _stored_mask(text: Any, what: str) -> np.ndarray:
    """A picture in base64 as bool (h, w)."""
    picture = open_picture(io.BytesIO(_decoded(text, what)), [], what)
    values = np.asarray(picture.convert("L"))
    return values > 0


def _picture_size(stored: dict[str, Any], name: str) -> tuple[int, int]:
    """The size of the picture that is kept in the file, where none is stated."""
    if not isinstance(stored.get("imageData"), str):
        raise ProxymaskError(f"{name} has no imageWidth and imageHeight: save it again with labelme")
    return open_picture(io.BytesIO(_decoded(stored["imageData"], f"{name}: imageData")), [], f"the picture in {Path(name).name}").size


def _decoded(text: Any, what: str) -> bytes:
    try:
        return base64.b64decode(text if isinstance(text, str) else "", validate=False)
    except (binascii.Error, ValueError):
        raise ProxymaskError(f"{what} holds a picture that is damaged: save it again with labelme") from None
