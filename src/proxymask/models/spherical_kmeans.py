"""Streamed spherical k-means: k-means of unit vectors by cosine similarity, with centroids of unit length.

The clustering of Collins et al., "Editing in Style" (2020), by Lloyd's algorithm over all rows. 256 feature maps of 64 x 64 x 512 floats
take 2 GiB, so they are never in memory together: each pass reads the source again, in chunks. Products and sums are float64 (float32 on
MPS, which has no float64) over blocks of a fixed number of rows, so the result depends on the rows and their order, not on the chunks.

Shapes: N rows (feature vectors), C channels, K clusters.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..core.errors import ProxymaskError
from ..core.seeding import derive_rng

INIT_SAMPLE = 65536  # rows that the start is found with
BLOCK = 8192  # rows computed at once: 32 MiB of float64 at 512 channels
MIN_DISTANCE = 1e-6  # 1 - cosine below which two directions count as equal; float32 rounding of unit vectors is about 2e-7

Chunks = Callable[[], Iterable[Tensor]]
Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class KMeansResult:
    """Result of :func:`spherical_kmeans`. ``counts`` and ``inertia`` were computed with these ``centroids``.

    Attributes:
        centroids: (K, C) float32, unit length, on the device of the chunks.
        counts: (K,) int64, rows in each cluster; 0 only where the rows have fewer than K directions or ``max_iterations`` was reached.
        inertia: mean of 1 - cosine of every row to its centroid, in [0, 2].
        points: rows clustered, without rows of zeros; the sum of ``counts``.
        zero_vectors: rows of zeros. They have no direction and are left out; :func:`assign` gives them id 0.
        iterations: Lloyd passes over the whole source, without the sampling pass.
        converged: False where ``max_iterations`` was reached first.
        reseeded: how often an empty cluster was moved to a row far from its centroid.
        history: the inertia of every pass; its last value is ``inertia``.
    """

    centroids: Tensor
    counts: Tensor
    inertia: float
    points: int
    zero_vectors: int
    iterations: int
    converged: bool
    reseeded: int
    history: list[float]


def _wide(tensor: Tensor) -> Tensor:
    """The tensor as float64 (float32 on MPS). Autocast and TF32 do not apply to float64, so they cannot change a label."""
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)


def _unit(rows: Tensor) -> Tensor:
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)


def _nearest(rows: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Largest dot product of each row with a centroid, and its id, both (N,); of equal values the first."""
    best = (rows @ centroids.T).max(dim=1)
    return best.values, best.indices


def _blocks(chunks: Chunks) -> Iterator[Tensor]:
    """The rows of all chunks as float32 blocks (BLOCK, C), the last one shorter. A block is overwritten when the next one is yielded."""
    buffer = torch.empty(0, 0)
    filled = 0
    for chunk in chunks():
        if not isinstance(chunk, Tensor) or chunk.ndim != 2 or not chunk.is_floating_point() or chunk.shape[1] < 1:
            found = f"{chunk.dtype} {tuple(chunk.shape)}" if isinstance(chunk, Tensor) else type(chunk).__name__
            raise ProxymaskError(f"k-means takes floating-point chunks (n, channels), not {found}")
        if buffer.numel() == 0:
            buffer = chunk.new_empty((BLOCK, chunk.shape[1]), dtype=torch.float32)
        if chunk.shape[1] != buffer.shape[1]:
            raise ProxymaskError(f"a chunk has {chunk.shape[1]} channels, the first had {buffer.shape[1]}: all must come from one layer")
        start = 0
        while start < len(chunk):
            taken = min(BLOCK - filled, len(chunk) - start)
            buffer[filled : filled + taken] = chunk[start : start + taken]
            start, filled = start + taken, filled + taken
            if filled == BLOCK:
                yield buffer
                filled = 0
        del chunk  # free it before the source makes the next one
    if filled:
        yield buffer[:filled]


def _unit_blocks(chunks: Chunks) -> Iterator[tuple[Tensor, int]]:
    """Blocks of unit rows, float64, and the number of zero rows left out of each."""
    for block in _blocks(chunks):
        rows = _wide(block)
        norms = torch.linalg.vector_norm(rows, dim=1)
        if not torch.isfinite(norms).all():
            raise ProxymaskError("the features to cluster hold NaN or infinite values: check the generator's checkpoint and its precision")
        nonzero = norms > 0
        kept = rows[nonzero] / norms[nonzero, None]
        yield kept, len(rows) - len(kept)


def _reservoir(chunks: Chunks, size: int, rng: torch.Generator) -> tuple[Tensor, int]:
    """A uniform sample of at most ``size`` unit rows, float32, in one pass (Vitter's algorithm R), and the number of rows read."""
    sample = torch.empty(0, 0)
    seen = 0
    for unit, _ in _unit_blocks(chunks):
        if sample.numel() == 0:
            sample = unit.new_empty((size, unit.shape[1]), dtype=torch.float32)
        order = torch.arange(seen, seen + len(unit))
        slots = (torch.rand(len(unit), generator=rng, dtype=torch.float64) * (order + 1)).long()
        slots = torch.where(order < size, order, slots)
        hits = (slots < size).nonzero().flatten().tolist()
        last = dict(zip(slots[hits].tolist(), hits, strict=True))  # of two rows for one slot the later stays, on every device
        if last:
            index = torch.tensor([list(last), list(last.values())], device=unit.device)
            sample[index[0]] = unit[index[1]].float()
        seen += len(unit)
    return sample[: min(seen, size)], seen


