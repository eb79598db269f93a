"""Streamed spherical k-means against an independent float64 implementation and scikit-learn, and its documented properties."""

import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch import Tensor

from proxymask.core.errors import ProxymaskError
from proxymask.models import spherical_kmeans as kmeans
from proxymask.models.spherical_kmeans import assign, spherical_kmeans


def mixture(points: int = 6000, channels: int = 32, clusters: int = 8, noise: float = 0.9, seed: int = 0) -> Tensor:
    """Overlapping clusters of directions, of unequal size, with vectors of any length, float32."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(clusters, channels))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    share = rng.dirichlet(np.full(clusters, 3.0))
    rows = centers[rng.choice(clusters, points, p=share)] + rng.normal(size=(points, channels)) * noise / np.sqrt(channels)
    return torch.tensor(rows * rng.lognormal(sigma=1, size=(points, 1)), dtype=torch.float32)


def source(data: Tensor, size: int = 1000) -> Callable[[], Iterator[Tensor]]:
    return lambda: iter(data.split(size))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def reference(data: Tensor, init: Tensor) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Plain float64 Lloyd until no label changes: labels, centroids, mean 1 - cosine of every pass."""
    rows, centers = unit(data.numpy().astype(np.float64)), unit(init.numpy().astype(np.float64))
    labels, history = np.full(len(rows), -1), []
    while True:
        cosine = np.einsum("nc,kc->nk", rows, centers)
        now = cosine.argmax(axis=1)
        history.append(float(1 - cosine.max(axis=1).mean()))
        if (now == labels).all():
            return labels, centers, history
        labels = now
        centers = unit(np.stack([rows[labels == i].sum(axis=0) for i in range(len(centers))]))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_an_independent_lloyd(seed: int) -> None:
    data = mixture(seed=seed)
    init = data[torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:8]]
    labels, centers, history = reference(data, init)
    found = spherical_kmeans(source(data), 8, seed=0, init=init, tolerance=0)
    assert found.converged
    assert (assign(data, found.centroids).numpy() == labels).all()
    assert found.counts.tolist() == np.bincount(labels, minlength=8).tolist()
    np.testing.assert_allclose(found.centroids.numpy(), centers, atol=1e-6)
    passes = min(len(history), found.iterations)
    np.testing.assert_allclose(found.history[:passes], history[:passes], rtol=1e-5)
    assert abs(len(history) - found.iterations) <= 1
    assert all(b <= a + 1e-7 for a, b in zip(found.history, found.history[1:], strict=False))


@pytest.mark.parametrize("noise", [0.5, 0.9])
def test_as_good_as_scikit_learn(noise: float) -> None:
    data = mixture(noise=noise, clusters=12, seed=5)
    rows = unit(data.numpy().astype(np.float64))
    labels = KMeans(12, n_init=10, random_state=0).fit(rows).labels_
    # scikit-learn's centroids are not of unit length: normalise them, then compare the inertia.
    centers = unit(np.stack([rows[labels == i].mean(axis=0) for i in range(12)]))
    reference = 1 - (rows @ centers.T).max(axis=1).mean()
    found = spherical_kmeans(source(data), 12, seed=0, restarts=4)
    assert found.inertia == pytest.approx(reference, rel=0.01)


def test_result_describes_its_own_centroids() -> None:
    data = mixture()
    seen: list[tuple[int, float]] = []
    for limit in (1, 3, 100):
        found = spherical_kmeans(source(data), 8, seed=1, max_iterations=limit, progress=lambda i, x: seen.append((i, x)))
        labels = assign(data, found.centroids)
        cosine = (torch.nn.functional.normalize(data.double(), dim=1) * found.centroids[labels].double()).sum(dim=1)
        assert found.counts.tolist() == labels.bincount(minlength=8).tolist()
        assert found.inertia == pytest.approx(float(1 - cosine.mean()), abs=1e-7)
        assert found.centroids.dtype == torch.float32
        assert found.counts.dtype == torch.int64
        torch.testing.assert_close(found.centroids.norm(dim=1), torch.ones(8))
        assert found.iterations == len(found.history) <= limit
        assert [x for _, x in seen[-found.iterations :]] == found.history
        assert [i for i, _ in seen[-found.iterations :]] == list(range(1, found.iterations + 1))
    assert found.converged
    assert found.points == len(data)


