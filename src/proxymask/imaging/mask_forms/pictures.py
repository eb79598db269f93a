"""Masks from pictures and arrays: whether their values are ids or colours, and what is transparent.

One rule for every form: a picture of greys that are all ids holds ids; otherwise its colours decide. A palette's colours decide where
they are those of classes, exactly or nearly; otherwise its indices are ids. Transparent pixels are class 0.

Shapes: H x W the size of the mask.
"""

from typing import Any

import numpy as np
from PIL import Image

from ...core.errors import ProxymaskError
from ..arrays import split_masked
from ..labels import LabelSet
from ..reader import DEEP_MODES, as_picture, opacity, to_rgba
from .closeness import closeness, painted_colors
from .coded import HALF, Coded, code_array, code_picture, code_values, count_codes
from .colours import ids_of_colors
from .ids import check_ids
from .notes import Notes, percent
from .palettes import Palette, decide, palette_of
from .stored import Stored, stored

SHAPES = "ids (H, W) or (1, H, W), or colours (H, W, 3 or 4) or (3 or 4, H, W)"


def from_picture(source: Any, labels: LabelSet, notes: Notes) -> tuple[np.ndarray, np.ndarray | None]:
    """Ids, uint8 (H, W), of a file or PIL picture, upright; and where it is painted, bool (H, W), None where all of it is.

    Raises:
        ProxymaskError: ids or colours of no class, a photo, a mode that is no mask; or a guess, where ``notes`` are strict.
    """
    picture = as_picture(source, notes.texts)
    file, alpha = stored(source, picture), opacity(picture)
    painted = _painted(alpha, notes)
    if picture.mode == "P":
        return _from_palette(picture, painted, labels, notes), painted
    if picture.mode == "1":
        values = np.asarray(picture).astype(np.uint8) * 255
        return _from_greys(values, painted, labels, notes, Stored(file.lossy, 1)), painted
    if picture.mode in ("L", "I") or picture.mode.startswith("I;16"):
        return _from_greys(np.asarray(picture), painted, labels, notes, file), painted
    if picture.mode in ("LA", "La"):
        return _from_greys(np.asarray(to_rgba(picture).getchannel(0)), painted, labels, notes, file), painted
    if picture.mode in DEEP_MODES:
        raise ProxymaskError(f"{notes.name} holds numbers with fractions (mode {picture.mode}): a mask is a grey, palette or RGB picture")
    if picture.mode not in ("RGB", "RGBA"):
        picture = to_rgba(picture)
    coded = code_picture(picture, alpha, lambda colors, opaque: painted_colors(labels, colors, opaque))
    del picture  # which is large
    return _from_coded(coded, labels, notes, file), painted


def from_array(array: np.ndarray, labels: LabelSet, notes: Notes) -> tuple[np.ndarray, np.ndarray | None]:
    """Ids of an array, and where it is painted (see :func:`from_picture`).

    Args:
        array: ids, integers or bools (H, W), (1, H, W) or (H, W, 1); or colours, RGB or RGBA, (H, W, 3 or 4) or (3 or 4, H, W): integers
            0 to 255, or floats 0 to 1. Masked pixels of masked arrays are transparent.
        labels: the classes.
        notes: hold the name of the mask.
    """
    if array.size == 0 or array.ndim not in (2, 3):
        raise ProxymaskError(f"a mask is an array or tensor of {SHAPES}, got shape {array.shape}")
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        if array.shape[0] not in (1, 3, 4):
            raise ProxymaskError(f"a mask is an array or tensor of {SHAPES}, got shape {array.shape}")
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    array, masked = split_masked(array)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if np.issubdtype(array.dtype, np.floating):
        array = _from_fractions(array)
    if not np.issubdtype(array.dtype, np.integer):
        raise ProxymaskError(f"a mask is an array or tensor of integers, got {array.dtype}")
    if array.ndim == 2:
        painted = None if masked is None else ~masked
        return _from_greys(array, painted, labels, notes, Stored()), painted
    if int(array.min()) < 0 or int(array.max()) > 255:
        raise ProxymaskError(
            f"an array or tensor of colours holds 0 to 255, got {int(array.min())} to {int(array.max())} in shape {array.shape}"
        )
    alpha = array[..., 3].astype(np.uint8) if array.shape[2] == 4 else None
    if masked is not None:
        alpha = np.where(masked, np.uint8(0), np.uint8(255) if alpha is None else alpha)
    alpha = None if alpha is None or alpha.min() == 255 else alpha
    painted = _painted(alpha, notes)
    coded = code_array(array[..., :3], alpha, lambda colors, opaque: painted_colors(labels, colors, opaque))
    return _from_coded(coded, labels, notes, Stored()), painted


