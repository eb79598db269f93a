"""Masks in the colours of the classes: which class each colour means, at each place.

A pixel is sure where it lies inside an area of a class, in its colour or a shade of it. Other pixels come from anti-aliasing, smooth
resizing or lossy compression: each takes a class of its neighbourhood, the nearer of the two that mix to its colour. So an edge between
two classes never becomes a third one whose colour lies between theirs.

Shapes: H x W the size of the mask, n pixels.
"""

import numpy as np

from ...core.errors import ProxymaskError
from ..labels import LabelSet
from .closeness import Closeness, closeness, mixture
from .coded import Coded, count_codes
from .neighbours import NONE, contains, members, ranges, sets_around, sets_beside, solid
from .notes import Notes, described, hex_color, listed, other_classes, percent, pixels

TIGHT = 16.0  # distance in RGB to a mixture of two classes up to which a colour comes from an edge between them
LOOSE = 40.0  # the same for classes right beside a pixel, where lossy compression moves colours further
DRAWN = 8.0  # distance to the colour of a class up to which a thin line of it is taken as drawn
EDGES = 0.2  # of the pixels that mix to the colour of a class between two others, so many must mix to other colours
USUAL = 4  # shades of a class that a drawing may have
NOISE = 0.02  # share of the pixels of areas in more shades than these from which a picture went through lossy compression
SLOPE = 4  # range of a channel within 3x3 pixels, from which they are no area of one colour
FAR = (8, 32)  # sides of the blocks in which the classes of wide slopes are looked for
SAME_SHADE, MOST_LISTED = 12, 500  # distance in each channel up to which foreign colours are listed as one; how many are compared
CORNERS = 0.1  # share of a picture that black or white corners may have
PHOTO_COLORS = 64  # a photo has more colours than this
PHOTO_SURE = 0.2  # and a smaller share of its pixels inside areas of a class
FOREIGN_AREA, FOREIGN_COLOR, FOREIGN = 0.0005, 0.005, 0.2  # shares that are refused: inside areas, in one colour, all together


def ids_of_colors(coded: Coded, labels: LabelSet, notes: Notes) -> np.ndarray:
    """The class of every pixel: uint8 (H, W). Transparent pixels are class 0.

    Raises:
        ProxymaskError: a photo, or areas in colours of no class; or any pixel in a colour of no class, where ``notes`` are strict.
    """
    found = closeness(coded.table, labels)
    coded, corners = _without_corners(coded, found)
    found = found if not corners else closeness(coded.table, labels)
    ids = np.where(coded.hidden, 0, found.ids).astype(np.uint8)
    exact = coded.hidden | (found.distance == 0)
    if exact.all() and not corners:
        return ids[coded.codes]
    near = coded.hidden | found.near
    counts = count_codes(coded.codes, len(coded.table))
    seen = int(counts[~coded.hidden].sum())
    classes = np.where(near, ids, NONE).astype(np.uint8)[coded.codes]
    sure = solid(classes, coded.codes, coded.table)
    loose = np.count_nonzero(~sure)
    if loose > (1 - PHOTO_SURE) * classes.size and len(coded.table) > PHOTO_COLORS and counts[near & ~coded.hidden].sum() < 0.5 * seen:
        raise photo(notes.name)
    edges = _settle(classes, sure, coded, found, counts, labels, notes) if loose else 0
    if corners:
        notes.guess(f"{pixels(corners)} in its corners are {hex_color(coded.table[-1])}, as turning a picture leaves them: read as class 0")
    _say_what_was_off(coded, found, counts, edges, labels, notes)
    return classes


