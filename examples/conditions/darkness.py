"""A condition of your own: where a picture is dark. One function from pictures to planes is all it takes.

proxymask train mapper --bundle avatars --condition examples/conditions/darkness.py:darkness --out runs/darkness
proxymask bundle add runs/darkness --bundle avatars --out my-darkness
proxymask generate --bundle my-darkness --condition darkness --input shadows.png --out picture.png
"""

import torch
import torch.nn.functional as F

from proxymask.conditions import register


@register("darkness", channels=1)
def darkness(pictures: torch.Tensor) -> torch.Tensor:
    """(B, 3, R, R) in [-1, 1] -> (B, 1, R, R) in [0, 1], 1 where it is dark, in patches of 4 pixels."""
    dark = (1 - pictures.mean(dim=1, keepdim=True)) / 2
    coarse = F.avg_pool2d(dark, 4)
    return F.interpolate(coarse, size=pictures.shape[-2:], mode="nearest")
