"""Two small semantic segmentation networks of different design, so that they make different mistakes.

:class:`UNetSegmenter` is the pseudo-label network: it labels generated samples, from which mappers learn. :class:`DilatedSegmenter` is the
judge: it scores results. A judge of the same design would accept what the pseudo-label network gets wrong. A second judge, which reads
larger pictures, is a U-Net nevertheless: two designs find more than one. Both use GroupNorm, so the result for a picture does not depend on
the others in its batch. Both have a path at full resolution, because eyes, eyebrows and mouths are 1 to 3 pixels thick at 64 x 64.

Shapes: B pictures, N classes, H x W the size of the pictures.
"""

from abc import ABC, abstractmethod
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError


def _check_input(x: torch.Tensor, multiple: int) -> None:
    if x.dim() != 4 or x.shape[1] != 3 or x.shape[2] % multiple or x.shape[3] % multiple:
        raise ProxymaskError(f"pictures have shape {tuple(x.shape)}, not (B, 3, H, W) with H and W multiples of {multiple}: resize them")


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(next(g for g in (8, 4, 2, 1) if channels % g == 0), channels)


class SegmentationNet(ConfigModel, ABC):
    """A segmentation network whose activations can serve as features of pictures."""

    head: nn.Conv2d

    @abstractmethod
    def feature_maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Pictures (B, 3, H, W) in [-1, 1] -> feature maps, from the last of which the head makes the logits."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] -> logits (B, N, H, W). Raises :class:`ProxymaskError` on a size that does not fit."""
        return self.head(self.feature_maps(x)[-1])

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] -> features (B, D), float32: mean and standard deviation over the positions of each channel of
        :meth:`feature_maps`; for a :class:`DilatedSegmenter` D = 288 at the default width.

        Only features of pictures of one size can be compared. Raises :class:`ProxymaskError` on a size that does not fit.
        """
        return self.pooled(self.feature_maps(x))

    @staticmethod
    def pooled(maps: list[torch.Tensor]) -> torch.Tensor:
        """:meth:`features` of the result of :meth:`feature_maps`."""
        found = []
        for m in (m.float() for m in maps):
            mean = m.mean((2, 3), keepdim=True)
            found += [mean[:, :, 0, 0], (m - mean).square_().mean((2, 3)).sqrt()]  # torch's std is six times slower on a CPU
        return torch.cat(found, dim=1)


class _ConvNorm(nn.Sequential):
    """3x3 convolution, GroupNorm, ReLU."""

    def __init__(self, fin: int, fout: int, stride: int = 1, dilation: int = 1) -> None:
        conv = nn.Conv2d(fin, fout, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        super().__init__(conv, _norm(fout), nn.ReLU(inplace=True))


class UNetSegmenter(SegmentationNet):
    """The pseudo-label network: encoder and decoder with a skip connection at every resolution.

    Args:
        num_classes: N.
        width: channels at full resolution; each halving of the resolution doubles them.
        depth: number of halvings; H and W must be multiples of ``2 ** depth``.

    Source: Ronneberger et al., "U-Net", 2015 (arXiv 1505.04597), with GroupNorm and half the convolutions in the decoder.
    """

    def __init__(self, num_classes: int, width: int = 24, depth: int = 3) -> None:
        super().__init__()
        if not 0 <= depth <= 16:
            raise ProxymaskError(f"a segmenter with {depth} halvings: wanted 0 to 16")
        self.depth = depth
        widths = [width * 2**level for level in range(depth + 1)]
        self.stem = nn.Sequential(_ConvNorm(3, width), _ConvNorm(width, width))
        self.down = nn.ModuleList(nn.Sequential(_ConvNorm(a, b, stride=2), _ConvNorm(b, b)) for a, b in pairwise(widths))
        self.reduce = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(_ConvNorm(2 * a, a) for a in widths[:-1])
        self.head = nn.Conv2d(width, num_classes, 1)

    def feature_maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Pictures (B, 3, H, W) -> feature maps: of the encoder, from the full resolution down, and the decoder's last one."""
        _check_input(x, 2**self.depth)
        x = self.stem(x)
        encoded = [x]
        for down in self.down:
            x = down(x)
            encoded.append(x)
        for level in reversed(range(self.depth)):
            x = F.interpolate(self.reduce[level](x), scale_factor=2.0, mode="nearest")
            x = self.up[level](torch.cat([encoded[level], x], dim=1))
        return [*encoded, x]


class _DilatedBlock(nn.Module):
    """Residual block of two 3x3 convolutions, the first dilated, with normalisation before each (pre-activation)."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(width), _norm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))


class DilatedSegmenter(SegmentationNet):
    """The judge: a branch of dilated residual blocks at half resolution and a branch at full resolution.

    Context comes from dilation, not from a low resolution as in :class:`UNetSegmenter`. Both branches are joined at full resolution.

    Args:
        num_classes: N.
        width: channels of the residual blocks; the full resolution has half as many.
        blocks: number of residual blocks, with dilations 1, 2, 4, 8, 1, 2, ...

    Source: Yu et al., "Dilated Residual Networks", 2017 (arXiv 1705.09914), reduced to one stage and given a branch at full resolution.
    """

    def __init__(self, num_classes: int, width: int = 32, blocks: int = 6) -> None:
        super().__init__()
        fine = width // 2
        self.fine = nn.Sequential(_ConvNorm(3, fine), _ConvNorm(fine, fine))
        self.enter = nn.Conv2d(4 * fine, width, 1)
        self.blocks = nn.ModuleList(_DilatedBlock(width, 2 ** (index % 4)) for index in range(blocks))
        self.leave = nn.Sequential(_norm(width), nn.ReLU(inplace=True), nn.Conv2d(width, fine, 1))
        self.fuse = nn.Sequential(_ConvNorm(2 * fine, 2 * fine))
        self.head = nn.Conv2d(2 * fine, num_classes, 1)

    def feature_maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Pictures (B, 3, H, W) -> feature maps: the full-resolution branch; three of the half-resolution branch, after a third, two thirds
        and all of its blocks; the joined branches, from which the head makes the logits."""
        _check_input(x, 8)
        fine = self.fine(x)
        y = self.enter(F.pixel_unshuffle(fine, 2))
        coarse = []
        for block in self.blocks:
            y = block(y)
            coarse.append(y)
        raised = F.interpolate(self.leave(y), scale_factor=2.0, mode="bilinear")
        fused = self.fuse(torch.cat([fine, raised], dim=1))
        picks = sorted({max(len(coarse) * part // 3 - 1, 0) for part in (1, 2, 3)})
        return [fine, *(coarse[p] for p in picks), fused]
