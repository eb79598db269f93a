"""The rival's two networks: a SPADE generator with 3D noise, and a segmenting U-Net discriminator."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from proxymask.core.config_model import ConfigModel
from proxymask.core.errors import ProxymaskError
from proxymask.models.oasis_mapper import PlainBatchNorm, SpadeBlock

FACTORS = (16, 16, 16, 8, 4, 2, 1)  # of the width, before and after each of the six blocks
DOWN = (2, 2, 4, 4, 8, 8)  # of the width, after each halving of the discriminator


def _initialize(net: nn.Module) -> None:
    """Xavier, normal, gain 0.02, as the paper's code base does; biases zero."""
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        else:
            nn.init.xavier_normal_(parameter, gain=0.02)


class OasisGenerator(ConfigModel):
    """Mask and noise to picture, at full resolution.

    A noise vector is spread over all pixels and concatenated with the one-hot mask; both enter at the start and in every SPADE layer.

    Args:
        num_labels: classes N.
        resolution: side of the pictures, a power of two from 32 up; the start is a 32nd of it.
        width: channels at full resolution; the paper's 64 makes 1024 at the start.
        z_dim: length of the noise vector.
        hidden: width inside SPADE.
    """

    def __init__(self, num_labels: int, resolution: int = 64, width: int = 64, z_dim: int = 64, hidden: int = 128) -> None:
        super().__init__()
        if resolution < 32 or resolution & (resolution - 1):
            raise ProxymaskError(f"six blocks need pictures whose side is a power of two from 32 up, not {resolution}")
        self.num_labels, self.resolution, self.z_dim = num_labels, resolution, z_dim
        widths = [width * factor for factor in FACTORS]
        self.start = resolution // 2 ** (len(FACTORS) - 2)
        condition = num_labels + z_dim
        self.head = nn.Conv2d(condition, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(SpadeBlock(a, b, condition, hidden) for a, b in pairwise(widths))
        self.tail = nn.Conv2d(widths[-1], 3, 3, padding=1)
        _initialize(self)

    def forward(self, masks: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Ids (B, R, R) int64 and noise (B, z_dim) -> pictures (B, 3, R, R) in [-1, 1]."""
        planes = F.one_hot(masks, self.num_labels).permute(0, 3, 1, 2).to(z.dtype)
        condition = torch.cat([z[:, :, None, None].expand(-1, -1, *masks.shape[1:]), planes], dim=1)

        def at(size: int) -> torch.Tensor:
            return condition if size == self.resolution else F.interpolate(condition, size=size, mode="nearest-exact")

        x = self.head(at(self.start))
        for index, block in enumerate(self.blocks):
            if index:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = block(x, at(x.shape[-1]))
        return self.tail(F.leaky_relu(x, 0.2)).tanh()


class _Residual(nn.Module):
    """Two 3x3 convolutions with a 1x1 convolution in parallel, between which the resolution is halved or doubled."""

    def __init__(self, fin: int, fout: int, resize: str, first: bool = False) -> None:
        super().__init__()
        self.resize, self.first = resize, first
        self.conv0 = spectral_norm(nn.Conv2d(fin, fout, 3, padding=1))
        self.conv1 = spectral_norm(nn.Conv2d(fout, fout, 3, padding=1))
        self.shortcut = spectral_norm(nn.Conv2d(fin, fout, 1, bias=False))

    def _sized(self, x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(x, 2) if self.resize == "down" else F.interpolate(x, scale_factor=2, mode="nearest")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = x
        x = x if self.first else F.leaky_relu(x, 0.2)
        if self.resize == "up":
            x = self._sized(x)
        x = self.conv1(F.leaky_relu(self.conv0(x), 0.2))
        if self.resize == "down":
            return self._sized(x) + self.shortcut(self._sized(skip))
        return x + self.shortcut(self._sized(skip))


class OasisDiscriminator(ConfigModel):
    """A U-Net that names every pixel: one of N classes, or "fake".

    Args:
        num_labels: classes N.
        resolution: side of the pictures; it is halved six times, or down to one pixel.
        width: the paper's 64 makes 128 channels after the first halving and 512 at the bottom.
    """

    def __init__(self, num_labels: int, resolution: int = 64, width: int = 64) -> None:
        super().__init__()
        depth = min(len(DOWN), resolution.bit_length() - 1)
        down = [width * factor for factor in DOWN[:depth]]
        self.down = nn.ModuleList(_Residual(a, b, "down", first=index == 0) for index, (a, b) in enumerate(pairwise([3, *down])))
        up = [*reversed(down[:-1]), width]
        skips = [0, *reversed(down[:-1])]
        before = [down[-1], *up[:-1]]
        self.up = nn.ModuleList(_Residual(a + s, b, "up") for a, s, b in zip(before, skips, up, strict=True))
        self.tail = nn.Conv2d(width, num_labels + 1, 1)
        _initialize(self)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, R, R) in [-1, 1] -> logits (B, N + 1, R, R); the last class is "fake"."""
        x, skips = pictures, []
        for block in self.down:
            x = block(x)
            skips.append(x)
        skips.pop()
        for index, block in enumerate(self.up):
            x = block(x if index == 0 else torch.cat([x, skips.pop()], dim=1))
        return self.tail(F.leaky_relu(x, 0.2))


@torch.no_grad()
def reestimate(generator: OasisGenerator, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> OasisGenerator:
    """Batch-norm statistics of an averaged generator, anew, as plain means over forward passes of (masks, z): averaged weights have other
    statistics than those that the trained ones went through. The paper takes about 50 passes. Returns it in eval mode."""
    norms = [module for module in generator.modules() if isinstance(module, PlainBatchNorm)]
    before = [norm.momentum for norm in norms]
    generator.train()
    for index, (masks, z) in enumerate(batches):
        for norm in norms:
            norm.momentum = 1 / (index + 1)
        generator(masks, z)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    return generator.eval()
