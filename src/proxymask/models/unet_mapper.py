"""The mapper for everything but masks: a U-Net whose encoder is the StyleGAN2 discriminator's (supplement A.1).

SPADE layers suit label maps only. Here the residual blocks of the discriminator take the condition down to 4x4, so that every cell
knows the whole drawing, and a decoder with skip connections brings it back up to the size of the proxy mask, so that the shape is
kept to the cell.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from ..core.sizes import START, block_size, check_start, size_text
from .discriminator import Conv, Discriminator, DiscriminatorBlock
from .stylegan2_layers import channels_at, check_resolution

TYPICAL = 16  # side of the mean condition that a mapper remembers
MEMORY = 0.01  # of the mean condition, a batch


class UNetMapper(ConfigModel):
    """Condition planes -> proxy-mask logits.

    Args:
        in_channels: planes of the condition.
        num_clusters: K.
        resolution: r, side of the proxy mask, a power of two from 8 to ``input_resolution``.
        input_resolution: R, side of the condition, a power of two.
        channel_base, channel_max: widths at every resolution, as in the discriminator (config-F: 32768, 512).
        start: the generator's start block; conditions and proxy masks are ``R / 4`` and ``r / 4`` times that large.
        fold: pixels a side that are put into channels first, so that the encoder begins at R / fold; 1: none, as in the paper. What
            is above the proxy mask's size no decoder reads, and it costs the most.

    Raises:
        ProxymaskError: sizes that are no powers of two, or a proxy mask larger than the (folded) condition.
    """

    typical: torch.Tensor
    seen: torch.Tensor

    def __init__(
        self,
        in_channels: int = 1,
        num_clusters: int = 25,
        resolution: int = 64,
        input_resolution: int = 256,
        channel_base: int = 32768,
        channel_max: int = 512,
        start: Sequence[int] = START,
        fold: int = 1,
    ) -> None:
        super().__init__()
        self.in_channels, self.resolution, self.input_resolution, self.fold = in_channels, resolution, input_resolution, fold
        self.start, self.size = check_start(start), block_size(resolution, start)
        sides = check_resolution(input_resolution)
        if fold != 1:
            if fold < 1 or input_resolution % fold or input_resolution // fold not in sides[1:]:
                raise ProxymaskError(
                    f"conditions of {input_resolution} cannot be folded by {fold}: 1, or a power of two that leaves 8 or more"
                )
            sides = check_resolution(input_resolution // fold)
        if resolution not in sides[1:]:
            folded = f", folded by {fold}" if fold != 1 else ""
            raise ProxymaskError(
                f"a proxy mask of {resolution} cannot be read off conditions of {input_resolution}{folded}: one of {sides[1:]}"
            )

        def width(side: int) -> int:
            return channels_at(side, channel_base, channel_max)

        # one pixel tells a 1x1 convolution nothing of a line; folded ones are looked at with their neighbours
        self.fromcondition = _First(in_channels * fold**2, width(sides[-1]), 1 if fold == 1 else 3)
        self.down_sides = sides[:0:-1]
        for side in self.down_sides:
            setattr(self, f"b{side}", _DownBlock(width(side), width(side // 2), 0, None))
        self.up_sides = [side for side in sides[1:] if side <= resolution]
        for side in self.up_sides:
            setattr(self, f"u{side}", _UpBlock(width(side // 2), width(side), width(side)))
        self.out = nn.Conv2d(width(resolution), num_clusters, 1)
        self.register_buffer("typical", torch.zeros(in_channels, TYPICAL, TYPICAL))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Planes (B, in_channels, H, W), 0 to 1 -> logits (B, K, h, w).

        In training the mean of the planes is remembered (``typical``), by which an inverted input is known later.
        """
        if self.training:
            self._remember(planes)
        if self.fold > 1:
            planes = F.pixel_unshuffle(planes, self.fold)
            if planes.device.type != "mps":
                planes = planes.contiguous(memory_format=torch.channels_last)
        x = self.fromcondition(planes)
        skips = {self.input_resolution // self.fold: x}
        for side in self.down_sides:
            x = getattr(self, f"b{side}")(x)
            skips[side // 2] = x
        for side in self.up_sides:
            x = getattr(self, f"u{side}")(x, skips[side])
        return self.out(x)

    @torch.no_grad()
    def _remember(self, planes: torch.Tensor) -> None:
        mean = F.adaptive_avg_pool2d(planes.float(), TYPICAL).mean(dim=0)
        self.seen += 1
        self.typical.lerp_(mean, (1 / self.seen).clamp(min=MEMORY))

    @torch.no_grad()
    def forget(self) -> None:
        """Forget the mean condition, as before training on another one."""
        self.seen.zero_()
        self.typical.zero_()

    @torch.no_grad()
    def start_from(self, discriminator: Discriminator) -> list[str]:
        """Take the encoder's weights from a discriminator of the same widths; its first layer's too where three planes come in.

        A first layer for fewer planes gets the mean over the colours, times the root of 3 that equalised learning rate divides by.

        Returns:
            Names of the weights taken.

        Raises:
            ProxymaskError: another resolution or other widths.
        """
        if self.fold != 1:
            raise ProxymaskError(
                f"a mapper whose conditions are folded by {self.fold} has no discriminator's encoder: --unet-space-to-depth 1"
            )
        theirs, mine, taken = discriminator.state_dict(), self.state_dict(), []
        if (discriminator.resolution, discriminator.start) != (self.input_resolution, self.start):
            theirs_size, mine_size = discriminator.picture_size, block_size(self.input_resolution, self.start)
            raise ProxymaskError(
                f"a discriminator of pictures of {size_text(theirs_size)} does not fit this mapper's encoder of {size_text(mine_size)}"
            )
        first = f"b{self.input_resolution}.fromrgb."
        for name, value in theirs.items():
            if name.startswith(first):
                target = "fromcondition." + name.removeprefix(first)
                if value.ndim == 4 and value.shape[1] != self.in_channels:
                    # one colour for all planes: the same picture, in grey
                    value = (
                        value.mean(dim=1, keepdim=True).expand(-1, self.in_channels, -1, -1) * (value.shape[1] / self.in_channels) ** 0.5
                    )
            elif name.startswith(tuple(f"b{side}." for side in self.down_sides)):
                target = name
            else:
                continue
            if target not in mine or mine[target].shape != value.shape:
                raise ProxymaskError(
                    f"the discriminator's {name} {tuple(value.shape)} does not fit this mapper's encoder: give the mapper its widths "
                    "(--unet-base and --unet-max)"
                )
            mine[target].copy_(value)
            taken.append(target)
        return taken


class _UpBlock(nn.Module):
    """Twice the size, joined with the encoder's features of that size, two convolutions."""

    def __init__(self, below: int, skip: int, width: int) -> None:
        super().__init__()
        self.conv0 = Conv(below + skip, width, 3)
        self.conv1 = Conv(width, width, 3)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.conv1(self.conv0(torch.cat([x, skip], dim=1)))

    def fused(self) -> nn.Module:
        """For inference (:func:`layers.frozen`)."""
        block = _UpBlock.__new__(_UpBlock)
        nn.Module.__init__(block)
        block.conv0, block.conv1 = _plain(self.conv0), _plain(self.conv1)  # type: ignore[assignment]
        return block


class _First(Conv):
    """The first convolution, which has a form for inference."""

    def fused(self) -> nn.Module:
        return _plain(self)


class _DownBlock(DiscriminatorBlock):
    """The discriminator's residual block, which has a form for inference."""

    def fused(self) -> nn.Module:
        return _FusedDownBlock(_plain(self.conv0), _plain(self.conv1, 0.5**0.5), _plain(self.skip, 0.5**0.5))


class _FusedDownBlock(nn.Module):
    def __init__(self, conv0: nn.Module, conv1: nn.Module, skip: nn.Module) -> None:
        super().__init__()
        self.conv0, self.conv1, self.skip = conv0, conv1, skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.skip(x) + self.conv1(self.conv0(x))


@torch.no_grad()
def _plain(conv: Conv, gain: float = 1.0) -> nn.Module:
    """``conv`` with its gains in plain weights, and, where it halves the size, with its filter as a convolution of its own before it."""
    total = gain * math.sqrt(2) if conv.lrelu else gain
    weight = conv.weight * (conv.weight_gain * total)
    out, inside, size, _ = weight.shape
    parts: list[nn.Module] = []
    stride, padding = 1, size // 2
    if conv.down:  # as in conv_down2: filtered, then a strided convolution; for 1x1 filtered and dropped at once
        n, step = conv.kernel.shape[-1], 2 if size == 1 else 1
        blur = nn.Conv2d(inside, inside, n, step, size // 2 + (n - 1) // 2, groups=inside, bias=False)
        blur.weight.copy_(conv.kernel.expand_as(blur.weight))
        parts.append(blur)
        stride, padding = 2 // step, 0
    plain = nn.Conv2d(inside, out, size, stride, padding, bias=conv.bias is not None)
    plain.weight.copy_(weight)
    if conv.bias is not None and plain.bias is not None:
        plain.bias.copy_(conv.bias * total)
    parts.append(plain)
    if conv.lrelu:
        parts.append(nn.LeakyReLU(0.2, inplace=True))
    return parts[0] if len(parts) == 1 else nn.Sequential(*parts)
