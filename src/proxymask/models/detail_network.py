"""The detail network: what was painted, finer than the proxy mask, changes the generator after the split (beyond the paper).

A proxy mask has the resolution of the split, so that it loses thin parts and the exact place of borders (supplement D). The detail network
reads the mask itself, or another condition, and what the generator is about to draw: the features of the first block after the split,
which has twice the resolution. It changes two things. It adds to these features, before they become colours and go on to further blocks.
And it mixes each pixel of the picture with its neighbours, so that a border moves with the colours that stand there already. Both act about
the borders that were painted, fade out with the distance to them, and start as no change.

It is small, because it stands in the way of every picture: a table of the labels and four narrow convolutions. The style is not among its
inputs: the features of the block are the style's already. Where the picture is larger than the block, the condition is reduced by area: a
line of one pixel becomes a fainter line, and does not vanish.

Shapes: B pictures of H x W pixels; h x w the size of the block, H x W divided by ``factor``; P planes of the condition; D channels of the
block.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from .layers import EqualConv
from .stylegan2_layers import check_at_least

STEP = 0.25  # change of a plane, 0 to 1, from a pixel to the next that counts as a border
NEIGHBOURS = 4


class MaskFeatures(NamedTuple):
    """What depends on the condition alone."""

    layout: torch.Tensor
    """(B, width, h, w)."""
    gate: torch.Tensor
    """(B, 1, h, w), 1 on borders, 0 far from them."""


class DetailChange(NamedTuple):
    """What a detail network changes in the pictures of a batch."""

    features: torch.Tensor
    """(B, D, h, w), added, times ``level``, to the features of the block."""
    neighbours: torch.Tensor
    """(B, 4, h, w): how much of the colour above, below, to the left and to the right, ``factor`` pixels away, replaces a pixel's own."""
    factor: int
    """Pixels of the picture for one of the block."""
    level: float
    """Root mean square of the features of the block."""

    def on_features(self, x: torch.Tensor) -> torch.Tensor:
        """Features (B, D, h, w) of the block, changed."""
        return torch.add(x, self.features.to(x.dtype), alpha=self.level)

    def on_picture(self, picture: torch.Tensor) -> torch.Tensor:
        """Pictures (B, img_channels, H, W), their pixels mixed with their neighbours."""
        d, weights = self.factor, self.neighbours.to(picture.dtype, memory_format=torch.contiguous_format)
        if d > 1:
            weights = F.interpolate(weights, scale_factor=d, mode="bilinear", align_corners=False)
        mixed = picture.clone()
        down, right = picture[:, :, d:] - picture[:, :, :-d], picture[..., d:] - picture[..., :-d]
        mixed[:, :, d:].addcmul_(weights[:, 0:1, d:], down, value=-1)
        mixed[:, :, :-d].addcmul_(weights[:, 1:2, :-d], down)
        mixed[..., d:].addcmul_(weights[:, 2:3, :, d:], right, value=-1)
        mixed[..., :-d].addcmul_(weights[:, 3:4, :, :-d], right)
        return mixed

    def scaled(self, share: torch.Tensor) -> "DetailChange":
        """The change where it counts by ``share``, 0 to 1, (H, W)."""
        share = _reduced(share[None, None].to(self.features), self.factor)
        return self._replace(features=self.features * share, neighbours=self.neighbours * share)

    def plus(self, other: "DetailChange") -> "DetailChange":
        """Both changes."""
        features = torch.add(self.features, other.features, alpha=other.level / self.level)
        return self._replace(features=features, neighbours=self.neighbours + other.neighbours)


Details = Callable[[torch.Tensor], DetailChange]
"""The change for features (B, D, h, w) of the first block after the split."""


