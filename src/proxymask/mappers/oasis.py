"""The mapper for masks: the OASIS generator (Sushko et al. 2021) without its noise, at proxy size (supplement A.1).

Written from the paper's description: SPADE residual blocks with spectral norm on their convolutions and batch norm
without parameters inside SPADE; the output is logits over clusters instead of a picture.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ..errors import ProxymaskError
from ..modeling import ConfigModel
from ..sizes import START, block_size, check_start, height_width, short_text

Resize = Literal["nearest", "area"]


class PlainBatchNorm(nn.Module):
    """Batch norm without parameters whose batch statistics span all processes.

    PyTorch's SyncBatchNorm has no CPU path; this one runs everywhere, because two small all-reduces that autograd
    follows are all it takes.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            mean, var = self.running_mean, self.running_var
        else:
            mean = _over_processes(x.float().mean(dim=(0, 2, 3)))
            var = _over_processes((x.float() - mean[None, :, None, None]).square().mean(dim=(0, 2, 3)))
            with torch.no_grad():
                count = x.numel() // x.shape[1] * (dist.get_world_size() if dist.is_initialized() else 1)
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * (count / max(count - 1, 1)), self.momentum)  # unbiased, as in PyTorch
        scale = (var + self.eps).rsqrt()
        return ((x.float() - mean[None, :, None, None]) * scale[None, :, None, None]).to(x.dtype)


class _SumOverProcesses(torch.autograd.Function):
    """A sum over all processes; the gradient of one share is the sum of the gradients that all processes ask of it."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        total = grads[0].clone()
        dist.all_reduce(total)
        return total


def _over_processes(value: torch.Tensor) -> torch.Tensor:
    """The mean of ``value`` over all processes; autograd follows."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        return _SumOverProcesses.apply(value) / dist.get_world_size()
    return value


class Spade(nn.Module):
    """Spatially adaptive normalisation: ``norm(x) * (1 + gamma(mask)) + beta(mask)``."""

    def __init__(self, channels: int, num_labels: int, hidden: int) -> None:
        super().__init__()
        self.norm = PlainBatchNorm(channels)
        self.shared = nn.Conv2d(num_labels, hidden, 3, padding=1)
        self.gamma_beta = nn.Conv2d(hidden, 2 * channels, 3, padding=1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        gamma, beta = self.gamma_beta(F.relu(self.shared(mask))).chunk(2, dim=1)
        return self.norm(x) * (1 + gamma) + beta


class SpadeBlock(nn.Module):
    """SPADE residual block (Park et al. 2019) with spectral norm."""

    def __init__(self, in_channels: int, out_channels: int, num_labels: int, hidden: int) -> None:
        super().__init__()
        middle = min(in_channels, out_channels)
        self.norm0, self.norm1 = Spade(in_channels, num_labels, hidden), Spade(middle, num_labels, hidden)
        self.conv0 = spectral_norm(nn.Conv2d(in_channels, middle, 3, padding=1))
        self.conv1 = spectral_norm(nn.Conv2d(middle, out_channels, 3, padding=1))
        self.shortcut = None
        if in_channels != out_channels:
            self.norm_s = Spade(in_channels, num_labels, hidden)
            self.shortcut = spectral_norm(nn.Conv2d(in_channels, out_channels, 1, bias=False))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        skip = x if self.shortcut is None else self.shortcut(self.norm_s(x, mask))
        x = self.conv0(F.leaky_relu(self.norm0(x, mask), 0.2))
        return skip + self.conv1(F.leaky_relu(self.norm1(x, mask), 0.2))


class OasisMapper(ConfigModel):
    """Semantic mask -> proxy-mask logits.

    Args:
        num_labels: classes of the mask.
        num_clusters: K.
        resolution: r, side of the proxy mask; it is 2^(blocks - 1) times the size that the network begins at.
        widths: channels at the start and after each block, len(blocks) + 1 numbers (OASIS: 1024, 1024, 1024, 512, 256, ...).
        hidden: width inside SPADE (OASIS: 128).
        resize: how the mask's one-hot planes are brought to each block's size: "nearest" as published, or "area", which
            keeps the share of a cell that a thin part covers.
        start: the generator's start block; the proxy mask is ``r / 4`` times that (h, w) large.
    """

    def __init__(
        self,
        num_labels: int = 19,
        num_clusters: int = 25,
        resolution: int = 64,
        widths: Sequence[int] = (1024, 1024, 1024, 512, 256),
        hidden: int = 128,
        resize: Resize = "nearest",
        start: Sequence[int] = START,
    ) -> None:
        super().__init__()
        blocks = len(widths) - 1
        self.start, self.size = check_start(start), block_size(resolution, start)
        if blocks < 1 or any(side % 2 ** (blocks - 1) for side in self.size):
            size = short_text(self.size)
            raise ProxymaskError(f"{len(widths)} widths do not fit a proxy mask of {size}: too many halvings, give fewer --widths")
        self.num_labels, self.resolution, self.resize = num_labels, resolution, resize
        self.first = (self.size[0] // 2 ** (blocks - 1), self.size[1] // 2 ** (blocks - 1))
        self.head = nn.Conv2d(num_labels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(SpadeBlock(a, b, num_labels, hidden) for a, b in pairwise(widths))
        self.tail = nn.Conv2d(widths[-1], num_clusters, 3, padding=1)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.xavier_normal_(parameter, gain=1.0 if name.startswith("tail") else 0.02)

    def at(self, mask: torch.Tensor, size: int | Sequence[int]) -> torch.Tensor:
        """One-hot planes (B, N, H, W) at ``size``, a side or (height, width)."""
        size = height_width(size)
        if mask.shape[-2:] == size:
            return mask
        if self.resize == "area" and mask.shape[-1] > size[1]:
            return F.adaptive_avg_pool2d(mask, size)
        return F.interpolate(mask, size=size, mode="nearest-exact")

    def forward(self, mask: torch.Tensor) -> torch.Tensor:
        """Ids (B, H, W) int64 or planes (B, num_labels, H, W) of any size from r up -> logits (B, K, h, w)."""
        planes = F.one_hot(mask, self.num_labels).permute(0, 3, 1, 2).float() if mask.ndim == 3 else mask
        x = self.head(self.at(planes, self.first))
        for index, block in enumerate(self.blocks):
            if index:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = block(x, self.at(planes, x.shape[-2:]))
        return self.tail(F.leaky_relu(x, 0.2))
