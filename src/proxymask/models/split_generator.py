"""The frozen generator split in two, G = G2 o G1 in the paper: ``features`` runs G1, ``render`` runs G2.

The split at resolution r is after the second styled convolution of block r. StyleGAN2 accumulates an RGB image along with its features, so
the state at the split is a pair: the features, and the RGB image of all lower blocks, upsampled to r. The toRGB layer of block r belongs to
G2. ``render(features(w), w)`` equals the whole generator to the last bit, at every split.

Shapes: B pictures; C feature channels; h x w the size of the features at the split; H x W that of the pictures; num_ws, w_dim as in
``stylegan2.py``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from ..core.errors import ProxymaskError
from ..core.sizes import block_size
from .detail_network import DetailChange, Details
from .stylegan2 import Generator, NoiseMode
from .stylegan2_ops import upsample2


class SplitState(NamedTuple):
    """State at the split: ``features`` (B, C, h, w) and ``rgb`` (B, img_channels, h, w), the float32 skip image of the lower blocks."""

    features: torch.Tensor
    rgb: torch.Tensor


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
        self.channels = generator.synthesis.channels(resolution)

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

    def render(self, state: SplitState, w: torch.Tensor, noise_mode: NoiseMode = "const", details: Details | None = None) -> torch.Tensor:
        """G2: the state at the split and w or ws -> picture (B, img_channels, H, W).

        ``details`` changes the first block after the split, see ``detail_network.py``.
        """
        synthesis, ws = self.generator.synthesis, self.generator.broadcast(w)
        x, rgb = state.features, state.rgb
        change: DetailChange | None = None
        for res in synthesis.block_resolutions:
            if res < self.resolution:
                continue
            block, part = synthesis.block(res), synthesis.block_ws(ws, res)
            if res > self.resolution:
                x = block.convs(x, part, noise_mode)
                rgb = upsample2(rgb, block.kernel)
            if details is not None and res == 2 * self.resolution:
                change = details(x)
                x = change.on_features(x)
            rgb = block.image(x, rgb, part)
        return rgb if change is None else change.on_picture(rgb)

    def image(self, state: SplitState, w: torch.Tensor) -> torch.Tensor:
        """The state at the split and w or ws -> the picture of the blocks up to the split (B, img_channels, h, w): what a generator without
        the further blocks would make."""
        synthesis = self.generator.synthesis
        block, part = synthesis.block(self.resolution), synthesis.block_ws(self.generator.broadcast(w), self.resolution)
        picture = block.image(state.features, state.rgb, part)
        return picture.tanh() if self.generator.config["final_tanh"] and not block.final_tanh else picture

    def g2_features(self, state: SplitState, w: torch.Tensor, noise_mode: NoiseMode = "const") -> list[torch.Tensor]:
        """The state at the split and w or ws -> features of the blocks from the split on, the last ones of :meth:`feature_pyramid`."""
        synthesis, ws = self.generator.synthesis, self.generator.broadcast(w)
        levels = [state.features]
        for res in synthesis.block_resolutions:
            if res > self.resolution:
                levels.append(synthesis.block(res).convs(levels[-1], synthesis.block_ws(ws, res), noise_mode))
        return levels

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

    def features_at_split(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Features (B, C, h, w) at the split out of :meth:`feature_pyramid`."""
        return levels[self.generator.synthesis.block_resolutions.index(self.resolution)]

    def state_at_split(self, levels: Sequence[torch.Tensor], w: torch.Tensor) -> SplitState:
        """What :meth:`features` gives for the same w or ws, out of :meth:`feature_pyramid`."""
        synthesis, ws = self.generator.synthesis, self.generator.broadcast(w)
        rgb: torch.Tensor | None = None
        for res, level in zip(synthesis.block_resolutions, levels, strict=True):
            block = synthesis.block(res)
            rgb = None if rgb is None else upsample2(rgb, block.kernel)
            if res == self.resolution:
                break
            rgb = block.image(level, rgb, synthesis.block_ws(ws, res))
        assert rgb is not None
        return SplitState(self.features_at_split(levels), rgb)
