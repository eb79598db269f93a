"""Kernel distance: unbiased squared maximum mean discrepancy (MMD) with a cubic kernel, averaged over random subsets.

With Inception's features it is the KID. Unlike the Frechet distance it is not biased when there are few samples.

Source: Binkowski et al., "Demystifying MMD GANs", 2018 (arXiv 1801.01401).
"""

from typing import NamedTuple

import numpy as np
import torch

from ..core.errors import ProxymaskError
from ..core.seeding import derive_seed
from .frechet import Array, as_features


class KernelDistance(NamedTuple):
    """Mean and standard deviation (of single subsets, not of the mean) over the subsets, and the size of a subset."""

    mean: float
    std: float
    subset_size: int


def polynomial_mmd(x: Array, y: Array) -> float:
    """Unbiased squared MMD of x (n, D) and y (m, D) with the kernel ``(x.y / D + 1)^3`` (section 4); it can be slightly negative."""
    n, m, dim = len(x), len(y), x.shape[1]
    xx, yy, xy = (x @ x.T / dim + 1) ** 3, (y @ y.T / dim + 1) ** 3, (x @ y.T / dim + 1) ** 3
    within = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(within - 2 * xy.mean())


def kernel_distance(
    real: torch.Tensor | Array, fake: torch.Tensor | Array, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """Kernel distance of features real (n, D) and fake (m, D) over ``subsets`` draws of ``subset_size`` from each, without replacement.

    With fewer samples than ``subset_size`` on either side the subsets shrink to what there is. The draws depend on ``seed`` alone.

    Raises:
        ProxymaskError: the dimensions differ, or a side has fewer than two samples.
    """
    x, y = as_features(real), as_features(fake)
    if x.shape[1] != y.shape[1]:
        raise ProxymaskError(f"features of {x.shape[1]} and {y.shape[1]} dimensions cannot be compared: use one feature network for both")
    size = min(subset_size, len(x), len(y))
    if size < 2 or subsets < 1:
        raise ProxymaskError(f"the kernel distance needs at least 2 samples a side and 1 subset, not {len(x)}, {len(y)} and {subsets}")
    rng = np.random.default_rng(derive_seed(seed, "kernel distance"))
    values = [
        polynomial_mmd(x[rng.choice(len(x), size, replace=False)], y[rng.choice(len(y), size, replace=False)]) for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(values)), float(np.std(values)), size)
