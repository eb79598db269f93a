"""The detail network: what was painted, at full resolution, changes the last steps of the generator (beyond the paper).

A proxy mask has the resolution of the split, so that it loses thin parts and the exact place of borders (supplement D). The detail network
reads the mask itself, or another condition, at picture size, and what the generator is about to draw: the features of its last block. It
changes two things. It adds to these features, before they become colours. And it mixes each pixel of the picture with its neighbours, so
that a border moves with the colours that stand there already. Both act about the borders that were painted, fade out with the distance to
them, and start as no change.

A trunk at half the picture's size sees the surroundings. A narrow head of two layers at the full size draws: where 2 x 2 pixels were made
of channels, they showed as a pattern of dots (docs/decisions.md, detail-head).

Shapes: B pictures of H x W pixels; P planes of the condition; D channels of the generator's last block.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from ..core.sizes import START, block_size, check_start
from .layers import EqualConv
from .stylegan2_layers import check_at_least

FOLD = 2  # pixels a side that are one position of the trunk
STEP = 0.25  # change of a plane, 0 to 1, from a pixel to the next that counts as a border
NEIGHBOURS = 4


class MaskFeatures(NamedTuple):
    """What depends on the condition alone."""

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
    """(B, 4, H, W): how much of the colour above, below, to the left and to the right replaces a pixel's own."""
    spread: int
    """Distance of the neighbours in pixels."""

    def on_picture(self, picture: torch.Tensor) -> torch.Tensor:
        """Pictures (B, img_channels, H, W), their pixels mixed with their neighbours."""
        d, weights = self.spread, self.neighbours.to(picture.dtype)
        mixed = picture.clone()
        down, right = picture[:, :, d:] - picture[:, :, :-d], picture[..., d:] - picture[..., :-d]
        mixed[:, :, d:] -= weights[:, 0:1, d:] * down
        mixed[:, :, :-d] += weights[:, 1:2, :-d] * down
        mixed[..., d:] -= weights[:, 2:3, :, d:] * right
        mixed[..., :-d] += weights[:, 3:4, :, :-d] * right
        return mixed

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
        w_dim: width of the generator's latents w.
        out_channels: D.
        resolution, cut: of the generator, and of its split.
        hidden: width at half the picture's size.
        head: width at the full size.
        level: root mean square of the last block's features; what is read of them is divided by it, what is added multiplied.
        start: (height, width) of the generator's learned constant.

    Raises:
        ProxymaskError: sizes that cannot be.
    """

    def __init__(
        self,
        planes: int,
        w_dim: int,
        out_channels: int,
        resolution: int = 256,
        cut: int = 64,
        hidden: int = 32,
        head: int = 16,
        level: float = 1.0,
        start: Sequence[int] = START,
    ) -> None:
        super().__init__()
        check_at_least(1, planes=planes, w_dim=w_dim, out_channels=out_channels, hidden=hidden, head=head)
        if cut < 4 or resolution < FOLD * cut or resolution % cut:
            raise ProxymaskError(f"a detail network needs pictures of at least {FOLD} times the cut, not {resolution} and {cut}")
        self.start = check_start(start)
        self.picture_size = block_size(resolution, self.start)
        self.planes, self.reach = planes, resolution // cut
        self.level, self.widths = level, [hidden, hidden, head, head]  # of scales and shifts
        self.modulation = EqualConv(w_dim, sum(self.widths), 1, zero=True)
        self.enter = EqualConv(planes, hidden, 5, stride=FOLD)
        self.surroundings = EqualConv(out_channels, hidden, stride=FOLD, bias=False)
        self.middle = EqualConv(hidden, head)
        self.enter_fine = EqualConv(planes, head)
        self.drawn = EqualConv(out_channels, head, 1, bias=False)
        self.join = EqualConv(head, head)
        self.leave = EqualConv(head, out_channels + NEIGHBOURS, 1, bias=False, zero=True)
        self.surroundings.gain /= level
        self.drawn.gain /= level
        self.leave.gain *= level

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

    def encode(self, given: torch.Tensor) -> MaskFeatures:
        """What a style does not change, of the condition: label ids (B, H, W), or planes (B, P, H, W), 0 to 1."""
        planes = F.one_hot(given.long(), self.planes).permute(0, 3, 1, 2) if given.ndim == 3 else given
        planes = planes.to(self.enter.weight.dtype)
        return MaskFeatures(self.enter(planes), self.enter_fine(planes), self.gate(given).to(planes.dtype))

    def forward(self, mask: MaskFeatures, w: torch.Tensor, last: torch.Tensor) -> DetailChange:
        """The change of pictures.

        Args:
            mask: of :meth:`encode`.
            w: (B, w_dim) or (B, num_ws, w_dim), of which the last layer's counts.
            last: (B, D, H, W), the features of the generator's last block.
        """
        kind = mask.coarse.dtype
        own, last = (w if w.ndim == 2 else w[:, -1]).to(kind), last.to(kind)
        scale, shift, head_scale, head_shift = self.modulation(own[:, :, None, None]).split(self.widths, dim=1)
        x = mask.coarse + self.surroundings(last)
        x = self.middle(_act(x * (1 + scale) + shift))
        fine = F.interpolate(x, scale_factor=float(FOLD), mode="nearest") + mask.fine + self.drawn(last)
        fine = self.join(_act(fine * (1 + head_scale) + head_shift))
        out = self.leave(_act(fine)) * mask.gate
        return DetailChange(out[:, :-NEIGHBOURS], out[:, -NEIGHBOURS:] / self.level, max(1, self.reach // 2))


def _act(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, 0.2)
