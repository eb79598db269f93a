"""Differentiable augmentation of real and generated pictures for small data sets (Zhao et al. 2020, section 3.2)."""

from typing import Literal

import torch
import torch.nn.functional as F

Augmentation = Literal["color", "translation", "cutout"]


def diff_augment(x: torch.Tensor, policy: tuple[Augmentation, ...], rng: torch.Generator) -> torch.Tensor:
    """Augment pictures (B, 3, H, W) in [-1, 1] with the operations of ``policy`` (color, translation, cutout); differentiable.

    ``rng`` is a generator on the CPU, so that the result depends on its seed alone.
    """
    b, _, h, w = x.shape

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=rng).to(x.device, x.dtype)

    if "color" in policy:
        x = x + (draw(b, 1, 1, 1) - 0.5)
        mean = x.mean(dim=1, keepdim=True)
        x = (x - mean) * (draw(b, 1, 1, 1) * 2) + mean
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = (x - mean) * (draw(b, 1, 1, 1) + 0.5) + mean
    if "translation" in policy:
        reach = max(1, h // 8)
        shift = torch.randint(-reach, reach + 1, (b, 2), generator=rng)
        padded = F.pad(x, (reach,) * 4)
        rows = torch.arange(h)[None, :] + reach + shift[:, :1]
        cols = torch.arange(w)[None, :] + reach + shift[:, 1:]
        picked = padded[torch.arange(b)[:, None, None], :, rows[:, :, None].to(x.device), cols[:, None, :].to(x.device)]
        x = picked.permute(0, 3, 1, 2)
    if "cutout" in policy:
        size = h // 2
        centre = torch.randint(0, h, (b, 2), generator=rng).to(x.device)
        rows = (torch.arange(h, device=x.device)[None, :] - centre[:, :1]).abs() < size // 2
        cols = (torch.arange(w, device=x.device)[None, :] - centre[:, 1:] * w // h).abs() < size // 2
        x = x * (~(rows[:, :, None] & cols[:, None, :])).to(x.dtype)[:, None]
    return x