def same(a: kmeans.KMeansResult, b: kmeans.KMeansResult) -> bool:
    return torch.equal(a.centroids, b.centroids) and torch.equal(a.counts, b.counts) and a.history == b.history


@pytest.mark.parametrize("init_sample", [500, 65536])
def test_chunk_sizes_change_nothing(monkeypatch: pytest.MonkeyPatch, init_sample: int) -> None:
    monkeypatch.setattr(kmeans, "BLOCK", 256)
    data = mixture(points=3001)
    data[::97] = 0
    want = spherical_kmeans(source(data, 3001), 6, seed=3, init_sample=init_sample)
    for size in (1, 255, 256, 257, 1000):
        assert same(want, spherical_kmeans(source(data, size), 6, seed=3, init_sample=init_sample))
    ragged = [0, 700, 1, 299, 2001, 0]
    assert same(want, spherical_kmeans(lambda: data.split(ragged), 6, seed=3, init_sample=init_sample))


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 100))
def test_any_chunks_give_a_partition(sizes: list[int], k: int, seed: int) -> None:
    data = torch.randn(sum(sizes), 4, generator=torch.Generator().manual_seed(seed))
    if len(data) < k:
        with pytest.raises(ProxymaskError, match="cannot make"):
            spherical_kmeans(lambda: data.split(sizes), k, seed=seed)
        return
    found = spherical_kmeans(lambda: data.split(sizes), k, seed=seed)
    assert found.counts.sum() == len(data)
    assert (found.counts > 0).all()
    assert same(found, spherical_kmeans(source(data, 7), k, seed=seed))
    torch.testing.assert_close(found.centroids.norm(dim=1), torch.ones(k))


def test_result_depends_on_the_seed() -> None:
    data = mixture(noise=2.0)
    first = spherical_kmeans(source(data), 8, seed=1, restarts=2, init_sample=1000)
    torch.manual_seed(99)  # the global generator has no effect
    assert same(first, spherical_kmeans(source(data), 8, seed=1, restarts=2, init_sample=1000))
    assert not same(first, spherical_kmeans(source(data), 8, seed=2, restarts=2, init_sample=1000))


def test_restarts_keep_the_best() -> None:
    data = mixture(clusters=30, noise=0.5, points=3000)
    inertia = [spherical_kmeans(source(data), 30, seed=4, restarts=n).inertia for n in (1, 4)]
    assert inertia[1] <= inertia[0]


def test_sample_is_uniform() -> None:
    data = torch.nn.functional.one_hot(torch.arange(400) % 400).float()
    hits = torch.zeros(400)
    for seed in range(300):
        sample, seen = kmeans._reservoir(source(data, 33), 40, torch.Generator().manual_seed(seed))
        assert seen == 400
        assert sample.shape == (40, 400)
        assert (sample.sum(dim=0) <= 1).all()  # without replacement
        hits += sample.sum(dim=0)
    # Binomial(300, 0.1): mean 30, standard deviation 5.2; the mean over a quarter of the rows deviates by 0.5.
    assert hits.max() < 30 + 5 * 5.2
    for quarter in hits.split(100):
        assert abs(float(quarter.mean()) - 30) < 2.5


