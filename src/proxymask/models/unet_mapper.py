"""The mapper for all conditions but masks: a U-Net with the structure of the StyleGAN2 discriminator as encoder (supplement A.1).

SPADE layers suit label maps only. Here the residual blocks of the discriminator encode the condition down to 4x4, which gives every cell
the context of the whole drawing. A decoder with skip connections upsamples it to the size of the proxy mask, which keeps the shape.

Shapes: B conditions, C = ``in_channels`` planes, K clusters, H x W the size of the condition, h x w that of the proxy mask.
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

TYPICAL = 16  # side of the mean condition that a mapper stores
MOMENTUM = 0.01  # weight of a new batch in the mean condition


class UNetMapper(ConfigModel):
    """Condition planes (B, C, H, W) in [0, 1] -> logits of the proxy mask (B, K, h, w).

    Args:
        in_channels: C.
        num_clusters: K.
        resolution: r, side of the proxy mask, a power of two from 8 to ``input_resolution``.
        input_resolution: R, side of the condition, a power of two.
        channel_base, channel_max: widths at every resolution, as in :class:`Discriminator` (config-F: 32768, 512).
        start: (height, width) of the generator's first block; (H, W) and (h, w) are ``R / 4`` and ``r / 4`` times that.
        fold: factor of a space-to-depth step (``pixel_unshuffle``) before the encoder, which then starts at R / fold; 1: none, as in the
            paper. Layers above the size of the proxy mask take most of the time and have no skip connection to the decoder.

    Raises:
        ProxymaskError: sizes that are not powers of two, or a proxy mask larger than the (folded) condition.
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
        self.input_size = block_size(input_resolution, start)
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

        # 1x1 as in the discriminator; after folding 3x3, so that a line is seen across the borders of the folded pixels
        self.fromcondition = _FirstConv(in_channels * fold**2, width(sides[-1]), 1 if fold == 1 else 3)
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
        """Planes (B, C, H, W) in [0, 1], or of another size, which is reduced by area, -> logits (B, K, h, w).

        In training it updates the mean of the planes (``typical``), with which inverted inputs are recognised later.
        """
        if planes.shape[-2:] != self.input_size:
            planes = F.adaptive_avg_pool2d(planes, self.input_size)
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
        self.typical.lerp_(mean, (1 / self.seen).clamp(min=MOMENTUM))

    @torch.no_grad()
    def forget(self) -> None:
        """Reset the mean condition, before training on another condition."""
        self.seen.zero_()
        self.typical.zero_()

    @torch.no_grad()
    def start_from(self, discriminator: Discriminator) -> list[str]:
        """Copy the encoder's weights from a discriminator of the same widths, including its first layer (fromRGB).

        If C is not 3, the first layer gets the mean over the colours times sqrt(3 / C), which makes up for the gain of the equalised
        learning rate.

        Returns:
            Names of the copied weights.

        Raises:
            ProxymaskError: another resolution or other widths.
        """
        if self.fold != 1:
            raise ProxymaskError(
                f"a mapper whose conditions are folded by {self.fold} has no discriminator's encoder: --unet-space-to-depth 1"
            )
        source, own, copied = discriminator.state_dict(), self.state_dict(), []
        if (discriminator.resolution, discriminator.start) != (self.input_resolution, self.start):
            source_size, own_size = discriminator.picture_size, block_size(self.input_resolution, self.start)
            raise ProxymaskError(
                f"a discriminator of pictures of {size_text(source_size)} does not fit this mapper's encoder of {size_text(own_size)}"
            )
        first = f"b{self.input_resolution}.fromrgb."
        for name, value in source.items():
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
            if target not in own or own[target].shape != value.shape:
                raise ProxymaskError(
                    f"the discriminator's {name} {tuple(value.shape)} does not fit this mapper's encoder: give the mapper its widths "
                    "(--unet-base and --unet-max)"
                )
            own[target].copy_(value)
            copied.append(target)
        return copied


class _UpBlock(nn.Module):
    """Decoder block: upsample twofold, concatenate the encoder's features of that size, two convolutions."""

    def __init__(self, below: int, skip: int, width: int) -> None:
        super().__init__()
        self.conv0 = Conv(below + skip, width, 3)
        self.conv1 = Conv(width, width, 3)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.conv1(self.conv0(torch.cat([x, skip], dim=1)))

    def fused(self) -> nn.Module:
        """The form for inference, see ``inference/fused.py``."""
        block = _UpBlock.__new__(_UpBlock)
        nn.Module.__init__(block)
        block.conv0, block.conv1 = _plain_conv(self.conv0), _plain_conv(self.conv1)  # type: ignore[assignment]
        return block


class _FirstConv(Conv):
    """The first convolution, with a form for inference."""

    def fused(self) -> nn.Module:
        return _plain_conv(self)


class _DownBlock(DiscriminatorBlock):
    """The discriminator's residual block, with a form for inference."""

    def fused(self) -> nn.Module:
        return _FusedDownBlock(_plain_conv(self.conv0), _plain_conv(self.conv1, 0.5**0.5), _plain_conv(self.skip, 0.5**0.5))


class _FusedDownBlock(nn.Module):
    def __init__(self, conv0: nn.Module, conv1: nn.Module, skip: nn.Module) -> None:
        super().__init__()
        self.conv0, self.conv1, self.skip = conv0, conv1, skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.skip(x) + self.conv1(self.conv0(x))


@torch.no_grad()
def _plain_conv(conv: Conv, gain: float = 1.0) -> nn.Module:
    """``conv`` as plain layers: weights times their gain and, where it halves the size, the filter as a depthwise convolution before it."""
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
