"""StyleGAN2: mapping, synthesis and discriminator, exactly as published (Karras et al. 2020; skip generator, residual
discriminator), with parameter names that follow the ADA release so that its checkpoints map one to one.

Widths: ``min(channel_base // resolution, channel_max)``; config-F is 32768 / 512.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from ..core.sizes import START, block_size, check_start
from .stylegan2_ops import EPSILON, SQRT2, bias_lrelu, conv_down2, fir_kernel, modulated_conv, upsample2

NoiseMode = Literal["const", "random", "none"]
SeedStyle = Literal["nvidia", "torch"]
LabelStyle = Literal["embed", "concat"]


def channels_at(resolution: int, channel_base: int, channel_max: int) -> int:
    """Feature channels of the block at ``resolution``."""
    return max(min(channel_base // resolution, channel_max), 1)


def check_resolution(resolution: int, least: int = 8) -> list[int]:
    """The block resolutions 4, 8, ... ``resolution``; an error unless it is a power of two of at least ``least``."""
    if resolution < least or resolution & (resolution - 1):
        raise ProxymaskError(f"resolution {resolution} must be a power of two, {least} or more")
    return [2**i for i in range(2, resolution.bit_length())]


def _check_at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise ProxymaskError(f"{name} {value} must be {least} or more")


def _check_positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not 0 < value < float("inf"):
            raise ProxymaskError(f"{name} {value} must be a finite number above 0")


class FullyConnected(nn.Module):
    """Equalised linear layer; ``lr_multiplier`` scales weight and bias at run time."""

    def __init__(
        self, in_features: int, out_features: int, lrelu: bool = False, lr_multiplier: float = 1.0, bias_init: float = 0.0
    ) -> None:
        super().__init__()
        self.lrelu = lrelu
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias_init / lr_multiplier))
        self.weight_gain = lr_multiplier / in_features**0.5
        self.bias_gain = lr_multiplier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.linear(x, (self.weight * self.weight_gain).to(x.dtype), (self.bias * self.bias_gain).to(x.dtype))
        return F.leaky_relu(x, 0.2) * SQRT2 if self.lrelu else x


class MappingNetwork(nn.Module):
    """z (B, z_dim) [and class (B, c_dim)] -> w (B, w_dim); keeps ``w_avg`` for truncation.

    A class-conditional network also keeps the class that is taken where none is given (``class_index``, -1: none), so that
    everything that knows nothing of classes works on one of them.

    Args:
        features: width of the layers between; that of w where None.
        embed_features: width of the class embedding; that of w where None.
        label: how a class enters: "embed" (a linear layer whose output is normalised, then put beside the normalised z; ADA and
            later) or "concat" (a matrix without bias, put beside z, both normalised together; Karras et al. 2020 and genforce).
    """

    w_avg: torch.Tensor
    class_index: torch.Tensor

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        num_layers: int,
        c_dim: int = 0,
        lr_multiplier: float = 0.01,
        features: int | None = None,
        embed_features: int | None = None,
        label: LabelStyle = "embed",
    ) -> None:
        super().__init__()
        if label not in ("embed", "concat"):
            raise ProxymaskError(f"a class enters as embed or concat, not {label!r}")
        self.z_dim, self.w_dim, self.c_dim, self.num_layers, self.label = z_dim, w_dim, c_dim, num_layers, label
        between, extra = features or w_dim, 0
        if c_dim:
            extra = z_dim if label == "concat" else embed_features or w_dim
            if label == "concat":
                self.label_weight = nn.Parameter(torch.randn(c_dim, extra))
            else:
                self.embed = FullyConnected(c_dim, extra)
            self.register_buffer("class_index", torch.tensor(-1))
        for index in range(num_layers):
            width, out = z_dim + extra if index == 0 else between, w_dim if index == num_layers - 1 else between
            setattr(self, f"fc{index}", FullyConnected(width, out, lrelu=True, lr_multiplier=lr_multiplier))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: torch.Tensor, c: torch.Tensor | None = None, truncation: float = 1.0) -> torch.Tensor:
        """Returns w (B, w_dim), float32: ``w_avg + truncation * (mapped - w_avg)``.

        ``c``: one-hot classes (B, c_dim); the chosen class where None.
        """
        with torch.autocast(z.device.type, enabled=False):
            x = z.float()
            if self.c_dim and self.label == "concat":
                x = torch.cat([x, self._classes(c, len(x)) @ self.label_weight], dim=1)
            x = normalize_2nd_moment(x)
            if self.c_dim and self.label == "embed":
                x = torch.cat([x, normalize_2nd_moment(self.embed(self._classes(c, len(x))))], dim=1)
            for index in range(self.num_layers):
                x = getattr(self, f"fc{index}")(x)
            return x if truncation == 1.0 else torch.lerp(self.w_avg, x, truncation)

    def choose_class(self, index: int | None) -> None:
        """Take class ``index`` wherever no class is given (None: none again). A :class:`ProxymaskError` where there is no such class."""
        if not self.c_dim:
            raise ProxymaskError("this generator has no classes: leave out --class")
        if index is not None and not 0 <= index < self.c_dim:
            raise ProxymaskError(f"--class {index}: this generator has the classes 0 to {self.c_dim - 1}")
        self.class_index.fill_(-1 if index is None else index)

    def _classes(self, c: torch.Tensor | None, batch: int) -> torch.Tensor:
        if c is not None:
            return c.float()
        if not 0 <= int(self.class_index) < self.c_dim:
            raise ProxymaskError(f"this generator is class-conditional: choose a class, --class 0 to {self.c_dim - 1}")
        return F.one_hot(self.class_index, self.c_dim).float().expand(batch, -1)


def normalize_2nd_moment(x: torch.Tensor) -> torch.Tensor:
    """Scale each row to a mean square of one."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU: one "styled convolution".

    ``size``: (height, width) of the output. ``epsilon``: what stands beside the energy below the root of the demodulation.
    """

    noise_const: torch.Tensor
    kernel: torch.Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        size: tuple[int, int],
        up: bool,
        clamp: float | None,
        epsilon: float = EPSILON,
    ) -> None:
        super().__init__()
        self.size, self.up, self.clamp, self.epsilon = size, up, clamp, epsilon
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.register_buffer("noise_const", torch.randn(*size))
        self.register_buffer("kernel", fir_kernel(), persistent=False)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise_mode: NoiseMode) -> torch.Tensor:
        kernel = self.kernel if self.up else None
        x = modulated_conv(x, self.weight, self.affine(w), demodulate=True, up_kernel=kernel, gain=SQRT2, epsilon=self.epsilon)
        if noise_mode == "const":
            x = x + (self.noise_const * (self.noise_strength * SQRT2)).to(x.dtype)
        elif noise_mode == "random":
            noise = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device)
            x = x + (noise * (self.noise_strength * SQRT2)).to(x.dtype)
        return bias_lrelu(x, self.bias, clamp=self.clamp)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to image channels, without demodulation."""

    def __init__(self, in_channels: int, img_channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = FullyConnected(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(img_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(img_channels))
        self.weight_gain = 1 / in_channels**0.5

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        x = modulated_conv(x, self.weight, self.affine(w) * self.weight_gain, demodulate=False).float()
        x = x + self.bias.view(1, -1, 1, 1)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """Two styled convolutions and a toRGB (one styled convolution on a learned constant at 4x4)."""

    const: nn.Parameter
    kernel: torch.Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        size: tuple[int, int],
        img_channels: int,
        clamp: float | None,
        scaled_weights: bool = False,
        final_tanh: bool = False,
    ) -> None:
        super().__init__()
        self.size, self.in_channels, self.final_tanh = size, in_channels, final_tanh

        def layer(fan: int, up: bool) -> SynthesisLayer:
            # conv(w g) / sqrt(|w g|^2 + e) = conv(w) / sqrt(|w|^2 + e / g^2), with g^2 = 1 / fan-in
            return SynthesisLayer(fan, out_channels, w_dim, size, up, clamp, EPSILON * (9 * fan if scaled_weights else 1))

        if in_channels == 0:
            self.const = nn.Parameter(torch.randn(out_channels, *size))
        else:
            self.conv0 = layer(in_channels, up=True)
        self.conv1 = layer(out_channels, up=False)
        self.torgb = ToRGB(out_channels, img_channels, w_dim, clamp)
        self.num_conv = 1 if in_channels == 0 else 2
        self.register_buffer("kernel", fir_kernel(), persistent=False)

    def convs(self, x: torch.Tensor | None, ws: torch.Tensor, noise_mode: NoiseMode) -> torch.Tensor:
        """The styled convolutions: (B, I, r/2, r/2) or nothing -> (B, O, r, r). ``ws`` (B, num_conv + 1, w_dim)."""
        if x is None:
            x = self.const.unsqueeze(0).expand(ws.shape[0], -1, -1, -1)
            return self.conv1(x, ws[:, 0], noise_mode)
        return self.conv1(self.conv0(x, ws[:, 0], noise_mode), ws[:, 1], noise_mode)

    def image(self, x: torch.Tensor, rgb: torch.Tensor | None, ws: torch.Tensor) -> torch.Tensor:
        """Add this block's toRGB to ``rgb``, the skip image already at this block's resolution (or nothing)."""
        y = self.torgb(x, ws[:, self.num_conv])
        y = y if rgb is None else rgb + y
        return y.tanh() if self.final_tanh else y


class SynthesisNetwork(nn.Module):
    """ws (B, num_ws, w_dim) -> picture (B, img_channels, r, r), about [-1, 1]; (r / 4) times ``start`` where that is no square."""

    def __init__(
        self,
        w_dim: int,
        resolution: int,
        img_channels: int,
        channel_base: int,
        channel_max: int,
        conv_clamp: float | None,
        start: tuple[int, int] = START,
        scaled_weights: bool = False,
        final_tanh: bool = False,
    ) -> None:
        super().__init__()
        self.resolution = resolution
        self.block_resolutions = check_resolution(resolution)
        previous = 0
        self.num_ws = 1  # the last toRGB's
        for res in self.block_resolutions:
            width = channels_at(res, channel_base, channel_max)
            size, is_last = block_size(res, start), res == resolution
            block = SynthesisBlock(previous, width, w_dim, size, img_channels, conv_clamp, scaled_weights, final_tanh and is_last)
            setattr(self, f"b{res}", block)
            self.num_ws += block.num_conv
            previous = width

    def block(self, resolution: int) -> SynthesisBlock:
        """The block at ``resolution``."""
        block = getattr(self, f"b{resolution}")
        assert isinstance(block, SynthesisBlock)
        return block

    def block_ws(self, ws: torch.Tensor, resolution: int) -> torch.Tensor:
        """The slice of ``ws`` that the block at ``resolution`` takes: its convolutions' and its toRGB's (shared with the next)."""
        start = 0 if resolution == 4 else 2 * (resolution.bit_length() - 3) - 1
        return ws[:, start : start + self.block(resolution).num_conv + 1]

    def forward(self, ws: torch.Tensor, noise_mode: NoiseMode = "const") -> torch.Tensor:
        x: torch.Tensor | None = None
        rgb: torch.Tensor | None = None
        for res in self.block_resolutions:
            block, part = self.block(res), self.block_ws(ws, res)
            x = block.convs(x, part, noise_mode)
            rgb = block.image(x, None if rgb is None else upsample2(rgb, block.kernel), part)
        assert rgb is not None
        return rgb


class Generator(ConfigModel):
    """StyleGAN2 generator.

    Args:
        z_dim, w_dim: latent widths.
        c_dim: classes (0: unconditional).
        resolution: side of the pictures, a power of two.
        img_channels: 3 for RGB.
        mapping_layers: 8 in config-F, 2 in ADA's presets.
        channel_base, channel_max: widths, see the module.
        conv_clamp: clamp of convolution outputs (256 in half-precision networks) or None.
        mapping_lr_multiplier: factor on weights and biases of the mapping layers at run time.
        mapping_features, embed_features, label: see :class:`MappingNetwork`.
        start: (height, width) of the learned constant. Where it is no square, block r is (height, width) * r / 4 large, and so are
            the pictures; ``resolution`` then names the last block.
        scaled_weights: the original multiplies its weights by 1 / sqrt(fan-in) before it demodulates them (TensorFlow, rosinality,
            genforce). Demodulation undoes that but for the 1e-8 below its root, which counts fan-in times as much.
        seed_style: how the generator's family draws z of an integer seed, see :func:`seed_to_z`.
        num_fp16_res: how many of the highest resolutions its family runs in half precision on a GPU. Kept as a fact: here the
            precision is chosen where the generator is used.
        final_tanh: the picture is the hyperbolic tangent of the last skip image (an option of genforce and Hammer).

    Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN" (skip generator).
    """

    def __init__(
        self,
        z_dim: int = 512,
        w_dim: int = 512,
        c_dim: int = 0,
        resolution: int = 256,
        img_channels: int = 3,
        mapping_layers: int = 8,
        channel_base: int = 32768,
        channel_max: int = 512,
        conv_clamp: float | None = None,
        mapping_lr_multiplier: float = 0.01,
        mapping_features: int | None = None,
        embed_features: int | None = None,
        label: LabelStyle = "embed",
        start: Sequence[int] = START,
        scaled_weights: bool = False,
        seed_style: SeedStyle = "nvidia",
        num_fp16_res: int = 0,
        final_tanh: bool = False,
    ) -> None:
        super().__init__()
        _check_at_least(1, z_dim=z_dim, w_dim=w_dim, img_channels=img_channels, channel_base=channel_base, channel_max=channel_max)
        _check_at_least(0, c_dim=c_dim, mapping_layers=mapping_layers, num_fp16_res=num_fp16_res)
        _check_positive(conv_clamp=conv_clamp, mapping_lr_multiplier=mapping_lr_multiplier)
        self.z_dim, self.w_dim, self.c_dim, self.resolution, self.img_channels = z_dim, w_dim, c_dim, resolution, img_channels
        self.start, self.num_fp16_res = check_start(start), num_fp16_res
        self.seed_style: SeedStyle = check_seed_style(seed_style)
        self.picture_size = block_size(resolution, self.start)
        self.synthesis = SynthesisNetwork(
            w_dim, resolution, img_channels, channel_base, channel_max, conv_clamp, self.start, scaled_weights, final_tanh
        )
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(z_dim, w_dim, mapping_layers, c_dim, mapping_lr_multiplier, mapping_features, embed_features, label)

    def forward(
        self,
        z: torch.Tensor,
        c: torch.Tensor | None = None,
        truncation: float = 1.0,
        noise_mode: NoiseMode = "const",
        truncation_cutoff: int | None = None,
    ) -> torch.Tensor:
        """z (B, z_dim) -> picture (B, img_channels, *picture_size). ``noise_mode``: the stored noise, new noise, or none."""
        return self.synthesis(self.ws(z, c, truncation, truncation_cutoff), noise_mode)

    def ws(
        self, z: torch.Tensor, c: torch.Tensor | None = None, truncation: float = 1.0, truncation_cutoff: int | None = None
    ) -> torch.Tensor:
        """z (B, z_dim) -> ws (B, num_ws, w_dim), truncated in the first ``truncation_cutoff`` of them (None: in all)."""
        if truncation_cutoff is None or truncation == 1.0:
            return self.broadcast(self.mapping(z, c, truncation))
        ws = self.broadcast(self.mapping(z, c)).clone()
        ws[:, :truncation_cutoff] = torch.lerp(self.mapping.w_avg, ws[:, :truncation_cutoff], truncation)
        return ws

    def z(self, seeds: Sequence[int]) -> torch.Tensor:
        """z (N, z_dim) of integer seeds, drawn as the generator's family does (``seed_style``); on the CPU."""
        return seed_to_z(seeds, self.z_dim, self.seed_style)

    def choose_class(self, index: int | None) -> None:
        """Take class ``index`` wherever none is given; it is saved with the generator."""
        self.mapping.choose_class(index)

    def broadcast(self, w: torch.Tensor) -> torch.Tensor:
        """w (B, w_dim) -> ws (B, num_ws, w_dim); a per-layer ws passes through."""
        return w if w.ndim == 3 else w.unsqueeze(1).expand(-1, self.num_ws, -1)


def check_seed_style(style: str) -> SeedStyle:
    """``style`` itself; a :class:`ProxymaskError` where there is no such one."""
    if style == "nvidia":
        return "nvidia"
    if style == "torch":
        return "torch"
    raise ProxymaskError(f"there is no seed style {style!r}: nvidia or torch")


def seed_to_z(seeds: Sequence[int], z_dim: int, style: SeedStyle = "nvidia") -> torch.Tensor:
    """z (N, z_dim), float32, for integer seeds, each as other tools draw it, so that pictures can be compared seed by seed.

    Args:
        style: "nvidia" draws ``numpy.random.RandomState(seed).randn(1, z_dim)``, as NVIDIA's ``generate.py`` (TensorFlow and
            PyTorch) and the generators trained here do; "torch" draws ``torch.randn(1, z_dim)`` after ``torch.manual_seed(seed)``,
            on the CPU: the first picture of a run of rosinality's or genforce's scripts with that seed.
    """
    if check_seed_style(style) == "nvidia":
        rows = [np.random.RandomState(seed % 2**32).randn(z_dim) for seed in seeds]
        return torch.from_numpy(np.stack(rows)).float()
    return torch.cat([torch.randn(1, z_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


class Conv(nn.Module):
    """Equalised convolution of the discriminator, optionally with twofold downsampling."""

    kernel: torch.Tensor

    def __init__(self, in_channels: int, out_channels: int, size: int, bias: bool = True, lrelu: bool = True, down: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.lrelu, self.down, self.weight_gain = lrelu, down, 1 / (in_channels * size * size) ** 0.5
        self.register_buffer("kernel", fir_kernel(), persistent=False)

    def forward(self, x: torch.Tensor, gain: float = 1.0, clamp: float | None = None) -> torch.Tensor:
        """Convolve, then leaky ReLU with gain sqrt(2) where asked; ``gain`` multiplies the result and the limit ``clamp``."""
        total = gain * SQRT2 if self.lrelu else gain
        weight = (self.weight * (self.weight_gain * total)).to(x.dtype)
        x = conv_down2(x, weight, self.kernel) if self.down else F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        return bias_lrelu(x, self.bias, gain=total, clamp=None if clamp is None else clamp * gain) if self.lrelu else x


class DiscriminatorBlock(nn.Module):
    """Residual block that halves the resolution."""

    def __init__(self, in_channels: int, out_channels: int, img_channels: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.fromrgb = Conv(img_channels, in_channels, 1) if img_channels else None
        self.conv0 = Conv(in_channels, in_channels, 3)
        self.conv1 = Conv(in_channels, out_channels, 3, down=True)
        self.skip = Conv(in_channels, out_channels, 1, bias=False, lrelu=False, down=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.fromrgb is not None:
            x = self.fromrgb(x, clamp=self.clamp)
        skip = self.skip(x, gain=0.5**0.5)
        return skip + self.conv1(self.conv0(x, clamp=self.clamp), gain=0.5**0.5, clamp=self.clamp)


class DiscriminatorEpilogue(nn.Module):
    """Minibatch standard deviation, a convolution and two linear layers at 4x4, in float32."""

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
    """Append the standard deviation over groups of samples as ``channels`` constant maps (Karras et al. 2018, section 3).

    ``group``: samples a group, None for the whole batch; the next smaller number that divides the batch is taken.
    """
    b, c, h, w = x.shape
    size = b if group is None else next(g for g in range(min(group, b), 0, -1) if b % g == 0)
    y = x.float().reshape(size, -1, channels, c // channels, h, w)
    y = (y - y.mean(dim=0)).square().mean(dim=0).add(1e-8).sqrt().mean(dim=(2, 3, 4))  # (b / size, channels)
    y = y.reshape(-1, channels, 1, 1).repeat(size, 1, h, w)
    return torch.cat([x, y.to(x.dtype)], dim=1)


class Discriminator(ConfigModel):
    """StyleGAN2 residual discriminator: picture (B, img_channels, r, r) -> logit (B, 1), float32.

    Args:
        resolution, img_channels, c_dim, channel_base, channel_max, conv_clamp, start: as the generator's.
        mbstd_group, mbstd_channels: see :func:`minibatch_std`.
        mapping_layers, mapping_lr_multiplier: of the network that maps a class.
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
        _check_at_least(1, img_channels=img_channels, channel_base=channel_base, channel_max=channel_max)
        _check_at_least(1, mbstd_group=1 if mbstd_group is None else mbstd_group, cmap_dim=1 if cmap_dim is None else cmap_dim)
        _check_at_least(0, c_dim=c_dim, mapping_layers=mapping_layers, mbstd_channels=mbstd_channels)
        _check_positive(conv_clamp=conv_clamp, mapping_lr_multiplier=mapping_lr_multiplier)
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
        """Take class ``index`` wherever none is given; it is saved with the discriminator."""
        if self.mapping is not None:
            self.mapping.choose_class(index)

    def block(self, resolution: int) -> DiscriminatorBlock:
        """The residual block at ``resolution``."""
        block = getattr(self, f"b{resolution}")
        assert isinstance(block, DiscriminatorBlock)
        return block

    def features(self, picture: torch.Tensor) -> list[torch.Tensor]:
        """The outputs of the residual blocks, highest resolution first."""
        x, out = picture, []
        for res in self.block_resolutions:
            x = getattr(self, f"b{res}")(x)
            out.append(x)
        return out

    def forward(self, picture: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
        x = self.features(picture)[-1]
        cmap = None
        if self.mapping is not None:
            cmap = self.mapping(picture.new_zeros(picture.shape[0], 0), c)
        return self.b4(x, cmap)
