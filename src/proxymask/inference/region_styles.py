"""A style for each label: the hair of one sample, the face of another, in one picture (beyond the paper).

Every label of a mask has a style; the region of a style is where its labels are. In the attention, the keys and values of all styles stand
side by side, and a position of the query sees those of its region alone. Behind the split, each region is modulated by the w of its own
style. At borders both are blended by the share of each region.

Shapes: S styles, N labels, K clusters; H x W the picture, h x w the grid at the split, n = h * w positions.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ..core.errors import ProxymaskError
from ..imaging.labels import LabelSet
from ..models.detail_network import DetailChange, Details
from ..models.layers import attention
from ..models.rearranger import QueryTokens, Rearranger
from ..models.split_generator import SplitGenerator, SplitState
from ..models.stylegan2 import SynthesisBlock, SynthesisLayer
from ..models.stylegan2_ops import SQRT2, conv_up2, upsample2_matmul
from .style import Style


def assign_styles(styles: Mapping[object, object], labels: LabelSet) -> list[object]:
    """A mapping from labels to styles as the style of each label id.

    Args:
        styles: keys are names or ids of labels. ``None`` is the key of all labels that are not named; without it they take the style that
            is named first.
        labels: the classes.

    Raises:
        ProxymaskError: an empty mapping, a key that is no label, or one label named twice.
    """
    if not styles:
        raise ProxymaskError('a style for each label names at least one label: {"' + labels.names[0] + '": 3}')
    rest = styles[None] if None in styles else next(iter(styles.values()))
    of_label: dict[int, object] = {}
    for key, style in styles.items():
        if key is None:
            continue
        if isinstance(key, str):
            label = labels.by_name(key).id
        elif isinstance(key, int | np.integer) and not isinstance(key, bool) and 0 <= key < len(labels):
            label = int(key)
        else:
            raise ProxymaskError(f"{key!r} is no label: use a name ({', '.join(labels.names)}), an id, or None for all other labels")
        if label in of_label:
            raise ProxymaskError(f"the label {labels.names[label]} has two styles: give it one")
        of_label[label] = style
    return [of_label.get(label, rest) for label in range(len(labels))]


def shrink(weights: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Shares (S, H, W) at another size (S, *size): means over areas. They sum to one at every position."""
    height, width = size
    return weights if weights.shape[1:] == (height, width) else F.adaptive_avg_pool2d(weights[None], (height, width))[0]


