"""The result of an evaluation, and the names of its numbers."""

import dataclasses
from typing import Any

import numpy as np

from ..core.errors import with_arguments
from ..imaging.labels import LabelSet

FORMAT = 1  # of metrics.json
SETS = {
    "masks": "pictures from masks",
    "proxy": "pictures from proxy masks of other samples, no mapper",
    "generator": "the frozen generator's own samples",
    "floor": "real pictures against other real pictures",
    "grid": "masks taken to the proxy grid and back",
    "real": "real pictures, segmented by the judge",
    "samples": "samples of the generator",
    "copy": "baseline a: features copied from the nearest position instead of the rearranger",
    "table": "baseline b: a table of labels instead of the mapper",
}
"""What a number was measured on, by the value of its field ``of``."""
SCORES = {
    "miou": "mIoU, pooled over all pixels",
    "accuracy": "pixel accuracy",
    "linear_gan_miou": "mIoU as LinearGAN counts it (a picture at a time, no background)",
    "boundary_f_1px": "boundary F-score at 1 pixel",
    "boundary_f_2px": "boundary F-score at 2 pixels",
}
"""The segmentation scores by key."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation."""

    about: dict[str, Any]
    """Bundle, data, judges (the main one again as ``judge``), networks, settings and versions."""
    numbers: list[dict[str, Any]]
    """Each with ``key``, ``name``, ``of`` (a key of :data:`SETS`), ``value`` (None where undefined), ``count``, ``network`` ..."""
    messages: list[str]
    """What the reader must know, such as weights that are missing, with flags of the command line, as in metrics.json and the report."""
    sheets: dict[str, list[np.ndarray]]
    """Picture sheets by title; the rows of each are (N, H, W, 3) uint8. Not in metrics.json."""
    labels: LabelSet | None

    @property
    def notes(self) -> list[str]:
        """The messages with arguments of Python in place of flags."""
        return [with_arguments(message) for message in self.messages]

    def find(self, key: str, of: str | None = None) -> dict[str, Any] | None:
        """The first number with this key, measured on this set where one is named; None where there is none."""
        return next((row for row in self.numbers if row["key"] == key and of in (None, row["of"])), None)

    def value(self, key: str, of: str | None = None) -> float:
        """Its value; NaN where it was not measured or is undefined."""
        row = self.find(key, of)
        return float("nan") if row is None or row["value"] is None else float(row["value"])


def judge_key(key: str, judge: str) -> str:
    """Key of a number of a further judge: ``miou/NAME``. The main judge's are ``miou``, as where there is one judge only."""
    return f"{key}/{judge}"


def none_if_nan(value: float) -> float | None:
    """The value as JSON can hold it: None for NaN."""
    return None if value != value else float(value)
