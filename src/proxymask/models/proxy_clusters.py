"""``ProxyClusters``: centroids of the features at the split, and the proxy masks that they give (supplement A.2).

Shapes: B samples, K clusters, C feature channels, h x w the size of the features at the split.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from ..core.sizes import START, block_size, check_start
from . import spherical_kmeans as kmeans

FeatureSource = Callable[[], Iterable[Tensor]]

MIN_COUNT = 1.0  # lower limit of a cluster's count in a style sample, so that a missing cluster is unlikely and not impossible
PRIOR_EXPONENT = 1.25  # of the style prior; above 1, because mappers are too sure of colours, which a mask does not determine
SIMILARITY_EXPONENT = 4.0  # of the spatial similarity in the style prior; larger: only clusters in nearly the same places count


class ProxyClusters(ConfigModel):
    """K unit centroids of the features at the split. The proxy mask is the id of the nearest centroid at every position.

    Buffers, all zero until :func:`fit_proxy_clusters` makes a fitted object:
        ``centroids`` (K, C) float32, unit length;
        ``counts`` (K,) int64, feature vectors of the fit in each cluster;
        ``inertia`` (), mean of 1 - cosine of a vector to its centroid;
        ``occupancy`` (K, h, w), share of the samples that have the cluster at a position;
        ``typical`` (K,), mean size of the cluster, in positions, over those samples that have it at all.

    Args:
        num_clusters: K; 25 in the paper.
        channels: C.
        resolution: r, side of the feature maps; (h, w) is ``r / 4`` times ``start``.
        cut: where the generator was split, from its config; recorded only.
        sample_count: number of pictures that the centroids were made from (256 in the paper); recorded only.
        start: (height, width) of the generator's first block; (4, 4) where pictures are square.
    """

    centroids: Tensor
    counts: Tensor
    inertia: Tensor
    occupancy: Tensor
    typical: Tensor

    def __init__(
        self,
        num_clusters: int = 25,
        channels: int = 512,
        resolution: int = 64,
        cut: str | int | None = None,
        sample_count: int = 256,
        start: Sequence[int] = START,
    ) -> None:
        super().__init__()
        if min(num_clusters, channels, resolution) < 1:
            raise ProxymaskError("num_clusters, channels and resolution must be at least one")
        self.num_clusters, self.channels, self.resolution = num_clusters, channels, resolution
        self.cut, self.sample_count = cut, sample_count
        self.start, self.size = check_start(start), block_size(resolution, start)
        self.register_buffer("centroids", torch.zeros(num_clusters, channels))
        self.register_buffer("counts", torch.zeros(num_clusters, dtype=torch.int64))
        self.register_buffer("inertia", torch.zeros(()))
        self.register_buffer("occupancy", torch.zeros(num_clusters, *self.size))
        self.register_buffer("typical", torch.zeros(num_clusters))

    def save_pretrained(self, folder: str | Path, half: bool = False) -> Path:
        """As :meth:`ConfigModel.save_pretrained`, but ``half`` is ignored: rounded centroids would give other masks and save only 25 KB."""
        return super().save_pretrained(folder)

    def scores(self, features: Tensor) -> Tensor:
        """Cosine (B, K, h, w), float32 in [-1, 1], of ``features`` (B, C, h, w) to every centroid; differentiable.

        A zero vector scores 0 everywhere, with a finite gradient. Float32 also under autocast.
        """
        self._check(features)
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            norm = torch.linalg.vector_norm(features, dim=1, keepdim=True)
            unit = features / torch.where(norm > 0, norm, 1.0)
            return torch.einsum("bchw,kc->bkhw", unit, self.centroids)

    def assign(self, features: Tensor) -> Tensor:
        """Features (B, C, h, w) -> proxy mask (B, h, w), int64 in [0, K): the nearest centroid at every position.

        Computed as :func:`spherical_kmeans.assign`, outside autocast, so that it is the same in every precision. No gradient.
        """
        self._check(features)
        b, c, h, w = features.shape
        with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
            return kmeans.assign(features.permute(0, 2, 3, 1).reshape(-1, c), self.centroids).view(b, h, w)

    def available(self, counts: Tensor, share: float = 0.25) -> Tensor:
        """Whether style samples have enough positions of a cluster: at least ``share`` of its typical size.

        A few positions are not enough. For example, the dark rim of a pair of glasses is in the cluster of dark skin, and attention would
        spread it over a whole face.

        Args:
            counts: (B, K), positions of each cluster, from :meth:`Rearranger.encode_style`.

        Returns:
            (B, K) bool; each row has at least one True.
        """
        return (counts >= self.typical * share) & (counts > 0) | (counts == counts.amax(dim=1, keepdim=True))

    def prior(self, counts: Tensor) -> Tensor:
        """Style prior: log of how much more frequent a cluster is in a style sample than in an average sample, (B, K) float32.

        ``PRIOR_EXPONENT * (log(counts_k / mean_k) - log(sum_j s_kj counts_j / sum_j s_kj mean_j))``, where mean_k is the mean count of
        cluster k in a sample and s_kj the spatial similarity of two clusters to the power ``SIMILARITY_EXPONENT``.

        By Bayes' rule the first term turns the mapper's p(cluster | mask) into p(cluster | mask, style). The second term removes the
        frequency of all clusters in the same places, which is shape and not style: a style sample with much hair decides which hair is
        drawn, not how much of it.

        Args:
            counts: (B, K), positions of each cluster, from :meth:`Rearranger.encode_style`.
        """
        mean, counts = self._mean_counts(), counts.float().clamp_min(MIN_COUNT)
        with torch.autocast(counts.device.type, enabled=False):
            similar = self.spatial_similarity().fill_diagonal_(1.0) ** SIMILARITY_EXPONENT  # 1 also for a cluster without occupancy
            return PRIOR_EXPONENT * ((counts / mean).log() - ((counts @ similar) / (mean @ similar)).log())

    def _mean_counts(self) -> Tensor:
        """Mean number of positions of each cluster in a sample, (K,), at least 0.05."""
        return self.occupancy.sum(dim=(1, 2)).clamp_min(0.05)

    def shares(self) -> Tensor:
        """Share of each cluster in all positions, (K,), above 0, summing to one."""
        mean = self._mean_counts()
        return mean / mean.sum()

    def spatial_similarity(self) -> Tensor:
        """How far clusters occur in the same places: cosine of their occupancies, (K, K) in [0, 1]."""
        places = torch.nn.functional.normalize(self.occupancy.flatten(1), dim=1)
        return places @ places.t()

    def substitute(self, mask: Tensor, present: Tensor, min_similarity: float = -1.0) -> Tensor:
        """Replace every cluster that the style sample lacks by that of its clusters with the largest spatial similarity.

        For example, light skin in the mask becomes dark skin where the style has only that, because both occur in the same places.

        Args:
            mask: ids (B, h, w).
            present: (B, K) bool, the clusters that the style samples have (:meth:`available`), at least one in each row.
            min_similarity: a cluster with no substitute of at least this spatial similarity is kept; a refinement block can draw it.
                Negative: every missing cluster is replaced.

        Returns:
            ids (B, h, w), all of them present where ``min_similarity`` is negative.
        """
        similarity = self.spatial_similarity().fill_diagonal_(2.0)  # above all others: a cluster that is present is kept
        best, replacement = similarity[None].masked_fill(~present[:, None, :], -1.0).max(dim=2)  # (B, K)
        replacement = torch.where(best >= min_similarity, replacement, torch.arange(self.num_clusters, device=mask.device))
        return replacement.gather(1, mask.flatten(1)).view_as(mask)

    def one_hot(self, mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Ids (B, h, w) -> one-hot (B, K, h, w). An id outside [0, K) raises ``ProxymaskError``."""
        self._check_ids(mask)
        hot = torch.zeros((len(mask), self.num_clusters, *mask.shape[1:]), dtype=dtype, device=mask.device)
        return hot.scatter_(1, mask.long()[:, None], 1)

    def colors(self) -> np.ndarray:
        """RGB colours of the clusters, uint8 (K, 3), easy to distinguish; colour i is the same for every K up to 700."""
        return _palette(self.num_clusters)

    def colorize(self, mask: Tensor | np.ndarray) -> np.ndarray:
        """Ids of any shape (...) -> RGB, uint8 (..., 3). An id outside [0, K) raises ``ProxymaskError``."""
        mask = torch.as_tensor(mask).detach().cpu()
        self._check_ids(mask)
        return self.colors()[mask.numpy()]

    def summary(self) -> list[str]:
        """Lines of text: what was clustered, the inertia, the sizes of the largest and the smallest cluster, the empty ones."""
        sizes = self.counts.tolist()
        total = sum(sizes)
        if total == 0:
            return [f"{self.num_clusters} proxy clusters, not fitted"]
        empty = [i for i, size in enumerate(sizes) if size == 0]
        where = "" if self.cut is None else f", cut {self.cut}"
        return [
            f"{self.num_clusters} proxy clusters of {total:,} vectors ({self.sample_count} pictures, {self.channels} channels at "
            f"{self.size[0]} x {self.size[1]}{where})",
            f"mean 1 - cosine to the centroid: {float(self.inertia):.4f}",
            f"sizes: {max(sizes) / total:.1%} of the vectors in the largest, {min(sizes) / total:.1%} in the smallest",
            f"empty: {', '.join(map(str, empty)) or 'none'}",
        ]

    def report(self) -> str:
        """Text, several lines: :meth:`summary`, then the size of each cluster."""
        sizes = self.counts.tolist()
        total = max(sum(sizes), 1)
        order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)) if sum(sizes) else []
        return "\n".join([*self.summary(), *(f"{i:4d}  {sizes[i]:12,d}  {sizes[i] / total:6.1%}" for i in order)])

    def _check(self, features: Tensor) -> None:
        c, (h, w) = self.channels, self.size
        if features.ndim != 4 or features.shape[1:] != (c, h, w):
            raise ProxymaskError(f"features have shape {tuple(features.shape)}, these proxy clusters take (B, {c}, {h}, {w})")

    def _check_ids(self, mask: Tensor) -> None:
        if mask.is_floating_point() or mask.dtype == torch.bool:
            raise ProxymaskError(f"a proxy mask must hold integer ids, got {mask.dtype}")
        if mask.numel() and (mask.min() < 0 or mask.max() >= self.num_clusters):
            raise ProxymaskError(f"proxy mask ids run from {int(mask.min())} to {int(mask.max())}; there are {self.num_clusters} clusters")


