"""Masks whose values are the ids of the classes: checked, and refused with the cause where they are none.

Shapes: H x W the size of the mask.
"""

import numpy as np

from ...core.errors import ProxymaskError
from ..labels import LabelSet
from .neighbours import NONE, parts, solid
from .notes import Notes, described, listed, pixels

VOID = 255  # what VOC, Cityscapes and ADE20K masks hold where nothing is labelled
STEP = 3  # classes whose ids differ by this much or more have two ids between them
LONGEST = 6  # pixels of a slope between two areas
BLURRED, SLOPES = 0.45, 24  # share of the edges that are slopes, and their number, that are refused
CHANGING = 0.2  # share of these pixels that touch another such id: along a blurred edge they change, along a drawn outline they do not
MANY = 64  # with more values, most of them of no class, it is a photo

SOFT = "save it as PNG without smoothing, resize it by nearest neighbour, or use the colours of labels.json, which survive both"


def check_ids(values: np.ndarray, labels: LabelSet, notes: Notes, lossy: str | None = None) -> np.ndarray:
    """Ids, any integers (H, W), as uint8.

    Args:
        values: the ids.
        labels: the classes.
        notes: hold the name of the mask.
        lossy: format of the file ("JPEG") if it changes values, so that its ids are none.

    Raises:
        ProxymaskError: values of no class, or ids that were mixed by smooth resizing or lossy compression; the message has the cause.
    """
    if lossy or int(values.min()) < 0 or int(values.max()) >= len(labels):
        raise _wrong_ids(values, labels, notes.name, lossy)
    ids = values.astype(np.uint8)
    between = blurred(ids)
    if between:
        raise ProxymaskError(
            f"{notes.name} has ids that were mixed at the edges ({between}), as smooth resizing and lossy compression leave them: {SOFT}"
        )
    return ids


def _wrong_ids(values: np.ndarray, labels: LabelSet, name: str, lossy: str | None) -> ProxymaskError:
    """The error for values (H, W) that are not all ids, with the cause."""
    found, counts = np.unique(values, return_counts=True)
    last = len(labels) - 1
    known = (found >= 0) & (found <= last)
    unknown = found[~known]
    if set(found.tolist()) <= {0, 255} or set(found.tolist()) <= {0, 65535}:
        return ProxymaskError(
            f"{name} is black and white (0 and {found[-1]}), not label ids 0 to {last}: one class alone belongs in a folder of such "
            "files, one a class, named after it"
        )
    if len(found) > MANY and counts[~known].sum() > 0.5 * counts.sum():
        return ProxymaskError(
            f"{name} looks like a photo, not a mask: a mask holds label ids 0 to {last}, or only the colours of labels.json"
        )
    ends = counts[(found <= 8) | (found >= 247)].sum()
    if len(found) > 2 and int(found[0]) >= 0 and 247 <= int(found[-1]) <= 255 and ends > 0.5 * counts.sum() and len(unknown) > 8:
        return ProxymaskError(
            f"{name} is black and white with soft edges, not label ids 0 to {last}: one class alone belongs in a folder of such files, "
            "one a class, named after it"
        )
    if lossy:
        return ProxymaskError(
            f"{name} is a grey mask in a {lossy} file: lossy compression changes values, so these are no longer the ids that were saved; "
            f"{SOFT}"
        )
    if unknown.tolist() == [VOID]:
        return ProxymaskError(
            f"{name} holds {VOID} ({pixels(int(counts[-1]))}), which means 'no label' (void) in VOC and Cityscapes masks and is no class "
            f"of 0 to {last}: paint a class there, or set it to 0 ({labels.names[0]})"
        )
    step = int(np.gcd.reduce(found.astype(np.int64)))
    if step > 1 and known[0] and int(found[-1]) // step <= last:
        return ProxymaskError(
            f"{name} holds only multiples of {step}: ids that were stretched to be seen? Divide its values by {step} to get ids 0 to {last}"
        )
    texts = [
        f"{value} ({pixels(int(count))}; nearest is {described(labels, 0 if value < 0 else last)})"
        for value, count in zip(unknown, counts[~known], strict=True)
    ]
    void = f"; {VOID} means 'no label' (void) in VOC and Cityscapes masks" if VOID in unknown else ""
    return ProxymaskError(f"{name} holds ids that are no class of 0 to {last}: {listed(texts)}{void}")


