"""Cheaper forms of the networks for inference: the same functions up to rounding, without what every call would compute again.

* :func:`fused_copy`: any network, with gains and spectral norms multiplied into its weights.
* :class:`MaskQuery`: the query tokens of a hard proxy mask by table lookup.
* :class:`FusedG2`: the later layers of the generator for one style, with the style multiplied into the weights.

A fused form reads the weights once, when it is made; training the network afterwards does not change it.

Shapes: B samples, K clusters, h x w positions at the split.
"""

import math
from copy import deepcopy
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from ..core.errors import ProxymaskError
from ..models.detail_network import DetailChange, Details
from ..models.layers import EqualConv
from ..models.rearranger import QueryTokens, Rearranger
from ..models.split_generator import SplitGenerator, SplitState
from ..models.stylegan2 import SynthesisBlock, SynthesisLayer
from ..models.stylegan2_ops import SQRT2, conv_up2, upsample2_matmul

# ------------------------------------------------------------------------------------------------------------------ any network

Network = TypeVar("Network", bound=nn.Module)


@runtime_checkable
class Fusable(Protocol):
    """A module that has a cheaper form for inference."""

    def fused(self) -> nn.Module:
        """That form, on the same device; it may share weights with this module."""
        ...


@torch.no_grad()
def fused_copy(module: Network, dtype: torch.dtype) -> Network:
    """A copy of ``module`` for inference: every part inside that is :class:`Fusable` is replaced by its cheaper form, parametrized
    weights (spectral norm) become plain ones, and convolutions are stored in ``dtype``, channels last.

    Args:
        dtype: of the autocast under which the copy will run; float32: no autocast.
    """
    copy = deepcopy(module)
    _fuse_inside(copy)
    for part in copy.modules():
        if isinstance(part, nn.Conv2d):
            part.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return copy.eval().requires_grad_(False)


def _fuse_inside(module: nn.Module) -> None:
    for name, child in module.named_children():
        new = child
        if isinstance(child, Fusable):
            new = child.fused().to(next(child.parameters()).device)
        elif isinstance(child, nn.Conv2d) and parametrize.is_parametrized(child):
            new = _plain(child)
        setattr(module, name, new)
        _fuse_inside(new)


def _plain(conv: nn.Conv2d) -> nn.Conv2d:
    """The same convolution with its parametrized weight as a plain one."""
    conv.eval()  # in training mode, reading the weight updates the spectral norm
    out, inside, height, width = conv.weight.shape
    stride, padding = (
        (conv.stride[0], conv.stride[1]),
        conv.padding if isinstance(conv.padding, str) else (conv.padding[0], conv.padding[1]),
    )
    plain = nn.Conv2d(inside, out, (height, width), stride, padding, bias=conv.bias is not None).to(conv.weight.device)
    plain.weight.copy_(conv.weight)
    if conv.bias is not None and plain.bias is not None:
        plain.bias.copy_(conv.bias)
    return plain


# ---------------------------------------------------------------------------------------------------- query of a hard proxy mask


