"""The detail network: what was painted, at full resolution, changes the last steps of the generator (beyond the paper).

A proxy mask has the resolution of the split, so that it loses thin parts and the exact place of borders (supplement D). The detail network
reads the mask itself, or another condition, at picture size, and what the generator is about to draw: the features of its last block. It
changes two things. It adds to these features, before they become colours. And it mixes each pixel of the picture with its neighbours, so
that a border moves with the colours that stand there already. Both act about the borders that were painted, fade out with the distance to
them, and start as no change.

Most of it works at half the picture's size, where 2 x 2 pixels of the condition are channels. A narrow head of two layers at the full size
draws: where 2 x 2 pixels were made of channels too, they showed as a pattern of dots (docs/decisions.md, detail-head).

Shapes: B pictures of H x W pixels; P planes of the condition; K clusters; h x w positions and C channels at the split; D channels of the
generator's last block.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from ..core.sizes import START, block_size, check_start
from .layers import EqualConv
from .stylegan2_layers import check_at_least

FOLD = 2  # pixels a side that become channels
STEP = 0.25  # change of a plane, 0 to 1, from a pixel to the next that counts as a border
NEIGHBOURS = 8


class MaskFeatures(NamedTuple):
    """What depends on the condition and the proxy mask alone."""

    coarse: torch.Tensor
    """(B, hidden, H / 2, W / 2)."""
    fine: torch.Tensor
    """(B, head, H, W)."""
    gate: torch.Tensor
    """(B, 1, H, W), 1 on borders, 0 far from them."""


class DetailChange(NamedTuple):
    """What a detail network changes in the pictures of a batch."""

    features: torch.Tensor
    """(B, D, H, W), added to the features of the generator's last block."""
    neighbours: torch.Tensor
    """(B, 8, H, W): how much of each neighbour's colour replaces a pixel's own, from the upper left one, row by row."""
    spread: int
    """Distance of the neighbours in pixels."""

    def on_picture(self, picture: torch.Tensor) -> torch.Tensor:
        """Pictures (B, img_channels, H, W), their pixels mixed with their neighbours."""
        around = F.unfold(F.pad(picture, [self.spread] * 4, mode="replicate"), 3, dilation=self.spread)
        around = around.unflatten(2, picture.shape[2:]).unflatten(1, (picture.shape[1], NEIGHBOURS + 1))
        half = NEIGHBOURS // 2
        weights = self.neighbours.to(picture.dtype)
        centre = torch.zeros_like(weights[:, :1])
        weights = torch.cat([weights[:, :half], centre, weights[:, half:]], dim=1)
        return picture + ((around - picture[:, :, None]) * weights[:, None]).sum(dim=2)

    def scaled(self, share: torch.Tensor) -> "DetailChange":
        """The change where it counts by ``share``, 0 to 1, (B, 1, H, W) or a shape that broadcasts to it."""
        return self._replace(features=self.features * share.to(self.features), neighbours=self.neighbours * share.to(self.neighbours))

    def plus(self, other: "DetailChange") -> "DetailChange":
        """Both changes."""
        return self._replace(features=self.features + other.features, neighbours=self.neighbours + other.neighbours)


Details = Callable[[torch.Tensor], DetailChange]
"""The change for features (B, D, H, W) of the generator's last block."""


