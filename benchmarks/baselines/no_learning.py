"""Two baselines without learning, which the rearranger and the mapper must beat to earn their keep.

(a) instead of the rearranger: every position of the asked mask copies the features at the nearest position of the same
    cluster in the style sample (where the style lacks the cluster: the features most like its centroid);
(b) instead of the mapper: every label takes clusters in the proportions seen in the labelled sample, nearest position first.
"""

import numpy as np
import torch
import torch.nn.functional as F

from proxymask.generators.cut import CutState
from proxymask.proxy.proxy_mask import ProxyClusters


def nearest_copy(state: CutState, asked: torch.Tensor, clusters: ProxyClusters) -> CutState:
    """Baseline (a): style state and asked proxy mask (B, r, r) -> state of copied features (and RGB)."""
    b, _, r, _ = state.features.shape
    grid = torch.stack(torch.meshgrid(torch.arange(r), torch.arange(r), indexing="ij"), dim=-1).view(-1, 2).float().to(asked.device)
    distance = torch.cdist(grid, grid)[None].expand(b, -1, -1)  # (B, asked, style)
    own = clusters.assign(state.features).flatten(1)
    same = asked.flatten(1)[:, :, None] == own[:, None, :]
    likeness = clusters.scores(state.features.float()).flatten(2)  # (B, K, n)
    by_likeness = likeness.argmax(dim=2).gather(1, asked.flatten(1))
    source = torch.where(same.any(dim=2), distance.masked_fill(~same, 1e9).argmin(dim=2), by_likeness)

    def take(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2).gather(2, source[:, None, :].expand(-1, x.shape[1], -1)).view_as(x)

    return CutState(take(state.features), take(state.rgb))


class LabelTable:
    """Baseline (b), from labelled samples: masks (n, R, R) ids and their proxy masks (n, r, r); the first with a label serves it."""

    def __init__(self, masks: torch.Tensor, proxies: torch.Tensor) -> None:
        r = proxies.shape[-1]
        small = F.interpolate(masks[:, None].float(), size=r, mode="nearest-exact")[:, 0].long()
        self.sources: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for mask, proxy in zip(small.cpu().numpy(), proxies.cpu().numpy(), strict=True):
            for label in np.unique(mask):
                if int(label) not in self.sources:
                    where = np.argwhere(mask == label)
                    self.sources[int(label)] = (where.astype(np.float32), proxy[mask == label])
        self.resolution = r

    def __call__(self, masks: torch.Tensor) -> torch.Tensor:
        """Label masks (B, R, R) -> proxy masks (B, r, r). A label that no labelled sample shows takes the background's clusters."""
        small = F.interpolate(masks[:, None].float(), size=self.resolution, mode="nearest-exact")[:, 0].long().cpu().numpy()
        out = np.zeros(small.shape, np.int64)
        for index, mask in enumerate(small):
            for label in np.unique(mask):
                places, clusters = self.sources.get(int(label), self.sources[0])
                out[index][mask == label] = _share_out(np.argwhere(mask == label).astype(np.float32), places, clusters)
        return torch.from_numpy(out)


def _share_out(asked: np.ndarray, places: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """A cluster for each asked position: each cluster's quota as in the sample, filled by the nearest pairs first."""
    names, counts = np.unique(clusters, return_counts=True)
    share = counts / counts.sum() * len(asked)
    quota = np.floor(share).astype(int)
    for k in np.argsort(quota - share)[: len(asked) - quota.sum()]:
        quota[k] += 1
    nearest = np.stack([np.sqrt(((asked[:, None] - places[clusters == name][None]) ** 2).sum(-1)).min(1) for name in names], axis=1)
    chosen = np.full(len(asked), -1)
    for flat in np.argsort(nearest, axis=None, kind="stable"):
        position, k = divmod(int(flat), len(names))
        if chosen[position] < 0 and quota[k] > 0:
            chosen[position] = k
            quota[k] -= 1
    return names[chosen]
