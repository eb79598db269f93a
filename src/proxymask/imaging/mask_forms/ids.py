"""Masks whose values are the ids of the classes: checked, and refused with the cause where they are none.

Shapes: H x W the size of the mask.
"""

import numpy as np

from ...core.errors import ProxymaskError
from ..labels import LabelSet
from .neighbours import NONE, REACH, parts, solid
from .notes import Notes, described, listed, pixels

VOID = 255  # what VOC, Cityscapes and ADE20K masks hold where nothing is labelled
STEP = 3  # classes whose ids differ by this much or more have two ids between them
BLURRED, BLURRED_PIXELS = 0.5, 24  # share of an edge that has ids between those of its sides, and their number, that is refused
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
    """Words on ids (H, W) that lie between those of both sides of an edge, several along it; empty where there are none.

    A smooth edge between 1 and 7 has 2 to 6 on it, which nobody draws. A single id along an edge may be a drawn outline.
    """
    if int(ids.max()) - int(ids.min()) < STEP:
        return ""
    inside = solid(ids)
    rows, columns = np.nonzero(~inside)
    if len(rows) < BLURRED_PIXELS:
        return ""
    low, high = _sides(np.where(inside, ids, NONE), rows, columns)
    own = ids[rows, columns]
    steep = (low != NONE) & (high.astype(int) - low >= STEP)
    between = steep & (own > low) & (own < high)
    edges = low[between].astype(int) * 256 + high[between]
    for edge in np.unique(edges):
        on = own[between][edges == edge]
        if len(on) < BLURRED_PIXELS or len(on) <= BLURRED * _length(ids, inside, edge // 256, edge % 256):
            continue
        if _changing(ids.shape, rows[between][edges == edge], columns[between][edges == edge], on) > CHANGING * len(on):
            return f"{pixels(len(on))} of ids {on.min()} to {on.max()} between {edge // 256} and {edge % 256}"
    return ""


def _sides(sure: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest id of areas within ``REACH`` of n pixels: uint8 (n,) each; ``NONE`` and 0 where there is none."""
    low, high = np.full(len(rows), NONE, np.uint8), np.zeros(len(rows), np.uint8)
    height, width = sure.shape
    for part in parts(len(rows), 1 << 18):
        for down in range(-REACH, REACH + 1):
            line = (rows[part] + down).clip(0, height - 1)
            for right in range(-REACH, REACH + 1):
                there = sure[line, (columns[part] + right).clip(0, width - 1)]
                np.minimum(low[part], there, out=low[part])
                np.maximum(high[part], np.where(there == NONE, 0, there), out=high[part])
    return low, high


def _changing(shape: tuple[int, ...], rows: np.ndarray, columns: np.ndarray, own: np.ndarray) -> int:
    """How many of n pixels touch another one of them that has a different id."""
    sketch = np.full((shape[0] + 2, shape[1] + 2), NONE, np.uint8)
    sketch[rows + 1, columns + 1] = own
    changing = np.zeros(len(rows), bool)
    for down in range(3):
        for right in range(3):
            there = sketch[rows + down, columns + right]
            changing |= (there != NONE) & (there != own)
    return int(np.count_nonzero(changing))


def _length(ids: np.ndarray, inside: np.ndarray, low: int, high: int) -> int:
    """How many pixels of areas of ``low`` meet an area of ``high`` right beside them: the sharp part of that edge."""
    one, other = inside & (ids == low), inside & (ids == high)
    across = (one[:, 1:] & other[:, :-1]).sum() + (one[:, :-1] & other[:, 1:]).sum()
    return int(across + (one[1:] & other[:-1]).sum() + (one[:-1] & other[1:]).sum())
