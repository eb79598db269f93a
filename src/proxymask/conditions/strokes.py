"""Strokes in the colours of the labels: which class each pixel has, and where nothing is painted.

A stroke's soft edge mixes its colour with that of the ground or of the next stroke. As in masks, such pixels take one of the two that mix,
never a third class whose colour lies between them.

Shapes: H x W the size of the picture, n pixels, N classes.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image

from ..core.errors import ProxymaskError
from ..imaging.labels import MAX_LABELS, Label, LabelSet
from ..imaging.mask_forms.closeness import painted_colors
from ..imaging.mask_forms.coded import HALF, code_picture
from ..imaging.mask_forms.colours import ids_of_colors
from ..imaging.mask_forms.neighbours import NONE, contains, sets_around
from ..imaging.mask_forms.notes import Notes
from ..imaging.mask_forms.stored import stored
from ..imaging.reader import as_picture, opacity, rgba_rows, source_name, to_rgba
from .base import Source

MAX_COLOUR_DISTANCE = 40.0  # in RGB, between a painted colour and that of its class
BLANK, FOREIGN = 255, 254  # in the table of colours, beside ids: not painted, and of no class
MAX_FOREIGN = 0.6  # share of painted pixels in colours of no class; with more it is a photo
GROUNDS = ("#ffffff", "#000000")  # colours of the ground, unless a class has them
MIN_APART = 48.0  # distance in RGB between them and the classes, with less of which soft edges are not told apart
MOST_SOFT = 4096 * 4096  # pixels of a picture whose soft edges are looked at; in larger ones they are less than a pixel of the result
NEAR = 8  # side of the blocks in which a fine stroke is looked for beside others


class Strokes(NamedTuple):
    """``ids``: uint8 (H, W), 0 where nothing is painted; ``painted``: bool (H, W); ``notes``: on how they were read."""

    ids: np.ndarray
    painted: np.ndarray
    notes: tuple[str, ...] = ()


def read_strokes(source: Source, labels: LabelSet) -> Strokes:
    """Read a picture of ids, or in the colours of ``labels``.

    Unpainted are transparent pixels, white and black ones unless that is the colour of a class, and id 255. Greys that are all ids or 255
    are ids in every mode.

    Raises:
        ProxymaskError: most of the painted pixels have colours of no class, or values that are no ids.
    """
    said: list[str] = []
    picture = as_picture(source, said)
    values = _values(picture, source_name(source))
    if values is not None:
        visible = opacity(picture)
        painted = values != 255 if visible is None else (values != 255) & (visible >= HALF)
        inside = _distinct(values[painted])
        are_ids = picture.mode != "P" or not _has_other_palette(picture, inside, labels)
        if inside.size and 0 <= int(inside.min()) <= int(inside.max()) < len(labels) and are_ids:
            _check_lossless(source, picture, inside)
            return Strokes(np.where(painted, values, 0).astype(np.uint8), painted, tuple(said))
    if values is not None and picture.mode not in ("L", "P", "1") and (inside.min(initial=0) < 0 or inside.max(initial=0) > 255):
        wrong = inside[(inside < 0) | (inside >= len(labels))][0]
        raise ProxymaskError(f"{source_name(source)} holds {wrong:g}, which is no id: ids are 0 to {len(labels) - 1}, and 255 is unpainted")
    return _from_colours(source, picture, labels, said)


def _from_colours(source: Source, picture: Image.Image, labels: LabelSet, said: list[str]) -> Strokes:
    there = np.zeros(2**24, bool)  # of all colours, which are there
    for _, rgba in rgba_rows(picture):
        there[_codes(rgba)[rgba[..., 3] >= HALF]] = True
    found = np.flatnonzero(there)
    table = np.full(2**24, BLANK, np.uint8)
    greys = found & 255
    exact = True
    are_greys = bool(len(found)) and bool((found == greys * 0x010101).all())
    inner = greys[(greys > 0) & (greys < 255)]
    if are_greys and len(inner) and int(inner.max()) < len(labels):  # ids in another mode: grey with alpha, RGB
        _check_lossless(source, picture, inner)
        table[found] = greys
    else:
        ids, nearest, blank = _classes(found, labels)
        exact = bool(((nearest == 0) | np.isin(found, (0, 0xFFFFFF))).all())
        table[found] = np.where(blank, BLANK, np.where(nearest > MAX_COLOUR_DISTANCE, FOREIGN, ids))
    read = np.empty((picture.height, picture.width), np.uint8)
    first: tuple[int, ...] = ()
    for rows, rgba in rgba_rows(picture):
        read[rows] = table[_codes(rgba)]
        read[rows][rgba[..., 3] < HALF] = BLANK
        foreign = read[rows] == FOREIGN
        if not first and foreign.any():
            first = tuple(rgba[foreign][0, :3].tolist())
    soft = not exact and picture.width * picture.height <= MOST_SOFT
    mixed = soft and _without_third_classes(read, picture, labels, source_name(source), said)
    if not mixed and first and (read == FOREIGN).mean() > MAX_FOREIGN * (read != BLANK).mean():
        if are_greys:
            _check_lossless(source, picture, inner)
        raise ProxymaskError(
            f"{source_name(source)} has colours of no class (the first is {'#{:02x}{:02x}{:02x}'.format(*first)}): paint with those of "
            "the labels, on white (proxymask inspect BUNDLE lists them), with a brush that reaches them; a photo is no scribble"
        )
    painted = read < FOREIGN
    if not painted.any():
        _check_lossless(source, picture, found[(found & 255 < 2 * len(labels)) & (found >> 16 < 2 * len(labels))])
    read[~painted] = 0
    return Strokes(read, painted, tuple(said))


def _without_third_classes(read: np.ndarray, picture: Image.Image, labels: LabelSet, name: str, said: list[str]) -> bool:
    """Give soft edges in ``read`` one of the two that mix there, in place. False where the picture has areas in colours of no class.

    Fine strokes, of which no pixel has the full colour, stay as they are, if no other stroke is near.
    """
    values = [int(ground[1:3], 16) for ground in GROUNDS]
    apart = [((labels.colors.astype(int) - value) ** 2).sum(axis=1).min() ** 0.5 for value in values]
    clear = [ground for ground, distance in zip(GROUNDS, apart, strict=True) if distance > 0]
    if any(0 < distance < MIN_APART for distance in apart) or len(labels) + len(clear) > MAX_LABELS:
        return False
    grounds = tuple(Label(len(labels) + i, f"unpainted ({ground})", (int(ground[1:3], 16),) * 3) for i, ground in enumerate(clear))
    classes, visible, notes = LabelSet(labels.labels + grounds), opacity(picture), Notes(name)
    coded = code_picture(
        picture if picture.mode in ("RGB", "RGBA") else to_rgba(picture),
        visible,
        lambda colors, opaque: painted_colors(classes, colors, opaque),
    )
    try:
        new = ids_of_colors(coded, classes, notes)
    except ProxymaskError:
        return False
    said += notes.texts
    new[new >= len(labels)] = NONE
    if visible is not None:
        new[visible < HALF] = NONE
    rows, columns = np.nonzero((new == NONE) & (read < FOREIGN))
    own = read[rows, columns].astype(np.int64)
    other = sets_around(np.where(new == NONE, NONE, 0).astype(np.uint8), 1, rows, columns, NEAR).any(axis=1)
    fine = ~other | contains(sets_around(new, len(labels), rows, columns, NEAR), own)
    new[rows[fine], columns[fine]] = own[fine]
    read[:] = np.where(new == NONE, BLANK, new)
    return True


def _check_lossless(source: Source, picture: Image.Image, ids: np.ndarray) -> None:
    """A :class:`ProxymaskError` for ids in a file of lossy compression; ``ids`` are those other than 255."""
    lossy = stored(source, picture).lossy
    if lossy and len(ids):
        raise ProxymaskError(
            f"{source_name(source)} has greys in a {lossy} file: lossy compression changes ids; save it as PNG, or paint with colours of"
            " the labels"
        )


def _codes(rgba: np.ndarray) -> np.ndarray:
    """The colours of uint8 (H, W, 4) as numbers 0xbbggrr, (H, W)."""
    return np.ascontiguousarray(rgba).view("<u4")[..., 0] & 0xFFFFFF


def _distinct(values: np.ndarray) -> np.ndarray:
    """The distinct values of an array, in order."""
    if values.dtype != np.uint8:
        return np.unique(values)
    there = np.zeros(256, bool)
    there[values] = True
    return np.flatnonzero(there)


def _values(picture: Image.Image, name: str) -> np.ndarray | None:
    """The values of a picture that can be ids, (H, W); None for colours."""
    if picture.mode == "1":  # as grey: white paper
        return np.asarray(picture.convert("L"))
    if picture.mode == "P":
        return np.asarray(picture)
    if picture.mode in ("L", "I") or picture.mode.startswith("I;16"):
        return stored(None, picture).values(np.asarray(picture))
    if picture.mode == "F":  # arrays of integers of more than 8 bits
        values = np.asarray(picture)
        if not bool((values == np.floor(values)).all()):  # NaN is not
            raise ProxymaskError(f"{name} holds numbers with fractions, or NaN: ids are integers, and 255 is unpainted")
        return values
    return None


def _classes(packed: np.ndarray, labels: LabelSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of colours 0xbbggrr (N,): the nearest class, the distance to its colour, and whether it is the background of a drawing."""
    ids, nearest = np.zeros(len(packed), np.uint8), np.zeros(len(packed))
    colours = np.stack([packed & 255, (packed >> 8) & 255, packed >> 16], axis=-1).astype(np.int32)
    for start in range(0, len(packed), 2**16):
        some = slice(start, start + 2**16)
        distance = np.sqrt(((colours[some, None, :] - labels.colors.astype(np.int32)) ** 2).sum(axis=-1))
        ids[some], nearest[some] = distance.argmin(axis=-1), distance.min(axis=-1)
    return ids, nearest, ((colours.min(axis=-1) > 250) | (colours.max(axis=-1) < 5)) & (nearest > 0)


def _has_other_palette(picture: Image.Image, used: np.ndarray, labels: LabelSet) -> bool:
    """Whether the palette of an index picture differs from the colours of ``labels`` in a used entry, so that its indices are not ids."""
    palette = np.array(picture.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    return not all(i < len(labels) and i < len(palette) and (palette[i] == labels.colors[i]).all() for i in used)
