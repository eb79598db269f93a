"""Two baselines without learning, which the rearranger and the mapper must surpass.

(a) :func:`nearest_copy`, instead of the rearranger: every position of the proxy mask copies the style's features from the nearest
    position of the same cluster; where the style lacks the cluster, from the position most similar to its centroid.
(b) :class:`LabelTable`, instead of the mapper: every label gets clusters in the proportions that they have in labelled samples.

Shapes: B pictures of H x W pixels; h x w positions, n = h w of them; C channels, K clusters.
"""

import numpy as np
import torch
import torch.nn.functional as F

from ..core.hashing import tensors_hash
from ..models.proxy_clusters import ProxyClusters
from ..models.split_generator import SplitState


def nearest_copy(state: SplitState, proxy: torch.Tensor, clusters: ProxyClusters) -> SplitState:
    """Baseline (a): style samples at the cut (B, C, h, w) and proxy masks (B, h, w) int64 -> features (and RGB) copied into that layout."""
    height, width = proxy.shape[1:]
    axes = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    grid = torch.stack(axes, dim=-1).view(-1, 2).float().to(proxy.device)
    distance = torch.cdist(grid, grid)  # (n, n), from positions of the proxy mask to those of the style
    own = clusters.assign(state.features).flatten(1)
    most_similar = clusters.scores(state.features.float()).flatten(2).argmax(dim=2)  # (B, K) positions
    source = []
    for index, wanted in enumerate(proxy.flatten(1)):  # one picture at a time: (n, n) each
        same = wanted[:, None] == own[index][None, :]
        nearest = distance.masked_fill(~same, 1e9).argmin(dim=1)
        source.append(torch.where(same.any(dim=1), nearest, most_similar[index][wanted]))
    positions = torch.stack(source)  # (B, n)

    def take(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2).gather(2, positions[:, None, :].expand(-1, x.shape[1], -1)).view_as(x)

    return SplitState(take(state.features), take(state.rgb))


class LabelTable:
    """Baseline (b): for each label, the clusters of the first labelled sample that shows it.

    Args:
        masks: label ids (B, H, W) of labelled samples.
        proxies: their proxy masks (B, h, w).
    """

    def __init__(self, masks: torch.Tensor, proxies: torch.Tensor) -> None:
        self.size = (proxies.shape[-2], proxies.shape[-1])
        self.digest = tensors_hash({"masks": masks, "proxies": proxies})[:16]
        self.sources: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for mask, proxy in zip(self._resized(masks), proxies.cpu().numpy(), strict=True):
            for label in np.unique(mask):
                if int(label) not in self.sources:
                    where = np.argwhere(mask == label)
                    self.sources[int(label)] = (where.astype(np.float32), proxy[mask == label])

    def _resized(self, masks: torch.Tensor) -> np.ndarray:
        return F.interpolate(masks[:, None].float(), size=self.size, mode="nearest-exact")[:, 0].long().cpu().numpy()

    def __call__(self, masks: torch.Tensor) -> torch.Tensor:
        """Label ids (B, H, W) -> proxy masks (B, h, w) int64. A label that no labelled sample shows takes the clusters of label 0."""
        small = self._resized(masks)
        out = np.zeros(small.shape, np.int64)
        fallback = self.sources.get(0, next(iter(self.sources.values())))
        for index, mask in enumerate(small):
            for label in np.unique(mask):
                positions, clusters = self.sources.get(int(label), fallback)
                out[index][mask == label] = _distribute(np.argwhere(mask == label).astype(np.float32), positions, clusters)
        return torch.from_numpy(out)


def _distribute(positions: np.ndarray, source: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Clusters (n,) for ``positions`` (n, 2), given ``source`` positions (m, 2) and their ``clusters`` (m,).

    Each cluster gets as large a share of the positions as it has in the source, the nearest ones to its source positions first.
    """
    names, counts = np.unique(clusters, return_counts=True)
    share = counts / counts.sum() * len(positions)
    quota = np.floor(share).astype(int)
    for k in np.argsort(quota - share)[: len(positions) - quota.sum()]:
        quota[k] += 1
    nearest = np.stack([np.sqrt(((positions[:, None] - source[clusters == name][None]) ** 2).sum(-1)).min(1) for name in names], axis=1)
    chosen = np.full(len(positions), -1)
    for flat in np.argsort(nearest, axis=None, kind="stable"):
        position, k = divmod(int(flat), len(names))
        if chosen[position] < 0 and quota[k] > 0:
            chosen[position] = k
            quota[k] -= 1
    return names[chosen]