def test_empty_clusters_move_to_the_farthest_rows() -> None:
    data = mixture(clusters=3, noise=0.2, points=900)
    outlier = -3 * data.mean(dim=0, keepdim=True)
    data = torch.cat([data[:450], outlier, data[450:]])
    init = torch.cat([data[:1], data[:1], data[:1], data[:1]])  # ties: all rows go to id 0, three clusters are empty
    one = spherical_kmeans(source(data), 4, seed=0, init=init, max_iterations=1)
    assert one.counts.tolist() == [901, 0, 0, 0]
    assert not one.converged
    found = spherical_kmeans(source(data, 100), 4, seed=0, init=init, tolerance=0)
    assert found.reseeded >= 3
    assert (found.counts > 0).all()
    assert found.converged
    assert all(b <= a + 1e-7 for a, b in zip(found.history, found.history[1:], strict=False))
    assert same(found, spherical_kmeans(source(data, 901), 4, seed=0, init=init, tolerance=0))
    # The first empty cluster moves to the row farthest from the first centroid.
    two = spherical_kmeans(source(data), 4, seed=0, init=init, max_iterations=2)
    rows = torch.nn.functional.normalize(data, dim=1)
    worst = rows[(rows @ rows[0]).argmin()]
    torch.testing.assert_close(two.centroids[1], worst)


def test_not_converged_while_a_cluster_can_be_filled() -> None:
    # The farthest rows of the first pass have one direction, so two clusters are still empty in the second, which meets the tolerance.
    data = torch.tensor([[1.0, 0.0]] * 50 + [[-1.0, 0.0]] * 10 + [[0.0, 1.0], [0.0, -1.0]])
    found = spherical_kmeans(source(data), 4, seed=0, init=data[:1].repeat(4, 1), tolerance=10)
    assert found.converged
    assert found.reseeded == 3
    assert found.counts.tolist() == [50, 10, 1, 1]


def test_fewer_directions_than_clusters_terminates() -> None:
    data = torch.eye(3).repeat(20, 1) * torch.arange(1, 61)[:, None]
    found = spherical_kmeans(source(data, 7), 5, seed=0)
    assert found.converged
    assert sorted(found.counts.tolist()) == [0, 0, 20, 20, 20]
    assert found.inertia == pytest.approx(0, abs=1e-7)
    assert torch.isfinite(found.centroids).all()


def test_as_many_clusters_as_rows() -> None:
    data = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    found = spherical_kmeans(source(data, 2), 9, seed=0)
    assert found.counts.tolist() == [1] * 9
    assert found.inertia == pytest.approx(0, abs=1e-7)


def test_opposite_rows_keep_their_centroid() -> None:
    data = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    found = spherical_kmeans(source(data), 1, seed=0, init=torch.tensor([[1.0, 0.0]]))
    assert found.centroids.tolist() == [[1.0, 0.0]]
    assert found.inertia == 1


def test_zero_rows_are_ignored() -> None:
    data = mixture(points=2000)
    holes = torch.zeros(2500, 32)
    holes[torch.arange(2500) % 5 != 0] = data
    with_zeros, without = spherical_kmeans(source(holes, 77), 6, seed=2), spherical_kmeans(source(data), 6, seed=2)
    assert (with_zeros.zero_vectors, with_zeros.points, without.zero_vectors) == (500, 2000, 0)
    torch.testing.assert_close(with_zeros.centroids, without.centroids)
    assert with_zeros.counts.sum() == 2000
    assert (assign(torch.zeros(3, 32), with_zeros.centroids) == 0).all()


def test_length_of_rows_is_ignored() -> None:
    data = mixture()
    for factor in (1e-12, 1e12):
        found, want = spherical_kmeans(source(data * factor), 8, seed=0), spherical_kmeans(source(data), 8, seed=0)
        torch.testing.assert_close(found.centroids, want.centroids)
        assert torch.equal(assign(data * factor, want.centroids), assign(data, want.centroids))


