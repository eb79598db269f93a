"""Reading, checking, resizing, colouring and writing semantic masks.

Shapes: H x W the size of a mask; masks are ids, uint8 (H, W).
"""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from ..core.errors import ProxymaskError
from ..core.sizes import Size, height_width, same_aspect_ratio, size_text
from .labels import LabelSet
from .reader import open_picture

SNAP_SHARE = 0.005  # up to this share, pixels in colours of no class are blurred edges and get the nearest class
PHOTO_COLORS = 64  # with more distinct colours, most of them of no class, it is a photo

MaskSource = str | Path | np.ndarray | Image.Image


def read_mask(source: MaskSource, labels: LabelSet, size: Size | None = None) -> np.ndarray:
    """Read a mask as label ids.

    Args:
        source: a file, a PIL picture, an array or a folder.
            Ids: grey pictures, palette pictures whose indices are ids, integer arrays (H, W).
            Colours of ``labels``: RGB and RGBA pictures, palette pictures with another order of colours, arrays (H, W, 3 or 4); fully
            transparent pixels are class 0.
            A folder has one black-and-white file for each class, named after its name or id; pixels in none of them are class 0, and
            where files overlap, the higher id is used.
        labels: the classes.
        size: side of the result, or its height and width, by nearest neighbour. None: keep the size.

    Returns:
        uint8 (H, W), every value an id of ``labels``.

    Raises:
        ProxymaskError: missing or damaged file, ids or colours of no class, a photo, another aspect ratio than that of ``size``.
    """
    name = str(source) if isinstance(source, str | Path) else "the mask"
    if isinstance(source, str | Path) and Path(source).is_dir():
        mask = _from_folder(Path(source), labels)
    elif isinstance(source, np.ndarray):
        mask = _from_array(source, labels, name)
    else:
        mask = _from_picture(source if isinstance(source, Image.Image) else open_picture(source), labels, name)
    return mask if size is None else resize_mask(mask, size, name)


def resize_mask(mask: np.ndarray, size: Size, name: str = "the mask") -> np.ndarray:
    """Resize ids, uint8 (H, W), by nearest neighbour; a :class:`ProxymaskError` if the aspect ratio differs by more than 2 %."""
    height, width = height_width(size)
    if min(height, width) < 1:
        raise ProxymaskError(f"the size of a mask must be 1 or more, got {size}")
    if not same_aspect_ratio(mask.shape, size):
        is_not, to = "a square", "a square"
        if height != width:
            is_not, to = f"the shape of the pictures, {size_text(size)}", "that shape"
        raise ProxymaskError(
            f"{name} is {size_text(mask.shape)}, which is not {is_not}: crop it to {to} first (stretching would distort it)"
        )
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def write_mask(path: str | Path, mask: np.ndarray, labels: LabelSet) -> None:
    """Write ids as a palette PNG: index = id, palette = the colours of ``labels``."""
    picture = Image.fromarray(_checked(mask, labels, "the mask"))
    picture.putpalette(labels.palette())
    try:
        picture.save(path, format="PNG")
    except OSError as error:
        raise ProxymaskError(f"cannot write {path} ({error.strerror or error})") from None


