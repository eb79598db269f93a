import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from proxymask.core.errors import ProxymaskError
from proxymask.metrics.frechet import FeatureStats, frechet_distance


def stats_of(x):
    return FeatureStats(x.shape[1]).add(x)


def normal(seed, n, dim, shift=0.0, scale=1.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)) @ rng.normal(size=(dim, dim)) * scale + shift


def with_exact_moments(seed, n, mean, cov):
    """Samples whose sample mean and unbiased covariance are exactly the given ones."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T)).T) @ np.linalg.cholesky(cov).T
    return x + mean


def test_batches_equal_numpy_of_all_at_once():
    x = normal(0, 257, 7, shift=1e4)  # a mean far from 0: sums of squares would lose half the digits
    stats = FeatureStats(7)
    for part in np.array_split(x, [1, 3, 50, 51, 200, 200]):  # single samples and an empty batch among them
        stats.add(torch.from_numpy(part))
    assert stats.count == 257
    np.testing.assert_allclose(stats.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(stats.cov, np.cov(x.T), rtol=1e-9)


@pytest.mark.parametrize("dim", [1, 5, 64])
def test_against_scipy_sqrtm(dim):
    x, y = normal(2, 300, dim), normal(3, 400, dim, shift=0.3, scale=1.4)
    a, b = np.atleast_2d(np.cov(x.T)), np.atleast_2d(np.cov(y.T))
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * np.real(sqrtm(a @ b)))
    assert frechet_distance(stats_of(x), stats_of(y)) == pytest.approx(expected, rel=1e-8)


def test_known_gaussians():
    """Commuting covariances: |m|^2 + sum (s1 - s2)^2."""
    x = with_exact_moments(4, 50, np.zeros(3), np.diag([1.0, 4.0, 9.0]))
    y = with_exact_moments(5, 60, np.array([1.0, 2.0, -2.0]), np.diag([4.0, 4.0, 1.0]))
    assert frechet_distance(stats_of(x), stats_of(y)) == pytest.approx(9 + 1 + 0 + 4, abs=1e-9)


def test_singular_covariances_are_no_trouble():
    x = normal(6, 10, 40)  # rank 9 of 40
    assert frechet_distance(stats_of(x), stats_of(x)) == pytest.approx(0, abs=1e-4 * np.trace(np.cov(x.T)))
    shifted = frechet_distance(stats_of(x), stats_of(x + 2.0))
    assert shifted == pytest.approx(4 * 40, rel=1e-4)
    constant = stats_of(np.ones((5, 3)))
    assert frechet_distance(constant, stats_of(np.zeros((4, 3)))) == pytest.approx(3)


def test_symmetric_and_not_negative():
    x, y = normal(7, 100, 12), normal(8, 100, 12)
    assert frechet_distance(stats_of(x), stats_of(y)) == pytest.approx(frechet_distance(stats_of(y), stats_of(x)), rel=1e-9)
    assert 0 <= frechet_distance(stats_of(x), stats_of(x)) < 1e-6


def test_errors():
    with pytest.raises(ProxymaskError, match="NaN"):
        FeatureStats(2).add(np.array([[1.0, np.nan]]))
    with pytest.raises(ProxymaskError, match="shape"):
        FeatureStats(2).add(np.zeros(2))
    with pytest.raises(ProxymaskError, match="3 dimensions"):
        FeatureStats(2).add(np.zeros((1, 3)))
    with pytest.raises(ProxymaskError, match="at least 2"):
        frechet_distance(stats_of(np.zeros((1, 2))), stats_of(np.zeros((5, 2))))
    with pytest.raises(ProxymaskError, match="compared"):
        frechet_distance(FeatureStats(2), FeatureStats(3))
