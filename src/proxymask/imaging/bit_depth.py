"""Grey pictures with more than 8 bits: which they are, and which value is white in them."""

import math

import numpy as np
from PIL import Image

DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of grey pictures with more than 8 bits."""
DEPTHS = (8, 10, 12, 14, 16, 24, 32)
"""Bits that a deep picture may use; see :func:`full_scale`."""


def deep_maximum(picture: Image.Image) -> float:
    """The largest finite value of a grey picture with more than 8 bits (``DEEP_MODES``); 0 where there is none."""
    values = np.asarray(picture)
    if picture.mode == "F":
        finite = values[np.isfinite(values)]
        return float(finite.max()) if finite.size else 0.0
    return float(values.max())


def full_scale(maximum: float) -> int:
    """The value that is white in a picture or set with this largest value: that of the fewest bits (``DEPTHS``) that hold it.

    The range of values up to 1 (floating point) is 1.
    """
    if maximum <= 1:
        return 1
    return next((2**bits - 1 for bits in DEPTHS if maximum < 2**bits), math.ceil(maximum))


def deep_values(picture: Image.Image, full: int) -> np.ndarray:
    """A grey picture with more than 8 bits as float32 (H, W) in [0, 1]: 0 to ``full`` becomes 0 to 1; NaN is 0."""
    values = np.asarray(picture).astype(np.float32)
    if picture.mode == "F":
        np.nan_to_num(values, copy=False, nan=0.0, posinf=full, neginf=0.0)
    values /= full
    return values.clip(0, 1, out=values)


def grey_picture(picture: Image.Image, full: int) -> Image.Image:
    """A grey picture with more than 8 bits as mode "L": 0 to ``full`` becomes 0 to 255; NaN is black."""
    if full == 65535 and picture.mode != "F":
        return Image.fromarray((np.asarray(picture) >> 8).clip(0, 255).astype(np.uint8))
    values = deep_values(picture, full)
    values *= 255
    values += 0.5
    return Image.fromarray(values.astype(np.uint8))
