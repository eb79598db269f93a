"""LDC: thin edges by a lightweight dense convolutional network (Soria et al. 2022).

Written from the paper and from the shapes in the published file; source and licence are in ``SPECS``.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ...core.published_weights import read_weights
from .preprocessing import caffe_input
from .weights import fill


class _ConvNorm(nn.Module):
    """1x1 convolution and batch norm."""

    def __init__(self, fin: int, fout: int, stride: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(fin, fout, 1, stride=stride), nn.BatchNorm2d(fout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.conv(x))


class _TwoConvs(nn.Module):
    """Two 3x3 convolutions with batch norm."""

    def __init__(self, fin: int, fout: int, stride: int, last_relu: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(fin, fout, 3, stride=stride, padding=1), nn.BatchNorm2d(fout)
        self.conv2, self.bn2 = nn.Conv2d(fout, fout, 3, padding=1), nn.BatchNorm2d(fout)
        self.last_relu = last_relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(x) if self.last_relu else x


class _DenseLayer(nn.Module):
    """Two 3x3 convolutions, averaged with ``skip``."""

    def __init__(self, fin: int, fout: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(fin, fout, 3, padding=2), nn.BatchNorm2d(fout)
        self.conv2, self.norm2 = nn.Conv2d(fout, fout, 3), nn.BatchNorm2d(fout)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norm1(self.conv1(F.relu(x))))
        return 0.5 * (self.norm2(self.conv2(y)) + skip)


class _DenseBlock(nn.Module):
    """Several dense layers with the same ``skip``."""

    def __init__(self, layers: int, fin: int, fout: int) -> None:
        super().__init__()
        for number in range(layers):
            self.add_module(f"denselayer{number + 1}", _DenseLayer(fin if number == 0 else fout, fout))

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        for layer in self.children():
            x = layer(x, skip)
        return x


class _Upsample(nn.Module):
    """Upsampling by 2^``times`` with transposed convolutions, to one channel."""

    def __init__(self, fin: int, times: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(times):
            fout = 1 if number == times - 1 else 16
            size = 2**times
            layers += [nn.Conv2d(fin, fout, 1), nn.ReLU(), nn.ConvTranspose2d(fout, fout, size, stride=2, padding=size // 2 - 1)]
            fin = fout
        self.features = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.features(x)


class _Fuse(nn.Module):
    """Weighted sum of the side outputs, with weights by attention (the paper's CoFusion)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv3 = nn.Conv2d(4, 32, 3, padding=1), nn.Conv2d(32, 4, 3, padding=1)
        self.norm_layer1 = nn.GroupNorm(4, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.conv3(F.relu(self.norm_layer1(self.conv1(x)))).softmax(dim=1)
        return (x * weight).sum(dim=1, keepdim=True)


class LDC(nn.Module):
    """Lightweight dense CNN for edges (Soria et al. 2022), the variant with four blocks.

    (B, 3, h, w) in [0, 1], h and w multiples of 8 -> (B, 1, h, w) in [0, 1].
    """

    def __init__(self) -> None:
        super().__init__()
        self.block_1, self.block_2 = _TwoConvs(3, 16, 2, True), _TwoConvs(16, 32, 1, False)
        self.dblock_3, self.dblock_4 = _DenseBlock(2, 32, 64), _DenseBlock(3, 64, 96)
        self.side_1, self.side_2 = _ConvNorm(16, 32, 2), _ConvNorm(32, 64, 2)
        self.pre_dense_2, self.pre_dense_3, self.pre_dense_4 = _ConvNorm(32, 64, 2), _ConvNorm(32, 64, 1), _ConvNorm(64, 96, 1)
        self.up_block_1, self.up_block_2 = _Upsample(16, 1), _Upsample(32, 1)
        self.up_block_3, self.up_block_4 = _Upsample(64, 2), _Upsample(96, 3)
        self.block_cat = _Fuse()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one = self.block_1(caffe_input(x))
        two = self.block_2(one)
        half = F.max_pool2d(two, 3, 2, 1)
        joined = half + self.side_1(one)
        three = self.dblock_3(joined, self.pre_dense_3(half))
        quarter = F.max_pool2d(three, 3, 2, 1)
        four = self.dblock_4(quarter + self.side_2(joined), self.pre_dense_4(quarter + self.pre_dense_2(half)))
        sides = [self.up_block_1(one), self.up_block_2(two), self.up_block_3(three), self.up_block_4(four)]
        return torch.sigmoid(self.block_cat(torch.cat(sides, dim=1)))


def load_ldc(path: Path) -> LDC:
    """LDC from its published checkpoint; a :class:`ProxymaskError` where the file does not fit."""
    net = LDC()
    fill(net, read_weights(path), path)
    return net
