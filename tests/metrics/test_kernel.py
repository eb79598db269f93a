import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import polynomial_kernel

from proxymask.core.errors import ProxymaskError
from proxymask.metrics.kernel import kernel_distance, polynomial_mmd


def naive_mmd(x, y):
    """The definition, a pair at a time."""

    def k(a, b):
        return (float(a @ b) / len(a) + 1.0) ** 3

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(k(a, b) for a in x for b in y) / (n * m)
    return xx + yy - 2 * xy


def test_against_the_definition():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(17, 5)), rng.normal(size=(23, 5)) + 0.4
    assert polynomial_mmd(x, y) == pytest.approx(naive_mmd(x, y), rel=1e-10)


def test_kernel_is_sklearns_default_polynomial():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 8)), rng.normal(size=(30, 8)) * 2
    xx, yy, xy = (polynomial_kernel(a, b, degree=3, gamma=None, coef0=1) for a, b in ((x, x), (y, y), (x, y)))
    off = ~np.eye(30, dtype=bool)
    assert polynomial_mmd(x, y) == pytest.approx(xx[off].mean() + yy[off].mean() - 2 * xy.mean(), rel=1e-10)


def test_unbiased_on_equal_distributions():
    """The mean over many draws from one distribution is 0 within its error; the biased estimate is far above."""
    rng = np.random.default_rng(2)
    values = np.array([polynomial_mmd(rng.normal(size=(20, 4)), rng.normal(size=(20, 4))) for _ in range(400)])
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean()) < 4 * error
    assert (values < 0).any()


def test_closed_form():
    """Points at 0 against points at c in one dimension: k is 1 within, (c^2 + 1)^3 within, 1 across."""
    assert polynomial_mmd(np.zeros((4, 1)), np.full((3, 1), 2.0)) == pytest.approx(1 + 125 - 2)


def test_subsets():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(300, 6)), rng.normal(size=(250, 6)) + 0.3
    first = kernel_distance(torch.from_numpy(x), y, subsets=20, subset_size=100, seed=5)
    assert first == kernel_distance(x, y, subsets=20, subset_size=100, seed=5)
    assert first != kernel_distance(x, y, subsets=20, subset_size=100, seed=6)
    assert first.subset_size == 100
    assert first.std > 0
    assert first.mean == pytest.approx(polynomial_mmd(x, y), abs=4 * first.std / np.sqrt(20) + 0.02)
    whole = kernel_distance(x[:250], y, subsets=3)  # fewer samples than asked: every subset is everything
    assert whole.subset_size == 250
    assert whole.mean == pytest.approx(polynomial_mmd(x[:250], y), rel=1e-9)
    assert whole.std == pytest.approx(0, abs=1e-9)


def test_errors():
    with pytest.raises(ProxymaskError, match="dimensions"):
        kernel_distance(np.zeros((5, 2)), np.zeros((5, 3)))
    with pytest.raises(ProxymaskError, match="at least 2"):
        kernel_distance(np.zeros((1, 2)), np.zeros((5, 2)))
