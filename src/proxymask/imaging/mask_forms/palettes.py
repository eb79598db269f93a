"""Whether the indices of a palette picture are ids, or the colours of its palette decide."""

from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from ..labels import LabelSet
from .closeness import closeness
from .notes import Notes, described, hex_color, listed

MANY_COLORS = 64  # a picture that uses more entries than this is no drawing by hand: its edges are anti-aliased


class Palette(NamedTuple):
    """``colors``: uint8 (256, 3); ``hidden``: bool (256,), transparent entries; ``counts``: pixels of each entry, int (256,)."""

    colors: np.ndarray
    hidden: np.ndarray
    counts: np.ndarray


def palette_of(picture: Image.Image) -> np.ndarray:
    """The colours of a picture of mode "P", uint8 (256, 3). Entries that are not stored are black."""
    colors = np.zeros((256, 3), np.uint8)
    stored = np.array((picture.getpalette("RGB") or [])[:768], dtype=np.uint8).reshape(-1, 3)
    colors[: len(stored)] = stored
    return colors


def decide(palette: Palette, labels: LabelSet, notes: Notes) -> Literal["ids", "greys", "colours"]:
    """What a palette picture means: its indices are ids, its colours are, or they are greys as in a grey picture.

    The colours decide where those in use are colours of classes, exactly or nearly. If some are and others are not: the indices, where
    those that are have the ids of their classes; otherwise the colours. Different greys that are all ids are a grey picture.
    """
    used = np.flatnonzero((palette.counts > 0) & ~palette.hidden)
    if not len(used):
        return "ids"
    colors, counts = palette.colors[used], palette.counts[used]
    valid = int(used[-1]) < len(labels)
    greys = colors[:, 0]
    if (colors == greys[:, None]).all() and greys.max() < len(labels) and len(np.unique(greys)) == len(greys):
        return "greys"
    found = closeness(colors, labels)
    near, own = found.near, found.ids == used
    exact = found.distance == 0
    one = len(used) > 1 and len(np.unique(found.ids)) == 1  # an empty palette, where black is a class
    if one and valid:
        return "ids"
    if near.all():
        if valid and len(used) == 1 and not own[0]:
            tell = notes.say if exact[0] else notes.guess
            tell(f"its only colour is that of {described(labels, found.ids[0])}, its only index {used[0]}: the colour was used")
        return "colours"
    if valid and own[near].all():
        if near.any():
            foreign = [f"{hex_color(colors[i])} (index {used[i]})" for i in np.flatnonzero(~near)]
            notes.guess(f"its palette has colours of no class, {listed(foreign)}: its indices were read as ids")
        return "ids"
    most = 2 * np.count_nonzero(near) >= len(used) or 2 * counts[near].sum() >= counts.sum()
    if (near.any() and most) or len(used) > MANY_COLORS:
        return "colours"
    if valid:
        if exact.any():
            shared = [f"{hex_color(colors[i])} (index {used[i]})" for i in np.flatnonzero(exact)]
            what = f"some colours of its palette are those of other classes, {listed(shared)}"
            notes.guess(f"{what}: its indices were read as ids; if it was painted for another model, give that one")
        return "ids"
    return "ids" if _is_void(used, len(labels)) else "colours"


def _is_void(used: np.ndarray, classes: int) -> bool:
    """Whether all used indices are ids, except for 255."""
    return len(used) > 1 and int(used[-1]) == 255 and int(used[-2]) < classes
