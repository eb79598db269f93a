"""Augmentations that imitate drawings by hand: thicker, missing and displaced strokes. For training and for measuring robustness.

All but :func:`recolour` take planes (B, C, H, W) in [0, 1], and a strength for each sample, (B, 1, 1, 1) on the CPU. ``rng`` is a CPU
generator.
"""

import torch
import torch.nn.functional as F


def chance(rng: torch.Generator, count: int, probability: float) -> torch.Tensor:
    """(count, 1, 1, 1): 1 with ``probability``, else 0."""
    return (torch.rand(count, 1, 1, 1, generator=rng) < probability).float()


def uniform(rng: torch.Generator, count: int, low: float, high: float) -> torch.Tensor:
    """(count, 1, 1, 1), uniform from ``low`` to ``high``."""
    return torch.rand(count, 1, 1, 1, generator=rng) * (high - low) + low


def thicken(planes: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
    """Widen strokes by ``extra`` pixels, rounded (0 to 4)."""
    out, wide = planes, planes
    extra = extra.to(planes.device)
    for step in range(1, int(extra.max().round()) + 1):
        ahead = (step % 2, 1 - step % 2)  # to the right and down, then to the left and up: the stroke stays in its place
        wide = F.max_pool2d(F.pad(wide, (*ahead, *ahead)), 2, stride=1)
        out = torch.where(extra.round() >= step, wide, out)
    return out


def remove(planes: torch.Tensor, share: torch.Tensor, rng: torch.Generator, cells: int = 8) -> torch.Tensor:
    """Erase smooth random patches that cover ``share`` (0 to 1) of each sample. ``cells``: patches are about 1 / cells of the side wide."""
    noise = torch.randn(len(planes), 1, cells, cells, generator=rng)
    field = F.interpolate(noise, size=planes.shape[-2:], mode="bilinear", align_corners=True)
    ranks = field.flatten(1).argsort(dim=1).argsort(dim=1).view_as(field) / (field[0].numel())
    return planes * (ranks >= share).to(planes.device, planes.dtype)


def jitter(planes: torch.Tensor, pixels: torch.Tensor, rng: torch.Generator, mode: str = "bilinear") -> torch.Tensor:
    """Warp smoothly: displacements of ``pixels`` (root mean square of each axis)."""
    b, _, h, w = planes.shape
    coarse = torch.randn(b, 2, 5, 5, generator=rng)
    field = F.interpolate(coarse, size=(h, w), mode="bicubic", align_corners=True)
    field = field / field.square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp(min=1e-6) * pixels
    ys, xs = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    at = torch.stack([(xs + field[:, 0] + 0.5) * 2 / w - 1, (ys + field[:, 1] + 0.5) * 2 / h - 1], dim=-1)
    return F.grid_sample(planes, at.to(planes), mode=mode, padding_mode="border", align_corners=False)


def soften(planes: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    """Blend with a binomial blur by ``amount`` (0 to 1)."""
    y = F.pad(planes, (1, 1, 1, 1), mode="replicate")
    y = (y[..., :-2] + 2 * y[..., 1:-1] + y[..., 2:]) / 4
    y = (y[:, :, :-2] + 2 * y[:, :, 1:-1] + y[:, :, 2:]) / 4
    return torch.lerp(planes, y, amount.to(planes))


def recolour(pictures: torch.Tensor, which: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Pictures (B, 3, H, W) in [-1, 1] -> greyscale with random weights of red, green and blue where ``which`` is 1.

    Then it is random which of two neighbouring regions is darker, so lines extracted from the pictures depend on shapes and not on
    colours. Some weights make some edges vanish, as in careless drawings.
    """
    b = len(pictures)
    weights = torch.randn(b, 3, 1, 1, generator=rng) * 0.6 + 1 / 3
    depth = uniform(rng, b, 0.6, 1.0)
    grey = (pictures * weights.to(pictures)).sum(dim=1, keepdim=True)
    low, high = grey.amin(dim=(2, 3), keepdim=True), grey.amax(dim=(2, 3), keepdim=True)
    grey = ((grey - low) / (high - low).clamp_min(1e-3) * 2 - 1) * depth.to(pictures)
    return torch.where(which.to(pictures.device) > 0.5, grey, pictures)


def blank_half(planes: torch.Tensor, which: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Erase one side of a random line through the middle third where ``which`` is 1."""
    b, _, h, w = planes.shape
    angle = torch.rand(b, 1, 1, 1, generator=rng) * 2 * torch.pi
    offset = (torch.rand(b, 1, 1, 1, generator=rng) - 0.5) * 0.7
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    keep = (xs * torch.cos(angle) + ys * torch.sin(angle) < offset + 0.3) | (which < 0.5)
    return planes * keep.to(planes)