def _from_fractions(array: np.ndarray) -> np.ndarray:
    """Colours in floats 0 to 1 as integers 0 to 255."""
    if array.ndim == 2 and not np.isfinite(array.astype(np.float64)).all():
        raise ProxymaskError("the mask holds NaN or infinity: set these pixels to the id of a class")
    if array.ndim == 2:
        raise ProxymaskError(
            f"ids are an array or tensor of integers, got {array.dtype}: round it first (mask.round().astype(int), in torch "
            "mask.round().long()); a grey picture that was divided by 255 holds no ids"
        )
    values = array.astype(np.float32)
    if not (np.isfinite(values).all() and float(values.min()) >= 0 and float(values.max()) <= 1):
        raise ProxymaskError(
            f"an array or tensor of colours holds integers 0 to 255, or floats 0 to 1, got {array.dtype} from {values.min():g} to "
            f"{values.max():g}: convert it to uint8 first"
        )
    return (values * 255).round().astype(np.uint8)


def _painted(alpha: np.ndarray | None, notes: Notes) -> np.ndarray | None:
    """Where a picture is painted: at least half opaque. Refuses one that is nowhere, though it is not empty."""
    if alpha is None:
        return None
    painted = alpha >= HALF
    faint = int(np.count_nonzero(alpha)) - int(np.count_nonzero(painted))
    if faint and not painted.any():
        raise ProxymaskError(
            f"{notes.name} is less than half opaque everywhere (opacity up to {int(alpha.max())} of 255): save it at full opacity"
        )
    if faint > 0.01 * alpha.size:
        notes.say(f"{percent(faint, alpha.size)} of its pixels are painted less than half opaque and are read as transparent (class 0)")
    return painted


def _from_coded(coded: Coded, labels: LabelSet, notes: Notes, file: Stored) -> np.ndarray:
    seen = coded.table[~coded.hidden]
    if len(seen) <= 256 and (seen == seen[:, :1]).all():
        painted = None if not coded.hidden.any() else ~coded.hidden[coded.codes]
        return _from_greys(coded.table[:, 0][coded.codes], painted, labels, notes, file)
    return ids_of_colors(coded, labels, notes)


def _from_greys(values: np.ndarray, painted: np.ndarray | None, labels: LabelSet, notes: Notes, file: Stored) -> np.ndarray:
    """Ids or grey colours, integers (H, W)."""
    if painted is not None:
        values = np.where(painted, values, 0)
    ids = file.values(values)
    if file.white and values.dtype != np.uint8:  # no colours
        return check_ids(ids, labels, notes, file.lossy)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 255:
        return check_ids(ids, labels, notes, file.lossy)
    counts = count_codes(values if values.dtype == np.uint8 else values.astype(np.uint8), 256)
    if painted is not None:
        counts[0] -= values.size - np.count_nonzero(painted)
    used = np.flatnonzero(counts)
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    found = closeness(grey[used], labels)
    exact = bool(len(used)) and bool((found.distance == 0).all())
    if int(ids.max()) < len(labels):
        if file.cut:
            raise ProxymaskError(f"{notes.name} stores greys in 16-bit colours, of which 8 bits are read: save ids with 8 bits a channel")
        if exact and (file.values(used.astype(np.uint8)) != found.ids).any():
            notes.guess("its greys are ids and colours of classes too: they were read as ids")
        if file.white == 1 and len(used):
            notes.say(f"it is black and white with one bit: black is class 0, white is class 1 ({', '.join(labels.names[:2])})")
        return check_ids(ids, labels, notes, file.lossy)
    several = len(np.unique(found.ids[found.near])) > 1 and counts[used[found.near]].sum() > 0.5 * counts.sum()
    if exact or several:
        coded = code_values(values.astype(np.uint8), grey, np.zeros(256, bool))
        if painted is None:
            return ids_of_colors(coded, labels, notes)
        codes = np.where(painted, coded.codes.astype(np.uint16), len(coded.table))
        table = np.concatenate([coded.table, np.zeros((1, 3), np.uint8)])
        return ids_of_colors(Coded(codes, table, np.concatenate([coded.hidden, [True]])), labels, notes)
    return check_ids(ids, labels, notes, file.lossy)


def _from_palette(picture: Image.Image, painted: np.ndarray | None, labels: LabelSet, notes: Notes) -> np.ndarray:
    """By the colours of the palette, or by its indices."""
    indices, colors = np.asarray(picture), palette_of(picture)
    hidden = np.zeros(256, bool)
    if painted is not None:
        hidden[indices[~painted]] = True
    meaning = decide(Palette(colors, hidden, count_codes(indices, 256)), labels, notes)
    if meaning == "colours":
        return ids_of_colors(code_values(indices, colors, hidden), labels, notes)
    if meaning == "greys":
        return _from_greys(colors[:, 0][indices], painted, labels, notes, Stored())
    return check_ids(indices if painted is None else np.where(painted, indices, 0), labels, notes)