def _without_corners(coded: Coded, found: Closeness) -> tuple[Coded, int]:
    """The picture with black or white corners, which turning it leaves, as transparent ones; and how many pixels these are.

    They are seen as such if the colour is that of no class and they are a small part of the picture.
    """
    codes = coded.codes
    for value in (0, 255):
        which = np.flatnonzero((coded.table == value).all(axis=1) & ~coded.hidden & ~found.near)
        if not len(which) or not (codes[:: len(codes) - 1 or 1, :: codes.shape[1] - 1 or 1] == which[0]).any():
            continue
        same, filled = codes == which[0], np.zeros(codes.shape, bool)
        for up in (slice(None), slice(None, None, -1)):
            for left in (slice(None), slice(None, None, -1)):
                part = same[up, left]
                filled[up, left] |= np.logical_and.accumulate(part, axis=0) & np.logical_and.accumulate(part, axis=1)
        number = int(np.count_nonzero(filled))
        if 0 < number <= CORNERS * filled.size:
            wide = codes.astype(np.int32)
            wide[filled] = len(coded.table)
            table = np.concatenate([coded.table, coded.table[which]])
            return Coded(wide, table, np.append(coded.hidden, True)), number
    return coded, 0


def photo(name: str) -> ProxymaskError:
    """The error for a picture that is no mask."""
    return ProxymaskError(f"{name} looks like a photo, not a mask: a mask holds label ids, or only the colours of labels.json")


def nearest_classes(colors: np.ndarray, counts: np.ndarray, labels: LabelSet) -> str:
    """Foreign colours (n, 3) with the class nearest to each, the most frequent first; shades of one colour count together."""
    near = closeness(colors, labels).ids
    heads: list[int] = []
    together: dict[int, int] = {}
    for i in np.argsort(-counts, kind="stable")[:MOST_LISTED]:
        same = next((k for k in heads if np.abs(colors[i].astype(int) - colors[k]).max() <= SAME_SHADE), None)
        if same is None:
            heads.append(int(i))
            same = int(i)
        together[same] = together.get(same, 0) + int(counts[i])
    heads.sort(key=lambda i: -together[i])
    return listed([f"{hex_color(colors[i])} ({pixels(together[i])}; nearest is {described(labels, near[i])})" for i in heads])


def _settle(
    classes: np.ndarray, sure: np.ndarray, coded: Coded, found: Closeness, counts: np.ndarray, labels: LabelSet, notes: Notes
) -> int:
    """Give every pixel that is not ``sure`` a class, in place. Returns how many got one from their neighbourhood.

    ``counts``: of pixels of each colour, int (K,).
    """
    rows, columns = np.nonzero(~sure)
    codes = coded.codes[rows, columns]
    own = classes[rows, columns].astype(np.int64)
    classes[rows, columns] = NONE
    noisy = _is_noisy(counts - np.bincount(codes, minlength=len(counts)), found.ids)
    kept = _thin(classes, rows, columns, codes, own, coded, found, labels, noisy)
    classes[rows[kept], columns[kept]] = own[kept]
    rows, columns, codes = rows[~kept], columns[~kept], codes[~kept]
    chosen, known, explained = _from_neighbours(classes, rows, columns, codes, coded, labels, LOOSE)
    chosen[~known] = found.ids[codes[~known]]
    left = ~explained & (known | ~found.near[codes])
    _refuse_foreign(classes.shape, rows[left], columns[left], codes[left], coded, labels, notes)
    classes[rows, columns] = chosen
    return len(rows)


def _thin(
    classes: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    codes: np.ndarray,
    own: np.ndarray,
    coded: Coded,
    found: Closeness,
    labels: LabelSet,
    noisy: bool,
) -> np.ndarray:
    """Which of the n pixels outside of areas keep their own class (thin lines, dots): bool (n,).

    A pixel keeps it next to an area of that class. Elsewhere it does unless an edge between two classes beside it would leave that
    colour, and edges of such mixtures are what this picture has.
    """
    has, hidden = own != NONE, coded.hidden[codes]
    sets = sets_beside(classes, len(labels), rows, columns)
    beside = has & contains(sets, own)
    alone = has & ~beside & ~hidden
    close = alone & (found.distance[codes] <= DRAWN)
    without, most = np.where(alone, own, -1), LOOSE if noisy else TIGHT
    mixed = _from_neighbours(classes, rows, columns, codes, coded, labels, most, without)[2]
    drawn = close & ~mixed & ((found.distance[codes] == 0) | _have_company(classes.shape, rows, columns, np.where(close, own, NONE)))
    if not noisy and np.count_nonzero(mixed & ~close) < EDGES * np.count_nonzero(close & mixed):
        drawn |= close & mixed
    return beside | drawn | hidden


