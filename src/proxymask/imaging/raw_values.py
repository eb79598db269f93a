"""How the values of a picture are stored in its file, and what Pillow loses of them when it decodes it."""

from typing import NamedTuple

from PIL import Image

from ..core.errors import ProxymaskError
from .bit_depth import DEEP_MODES

MAXIMUM = "stored_maximum"
"""Key in ``picture.info``: the value of white in the file, where Pillow stretches the greys to 0 to 255 (deep modes: to 65535)."""
SIXTEEN_BITS = "stored_16_bits"
"""Key in ``picture.info``: colours, or greys with alpha, had 16 bits in the file, of which Pillow keeps the upper 8."""
_MAXIMA = {"L;2": 3, "L;4": 15}  # of Pillow's raw modes


class Raw(NamedTuple):
    """``mode``: how the pixels are stored, in Pillow's words, as ``RGB;16B``, "" if unknown; ``white``: the largest value of a PNM file."""

    mode: str = ""
    white: int = 0


def raw_values(picture: Image.Image) -> Raw:
    """How the pixels of a picture are stored; it must not be decoded yet."""
    tiles = getattr(picture, "tile", None)
    args = tiles[0][3] if tiles else ""
    first, *more = args if isinstance(args, tuple) and args else (args,)
    white = more[0] if tiles and str(tiles[0][0]).startswith("ppm") and more and isinstance(more[0], int) else 0
    return Raw(first if isinstance(first, str) else "", white if white not in (255, 65535) else 0)


def repair(picture: Image.Image, raw: Raw, name: str) -> None:
    """Correct what Pillow leaves unscaled in ``picture.info``, and note there what it changed.

    Raises:
        ProxymaskError: colours of 16 bits that use only the lowest 12, which Pillow makes nearly black.
    """
    if raw.mode in _MAXIMA and not raw.white:
        picture.info[MAXIMUM] = _MAXIMA[raw.mode]
        if isinstance(picture.info.get("transparency"), int):  # the transparent value is that of 2 or 4 bits
            picture.info["transparency"] *= 255 // _MAXIMA[raw.mode]
    if raw.white and picture.mode in ("L", *DEEP_MODES):
        picture.info[MAXIMUM] = raw.white
    if ";16" not in raw.mode or picture.mode in DEEP_MODES:
        return
    picture.info[SIXTEEN_BITS] = True
    has_alpha = picture.mode in ("RGBA", "LA")
    found = _extrema(picture)
    brightest = max(high for _, high in found[: len(found) - has_alpha])
    if brightest < 16 and not (brightest == 0 and has_alpha and found[-1][0] == 0):  # black ink on nothing is black
        raise ProxymaskError(
            f"{name} stores 16 bits a channel and uses only the lowest 12 or fewer: it would be nearly black; save it with 8 bits a channel"
        )


def _extrema(picture: Image.Image) -> list[tuple[float, float]]:
    found = picture.getextrema()
    return [found] if not isinstance(found[0], tuple) else list(found)
