"""Edges and lines without weights: XDoG in plain PyTorch, Canny and Sobel from kornia (extra ``conditions``).

kornia and not scikit-image: its filters take whole batches on the device, which making pairs on the fly needs, and it asks for
nothing that is not installed anyway (PyTorch), where scikit-image works picture by picture in numpy and brings SciPy.
"""

import math

import torch
import torch.nn.functional as F

from ...core.errors import ProxymaskError


def blur(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of (B, C, H, W) with edges repeated."""
    reach = max(1, math.ceil(3 * sigma))
    at = torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype)
    weights = torch.exp(-0.5 * (at / sigma) ** 2)
    weights = weights / weights.sum()
    c = x.shape[1]
    x = F.pad(x, (reach,) * 4, mode="replicate")
    x = F.conv2d(x, weights.view(1, 1, 1, -1).expand(c, 1, 1, -1), groups=c)
    return F.conv2d(x, weights.view(1, 1, -1, 1).expand(c, 1, -1, 1), groups=c)


def xdog(pictures: torch.Tensor) -> torch.Tensor:
    """Lines as ink by the extended difference of Gaussians (Winnemöller et al. 2012), thresholded softly.

    Every colour is looked at and the strongest answer counts, because edges between colours of one brightness (skin and hair) are
    lines too. The scale grows with the picture: 0.7 pixels at 64, about what a pen would be.

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


THRESHOLD = 0.015  # differences of colour below it are the grain of generated pictures
SHARPNESS = 40.0


def sobel(pictures: torch.Tensor) -> torch.Tensor:
    """The strongest colour's gradient, soft: (B, 3, H, W) in [-1, 1] -> (B, 1, H, W) in [0, 1]."""
    magnitude = _kornia().sobel((pictures.float() + 1) / 2, normalized=True).amax(dim=1, keepdim=True)
    return torch.tanh((magnitude - 0.02).clamp(min=0) * 8)


def canny(pictures: torch.Tensor) -> torch.Tensor:
    """Canny's thin edges of the grey picture: (B, 3, H, W) in [-1, 1] -> (B, 1, H, W), 0 or 1."""
    _, edges = _kornia().canny((pictures.float() + 1) / 2, low_threshold=0.08, high_threshold=0.2, sigma=(0.8, 0.8), kernel_size=(5, 5))
    return edges


def _kornia():  # type: ignore[no-untyped-def]
    try:
        import kornia.filters
    except ImportError:
        raise ProxymaskError("Canny and Sobel come from kornia, which is not installed: pip install 'proxymask[conditions]'") from None
    return kornia.filters
