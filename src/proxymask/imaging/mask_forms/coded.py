"""A picture as codes of its colours: what is done once for each colour need not be done for each pixel.

Shapes: H x W the size of the picture, K the number of its colours.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image

BLOCK = 1 << 21  # pixels in a block; what is made in between stays small
HALF = 128  # opacity from which a pixel is painted

Mend = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Colours (n, 3) and the opacity (n,) of pixels that are partly transparent -> the colours that were painted there."""


class Coded(NamedTuple):
    """``codes``: uint8, uint16 or int32 (H, W), rows of ``table``; ``table``: colours, uint8 (K, 3).

    ``hidden``: bool (K,), codes of pixels that are transparent (less than half opaque). Their colours in ``table`` mean nothing.
    """

    codes: np.ndarray
    table: np.ndarray
    hidden: np.ndarray


def rows_at_once(width: int) -> int:
    """How many rows of a picture make a block."""
    return max(1, BLOCK // max(1, width))


def code_picture(picture: Image.Image, opacity: np.ndarray | None, mend: Mend | None = None) -> Coded:
    """Code an RGB or RGBA picture.

    Args:
        picture: mode "RGB" or "RGBA".
        opacity: uint8 (H, W), None for an opaque picture.
        mend: see :data:`Mend`.
    """
    width, height = picture.size

    def blocks() -> Iterable[tuple[int, np.ndarray]]:
        step = rows_at_once(width)
        for top in range(0, height, step):
            part = picture.crop((0, top, width, min(top + step, height)))
            raw = part.tobytes("raw", "RGBX" if picture.mode == "RGB" else "RGBA")  # 4 bytes a pixel, red first
            yield top, np.frombuffer(raw, "<u4").reshape(-1, width) & 0xFFFFFF

    return _code(blocks(), (height, width), opacity, mend)


def code_array(pixels: np.ndarray, opacity: np.ndarray | None, mend: Mend | None = None) -> Coded:
    """Code colours, integers 0 to 255 of any type (H, W, 3); ``opacity`` as in :func:`code_picture`."""
    height, width = pixels.shape[:2]

    def blocks() -> Iterable[tuple[int, np.ndarray]]:
        step = rows_at_once(width)
        for top in range(0, height, step):
            yield top, _pack(pixels[top : top + step])

    return _code(blocks(), (height, width), opacity, mend)


def code_values(values: np.ndarray, table: np.ndarray, hidden: np.ndarray) -> Coded:
    """Code a picture whose pixels are indices of a palette: ``values`` uint8 (H, W), ``table`` (256, 3), ``hidden`` bool (256,).

    Entries of equal colour become one, and unused ones are left out.
    """
    used = np.flatnonzero(count_codes(values, 256))
    keys = table[used].astype(np.int64) @ np.array([1, 256, 65536])
    keys[hidden[used]] = -1
    found, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    translate = np.zeros(256, np.uint8)
    translate[used] = inverse
    return Coded(translate[values], table[used[first]], found < 0)


def count_codes(codes: np.ndarray, number: int) -> np.ndarray:
    """How many pixels have each code 0..number-1: int64 (number,)."""
    counts = np.zeros(number, np.int64)
    step = rows_at_once(codes.shape[1])
    for top in range(0, len(codes), step):
        counts += np.bincount(codes[top : top + step].reshape(-1), minlength=number)
    return counts


def _code(blocks: Iterable[tuple[int, np.ndarray]], shape: tuple[int, int], opacity: np.ndarray | None, mend: Mend | None) -> Coded:
    """Code blocks of (first row, colours packed as red + 256 green + 65536 blue)."""
    position = np.zeros(1 << 24, np.int32)  # 1 + code of a colour; 0 where it was not met yet
    codes, known = np.empty(shape, np.uint16), [np.zeros(1, np.uint32)]  # code 0: transparent
    number = 1
    for top, packed in blocks:
        seen = None
        if opacity is not None:
            alpha = opacity[top : top + len(packed)]
            seen, partly = alpha >= HALF, (alpha >= HALF) & (alpha < 255)
            if mend is not None and partly.any():
                packed = packed.copy()
                packed[partly] = _pack(mend(_unpack(packed[partly]), alpha[partly]))
        found = position[packed]
        missing = found == 0 if seen is None else (found == 0) & seen
        if missing.any():
            new = np.unique(packed[missing])
            position[new] = np.arange(number + 1, number + 1 + len(new))
            known.append(new)
            number += len(new)
            found = position[packed]
        if number > 65535 and codes.dtype == np.uint16:
            codes = codes.astype(np.int32)
        found -= 1
        if seen is not None:
            found[~seen] = 0
        codes[top : top + len(packed)] = found
    hidden = np.zeros(number, bool)
    hidden[0] = True
    return Coded(codes, _unpack(np.concatenate(known)), hidden)


def _pack(colors: np.ndarray) -> np.ndarray:
    wide = colors.astype(np.uint32)
    return wide[..., 0] | wide[..., 1] << 8 | wide[..., 2] << 16


def _unpack(packed: np.ndarray) -> np.ndarray:
    return np.stack([packed & 255, packed >> 8 & 255, packed >> 16], axis=-1).astype(np.uint8)
