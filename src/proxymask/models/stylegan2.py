"""StyleGAN2's skip generator, as published (Karras et al. 2020). The discriminator is in ``discriminator.py``.

Parameter names are those of the ADA release, so that its checkpoints map one to one.

Widths: ``min(channel_base // resolution, channel_max)``; config-F is 32768 / 512.

Shapes: B pictures; I, O input and output channels; R the resolution, H x W the size of the pictures (R x R unless ``start`` is not
square); z_dim, w_dim latent widths; num_ws the number of layers that take a w of their own.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from ..core.sizes import START, block_size, check_start
from .stylegan2_layers import (
    FullyConnected,
    LabelStyle,
    MappingNetwork,
    channels_at,
    check_at_least,
    check_positive,
    check_resolution,
)
from .stylegan2_ops import EPSILON, SQRT2, bias_lrelu, fir_kernel, modulated_conv, upsample2

NoiseMode = Literal["const", "random", "none"]
SeedStyle = Literal["nvidia", "torch"]


class SynthesisLayer(nn.Module):
    """Styled convolution: modulated 3x3 convolution, noise, bias, leaky ReLU. (B, I, h, w) and w (B, w_dim) -> (B, O, *size).

    Args:
        size: (height, width) of the output.
        up: upsample twofold.
        clamp: limit of the absolute output values, or None.
        epsilon: added under the square root of the demodulation.
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
    """Modulated 1x1 convolution to image channels, without demodulation: (B, I, h, w) and w (B, w_dim) -> (B, img_channels, h, w)."""

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
    """Two styled convolutions and a toRGB layer; at 4x4 one styled convolution on a learned constant.

    ``in_channels`` 0 makes the 4x4 block. ``scaled_weights``: see :class:`Generator`.
    """

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

        def layer(channels: int, up: bool) -> SynthesisLayer:
            # conv(w g) / sqrt(|w g|^2 + e) = conv(w) / sqrt(|w|^2 + e / g^2), with g^2 = 1 / fan-in = 1 / (9 channels)
            return SynthesisLayer(channels, out_channels, w_dim, size, up, clamp, EPSILON * (9 * channels if scaled_weights else 1))

        if in_channels == 0:
            self.const = nn.Parameter(torch.randn(out_channels, *size))
        else:
            self.conv0 = layer(in_channels, up=True)
        self.conv1 = layer(out_channels, up=False)
        self.torgb = ToRGB(out_channels, img_channels, w_dim, clamp)
        self.num_conv = 1 if in_channels == 0 else 2
        self.register_buffer("kernel", fir_kernel(), persistent=False)

    def convs(self, x: torch.Tensor | None, ws: torch.Tensor, noise_mode: NoiseMode) -> torch.Tensor:
        """Run the styled convolutions: (B, I, r/2, r/2), or None at 4x4, -> (B, O, r, r). ``ws`` (B, num_conv + 1, w_dim)."""
        if x is None:
            x = self.const.unsqueeze(0).expand(ws.shape[0], -1, -1, -1)
            return self.conv1(x, ws[:, 0], noise_mode)
        return self.conv1(self.conv0(x, ws[:, 0], noise_mode), ws[:, 1], noise_mode)

    def image(self, x: torch.Tensor, rgb: torch.Tensor | None, ws: torch.Tensor) -> torch.Tensor:
        """Add this block's toRGB output to ``rgb``, the skip image at this block's resolution (None at 4x4)."""
        y = self.torgb(x, ws[:, self.num_conv])
        y = y if rgb is None else rgb + y
        return y.tanh() if self.final_tanh else y


