"""How much each of several inputs of one picture counts at each position of the proxy mask.

Shapes: inputs of H x W pixels; proxy masks have h x w positions (cells).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from ..core.sizes import height_width

JOIN_REACH = 2.0  # cells of the proxy mask over which one condition gives way to another


def join_weights(painted: Sequence[torch.Tensor], size: int | Sequence[int]) -> torch.Tensor:
    """Weights (inputs, h, w) of several inputs, summing to one at each cell.

    A weight falls off with the distance to what is painted in the input, ``exp(-distance / JOIN_REACH)``. So an input decides alone where
    only it is painted, and inputs share what lies between and where several are painted.

    Args:
        painted: where each is painted, bool (H, W).
        size: (h, w), or h where it is square.
    """
    return (-torch.stack([distance_to(cells(where, size)) for where in painted]) / JOIN_REACH).softmax(dim=0)


def cells(painted: torch.Tensor, size: int | Sequence[int]) -> torch.Tensor:
    """Painted pixels (H, W) as cells (h, w) of ``size`` bool: a cell is painted where a pixel of it is."""
    return F.adaptive_max_pool2d(painted[None, None].float(), height_width(size))[0, 0] > 0


def distance_to(marks: torch.Tensor) -> torch.Tensor:
    """Distance in cells to the nearest mark (h, w) bool, 0 on one; half the longer side everywhere where there is none."""
    height, width = marks.shape
    at = torch.nonzero(marks).float()
    if not len(at):
        return torch.full(marks.shape, max(height, width) / 2)
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.cdist(torch.stack([ys, xs], dim=-1).reshape(-1, 2).float(), at.cpu()).amin(dim=1).view(height, width)
