"""A drawn face, its ids and colours, and helpers that write it in many encodings."""

import io
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from proxymask.data.avatars import AVATAR_LABELS as LABELS

COLORS = LABELS.colors


def draw_face(side: int = 256) -> np.ndarray:
    """Ids (side, side): background, skin, eyes, mouth, clothes and hair."""
    face = Image.new("L", (side, side))
    pen, unit = ImageDraw.Draw(face), side / 256
    for kind, box, fill in (
        ("rectangle", (60, 170, 200, 256), 5),
        ("ellipse", (70, 50, 186, 200), 1),
        ("pieslice", (70, 30, 186, 150), 7),
        ("ellipse", (95, 105, 115, 120), 2),
        ("ellipse", (140, 105, 160, 120), 2),
        ("ellipse", (110, 150, 146, 168), 4),
    ):
        scaled = [value * unit for value in box]
        if kind == "pieslice":
            pen.pieslice(scaled, 180, 360, fill=fill)
        else:
            getattr(pen, kind)(scaled, fill=fill)
    return np.asarray(face).copy()


FACE = draw_face()


def saved(picture: Image.Image, kind: str, **how: Any) -> Image.Image:
    """The picture, written in a format and read again."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    loaded = Image.open(io.BytesIO(buffer.getvalue()))
    loaded.load()
    return loaded


def indexed(ids: np.ndarray, colors: Any) -> Image.Image:
    """A palette picture: indices (H, W), and the colours of the first entries."""
    picture = Image.fromarray(ids.astype(np.uint8))
    flat = [int(value) for color in colors for value in color]
    picture.putpalette(flat + [0] * (768 - len(flat)))
    return picture


def supersampled(resample: Image.Resampling, colors: np.ndarray = COLORS) -> Image.Image:
    """The face, anti-aliased: drawn four times larger and made smaller."""
    return Image.fromarray(colors[draw_face(1024)]).resize((256, 256), resample)


def far_from(ids: np.ndarray, truth: np.ndarray, radius: int) -> int:
    """How many pixels have a class that ``truth`` has nowhere within ``radius``."""
    height, width = truth.shape
    near = np.zeros(truth.shape, bool)
    padded = np.pad(truth, radius, mode="edge")
    for down in range(2 * radius + 1):
        for right in range(2 * radius + 1):
            near |= padded[down : down + height, right : right + width] == ids
    return int(np.count_nonzero(~near))
