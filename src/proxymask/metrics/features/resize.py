"""Resizing before a feature network. The filter changes the Frechet distance by whole points, so every number names it.

Source: Parmar, Zhang and Zhu, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation", CVPR 2022 (arXiv 2104.11222).
"""

import numpy as np
import torch
from PIL import Image


def quantized(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures (B, 3, H, W) in [-1, 1] as the 8-bit levels that a file would hold: float32 (B, 3, H, W), whole numbers in 0..255."""
    return pictures.detach().float().clamp(-1, 1).add(1).mul(127.5).round()


def _two_taps(size: int, out: int) -> torch.Tensor:
    """Weights (out, size) of linear interpolation at ``i * size / out``, edges repeated."""
    place = torch.arange(out, dtype=torch.float32) * (size / out)
    low = place.floor().long().clamp(max=size - 1)
    high = (low + 1).clamp(max=size - 1)
    share = place - low
    weights = torch.zeros(out, size)
    rows = torch.arange(out)
    weights[rows, low] += 1 - share
    weights[rows, high] += share
    return weights


def legacy_resize(levels: torch.Tensor, side: int) -> torch.Tensor:
    """Levels (B, C, H, W) to (B, C, side, side) as TensorFlow 1 did it for the first FID: bilinear, no antialiasing, corner aligned at
    the top left only."""
    rows, columns = (_two_taps(size, side).to(levels.device) for size in levels.shape[2:])
    return rows @ levels @ columns.t()


def clean_resize(levels: torch.Tensor, side: int) -> torch.Tensor:
    """Levels (B, C, H, W) to (B, C, side, side), float32 in 0..255: Pillow's antialiased bicubic on each channel as floats, clipped, not
    rounded (clean-fid's "clean")."""
    pixels = levels.detach().float().cpu().numpy()
    out = np.empty((*pixels.shape[:2], side, side), np.float32)
    for index, picture in enumerate(pixels):
        for channel, plane in enumerate(picture):
            resized = Image.fromarray(plane).resize((side, side), Image.Resampling.BICUBIC)
            out[index, channel] = np.asarray(resized).clip(0, 255)
    return torch.from_numpy(out).to(levels.device)