class DetailNetwork(ConfigModel):
    """The :class:`DetailChange` of pictures.

    Args:
        planes: P, of the condition: one a label for masks.
        out_channels: D.
        resolution, cut: of the generator, and of its split.
        width: channels of the hidden layers.
        level: root mean square of the block's features; what is read of them is divided by it, what is added multiplied.

    ``factor`` is resolution / (2 cut).

    Raises:
        ProxymaskError: sizes that cannot be.
    """

    def __init__(self, planes: int, out_channels: int, resolution: int = 256, cut: int = 64, width: int = 16, level: float = 1.0) -> None:
        super().__init__()
        check_at_least(1, planes=planes, out_channels=out_channels, width=width)
        if cut < 4 or resolution < 2 * cut or resolution % cut:
            raise ProxymaskError(f"a detail network needs pictures of at least 2 times the cut, not {resolution} and {cut}")
        self.planes, self.level, self.cell, self.factor = planes, level, resolution // cut, resolution // (2 * cut)
        self.enter = nn.Conv2d(planes, width, 1, bias=False)
        nn.init.normal_(self.enter.weight)  # one label a pixel is 1: unit variance
        self.drawn = EqualConv(out_channels, width, 1)
        self.around = EqualConv(width, width, dilation=2)  # a cell of the proxy mask
        self.join = EqualConv(width, width)
        self.leave = EqualConv(width, out_channels + NEIGHBOURS, 1, bias=False, zero=True)
        self.drawn.gain /= level

    def gate(self, given: torch.Tensor) -> torch.Tensor:
        """The condition, see :meth:`encode`, -> (B, 1, H, W), at picture size: 1 on borders, 0 from two cells of the proxy mask on."""
        x = given[:, None] if given.ndim == 3 else given
        rows, columns = _differs(x[:, :, 1:], x[:, :, :-1]), _differs(x[..., 1:], x[..., :-1])
        edge = torch.zeros_like(x[:, :1], dtype=torch.bool)
        edge[:, :, 1:] |= rows
        edge[:, :, :-1] |= rows
        edge[..., 1:] |= columns
        edge[..., :-1] |= columns
        near = self._mean_around(edge[:, 0].float()) > 0
        return self._mean_around(near.float())[:, None]

    def _mean_around(self, x: torch.Tensor) -> torch.Tensor:
        """The mean of (B, H, W) over the pixels that are at most a cell of the proxy mask away, in rows and columns."""
        return _band(x.shape[1], self.cell, x.device) @ x @ _band(x.shape[2], self.cell, x.device).T

    def encode(self, given: torch.Tensor) -> MaskFeatures:
        """What a style does not change: the condition, label ids (B, H, W), or planes (B, P, H, W), 0 to 1."""
        gate = self.gate(given).to(self.enter.weight.dtype)
        return MaskFeatures(_reduced(self._layout(given), self.factor), _reduced(gate, self.factor))

    def _layout(self, given: torch.Tensor) -> torch.Tensor:
        """The first convolution; of label ids a table, a row for each label."""
        if given.ndim == 4:
            return self.enter(given.to(self.enter.weight.dtype))
        return F.embedding(given.long(), self.enter.weight[:, :, 0, 0].T.contiguous()).permute(0, 3, 1, 2)

    def forward(self, mask: MaskFeatures, features: torch.Tensor) -> DetailChange:
        """The change of pictures, of :meth:`encode` and of the features (B, D, h, w) of the first block after the split."""
        x = _act(self.drawn(features.to(mask.layout.dtype)) + mask.layout)
        x = _act(self.join(_act(self.around(x))))
        # The last convolution has no bias: this is the change times the gate. A copy a channel multiplies faster than one for all channels.
        gate = mask.gate.expand(-1, x.shape[1], -1, -1).contiguous(memory_format=torch.channels_last)
        out = self.leave(x * gate)
        return DetailChange(out[:, :-NEIGHBOURS], out[:, -NEIGHBOURS:], self.factor, self.level)


def _reduced(x: torch.Tensor, factor: int) -> torch.Tensor:
    """(B, ., H, W) -> (B, ., H / factor, W / factor), by area."""
    return x if factor == 1 else F.avg_pool2d(x, factor)


def _act(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu_(x, 0.2)


def _differs(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Whether there is a border between pixels (B, P, H, W) and their neighbours: (B, 1, H, W)."""
    return (a != b).any(dim=1, keepdim=True) if not a.is_floating_point() else (a - b).abs().amax(dim=1, keepdim=True) > STEP


@functools.lru_cache(maxsize=16)
def _band(size: int, reach: int, device: torch.device) -> torch.Tensor:
    """(size, size): row i has the mean of the columns i - reach to i + reach."""
    at = torch.arange(size, device=device)
    near = ((at[:, None] - at).abs() <= reach).float()
    return near / near.sum(dim=1, keepdim=True)
