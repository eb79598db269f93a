"""The refinement block: convolutions after the attention that correct the rearranged features (beyond the paper).

Attention gives every position a mean of features of the style sample. So it cannot draw glasses on a face without any, and neighbouring
positions whose features come from different places may not match. This block takes the rearranged features, the proxy mask and the
mean and standard deviation of the style's features, has a receptive field of about a dozen positions, and adds a correction. It starts as
the identity.

Shapes: B pictures, K clusters, h x w the size of the proxy mask, n = h * w, C = ``channels``.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .layers import EqualConv

EMBED_CHANNELS = 32  # width of the embedding of a cluster


class RefinementBlock(nn.Module):
    """``x + change(x, proxy mask, style statistics)``: a small U-Net of two resolutions, modulated by the style.

    Args:
        channels: C, of x (B, C, h, w): the rearranged features, and the accumulated RGB where that is rearranged too.
        num_clusters: K.
        hidden: width at full resolution; 1.5 times that at half resolution.
    """

    def __init__(self, channels: int, num_clusters: int, hidden: int) -> None:
        super().__init__()
        inner = hidden * 3 // 2
        self.embed = nn.Parameter(torch.randn(EMBED_CHANNELS, num_clusters))
        self.enter = EqualConv(channels + EMBED_CHANNELS, hidden)
        self.down = EqualConv(hidden, inner, stride=2)
        self.inside = nn.ModuleList([EqualConv(inner, inner), EqualConv(inner, inner)])
        self.up = EqualConv(inner, hidden)
        self.join = EqualConv(hidden, hidden)
        self.leave = EqualConv(hidden, channels, zero=True)
        # scale and shift of both resolutions, zero at the start
        self.modulation = EqualConv(2 * channels, 2 * (hidden + inner), 1, zero=True)

    def first_weights(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights of the first convolution, times its gain: (hidden, C, 3, 3) for x and (hidden, EMBED_CHANNELS, 3, 3) for the mask."""
        whole = self.enter.weight * self.enter.gain
        return whole[:, :-EMBED_CHANNELS], whole[:, -EMBED_CHANNELS:]

    def mask_features(self, mask: torch.Tensor) -> torch.Tensor:
        """Proxy mask (B, K, h, w), one-hot or soft -> its part of the first convolution's output, (B, hidden, h, w), for any style."""
        embedded = torch.einsum("bkhw,ck->bchw", mask.to(self.embed.dtype), self.embed)
        return F.conv2d(embedded, self.first_weights()[1], padding=1)

    def forward(self, x: torch.Tensor, mask_features: torch.Tensor, statistics: torch.Tensor) -> torch.Tensor:
        """Refine x.

        Args:
            x: (B, C, h, w), scaled to a mean square of about one.
            mask_features: (B, hidden, h, w), of :meth:`mask_features`.
            statistics: (B, 2 C) of the style, of :func:`style_statistics`; or a map (B, 2 C, h, w) where regions have styles of their own.

        Returns:
            (B, C, h, w).
        """
        hidden, inner = self.enter.weight.shape[0], self.down.weight.shape[0]
        scale, shift, inner_scale, inner_shift = _modulation(self.modulation, statistics.to(x.dtype), hidden, inner)
        entered = F.conv2d(x, self.first_weights()[0], self.enter.bias, padding=1) + mask_features
        fine = _act(entered * (1 + scale) + shift)
        coarse = _act(self.down(fine) * (1 + inner_scale) + inner_shift)
        coarse = coarse + _act(self.inside[1](_act(self.inside[0](coarse)))) * math.sqrt(0.5)
        up = F.interpolate(self.up(coarse), size=fine.shape[-2:], mode="nearest")
        return x + self.leave(_act(self.join((fine + up) * math.sqrt(0.5))))

    def fused(self) -> nn.Module:
        """The form for inference, see ``inference/fused.py``."""
        return FusedRefinementBlock(self)


