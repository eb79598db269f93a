"""A mapper's answer in the words of all looks (beyond the paper).

Clusters carry colour as well as place, and a mapper learns from the colours in which its few labels came: of one labelled sample, that
skin is light. Style-mixed samples tell, without any label, which clusters are the same place in another look; with that table, what a
mapper says of one look is said of all, and the style decides which is meant (:meth:`ProxyClusters.prior`).
"""

import torch
from torch import nn

from ..generators.cut import CutGenerator
from ..proxy.proxy_mask import ProxyClusters
from ..seeding import derive_rng

LEAST = 1e-8  # of a probability, before the logarithm
CHUNK = 16


class Looks(nn.Module):
    """Logits (B, K, h, w) -> log probabilities (B, K, h, w), float32: ``log((1 - share) p + share p T)``, p their softmax.

    ``T`` (K, K), rows summing to one, is :func:`look_table`'s; until it is filled, the identity.
    """

    table: torch.Tensor

    def __init__(self, num_clusters: int, share: float) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("table", torch.eye(num_clusters))

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """See the class."""
        chances = logits.float().softmax(dim=1)
        elsewhere = torch.einsum("bkhw,kj->bjhw", chances, self.table.to(chances.dtype))
        return chances.lerp(elsewhere.to(chances.dtype), self.share).clamp_min(LEAST).log()


@torch.no_grad()
def look_table(cut: CutGenerator, clusters: ProxyClusters, layers: int = 3, samples: int = 1024, seed: int = 0) -> torch.Tensor:
    """How often a cluster is another one when all but the first ``layers`` layers of a sample are another's, (K, K), rows summing to one.

    The first layers hold the layout: an annotator reads the same label off nine pixels in ten of such a pair (docs/experiments.md, 17).
    A cluster that never occurred stays itself. On the device of ``cut``.
    """
    count, device = clusters.num_clusters, next(cut.generator.parameters()).device
    pairs = torch.zeros(count * count, device=device)
    rng = derive_rng(seed, "looks")
    for size in [CHUNK] * (samples // CHUNK) + [samples % CHUNK]:
        if not size:
            continue
        z = torch.randn(2, size, cut.generator.z_dim, generator=rng).to(device)
        one, other = (cut.generator.broadcast(cut.w(part)) for part in z)
        mixed = torch.cat([one[:, :layers], other[:, layers:]], dim=1)
        here, there = (clusters.assign(cut.features(w).features) for w in (one, mixed))
        pairs += torch.bincount((here * count + there).flatten(), minlength=count * count)
    table = pairs.view(count, count)
    table = table + table.t()  # which of the two came first means nothing
    total = table.sum(dim=1, keepdim=True)
    return torch.where(total > 0, table / total.clamp_min(1), torch.eye(count, device=device))
