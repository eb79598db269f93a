"""The picture sheets of the report."""

from collections.abc import Sequence

import numpy as np

from ..imaging.grids import to_uint8
from . import counts
from .cache import Tensors
from .collect import score_of
from .inputs import Inputs
from .measure import resized_ids
from .synthesis import SHAPES, STYLES


def picture_sheets(inputs: Inputs, pictures: list[Tensors]) -> dict[str, list[np.ndarray]]:
    """Sheets by title, each a list of rows (N, H, W, 3) uint8: the first pictures, and, with a judge, those of the best, median and worst
    IoU among ``pictures``, the stored parts."""
    of = "masks" if inputs.measures_masks else "proxy"
    sheets = {"as they come": _sheet(inputs, range(min(counts.SHOWN, inputs.count)), of)}
    if inputs.judge is not None and pictures:
        ranked = score_of(inputs, pictures, of, inputs.judge).per_picture().argsort(descending=True).tolist()
        middle = max(0, len(ranked) // 2 - counts.SHOWN // 2)
        chosen = {"best": ranked[: counts.SHOWN], "median": ranked[middle:][: counts.SHOWN], "worst": ranked[-counts.SHOWN :]}
        sheets |= {title: _sheet(inputs, numbers, of) for title, numbers in chosen.items()}
    return sheets


def _sheet(inputs: Inputs, numbers: Sequence[int], of: str) -> list[np.ndarray]:
    """Rows: the mask, or the sample that gave the proxy mask; the style sample; the picture; what the judge predicts of it.

    Pictures are made one by one, so that each is the same on every sheet.
    """
    columns = [_column(inputs, number, of) for number in numbers]
    return [np.concatenate(row) for row in zip(*columns, strict=True)]


def _column(inputs: Inputs, number: int, of: str) -> list[np.ndarray]:
    b, numbers = inputs.bundle, [number]
    styles = b.styles(b.w(STYLES, numbers))
    if of == "masks":
        masks = inputs.masks_of(numbers)
        assert inputs.labels is not None
        target = inputs.labels.colors[masks.numpy()]
        picture = b.from_masks(masks, styles)
    else:
        shape_w = b.w(SHAPES, numbers)
        ids, shape = b.layout(shape_w)
        target = to_uint8(b.render(shape, shape_w))
        picture = b.from_proxy(b.substitute(ids, styles), styles)
    rows = [target, to_uint8(b.sample(styles)), to_uint8(picture)]
    if inputs.judge is not None:
        rows.append(inputs.judge.labels.colors[resized_ids(inputs.judge.predict(picture)[0], b.size).numpy()])
    return rows
