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
    """The largest range of a channel within 3x3 pixels around each of n pixels, sorted by row: uint8 (n,)."""
    found = np.empty(len(rows), np.uint8)
    step = rows_at_once(codes.shape[1])
    for top in range(0, len(codes), step):
        some = slice(*np.searchsorted(rows, (top, top + step)))
        if some.stop > some.start:
            low, high = max(0, top - 1), min(len(codes), top + step + 1)
            part = np.pad(codes[low:high], ((low == top, high < top + step + 1), (1, 1)), mode="edge")
            found[some] = _range(part, table, rows[some] - top, columns[some])
    return found


def sets_beside(classes: np.ndarray, number: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The classes within ``REACH`` of each of n pixels, as bits: unsigned integers (n, words).

    ``classes``: uint8 (H, W), ``NONE`` where a pixel is not sure of its class; ``number`` of classes.
    """
    bits = _bits(number)
    found = np.zeros((len(bits), len(rows)), bits[0].dtype)
    width = classes.shape[1] + 2 * REACH
    padded = np.pad(classes, REACH, constant_values=NONE).reshape(-1)
    for part in parts(len(rows), 1 << 15):
        first = rows[part] * width + columns[part]
        for down in range(2 * REACH + 1):
            for right in range(2 * REACH + 1):
                there = padded.take(first + (down * width + right))
                for word, table in enumerate(bits):
                    found[word, part] |= table.take(there)
    return found.T


def sets_around(classes: np.ndarray, number: int, rows: np.ndarray, columns: np.ndarray, side: int) -> np.ndarray:
    """As :func:`sets_beside`, for the classes in the block of ``side`` pixels that a pixel is in, and in the 8 blocks around it."""
    bits = _bits(number)
    height, width = classes.shape
    down, across = -(-height // side), -(-width // side)
    blocks = np.zeros((down + 2, across + 2, len(bits)), bits[0].dtype)
    needed = np.zeros(down + 2, bool)
    for shift in range(3):
        needed[np.unique(rows // side) + shift] = True
    for row in np.flatnonzero(needed[1:-1]):
        part = np.pad(classes[row * side : (row + 1) * side], ((0, 0), (0, across * side - width)), constant_values=NONE)
        for word, table in enumerate(bits):
            held = np.bitwise_or.reduce(table[part], axis=0)
            blocks[row + 1, 1:-1, word] = np.bitwise_or.reduce(held.reshape(across, side), axis=1)
    wide = blocks[:, :-2] | blocks[:, 1:-1] | blocks[:, 2:]
    wide = wide[:-2] | wide[1:-1] | wide[2:]
    return wide[rows // side, columns // side]


def members(bits: np.ndarray) -> np.ndarray:
    """The ids in a set of bits (words,)."""
    return np.array([word * WORD + i for word in range(len(bits)) for i in range(WORD) if int(bits[word]) >> i & 1], dtype=np.int64)


def contains(sets: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Whether each of n sets, bits (n, words), holds the id at its place, int (n,): bool (n,)."""
    found = np.zeros(len(sets), bool)
    for word in range(sets.shape[1]):
        inside = ids // WORD == word
        found[inside] = sets[inside, word].astype(np.uint64) >> (ids[inside] % WORD).astype(np.uint64) & np.uint64(1) > 0
    return found


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


def _range(padded: np.ndarray, table: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The largest range of a channel within 3x3 pixels of codes with a border of 1: uint8 (n,)."""
    width = padded.shape[1]
    wide = np.zeros((len(table), 4), np.uint8)  # 4 bytes a colour are fetched at once
    wide[:, :3] = table
    packed, flat, first = wide.view(np.uint32)[:, 0], padded.reshape(-1), rows * width + columns
    low = high = None
    for down in range(3):
        for right in range(3):
            colors = packed.take(flat.take(first + (down * width + right))).view(np.uint8)
            low = colors.copy() if low is None else np.minimum(low, colors, out=low)
            high = colors.copy() if high is None else np.maximum(high, colors, out=high)
    assert low is not None
    assert high is not None
    return (high - low).reshape(-1, 4).max(axis=1, initial=0)


def _bits(number: int) -> list[np.ndarray]:
    """For each word, the bit of each class in it: unsigned integers (256,); none for ``NONE``. Few classes need few bits."""
    kind = next((kind for kind in (np.uint8, np.uint16, np.uint32) if number <= np.iinfo(kind).bits), np.uint64)
    tables = []
    for start in range(0, number, WORD):
        table = np.zeros(256, kind)
        for i in range(start, min(start + WORD, number)):
            table[i] = 1 << (i - start)
        tables.append(table)
    return tables
