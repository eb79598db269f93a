"""The frozen generator split in two, G = G2 o G1 in the paper: ``features`` runs G1, ``render`` runs G2.

The split at resolution r is after the second styled convolution of block r. StyleGAN2 accumulates an RGB image along with its features, so
the state at the split is a pair: the features, and the RGB image of all lower blocks, upsampled to r. The toRGB layer of block r belongs to
G2. ``render(features(w), w)`` equals the whole generator to the last bit, at every split.

Shapes: B pictures; C feature channels; h x w the size of the features at the split; H x W that of the pictures; num_ws, w_dim as in
``stylegan2.py``.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ..core.errors import ProxymaskError
from ..core.sizes import block_size
from .stylegan2 import Generator, NoiseMode, SynthesisBlock, SynthesisLayer
from .stylegan2_ops import SQRT2, conv_up2, upsample2, upsample2_matmul


class SplitState(NamedTuple):
    """State at the split: ``features`` (B, C, h, w) and ``rgb`` (B, img_channels, h, w), the float32 skip image of the lower blocks."""

    features: torch.Tensor
    rgb: torch.Tensor


class _Layer(NamedTuple):
    """A styled convolution for one w: ``weight`` (O, I, 3, 3) is modulated and demodulated; ``kernel`` is None without upsampling."""

    weight: torch.Tensor
    bias: torch.Tensor
    noise: torch.Tensor
    kernel: torch.Tensor | None
    clamp: float | None


class _Block(NamedTuple):
    """The styled convolutions (none in the block at the split) and the toRGB layer for one w."""

    layers: list[_Layer]
    rgb_weight: torch.Tensor
    rgb_bias: torch.Tensor
    rgb_clamp: float | None
    kernel: torch.Tensor


class FusedG2:
    """G2 for one style, with the modulation multiplied into the weights; made by :meth:`SplitGenerator.fuse_g2`."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype, self.blocks = dtype, list[_Block]()

    def add(self, block: SynthesisBlock, ws: torch.Tensor, convs: bool) -> None:
        """Add a block, with its part of ws (1, num_conv + 1, w_dim). ``convs`` False: only its toRGB layer."""
        layers = [self._layer(layer, ws[:, i]) for i, layer in enumerate((block.conv0, block.conv1))] if convs else []
        torgb = block.torgb
        style = torgb.affine(ws[:, block.num_conv]) * torgb.weight_gain
        weight = self._ready(torgb.weight * style[0, :, None, None])
        self.blocks.append(_Block(layers, weight, torgb.bias[:, None, None].float(), torgb.clamp, block.kernel))

    def _layer(self, layer: SynthesisLayer, w: torch.Tensor) -> _Layer:
        weight = layer.weight.float() * layer.affine(w)[0, :, None, None]
        # the gain sqrt(2) of the leaky ReLU is in the weights: see bias_lrelu
        weight = weight * ((weight.square().sum(dim=(1, 2, 3)) + layer.epsilon).rsqrt() * SQRT2)[:, None, None, None]
        noise = layer.noise_const * (layer.noise_strength * SQRT2)
        kernel = layer.kernel if layer.up else None
        return _Layer(self._ready(weight), (layer.bias * SQRT2).to(self.dtype), noise.to(self.dtype), kernel, layer.clamp)

    def _ready(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.to(dtype=self.dtype, memory_format=torch.channels_last)

    def __call__(self, state: SplitState) -> torch.Tensor:
        """State at the split, of B pictures -> pictures (B, img_channels, H, W), float32."""
        with torch.autocast(state.features.device.type, enabled=False):
            x = state.features.to(dtype=self.dtype, memory_format=torch.channels_last)
            rgb = state.rgb
            for block in self.blocks:
                for layer in block.layers:
                    x = self._conv(x, layer)
                if block.layers:
                    rgb = upsample2_matmul(rgb, block.kernel)
                y = F.conv2d(x, block.rgb_weight).float() + block.rgb_bias
                rgb = rgb + (y if block.rgb_clamp is None else y.clamp(-block.rgb_clamp, block.rgb_clamp))
            return rgb

    def _conv(self, x: torch.Tensor, layer: _Layer) -> torch.Tensor:
        if layer.kernel is None:
            x = F.conv2d(x, layer.weight, layer.bias, padding=1)
        else:
            x = conv_up2(x, layer.weight, layer.kernel, layer.bias)
        x = F.leaky_relu_(x.add_(layer.noise), 0.2)
        return x if layer.clamp is None else x.clamp_(-layer.clamp, layer.clamp)


class SplitGenerator(nn.Module):
    """A generator split at ``resolution`` (64 in the paper).

    Attributes: ``size`` (h, w) of the features, ``channels`` C, and ``start`` of the generator.

    Raises:
        ProxymaskError: the generator has no block of that resolution above 4.
    """

    def __init__(self, generator: Generator, resolution: int = 64) -> None:
        super().__init__()
        blocks = generator.synthesis.block_resolutions
        if resolution not in blocks[1:]:
            raise ProxymaskError(f"cannot cut a {generator.resolution}-pixel generator at {resolution}: choose one of {blocks[1:]}")
        self.generator, self.resolution, self.start = generator, resolution, generator.start
        self.size = block_size(resolution, self.start)
        self.channels = generator.synthesis.block(resolution).conv1.weight.shape[0]

    def w(self, z: torch.Tensor, truncation: float = 1.0, c: torch.Tensor | None = None) -> torch.Tensor:
        """z (B, z_dim) -> w (B, w_dim)."""
        return self.generator.mapping(z, c, truncation)

    def features(self, w: torch.Tensor, noise_mode: NoiseMode = "const") -> SplitState:
        """G1: w (B, w_dim) or ws (B, num_ws, w_dim) -> the state at the split."""
        synthesis, ws = self.generator.synthesis, self.generator.broadcast(w)
        x: torch.Tensor | None = None
        rgb: torch.Tensor | None = None
        for res in synthesis.block_resolutions:
            block, part = synthesis.block(res), synthesis.block_ws(ws, res)
            x = block.convs(x, part, noise_mode)
            rgb = None if rgb is None else upsample2(rgb, block.kernel)
            if res == self.resolution:
                break
            rgb = block.image(x, rgb, part)
        assert x is not None
        assert rgb is not None
        return SplitState(x, rgb)

    def render(self, state: SplitState, w: torch.Tensor, noise_mode: NoiseMode = "const") -> torch.Tensor:
        """G2: the state at the split and w or ws -> picture (B, img_channels, H, W)."""
        synthesis, ws = self.generator.synthesis, self.generator.broadcast(w)
        x, rgb = state.features, state.rgb
        for res in synthesis.block_resolutions:
            if res < self.resolution:
                continue
            block, part = synthesis.block(res), synthesis.block_ws(ws, res)
            if res > self.resolution:
                x = block.convs(x, part, noise_mode)
                rgb = upsample2(rgb, block.kernel)
            rgb = block.image(x, rgb, part)
        return rgb

    def g2_features(self, state: SplitState, w: torch.Tensor, noise_mode: NoiseMode = "const") -> list[torch.Tensor]:
        """The state at the split and w or ws -> features of the blocks from the split on, the last ones of :meth:`feature_pyramid`."""
        synthesis, ws = self.generator.synthesis, self.generator.broadcast(w)
        levels = [state.features]
        for res in synthesis.block_resolutions:
            if res > self.resolution:
                levels.append(synthesis.block(res).convs(levels[-1], synthesis.block_ws(ws, res), noise_mode))
        return levels

    @torch.no_grad()
    def fuse_g2(self, w: torch.Tensor, dtype: torch.dtype = torch.float32) -> "FusedG2":
        """G2 for one w (1, w_dim) or ws (1, num_ws, w_dim) and many states: :meth:`render` with constant noise, up to rounding.

        The modulation is multiplied into the weights once. ``dtype``: of the convolutions, as autocast would choose it.
        """
        synthesis, ws = self.generator.synthesis, self.generator.broadcast(w)
        if len(ws) != 1:
            raise ProxymaskError(f"fuse_g2 is for one style, not for {len(ws)}")
        tail = FusedG2(dtype)
        for res in synthesis.block_resolutions:
            if res >= self.resolution:
                tail.add(synthesis.block(res), synthesis.block_ws(ws, res), convs=res > self.resolution)
        return tail

    def feature_pyramid(self, w: torch.Tensor, noise_mode: NoiseMode = "const") -> tuple[list[torch.Tensor], torch.Tensor]:
        """w or ws -> the output of each block's last styled convolution, 4x4 first, and the picture (B, img_channels, H, W)."""
        synthesis, ws = self.generator.synthesis, self.generator.broadcast(w)
        x: torch.Tensor | None = None
        rgb: torch.Tensor | None = None
        levels = []
        for res in synthesis.block_resolutions:
            block, part = synthesis.block(res), synthesis.block_ws(ws, res)
            x = block.convs(x, part, noise_mode)
            levels.append(x)
            rgb = block.image(x, None if rgb is None else upsample2(rgb, block.kernel), part)
        assert rgb is not None
        return levels, rgb
