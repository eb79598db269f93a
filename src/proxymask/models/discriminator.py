"""StyleGAN2's residual discriminator, as published (Karras et al. 2020).

Parameter names are those of the ADA release, so that its checkpoints map one to one.

Shapes: B pictures; I, O input and output channels; H x W the size of the pictures, h x w that of a feature map.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import nn

from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from ..core.sizes import START, block_size, check_start
from .stylegan2_layers import FullyConnected, MappingNetwork, channels_at, check_at_least, check_positive, check_resolution
from .stylegan2_ops import SQRT2, bias_lrelu, conv_down2, fir_kernel

CRASHING_PIXELS = 2**19


class Conv(nn.Module):
    """Convolution with equalised learning rate: (B, I, h, w) -> (B, O, h, w), or (B, O, h/2, w/2) where ``down``."""

    kernel: torch.Tensor

    def __init__(self, in_channels: int, out_channels: int, size: int, bias: bool = True, lrelu: bool = True, down: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.lrelu, self.down, self.weight_gain = lrelu, down, 1 / (in_channels * size * size) ** 0.5
        self.register_buffer("kernel", fir_kernel(), persistent=False)

    def forward(self, x: torch.Tensor, gain: float = 1.0, clamp: float | None = None) -> torch.Tensor:
        """Convolution, then (``lrelu``) a leaky ReLU with gain sqrt(2). ``gain`` multiplies the result and the limit ``clamp``."""
        total = gain * SQRT2 if self.lrelu else gain
        weight = (self.weight * (self.weight_gain * total)).to(x.dtype)
        x = conv_down2(x, weight, self.kernel) if self.down else F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        return bias_lrelu(x, self.bias, gain=total, clamp=None if clamp is None else clamp * gain) if self.lrelu else x


def _crashes(picture: torch.Tensor) -> bool:
    """Whether oneDNN would end the process (SIGFPE) in the second derivative of fromRGB in bfloat16, which R1 takes: it divides by zero for
    2**19 pixels in a batch, on CPUs with AMX, with up to four threads (docs/decisions.md, first-layer-in-float32)."""
    return picture.device.type == "cpu" and picture.requires_grad and picture.numel() == picture.shape[1] * CRASHING_PIXELS


class DiscriminatorBlock(nn.Module):
    """Residual block that halves the resolution: (B, I, h, w) -> (B, O, h/2, w/2).

    The first block takes the picture (B, img_channels, H, W) and has a fromRGB layer; the others have ``img_channels`` 0.
    """

    def __init__(self, in_channels: int, out_channels: int, img_channels: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.fromrgb = Conv(img_channels, in_channels, 1) if img_channels else None
        self.conv0 = Conv(in_channels, in_channels, 3)
        self.conv1 = Conv(in_channels, out_channels, 3, down=True)
        self.skip = Conv(in_channels, out_channels, 1, bias=False, lrelu=False, down=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.fromrgb is not None:
            with torch.autocast(x.device.type, enabled=False) if _crashes(x) else nullcontext():
                x = self.fromrgb(x, clamp=self.clamp)
        skip = self.skip(x, gain=0.5**0.5)
        return skip + self.conv1(self.conv0(x, clamp=self.clamp), gain=0.5**0.5, clamp=self.clamp)


class DiscriminatorEpilogue(nn.Module):
    """The last block, at 4x4 and in float32: minibatch standard deviation, a convolution, two linear layers. -> logit (B, 1).

    ``cmap`` (B, cmap_dim): the mapped class, whose product with the output is the logit; None in an unconditional network.
    """

    def __init__(
        self, channels: int, mbstd_group: int | None, mbstd_channels: int, cmap_dim: int, clamp: float | None, start: tuple[int, int]
    ) -> None:
        super().__init__()
        self.mbstd_group, self.mbstd_channels, self.cmap_dim, self.clamp = mbstd_group, mbstd_channels, cmap_dim, clamp
        self.conv = Conv(channels + mbstd_channels, channels, 3)
        self.fc = FullyConnected(channels * start[0] * start[1], channels, lrelu=True)
        self.out = FullyConnected(channels, cmap_dim or 1)

    def forward(self, x: torch.Tensor, cmap: torch.Tensor | None) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            if self.mbstd_channels:
                x = minibatch_std(x, self.mbstd_group, self.mbstd_channels)
            x = self.out(self.fc(self.conv(x, clamp=self.clamp).flatten(1)))
        return x if cmap is None else (x * cmap).sum(dim=1, keepdim=True) / self.cmap_dim**0.5


def minibatch_std(x: torch.Tensor, group: int | None, channels: int) -> torch.Tensor:
    """Append the standard deviation over groups of samples as constant maps: (B, C, h, w) -> (B, C + channels, h, w).

    Args:
        group: samples in a group; None: the whole batch. The next smaller number that divides the batch is used.

    Source: Karras et al. 2018, "Progressive Growing of GANs", section 3.
    """
    b, c, h, w = x.shape
    size = b if group is None else next(g for g in range(min(group, b), 0, -1) if b % g == 0)
    y = x.float().reshape(size, -1, channels, c // channels, h, w)
    y = (y - y.mean(dim=0)).square().mean(dim=0).add(1e-8).sqrt().mean(dim=(2, 3, 4))  # (b / size, channels)
    y = y.reshape(-1, channels, 1, 1).repeat(size, 1, h, w)
    return torch.cat([x, y.to(x.dtype)], dim=1)


class Discriminator(ConfigModel):
    """StyleGAN2 residual discriminator: picture (B, img_channels, H, W) -> logit (B, 1), float32.

    Args:
        resolution, img_channels, c_dim, channel_base, channel_max, conv_clamp, start: as in :class:`Generator`.
        mbstd_group, mbstd_channels: see :func:`minibatch_std`.
        mapping_layers, mapping_lr_multiplier: of the mapping network of the class.
        cmap_dim: width of the mapped class; the channels at 4x4 where None.
    """

    def __init__(
        self,
        resolution: int = 256,
        img_channels: int = 3,
        c_dim: int = 0,
        channel_base: int = 32768,
        channel_max: int = 512,
        conv_clamp: float | None = None,
        mbstd_group: int | None = 4,
        mbstd_channels: int = 1,
        mapping_layers: int = 8,
        start: Sequence[int] = START,
        cmap_dim: int | None = None,
        mapping_lr_multiplier: float = 0.01,
    ) -> None:
        super().__init__()
        check_at_least(1, img_channels=img_channels, channel_base=channel_base, channel_max=channel_max)
        check_at_least(1, mbstd_group=1 if mbstd_group is None else mbstd_group, cmap_dim=1 if cmap_dim is None else cmap_dim)
        check_at_least(0, c_dim=c_dim, mapping_layers=mapping_layers, mbstd_channels=mbstd_channels)
        check_positive(conv_clamp=conv_clamp, mapping_lr_multiplier=mapping_lr_multiplier)
        if mbstd_channels and channels_at(4, channel_base, channel_max) % mbstd_channels:
            raise ProxymaskError(f"mbstd_channels {mbstd_channels} does not divide the channels of the last block")
        self.resolution, self.c_dim, self.img_channels, self.start = resolution, c_dim, img_channels, check_start(start)
        self.picture_size = block_size(resolution, self.start)
        self.block_resolutions = check_resolution(resolution)[:0:-1]
        for res in self.block_resolutions:
            here, below = channels_at(res, channel_base, channel_max), channels_at(res // 2, channel_base, channel_max)
            setattr(self, f"b{res}", DiscriminatorBlock(here, below, img_channels if res == resolution else 0, conv_clamp))
        width = channels_at(4, channel_base, channel_max)
        code = (cmap_dim or width) if c_dim else 0
        self.b4 = DiscriminatorEpilogue(width, mbstd_group, mbstd_channels, code, conv_clamp, self.start)
        self.mapping = MappingNetwork(0, code, mapping_layers, c_dim, mapping_lr_multiplier) if c_dim else None

    def choose_class(self, index: int | None) -> None:
        """Make class ``index`` the default (None: no default); it is saved with the discriminator."""
        if self.mapping is not None:
            self.mapping.choose_class(index)

    def block(self, resolution: int) -> DiscriminatorBlock:
        """The residual block at ``resolution``."""
        block = getattr(self, f"b{resolution}")
        assert isinstance(block, DiscriminatorBlock)
        return block

    def features(self, picture: torch.Tensor) -> list[torch.Tensor]:
        """Picture (B, img_channels, H, W) -> outputs of the residual blocks, highest resolution first."""
        x, out = picture, []
        for res in self.block_resolutions:
            x = getattr(self, f"b{res}")(x)
            out.append(x)
        return out

    def forward(self, picture: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
        """Picture (B, img_channels, H, W) in [-1, 1], one-hot classes c (B, c_dim) -> logit (B, 1)."""
        x = self.features(picture)[-1]
        cmap = None
        if self.mapping is not None:
            cmap = self.mapping(picture.new_zeros(picture.shape[0], 0), c)
        return self.b4(x, cmap)
