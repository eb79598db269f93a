"""In words: what a painter should know about a picture, and why it did not change.

Shapes: H x W the size of the pictures, h x w the grid of the proxy mask; the canvas is a whole multiple of H x W.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.sizes import height_width
from ..imaging.masks import resize_mask
from ..inference.detail_inputs import DetailInput
from .catalogue import CLUSTERS, Model

SAME = 2  # largest difference of a channel, of 255, that nobody sees
LEAST_SHARE = 0.001  # of a sample's pixels that a label covers where the sample has it
RARE_SHARE = 0.02  # of the samples that have a label where the model has hardly seen it
SEEN_SHARE = 0.005  # of the grid; smaller regions that a style lacks are not named
MOST_NAMED = 4


@dataclass(frozen=True)
class Painted:
    """What was painted, and what became of it."""

    kind: str
    """Of the input: "mask", "scribble", "sketch" ..."""
    canvas: np.ndarray
    """As painted, uint8 of the size of the canvas."""
    small: np.ndarray
    """A mask at the size of the pictures (H, W); clusters at that of the grid (h, w); of other kinds the canvas itself."""
    proxy: np.ndarray
    """Clusters (h, w) int32."""
    pixels: np.ndarray
    """The picture, uint8 (H, W, C)."""
    inputs: tuple[DetailInput, ...] = ()
    """For the detail networks."""


def style_notes(model: Model, mask: np.ndarray, seeds: Sequence[int], truncation: float) -> list[str]:
    """Labels of a mask (H, W) that their style's own sample does not have, one line for all; empty without a segmenter.

    ``seeds``: of the style of each label id.
    """
    labels = model.labels
    if labels is None or model.synth.bundle.segmenter is None:
        return []
    painted, cell = _counts(mask, len(labels)), mask.size / (model.grid[0] * model.grid[1])
    lacking = []
    for label in np.flatnonzero(painted >= cell).tolist():
        sample = model.sample(seeds[label], truncation).labels
        assert sample is not None
        if np.count_nonzero(sample == label) < max(cell, LEAST_SHARE * mask.size):
            lacking.append(labels.names[label])
    if not lacking:
        return []
    drawn = model.synth.bundle.rearranger.refinement is not None
    style = "this style" if len(set(seeds)) == 1 else "the style chosen there"
    return [f"{style} has no {listed(lacking)}: what is {'drawn there is made up' if drawn else 'most like it is drawn there'}"]


def mask_notes(model: Model, canvas: np.ndarray, mask: np.ndarray) -> list[str]:
    """What may be lost of a mask: ``canvas`` as painted, ``mask`` at the size of the pictures."""
    labels = model.labels
    if labels is None:
        return []
    painted, seen, cells = (_counts(ids, len(labels)) for ids in (canvas, mask, resize_mask(mask, model.grid)))
    used = np.flatnonzero(painted).tolist()
    gone = [labels.names[i] for i in used if not seen[i]]
    small = [labels.names[i] for i in used if seen[i] and not cells[i]]
    notes = []
    if gone:
        notes.append(f"{listed(gone)}: finer than a pixel of the picture ({cell_text(canvas, mask.shape)}), so it is lost: paint it larger")
    if small:
        notes.append(f"{listed(small)}: smaller than a cell of the grid ({cell_text(canvas, model.grid)}) and may be lost: paint it larger")
    rare = [labels.names[i] for i in used if model.is_rare(i, RARE_SHARE)]
    if rare:
        notes.append(f"the model has hardly seen {listed(rare)}: it may not follow what is painted")
    return notes


def cluster_notes(canvas: np.ndarray, grid: np.ndarray) -> list[str]:
    """What is lost of painted clusters: ``canvas`` as painted, ``grid`` (h, w) what the model takes."""
    gone = np.setdiff1d(canvas, grid)
    if not gone.size:
        return []
    return [f"{_regions(gone)}: smaller than a cell of the grid ({cell_text(canvas, grid.shape)}), so it is lost: paint it larger"]


def substitute_notes(painted: np.ndarray, proxy: np.ndarray) -> list[str]:
    """Painted clusters (h, w) of which the style has little or nothing, where ``proxy`` (h, w) has others instead; one line for all."""
    counts = np.bincount(painted[painted != proxy], minlength=1)
    lacking = np.flatnonzero(counts > SEEN_SHARE * painted.size)
    return [f"this style has hardly any {_regions(lacking)}: what is most like it is drawn there"] if lacking.size else []


def is_same(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether nobody sees a difference between two pictures (H, W, C) uint8."""
    return before.shape == after.shape and int((np.maximum(before, after) - np.minimum(before, after)).max(initial=0)) <= SAME


