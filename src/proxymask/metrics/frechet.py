"""Frechet distance between two sets of features, from statistics that are gathered batch by batch (Heusel et al., 2017, equation 6).

The value is a *Frechet feature distance*: it bears the name FID only if the features are the 2048 pooled ones of the original
Inception network. Values made with different feature networks, or with different numbers of samples, cannot be compared.

Source: Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", 2017 (arXiv 1706.08500).
"""

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.errors import ProxymaskError

Array = NDArray[np.float64]


def as_features(features: Any) -> Array:
    """Features (n, D), a tensor or an array, as float64; :class:`ProxymaskError` where they are not finite or not 2-D."""
    if isinstance(features, torch.Tensor):
        features = features.detach().to("cpu", torch.float64).numpy()
    array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2:
        raise ProxymaskError(f"features must have shape (samples, dimensions), not {array.shape}")
    if not np.isfinite(array).all():
        raise ProxymaskError("features hold NaN or infinite values: the network that made them, or its input, is broken")
    return array


class FeatureStats:
    """Mean and covariance of features, in float64, gathered batch by batch.

    The scatter is updated about the running mean (Chan, Golub and LeVeque, 1979), so that a large mean costs no precision, and
    the result depends on how the samples were cut into batches only in the last bits.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.count = 0
        self.mean: Array = np.zeros(dim)
        self._scatter: Array = np.zeros((dim, dim))

    def add(self, features: torch.Tensor | Array) -> Self:
        """Add a batch (n, D) of features; n may be 0. Raises :class:`ProxymaskError` on a wrong D or values not finite."""
        batch = as_features(features)
        if batch.shape[1] != self.dim:
            raise ProxymaskError(f"features have {batch.shape[1]} dimensions, the statistics {self.dim}")
        if len(batch):
            mean, total = batch.mean(axis=0), self.count + len(batch)
            centred, delta = batch - mean, mean - self.mean
            self._scatter += centred.T @ centred + np.outer(delta, delta) * (self.count * len(batch) / total)
            self.mean = self.mean + delta * (len(batch) / total)
            self.count = total
        return self

    @property
    def cov(self) -> Array:
        """Unbiased covariance (D, D). Raises :class:`ProxymaskError` with fewer than two samples."""
        if self.count < 2:
            raise ProxymaskError(f"a covariance needs at least 2 samples, there are {self.count}")
        return self._scatter / (self.count - 1)


def frechet_distance(a: FeatureStats, b: FeatureStats) -> float:
    """Squared Frechet distance of the two Gaussians, at least 0: ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``.

    ``C1 C2`` has the same eigenvalues as the symmetric, positive semi-definite ``C1^(1/2) C2 C1^(1/2)``, so two symmetric
    eigen-decompositions suffice, without complex numbers, also where a covariance is singular (fewer samples than dimensions).
    The estimate is biased upwards with few samples: say how many were used.

    Raises:
        ProxymaskError: the dimensions differ, or either side has fewer than two samples.
    """
    if a.dim != b.dim:
        raise ProxymaskError(f"features of {a.dim} and {b.dim} dimensions cannot be compared: use one feature network for both")
    values, vectors = np.linalg.eigh(a.cov)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    product = root @ b.cov @ root
    eigenvalues = np.linalg.eigvalsh((product + product.T) / 2)
    trace = np.trace(a.cov) + np.trace(b.cov) - 2 * np.sqrt(eigenvalues.clip(min=0)).sum()
    return max(float(((a.mean - b.mean) ** 2).sum() + trace), 0.0)
