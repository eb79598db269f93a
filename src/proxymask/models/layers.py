"""Layers that several networks share: convolution with equalised learning rate, residual block, attention, position encoding.

Shapes: B pictures, C channels, H x W or h x w the size of a grid, n and m numbers of positions.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from ..core.errors import ProxymaskError

ATTENTION_ROWS = 256
"""Number of queries whose logits are in memory at once."""


class EqualConv(nn.Module):
    """Convolution with StyleGAN2's equalised learning rate, so that one learning rate suits every width: (B, C, H, W) -> (B, O, H', W').

    Args:
        size: kernel size, odd.
        dilation: distance of the kernel's taps.
        zero: weights start at zero, so that a residual branch starts as the identity.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int = 3,
        stride: int = 1,
        bias: bool = True,
        zero: bool = False,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, size, size))
        if not zero:
            nn.init.normal_(self.weight)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.gain, self.stride, self.dilation = 1 / math.sqrt(in_channels * size * size), stride, dilation
        self.padding = dilation * (size // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.conv2d(x, (self.weight * self.gain).to(x.dtype), bias, self.stride, self.padding, self.dilation)

    def fused(self) -> nn.Conv2d:
        """The same function as a plain convolution, with the gain multiplied into its weights. For inference only."""
        out, inside, size, _ = self.weight.shape
        conv = nn.Conv2d(inside, out, size, self.stride, self.padding, self.dilation, bias=self.bias is not None)
        conv.weight.copy_(self.weight * self.gain)
        if self.bias is not None and conv.bias is not None:
            conv.bias.copy_(self.bias)
        return conv


class ResidualBlock(nn.Module):
    """``x + conv(a(conv(a(... conv(x)))))`` with ``layers`` convolutions, leaky ReLU 0.2 between, the last one starting at zero.

    Source: supplement A.1, "4-layer residual blocks". Widths, kernel size and activation are not stated.

    Args:
        channels: C of x (B, C, H, W).
        hidden: width of the hidden layers.
        layers: number of convolutions, 2 or more.
        size: their kernel size.

    Raises:
        ProxymaskError: fewer than two layers.
    """

    def __init__(self, channels: int, hidden: int, layers: int = 4, size: int = 3) -> None:
        super().__init__()
        if layers < 2:
            raise ProxymaskError(f"a residual block has 2 or more layers, not {layers}")
        widths = [channels, *[hidden] * (layers - 1), channels]
        self.convs = nn.ModuleList(EqualConv(a, b, size, zero=index == layers - 1) for index, (a, b) in enumerate(pairwise(widths)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for index, conv in enumerate(self.convs):
            y = conv(y if index == 0 else F.leaky_relu(y, 0.2) * math.sqrt(2))
        return x + y

    def fused(self) -> nn.Module:
        """The form for inference: the gain of each leaky ReLU is multiplied into the next convolution."""
        return FusedResidualBlock([conv.fused() for conv in self.convs if isinstance(conv, EqualConv)])


class FusedResidualBlock(nn.Module):
    """:class:`ResidualBlock` for inference, of plain convolutions whose weights include the gains."""

    @torch.no_grad()
    def __init__(self, convs: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        for conv in convs[1:]:
            conv.weight.mul_(math.sqrt(2))
        self.convs = nn.ModuleList(convs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for index, conv in enumerate(self.convs):
            y = conv(y if index == 0 else F.leaky_relu_(y, 0.2))
        return x + y


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """``softmax(query key^T / sqrt(dim)) value``: (B, n, dim), (B, m, dim) and (B, m, C), of one dtype -> (B, n, C).

    It calls ``F.scaled_dot_product_attention``, except for bfloat16 on a CPU: there the fused kernel does not use the processor's bfloat16
    instructions, and matrix products are two to eight times as fast.
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        # one product for each sample, because bmm is slow here; blocks of rows, so that their logits stay in the cache
        scaled = query * query.shape[-1] ** -0.5
        if query.shape[0] > 1 and key.stride(0) == value.stride(0) == 0:  # one style for all masks
            return _attend_in_blocks(scaled.flatten(0, 1), key[0], value[0]).unflatten(0, query.shape[:2])
        return torch.stack([_attend_in_blocks(q, k, v) for q, k, v in zip(scaled, key, value, strict=True)])
    width, scale = value.shape[-1], query.shape[-1] ** -0.5
    # the fused kernel of the CPU needs values as wide as keys; without it attention takes twice as long
    wide = max(width, query.shape[-1])
    # no padding where none is needed, because F.pad copies
    query, key, value = (x if x.shape[-1] == wide else F.pad(x, (0, wide - x.shape[-1])) for x in (query, key, value))
    return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=scale)[:, 0, :, :width]


def _attend_in_blocks(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """:func:`attention` of one sample by matrix products: scaled query (n, dim), (m, dim) and (m, C) -> (n, C)."""
    key = key.t()
    if value.shape[1] % 16:  # products of such widths are slow; transposed, the width is that of the queries
        value = value.t()
        return torch.cat([(value @ (rows @ key).softmax(dim=-1).t()).t() for rows in query.split(ATTENTION_ROWS)])
    return torch.cat([(rows @ key).softmax(dim=-1) @ value for rows in query.split(ATTENTION_ROWS)])


def concat_channels(*grids: torch.Tensor) -> torch.Tensor:
    """Concatenate grids (B, C_i, h, w) along their channels, in channels-last memory format.

    ``torch.cat`` may choose the other format where an input is a slice of a wider tensor.
    """
    return torch.cat([grid.permute(0, 2, 3, 1) for grid in grids], dim=3).permute(0, 3, 1, 2)


def position_encoding(channels: int, height: int, width: int) -> torch.Tensor:
    """Sinusoidal position encoding of a grid, (channels, height, width), values in [-1, 1] (supplement A.1).

    A quarter of the channels each is the sine and the cosine of the row, the sine and the cosine of the column. The angular frequencies
    fall geometrically from pi / 4 to pi / size a cell.

    Raises:
        ValueError: ``channels`` is not a positive multiple of four.
    """
    if channels <= 0 or channels % 4:
        raise ValueError(f"position channels must be a positive multiple of 4, got {channels}")
    bands = channels // 4
    out = []
    for axis, size in ((0, height), (1, width)):
        highest, lowest = math.pi / 4, math.pi / size
        exponent = torch.linspace(0, 1, bands) if bands > 1 else torch.zeros(1)
        frequency = highest * (lowest / highest) ** exponent
        phase = frequency[:, None] * (torch.arange(size) + 0.5)[None, :]
        wave = torch.cat([phase.sin(), phase.cos()])
        out.append(wave[:, :, None].expand(-1, -1, width) if axis == 0 else wave[:, None, :].expand(-1, height, -1))
    return torch.cat(out).contiguous()
