"""What a person painted, as the detail networks read it.

Shapes: B inputs of H x W pixels, P planes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from ..conditions import Reading


class DetailInput(NamedTuple):
    """An input of one condition, at picture size."""

    mapper: str
    """The mapper that reads it."""
    given: torch.Tensor
    """Label ids (B, H, W), or planes (B, P, H, W), 0 to 1; B 1: for all pictures."""
    where: torch.Tensor | None = None
    """(H, W): where it was painted, with values 0 and 1; None: it counts everywhere."""


def mask_inputs(ids: np.ndarray | torch.Tensor, mapper: str = "mask") -> tuple[DetailInput, ...]:
    """Label ids (B, H, W) as what was painted."""
    return (DetailInput(mapper, ids if isinstance(ids, torch.Tensor) else torch.tensor(ids)),)


def reading_inputs(readings: Sequence[Reading], mappers: Sequence[str]) -> tuple[DetailInput, ...]:
    """Inputs of one or several conditions as what was painted; each counts where it was painted."""
    pairs = zip(readings, mappers, strict=True)
    return tuple(DetailInput(mapper, r.planes[None], None if bool(r.painted.all()) else r.painted) for r, mapper in pairs)
