"""The mapper for masks: the OASIS generator (Sushko et al. 2021) without its noise, at the size of the proxy mask (supplement A.1).

Written from the paper's description: SPADE residual blocks with spectral norm on their convolutions and batch norm without parameters
inside SPADE. The output is logits over clusters instead of a picture.

Shapes: B masks, N labels, K clusters, H x W the size of the mask, h x w that of the proxy mask.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, TypeGuard

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from ..core.sizes import START, block_size, check_start, height_width, short_text
from .label_prior import clusters_by_label, label_prior, prior_at

Resize = Literal["nearest", "area"]
COUNTS = ("cluster_counts", "counted")  # buffers of the label prior


class PlainBatchNorm(nn.Module):
    """Batch norm without parameters, (B, C, h, w) -> (B, C, h, w), with batch statistics over all processes.

    PyTorch's SyncBatchNorm does not run on CPUs; this one runs everywhere. It needs two small all-reduces, through which autograd goes.
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
    """Sum over all processes. The gradient of a summand is the sum of the gradients of all processes."""

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
    """The mean of ``value`` over all processes, with a gradient."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        return _SumOverProcesses.apply(value) / dist.get_world_size()
    return value


class Spade(nn.Module):
    """Spatially adaptive normalisation of x (B, C, h, w) by a mask (B, N, h, w): ``norm(x) * (1 + gamma(mask)) + beta(mask)``."""

    def __init__(self, channels: int, num_labels: int, hidden: int) -> None:
        super().__init__()
        self.norm = PlainBatchNorm(channels)
        self.shared = nn.Conv2d(num_labels, hidden, 3, padding=1)
        self.gamma_beta = nn.Conv2d(hidden, 2 * channels, 3, padding=1)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        gamma, beta = self.gamma_beta(F.relu(self.shared(mask))).chunk(2, dim=1)
        return self.norm(x) * (1 + gamma) + beta

    @torch.no_grad()
    def factor_and_shift(self) -> nn.Conv2d:
        """For inference, when the norm's statistics are constant: the convolution from the hidden features to ``factor`` and ``shift``,
        concatenated, with ``norm(x) * (1 + gamma) + beta = x * factor + shift``."""
        mean, scale = self.norm.running_mean, (self.norm.running_var + self.norm.eps).rsqrt()
        gamma, beta = self.gamma_beta.weight.chunk(2)
        conv = nn.Conv2d(gamma.shape[1], 2 * gamma.shape[0], 3, padding=1)
        assert self.gamma_beta.bias is not None
        assert conv.bias is not None
        gamma_bias, beta_bias = self.gamma_beta.bias.chunk(2)
        gamma, gamma_bias = gamma * scale[:, None, None, None], (1 + gamma_bias) * scale
        conv.weight.copy_(torch.cat([gamma, beta - gamma * mean[:, None, None, None]]))
        conv.bias.copy_(torch.cat([gamma_bias, beta_bias - gamma_bias * mean]))
        return conv


class SpadeBlock(nn.Module):
    """SPADE residual block (Park et al. 2019) with spectral norm: x (B, I, h, w), mask (B, N, h, w) -> (B, O, h, w)."""

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

    def fused(self) -> nn.Module:
        """The form for inference, see ``inference/fused.py``."""
        return FusedSpadeBlock(self)


class FusedSpadeBlock(nn.Module):
    """:class:`SpadeBlock` for inference: the weights include the statistics of the norms; one convolution reads the mask for all norms."""

    @torch.no_grad()
    def __init__(self, block: SpadeBlock) -> None:
        super().__init__()
        norms = [block.norm0, block.norm1] if block.shortcut is None else [block.norm0, block.norm1, block.norm_s]
        first = norms[0].shared
        self.hidden = first.out_channels
        self.shared = nn.Conv2d(first.in_channels, self.hidden * len(norms), 3, padding=1)
        self.shared.weight.copy_(torch.cat([norm.shared.weight for norm in norms]))
        assert self.shared.bias is not None
        self.shared.bias.copy_(torch.cat([norm.shared.bias for norm in norms if norm.shared.bias is not None]))
        self.modulations = nn.ModuleList(norm.factor_and_shift() for norm in norms)
        self.conv0, self.conv1, self.shortcut = block.conv0, block.conv1, block.shortcut

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = F.relu_(self.shared(mask)).split(self.hidden, dim=1)

        def modulated(x: torch.Tensor, index: int) -> torch.Tensor:
            factor, shift = self.modulations[index](hidden[index]).chunk(2, dim=1)
            return torch.addcmul(shift, x.to(factor.dtype), factor)

        skip = x if self.shortcut is None else self.shortcut(modulated(x, 2))
        x = self.conv0(F.leaky_relu_(modulated(x, 0), 0.2))
        return skip + self.conv1(F.leaky_relu_(modulated(x, 1), 0.2))


def has_label_prior(mapper: nn.Module) -> TypeGuard["OasisMapper"]:
    """Whether it is a mapper of masks with a label prior."""
    return isinstance(mapper, OasisMapper) and mapper.label_prior


def _shrink(planes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Means over areas of planes (B, N, H, W), at another size."""
    times, rest = divmod(planes.shape[-1], size[1])
    whole = not rest and planes.shape[-2] == size[0] * times
    return F.avg_pool2d(planes, times) if whole else F.adaptive_avg_pool2d(planes, size)  # the same; the first is faster


