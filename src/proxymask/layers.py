"""Small building blocks shared by the networks."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


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