class DetailNetwork(ConfigModel):
    """The :class:`DetailChange` of pictures.

    Args:
        planes: P, of the condition: one a label for masks.
        num_clusters: K.
        channels: C.
        w_dim: width of the generator's latents w.
        out_channels: D.
        resolution, cut: of the generator, and of its split.
        hidden: width at half the picture's size.
        head: width at the full size.
        start: (height, width) of the generator's learned constant.

    Raises:
        ProxymaskError: sizes that cannot be.
    """

    level: torch.Tensor
    """Root mean square of the last block's features, of which the change is a multiple."""

    def __init__(
        self,
        planes: int,
        num_clusters: int,
        channels: int,
        w_dim: int,
        out_channels: int,
        resolution: int = 256,
        cut: int = 64,
        hidden: int = 32,
        head: int = 16,
        start: Sequence[int] = START,
    ) -> None:
        super().__init__()
        check_at_least(1, planes=planes, num_clusters=num_clusters, channels=channels)
        check_at_least(1, w_dim=w_dim, out_channels=out_channels, hidden=hidden, head=head)
        if cut < 4 or resolution < FOLD * cut or resolution % cut:
            raise ProxymaskError(f"a detail network needs pictures of at least {FOLD} times the cut, not {resolution} and {cut}")
        self.start = check_start(start)
        self.picture_size = block_size(resolution, self.start)
        self.planes, self.reach = planes, resolution // cut
        self.size = (self.picture_size[0] // FOLD, self.picture_size[1] // FOLD)
        self.widths = [hidden] * 4 + [head] * 2  # of scales and shifts
        self.enter = EqualConv(FOLD**2 * planes, hidden)
        self.embed = nn.Parameter(torch.randn(hidden, num_clusters))
        self.moved = EqualConv(channels, hidden, 1)
        self.middle = EqualConv(hidden, hidden)
        self.modulation = EqualConv(w_dim, sum(self.widths), 1, zero=True)
        self.narrow = EqualConv(hidden, head, 1)
        self.enter_fine = EqualConv(planes, head)
        self.drawn = EqualConv(out_channels, head, 1, bias=False)
        self.join = EqualConv(head, head)
        self.leave = EqualConv(head, out_channels + NEIGHBOURS, 1, bias=False, zero=True)
        self.register_buffer("level", torch.ones(()))

    def gate(self, given: torch.Tensor) -> torch.Tensor:
        """The condition, see :meth:`encode`, -> (B, 1, H, W): 1 on borders, 0 from two cells of the proxy mask on."""
        if given.ndim == 3:
            given = given[:, None]
            rows, columns = given[:, :, 1:] != given[:, :, :-1], given[..., 1:] != given[..., :-1]
        else:
            rows = (given[:, :, 1:] - given[:, :, :-1]).abs().amax(dim=1, keepdim=True) > STEP
            columns = (given[..., 1:] - given[..., :-1]).abs().amax(dim=1, keepdim=True) > STEP
        edge = torch.zeros_like(given[:, :1], dtype=torch.bool)
        edge[:, :, 1:] |= rows
        edge[:, :, :-1] |= rows
        edge[..., 1:] |= columns
        edge[..., :-1] |= columns
        near = self._mean_around(edge.float()) > 0
        return self._mean_around(near.float())

    def _mean_around(self, x: torch.Tensor) -> torch.Tensor:
        """The mean over the pixels that are at most a cell of the proxy mask away, in rows and columns."""
        return F.avg_pool2d(x, 2 * self.reach + 1, 1, self.reach, count_include_pad=False)

    def encode(self, given: torch.Tensor, proxy: torch.Tensor) -> MaskFeatures:
        """What a style does not change.

        Args:
            given: the condition: label ids (B, H, W), or planes (B, P, H, W), 0 to 1.
            proxy: the proxy mask, ids (B, h, w) or planes (B, K, h, w).
        """
        planes = F.one_hot(given.long(), self.planes).permute(0, 3, 1, 2) if given.ndim == 3 else given
        planes = planes.to(self.enter.weight.dtype)
        if proxy.ndim == 3:
            embedded = F.embedding(proxy, self.embed.t()).permute(0, 3, 1, 2)
        else:
            embedded = torch.einsum("bkhw,ck->bchw", proxy.to(self.embed.dtype), self.embed)
        coarse = self.enter(F.pixel_unshuffle(planes, FOLD))
        coarse = coarse + self._raised(embedded.to(coarse.dtype))
        return MaskFeatures(coarse, self.enter_fine(planes), self.gate(given).to(coarse.dtype))

    def forward(self, mask: MaskFeatures, features: torch.Tensor, w: torch.Tensor, last: torch.Tensor) -> DetailChange:
        """The change of pictures.

        Args:
            mask: of :meth:`encode`.
            features: (B, C, h, w), rearranged.
            w: (B, w_dim) or (B, num_ws, w_dim), of which the last layer's counts.
            last: (B, D, H, W), the features of the generator's last block.
        """
        own = w if w.ndim == 2 else w[:, -1]
        kind = mask.coarse.dtype
        modulation = self.modulation(own.to(kind)[:, :, None, None]).split(self.widths, dim=1)
        scale, shift, inner_scale, inner_shift, head_scale, head_shift = modulation
        level = features.float().square().mean(dim=(1, 2, 3), keepdim=True).add(1e-6).rsqrt()
        moved = self.moved((features.float() * level).to(kind))
        x = (mask.coarse + self._raised(moved)) * math.sqrt(1 / 3)
        x = _act(x * (1 + scale) + shift)
        x = _act(self.middle(x) * (1 + inner_scale) + inner_shift)
        drawn = self.drawn(last.to(kind)) * (1 / self.level).to(kind)
        fine = F.interpolate(self.narrow(x), scale_factor=float(FOLD), mode="nearest") + mask.fine + drawn
        fine = _act(fine * ((1 + head_scale) * math.sqrt(1 / 3)) + head_shift)
        out = self.leave(_act(self.join(fine)) * mask.gate)
        return DetailChange(out[:, :-NEIGHBOURS] * self.level.to(out.dtype), out[:, -NEIGHBOURS:], max(1, self.reach // 2))

    def _raised(self, x: torch.Tensor) -> torch.Tensor:
        """From the size of the split to that of the network."""
        return x if x.shape[2:] == self.size else F.interpolate(x, size=self.size, mode="nearest")


def _act(x: torch.Tensor) -> torch.Tensor:
    """Leaky ReLU with gain sqrt(2)."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)