def choose_by_region(proxies: Sequence[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
    """One proxy mask of those for each style: at every position that of the style with the largest share, or planes blended by the shares.

    Args:
        proxies: S proxy masks, ids (1, h, w) or planes (1, K, h, w).
        weights: (S, h, w).
    """
    stacked = torch.cat(list(proxies))
    if stacked.ndim == 3:
        return stacked.gather(0, weights.argmax(dim=0, keepdim=True))
    return (stacked * weights[:, None]).sum(dim=0, keepdim=True)


def attend_by_region(rearranger: Rearranger, tokens: QueryTokens, styles: Sequence[Style], weights: torch.Tensor) -> SplitState:
    """:meth:`Rearranger.attend` with a style for each region.

    A position of one region attends to the tokens of its style only, as if the others were masked out; one of several regions takes the
    mean by their shares.

    Args:
        rearranger: as prepared for inference.
        tokens: query tokens of one proxy mask.
        styles: S single styles.
        weights: shares (S, h, w).
    """
    query, shares = tokens.query, weights.flatten(1)
    moved: torch.Tensor | None = None
    for style, share in zip(styles, shares, strict=True):
        at = torch.nonzero(share)[:, 0]
        if not len(at):
            continue
        part = attention(query[:, at], style.kv.key.to(query.dtype), style.kv.value.to(query.dtype))
        if moved is None:
            moved = part.new_zeros(1, query.shape[1], part.shape[2])
        moved[:, at] += part * share[at, None].to(part.dtype)
    assert moved is not None
    statistics = torch.einsum("shw,sc->chw", weights, torch.cat([style.kv.statistics for style in styles]))[None]
    rgb = torch.einsum("shw,schw->chw", weights, torch.cat([style.kv.rgb for style in styles]).float())[None]
    return rearranger.finish(moved, tokens.mask_features, statistics, rgb)


class _Layer(NamedTuple):
    """A styled convolution: ``styles`` (S, I) and ``demodulation`` (S, O) of each w; ``kernel`` where it upsamples."""

    weight: torch.Tensor
    styles: torch.Tensor
    demodulation: torch.Tensor
    bias: torch.Tensor
    noise: torch.Tensor
    kernel: torch.Tensor | None
    clamp: float | None


class _Block(NamedTuple):
    layers: list[_Layer]
    rgb_weight: torch.Tensor
    rgb_styles: torch.Tensor
    rgb_bias: torch.Tensor
    rgb_clamp: float | None
    kernel: torch.Tensor
    size: tuple[int, int]


class RegionG2:
    """G2 of several styles, each in its own region.

    The modulated convolution scales its input, then its output (:func:`~proxymask.models.stylegan2_ops.modulated_conv`); here both
    factors are maps, blended by the shares of the regions. So a layer is computed once, however many styles there are, and inside a region
    the result is that of its style alone.

    Args:
        generator: the split generator whose weights are read.
        ws: S latents (1, w_dim) or (1, num_ws, w_dim).
        dtype: of the convolutions.
    """

    @torch.no_grad()
    def __init__(self, generator: SplitGenerator, ws: Sequence[torch.Tensor], dtype: torch.dtype = torch.float32) -> None:
        synthesis = generator.generator.synthesis
        self.dtype, self.final_tanh = dtype, synthesis.block(synthesis.resolution).final_tanh
        every = torch.cat([generator.generator.broadcast(w) for w in ws])
        self.blocks = [
            self._block(synthesis.block(res), synthesis.block_ws(every, res), convs=res > generator.resolution)
            for res in synthesis.block_resolutions
            if res >= generator.resolution
        ]

    def _block(self, block: SynthesisBlock, ws: torch.Tensor, convs: bool) -> _Block:
        """A block for its slice of all ws (S, num_conv + 1, w_dim); ``convs``: with its convolutions, else its toRGB alone."""
        layers = [self._layer(layer, ws[:, i]) for i, layer in enumerate((block.conv0, block.conv1))] if convs else []
        torgb = block.torgb
        styles = torgb.affine(ws[:, block.num_conv]) * torgb.weight_gain
        bias = torgb.bias[:, None, None].float()
        return _Block(layers, self._ready(torgb.weight), styles, bias, torgb.clamp, block.kernel, block.size)

    def _layer(self, layer: SynthesisLayer, w: torch.Tensor) -> _Layer:
        styles, weight = layer.affine(w), layer.weight.float()
        energy = styles.square() @ weight.square().sum(dim=(2, 3)).t()
        demodulation = (energy + layer.epsilon).rsqrt() * SQRT2
        bias, noise = (layer.bias * SQRT2)[:, None, None], layer.noise_const * (layer.noise_strength * SQRT2)
        kernel = layer.kernel if layer.up else None
        return _Layer(self._ready(weight), styles, demodulation, bias.to(self.dtype), noise.to(self.dtype), kernel, layer.clamp)

    def _ready(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.to(dtype=self.dtype, memory_format=torch.channels_last)

    def _map(self, weights: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        """Shares (S, h, w) and factors (S, C) -> their map (1, C, h, w), channels last."""
        return (weights.permute(1, 2, 0) @ factors)[None].permute(0, 3, 1, 2).to(self.dtype)

    def __call__(self, state: SplitState, weights: torch.Tensor, details: Details | None = None) -> torch.Tensor:
        """The state at the split of one picture, and shares (S, H, W) at picture size -> picture (1, img_channels, H, W), not clamped.
        ``details``: as in :meth:`SplitGenerator.render`."""
        with torch.autocast(state.features.device.type, enabled=False):
            x = state.features.to(dtype=self.dtype, memory_format=torch.channels_last)
            rgb, shares = state.rgb, shrink(weights, state.features.shape[2:])
            change: DetailChange | None = None
            for number, block in enumerate(self.blocks):
                here = shrink(weights, block.size)
                for layer in block.layers:
                    x = self._conv(x, layer, shares, here)
                    shares = here
                if block.layers:
                    rgb = upsample2_matmul(rgb, block.kernel)
                if details is not None and number == 1:  # the first block after the split
                    change = details(x)
                    x = change.on_features(x)
                y = F.conv2d(x * self._map(here, block.rgb_styles), block.rgb_weight).float() + block.rgb_bias
                rgb = rgb + (y if block.rgb_clamp is None else y.clamp(-block.rgb_clamp, block.rgb_clamp))
            rgb = rgb.tanh() if self.final_tanh else rgb
            return rgb if change is None else change.on_picture(rgb)

    def _conv(self, x: torch.Tensor, layer: _Layer, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """A layer with shares at the size of its input and of its output."""
        x = x * self._map(before, layer.styles)
        x = F.conv2d(x, layer.weight, padding=1) if layer.kernel is None else conv_up2(x, layer.weight, layer.kernel)
        x = F.leaky_relu_(torch.addcmul(layer.noise + layer.bias, x, self._map(after, layer.demodulation)), 0.2)
        return x if layer.clamp is None else x.clamp_(-layer.clamp, layer.clamp)
