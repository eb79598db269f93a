import numpy as np
import pytest
import torch

from proxymask.core.errors import ProxymaskError
from proxymask.metrics.manifold import precision_recall


def naive(real, fake, k, inclusive):
    """The definition, a pair at a time."""

    def dist(a, b):
        return float(np.sqrt(((a - b) ** 2).sum()))

    def covered(queries, points):
        radii = [sorted(dist(p, q) for j, q in enumerate(points) if j != i)[k - 1] for i, p in enumerate(points)]
        inside = [any(dist(q, p) <= r if inclusive else dist(q, p) < r for p, r in zip(points, radii, strict=True)) for q in queries]
        return sum(inside) / len(inside)

    return covered(fake, real), covered(real, fake)


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("k", [1, 3])
def test_against_the_definition(k, inclusive):
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(60, 4)) + 100, rng.normal(size=(45, 4)) * 0.7 + 100.5
    expected = naive(real, fake, k, inclusive)
    assert 0.1 < expected[1] < 0.95  # neither trivial
    for chunk in (7, 1024):
        assert precision_recall(torch.from_numpy(real), fake, k=k, inclusive=inclusive, chunk=chunk) == pytest.approx(expected, abs=0)


def test_ties_follow_the_flag():
    """Integers on a line, k = 1: every radius is 1, and fakes lie exactly on the surface."""
    real, fake = np.array([[0.0], [1.0], [10.0], [11.0]]), np.array([[2.0], [12.0], [9.0], [-1.0]])
    assert precision_recall(real, fake, k=1).precision == 1
    assert precision_recall(real, fake, k=1, inclusive=False).precision == 0


def test_copies_of_one_point_count_only_if_inclusive():
    points = np.full((6, 16), 0.1) + np.linspace(0, 1, 16)
    assert precision_recall(points, points) == (1, 1)
    assert precision_recall(points, points, inclusive=False) == (0, 0)


def test_mode_collapse_and_bad_samples():
    rng = np.random.default_rng(1)
    real = np.concatenate([rng.normal(size=(100, 3)), rng.normal(size=(100, 3)) + 50])
    collapsed = rng.normal(size=(200, 3))
    result = precision_recall(real, collapsed)
    assert result.precision > 0.8
    assert 0.4 < result.recall < 0.55  # the far half is never reached
    assert precision_recall(real, collapsed + 1000) == (0, 0)


def test_errors():
    with pytest.raises(ProxymaskError, match="more than k"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)))
    with pytest.raises(ProxymaskError, match="dimensions"):
        precision_recall(np.zeros((9, 2)), np.zeros((9, 3)))
