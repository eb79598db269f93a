"""Style-transfer labelling (beyond the paper): random samples rearranged to the style of a labelled one.

With few labelled samples, a network learns to segment pictures in the styles of these samples only. The rearranger can give the layout
of any sample such a style, and needs no labels for it. The network segments the rearranged picture. Its layout is that of the original
sample, so the labels are valid for the original sample too. The network is trained on the labelled samples and on warped copies of their
layouts and masks, which show parts of other shapes and at other places (docs/decisions.md, warped-layouts).

Shapes: n labelled samples, B samples, h x w positions at the cut.
"""

import torch
import torch.nn.functional as F

from ..models.rearranger import StyleKV
from .parts import Frozen


class StyleTransferLabeler:
    """Proxy masks rearranged to the styles of the labelled samples ``ws`` (n, w_dim) or (n, num_ws, w_dim)."""

    def __init__(self, frozen: Frozen, ws: torch.Tensor) -> None:
        self.frozen, self.split, self.clusters, self.rearranger = frozen, frozen.split, frozen.clusters, frozen.rearranger
        self.ws = self.split.generator.broadcast(ws)
        self._labelled: tuple[torch.Tensor, StyleKV] | None = None

    def to(self, device: torch.device) -> None:
        """Move everything."""
        self.frozen.to(device)
        self.ws = self.ws.to(device)

    @torch.no_grad()
    def layout(self, w: torch.Tensor) -> torch.Tensor:
        """w (B, w_dim) or (B, num_ws, w_dim) -> proxy masks (B, h, w)."""
        return self.clusters.assign(self.split.features(w).features)

    @torch.no_grad()
    def labelled(self) -> tuple[torch.Tensor, StyleKV]:
        """Proxy masks (n, h, w) and style keys of the labelled samples; computed once."""
        if self._labelled is None:
            state = self.split.features(self.ws)
            own = self.clusters.assign(state.features)
            self._labelled = own, self.rearranger.encode_style(state, own)
        return self._labelled

    @torch.no_grad()
    def nearest(self, layout: torch.Tensor) -> torch.Tensor:
        """Proxy masks (B, h, w) -> indices (B,) of labelled samples.

        For each mask: the labelled sample whose clusters cover the largest number of the mask's positions.
        """
        counts = F.one_hot(layout.flatten(1), self.clusters.num_clusters).sum(dim=1).float()
        return (counts @ self.clusters.available(self.labelled()[1].counts).float().t()).argmax(dim=1)

    @torch.no_grad()
    def levels(self, layout: torch.Tensor, of: torch.Tensor) -> list[torch.Tensor]:
        """Proxy masks (B, h, w) in the styles of the labelled samples ``of`` (B,) -> features of the blocks from the cut on, float32."""
        style = StyleKV(*(part[of] for part in self.labelled()[1]))
        mask = self.clusters.substitute(layout, self.clusters.available(style.counts), self.rearranger.substitute_threshold)
        state = self.rearranger.attend(self.rearranger.encode_mask(self.clusters.one_hot(mask)), style)
        return [level.float() for level in self.split.g2_features(state, self.ws[of])]


def warp_grid(count: int, rng: torch.Generator, strength: float = 1.0) -> torch.Tensor:
    """Random warps: sampling grids (count, 64, 64, 2), coordinates in [-1, 1] and a little beyond, as ``F.grid_sample`` takes them.

    Each is an affine map (rotation up to 14 degrees, scale 0.78 to 1.28, shift up to 15 % of the side) and a smooth displacement of about
    4 % of the side; ``strength`` multiplies all of that.
    """
    angle, scale, stretch = (torch.rand(3, count, generator=rng) - 0.5).mul(0.5 * strength).unbind()
    wide, high = scale.exp(), (scale + 0.6 * stretch).exp()
    turn = torch.stack([wide * angle.cos(), -wide * angle.sin(), high * angle.sin(), high * angle.cos()], dim=1).view(count, 2, 2)
    move = 0.3 * strength * (torch.rand(count, 2, 1, generator=rng) - 0.5)
    plain = F.affine_grid(torch.cat([turn, move], dim=2), [count, 1, 64, 64], align_corners=False)
    coarse = 0.08 * strength * torch.randn(count, 2, 5, 5, generator=rng)
    return plain + F.interpolate(coarse, size=64, mode="bicubic", align_corners=False).permute(0, 2, 3, 1)


def warp(ids: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Ids (B, h, w) of any size, warped by ``grid`` (:func:`warp_grid`): nearest neighbour, edges repeated."""
    at = F.interpolate(grid.permute(0, 3, 1, 2), size=ids.shape[1:], mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    return F.grid_sample(ids[:, None].float(), at, mode="nearest", padding_mode="border", align_corners=False)[:, 0].long()
