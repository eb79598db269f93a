"""Streamed spherical k-means: unit vectors, cosine similarity, centroids back to unit length after every step.

The clustering of Collins et al., "Editing in Style" (2020), as full-batch Lloyd passes. 256 feature maps of 64 x 64 x 512 floats are
2 GiB, so nothing here holds them: every pass reads a re-iterable source of chunks. Products and sums are float64 (float32 on MPS, which
has nothing wider) over blocks of a fixed number of rows, so the result depends on the rows and their order, not on how they were chunked.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.errors import ProxymaskError
from ..core.seeding import derive_rng

BLOCK = 8192  # rows in arithmetic at once: 32 MiB of float64 at 512 channels
SAME = 1e-6  # 1 - cosine below which two directions are one; float32 rounding of unit vectors reaches about 2e-7

Chunks = Callable[[], Iterable[Tensor]]
Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class KMeansResult:
    """What :func:`spherical_kmeans` found. ``counts`` and the inertia belong to exactly these ``centroids``.

    Attributes:
        centroids: (K, C) float32, unit length, on the device of the chunks.
        counts: (K,) int64, rows assigned to each; 0 only where reseeding ended (``max_iterations``, fewer than K directions).
        inertia: mean of 1 - cosine of every row to its centroid, in [0, 2].
        points: rows clustered, without the zero rows; the sum of ``counts``.
        zero_vectors: rows of zeros. They have no direction and take no part; :func:`assign` gives them id 0.
        iterations: Lloyd passes over the whole source (the sampling pass is not one).
        converged: False where ``max_iterations`` ended the fit.
        reseeded: how often an empty cluster was moved to a badly served row.
        history: the inertia seen by every pass; its last value is ``inertia``.
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
    """The widest float of the device. Autocast and TF32 leave float64 alone, so neither can change a label."""
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)


def _unit(rows: Tensor) -> Tensor:
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)


