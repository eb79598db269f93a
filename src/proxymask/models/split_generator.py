"""The frozen generator cut in two (method: G = G2 o G1): ``features`` runs G1, ``render`` runs G2.

StyleGAN2 accumulates a low-resolution RGB image beside its features, so the state at a cut is the pair
(features, accumulated RGB). The cut at resolution r lies after the second styled convolution of block r; the RGB is
the skip of all lower blocks, already upsampled to r, and the block's own toRGB belongs to G2. Untouched, ``render``
of ``features`` is the uncut network to the last bit, at every cut.
"""

from typing import NamedTuple

import torch
from torch import nn

from ..core.errors import ProxymaskError
from ..core.sizes import block_size
from .stylegan2 import Generator, NoiseMode
from .stylegan2_ops import upsample2


class SplitState(NamedTuple):
    """What crosses the cut: ``features`` (B, C, h, w) and ``rgb`` (B, img_channels, h, w), float32 skip image of the lower blocks."""

    features: torch.Tensor
    rgb: torch.Tensor


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