def blurred(ids: np.ndarray) -> str:
    """Words on ids (H, W) that were mixed at the edges; empty where they were not.

    A smooth edge between areas of 1 and 7 has 2 to 6 on it. Drawn masks have that too, where a thin part lies between two areas, but at
    few of their edges: at 64 pixels at most 0.13 (avatars) and 0.36 (churches) of the edges are slopes; of masks that were resized to 48 to
    128 pixels 0.66 to 1 (bilinear) and 0.46 to 1 (bicubic). A single id along an edge may be a drawn outline.
    """
    if int(ids.max()) - int(ids.min()) < STEP:
        return ""
    inside = solid(ids)
    slope, slopes, edges = np.zeros(ids.shape, bool), 0, 0
    for values, sure, marks in ((ids, inside, slope), (ids.T, inside.T, slope.T)):
        for part in parts(len(values), max(1, (1 << 20) // values.shape[1])):
            some, all_ = _slopes(values[part].astype(np.int16), sure[part], marks[part])
            slopes, edges = slopes + some, edges + all_
    on = ids[slope]
    if slopes < SLOPES or slopes <= BLURRED * edges or _changing(ids, slope) <= CHANGING * len(on):
        return ""
    return f"{pixels(len(on))} of ids {on.min()} to {on.max()} between those of both sides"


def _slopes(values: np.ndarray, inside: np.ndarray, marks: np.ndarray) -> tuple[int, int]:
    """Slopes and edges along rows (H, W), where areas follow each other whose ids are ``STEP`` or more apart.

    ``marks`` gets the slopes' pixels.

    A slope has, between the areas, at most ``LONGEST`` pixels, all with ids between those of the areas, or one beyond (as bicubic
    resizing leaves them).
    """
    width = values.shape[1]
    sharp = inside[:, 1:] & inside[:, :-1] & (np.abs(values[:, 1:] - values[:, :-1]) >= STEP)
    rows, ends = np.nonzero(inside[:, 1:] & ~inside[:, :-1])
    ends += 1
    starts = np.maximum.accumulate(np.where(inside, np.arange(width, dtype=np.int32), -1), axis=1)[rows, ends - 1]
    one, other = values[rows, starts], values[rows, ends]
    near = (starts >= 0) & (ends - starts <= LONGEST + 1) & (np.abs(one - other) >= STEP)
    rows, starts, ends, one, other = rows[near], starts[near], ends[near], one[near], other[near]
    low, high = np.minimum(one, other), np.maximum(one, other)
    between, within = np.zeros(len(rows), bool), np.ones(len(rows), bool)
    for step in range(1, LONGEST + 1):
        there = starts + step < ends
        here = values[rows, np.minimum(starts + step, ends)]
        between |= there & (here > low) & (here < high)
        within &= ~there | ((here >= low - 1) & (here <= high + 1))
    found = between & within
    for step in range(1, LONGEST + 1):
        there = found & (starts + step < ends)
        marks[rows[there], starts[there] + step] = True
    return int(found.sum()), int(sharp.sum()) + len(rows)


def _changing(ids: np.ndarray, slope: np.ndarray) -> int:
    """How many pixels of slopes touch another one that has a different id."""
    rows, columns = np.nonzero(slope)
    sketch = np.full((ids.shape[0] + 2, ids.shape[1] + 2), NONE, np.uint8)
    sketch[rows + 1, columns + 1] = own = ids[rows, columns]
    changing = np.zeros(len(rows), bool)
    for down in range(3):
        for right in range(3):
            there = sketch[rows + down, columns + right]
            changing |= (there != NONE) & (there != own)
    return int(np.count_nonzero(changing))
