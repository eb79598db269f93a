"""The frozen generator cut in two (method: G = G2 o G1): ``features`` runs G1, ``render`` runs G2.

StyleGAN2 accumulates a low-resolution RGB image beside its features, so the state at a cut is the pair
(features, accumulated RGB). The cut at resolution r lies after the second styled convolution of block r; the RGB is
the skip of all lower blocks, already upsampled to r, and the block's own toRGB belongs to G2. Untouched, ``render``
of ``features`` is the uncut network to the last bit, at every cut.
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
    """What crosses the cut: ``features`` (B, C, h, w) and ``rgb`` (B, img_channels, h, w), float32 skip image of the lower blocks."""

    features: torch.Tensor
    rgb: torch.Tensor


class _Layer(NamedTuple):
    """A styled convolution of one w: ``weight`` is modulated and demodulated; ``kernel`` where it upsamples."""

    weight: torch.Tensor
    bias: torch.Tensor
    noise: torch.Tensor
    kernel: torch.Tensor | None
    clamp: float | None


class _Block(NamedTuple):
    """The styled convolutions (none in the block at the cut) and the toRGB of one w."""

    layers: list[_Layer]
    rgb_weight: torch.Tensor
    rgb_bias: torch.Tensor
    rgb_clamp: float | None
    kernel: torch.Tensor


class FusedG2:
    """G2 of one style; made by :meth:`SplitGenerator.tail`."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype, self.blocks, self.final_tanh = dtype, list[_Block](), False

    def add(self, block: SynthesisBlock, ws: torch.Tensor, convs: bool) -> None:
        """Take a block for its slice of ws (1, num_conv + 1, w_dim); ``convs``: its convolutions, and not its toRGB alone."""
        layers = [self._layer(layer, ws[:, i]) for i, layer in enumerate((block.conv0, block.conv1))] if convs else []
        torgb = block.torgb
        style = torgb.affine(ws[:, block.num_conv]) * torgb.weight_gain
        weight = self._ready(torgb.weight * style[0, :, None, None])
        self.final_tanh = block.final_tanh
        self.blocks.append(_Block(layers, weight, torgb.bias[:, None, None].float(), torgb.clamp, block.kernel))

    def _layer(self, layer: SynthesisLayer, w: torch.Tensor) -> _Layer:
        weight = layer.weight.float() * layer.affine(w)[0, :, None, None]
        # a leaky ReLU's gain of sqrt(2) goes before it: see bias_lrelu
        weight = weight * ((weight.square().sum(dim=(1, 2, 3)) + layer.epsilon).rsqrt() * SQRT2)[:, None, None, None]
        noise = layer.noise_const * (layer.noise_strength * SQRT2)
        kernel = layer.kernel if layer.up else None
        return _Layer(self._ready(weight), (layer.bias * SQRT2).to(self.dtype), noise.to(self.dtype), kernel, layer.clamp)

    def _ready(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.to(dtype=self.dtype, memory_format=torch.channels_last)

    def __call__(self, state: SplitState) -> torch.Tensor:
        """States (B, ...) at the cut -> pictures (B, img_channels, R, R), float32."""
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
            return rgb.tanh() if self.final_tanh else rgb

    def _conv(self, x: torch.Tensor, layer: _Layer) -> torch.Tensor:
        if layer.kernel is None:
            x = F.conv2d(x, layer.weight, layer.bias, padding=1)
        else:
            x = conv_up2(x, layer.weight, layer.kernel, layer.bias)
        x = F.leaky_relu_(x.add_(layer.noise), 0.2)
        return x if layer.clamp is None else x.clamp_(-layer.clamp, layer.clamp)


class SplitGenerator(nn.Module):
    """A generator with a cut at ``resolution`` (the paper: 64).

    ``start`` is the generator's, ``size`` the (height, width) of the features.

    Raises:
        ProxymaskError: where the generator has no block of that resolution above 4.
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
        """G1: w (B, w_dim) or ws (B, num_ws, w_dim) -> the state at the cut."""
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
        """G2: the state at the cut and w or ws -> picture (B, img_channels, H, W)."""
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
        """The state at the cut and w or ws -> features of the blocks from the cut on, as the last ones of :meth:`pyramid`."""
        synthesis, ws = self.generator.synthesis, self.generator.broadcast(w)
        found = [state.features]
        for res in synthesis.block_resolutions:
            if res > self.resolution:
                found.append(synthesis.block(res).convs(found[-1], synthesis.block_ws(ws, res), noise_mode))
        return found

    @torch.no_grad()
    def fuse_g2(self, w: torch.Tensor, dtype: torch.dtype = torch.float32) -> "FusedG2":
        """G2 for one w (1, w_dim) or ws (1, num_ws, w_dim), for many states: :meth:`render` with constant noise up to rounding, but all
        that w decides is multiplied into the weights once. ``dtype``: of the convolutions, as autocast would choose it."""
        synthesis, ws = self.generator.synthesis, self.generator.broadcast(w)
        if len(ws) != 1:
            raise ProxymaskError(f"a tail is made for one style, not for {len(ws)}")
        tail = FusedG2(dtype)
        for res in synthesis.block_resolutions:
            if res >= self.resolution:
                tail.add(synthesis.block(res), synthesis.block_ws(ws, res), convs=res > self.resolution)
        return tail

    def feature_pyramid(self, w: torch.Tensor, noise_mode: NoiseMode = "const") -> tuple[list[torch.Tensor], torch.Tensor]:
        """Outputs of every block's last styled convolution (the few-shot segmenter's hypercolumn) and the picture."""
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