class OasisMapper(ConfigModel):
    """Semantic mask -> logits of the proxy mask (B, K, h, w).

    Args:
        num_labels: N.
        num_clusters: K.
        resolution: r, side of the proxy mask, 2^(blocks - 1) times the size of the first block.
        widths: channels at the start and after each block, one number more than blocks (OASIS: 1024, 1024, 1024, 512, 256, ...).
        hidden: width of SPADE's hidden layer (OASIS: 128).
        resize: how the one-hot mask is resized to each block: "nearest", as OASIS does (here the pixel in the middle of a cell,
            there the first one), or "area", which keeps thin parts as a share of a cell.
        start: (height, width) of the generator's first block; (h, w) is ``r / 4`` times that.
        tail: kernel size of the last convolution, odd (OASIS: 3).
        label_prior: with the counts that :mod:`.label_prior` needs (beyond the paper).

    Buffers, with ``label_prior``:
        ``cluster_counts`` (K, N), positions of each cluster under each label in a sample, the mean over those counted;
        ``counted`` (), samples that were counted.
    """

    cluster_counts: torch.Tensor
    counted: torch.Tensor

    def __init__(
        self,
        num_labels: int = 19,
        num_clusters: int = 25,
        resolution: int = 64,
        widths: Sequence[int] = (1024, 1024, 1024, 512, 256),
        hidden: int = 128,
        resize: Resize = "nearest",
        start: Sequence[int] = START,
        tail: int = 3,
        label_prior: bool = False,
    ) -> None:
        super().__init__()
        blocks = len(widths) - 1
        if tail < 1 or tail % 2 == 0:
            raise ProxymaskError(f"the last convolution cannot be {tail} wide: an odd size")
        self.start, self.size = check_start(start), block_size(resolution, start)
        if blocks < 1 or any(side % 2 ** (blocks - 1) for side in self.size):
            size = short_text(self.size)
            what = "two at least, give more" if blocks < 1 else "too many halvings, give fewer"
            raise ProxymaskError(f"--widths: {len(widths)} do not fit a proxy mask of {size}: {what}")
        self.num_labels, self.resolution, self.resize, self.label_prior = num_labels, resolution, resize, label_prior
        self.first = (self.size[0] // 2 ** (blocks - 1), self.size[1] // 2 ** (blocks - 1))
        self.head = nn.Conv2d(num_labels, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(SpadeBlock(a, b, num_labels, hidden) for a, b in pairwise(widths))
        self.tail = nn.Conv2d(widths[-1], num_clusters, tail, padding=tail // 2)
        if label_prior:
            self.register_buffer("cluster_counts", torch.zeros(num_clusters, num_labels))
            self.register_buffer("counted", torch.zeros((), dtype=torch.int64))
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.xavier_normal_(parameter, gain=1.0 if name.startswith("tail") else 0.02)

    @torch.no_grad()
    def count(self, proxy: torch.Tensor, labels: torch.Tensor) -> None:
        """Count samples, of all processes: their proxy masks (B, h, w) and labels (B, H, W)."""
        new = _over_processes(clusters_by_label(proxy, labels, *self.cluster_counts.shape).mean(dim=0))
        samples = len(proxy) * (dist.get_world_size() if dist.is_initialized() else 1)
        self.counted += samples
        self.cluster_counts += (new - self.cluster_counts) * (samples / self.counted)

    def style_prior(self, counts: torch.Tensor, mask: torch.Tensor, exponent: float = 1.0) -> torch.Tensor:
        """What a style adds to the logits of masks, (B, K, h, w) float32.

        Args:
            counts: (B, K, N), :func:`clusters_by_label` of the style samples.
            mask: as in :meth:`forward`.
            exponent: by which it is multiplied; :data:`~proxymask.models.label_prior.PICTURE_EXPONENT` in pictures.
        """
        with torch.autocast(mask.device.type, enabled=False):
            return prior_at(exponent * label_prior(counts.float(), self.cluster_counts), self.label_shares(mask))

    def label_shares(self, mask: torch.Tensor) -> torch.Tensor:
        """Share of each label at every position of the proxy mask, (B, N, h, w) float32; ``mask`` as in :meth:`forward`."""
        return _shrink((self.planes(mask.long()) if mask.ndim == 3 else mask).float(), self.size)

    def resize_planes(self, mask: torch.Tensor, size: int | Sequence[int]) -> torch.Tensor:
        """Resize one-hot planes (B, N, H, W) to ``size``, a side or (height, width)."""
        size = height_width(size)
        if mask.shape[-2:] == size:
            return mask
        if self.resize == "area" and mask.shape[-1] > size[1]:
            return _shrink(mask, size)
        return F.interpolate(mask, size=size, mode="nearest-exact")

    def _to_conv_format(self, planes: torch.Tensor) -> torch.Tensor:
        """In inference: the planes in the dtype and memory format of the convolutions, converted once for all of them."""
        return planes if self.training else planes.to(dtype=self.head.weight.dtype, memory_format=torch.channels_last)

    def planes(self, ids: torch.Tensor) -> torch.Tensor:
        """Ids (B, H, W) -> one-hot planes (B, N, H, W) in the dtype of the weights, channels last; faster than ``F.one_hot``."""
        rows = torch.eye(self.num_labels, device=ids.device, dtype=self.head.weight.dtype)
        return F.embedding(ids, rows).permute(0, 3, 1, 2)

    def forward(self, mask: torch.Tensor) -> torch.Tensor:
        """Ids (B, H, W) int64 or one-hot planes (B, N, H, W), not smaller than (h, w) -> logits (B, K, h, w)."""
        planes = self.planes(mask) if mask.ndim == 3 else mask
        if self.resize == "area" and planes.shape[-2:] == (2 * self.size[0], 2 * self.size[1]):
            planes = self.resize_planes(planes, self.size)  # the same result, because the means of 2 x 2 pixels have the same mean; faster
        x = self.head(self._to_conv_format(self.resize_planes(planes, self.first)))
        for index, block in enumerate(self.blocks):
            if index:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = block(x, self._to_conv_format(self.resize_planes(planes, x.shape[-2:])))
        return self.tail(F.leaky_relu(x, 0.2))
