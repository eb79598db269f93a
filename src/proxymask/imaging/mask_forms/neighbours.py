"""Which classes lie around a pixel, and which pixels lie inside an area of one class.

Shapes: H x W the size of the mask, n pixels, N classes.
"""

from collections.abc import Iterator

import numpy as np

from .coded import rows_at_once

NONE = 255  # no class; ids are less
FLAT = 12  # range of the colours, in each channel, within 3x3 pixels that are no slope
REACH = 3  # pixels; classes in a window of this radius are beside a pixel
WORD = 64  # classes in a word of a set


def solid(classes: np.ndarray, codes: np.ndarray | None = None, table: np.ndarray | None = None, flat: int = FLAT) -> np.ndarray:
    """Pixels that lie in a 3x3 block of one class and of nearly one colour: bool (H, W).

    Args:
        classes: uint8 (H, W), ``NONE`` where a pixel has none.
        codes, table: the colours (see :class:`.coded.Coded`), without which any block of one class counts. A slope between two
            colours (a blurred edge) passes the colours of other classes, but is not flat there.
        flat: the range that a channel may have in the block.
    """
    height, width = classes.shape
    inside = np.empty((height, width), bool)
    step = max(64, rows_at_once(width) // 2)
    for top in range(0, height, step):
        low, high = max(0, top - 2), min(height, top + step + 2)
        part = np.pad(classes[low:high], 1, mode="edge")
        centre = _uniform(part)
        centre &= classes[low:high] != NONE
        if codes is not None and table is not None:
            shades = np.pad(codes[low:high], 1, mode="edge")
            rows, columns = np.nonzero(centre & ~_uniform(shades))
            if len(rows):
                centre[rows, columns] = _range(shades, table, rows, columns) <= flat
        inside[top : min(top + step, height)] = _grown(centre)[top - low : min(top + step, height) - low]
    return inside


def ranges(codes: np.ndarray, table: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The largest range of a channel within 3x3 pixels around each of n pixels: int (n,)."""
    found = np.empty(len(rows), np.int64)
    for part in parts(len(rows), 1 << 18):
        found[part] = _range(None, table, rows[part], columns[part], codes)
    return found


def sets_beside(classes: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The classes within ``REACH`` of each of n pixels, as bits: uint64 (n, words).

    ``classes``: uint8 (H, W), ``NONE`` where a pixel is not sure of its class.
    """
    bits = _bits()
    words = _words(classes)
    found = np.zeros((len(rows), words), np.uint64)
    height, width = classes.shape
    for part in parts(len(rows), 1 << 17):
        r, c, sets = rows[part], columns[part], found[part]
        for down in range(-REACH, REACH + 1):
            line = (r + down).clip(0, height - 1) * width
            for right in range(-REACH, REACH + 1):
                there = classes.reshape(-1)[line + (c + right).clip(0, width - 1)]
                for word in range(words):
                    sets[:, word] |= bits[word][there]
    return found


def sets_around(classes: np.ndarray, rows: np.ndarray, columns: np.ndarray, side: int) -> np.ndarray:
    """As :func:`sets_beside`, for the classes in the block of ``side`` pixels that a pixel is in, and in the 8 blocks around it."""
    bits, words = _bits(), _words(classes)
    height, width = classes.shape
    across = -(-width // side)
    blocks = np.zeros((-(-height // side) + 2, across + 2, words), np.uint64)
    for top in range(0, height, side):
        part = np.pad(classes[top : top + side], ((0, 0), (0, across * side - width)), constant_values=NONE)
        for word in range(words):
            held = np.bitwise_or.reduce(bits[word][part], axis=0)
            blocks[top // side + 1, 1:-1, word] = np.bitwise_or.reduce(held.reshape(across, side), axis=1)
    wide = blocks[:, :-2] | blocks[:, 1:-1] | blocks[:, 2:]
    wide = wide[:-2] | wide[1:-1] | wide[2:]
    return wide[rows // side, columns // side]


def members(bits: np.ndarray) -> np.ndarray:
    """The ids in a set of bits, uint64 (words,)."""
    return np.array([i for i in range(len(bits) * WORD) if int(bits[i // WORD]) >> (i % WORD) & 1], dtype=np.int64)


def contains(sets: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Whether each of n sets, uint64 (n, words), holds the id at its place, int (n,): bool (n,)."""
    word = (ids // WORD).clip(0, sets.shape[1] - 1)
    held = sets[np.arange(len(sets)), word] >> (ids % WORD).astype(np.uint64) & np.uint64(1)
    return (held == 1) & (ids // WORD < sets.shape[1])


def parts(length: int, step: int) -> Iterator[slice]:
    """Slices of ``step`` that cover ``length``."""
    return (slice(start, start + step) for start in range(0, length, step))


def _uniform(padded: np.ndarray) -> np.ndarray:
    """Whether 3x3 values are equal, around each one without the border."""
    across = padded[:, 1:] == padded[:, :-1]
    across = across[:, 1:] & across[:, :-1]
    down = padded[1:, 1:-1] == padded[:-1, 1:-1]
    return across[:-2] & across[1:-1] & across[2:] & down[1:] & down[:-1]


def _grown(centre: np.ndarray) -> np.ndarray:
    """The 3x3 blocks around true pixels."""
    wide = centre.copy()
    wide[:, 1:] |= centre[:, :-1]
    wide[:, :-1] |= centre[:, 1:]
    tall = wide.copy()
    tall[1:] |= wide[:-1]
    tall[:-1] |= wide[1:]
    return tall


def _range(
    padded: np.ndarray | None, table: np.ndarray, rows: np.ndarray, columns: np.ndarray, codes: np.ndarray | None = None
) -> np.ndarray:
    low = np.full((len(rows), 3), 255, np.uint8)
    high = np.zeros((len(rows), 3), np.uint8)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            if padded is not None:
                there = padded[rows + 1 + down, columns + 1 + right]
            else:
                assert codes is not None
                there = codes[(rows + down).clip(0, len(codes) - 1), (columns + right).clip(0, codes.shape[1] - 1)]
            colors = table[there]
            np.minimum(low, colors, out=low)
            np.maximum(high, colors, out=high)
    return (high - low).max(axis=1, initial=0).astype(np.int64)


def _bits() -> list[np.ndarray]:
    """For each word, the bit of each class in it: uint64 (256,); none for ``NONE``."""
    tables = []
    for word in range(4):
        table = np.zeros(256, np.uint64)
        for i in range(word * WORD, min((word + 1) * WORD, NONE)):
            table[i] = np.uint64(1) << np.uint64(i % WORD)
        tables.append(table)
    return tables


def _words(classes: np.ndarray) -> int:
    """How many words the sets of a picture need."""
    largest = 0
    for part in parts(len(classes), rows_at_once(classes.shape[1])):
        there = classes[part]
        largest = max(largest, int(there[there != NONE].max(initial=0)))
    return largest // WORD + 1