def test_assign_ties_shapes_and_autocast() -> None:
    centroids = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    labels = assign(torch.tensor([[0.0, 2.0], [3.0, 3.0], [-1.0, 1.0], [5.0, 1.0], [0.0, -1.0]]), centroids)
    assert labels.tolist() == [0, 0, 0, 1, 1]
    assert labels.dtype == torch.int64
    assert assign(torch.zeros(0, 2), centroids).shape == (0,)
    data = mixture(points=20000)
    found = spherical_kmeans(source(data), 8, seed=0)
    want = (unit(data.numpy().astype(np.float64)) @ found.centroids.numpy().astype(np.float64).T).argmax(axis=1)
    assert (assign(data.requires_grad_(), found.centroids).numpy() == want).all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (assign(data, found.centroids).numpy() == want).all()
        assert same(found, spherical_kmeans(source(data), 8, seed=0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_dtype_is_accepted(dtype: torch.dtype) -> None:
    data = mixture(points=500).clamp(-100, 100).to(dtype)
    assert same(spherical_kmeans(source(data), 4, seed=0), spherical_kmeans(source(data.float()), 4, seed=0))


def test_one_chunk_at_a_time_is_in_memory() -> None:
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def chunks() -> Iterator[Tensor]:
        nonlocal most
        generator = torch.Generator().manual_seed(0)
        for _ in range(50):
            most = max(most, sum(ref() is not None for ref in alive))
            chunk = torch.randn(500, 16, generator=generator)
            alive.append(weakref.ref(chunk))
            yield chunk
            del chunk

    found = spherical_kmeans(chunks, 5, seed=0, init_sample=1000, max_iterations=4)
    assert found.points == 25000
    assert len(alive) == 50 * (found.iterations + 1)  # one pass for the sample
    assert most == 0  # each is freed before the next is made


def once(data: Tensor) -> Callable[[], Iterator[Tensor]]:
    stream = iter(data.split(10))
    return lambda: stream


@pytest.mark.parametrize(
    ("chunks", "k", "options", "message"),
    [
        (lambda: [torch.ones(3, 2)], 4, {}, "3 feature vectors other than zero cannot make 4 clusters"),
        (lambda: [torch.zeros(9, 2)], 2, {}, "0 feature vectors"),
        (lambda: [], 2, {}, "0 feature vectors"),
        (lambda: [], 1, {"init": torch.ones(1, 2)}, "0 feature vectors"),
        (lambda: [torch.ones(9, 2), torch.full((1, 2), float("nan"))], 2, {}, "NaN or infinite"),
        (lambda: [torch.ones(9, 2), torch.full((1, 2), float("inf"))], 2, {}, "NaN or infinite"),
        (lambda: [torch.ones(9, 2), torch.ones(9, 3)], 2, {}, "3 channels, the first had 2"),
        (lambda: [torch.ones(9, 2, 2)], 2, {}, "not torch.float32 \\(9, 2, 2\\)"),
        (lambda: [torch.ones(9, 2, dtype=torch.int64)], 2, {}, "not torch.int64"),
        (lambda: [np.ones((9, 2))], 2, {}, "not ndarray"),
        (lambda: [torch.ones(9, 2)], 0, {}, "at least 1"),
        (lambda: [torch.ones(9, 2)], 2, {"max_iterations": 0}, "at least 1"),
        (lambda: [torch.ones(9, 2)], 2, {"restarts": 0}, "at least 1"),
        (lambda: [torch.ones(9, 2)], 2, {"tolerance": float("nan")}, "tolerance"),
        (lambda: [torch.ones(9, 2)], 2, {"init_sample": 1}, "init_sample is 1"),
        (lambda: [torch.ones(9, 2)], 2, {"init": torch.ones(3, 2)}, "must be \\(2, channels\\)"),
        (lambda: [torch.ones(9, 2)], 2, {"init": torch.eye(3)[:2]}, "start has 3 channels"),
        (lambda: [torch.ones(9, 2)], 2, {"init": torch.zeros(2, 2)}, "zero or non-finite"),
        (once(torch.randn(50, 2)), 2, {}, "must start anew"),
    ],
)
def test_wrong_input_is_refused(chunks: Callable[[], Iterator[Tensor]], k: int, options: dict, message: str) -> None:
    with pytest.raises(ProxymaskError, match=message):
        spherical_kmeans(chunks, k, seed=0, **options)
