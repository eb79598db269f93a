"""Improved precision and recall: the share of one set of features inside the k-nearest-neighbour balls of the other (section 2).

Source: Kynkaanniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019 (arXiv 1904.06991).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from ..core.errors import ProxymaskError
from .frechet import Array, as_features


class PrecisionRecall(NamedTuple):
    """Precision: share of generated samples inside the manifold of the real ones. Recall: the reverse."""

    precision: float
    recall: float


def _squared_distances(queries: Array, points: Array, chunk: int) -> Iterator[tuple[int, Array]]:
    """Yield ``(start, squared distances (<= chunk, len(points)))``, so that memory is ``chunk * len(points)``."""
    norms = (points**2).sum(axis=1)
    for start in range(0, len(queries), chunk):
        block = queries[start : start + chunk]
        scale = (block**2).sum(axis=1, keepdims=True) + norms
        squared = scale - 2 * block @ points.T
        squared[squared < 1e-12 * scale] = 0  # below rounding error: copies must be at distance zero, or ties turn into luck
        yield start, squared


def _radii(points: Array, k: int, chunk: int) -> Array:
    """Squared distance (n,) of each point to its k-th nearest neighbour other than itself."""
    radii = np.empty(len(points))
    for start, squared in _squared_distances(points, points, chunk):
        rows = np.arange(len(squared))
        squared[rows, start + rows] = np.inf
        radii[start : start + len(squared)] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    return radii


def _covered(queries: Array, points: Array, k: int, inclusive: bool, chunk: int) -> float:
    """Share of ``queries`` inside the ball of at least one of ``points``."""
    radii = _radii(points, k, chunk)
    hits = 0
    for _, squared in _squared_distances(queries, points, chunk):
        inside = squared <= radii if inclusive else squared < radii
        hits += int(inside.any(axis=1).sum())
    return hits / len(queries)


def precision_recall(
    real: torch.Tensor | Array, fake: torch.Tensor | Array, k: int = 3, inclusive: bool = True, chunk: int = 1024
) -> PrecisionRecall:
    """Improved precision and recall, both in [0, 1], of features real (n, D) and fake (m, D).

    ``inclusive`` counts a sample on the surface of a ball as inside (``<=``, as the authors' code does) or not (``<``, as a common
    PyTorch port does); the two differ where samples are copied. Both values move with n and m: say how many were used.

    Raises:
        ProxymaskError: the dimensions differ, or a side has no more than ``k`` samples.
    """
    x, y = as_features(real), as_features(fake)
    if x.shape[1] != y.shape[1]:
        raise ProxymaskError(f"features of {x.shape[1]} and {y.shape[1]} dimensions cannot be compared: use one feature network for both")
    if k < 1 or min(len(x), len(y)) <= k:
        raise ProxymaskError(f"precision and recall with k={k} need k >= 1 and more than k samples a side, not {len(x)} and {len(y)}")
    centre = x.mean(axis=0)  # a common shift changes no distance but keeps the squares small
    x, y = x - centre, y - centre
    return PrecisionRecall(_covered(y, x, k, inclusive, chunk), _covered(x, y, k, inclusive, chunk))
