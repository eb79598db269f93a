"""Small building blocks shared by the networks."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

ATTENTION_ROWS = 256
"""Queries whose logits stand in memory at once."""


class EqualConv(nn.Module):
    """Convolution with StyleGAN2's equalised learning rate, so that Adam at 0.002 suits every width.

    ``zero`` starts the weights at zero (a residual branch that begins as the identity).
    """

    def __init__(self, in_channels: int, out_channels: int, size: int = 3, stride: int = 1, bias: bool = True, zero: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, size, size))
        if not zero:
            nn.init.normal_(self.weight)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.gain, self.stride = 1 / math.sqrt(in_channels * size * size), stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.conv2d(x, (self.weight * self.gain).to(x.dtype), bias, self.stride, self.weight.shape[-1] // 2)

    def fused(self) -> nn.Conv2d:
        """The same as a plain convolution, the gain multiplied into its weights; for inference alone."""
        out, inside, size, _ = self.weight.shape
        conv = nn.Conv2d(inside, out, size, self.stride, size // 2, bias=self.bias is not None)
        conv.weight.copy_(self.weight * self.gain)
        if self.bias is not None and conv.bias is not None:
            conv.bias.copy_(self.bias)
        return conv


class ResidualBlock(nn.Module):
    """``x + conv(a(conv(a(... conv(x)))))`` with ``layers`` convolutions, leaky ReLU 0.2 between, the last one starting at zero.

    Supplement A.1: "4-layer residual blocks"; widths, kernel size and activation are stated nowhere.

    Args:
        channels: width of x (B, channels, H, W).
        hidden: width inside.
        layers: number of convolutions, 2 or more.
        size: their kernel size.
    """

    def __init__(self, channels: int, hidden: int, layers: int = 4, size: int = 3) -> None:
        super().__init__()
        widths = [channels, *[hidden] * (layers - 1), channels]
        self.convs = nn.ModuleList(EqualConv(a, b, size, zero=index == layers - 1) for index, (a, b) in enumerate(pairwise(widths)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for index, conv in enumerate(self.convs):
            y = conv(y if index == 0 else F.leaky_relu(y, 0.2) * math.sqrt(2))
        return x + y

    def fused(self) -> nn.Module:
        """For inference: the gain of the leaky ReLU multiplied into the convolution behind it."""
        return FusedResidualBlock([conv.fused() for conv in self.convs if isinstance(conv, EqualConv)])


class FusedResidualBlock(nn.Module):
    """:class:`ResidualBlock` of plain convolutions that hold their own gains."""

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
    """``softmax(query key^T / sqrt(dim)) value``: (B, n, dim), (B, m, dim) and (B, m, c), of one type -> (B, n, c).

    ``F.scaled_dot_product_attention``, except in bfloat16 on a CPU: its fused kernel multiplies there without the processor's own
    bfloat16 instructions, and plain products are two to eight times as fast.
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        # a product by itself: many at once (bmm) take a slow road; so many rows that their logits stay in the cache
        scaled = query * query.shape[-1] ** -0.5
        if query.shape[0] > 1 and key.stride(0) == value.stride(0) == 0:  # one style for all masks
            return _written_out(scaled.flatten(0, 1), key[0], value[0]).unflatten(0, query.shape[:2])
        return torch.stack([_written_out(q, k, v) for q, k, v in zip(scaled, key, value, strict=True)])
    width, scale = value.shape[-1], query.shape[-1] ** -0.5
    # the CPU's fused kernel takes values as wide as keys only; without it attention costs twice as much
    wide = max(width, query.shape[-1])
    # padded by nothing, a tensor would be copied
    query, key, value = (x if x.shape[-1] == wide else F.pad(x, (0, wide - x.shape[-1])) for x in (query, key, value))
    return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=scale)[:, 0, :, :width]


def _written_out(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The same of one sample, (n, dim), (m, dim) and (m, c), with ``query`` already scaled."""
    key = key.t()
    if value.shape[1] % 16:  # a product of such a width takes a slow road; turned round, its width is that of the queries
        value = value.t()
        return torch.cat([(value @ (rows @ key).softmax(dim=-1).t()).t() for rows in query.split(ATTENTION_ROWS)])
    return torch.cat([(rows @ key).softmax(dim=-1) @ value for rows in query.split(ATTENTION_ROWS)])


def concat_channels(*grids: torch.Tensor) -> torch.Tensor:
    """Channels of grids (B, C, h, w) behind each other, channels last in memory, as the convolutions take them; ``torch.cat`` alone may
    choose the other order where one of them is a part of something wider."""
    return torch.cat([grid.permute(0, 2, 3, 1) for grid in grids], dim=3).permute(0, 3, 1, 2)


def position_encoding(channels: int, height: int, width: int) -> torch.Tensor:
    """Fixed two-dimensional sinusoidal encoding (channels, height, width), values in [-1, 1].

    A quarter of the channels each: sine and cosine of the row, sine and cosine of the column, at frequencies that
    fall geometrically from half the sampling rate's square root to one period over twice the picture.

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
