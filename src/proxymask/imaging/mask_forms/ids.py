"""Masks whose values are the ids of the classes: checked, and refused with the cause where they are none.

Shapes: H x W the size of the mask.
"""

import numpy as np

from ...core.errors import ProxymaskError
from ..labels import LabelSet
from .neighbours import parts, solid
from .notes import Notes, listed, other_classes, pixels

VOID = 255  # what VOC, Cityscapes and ADE20K masks hold where nothing is labelled
STEP = 3  # classes whose ids differ by this much or more have two ids between them
LONGEST = 6  # pixels of a slope between two areas, or 1/32 of the side
# of a mixed edge: its slopes, their share of all that lies between its sides, and the share of them that rises
SLOPES, SHARE, RISING = 16, 0.7, 0.5
FEW = 3  # ids between two sides, all of which, and twice as many slopes, a mixed edge then has
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
    _check_names(values, labels, notes)
    if lossy or int(values.min()) < 0 or int(values.max()) >= len(labels):
        raise _wrong_ids(values, labels, notes.name, lossy)
    ids = values.astype(np.uint8)
    between = blurred(ids)
    if between:
        raise ProxymaskError(
            f"{notes.name} has ids that were mixed at the edges ({between}), as smooth resizing and lossy compression leave them: {SOFT}"
        )
    return ids


def _check_names(values: np.ndarray, labels: LabelSet, notes: Notes) -> None:
    """Compare the classes with those of the data set that the mask lies in, for the ids (H, W) that it holds.

    Raises:
        ProxymaskError: two or more ids have other names, and none has the same but 0, which many sets call background. Otherwise the
            differences are noted.
    """
    if notes.stored_labels is None or notes.stored_labels[0].names == labels.names:
        return
    theirs, file = notes.stored_labels
    used = [i for i in np.unique(values).tolist() if 0 <= i < len(theirs)]
    other = [i for i in used if i >= len(labels) or labels.find(theirs.names[i]) != labels.labels[i]]
    if len(other) > 1 and not set(used) - {0, *other}:
        raise other_classes(notes.name, file, [theirs.names[i] for i in used], labels)
    if other:
        named = [f"{i} is {theirs.names[i]} there, {labels.names[i] if i < len(labels) else 'no class'} here" for i in other]
        notes.guess(f"{file} has other names for its ids, which were read as those of the model: {listed(named)}")


def _wrong_ids(values: np.ndarray, labels: LabelSet, name: str, lossy: str | None) -> ProxymaskError:
    """The error for values (H, W) that are not all ids, with the cause."""
    found, counts = np.unique(values, return_counts=True)
    last = len(labels) - 1
    known = (found >= 0) & (found <= last)
    unknown = found[~known]
    if found.tolist() in ([VOID], [65535]):
        return ProxymaskError(
            f"{name} is white all over ({found[0]}), so nothing is painted in it: paint the classes with their ids, 0 to {last}, or in the "
            "colours of labels.json"
        )
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
    texts = [f"{value} ({pixels(int(count))})" for value, count in zip(unknown, counts[~known], strict=True)]
    void = f"; {VOID} means 'no label' (void) in VOC and Cityscapes masks" if VOID in unknown else ""
    return ProxymaskError(
        f"{name} holds ids that are no class of 0 to {last}: {listed(texts)}{void}; the ids of the classes stand in their "
        "labels.json; of a bundle, proxymask inspect BUNDLE shows them"
    )