class FusedRefinementBlock(nn.Module):
    """:class:`RefinementBlock` for inference: the gains of leaky ReLUs and of sums are multiplied into the convolutions."""

    @torch.no_grad()
    def __init__(self, block: RefinementBlock) -> None:
        super().__init__()
        two, half = math.sqrt(2), math.sqrt(0.5)
        self.embed = block.embed
        self.modulation = block.modulation.fused()
        features, embedded = block.first_weights()
        self.enter = nn.Conv2d(features.shape[1], features.shape[0], 3, padding=1)
        self.enter_mask = nn.Conv2d(embedded.shape[1], embedded.shape[0], 3, padding=1, bias=False)
        self.enter.weight.copy_(features)
        self.enter_mask.weight.copy_(embedded)
        assert self.enter.bias is not None
        assert block.enter.bias is not None
        self.enter.bias.copy_(block.enter.bias)
        # a convolution is multiplied by the gain that its input lacks, and by the one that its output would get
        self.down = _scaled(block.down, two)
        first, second = block.inside
        assert isinstance(first, EqualConv)
        assert isinstance(second, EqualConv)
        self.first, self.second = _scaled(first, two), _scaled(second, two * half, half)
        self.up = _scaled(block.up, two * half, half)
        self.join = block.join.fused()
        self.leave = _scaled(block.leave, two)

    def mask_features(self, mask: torch.Tensor) -> torch.Tensor:
        """See :meth:`RefinementBlock.mask_features`."""
        return self.enter_mask(torch.einsum("bkhw,ck->bchw", mask.to(self.embed.dtype), self.embed))

    def forward(self, x: torch.Tensor, mask_features: torch.Tensor, statistics: torch.Tensor) -> torch.Tensor:
        """See :meth:`RefinementBlock.forward`."""
        hidden, inner = self.enter.out_channels, self.down.out_channels
        scale, shift, inner_scale, inner_shift = _modulation(self.modulation, statistics.to(x.dtype), hidden, inner)
        fine = self.enter(x).add_(mask_features)
        fine = F.leaky_relu_(torch.addcmul(shift, fine, scale + 1), 0.2)
        coarse = F.leaky_relu_(torch.addcmul(inner_shift, self.down(fine), inner_scale + 1), 0.2)
        coarse = F.leaky_relu_(self.second(F.leaky_relu_(self.first(coarse), 0.2)), 0.2).add_(coarse)
        return self.leave(F.leaky_relu_(self.join(_add_upsampled(fine, self.up(coarse))), 0.2)).add_(x)


def _modulation(network: nn.Module, statistics: torch.Tensor, hidden: int, inner: int) -> list[torch.Tensor]:
    """Scale and shift at full resolution, then at half resolution, of statistics (B, 2 C) or a map of them (B, 2 C, h, w)."""
    whole = network(statistics if statistics.ndim == 4 else statistics[:, :, None, None])
    fine, coarse = whole.split([2 * hidden, 2 * inner], dim=1)
    if statistics.ndim == 4:
        height, width = statistics.shape[2:]
        coarse = F.adaptive_avg_pool2d(coarse, ((height + 1) // 2, (width + 1) // 2))
    return [*fine.chunk(2, dim=1), *coarse.chunk(2, dim=1)]


def _add_upsampled(fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
    """``fine`` (B, C, 2h, 2w) plus ``coarse`` (B, C, h, w) upsampled by nearest neighbour, without storing the upsampled grid."""
    b, c, h, w = coarse.shape
    if fine.shape[2:] != (2 * h, 2 * w):
        return F.interpolate(coarse, size=fine.shape[-2:], mode="nearest").add_(fine)
    four = fine.permute(0, 2, 3, 1).reshape(b, h, 2, w, 2, c)
    return (four + coarse.permute(0, 2, 3, 1)[:, :, None, :, None]).view(b, 2 * h, 2 * w, c).permute(0, 3, 1, 2)


def _scaled(conv: EqualConv, weight: float, bias: float = 1.0) -> nn.Conv2d:
    """The fused convolution with its weights and its bias multiplied by ``weight`` and ``bias``."""
    plain = conv.fused()
    plain.weight.mul_(weight)
    if plain.bias is not None:
        plain.bias.mul_(bias)
    return plain


def style_statistics(value: torch.Tensor) -> torch.Tensor:
    """Values of a style sample (B, n, C) -> their mean and standard deviation over the positions, (B, 2 C)."""
    value = value.float()
    return torch.cat([value.mean(dim=1), value.var(dim=1, unbiased=False).add(1e-6).sqrt()], dim=1)


def _act(x: torch.Tensor) -> torch.Tensor:
    """Leaky ReLU with gain sqrt(2)."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)