class SynthesisNetwork(nn.Module):
    """ws (B, num_ws, w_dim) -> picture (B, img_channels, H, W), about [-1, 1]; (H, W) is ``resolution / 4`` times ``start``."""

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
        self.num_ws = 1  # of the last toRGB layer
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

    def channels(self, resolution: int) -> int:
        """Feature channels of the block at ``resolution``."""
        return self.block(resolution).conv1.weight.shape[0]

    def block_ws(self, ws: torch.Tensor, resolution: int) -> torch.Tensor:
        """The part of ``ws`` for the block at ``resolution``: one for each convolution and one for toRGB (shared with the next block)."""
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
        c_dim: number of classes (0: unconditional).
        resolution: R, side of the pictures, a power of two.
        img_channels: 3 for RGB.
        mapping_layers: 8 in config-F, 2 in ADA's presets.
        channel_base, channel_max: widths, see the module.
        conv_clamp: limit of the absolute convolution outputs (256 in half-precision networks), or None.
        mapping_lr_multiplier: factor on weights and biases of the mapping layers at run time.
        mapping_features, embed_features, label: see :class:`MappingNetwork`.
        start: (height, width) of the learned constant. The output of block r has ``r / 4`` times that size. Where it is not square,
            ``resolution`` is only the name of the last block.
        scaled_weights: True for TensorFlow, rosinality and genforce, which multiply weights by 1 / sqrt(fan-in) before demodulation.
            Demodulation cancels the factor, except in the 1e-8 under its root, which then counts fan-in times as much.
        seed_style: how the project that the weights come from draws z of an integer seed, see :func:`seed_to_z`.
        num_fp16_res: how many of the highest resolutions that project runs in half precision on a GPU. Recorded only: precision is
            chosen where the generator is used.
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
        check_at_least(1, z_dim=z_dim, w_dim=w_dim, img_channels=img_channels, channel_base=channel_base, channel_max=channel_max)
        check_at_least(0, c_dim=c_dim, mapping_layers=mapping_layers, num_fp16_res=num_fp16_res)
        check_positive(conv_clamp=conv_clamp, mapping_lr_multiplier=mapping_lr_multiplier)
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
        """z (B, z_dim) and one-hot classes c (B, c_dim) -> picture (B, img_channels, H, W), about [-1, 1].

        Args:
            truncation, truncation_cutoff: see :meth:`ws`.
            noise_mode: "const" (the stored noise), "random" (new noise, from torch's global random state) or "none".
        """
        return self.synthesis(self.ws(z, c, truncation, truncation_cutoff), noise_mode)

    def ws(
        self, z: torch.Tensor, c: torch.Tensor | None = None, truncation: float = 1.0, truncation_cutoff: int | None = None
    ) -> torch.Tensor:
        """z (B, z_dim) -> ws (B, num_ws, w_dim). Truncation is applied to the first ``truncation_cutoff`` layers (None: to all)."""
        if truncation_cutoff is None or truncation == 1.0:
            return self.broadcast(self.mapping(z, c, truncation))
        ws = self.broadcast(self.mapping(z, c)).clone()
        ws[:, :truncation_cutoff] = torch.lerp(self.mapping.w_avg, ws[:, :truncation_cutoff], truncation)
        return ws

    def z(self, seeds: Sequence[int]) -> torch.Tensor:
        """Integer seeds -> z (N, z_dim), on the CPU, drawn as ``seed_style`` prescribes (:func:`seed_to_z`)."""
        return seed_to_z(seeds, self.z_dim, self.seed_style)

    @property
    def function_settings(self) -> dict[str, Any]:
        """Settings that are in no tensor and change the pictures, those with another value than the default."""
        usual = {"conv_clamp": None, "mapping_lr_multiplier": 0.01, "label": "embed", "scaled_weights": False, "final_tanh": False}
        return {key: self.config[key] for key, value in usual.items() if self.config[key] != value}

    def choose_class(self, index: int | None) -> None:
        """Make class ``index`` the default (None: no default); it is saved with the generator."""
        self.mapping.choose_class(index)

    def broadcast(self, w: torch.Tensor) -> torch.Tensor:
        """w (B, w_dim) -> ws (B, num_ws, w_dim); a per-layer ws passes through."""
        return w if w.ndim == 3 else w.unsqueeze(1).expand(-1, self.num_ws, -1)


def check_seed_style(style: str) -> SeedStyle:
    """``style`` itself; a :class:`ProxymaskError` if it is neither "nvidia" nor "torch"."""
    if style == "nvidia":
        return "nvidia"
    if style == "torch":
        return "torch"
    raise ProxymaskError(f"unknown seed style {style!r}: use nvidia or torch")


def seed_to_z(seeds: Sequence[int], z_dim: int, style: SeedStyle = "nvidia") -> torch.Tensor:
    """Integer seeds -> z (N, z_dim), float32, on the CPU, drawn as other projects do, so that pictures can be compared seed by seed.

    Args:
        style: "nvidia": ``numpy.random.RandomState(seed).randn(1, z_dim)``, as in NVIDIA's ``generate.py`` (TensorFlow and PyTorch) and
            for generators trained here. "torch": ``torch.randn(1, z_dim)`` after ``torch.manual_seed(seed)`` on the CPU, which gives
            the first picture of rosinality's and genforce's scripts with that seed.
    """
    if check_seed_style(style) == "nvidia":
        rows = [np.random.RandomState(seed % 2**32).randn(z_dim) for seed in seeds]
        return torch.from_numpy(np.stack(rows)).float()
    return torch.cat([torch.randn(1, z_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
