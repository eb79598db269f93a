"""Beyond the paper: a small convolutional block that mends what the attention has moved.

Attention gives every position a mean of features that the style sample already has: it cannot draw glasses for a face without
any, and neighbours that come from different places do not know of each other. This block sees the moved features, the asked
proxy mask and a summary of the style, looks around over a dozen positions, and adds what is missing. It starts as the identity.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .layers import EqualConv

CODES = 32  # width of the learned code of an asked cluster


class RefinementBlock(nn.Module):
    """``x + change(x, asked clusters, statistics of the style)``: a U of convolutions, half of it at half resolution.

    Args:
        channels: width of x (B, channels, h, w): moved features, and the accumulated RGB where it is moved too.
        num_clusters: K.
        hidden: width inside at full resolution; one half more at half resolution.
    """

    def __init__(self, channels: int, num_clusters: int, hidden: int) -> None:
        super().__init__()
        inner = hidden * 3 // 2
        self.embed = nn.Parameter(torch.randn(CODES, num_clusters))
        self.enter = EqualConv(channels + CODES, hidden)
        self.down = EqualConv(hidden, inner, stride=2)
        self.inside = nn.ModuleList([EqualConv(inner, inner), EqualConv(inner, inner)])
        self.up = EqualConv(inner, hidden)
        self.join = EqualConv(hidden, hidden)
        self.leave = EqualConv(hidden, channels, zero=True)
        self.modulation = EqualConv(
            2 * channels, 2 * (hidden + inner), 1, zero=True
        )  # scale and shift of both resolutions, none at the start

    def entering(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights of the first convolution, gain and all: (hidden, channels, 3, 3) of x, (hidden, CODES, 3, 3) of the asked clusters."""
        whole = self.enter.weight * self.enter.gain
        return whole[:, :-CODES], whole[:, -CODES:]

    def mask_features(self, mask: torch.Tensor) -> torch.Tensor:
        """What the first convolution makes of a proxy mask (B, K, h, w), one-hot or soft: (B, hidden, h, w), the same for all styles."""
        asked = torch.einsum("bkhw,ck->bchw", mask.to(self.embed.dtype), self.embed)
        return F.conv2d(asked, self.entering()[1], padding=1)

    def forward(self, x: torch.Tensor, mask_features: torch.Tensor, statistics: torch.Tensor) -> torch.Tensor:
        """``x`` (B, channels, h, w) of unit size, ``mask_features`` (B, hidden, h, w): :meth:`mask_features`,
        ``statistics`` (B, 2 * channels) of the style (:func:`style_statistics`) -> the shape of x."""
        hidden, inner = self.enter.weight.shape[0], self.down.weight.shape[0]
        scale, shift, inner_scale, inner_shift = self.modulation(statistics[:, :, None, None].to(x.dtype)).split(
            [hidden, hidden, inner, inner], dim=1
        )
        entered = F.conv2d(x, self.entering()[0], self.enter.bias, padding=1) + mask_features
        fine = _act(entered * (1 + scale) + shift)
        coarse = _act(self.down(fine) * (1 + inner_scale) + inner_shift)
        coarse = coarse + _act(self.inside[1](_act(self.inside[0](coarse)))) * math.sqrt(0.5)
        up = F.interpolate(self.up(coarse), size=fine.shape[-2:], mode="nearest")
        return x + self.leave(_act(self.join((fine + up) * math.sqrt(0.5))))

    def fused(self) -> nn.Module:
        """For inference (:func:`layers.frozen`)."""
        return FusedRefinementBlock(self)


class FusedRefinementBlock(nn.Module):
    """:class:`RefinementBlock` for inference: a leaky ReLU's gain, and those of sums, are multiplied into the convolutions around it."""

    @torch.no_grad()
    def __init__(self, block: RefinementBlock) -> None:
        super().__init__()
        two, half = math.sqrt(2), math.sqrt(0.5)
        self.embed = block.embed
        self.modulation = block.modulation.fused()
        features, codes = block.entering()
        self.enter = nn.Conv2d(features.shape[1], features.shape[0], 3, padding=1)
        self.asked = nn.Conv2d(codes.shape[1], codes.shape[0], 3, padding=1, bias=False)
        self.enter.weight.copy_(features)
        self.asked.weight.copy_(codes)
        assert self.enter.bias is not None
        assert block.enter.bias is not None
        self.enter.bias.copy_(block.enter.bias)
        # what comes in without its gain, weights make up for; what goes out without one, the next convolution does
        self.down = _scaled(block.down, two)
        first, second = block.inside
        assert isinstance(first, EqualConv)
        assert isinstance(second, EqualConv)
        self.first, self.second = _scaled(first, two), _scaled(second, two * half, half)
        self.up = _scaled(block.up, two * half, half)
        self.join = block.join.fused()
        self.leave = _scaled(block.leave, two)

    def mask_features(self, mask: torch.Tensor) -> torch.Tensor:
        """See :meth:`RefinementBlock.told`."""
        return self.asked(torch.einsum("bkhw,ck->bchw", mask.to(self.embed.dtype), self.embed))

    def forward(self, x: torch.Tensor, mask_features: torch.Tensor, statistics: torch.Tensor) -> torch.Tensor:
        """See :meth:`RefinementBlock.forward`."""
        hidden, inner = self.enter.out_channels, self.down.out_channels
        scale, shift, inner_scale, inner_shift = self.modulation(statistics[:, :, None, None].to(x.dtype)).split(
            [hidden, hidden, inner, inner], dim=1
        )
        fine = self.enter(x).add_(mask_features)
        fine = F.leaky_relu_(torch.addcmul(shift, fine, scale + 1), 0.2)
        coarse = F.leaky_relu_(torch.addcmul(inner_shift, self.down(fine), inner_scale + 1), 0.2)
        coarse = F.leaky_relu_(self.second(F.leaky_relu_(self.first(coarse), 0.2)), 0.2).add_(coarse)
        return self.leave(F.leaky_relu_(self.join(_add_upsampled(fine, self.up(coarse))), 0.2)).add_(x)


def _add_upsampled(fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
    """``fine`` (B, C, 2h, 2w) plus each value of ``coarse`` (B, C, h, w) at its four places, without writing those out."""
    b, c, h, w = coarse.shape
    if fine.shape[2:] != (2 * h, 2 * w):
        return F.interpolate(coarse, size=fine.shape[-2:], mode="nearest").add_(fine)
    four = fine.permute(0, 2, 3, 1).reshape(b, h, 2, w, 2, c)
    return (four + coarse.permute(0, 2, 3, 1)[:, :, None, :, None]).view(b, 2 * h, 2 * w, c).permute(0, 3, 1, 2)


def _scaled(conv: EqualConv, weight: float, bias: float = 1.0) -> nn.Conv2d:
    plain = conv.fused()
    plain.weight.mul_(weight)
    if plain.bias is not None:
        plain.bias.mul_(bias)
    return plain


def style_statistics(value: torch.Tensor) -> torch.Tensor:
    """Mean and standard deviation of a style sample's values (B, n, channels) over its positions, (B, 2 * channels)."""
    value = value.float()
    return torch.cat([value.mean(dim=1), value.var(dim=1, unbiased=False).add(1e-6).sqrt()], dim=1)


def _act(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, 0.2) * math.sqrt(2)
