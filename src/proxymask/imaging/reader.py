"""Reading picture files. Nothing else in the package calls ``Image.open``."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..core.errors import ProxymaskError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
"""Suffixes of the pictures that are searched for in folders."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Formats that are opened. Pillow has more, some of which start other programs."""


def open_picture(path: str | Path) -> Image.Image:
    """Read and decode a picture file, in its own mode.

    Raises:
        ProxymaskError: missing, a folder, not a picture, damaged, or too many pixels.
    """
    try:
        with Image.open(path, formats=FORMATS) as opened:
            opened.load()
            return opened
    except FileNotFoundError:
        raise ProxymaskError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise ProxymaskError(f"{path} is a folder: give one picture") from None
    except Image.UnidentifiedImageError:
        raise ProxymaskError(f"{path} is not a picture ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise ProxymaskError(f"{path} has too many pixels: make it smaller") from None
    except Exception as error:  # on damaged files Pillow can raise anything
        raise ProxymaskError(f"{path} cannot be read ({error}): it is truncated or damaged") from None


def read_picture(path: str | Path) -> Image.Image:
    """Read a picture file as RGB: EXIF rotation applied, transparency on white, 16-bit, grey, palette and CMYK converted.

    Raises:
        ProxymaskError: see :func:`open_picture`.
    """
    picture = ImageOps.exif_transpose(open_picture(path))
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would clip
        values = np.asarray(picture).astype(np.int64)
        picture = Image.fromarray((values >> 8 if values.max() > 255 else values).clip(0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        white.alpha_composite(picture)
        picture = white
    return picture.convert("RGB")