def fit_proxy_clusters(
    feature_source: FeatureSource,
    num_clusters: int = 25,
    resolution: int = 64,
    seed: int = 0,
    *,
    cut: str | int | None = None,
    start: Sequence[int] = START,
    max_iterations: int = 100,
    progress: kmeans.Progress | None = None,
) -> ProxyClusters:
    """Cluster the features of sample pictures by :func:`spherical_kmeans.spherical_kmeans`.

    Args:
        feature_source: called once for each pass; yields the same feature maps (B, C, h, w) each time, in batches of any size.
        resolution, start: the size of the maps, as in :class:`ProxyClusters`; other sizes raise ``ProxymaskError``.
        cut: recorded in the result's config.

    The other arguments and errors are those of ``spherical_kmeans``.

    Returns:
        Fitted clusters on the CPU, in eval mode, gradients off.
    """
    height, width = block_size(resolution, start)

    def chunks() -> Iterator[Tensor]:
        for features in feature_source():
            if features.ndim != 4 or features.shape[2:] != (height, width):
                raise ProxymaskError(f"features have shape {tuple(features.shape)}, expected (B, C, {height}, {width})")
            rows = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
            del features  # rows is a copy: do not keep both in memory
            yield rows
            del rows

    found = kmeans.spherical_kmeans(chunks, num_clusters, seed=seed, max_iterations=max_iterations, progress=progress)
    pictures = (found.points + found.zero_vectors) // (height * width)
    clusters = ProxyClusters(num_clusters, found.centroids.shape[1], resolution, cut, pictures, start)
    clusters.centroids.copy_(found.centroids)
    clusters.counts.copy_(found.counts)
    clusters.inertia.fill_(found.inertia)
    having = torch.zeros(num_clusters)
    for rows in chunks():
        masks = clusters.one_hot(kmeans.assign(rows, found.centroids).view(-1, height, width).cpu())
        clusters.occupancy += masks.sum(dim=0) / pictures
        having += masks.amax(dim=(2, 3)).sum(dim=0)
    clusters.typical.copy_(clusters.occupancy.sum(dim=(1, 2)) * pictures / having.clamp_min(1))
    return clusters.eval().requires_grad_(False)


def _palette(count: int) -> np.ndarray:
    """RGB colours uint8 (count, 3) by farthest-point sampling in OKLab (Ottosson 2020), which is perceptually uniform."""
    levels = max(12, round((2 * count) ** (1 / 3)) + 1)
    steps = np.linspace(0, 255, levels).round()
    rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _oklab(rgb)
    visible = (lab[:, 0] > 0.35) & (lab[:, 0] < 0.95)  # neither near black nor near white
    rgb, lab = rgb[visible], lab[visible]
    chosen = [int(np.abs(rgb - [230, 25, 75]).sum(axis=1).argmin())]
    distance = np.linalg.norm(lab - lab[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
    return rgb[chosen].astype(np.uint8)


def _oklab(rgb: np.ndarray) -> np.ndarray:
    """sRGB in 0..255 (..., 3) to OKLab (..., 3)."""
    value = rgb / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    to_lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(linear @ to_lms.T) @ to_lab.T