def colorize(mask: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Ids (H, W) -> colours, uint8 (H, W, 3)."""
    return labels.colors[_checked(mask, labels, "the mask")]


def overlay(picture: np.ndarray, mask: np.ndarray, labels: LabelSet, alpha: float = 0.5) -> np.ndarray:
    """Blend ``picture``, uint8 (H, W, 3), with the colours of ``mask``, ids (H, W); ``alpha`` 0 is the picture, 1 the mask."""
    if picture.shape != (*mask.shape, 3):
        raise ProxymaskError(f"the picture is {picture.shape}, the mask {mask.shape}: they must have the same height and width")
    if not 0 <= alpha <= 1:
        raise ProxymaskError(f"alpha must be 0 to 1, got {alpha}")
    mixed = (1 - alpha) * picture.astype(np.float32) + alpha * colorize(mask, labels).astype(np.float32)
    return mixed.round().astype(np.uint8)


def check_report(mask: np.ndarray, labels: LabelSet) -> str:
    """A report on a mask, several lines: its size, the share of each class, and the classes that are missing."""
    counts = np.bincount(_checked(mask, labels, "the mask").reshape(-1), minlength=len(labels))
    lines = [f"{mask.shape[1]}x{mask.shape[0]} pixels, {np.count_nonzero(counts)} of {len(labels)} classes"]
    width = max(len(name) for name in labels.names)
    for i in np.argsort(-counts, kind="stable"):
        if counts[i]:
            label = labels.labels[i]
            share = f"{counts[i] / mask.size:.1%}" if counts[i] >= 0.001 * mask.size else "<0.1%"
            lines.append(f"  {label.id:3d}  {label.name:<{width}}  {label.hex}  {share:>6}")
    absent = [label.name for label in labels.labels if not counts[label.id]]
    if absent:
        lines.append(f"not in it: {', '.join(absent)}")
    return "\n".join(lines)


def _from_picture(picture: Image.Image, labels: LabelSet, name: str) -> np.ndarray:
    if picture.mode == "P":
        return _from_palette(picture, labels, name)
    if picture.mode in ("L", "1", "I") or picture.mode.startswith("I;16"):
        return _from_ids(np.asarray(picture), labels, name)
    if picture.mode in ("LA", "La"):
        return _from_ids(np.asarray(picture.convert("LA"))[..., 0], labels, name)
    if picture.mode in ("RGB", "RGBX"):
        return _from_colors(np.asarray(picture.convert("RGB")), labels, name)
    if picture.mode in ("RGBA", "RGBa", "PA"):
        return _from_array(np.asarray(picture.convert("RGBA")), labels, name)
    raise ProxymaskError(f"{name} is a picture of mode {picture.mode}: a mask is a grey, palette or RGB picture")


def _from_array(array: np.ndarray, labels: LabelSet, name: str) -> np.ndarray:
    if array.size == 0 or array.ndim not in (2, 3):
        raise ProxymaskError(f"a mask is an array (H, W) of ids or (H, W, 3) of colours, got shape {array.shape}")
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        raise ProxymaskError(f"a mask is an array of integers, got {array.dtype}: round it first")
    if array.ndim == 2:
        return _from_ids(array, labels, name)
    if array.shape[2] not in (3, 4) or array.min() < 0 or array.max() > 255:
        raise ProxymaskError(f"an array of colours is (H, W, 3) with values 0 to 255, got shape {array.shape}")
    pixels = array[..., :3].astype(np.uint8)
    if array.shape[2] == 4:  # transparent pixels are class 0, whatever their colour is
        pixels[array[..., 3] == 0] = labels.colors[0]
    return _from_colors(pixels, labels, name)


def _from_ids(values: np.ndarray, labels: LabelSet, name: str) -> np.ndarray:
    """Check ids; a :class:`ProxymaskError` lists those that are no class."""
    if not np.issubdtype(values.dtype, np.integer):
        values = values.astype(np.uint8)  # bool, from mode "1"
    if values.min() >= 0 and values.max() < len(labels):
        return values.astype(np.uint8)
    found, counts = np.unique(values, return_counts=True)
    if found.tolist() in ([0, 255], [255]):
        raise ProxymaskError(
            f"{name} is black and white (0 and 255), not label ids 0 to {len(labels) - 1}: one class alone belongs in a folder of "
            "such files, one a class, named after it"
        )
    if _is_photo(found, counts, found < len(labels)):
        raise _photo(name)
    unknown = [
        f"{value} ({count} pixels; nearest is {_closest_id(value, labels)})"
        for value, count in zip(found, counts, strict=True)
        if not 0 <= value < len(labels)
    ]
    raise ProxymaskError(f"{name} holds ids that are no class of 0 to {len(labels) - 1}: {_listed(unknown)}")


def _from_palette(picture: Image.Image, labels: LabelSet, name: str) -> np.ndarray:
    """By colours if nearly every pixel has the colour of a class; otherwise the indices are ids."""
    indices = np.asarray(picture)
    used = np.unique(indices)
    palette = np.array(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    if used.max() < len(palette):
        foreign = used[_exact(palette[used], labels) < 0]
        by_color = np.isin(indices, foreign).mean() <= SNAP_SHARE
        if by_color or used.max() >= len(labels):  # if the indices are no ids either, the error is about colours
            return _from_colors(palette[indices], labels, name, grey_ids=False)
    return _from_ids(indices, labels, name)


def _from_colors(pixels: np.ndarray, labels: LabelSet, name: str, grey_ids: bool = True) -> np.ndarray:
    """By the colours of ``labels``. A few pixels in other colours (blurred edges) get the nearest class; more are an error.

    With ``grey_ids``, grey pixels of no class are ids that were stored as RGB.
    """
    packed = (pixels[..., 0].astype(np.int32) << 16) | (pixels[..., 1].astype(np.int32) << 8) | pixels[..., 2]
    found, inverse, counts = np.unique(packed.reshape(-1), return_inverse=True, return_counts=True)
    colors = np.stack([found >> 16, (found >> 8) & 255, found & 255], axis=-1).astype(np.uint8)
    ids = _exact(colors, labels)
    unknown = ids < 0
    if unknown.any():
        off = int(counts[unknown].sum())
        if off > SNAP_SHARE * packed.size:
            if _is_photo(found, counts, ~unknown):
                raise _photo(name)
            if grey_ids and (pixels[..., :1] == pixels).all():
                return _from_ids(pixels[..., 0], labels, name)
            order = [i for i in np.argsort(-counts, kind="stable") if unknown[i]]
            listed = [
                "#{:02x}{:02x}{:02x}".format(*colors[i])
                + f" ({counts[i]} pixels; nearest is {_described(labels, _nearest(colors[i : i + 1], labels)[0])})"
                for i in order
            ]
            raise ProxymaskError(f"{name} holds colours that are no class: {_listed(listed)}; paint with the colours of labels.json")
        ids[unknown] = _nearest(colors[unknown], labels)
        warnings.warn(f"{name}: {off} pixels with colours that are no class were set to the class of the nearest colour", stacklevel=4)
    return ids[inverse.reshape(packed.shape)].astype(np.uint8)


def _from_folder(folder: Path, labels: LabelSet) -> np.ndarray:
    """From one black-and-white file for each class."""
    files: dict[int, Path] = {}
    names = {label.name: label.id for label in labels.labels} | {str(label.id): label.id for label in labels.labels}
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or file.name == "labels.json" or file.is_dir():
            continue
        if file.stem not in names:
            raise ProxymaskError(f"{file} is named after no class: use {', '.join(labels.names)} or their ids")
        if names[file.stem] in files:
            raise ProxymaskError(f"{folder} has two files for {labels.names[names[file.stem]]}: keep one")
        files[names[file.stem]] = file
    if not files:
        raise ProxymaskError(f"{folder} holds no mask files: one black-and-white PNG a class, named after it")
    mask: np.ndarray | None = None
    for i, file in sorted(files.items()):
        picture = open_picture(file)
        if picture.mode in ("1", "L", "I") or picture.mode.startswith("I;16"):
            values = np.asarray(picture).astype(np.float32)
        else:
            pixels = np.asarray(picture.convert("RGBA")).astype(np.float32)
            values = pixels[..., :3].max(axis=-1) * pixels[..., 3]
        inside = values > values.max() / 2  # "on" may be 1, 255 or 65535; blurred edges are cut at one half
        if mask is None:
            mask = np.zeros(values.shape, dtype=np.uint8)
        elif mask.shape != values.shape:
            raise ProxymaskError(f"{file} is {values.shape[1]}x{values.shape[0]}, the others {mask.shape[1]}x{mask.shape[0]}")
        mask[inside] = i
    assert mask is not None
    return mask


def _checked(mask: np.ndarray, labels: LabelSet, name: str) -> np.ndarray:
    if mask.ndim != 2:
        raise ProxymaskError(f"{name} must be an array (H, W) of ids, got shape {mask.shape}")
    return _from_array(mask, labels, name)


def _exact(colors: np.ndarray, labels: LabelSet) -> np.ndarray:
    """The id of each colour (N, 3), -1 for a colour of no class."""
    same = (colors[:, None] == labels.colors[None]).all(axis=-1)
    return np.where(same.any(axis=1), same.argmax(axis=1), -1)


def _nearest(colors: np.ndarray, labels: LabelSet) -> np.ndarray:
    """The id of the class whose colour is nearest to each of the colours (N, 3)."""
    return ((colors[:, None].astype(np.int32) - labels.colors[None]) ** 2).sum(axis=-1).argmin(axis=1)


def _closest_id(value: int, labels: LabelSet) -> str:
    return _described(labels, 0 if value < 0 else len(labels) - 1)


def _described(labels: LabelSet, i: int) -> str:
    label = labels.labels[int(i)]
    return f"{label.id} {label.name} {label.hex}"


def _is_photo(found: np.ndarray, counts: np.ndarray, known: np.ndarray) -> bool:
    return len(found) > PHOTO_COLORS and counts[~known].sum() > 0.5 * counts.sum()


def _photo(name: str) -> ProxymaskError:
    return ProxymaskError(f"{name} looks like a photo, not a mask: a mask holds label ids, or only the colours of labels.json")


def _listed(items: list[str], most: int = 6) -> str:
    return "; ".join(items[:most]) + (f"; and {len(items) - most} more" if len(items) > most else "")
