"""``ProxyClusters``: centroids of generator features, and the proxy masks they make of feature maps."""

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

MIN_COUNT = 1.0  # positions of a cluster that a style is taken to have at least: lacking it makes it unlikely, not impossible
PRIOR_EXPONENT = 1.25  # power of the prior; above 1 for the colours that a mapper believes to see in a mask
SIMILARITY_EXPONENT = 4.0  # how sharply clusters that stand in the same places are told from those that do not


class ProxyClusters(ConfigModel):
    """K unit centroids of the features at the generator's cut; the id of the nearest one, at every position, is the proxy mask.

    Buffers: ``centroids`` (K, C) float32, ``counts`` (K,) int64 feature vectors of the fit in each, ``inertia`` () mean of 1 - cosine,
    ``occupancy`` (K, h, w) the share of the samples that have the cluster at a position, ``typical`` (K,) its mean size, in positions,
    in those samples that have it at all.
    A new object holds zeros; :func:`fit_proxy_clusters` makes a fitted one.

    Args:
        num_clusters: K. The paper uses 25 throughout.
        channels: C, the channels of the features.
        resolution: r, the side of the feature maps; their height and width (h, w) are ``r / 4`` times ``start``.
        cut: where the generator was cut, in the words of its config; recorded only.
        sample_count: pictures the centroids were made from; recorded only.
        start: the generator's start block; (4, 4) where pictures are square.
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
            raise ProxymaskError("proxy clusters want at least one cluster, channel and position")
        self.num_clusters, self.channels, self.resolution = num_clusters, channels, resolution
        self.cut, self.sample_count = cut, sample_count
        self.start, self.size = check_start(start), block_size(resolution, start)
        self.register_buffer("centroids", torch.zeros(num_clusters, channels))
        self.register_buffer("counts", torch.zeros(num_clusters, dtype=torch.int64))
        self.register_buffer("inertia", torch.zeros(()))
        self.register_buffer("occupancy", torch.zeros(num_clusters, *self.size))
        self.register_buffer("typical", torch.zeros(num_clusters))

    def save_pretrained(self, folder: str | Path, half: bool = False) -> Path:
        """As every ``ConfigModel``, but never in half: rounded centroids would draw other masks, to save some 25 KB."""
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
        """The proxy mask (B, h, w), int64 in [0, K), of ``features`` (B, C, h, w): :func:`kmeans.assign` at every position.

        Float32 also under autocast, so that it is the same in every precision. No gradient.
        """
        self._check(features)
        b, c, h, w = features.shape
        with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
            return kmeans.assign(features.permute(0, 2, 3, 1).reshape(-1, c), self.centroids).view(b, h, w)

    def available(self, counts: Tensor, share: float = 0.25) -> Tensor:
        """Whether style samples have enough of a cluster to be asked for it: at least ``share`` of its typical size.

        A few positions are not enough: the dark rim of a pair of glasses falls into the cluster of dark skin, and would be spread over
        a whole face.

        Args:
            counts: (B, K) positions a cluster, of :meth:`Rearranger.encode_style`.

        Returns:
            (B, K) bool, true at least once in every row.
        """
        return (counts >= self.typical * share) & (counts > 0) | (counts == counts.amax(dim=1, keepdim=True))

    def prior(self, counts: Tensor) -> Tensor:
        """How much likelier a cluster is in these style samples than in samples at large, among the clusters that stand in the same
        places, as a logarithm, (B, K) float32: ``log(counts_k / mean_k) - log(sum_j s_kj counts_j / sum_j s_kj mean_j)``, with the
        mean positions of a cluster a sample and the likeness s of two, to the power ``ALIKE``; all times ``STRENGTH``.

        By Bayes' rule the first term turns the mapper's probability of a cluster given a mask into that given mask and style. The
        second takes out of it what is shape: that a style sample has much hair says which hair to take, not to draw more of it.

        Args:
            counts: (B, K) positions a cluster, of :meth:`Rearranger.encode_style`.
        """
        mean, amount = self._mean(), counts.float().clamp_min(MIN_COUNT)
        with torch.autocast(amount.device.type, enabled=False):
            alike = self.likeness().fill_diagonal_(1.0) ** SIMILARITY_EXPONENT  # one that never occurred in the fit has at least itself
            return PRIOR_EXPONENT * ((amount / mean).log() - ((amount @ alike) / (mean @ alike)).log())

    def _mean(self) -> Tensor:
        """Positions of each cluster in a sample, (K,), on average."""
        return self.occupancy.sum(dim=(1, 2)).clamp_min(0.05)

    def shares(self) -> Tensor:
        """Share of all positions that each cluster takes, (K,), above 0, summing to one."""
        mean = self._mean()
        return mean / mean.sum()

    def likeness(self) -> Tensor:
        """How far two clusters stand in the same places over the samples: cosine (K, K) in [0, 1] of their occupancies."""
        places = torch.nn.functional.normalize(self.occupancy.flatten(1), dim=1)
        return places @ places.t()

    def substitute(self, mask: Tensor, present: Tensor, least: float = -1.0) -> Tensor:
        """The proxy mask with every cluster that the style sample lacks replaced by the one of its clusters that is found in the same
        places: light skin asked of a dark style becomes dark skin, because over the samples both stand where skin stands.

        Args:
            mask: ids (B, h, w).
            present: (B, K) bool, what the style samples have (:meth:`available`); at least one cluster each.
            least: a cluster that is found in the same places has at least this likeness (:meth:`likeness`); one that the style lacks and
                has no such substitute for stays, for a rearranger whose refinement block can draw it. Negative: all are replaced.

        Returns:
            ids (B, h, w), all of them present where ``least`` is negative.
        """
        likeness = self.likeness().fill_diagonal_(2.0)  # a cluster that is there stays
        best, replacement = likeness[None].masked_fill(~present[:, None, :], -1.0).max(dim=2)  # (B, K)
        replacement = torch.where(best >= least, replacement, torch.arange(self.num_clusters, device=mask.device))
        return replacement.gather(1, mask.flatten(1)).view_as(mask)

    def one_hot(self, mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Ids (B, h, w) to (B, K, h, w) of 0 and 1. An id outside [0, K) raises ``ProxymaskError``."""
        self._check_ids(mask)
        hot = torch.zeros((len(mask), self.num_clusters, *mask.shape[1:]), dtype=dtype, device=mask.device)
        return hot.scatter_(1, mask.long()[:, None], 1)

    def colors(self) -> np.ndarray:
        """uint8 (K, 3) RGB, distinct, well apart to the eye; colour i is the same for every K up to 700."""
        return _palette(self.num_clusters)

    def colorize(self, mask: Tensor | np.ndarray) -> np.ndarray:
        """Ids (B, h, w), or any other shape, to uint8 (..., 3) RGB in numpy. An id outside [0, K) raises ``ProxymaskError``."""
        mask = torch.as_tensor(mask).detach().cpu()
        self._check_ids(mask)
        return self.colors()[mask.numpy()]

    def report(self) -> str:
        """Some lines for people: what was clustered, how tightly, the clusters by size, and which are empty."""
        sizes = self.counts.tolist()
        total = sum(sizes)
        if total == 0:
            return f"{self.num_clusters} proxy clusters, not fitted"
        empty = [i for i, size in enumerate(sizes) if size == 0]
        where = "" if self.cut is None else f", cut {self.cut}"
        lines = [
            f"{self.num_clusters} proxy clusters of {total:,} vectors ({self.sample_count} pictures, {self.channels} channels at "
            f"{self.size[0]} x {self.size[1]}{where})",
            f"mean 1 - cosine to the centroid: {float(self.inertia):.4f}",
            f"empty: {', '.join(map(str, empty)) or 'none'}",
        ]
        order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
        return "\n".join([*lines, *(f"{i:4d}  {sizes[i]:12,d}  {sizes[i] / total:6.1%}" for i in order)])

    def _check(self, features: Tensor) -> None:
        c, (h, w) = self.channels, self.size
        if features.ndim != 4 or features.shape[1:] != (c, h, w):
            raise ProxymaskError(f"features are {tuple(features.shape)}, these proxy clusters read (batch, {c}, {h}, {w})")

    def _check_ids(self, mask: Tensor) -> None:
        if mask.is_floating_point() or mask.dtype == torch.bool:
            raise ProxymaskError(f"a proxy mask holds integer ids, not {mask.dtype}")
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
    tolerance: float = 1e-5,
    restarts: int = 1,
    init_sample: int = 65536,
    progress: kmeans.Progress | None = None,
) -> ProxyClusters:
    """Cluster the features of sample pictures by :func:`kmeans.spherical_kmeans`; the result is on the CPU, in eval mode.

    Args:
        feature_source: called once a pass; gives the same feature maps (B, C, h, w), in any batches, each time.
        resolution, start: what size the maps have, as in :class:`ProxyClusters`; other sizes raise ``ProxymaskError``.
        cut: recorded in the result's config.

    The other arguments and errors are those of ``spherical_kmeans``.
    """

    height, width = block_size(resolution, start)

    def chunks() -> Iterator[Tensor]:
        for features in feature_source():
            if features.ndim != 4 or features.shape[2:] != (height, width):
                raise ProxymaskError(f"features are {tuple(features.shape)}, wanted (batch, channels, {height}, {width})")
            rows = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
            del features  # the reshape copied it; do not keep both
            yield rows
            del rows

    found = kmeans.spherical_kmeans(
        chunks,
        num_clusters,
        seed=seed,
        max_iterations=max_iterations,
        tolerance=tolerance,
        restarts=restarts,
        init_sample=init_sample,
        progress=progress,
    )
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
    """Farthest-point choice in OKLab (Ottosson 2020, perceptually even) over a grid of RGB: each colour is farthest from those before."""
    levels = max(12, round((2 * count) ** (1 / 3)) + 1)
    steps = np.linspace(0, 255, levels).round()
    rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _oklab(rgb)
    visible = (lab[:, 0] > 0.35) & (lab[:, 0] < 0.95)  # near black and near white read as "nothing here"
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