def why_unchanged(model: Model, before: Painted, after: Painted) -> str | None:
    """Why the picture of ``after`` is the same as that of ``before``, in the same style; None where nothing else was painted."""
    if before.canvas.shape == after.canvas.shape and np.array_equal(before.canvas, after.canvas):
        return None
    if after.kind == before.kind == CLUSTERS:
        changed = before.small != after.small
        if not changed.any():
            return f"what was painted is smaller than a cell of the grid ({cell_text(after.canvas, after.small.shape)}): paint it larger"
        return f"this style draws {_regions(np.unique(after.small[changed]))} there as it was before"
    if after.kind != "mask" or before.kind != "mask":
        return f"the {after.kind} says nothing new there: it agrees with what the model predicts anyway, or is too small"
    if np.array_equal(before.small, after.small):
        return f"what was painted is finer than a pixel of the picture ({cell_text(after.canvas, after.small.shape)}): paint it larger"
    changed = before.small != after.small
    if np.array_equal(before.proxy, after.proxy):
        if np.array_equal(resize_mask(before.small, model.grid), resize_mask(after.small, model.grid)):
            return f"what was painted is smaller than a cell of the grid ({cell_text(after.canvas, model.grid)}): paint it larger"
        old, new = _names(model, before.small[changed]), _names(model, after.small[changed])
        return f"the model draws {listed(new)} there as it draws {listed(old)}" + _rarely(model, after.small[changed])
    new = _names(model, after.small[changed])
    return f"the layout has changed, but this style draws {listed(new)} there as it was before" + _rarely(model, after.small[changed])


def cell_text(canvas: np.ndarray, size: Sequence[int]) -> str:
    """How large a pixel or cell of ``size`` (height, width) is on the canvas."""
    height, width = (max(1, round(side / part)) for side, part in zip(canvas.shape, height_width(size), strict=True))
    return f"{width}x{height} on this canvas"


def listed(names: Sequence[str]) -> str:
    """Names as text: "hair, eyes and mouth"."""
    shown = [" ".join(name.replace("_", " ").split()) for name in names[:MOST_NAMED]]
    if len(names) > MOST_NAMED:
        return f"{', '.join(shown)} and {len(names) - MOST_NAMED} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _regions(ids: np.ndarray) -> str:
    """Clusters by their names."""
    return listed([f"region {int(one)}" for one in ids])


def _counts(ids: np.ndarray, labels: int) -> np.ndarray:
    """Pixels of each label, int (labels,)."""
    return np.bincount(ids.reshape(-1), minlength=labels)


def _names(model: Model, ids: np.ndarray) -> list[str]:
    """Names of the labels in ``ids``, the most frequent one first."""
    assert model.labels is not None
    counts = _counts(ids, len(model.labels))
    return [model.labels.names[i] for i in np.argsort(-counts, kind="stable") if counts[i]]


def _rarely(model: Model, ids: np.ndarray) -> str:
    assert model.labels is not None
    rare = [name for name in _names(model, ids) if model.is_rare(model.labels.by_name(name).id, RARE_SHARE)]
    return f"; it has hardly seen {listed(rare)}" if rare else ""
