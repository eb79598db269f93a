"""Writing pictures, and drawing labelled sheets of them."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..core.errors import ProxymaskError, cannot_write
from .labels import LabelSet

INK, FAINT, PAPER = (32, 36, 42), (108, 116, 128), (255, 255, 255)


def picture_format(path: Path) -> str:
    """Pillow's name of the format for the suffix of ``path``; a :class:`ProxymaskError` for an unknown suffix."""
    formats = {suffix: name for suffix, name in Image.registered_extensions().items() if name in ("PNG", "JPEG", "WEBP", "BMP", "TIFF")}
    if path.suffix.lower() not in formats:
        raise ProxymaskError(f"{path}: pictures are written as .png, .jpg, .webp, .bmp or .tif; end the name in one of these")
    return formats[path.suffix.lower()]


def check_writable(folder: Path, out: Path) -> None:
    """Refuse a folder that cannot be made or written, before any work is done; nothing is left of the trial.

    ``out``: the path in the message.

    Raises:
        ProxymaskError: it cannot be made or written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(out, error, "another --out") from None
    finally:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()


def write_picture(path: str | Path, picture: Image.Image) -> Path:
    """Write a picture atomically and create its folder; the suffix chooses the format.

    Raises:
        ProxymaskError: an unknown suffix, a folder that cannot be written, a full disk.
    """
    path = Path(path)
    kind = picture_format(path)
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}.tmp")  # a name of our own, and a short one
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(temporary, format=kind)
        os.replace(temporary, path)
    except OSError as error:
        if temporary.is_file():
            temporary.unlink()
        raise cannot_write(path, error, "another --out") from None
    return path


def from_pixels(pixels: np.ndarray) -> Image.Image:
    """uint8 (H, W, C) -> a picture: grey, grey with alpha, RGB or RGBA for 1 to 4 channels.

    Raises:
        ProxymaskError: more than 4 channels.
    """
    if pixels.shape[2] > 4:
        raise ProxymaskError(f"the generator makes {pixels.shape[2]} channels; pictures have 1 to 4")
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font, the same on every machine."""
    return ImageFont.load_default(size)


def enlarged(pixels: np.ndarray, side: int, smooth: bool) -> Image.Image:
    """Resize uint8 (H, W, C) to fit a square of ``side`` pixels, with white margins if it is not square.

    ``smooth``: Lanczos, for pictures; otherwise nearest neighbour, for masks.
    """
    height, width = (max(1, round(edge * side / max(pixels.shape[:2]))) for edge in pixels.shape[:2])
    picture = from_pixels(pixels).resize((width, height), Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST)
    if height == width:
        return picture
    sheet = Image.new("RGB", (side, side), PAPER)
    sheet.paste(picture, ((side - width) // 2, (side - height) // 2))
    return sheet


def legend(labels: LabelSet, width: int, size: int = 16, used: Sequence[int] | None = None) -> Image.Image:
    """A legend of the classes (or those in ``used``): swatch, id, name and colour, in as many columns as fit ``width`` pixels."""
    face, gap = font(size), size // 2
    shown = [label for label in labels.labels if used is None or label.id in used]
    texts = [f"{label.id} {label.name}  {label.hex}" for label in shown]
    cell = int(max(face.getlength(text) for text in texts)) + 4 * size
    columns = min(max(1, width // cell), len(shown))
    rows = -(-len(shown) // columns)
    line = size + gap
    picture = Image.new("RGB", (width, rows * line + gap), PAPER)
    draw = ImageDraw.Draw(picture)
    for number, (label, text) in enumerate(zip(shown, texts, strict=True)):
        x, y = number // rows * cell + gap, number % rows * line + gap
        draw.rectangle((x, y, x + 1.5 * size, y + size), fill=label.color, outline=FAINT)
        draw.text((x + 2 * size, y + size / 2), text, INK, face, anchor="lm")
    return picture