class MaskQuery:
    """Cluster ids (B, h, w) of a proxy mask -> the query tokens that :meth:`Rearranger.encode_mask` makes of their one-hot planes.

    Where a position has one cluster, the embedding of the mask and the first convolution behind it are sums of rows of a table, and so
    are the mask features of the refinement block. What depends on the position alone is a constant.

    Args:
        rearranger: the network whose weights are read.
        dtype: of the convolutions, as autocast would choose it.
    """

    @torch.no_grad()
    def __init__(self, rearranger: Rearranger, dtype: torch.dtype = torch.float32) -> None:
        self.dtype, self.num_clusters = dtype, rearranger.num_clusters
        position = rearranger.position * rearranger.position_gain  # (dim, h, w)
        self.size = tuple(position.shape[1:])
        first, *between, last = [conv for conv in rearranger.query_block.convs if isinstance(conv, EqualConv)]
        to_query = rearranger.to_query.weight[:, :, 0, 0] * rearranger.to_query.gain

        # to_query(token + last(...)) = to_query(token) + (to_query last)(...)
        self.token_table = (rearranger.embed_mask.t() @ to_query.t()).to(dtype)  # (K, key_dim)
        gain = math.sqrt(2)  # of the leaky ReLU before
        last_weight = torch.einsum("ed,dihw->eihw", to_query, last.weight * (last.gain * gain))
        position_query = torch.einsum("ed,dhw->hwe", to_query, position).flatten(0, 1)
        if last.bias is not None:
            position_query = position_query + to_query @ last.bias
        self.position_query = position_query.to(dtype)  # (h * w, key_dim)

        # the first convolution: a row of the table for each cluster at each of the taps, one of zeros beyond the border
        weight = first.weight * first.gain
        self.taps = weight.shape[-1]
        table = torch.einsum("dk,odhw->hwko", rearranger.embed_mask, weight)
        self.hidden, refinement = table.shape[-1], rearranger.refinement
        if refinement is not None:  # its mask features, in further columns
            table = torch.cat([table, torch.einsum("ck,ochw->hwko", refinement.embed, refinement.first_weights()[1])], dim=-1)
        self.table = F.pad(table, (0, 0, 0, 1)).flatten(0, 2).contiguous()  # (taps^2 (K + 1), hidden [+ refinement]), float32
        self.row_offsets = torch.arange(self.taps**2, device=weight.device) * (self.num_clusters + 1)
        position_hidden = F.conv2d(position[None], weight, first.bias, padding=self.taps // 2)[0]
        self.position_hidden = position_hidden.flatten(1).t().contiguous()  # (h * w, hidden), float32

        self.between = [self._conv(conv.weight * (conv.gain * gain), conv.bias) for conv in between]
        self.last = self._conv(last_weight, None)

    def _conv(self, weight: torch.Tensor, bias: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        ready = weight.to(dtype=self.dtype, memory_format=torch.channels_last)
        return ready, None if bias is None else bias.to(self.dtype)

    def __call__(self, ids: torch.Tensor) -> QueryTokens:
        """Query tokens of ids (B, h, w) int64, in ``dtype``.

        Raises:
            ProxymaskError: ids of another size.
        """
        if tuple(ids.shape[1:]) != self.size:
            raise ProxymaskError(f"a proxy mask of {tuple(ids.shape[1:])} does not fit this rearranger, which takes {self.size}")
        b, edge = len(ids), self.taps // 2
        around = F.pad(ids, (edge, edge, edge, edge), value=self.num_clusters)
        around = around.unfold(1, self.taps, 1).unfold(2, self.taps, 1).reshape(-1, self.taps**2)
        y = F.embedding_bag(around + self.row_offsets, self.table, mode="sum").view(b, -1, self.table.shape[1])
        mask_features = y[..., self.hidden :]
        y = self._grid(y[..., : self.hidden] + self.position_hidden)
        with torch.autocast(y.device.type, enabled=False):
            for weight, bias in [*self.between, self.last]:
                y = F.conv2d(F.leaky_relu_(y, 0.2), weight, bias, padding=weight.shape[-1] // 2)
        query = F.embedding(ids.flatten(1), self.token_table) + self.position_query + y.flatten(2).transpose(1, 2)
        return QueryTokens(query, self._grid(mask_features) if mask_features.shape[2] else None)

    def _grid(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, h * w, C) -> (B, C, h, w), channels last, in ``dtype``."""
        return tokens.to(self.dtype, memory_format=torch.contiguous_format).unflatten(1, self.size).permute(0, 3, 1, 2)


# ------------------------------------------------------------------------------------------------------------- G2 of one style


class _Layer(NamedTuple):
    """A styled convolution of one w: ``weight`` is modulated and demodulated; ``kernel`` where it upsamples."""

    weight: torch.Tensor
    bias: torch.Tensor
    noise: torch.Tensor
    kernel: torch.Tensor | None
    clamp: float | None


class _Block(NamedTuple):
    """The styled convolutions (none in the block at the split) and the toRGB of one w."""

    layers: list[_Layer]
    rgb_weight: torch.Tensor
    rgb_bias: torch.Tensor
    rgb_clamp: float | None
    kernel: torch.Tensor


class FusedG2:
    """G2 of one style, for any number of states: :meth:`SplitGenerator.render` with constant noise, but all that w decides is
    multiplied into the weights once.

    Args:
        generator: the split generator whose weights are read.
        w: (1, w_dim) or (1, num_ws, w_dim).
        dtype: of the convolutions, as autocast would choose it.

    Raises:
        ProxymaskError: several styles.
    """

    @torch.no_grad()
    def __init__(self, generator: SplitGenerator, w: torch.Tensor, dtype: torch.dtype = torch.float32) -> None:
        synthesis, ws = generator.generator.synthesis, generator.generator.broadcast(w)
        if len(ws) != 1:
            raise ProxymaskError(f"G2 is fused for one style, not for {len(ws)}")
        self.dtype, self.final_tanh = dtype, synthesis.block(synthesis.resolution).final_tanh
        self.blocks = [
            self._block(synthesis.block(res), synthesis.block_ws(ws, res), convs=res > generator.resolution)
            for res in synthesis.block_resolutions
            if res >= generator.resolution
        ]

    def _block(self, block: SynthesisBlock, ws: torch.Tensor, convs: bool) -> _Block:
        """A block for its slice of ws (1, num_conv + 1, w_dim); ``convs``: with its convolutions, else its toRGB alone."""
        layers = [self._layer(layer, ws[:, i]) for i, layer in enumerate((block.conv0, block.conv1))] if convs else []
        torgb = block.torgb
        style = torgb.affine(ws[:, block.num_conv]) * torgb.weight_gain
        weight = self._ready(torgb.weight * style[0, :, None, None])
        return _Block(layers, weight, torgb.bias[:, None, None].float(), torgb.clamp, block.kernel)

    def _layer(self, layer: SynthesisLayer, w: torch.Tensor) -> _Layer:
        weight = layer.weight.float() * layer.affine(w)[0, :, None, None]
        # a leaky ReLU's gain of sqrt(2) goes before it: see bias_lrelu
        weight = weight * ((weight.square().sum(dim=(1, 2, 3)) + layer.epsilon).rsqrt() * SQRT2)[:, None, None, None]
        noise = layer.noise_const * (layer.noise_strength * SQRT2)
        kernel = layer.kernel if layer.up else None
        return _Layer(self._ready(weight), (layer.bias * SQRT2).to(self.dtype), noise.to(self.dtype), kernel, layer.clamp)

    def _ready(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.to(dtype=self.dtype, memory_format=torch.channels_last)

    def __call__(self, state: SplitState, details: Details | None = None) -> torch.Tensor:
        """States (B, ...) at the split -> pictures (B, img_channels, H, W), float32, not clamped. ``details``: as in
        :meth:`SplitGenerator.render`."""
        with torch.autocast(state.features.device.type, enabled=False):
            x = state.features.to(dtype=self.dtype, memory_format=torch.channels_last)
            rgb = state.rgb
            change: DetailChange | None = None
            for number, block in enumerate(self.blocks):
                for layer in block.layers:
                    x = self._conv(x, layer)
                if block.layers:
                    rgb = upsample2_matmul(rgb, block.kernel)
                if details is not None and number == 1:  # the first block after the split
                    change = details(x)
                    x = change.on_features(x)
                y = F.conv2d(x, block.rgb_weight).float() + block.rgb_bias
                rgb = rgb + (y if block.rgb_clamp is None else y.clamp(-block.rgb_clamp, block.rgb_clamp))
            rgb = rgb.tanh() if self.final_tanh else rgb
            return rgb if change is None else change.on_picture(rgb)

    def _conv(self, x: torch.Tensor, layer: _Layer) -> torch.Tensor:
        if layer.kernel is None:
            x = F.conv2d(x, layer.weight, layer.bias, padding=1)
        else:
            x = conv_up2(x, layer.weight, layer.kernel, layer.bias)
        x = F.leaky_relu_(x.add_(layer.noise), 0.2)
        return x if layer.clamp is None else x.clamp_(-layer.clamp, layer.clamp)
