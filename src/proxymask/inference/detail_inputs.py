"""What a person painted, as the detail networks read it.

Shapes: B inputs of H x W pixels, P planes, N labels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ..conditions import Reading


class DetailInput(NamedTuple):
    """An input of one condition, at picture size."""

    mapper: str
    """The mapper that reads it."""
    planes: torch.Tensor
    """(B, P, H, W), 0 to 1; or (1, P, H, W) for all pictures."""
    where: torch.Tensor | None = None
    """(H, W): where it was painted, with values 0 and 1; None: it counts everywhere."""


def mask_inputs(ids: np.ndarray | torch.Tensor, labels: int, mapper: str = "mask") -> tuple[DetailInput, ...]:
    """Label ids (B, H, W) of ``labels`` classes as what was painted."""
    each = ids if isinstance(ids, torch.Tensor) else torch.tensor(ids)
    return (DetailInput(mapper, F.one_hot(each.long(), labels).permute(0, 3, 1, 2)),)


def reading_inputs(readings: Sequence[Reading], mappers: Sequence[str]) -> tuple[DetailInput, ...]:
    """Inputs of one or several conditions as what was painted; of several, each counts where it was painted."""
    several = len(readings) > 1
    pairs = zip(readings, mappers, strict=True)
    return tuple(DetailInput(mapper, reading.planes[None], reading.painted if several else None) for reading, mapper in pairs)
