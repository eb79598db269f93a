"""Edges and lines without weights: XDoG in plain PyTorch, Canny and Sobel from kornia (extra ``conditions``).

kornia's filters run on batches on the device and need only PyTorch. scikit-image works on single pictures in numpy and needs SciPy.

Shapes: B pictures, C channels, H x W their size.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F

from ...core.errors import ProxymaskError

THRESHOLD = 0.015  # of XDoG; smaller differences of colour are the noise of generated pictures
SHARPNESS = 40.0  # of XDoG


def blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of (B, C, H, W) with replicated borders."""
    radius = max(1, math.ceil(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights = weights / weights.sum()
    c = x.shape[1]
    x = F.pad(x, (radius,) * 4, mode="replicate")
    x = F.conv2d(x, weights.view(1, 1, 1, -1).expand(c, 1, 1, -1), groups=c)
    return F.conv2d(x, weights.view(1, 1, -1, 1).expand(c, 1, -1, 1), groups=c)


def xdog(pictures: torch.Tensor) -> torch.Tensor:
    """Lines by the extended difference of Gaussians (Winnemöller et al. 2012) with a soft threshold.

    It is the maximum over red, green and blue, because edges between colours of equal brightness (skin and hair) are lines too. The scale
    grows with the picture from 0.7 pixels at 64 pixels, about the width of a pen.

    Args:
        pictures: (B, 3, H, W) in [-1, 1].

    Returns:
        (B, 1, H, W), 0 paper to 1 ink.
    """
    x = (pictures.float() + 1) / 2
    sigma = 0.7 * max(1.0, min(x.shape[-2:]) / 64) ** 0.5
    difference = blur(x, sigma) - blur(x, 1.6 * sigma)
    ink = torch.tanh((-difference - THRESHOLD).clamp(min=0) * SHARPNESS)  # the dark side of an edge
    return ink.amax(dim=1, keepdim=True)


def sobel(pictures: torch.Tensor) -> torch.Tensor:
    """Gradient magnitude, maximum over red, green and blue: (B, 3, H, W) in [-1, 1] -> (B, 1, H, W) in [0, 1]."""
    magnitude = kornia_filters().sobel((pictures.float() + 1) / 2, normalized=True).amax(dim=1, keepdim=True)
    return torch.tanh((magnitude - 0.02).clamp(min=0) * 8)


def canny(pictures: torch.Tensor) -> torch.Tensor:
    """Thin edges of the grey picture: (B, 3, H, W) in [-1, 1] -> (B, 1, H, W), 0 or 1."""
    _, edges = kornia_filters().canny(
        (pictures.float() + 1) / 2, low_threshold=0.08, high_threshold=0.2, sigma=(0.8, 0.8), kernel_size=(5, 5)
    )
    return edges


def kornia_filters() -> Any:
    """The module ``kornia.filters``; a :class:`ProxymaskError` where kornia is not installed."""
    try:
        import kornia.filters
    except ImportError:
        raise ProxymaskError("canny and sobel need kornia, which is not installed: pip install 'proxymask[conditions]'") from None
    return kornia.filters
