"""The rearranger: cross-attention that rearranges the features of a style sample to the layout of a proxy mask (supplement A.1).

The query is the proxy mask; key and value are the style sample's features at the split. A sinusoidal position encoding is added to the
embeddings of both inputs before their residual blocks, so that positions with the same cluster differ.

Reading of "surrounded by two 4-layer residual blocks on either side": two blocks, one before the attention and one after it, because the
same paragraph speaks of "the residual block that precedes the module". The two inputs, mask and features, have a preceding block each.

What the supplement does not state is an argument; each choice is an entry of docs/decisions.md.

Shapes: B pictures, K clusters, C feature channels, h x w the size of the features at the split, n = h * w positions.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import nn

from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from ..core.sizes import START, block_size, check_start
from .layers import EqualConv, ResidualBlock, attention, concat_channels, position_encoding
from .refinement_block import RefinementBlock, style_statistics
from .split_generator import SplitState
from .stylegan2_ops import fir_kernel, lowpass2_matmul

Value = Literal["features", "projection"]
Skip = Literal["keep", "drop", "rearrange"]

SUBSTITUTE_THRESHOLD = 0.7  # measured: docs/decisions.md, transfer-substitution
SHARPNESS, POSITION = 10.0, 8.0  # measured: docs/decisions.md, attention-start


class StyleKV(NamedTuple):
    """Key and value of a style sample, independent of the proxy mask.

    ``key`` (B, n, key_dim); ``value`` (B, n, C [+ img_channels]); ``rgb`` (B, img_channels, h, w), of the state at the split; ``counts``
    (B, K), positions of each cluster; ``statistics`` (B, 2 * width of value), mean and standard deviation of ``value``.
    """

    key: torch.Tensor
    value: torch.Tensor
    rgb: torch.Tensor
    counts: torch.Tensor
    statistics: torch.Tensor


class QueryTokens(NamedTuple):
    """Query of a proxy mask, independent of the style.

    ``query`` (B, n, key_dim); ``mask_features`` (B, refinement_width, h, w), the input of the refinement block, None without that block.
    """

    query: torch.Tensor
    mask_features: torch.Tensor | None


class Rearranger(ConfigModel):
    """Cross-attention from a proxy mask to the features of a style sample.

    Args:
        channels: C.
        resolution: r, side of the features at the split.
        num_clusters: K.
        position_channels: channels of the position encoding (a multiple of 4), the last ones of the token. 0, with ``add_position``: all
            channels of the token.
        add_position: True: the position encoding is added to the embeddings, as in the paper. False: it has channels of its own.
        hidden: width of the hidden layers of the residual blocks.
        layers: convolutions of a residual block.
        value: "features": rearrange the features themselves; "projection": a learned linear map of them.
        rgb: how the accumulated RGB is treated: "keep" it in the style sample's layout, "drop" it, or "rearrange" it as further
            value channels.
        img_channels: channels of the accumulated RGB.
        refinement_width: width of the refinement block after the attention; 0: none, as in the paper.
        start: (height, width) of the generator's first block; (h, w) is ``r / 4`` times that.
        key_channels: width of queries and keys; 0: that of the tokens, as in training (narrow_keys.py).
        substitute: clusters that a style lacks are replaced in masks of other samples (:attr:`substitute_threshold`). False: they are not,
            as in the paper.
        key_mask: the style sample's own proxy mask is embedded into the keys, as in rearrangers of version 0.1.0, which are read so. False:
            keys of the features alone, as in the paper (docs/decisions.md, attention-start).
        key_mask_channels: channels of ``key_mask`` in the tokens; 0: K.

    Raises:
        ProxymaskError: an invalid number of position channels.
    """

    centroids: torch.Tensor
    position: torch.Tensor
    kernel: torch.Tensor
    feature_rms: torch.Tensor
    rgb_rms: torch.Tensor

    def __init__(
        self,
        channels: int = 512,
        resolution: int = 64,
        num_clusters: int = 25,
        position_channels: int = 64,
        add_position: bool = False,
        hidden: int = 128,
        layers: int = 4,
        value: Value = "features",
        rgb: Skip = "rearrange",
        img_channels: int = 3,
        refinement_width: int = 0,
        start: Sequence[int] = START,
        key_channels: int = 0,
        substitute: bool = True,
        key_mask: bool = False,
        key_mask_channels: int = 0,
    ) -> None:
        super().__init__()
        if position_channels < 0 or position_channels % 4 or not (position_channels or add_position):
            raise ProxymaskError(
                f"{position_channels} position channels: give --position-channels a positive multiple of 4, or 0 with --add-position True"
            )
        self.channels, self.resolution, self.num_clusters = channels, resolution, num_clusters
        self.start, self.size = check_start(start), block_size(resolution, start)
        self.value_kind, self.rgb_kind, self.substitute = value, rgb, substitute
        codes = (key_mask_channels or num_clusters) if key_mask else 0
        used = max(channels, position_channels) + codes if add_position else channels + codes + position_channels
        self.dim = -(-used // 32) * 32  # fused attention kernels want round widths
        self.embed_mask = nn.Parameter(torch.randn(self.dim, num_clusters))
        self.embed_features = EqualConv(channels, self.dim, 1)
        self.embed_key_mask = nn.Parameter(torch.randn(self.dim, num_clusters)) if key_mask else None
        self.query_block = ResidualBlock(self.dim, hidden, layers)
        self.key_block = ResidualBlock(self.dim, hidden, layers)
        self.key_dim = key_channels or self.dim
        self.to_query = EqualConv(self.dim, self.key_dim, 1, bias=False)
        self.to_key = EqualConv(self.dim, self.key_dim, 1, bias=False)
        self.to_value = EqualConv(channels, channels, 1) if value == "projection" else None
        self.out_block = ResidualBlock(channels, hidden, layers)
        width = channels + (img_channels if rgb == "rearrange" else 0)
        self.refinement = RefinementBlock(width, num_clusters, refinement_width) if refinement_width else None
        position_channels = position_channels or self.dim
        encoding = position_encoding(position_channels, *self.size)
        self.register_buffer("position", F.pad(encoding, (0, 0, 0, 0, self.dim - position_channels, 0)), persistent=False)
        self.position_gain = nn.Parameter(torch.ones(()))
        self.register_buffer("centroids", torch.zeros(num_clusters, channels))
        self.register_buffer("kernel", fir_kernel(), persistent=False)
        self.register_buffer("feature_rms", torch.ones(()))  # so that blocks see features of unit size
        self.register_buffer("rgb_rms", torch.ones(()))

    @torch.no_grad()
    def initialize(self, centroids: torch.Tensor, feature_rms: float, rgb_rms: float = 1.0) -> None:
        """Set the centroids and the scales of features and RGB. Call it once, before training.

        Args:
            centroids: (K, C) unit vectors.
            feature_rms: root mean square of the features at the split.
            rgb_rms: root mean square of the accumulated RGB.
        """
        self.centroids.copy_(centroids)
        self.feature_rms.fill_(feature_rms)
        self.rgb_rms.fill_(rgb_rms)

    @torch.no_grad()
    def attend_to_clusters(self, sharpness: float = SHARPNESS, position: float = POSITION) -> Self:
        """Set start weights with which a position attends to features of its own cluster, nearby ones first (beyond the paper).

        Without it, all weights start at random, as in the paper. The logit of query x and key y becomes
        ``sharpness * <c_m(x), f(y)/|f(y)|> + position * <p(x), p(y)> / |p|^2``: m the proxy mask, c the centroids, f the features, p the
        position encoding. Call it after :meth:`initialize`, before training.

        Returns:
            The rearranger itself.
        """
        scale = self.dim**0.25  # undoes the 1/sqrt(dim) of the attention, half on either side
        a = sharpness**0.5 * scale
        self.embed_mask.zero_()
        self.embed_mask[: self.channels] = self.centroids.t() * a
        share = a / self.channels**0.5 / self.embed_features.gain  # its input has unit length times sqrt(channels)
        self.embed_features.weight.copy_((torch.eye(self.dim, self.channels) * share)[:, :, None, None])
        for layer in (self.to_query, self.to_key):
            layer.weight.copy_((torch.eye(self.key_dim, self.dim) / layer.gain)[:, :, None, None])
        length = self.position.square().sum(dim=0).mean()
        self.position_gain.fill_(float((position / length) ** 0.5 * scale))
        return self

    @property
    def substitute_threshold(self) -> float:
        """Lowest spatial similarity at which a cluster of the style replaces a missing one (:meth:`ProxyClusters.substitute`).

        -1: every missing cluster is replaced. :data:`SUBSTITUTE_THRESHOLD` with a refinement block, which can draw the others. 2, more than
        any similarity: none is replaced (``substitute`` is False).
        """
        if not self.substitute:
            return 2.0
        return SUBSTITUTE_THRESHOLD if self.refinement is not None else -1.0

    def encode_style(self, state: SplitState, own: torch.Tensor | None = None) -> StyleKV:
        """State of the style sample -> its key and value. Compute it once for each style.

        ``own`` (B, h, w): the sample's own proxy mask (:meth:`ProxyClusters.assign`); None: it is computed here, with the same result.
        """
        features = state.features
        direction = F.normalize(features.float(), dim=1) * self.channels**0.5
        token = self.embed_features(direction) + self.position * self.position_gain
        with torch.no_grad(), torch.autocast(features.device.type, enabled=False):  # the proxy mask: the same in every precision
            if own is None:
                own = torch.einsum("bchw,kc->bkhw", direction, self.centroids).argmax(dim=1)
            counts = F.one_hot(own.flatten(1), self.num_clusters).sum(dim=1)
        if self.embed_key_mask is not None:
            token = token + self.embed_key_mask.t()[own].permute(0, 3, 1, 2)
        key = self.to_key(self.key_block(token))
        value = features.float() / self.feature_rms
        if self.to_value is not None:
            value = self.to_value(value)
        if self.rgb_kind == "rearrange":
            value = torch.cat([value, (state.rgb / self.rgb_rms).to(value.dtype)], dim=1)
        return StyleKV(_tokens(key), _tokens(value), state.rgb, counts, style_statistics(_tokens(value)))

    def encode_mask(self, mask: torch.Tensor) -> QueryTokens:
        """Proxy mask (B, K, h, w), one-hot or soft -> query tokens.

        Raises:
            ProxymaskError: another number of clusters or another size.
        """
        expected = (self.num_clusters, *self.size)
        if tuple(mask.shape[1:]) != expected:
            raise ProxymaskError(f"a proxy mask of shape {tuple(mask.shape[1:])} does not fit this rearranger, which takes {expected}")
        token = torch.einsum("bkhw,dk->bdhw", mask.to(self.embed_mask.dtype), self.embed_mask) + self.position * self.position_gain
        query = _tokens(self.to_query(self.query_block(token)))
        return QueryTokens(query, None if self.refinement is None else self.refinement.mask_features(mask))

    def attend(self, query_tokens: QueryTokens, style: StyleKV) -> SplitState:
        """Query tokens, key and value -> rearranged state at the split."""
        query = query_tokens.query
        moved = attention(query, style.key.to(query.dtype), style.value.to(query.dtype))
        return self.finish(moved, query_tokens.mask_features, style.statistics, style.rgb)

    def finish(
        self, moved: torch.Tensor, mask_features: torch.Tensor | None, statistics: torch.Tensor, style_rgb: torch.Tensor
    ) -> SplitState:
        """What follows the attention: residual block, refinement block, scales.

        Args:
            moved: (B, n, C [+ img_channels]), the result of the attention.
            mask_features: see :class:`QueryTokens`.
            statistics: of the style, see :class:`StyleKV`; or a map of them (B, 2 * width of value, h, w).
            style_rgb: accumulated RGB of the style sample (B, img_channels, h, w), which ``rgb="keep"`` keeps.
        """
        grid = moved.transpose(1, 2).unflatten(2, self.size)
        refined = self.out_block(grid[:, : self.channels])
        if self.refinement is not None:
            assert mask_features is not None
            grid = self.refinement(concat_channels(refined, grid[:, self.channels :]), mask_features, statistics)
            refined = grid[:, : self.channels]
        features = refined.float() * self.feature_rms
        if self.rgb_kind == "rearrange":
            # the skip image is an upsampled picture, so the rearranged one is filtered in the same way
            rgb = lowpass2_matmul(grid[:, self.channels :].float() * self.rgb_rms, self.kernel)
        elif self.rgb_kind == "drop":
            rgb = torch.zeros_like(style_rgb)
        else:
            rgb = style_rgb
        return SplitState(features, rgb)

    def forward(self, state: SplitState, mask: torch.Tensor, own: torch.Tensor | None = None) -> SplitState:
        """State of the style sample, proxy mask (B, K, h, w), the sample's own (see :meth:`encode_style`) -> rearranged state."""
        return self.attend(self.encode_mask(mask), self.encode_style(state, own))

    def attention_map(self, query_tokens: QueryTokens, style: StyleKV) -> torch.Tensor:
        """Attention weights (B, n, n), float32; a row is a position of the query and sums to one. For inspection only."""
        logits = query_tokens.query.float() @ style.key.float().transpose(1, 2) / self.key_dim**0.5
        return logits.softmax(dim=-1)


def _tokens(grid: torch.Tensor) -> torch.Tensor:
    """(B, C, h, w) -> (B, h * w, C)."""
    return grid.flatten(2).transpose(1, 2)