def _nearest(rows: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Largest dot product and its id, both (N,); ``max`` takes the first of equal values."""
    best = (rows @ centroids.T).max(dim=1)
    return best.values, best.indices


def _blocks(chunks: Chunks) -> Iterator[Tensor]:
    """The rows of all chunks as float32 (BLOCK, C), the last one shorter. The memory is reused: use a block before asking for the next."""
    buffer = torch.empty(0, 0)
    filled = 0
    for chunk in chunks():
        if not isinstance(chunk, Tensor) or chunk.ndim != 2 or not chunk.is_floating_point() or chunk.shape[1] < 1:
            found = f"{chunk.dtype} {tuple(chunk.shape)}" if isinstance(chunk, Tensor) else type(chunk).__name__
            raise ProxymaskError(f"k-means reads floating-point chunks (n, channels), not {found}")
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
        del chunk  # or the old chunk would live on while the source makes the next
    if filled:
        yield buffer[:filled]


def _unit_blocks(chunks: Chunks) -> Iterator[tuple[Tensor, int]]:
    """Blocks of unit rows in the wide dtype, and how many zero rows were left out of each."""
    for block in _blocks(chunks):
        rows = _wide(block)
        norms = torch.linalg.vector_norm(rows, dim=1)
        if not torch.isfinite(norms).all():
            raise ProxymaskError("the features to cluster hold NaN or infinite values: check the generator's checkpoint and its precision")
        alive = norms > 0
        kept = rows[alive] / norms[alive, None]
        yield kept, len(rows) - len(kept)


def _reservoir(chunks: Chunks, size: int, rng: torch.Generator) -> tuple[Tensor, int]:
    """A uniform sample of at most ``size`` unit rows, float32, in one pass (Vitter's algorithm R), and the number of rows seen."""
    sample = torch.empty(0, 0)
    seen = 0
    for unit, _ in _unit_blocks(chunks):
        if sample.numel() == 0:
            sample = unit.new_empty((size, unit.shape[1]), dtype=torch.float32)
        order = torch.arange(seen, seen + len(unit))
        slots = (torch.rand(len(unit), generator=rng, dtype=torch.float64) * (order + 1)).long()
        slots = torch.where(order < size, order, slots)
        hits = (slots < size).nonzero().flatten().tolist()
        last = dict(zip(slots[hits].tolist(), hits, strict=True))  # a slot hit twice keeps the later row, on every device
        if last:
            index = torch.tensor([list(last), list(last.values())], device=unit.device)
            sample[index[0]] = unit[index[1]].float()
        seen += len(unit)
    return sample[: min(seen, size)], seen


def _plus_plus(sample: Tensor, k: int, rng: torch.Generator) -> Tensor:
    """Greedy k-means++ (Arthur & Vassilvitskii 2007; the best of 2 + ln k draws a step) on unit rows (N, C): (k, C).

    A squared distance between unit vectors is 2 (1 - cosine), so 1 - cosine is the weight of a draw.
    """
    rows = _wide(sample)
    trials = 2 + int(math.log(k))
    picked = [int(torch.randint(len(rows), (1,), generator=rng))]
    gap = _gap(rows, rows[picked])[:, 0]
    while len(picked) < k:
        mass = gap.cpu().double().cumsum(0)
        if mass[-1] > 0:
            draws = torch.rand(trials, generator=rng, dtype=torch.float64) * mass[-1]
            candidates = torch.searchsorted(mass, draws, right=True).clamp_max(len(rows) - 1).to(rows.device)
        else:  # fewer directions than clusters: any row is as good
            candidates = torch.randint(len(rows), (1,), generator=rng).to(rows.device)
        gaps = torch.minimum(gap[:, None], _gap(rows, rows[candidates]))
        best = int(gaps.sum(dim=0).argmin())
        picked.append(int(candidates[best]))
        gap = gaps[:, best]
    return sample[picked]


def _gap(rows: Tensor, centers: Tensor) -> Tensor:
    """1 - cosine (N, K), exactly 0 for the same direction, so that k-means++ never draws a duplicate by rounding."""
    gap = 1 - rows @ centers.T
    return gap.masked_fill(gap < SAME, 0)


def _lloyd(
    chunks: Chunks, init: Tensor, max_iterations: int, tolerance: float, progress: Progress | None, points: int | None = None
) -> KMeansResult:
    """Lloyd passes from ``init`` (K, C) unit float32. A pass scores its own centroids, so what returns needs no pass more.

    ``points`` is the number of rows an earlier pass saw, where there was one.
    """
    centroids, k = init, len(init)
    history: list[float] = []
    reseeded = 0
    while True:
        wide = _wide(centroids)
        sums, counts = torch.zeros_like(wide), torch.zeros(k, dtype=torch.int64, device=wide.device)
        total = wide.new_zeros(())
        worst_gap, worst = wide.new_empty(0), wide[:0]  # the k rows farthest from their centroids, farthest first
        zeros = 0
        for unit, skipped in _unit_blocks(chunks):
            if unit.shape[1] != wide.shape[1]:
                raise ProxymaskError(f"the start has {wide.shape[1]} channels, the features have {unit.shape[1]}")
            cosine, labels = _nearest(unit, wide)
            # A one-hot product instead of index_add_, whose order of summation is not fixed on CUDA.
            hot = torch.zeros(len(unit), k, dtype=unit.dtype, device=unit.device).scatter_(1, labels[:, None], 1)
            sums += hot.T @ unit
            counts += hot.sum(dim=0).long()
            gap = (1 - cosine).clamp_min(0)
            total += gap.sum()
            far = gap.argsort(descending=True, stable=True)[:k]
            worst_gap, worst = torch.cat([worst_gap, gap[far]]), torch.cat([worst, unit[far]])
            far = worst_gap.argsort(descending=True, stable=True)[:k]
            worst_gap, worst = worst_gap[far], worst[far]
            zeros += skipped
        found = int(counts.sum())
        if points is None:
            points = found
            _enough(points, k)
        if found != points:
            raise ProxymaskError(
                f"one pass over the features gave {points} rows, a later one {found}: the source must start anew each time"
            )
        history.append(float(total) / points)
        if progress is not None:
            progress(len(history), history[-1])

        empty = (counts == 0).nonzero().flatten().tolist()
        seeds = _distinct(worst[worst_gap > SAME], len(empty)) if empty else worst[:0]
        settled = len(history) > 1 and history[-2] - history[-1] <= tolerance * history[-2]
        converged = settled and len(seeds) == 0
        if converged or len(history) == max_iterations:
            return KMeansResult(centroids, counts, history[-1], points, zeros, len(history), converged, reseeded, history)
        lengths = torch.linalg.vector_norm(sums, dim=1, keepdim=True)
        # An empty cluster, or one whose rows cancel out, has no mean direction and stays where it is.
        centroids = torch.where(lengths > 0, sums / lengths, wide)
        if len(seeds):
            centroids[empty[: len(seeds)]] = seeds
        centroids = centroids.float()
        reseeded += len(seeds)


def _distinct(rows: Tensor, limit: int) -> Tensor:
    """The first ``limit`` rows that point in different directions."""
    chosen: list[int] = []
    for i in range(len(rows)):
        if len(chosen) == limit:
            break
        if not chosen or float((rows[chosen] @ rows[i]).max()) < 1 - SAME:
            chosen.append(i)
    return rows[chosen]


def _enough(points: int, k: int) -> None:
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
    init_sample: int = 65536,
    progress: Progress | None = None,
) -> KMeansResult:
    """Cluster the directions of many vectors, reading them in passes.

    Without ``init``, one pass draws a uniform sample of ``init_sample`` unit rows (kept in memory, float32). On it, each of ``restarts``
    starts by k-means++ and runs Lloyd to its end; the best by inertia then runs Lloyd over the whole source, which needs few passes.
    After a pass, an empty cluster moves to the row with the lowest cosine to its centroid (several: the lowest ones that differ).

    Args:
        chunks: called once a pass; gives the same (n_i, C) floating-point chunks, raw, in the same order each time, on any device.
        k: number of clusters, at least 1.
        seed: fixes the result for given rows in a given order, whatever the chunk sizes.
        init: (K, C) start directions of any length but 0, on the device of the chunks; replaces the sample, k-means++ and ``restarts``.
        max_iterations: most Lloyd passes over the source, at least 1 (as many again over the sample for each restart).
        tolerance: converged once a pass lowers the inertia by no more than this fraction of it.
        progress: called with (pass, inertia) after each Lloyd pass over the source.

    Raises:
        ProxymaskError: arguments out of range, non-finite values, fewer rows than ``k``, chunks that differ in width or between passes.
    """
    if k < 1 or max_iterations < 1 or restarts < 1 or not tolerance >= 0:
        raise ProxymaskError("k-means wants clusters, iterations and restarts of at least 1 and a tolerance of at least 0")
    if init is not None:
        if init.ndim != 2 or len(init) != k:
            raise ProxymaskError(f"the start of k-means is {tuple(init.shape)}, it must be ({k}, channels)")
        start = _unit(_wide(init)).float()
        if not torch.isfinite(start).all():
            raise ProxymaskError("the start of k-means holds a zero or non-finite vector")
        return _lloyd(chunks, start, max_iterations, tolerance, progress)
    if init_sample < k:
        raise ProxymaskError(f"init_sample is {init_sample}: it must be at least the number of clusters, {k}")

    sample, points = _reservoir(chunks, init_sample, derive_rng(seed, "kmeans", "sample"))
    _enough(points, k)
    best: KMeansResult | None = None
    for restart in range(restarts):
        start = _plus_plus(sample, k, derive_rng(seed, "kmeans", "start", restart))
        trial = _lloyd(lambda: [sample], start, max_iterations, tolerance, None)
        if best is None or trial.inertia < best.inertia:
            best = trial
    assert best is not None  # restarts >= 1
    return _lloyd(chunks, best.centroids, max_iterations, tolerance, progress, points)


@torch.no_grad()
def assign(features: Tensor, centroids: Tensor) -> Tensor:
    """Ids (N,), int64, of the centroids (K, C) with the largest dot product with ``features`` (N, C); equal ones give the lowest id.

    The length of a feature does not change its id; a zero vector gets 0. No gradient.
    """
    wide = _wide(centroids)
    return torch.cat([_nearest(_wide(rows), wide)[1] for rows in features.split(BLOCK)])
