"""Beyond the paper: what a style lacks is lent by style-mixed samples of the same look.

A style is one sample, and one sample has no glasses, or no beard, or closed eyes. Samples whose first layers follow other
latents and whose remaining layers are the style's own have other parts in nearly the same look. For every cluster that the
style lacks, their positions with that cluster join the keys and values of the attention; clusters that the style has come
from the style alone. The lender's part depends on the style alone: it is computed once, with the style.
"""

import dataclasses

import torch

from .generators.cut import CutGenerator
from .generators.stylegan2 import seed_to_z
from .proxy.proxy_mask import ProxyClusters
from .rearranger import Rearranger, StyleKeys

FIRST_SEED = 77_000_000  # of the lenders: away from the small seeds that people choose styles by


@dataclasses.dataclass(frozen=True)
class StyleBank:
    """How much is lent; what was measured is in docs/experiments.md."""

    samples: int = 7
    """Style-mixed samples (0: nothing is lent, as in the paper)."""
    layers: int = 2
    """How many of the generator's first layers follow the lender's own latent."""
    tokens: int = 384
    """Positions lent at most; the largest clusters are thinned evenly until they fit."""
    unlike: float = 0.8
    """A cluster is lent only where no cluster of the style stands in the same places with a likeness (cosine of their occupancies) of
    this or more: another skin is not needed, a beard is. Above 1: all that is lacking."""

    @torch.no_grad()
    def lend(
        self, cut: CutGenerator, clusters: ProxyClusters, rearranger: Rearranger, w: torch.Tensor, keys: StyleKeys, truncation: float = 1.0
    ) -> StyleKeys:
        """Keys, values, counts and amounts of styles with what they lack lent to them.

        Args:
            w: (B, w_dim) or (B, num_ws, w_dim) of the styles.
            keys: theirs, of :meth:`Rearranger.encode_style`.
            truncation: psi of the lenders.

        Returns:
            ``tokens`` more keys and values a style; ``counts`` with what the lenders have of clusters that the style lacks.
        """
        if not self.samples or not self.tokens:
            return keys
        fine = cut.generator.broadcast(w)
        z = seed_to_z(range(FIRST_SEED, FIRST_SEED + self.samples), cut.generator.z_dim).to(w.device)
        coarse = cut.generator.broadcast(cut.w(z, truncation))
        lacking = ~clusters.available(keys.counts)
        key, value, ids = [], [], []
        for lender in coarse:
            mixed = torch.cat([lender[: self.layers].expand(len(fine), -1, -1), fine[:, self.layers :]], dim=1)
            state = cut.features(mixed)
            own = clusters.assign(state.features)
            lent = rearranger.encode_style(state, own)
            key.append(lent.key)
            value.append(lent.value)
            ids.append(own.flatten(1))
        keys_lent, values_lent, of = torch.cat(key, dim=1), torch.cat(value, dim=1), torch.cat(ids, dim=1)
        there = torch.zeros_like(keys.counts).scatter_add_(1, of, torch.ones_like(of))
        counts = keys.counts + there * lacking
        stand_in = clusters.likeness()[None].masked_fill(lacking[:, None, :], -1.0).amax(dim=2)  # (B, K): the best that the style has
        wanted = lacking & clusters.available(counts) & (stand_in < self.unlike)
        chosen = torch.stack([self._choose(of[b], wanted[b]) for b in range(len(of))]).to(w.device)
        pick = chosen[:, :, None]
        return StyleKeys(
            torch.cat([keys.key, keys_lent.gather(1, pick.expand(-1, -1, keys_lent.shape[2]))], dim=1),
            torch.cat([keys.value, values_lent.gather(1, pick.expand(-1, -1, values_lent.shape[2]))], dim=1),
            keys.rgb,
            torch.where(wanted | ~lacking, counts, keys.counts),
            torch.where(wanted, keys.amount + there / self.samples, keys.amount),
            keys.look,
        )

    def _choose(self, of: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """``tokens`` positions of a lender's n, whose clusters are ``of`` (n,), from the ``wanted`` (K,) clusters: each the same share."""
        places = [(of == k).nonzero().flatten() for k in wanted.nonzero().flatten().tolist()]
        if not places:  # nothing is wanted: one position, over and over, that no mask asks for
            return torch.zeros(self.tokens, dtype=torch.int64)
        caps = torch.arange(self.tokens + 1)
        taken = torch.tensor([len(p) for p in places])[:, None].minimum(caps).sum(dim=0)  # by every cap, rising
        cap = int((taken <= self.tokens).nonzero().max())
        kept = [p[torch.linspace(0, len(p) - 1, min(len(p), cap)).round().long()] if cap else p[:0] for p in places]
        chosen = torch.cat(kept)
        if not len(chosen):  # more clusters than tokens
            chosen = torch.stack([p[0] for p in places])[: self.tokens]
        return chosen[torch.arange(self.tokens) % len(chosen)]  # repeated to a fixed number: repeats share the weight of the first
