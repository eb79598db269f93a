"""The reader of pictures: files, PIL pictures, arrays and tensors. Nothing else in the package calls ``Image.open``.

Decided here, once, for every kind of input (docs/inputs.md): which formats are opened, orientation, the frame of an animation,
transparency, colour profiles, and the range of pictures with more than 8 bits.
"""

import contextlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps

from ..core.errors import ProxymaskError
from .arrays import hide, split_masked, tensor_array
from .bit_depth import DEEP_MODES, deep_maximum, full_scale, grey_picture
from .raw_values import raw_values, repair

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""Formats that are opened, whatever the suffix. Pillow has more, some of which start other programs."""
SUFFIXES = frozenset(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".pnm")
)
"""Suffixes of the pictures that are searched for in folders: those of ``FORMATS``."""
MAX_PIXELS = 16384 * 16384
"""Pictures with more pixels are refused before they are decoded."""

PictureSource = str | os.PathLike[str] | BinaryIO | np.ndarray | torch.Tensor | Image.Image
"""A file, its name, an array or tensor, or a PIL picture."""

_OTHER_FORMATS = (
    (0, b"version https://git-lfs", "a Git LFS pointer, not the picture itself: get it with git lfs pull"),
    (4, b"ftyphei", "a HEIC picture, which is not read: save it as PNG or JPEG"),
    (4, b"ftypmif", "a HEIC picture, which is not read: save it as PNG or JPEG"),
    (4, b"ftypavif", "an AVIF picture, which is not read: save it as PNG or JPEG"),
    (0, b"8BPS", "a Photoshop document, which is not read: export it as PNG"),
    (0, b"gimp xcf", "a GIMP document, which is not read: export it as PNG"),
    (0, b"%!PS", "PostScript, which is not read: export it as PNG"),
    (0, b"%PDF", "a PDF, which is not read: export it as PNG"),
    (0, b"<svg", "an SVG drawing, which is not read: export it as PNG"),
    (0, b"<?xml", "XML, not a picture: export it as PNG"),
    (0, b"<!DOCTYPE", "a web page, not a picture: download it again"),
    (0, b"<html", "a web page, not a picture: download it again"),
    (0, b"\x93NUMPY", "a NumPy array, not a picture: name it .npy"),
)  # offset, first bytes, what the file is


class _AnySize:
    """Within it Pillow does not check the number of pixels (``MAX_PIXELS`` is checked here); for any number of threads."""

    def __init__(self) -> None:
        self._lock, self._inside, self._limit = threading.Lock(), 0, Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Image.MAX_IMAGE_PIXELS = self._limit


_any_size = _AnySize()


def open_picture(source: str | os.PathLike[str] | BinaryIO, notes: list[str] | None = None, name: str | None = None) -> Image.Image:
    """Read and decode a picture in its own mode, as a viewer shows it: EXIF orientation applied, the first frame of an animation.

    Args:
        source: a path, or a file object opened in binary mode.
        notes: gets what is worth saying about it, a phrase each; None: warnings are given.
        name: of the source in messages; None: its path, or "the picture".

    Raises:
        ProxymaskError: missing, a folder, not a regular file, not a picture of ``FORMATS``, damaged, or too many pixels.
    """
    name = name or source_name(source)
    with _opened(source, name) as file:
        try:
            with _any_size, Image.open(file, formats=FORMATS) as opened:
                check_size(opened.width, opened.height, name)
                several = _is_several(opened)
                raw = raw_values(opened)
                opened.load()
        except Image.UnidentifiedImageError:
            raise ProxymaskError(f"{name} {_what_it_is(file)}") from None
        except (ProxymaskError, MemoryError):
            raise
        except Exception as error:  # on damaged files Pillow can raise anything
            raise ProxymaskError(f"{name} cannot be read ({_reason(error)}): it is truncated or damaged") from None
    if several:
        _note(notes, name, several)
    repair(opened, raw, name)
    return _upright(opened)


def check_size(width: int, height: int, name: str) -> None:
    """Refuse a picture of more than ``MAX_PIXELS`` pixels, or of none, by a :class:`ProxymaskError`."""
    if width * height > MAX_PIXELS:
        raise ProxymaskError(f"{name} is {width}x{height}: pictures have up to {MAX_PIXELS:,} pixels (16384x16384); make it smaller")
    if not width or not height:
        raise ProxymaskError(f"{name} has no pixels ({width}x{height})")


def as_picture(source: PictureSource, notes: list[str] | None = None) -> Image.Image:
    """A source as a decoded PIL picture in its own mode, upright (see :func:`open_picture`).

    Args:
        source: a path, a ``.npy`` file, a file object, a PIL picture, or an array or tensor: (H, W) of any numbers, or colours
            (H, W, 3 or 4), integers 0 to 255 or floats 0 to 1; also (1, 3 or 4, H, W). Greys other than uint8 become mode "F".
            Masked pixels of masked arrays are transparent.
        notes: see :func:`open_picture`.

    Raises:
        ProxymaskError: not readable, or another type or shape.
    """
    if isinstance(source, Image.Image):
        return _from_pil(source)
    array = stored_array(source)
    return open_picture(source, notes) if array is None else _from_array(array)  # type: ignore[arg-type]


def stored_array(source: PictureSource) -> np.ndarray | None:
    """The numbers of an array, a tensor or a ``.npy`` file, as they are stored, channels last; None for other sources.

    Raises:
        ProxymaskError: a damaged file, or a type that is no :data:`PictureSource`.
    """
    if isinstance(source, torch.Tensor):
        return _channels_last(tensor_array(source))
    if isinstance(source, np.ndarray):
        return _channels_last(source)
    if isinstance(source, str | os.PathLike) and os.fspath(source).lower().endswith(".npy"):
        with _opened(source, source_name(source)) as file:
            try:
                return _channels_last(np.load(file, allow_pickle=False))
            except Exception as error:  # headers of other makes can raise anything
                raise ProxymaskError(f"{source_name(source)} cannot be read ({_reason(error)}): it is truncated or damaged") from None
    if not isinstance(source, str | os.PathLike | Image.Image) and not hasattr(source, "read"):
        raise ProxymaskError(f"an input is a path, a PIL image, or an array or tensor, not of type {type(source).__name__}")
    return None


def _channels_last(array: np.ndarray) -> np.ndarray:
    """(1, 3 or 4, H, W) as (H, W, 1, 3 or 4), if the last axis cannot be one of channels; other arrays as they are."""
    planes_first = array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] > 4
    return np.moveaxis(array, 0, 2) if planes_first else array


def source_name(source: object) -> str:
    """The name of a source in messages: its path, or "the input"."""
    if isinstance(source, str | os.PathLike):
        return str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the input"


# ---------------------------------------------------------------------------------------------------------------- transparency


def opacity(picture: Image.Image) -> np.ndarray | None:
    """Opacity of each pixel, uint8 (H, W), 0 transparent to 255 opaque; None where all pixels are opaque.

    It has one meaning in every mode: alpha channels (RGBA, LA, PA, and premultiplied RGBa, La), transparent palette entries, and one
    transparent colour or grey value (PNG's tRNS) of RGB, 8-bit and 16-bit grey, and black-and-white pictures.
    """
    alpha: np.ndarray | None = None
    transparent = picture.info.get("transparency")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        alpha = np.asarray(picture.getchannel(len(picture.getbands()) - 1))
    elif picture.mode == "P":
        table = _palette_opacity(picture)
        alpha = None if table.min() == 255 else table[np.asarray(picture)]
    elif isinstance(transparent, int | float) and picture.mode in ("1", "L", *DEEP_MODES):
        values = np.asarray(picture)
        hidden = values == bool(transparent) if picture.mode == "1" else values == transparent
        alpha = np.where(hidden, 0, 255).astype(np.uint8)
    elif isinstance(transparent, tuple) and picture.mode == "RGB" and len(transparent) == 3:
        deep = max(transparent) > 255  # stored with 16 bits, of which Pillow keeps the upper 8
        colour = np.array([value >> 8 if deep else value for value in transparent])
        alpha = np.where((np.asarray(picture) == colour).all(axis=-1), 0, 255).astype(np.uint8)
    return None if alpha is None or alpha.min() == 255 else alpha


def to_rgba(picture: Image.Image) -> Image.Image:
    """A picture of any mode as RGBA, 8 bits, with its :func:`opacity`; the colours as they are stored (CMYK and LAB converted).

    Deep pictures are scaled by :func:`full_scale` of their own maximum.
    """
    if picture.mode == "RGBA":
        return picture
    if picture.mode in ("LA", "PA", "RGBa"):
        return picture.convert("RGBA")
    if picture.mode == "La":
        return picture.convert("LA").convert("RGBA")
    alpha = opacity(picture)
    rgba = _colours(picture).convert("RGBA")
    if alpha is not None:
        rgba.putalpha(Image.fromarray(alpha))
    return rgba


def rgba_rows(picture: Image.Image, count: int = 512) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows of a picture of any mode as RGBA, uint8 (up to ``count``, W, 4), with the slice where they are: large pictures in parts."""
    if picture.mode in DEEP_MODES:
        picture = to_rgba(picture)
    for start in range(0, picture.height, count):
        rows = slice(start, min(start + count, picture.height))
        yield rows, np.asarray(to_rgba(crop(picture, (0, rows.start, picture.width, rows.stop))))


def on_white(picture: Image.Image) -> Image.Image:
    """A picture of any mode as RGB, transparent parts white: what is stored under them is not used."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if opacity(picture) is None:
        return _colours(picture)
    rgba = to_rgba(picture)
    white = Image.new("RGB", picture.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


# ---------------------------------------------------------------------------------------------------------------------- photos


def read_picture(source: PictureSource, full: int | None = None, notes: list[str] | None = None, name: str | None = None) -> Image.Image:
    """Read a photo as RGB, upright, in the colours of sRGB, transparency on white. See :func:`read_with_alpha`."""
    return on_white(read_with_alpha(source, full, notes, name))


def read_with_alpha(source: PictureSource, full: int | None = None, notes: list[str] | None = None, name: str | None = None) -> Image.Image:
    """Read a photo upright and in the colours of sRGB, in a mode of 8 bits with its transparency.

    Colour profiles (Display P3, Adobe RGB, CMYK, grey ones) are converted. Grey pictures with more than 8 bits are scaled by ``full``.

    Args:
        source: see :func:`as_picture`.
        full: value that is white in grey pictures with more than 8 bits; None: :func:`full_scale` of the picture's maximum, with a note
            where that is not 16 bits.
        notes: see :func:`open_picture`.
        name: of the source in messages.

    Raises:
        ProxymaskError: see :func:`open_picture`.
    """
    name = name or source_name(source)
    picture = as_picture(source, notes)
    if picture.mode in DEEP_MODES:
        largest = deep_maximum(picture)
        scale = full or full_scale(largest)
        if full is None and scale != 65535 and (picture.mode != "F" or scale > 255):
            _note(notes, name, f"its greys end at {largest:g}, read as {scale.bit_length()} bits (0 to {scale})")
        alpha = opacity(picture)
        picture = grey_picture(picture, scale)
        if alpha is not None:
            picture.putalpha(Image.fromarray(alpha))
    return _to_srgb(picture, name, notes)


def is_deep(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a grey picture with more than 8 bits, by its first bytes; False for files that cannot be read."""
    try:
        if not os.path.isfile(path):  # a pipe would wait
            return False
        with open(path, "rb") as file:
            head = file.read(26)
            if head.startswith(b"\x89PNG"):
                return len(head) == 26 and head[24] == 16 and head[25] in (0, 4)  # 16 bits, grey or grey with alpha
            if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") or head[:2] in (b"P2", b"P5"):
                with _any_size, Image.open(file, formats=FORMATS) as opened:
                    return opened.mode in DEEP_MODES
    except Exception:  # said when it is read
        return False
    return False


def pixel_count(path: str | os.PathLike[str]) -> int:
    """Pixels of a picture file, by its header; 0 for files that cannot be read."""
    try:
        with _any_size, Image.open(path, formats=FORMATS) as opened:
            return opened.width * opened.height
    except Exception:  # said when it is read
        return 0


def crop(picture: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """The part (left, upper, right, lower) of a picture; the same picture where that is all of it."""
    if box == (0, 0, picture.width, picture.height):
        return picture
    with _any_size:
        return picture.crop(box)


def reduced(picture: Image.Image, longest: int) -> Image.Image:
    """A picture of any mode as RGBA, its sides divided by the smallest whole number that makes them at most ``longest`` (means of blocks).

    Transparent pixels do not count in the means of the colours.
    """
    factor = -(-max(picture.size) // longest)
    return to_rgba(picture) if factor == 1 else to_rgba(picture).reduce(factor)


def _to_srgb(picture: Image.Image, name: str, notes: list[str] | None) -> Image.Image:
    """The picture with the colours of its profile converted to sRGB, alpha kept; the same picture where there is nothing to convert."""
    profile = picture.info.get("icc_profile")
    if not isinstance(profile, bytes) or not profile or picture.mode in ("1", "LAB"):
        return picture
    try:
        from PIL import ImageCms

        stored = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        description = ImageCms.getProfileDescription(stored).lower()
        if picture.mode != "CMYK" and "srgb" in description and "linear" not in description:
            return picture
        alpha = opacity(picture)
        plain = picture
        if picture.mode not in ("L", "RGB", "CMYK"):
            plain = to_rgba(picture)
            is_grey = stored.profile.xcolor_space.strip() == "GRAY"
            plain = plain.getchannel(0) if is_grey else plain.convert("RGB")
        target = ImageCms.createProfile("sRGB")
        if plain is not picture and plain.mode == "RGB":  # a copy: without another one
            ImageCms.profileToProfile(plain, stored, target, inPlace=True)
            converted: Image.Image | None = plain
        else:
            converted = ImageCms.profileToProfile(plain, stored, target, outputMode="RGB")
    except Exception as error:  # Pillow without LittleCMS, damaged profiles, profiles of other kinds of colours
        _note(notes, name, f"its colour profile cannot be used ({_reason(error)}): its colours are taken as sRGB")
        return picture
    assert converted is not None
    converted.info.pop("icc_profile", None)
    converted.info.pop("transparency", None)
    if alpha is not None:
        converted.putalpha(Image.fromarray(alpha))
    return converted


# --------------------------------------------------------------------------------------------------------------------- private


@contextlib.contextmanager
def _opened(source: str | os.PathLike[str] | BinaryIO, name: str) -> Iterator[BinaryIO]:
    """The source as an open file; a :class:`ProxymaskError` where that cannot be: a pipe or device would wait or never end."""
    if not isinstance(source, str | os.PathLike):
        yield source
        return
    try:
        if not str(source):
            raise ProxymaskError("the path of an input is empty: give the name of a file")
        if not stat.S_ISREG(os.stat(source).st_mode) and not os.path.isdir(source):
            raise ProxymaskError(f"{name} is a pipe or a device: give a regular file")
        file = open(source, "rb")  # noqa: SIM115
    except FileNotFoundError:
        kind = "is a link to a file that does not exist" if os.path.islink(source) else "does not exist"
        raise ProxymaskError(f"{name} {kind}") from None
    except IsADirectoryError:
        raise ProxymaskError(f"{name} is a folder: give one picture") from None
    except (OSError, ValueError) as error:  # a link to itself, no permission, a zero byte in the name
        raise ProxymaskError(f"{name} cannot be opened ({_reason(error)})") from None
    with file:
        yield file


def _what_it_is(file: BinaryIO) -> str:
    """What a file is that Pillow does not identify, as the end of a message."""
    try:
        file.seek(0)
        head = file.read(64)
    except (OSError, ValueError):
        head = b"?"
    if not head:
        return "is not a picture: it is empty (0 bytes); save or copy it again"
    for offset, start, what in _OTHER_FORMATS:
        if head[offset:].lstrip(b"\xef\xbb\xbf \r\n").lower().startswith(start.lower()):
            return f"is {what}"
    return f"is not a picture ({', '.join(FORMATS)})"


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__


def _note(notes: list[str] | None, name: str, text: str) -> None:
    if notes is None:
        warnings.warn(f"{name}: {text}", stacklevel=3)
    else:
        notes.append(text)


def _is_several(picture: Image.Image) -> str:
    """The note on a file with several pictures, "" for one. Phones store previews and depth beside a photo (MPO): that is one."""
    if picture.format == "MPO":
        return ""
    try:
        return "it holds several pictures (an animation or pages): the first is read" if getattr(picture, "is_animated", False) else ""
    except Exception:  # the second frame is damaged, which does not matter
        return ""


def _upright(picture: Image.Image) -> Image.Image:
    """The picture with its EXIF orientation applied."""
    try:
        turned = picture.getexif().get(0x0112, 1) in range(2, 9)
        return ImageOps.exif_transpose(picture) if turned else picture
    except Exception:  # damaged EXIF: viewers show the picture as it is stored
        return picture


def _from_pil(picture: Image.Image) -> Image.Image:
    check_size(picture.width, picture.height, "the input")
    raw = raw_values(picture)
    try:
        with _any_size:
            picture.load()
    except MemoryError:
        raise
    except Exception as error:  # a picture that is decoded only now
        if getattr(picture, "fp", True) is None or "closed" in str(error):
            raise ProxymaskError("the input is a PIL image that was closed before it was read: open it again") from None
        raise ProxymaskError(f"the input cannot be read ({_reason(error)}): it is truncated or damaged") from None
    repair(picture, raw, "the input")
    return _upright(picture)


def _from_array(array: np.ndarray) -> Image.Image:
    numbers, masked = split_masked(array)
    picture = _from_numbers(numbers)
    return picture if masked is None else hide(picture, masked)


def _from_numbers(array: np.ndarray) -> Image.Image:
    shape = array.shape
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if array.ndim == 3 and shape[2] == 1:
        array = array[..., 0]
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (3, 4)):
        raise ProxymaskError(f"an input array must have shape (H, W), (H, W, 3) or (H, W, 4), got {shape}")
    check_size(shape[1], shape[0], "the input")
    if array.dtype == np.uint8:
        return Image.fromarray(np.ascontiguousarray(array))
    if array.ndim == 2 and (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        return Image.fromarray(array.astype(np.float32))
    whole = np.issubdtype(array.dtype, np.integer)
    if whole or np.issubdtype(array.dtype, np.floating):
        most = 255 if whole else 1
        if bool(((array >= 0) & (array <= most)).all()):  # NaN is neither
            return Image.fromarray((array if whole else array.astype(np.float32) * 255 + 0.5).astype(np.uint8))
    raise ProxymaskError(f"an input array in colours holds integers 0 to 255 or floats 0 to 1, not {array.dtype} of another range")


def _palette_opacity(picture: Image.Image) -> np.ndarray:
    """Opacity of each entry of a palette, uint8 (256,)."""
    table = np.full(256, 255, np.uint8)
    if picture.palette is not None and picture.palette.mode == "RGBA":
        stored = (picture.getpalette("RGBA") or [])[3::4]
        table[: len(stored)] = stored
    transparent = picture.info.get("transparency")
    if isinstance(transparent, bytes):
        table[: len(transparent)] = np.frombuffer(transparent[:256], np.uint8)
    elif isinstance(transparent, int) and 0 <= transparent < 256:
        table[transparent] = 0
    return table


def _colours(picture: Image.Image) -> Image.Image:
    """The colours of a picture of any mode as RGB, transparency ignored."""
    if picture.mode in DEEP_MODES:
        picture = grey_picture(picture, full_scale(deep_maximum(picture)))
    if picture.mode == "RGB":
        return picture
    if picture.mode in ("LA", "PA", "RGBa", "La"):
        return to_rgba(picture).convert("RGB")
    if "transparency" in picture.info:  # which Pillow would convert too, with warnings
        picture = picture.copy()
        del picture.info["transparency"]
    try:
        return picture.convert("RGB")
    except (ValueError, ImportError) as error:
        raise ProxymaskError(f"a picture of mode {picture.mode} cannot be read ({_reason(error)}): save it as RGB") from None