def _kmeans_plus_plus(sample: Tensor, k: int, rng: torch.Generator) -> Tensor:
    """Unit rows (N, C) -> k start centroids (k, C) by greedy k-means++ (Arthur & Vassilvitskii 2007): each is the best of 2 + ln k draws.

    The squared distance of unit vectors is 2 (1 - cosine), so draws are weighted by 1 - cosine.
    """
    rows = _wide(sample)
    trials = 2 + int(math.log(k))
    picked = [int(torch.randint(len(rows), (1,), generator=rng))]
    distance = _cosine_distance(rows, rows[picked])[:, 0]
    while len(picked) < k:
        mass = distance.cpu().double().cumsum(0)
        if mass[-1] > 0:
            draws = torch.rand(trials, generator=rng, dtype=torch.float64) * mass[-1]
            candidates = torch.searchsorted(mass, draws, right=True).clamp_max(len(rows) - 1).to(rows.device)
        else:  # fewer directions than clusters: take any row
            candidates = torch.randint(len(rows), (1,), generator=rng).to(rows.device)
        distances = torch.minimum(distance[:, None], _cosine_distance(rows, rows[candidates]))
        best = int(distances.sum(dim=0).argmin())
        picked.append(int(candidates[best]))
        distance = distances[:, best]
    return sample[picked]


def _cosine_distance(rows: Tensor, centers: Tensor) -> Tensor:
    """1 - cosine (N, K), exactly 0 for equal directions, so that k-means++ never draws a duplicate because of rounding."""
    distance = 1 - rows @ centers.T
    return distance.masked_fill(distance < MIN_DISTANCE, 0)


class _Pass(NamedTuple):
    """What one Lloyd pass sums up.

    ``sums`` (K, C) and ``counts`` (K,) of the rows of each cluster; ``total`` () of 1 - cosine; ``far_rows`` (at most K, C), the rows
    farthest from their centroids, farthest first, with their ``far_distances``; ``zeros``, the number of zero rows.
    """

    sums: Tensor
    counts: Tensor
    total: Tensor
    far_distances: Tensor
    far_rows: Tensor
    zeros: int


def _lloyd_pass(chunks: Chunks, centroids: Tensor) -> _Pass:
    """Assign every row to the nearest of ``centroids`` (K, C) float64."""
    k = len(centroids)
    sums, counts = torch.zeros_like(centroids), torch.zeros(k, dtype=torch.int64, device=centroids.device)
    total = centroids.new_zeros(())
    far_distances, far_rows = centroids.new_empty(0), centroids[:0]
    zeros = 0
    for unit, skipped in _unit_blocks(chunks):
        if unit.shape[1] != centroids.shape[1]:
            raise ProxymaskError(f"the start has {centroids.shape[1]} channels, the features have {unit.shape[1]}")
        cosine, labels = _nearest(unit, centroids)
        # A one-hot product instead of index_add_, whose order of summation is not fixed on CUDA.
        one_hot = torch.zeros(len(unit), k, dtype=unit.dtype, device=unit.device).scatter_(1, labels[:, None], 1)
        sums += one_hot.T @ unit
        counts += one_hot.sum(dim=0).long()
        distance = (1 - cosine).clamp_min(0)
        total += distance.sum()
        far = distance.argsort(descending=True, stable=True)[:k]
        far_distances, far_rows = torch.cat([far_distances, distance[far]]), torch.cat([far_rows, unit[far]])
        far = far_distances.argsort(descending=True, stable=True)[:k]
        far_distances, far_rows = far_distances[far], far_rows[far]
        zeros += skipped
    return _Pass(sums, counts, total, far_distances, far_rows, zeros)