def blurred(ids: np.ndarray) -> str:
    """Words on ids (H, W) that were mixed at the edges, in all of the mask or in a part of it; empty where they were not.

    A smooth edge between areas of 1 and 7 rises over 2 to 6. In drawn masks other ids lie between two areas too, as thin parts and
    outlines, but they seldom rise from the one to the other, and along an edge they are few. So an edge is mixed if most of what separates
    the two areas rises, and passes three fifths of the ids between them (docs/decisions.md, mixed-ids).
    """
    if int(ids.max()) - int(ids.min()) < STEP:
        return ""
    inside, longest = solid(ids), max(LONGEST, min(ids.shape) // 32)
    found = [
        _borders(values[part].astype(np.int16), sure[part], longest)
        for values, sure in ((ids, inside), (ids.T, inside.T))
        for part in parts(len(values), max(1, (1 << 20) // values.shape[1]))
    ]
    others = np.bincount(np.concatenate([other for other, _, _ in found]), minlength=1 << 16)
    slopes, passed = np.concatenate([some for _, some, _ in found]), np.concatenate([pairs for _, _, pairs in found])
    number, rising = np.bincount(slopes[:, 0], minlength=1 << 16), np.bincount(slopes[slopes[:, 1] > 0, 0], minlength=1 << 16)
    for pair in np.flatnonzero((number >= SLOPES) & (number >= SHARE * (number + others)) & (rising >= RISING * number)):
        between, low, high = np.unique(passed[passed[:, 0] == pair, 1]), int(pair) // 256, int(pair) % 256
        few = high - low - 1 <= FEW  # drawn parts pass all of so few more easily
        if len(between) >= 0.6 * (high - low - 1) and (not few or (len(between) == high - low - 1 and number[pair] >= 2 * SLOPES)):
            return f"ids {between.min()} to {between.max()} on the edges between {low} and {high}"
    return ""


def _borders(values: np.ndarray, inside: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What lies along rows (H, W) between areas that follow each other and whose ids are ``STEP`` or more apart.

    A pair of areas is ``256 * low + high`` of their ids. A slope has, between the areas, at most ``longest`` pixels, all with ids between
    those of the areas, or one beyond (as bicubic resizing leaves them). It rises if its ids go from the one to the other; pixels of one id
    alone rise only if they are one.

    Returns: the pair (n,) of each border that is no slope; pair, and 1 if it rises, (m, 2) of each slope; pair and id (k, 2) of pixels of
    slopes that rise.
    """
    sharp = inside[:, 1:] & inside[:, :-1] & (np.abs(values[:, 1:] - values[:, :-1]) >= STEP)
    direct = _pair(values[:, 1:][sharp], values[:, :-1][sharp])
    rows, ends = np.nonzero(inside[:, 1:] & ~inside[:, :-1])
    ends += 1
    starts = np.maximum.accumulate(np.where(inside, np.arange(values.shape[1], dtype=np.int32), -1), axis=1)[rows, ends - 1]
    one, other = values[rows, starts], values[rows, ends]
    near = (starts >= 0) & (ends - starts <= longest + 1) & (np.abs(one - other) >= STEP)
    rows, starts, ends, one, other = rows[near], starts[near], ends[near], one[near], other[near]
    low, high, up = np.minimum(one, other), np.maximum(one, other), np.sign(other - one)
    between, within, rises = np.zeros(len(rows), bool), np.ones(len(rows), bool), np.ones(len(rows), bool)
    changes, before = np.zeros(len(rows), int), one
    for step in range(1, longest + 1):
        there = starts + step < ends
        here = values[rows, np.minimum(starts + step, ends)]
        between |= there & (here > low) & (here < high)
        within &= ~there | ((here >= low - 1) & (here <= high + 1))
        rises &= ~there | ((here - before) * up >= -1)
        changes += there & (here != before)
        before = np.where(there, here, before)
    slope, pair = between & within, _pair(one, other)
    rises &= slope & ((changes > 1) | (ends - starts == 2))
    passed = [np.zeros((0, 2), int)]
    for step in range(1, longest + 1):
        here = values[rows, np.minimum(starts + step, ends)]
        there = rises & (starts + step < ends) & (here > low) & (here < high)
        passed.append(np.unique(np.stack([pair[there], here[there].astype(int)], axis=1), axis=0))
    return np.concatenate([direct, pair[~slope]]), np.stack([pair[slope], rises[slope].astype(int)], axis=1), np.concatenate(passed)


def _pair(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.minimum(one, other).astype(int) * 256 + np.maximum(one, other)