def _have_company(shape: tuple[int, ...], rows: np.ndarray, columns: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Which of n pixels have another one of their class among the 8 around them: bool (n,). ``own``: the classes, ``NONE`` for none."""
    sketch = np.full((shape[0] + 2, shape[1] + 2), NONE, np.uint8)
    sketch[rows + 1, columns + 1] = own
    found = np.zeros(len(rows), bool)
    for down, right in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2)):
        found |= sketch[rows + down, columns + right] == own
    return found & (own != NONE)


def _is_noisy(counts: np.ndarray, ids: np.ndarray) -> bool:
    """Whether areas have many shades, so that the picture went through lossy compression.

    ``counts``: pixels of areas in each of K colours; ``ids``: the class of each colour.
    """
    usual = 0
    for i in np.unique(ids[counts > 0]):
        usual += int(np.sort(counts[ids == i])[-USUAL:].sum())
    return int(counts.sum()) - usual > NOISE * int(counts.sum())


def _explain(
    sets: np.ndarray, codes: np.ndarray, coded: Coded, labels: LabelSet, without: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """For n pixels with the classes in ``sets`` around them: the class, int (n,), and the distance to what they mix to, float32 (n,).

    ``without``: an id for each pixel that does not count, -1 for none. Where there is no class, the distance is infinite.
    """
    ids, distance = np.zeros(len(codes), np.int64), np.full(len(codes), np.inf, np.float32)
    excluded = np.full(len(codes), -1) if without is None else without
    group = excluded + 1
    for word in range(sets.shape[1]):  # 1-D unique is much faster than that of rows
        held = np.unique(sets[:, word], return_inverse=True)[1].reshape(-1)
        group = np.unique(group * (int(held.max(initial=0)) + 1) + held, return_inverse=True)[1].reshape(-1)
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(np.bincount(group)) if len(group) else np.zeros(0, np.int64)
    for start, end in zip([0, *ends[:-1]], ends, strict=False):
        which = order[start:end]
        known = members(sets[which[0]])
        known = known[known != excluded[which[0]]]
        if not len(known):
            continue
        few, back = np.unique(codes[which], return_inverse=True)
        result = mixture(coded.table[few], known, labels, TIGHT)
        ids[which], distance[which] = result.ids[back], result.distance[back]
    return ids, distance


def _from_neighbours(
    classes: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    codes: np.ndarray,
    coded: Coded,
    labels: LabelSet,
    most: float,
    without: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The class of the neighbourhood that each of n pixels is nearest to.

    Args:
        classes: of all sure pixels, ``NONE`` for others.
        rows, columns, codes: the pixels.
        coded, labels: the picture and the classes.
        most: distance to a mixture of the classes right beside it up to which a pixel is explained.
        without: an id for each pixel that does not count, -1 for none.

    Returns:
        The classes, int (n,); whether a class was found, bool (n,); whether it explains the colour, bool (n,).
    """
    sets = sets_beside(classes, len(labels), rows, columns)
    chosen, distance = _explain(sets, codes, coded, labels, without)
    found, explained = np.isfinite(distance), distance <= most
    several = (sets & (sets - np.minimum(sets, sets.dtype.type(1))) > 0).any(axis=1) | (np.count_nonzero(sets, axis=1) > 1)
    wide = ~explained & ~several  # in the middle of a wide slope, its two classes are farther away
    for side in FAR:
        which = np.flatnonzero(wide)
        if not len(which):
            break
        around = sets_around(classes, len(labels), rows[which], columns[which], side)
        ids, off = _explain(around, codes[which], coded, labels, None if without is None else without[which])
        slope = ranges(coded.codes, coded.table, rows[which], columns[which]) > SLOPE
        known = (off <= TIGHT) & slope  # an area of one colour is no slope
        use = known | (~found[which] & np.isfinite(off))
        chosen[which[use]], found[which[use]] = ids[use], True
        explained[which[known]], wide[which[known]] = True, False
    return chosen, found, explained


def _refuse_foreign(
    shape: tuple[int, ...], rows: np.ndarray, columns: np.ndarray, codes: np.ndarray, coded: Coded, labels: LabelSet, notes: Notes
) -> None:
    """Raise a :class:`ProxymaskError` if the n pixels that no class explains form areas or are many; otherwise note them."""
    if not len(rows):
        return
    total = shape[0] * shape[1]
    foreign = np.full(shape, NONE, np.uint8)
    foreign[rows, columns] = 0
    area = np.count_nonzero(solid(foreign, coded.codes, coded.table, SLOPE))
    used, counts = np.unique(codes, return_counts=True)
    if len(rows) > 0.5 * total and len(used) > PHOTO_COLORS:
        raise photo(notes.name)
    shades = coded.table[used].astype(np.int64) >> 3
    together = np.bincount(np.unique(shades, axis=0, return_inverse=True)[1].reshape(-1), weights=counts)
    where = nearest_classes(coded.table[used], counts, labels)
    if area > max(9, FOREIGN_AREA * total) or together.max() > FOREIGN_COLOR * total or len(rows) > FOREIGN * total:
        if notes.stored_labels is not None:
            theirs, file = notes.stored_labels
            stored = [label.name for label in theirs.labels if (coded.table[used] == label.color).all(axis=1).any()]
            if len(stored) == len(used):  # each is the colour of a class of the data set that the mask lies in
                raise other_classes(notes.name, file, stored, labels)
        void = void_hint(coded.table[used], labels)
        raise ProxymaskError(
            f"{notes.name} holds colours that are no class: {where}; {void}paint with the colours of the labels, which "
            "stand in their labels.json; of a bundle, proxymask inspect BUNDLE shows them"
        )
    often = counts >= max(9, 0.0005 * total)
    if often.any():
        where = nearest_classes(coded.table[used[often]], counts[often], labels)
        notes.guess(f"{pixels(int(counts[often].sum()))} in colours of no class were read as a class around them: {where}")


def void_hint(colors: np.ndarray, labels: LabelSet) -> str:
    """Words on the colour that VOC masks have where nothing is labelled, if it is among ``colors`` (n, 3) and of no class."""
    return "#e0e0c0 means 'no label' (void) in VOC masks; " if (colors == [224, 224, 192]).all(axis=1).any() else ""


def _say_what_was_off(coded: Coded, found: Closeness, counts: np.ndarray, edges: int, labels: LabelSet, notes: Notes) -> None:
    """Note how many pixels are not in the exact colour of a class, and how many of them (``edges``) got a class of the neighbourhood."""
    off = ~coded.hidden & (found.distance > 0)
    number, total = int(counts[off].sum()), int(counts.sum())
    if not number:
        return
    if not edges and np.count_nonzero(off & (counts > 0)) <= 2 * len(labels):
        shades = [
            f"{hex_color(coded.table[i])} ({pixels(int(counts[i]))}) as {described(labels, found.ids[i])}"
            for i in np.argsort(-counts, kind="stable")
            if off[i] and counts[i]
        ]
        notes.guess(f"{percent(number, total)} of its pixels are a shade off the colours of labels.json, and were read: {listed(shades)}")
        return
    notes.guess(
        f"{percent(number, total)} of its pixels are not exactly in the colour of a class, as anti-aliasing, smooth resizing and lossy "
        f"compression leave them: {percent(edges, total)} ({edges:,}) lie on edges and got the nearest of the classes around them"
        + (f", {percent(number - edges, total)} are a shade of their class" if number > edges else "")
    )