def _lloyd(
    chunks: Chunks, init: Tensor, max_iterations: int, tolerance: float, progress: Progress | None, points: int | None = None
) -> KMeansResult:
    """Lloyd's algorithm from ``init`` (K, C), unit float32.

    A pass computes the counts and the inertia of the centroids that it starts with, so the result needs no further pass. ``points`` is the
    number of rows that an earlier pass read, if there was one.
    """
    centroids, k = init, len(init)
    history: list[float] = []
    reseeded = 0
    while True:
        wide = _wide(centroids)
        seen = _lloyd_pass(chunks, wide)
        found = int(seen.counts.sum())
        if points is None:
            points = found
            _check_enough(points, k)
        if found != points:
            raise ProxymaskError(
                f"one pass over the features gave {points} rows, a later one {found}: the source must start anew each time"
            )
        history.append(float(seen.total) / points)
        if progress is not None:
            progress(len(history), history[-1])

        empty = (seen.counts == 0).nonzero().flatten().tolist()
        seeds = _distinct(seen.far_rows[seen.far_distances > MIN_DISTANCE], len(empty)) if empty else seen.far_rows[:0]
        settled = len(history) > 1 and history[-2] - history[-1] <= tolerance * history[-2]
        converged = settled and len(seeds) == 0
        if converged or len(history) == max_iterations:
            return KMeansResult(centroids, seen.counts, history[-1], points, seen.zeros, len(history), converged, reseeded, history)
        lengths = torch.linalg.vector_norm(seen.sums, dim=1, keepdim=True)
        # The centroid of an empty cluster, or of one whose rows sum to zero, does not move.
        centroids = torch.where(lengths > 0, seen.sums / lengths, wide)
        if len(seeds):
            centroids[empty[: len(seeds)]] = seeds
        centroids = centroids.float()
        reseeded += len(seeds)


def _distinct(rows: Tensor, limit: int) -> Tensor:
    """The first ``limit`` rows (N, C) that have different directions."""
    chosen: list[int] = []
    for i in range(len(rows)):
        if len(chosen) == limit:
            break
        if not chosen or float((rows[chosen] @ rows[i]).max()) < 1 - MIN_DISTANCE:
            chosen.append(i)
    return rows[chosen]


def _check_enough(points: int, k: int) -> None:
    if points < k:
        raise ProxymaskError(f"{points} feature vectors other than zero cannot make {k} clusters: give more or ask for fewer")


@torch.no_grad()
def spherical_kmeans(
    chunks: Chunks,
    k: int,
    *,
    seed: int,
    init: Tensor | None = None,
    max_iterations: int = 100,
    tolerance: float = 1e-5,
    restarts: int = 1,
    init_sample: int = INIT_SAMPLE,
    progress: Progress | None = None,
) -> KMeansResult:
    """Cluster many vectors by direction, reading them once for each pass.

    Without ``init``, one pass draws a uniform sample of ``init_sample`` unit rows, which is kept in memory as float32. On it, k-means++ and
    Lloyd's algorithm run ``restarts`` times. The centroids of the lowest inertia are the start for the whole source, which then needs few
    passes. After a pass, an empty cluster moves to the row with the lowest cosine to its centroid; several move to different such rows.

    Args:
        chunks: called once for each pass; yields the same floating-point chunks (n_i, C) in the same order each time, on any device.
        k: K, at least 1.
        seed: the result depends on it and on the rows and their order, not on the sizes of the chunks.
        init: (K, C) start directions of any length but 0, on the device of the chunks, instead of the sample, k-means++ and ``restarts``.
        max_iterations: largest number of Lloyd passes over the source, at least 1; also over the sample, for each restart.
        tolerance: converged when a pass lowers the inertia by no more than this fraction.
        restarts: starts by k-means++ on the sample, at least 1.
        init_sample: rows of the sample, at least ``k``.
        progress: called with (pass, inertia) after each Lloyd pass over the source.

    Raises:
        ProxymaskError: arguments out of range, non-finite values, fewer rows than ``k``, chunks that differ in width or between passes.
    """
    if k < 1 or max_iterations < 1 or restarts < 1 or not tolerance >= 0:
        raise ProxymaskError("k-means needs k, max_iterations and restarts of at least 1 and a tolerance of at least 0")
    if init is not None:
        if init.ndim != 2 or len(init) != k:
            raise ProxymaskError(f"the start of k-means has shape {tuple(init.shape)}, it must be ({k}, channels)")
        start = _unit(_wide(init)).float()
        if not torch.isfinite(start).all():
            raise ProxymaskError("the start of k-means holds a zero or non-finite vector")
        return _lloyd(chunks, start, max_iterations, tolerance, progress)
    if init_sample < k:
        raise ProxymaskError(f"init_sample is {init_sample}: it must be at least the number of clusters, {k}")

    sample, points = _reservoir(chunks, init_sample, derive_rng(seed, "kmeans", "sample"))
    _check_enough(points, k)
    best: KMeansResult | None = None
    for restart in range(restarts):
        start = _kmeans_plus_plus(sample, k, derive_rng(seed, "kmeans", "start", restart))
        trial = _lloyd(lambda: [sample], start, max_iterations, tolerance, None)
        if best is None or trial.inertia < best.inertia:
            best = trial
    assert best is not None  # restarts >= 1
    return _lloyd(chunks, best.centroids, max_iterations, tolerance, progress, points)


@torch.no_grad()
def assign(features: Tensor, centroids: Tensor) -> Tensor:
    """Features (N, C), centroids (K, C) -> ids (N,), int64, of the centroid with the largest dot product; of equal ones the lowest id.

    The length of a feature does not change its id; a zero vector gets 0. No gradient.
    """
    wide = _wide(centroids)
    return torch.cat([_nearest(_wide(rows), wide)[1] for rows in features.split(BLOCK)])
