"""Samples in the look of a labelled one (beyond the paper): where one label teaches its colours, not its parts.

One labelled sample says what skin is where it is that sample's skin. The rearranger needs no label to lay any sample out in that look, so
that a network which knows the one look can read the layout of all; what it reads belongs to the sample as it was. Bent layouts of the
labelled sample itself, bent as its mask is, teach that network parts of other shapes and places (docs/experiments.md, 24).
"""

import torch
import torch.nn.functional as F

from ..models.proxy_clusters import ProxyClusters
from ..models.rearranger import Rearranger, StyleKV
from ..models.split_generator import SplitGenerator


class StyleTransferLabeler:
    """Layouts in the looks of the labelled samples ``ws`` (n, w_dim) or (n, num_ws, w_dim), by the frozen ``rearranger``."""

    def __init__(self, cut: SplitGenerator, clusters: ProxyClusters, rearranger: Rearranger, ws: torch.Tensor) -> None:
        self.cut, self.clusters, self.rearranger = cut.eval(), clusters.eval(), rearranger.eval()
        for module in (cut, clusters, rearranger):
            module.requires_grad_(False)
        self.ws = cut.generator.broadcast(ws)
        self._known: tuple[torch.Tensor, StyleKV] | None = None

    def to(self, device: torch.device) -> None:
        """Move everything."""
        for module in (self.cut, self.clusters, self.rearranger):
            module.to(device)
        self.ws = self.ws.to(device)

    @torch.no_grad()
    def layout(self, w: torch.Tensor) -> torch.Tensor:
        """w (B, w_dim) or (B, num_ws, w_dim) -> proxy masks (B, h, w)."""
        return self.clusters.assign(self.cut.features(w).features)

    @torch.no_grad()
    def known(self) -> tuple[torch.Tensor, StyleKV]:
        """Of the labelled samples, what never changes: proxy masks (n, h, w) and keys; computed once."""
        if self._known is None:
            state = self.cut.features(self.ws)
            own = self.clusters.assign(state.features)
            self._known = own, self.rearranger.encode_style(state, own)
        return self._known

    @torch.no_grad()
    def nearest(self, layout: torch.Tensor) -> torch.Tensor:
        """Proxy masks (B, h, w) -> numbers (B,) of the labelled samples that have most of what each asks for."""
        asked = F.one_hot(layout.flatten(1), self.clusters.num_clusters).sum(dim=1).float()
        return (asked @ self.clusters.available(self.known()[1].counts).float().t()).argmax(dim=1)

    @torch.no_grad()
    def levels(self, layout: torch.Tensor, of: torch.Tensor) -> list[torch.Tensor]:
        """Proxy masks (B, h, w) in the looks of the labelled samples ``of`` (B,) -> features of the blocks from the cut on, float32."""
        style = StyleKV(*(part[of] for part in self.known()[1]))
        asked = self.clusters.substitute(layout, self.clusters.available(style.counts), self.rearranger.substitute_threshold)
        moved = self.rearranger.attend(self.rearranger.encode_mask(self.clusters.one_hot(asked)), style)
        return [level.float() for level in self.cut.g2_features(moved, self.ws[of])]


def warp_grid(count: int, rng: torch.Generator, far: float = 1.0) -> torch.Tensor:
    """Where to look in order to bend a picture: (count, 64, 64, 2) in [-1, 1] and a little beyond, as ``F.grid_sample`` takes it.

    Every one is an affine map (turned by up to 14 degrees, sides times 0.78 to 1.28, moved by up to 15 % of the side) and a smooth
    displacement of some 4 % of the side; ``far`` multiplies all of that.
    """
    angle, scale, stretch = (torch.rand(3, count, generator=rng) - 0.5).mul(0.5 * far).unbind()
    wide, high = scale.exp(), (scale + 0.6 * stretch).exp()
    turn = torch.stack([wide * angle.cos(), -wide * angle.sin(), high * angle.sin(), high * angle.cos()], dim=1).view(count, 2, 2)
    move = 0.3 * far * (torch.rand(count, 2, 1, generator=rng) - 0.5)
    plain = F.affine_grid(torch.cat([turn, move], dim=2), [count, 1, 64, 64], align_corners=False)
    coarse = 0.08 * far * torch.randn(count, 2, 5, 5, generator=rng)
    return plain + F.interpolate(coarse, size=64, mode="bicubic", align_corners=False).permute(0, 2, 3, 1)


def warp(ids: torch.Tensor, bend: torch.Tensor) -> torch.Tensor:
    """Ids (B, h, w) of any size as ``bend`` (:func:`bends`) says, by nearest neighbour, edges repeated."""
    at = F.interpolate(bend.permute(0, 3, 1, 2), size=ids.shape[1:], mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    return F.grid_sample(ids[:, None].float(), at, mode="nearest", padding_mode="border", align_corners=False)[:, 0].long()
