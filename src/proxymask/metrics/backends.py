"""Frechet and kernel distances, precision and recall, computed by this package or by another one that the user has installed.

The other ones, torch-fidelity and clean-fid, need torchvision. The default is this package's own code; a test compares it with numbers
that both packages computed. Shapes: n and m samples of D features.
"""

import importlib
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from ..core.errors import ProxymaskError
from .frechet import FeatureStats, as_features, frechet_distance
from .kernel import kernel_distance
from .manifold import precision_recall

Backend = Literal["own", "torch-fidelity", "clean-fid"]
Features = torch.Tensor | np.ndarray
KERNEL_SUBSETS, KERNEL_SIZE, NEIGHBOURS = 100, 1000, 3


class Distances(NamedTuple):
    """Distances of a set of features to a reference; None where the backend lacks the metric, or there are too few samples."""

    frechet: float
    kernel: float | None
    kernel_std: float | None
    precision: float | None
    recall: float | None


def frechet(real: Features, fake: Features, backend: Backend = "own") -> float:
    """The Frechet distance of features real (n, D) and fake (m, D) alone; see :func:`distances`."""
    x, y = as_features(real), as_features(fake)
    if backend == "own":
        return frechet_distance(*(FeatureStats(part.shape[1]).add(part) for part in (x, y)))
    if backend == "clean-fid":
        return float(_need("cleanfid.fid", backend).fid_from_feats(y, x))
    fid = _need("torch_fidelity.metric_fid", backend)
    statistics = [fid.fid_features_to_statistics(torch.from_numpy(part).float()) for part in (y, x)]
    return float(fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"])


def distances(real: Features, fake: Features, backend: Backend = "own", seed: int = 0) -> Distances:
    """Frechet and kernel distance, precision and recall (k = 3) of features real (n, D) and fake (m, D).

    Raises:
        ProxymaskError: a backend that is not installed, features that do not fit, too few of them.
    """
    x, y, distance = as_features(real), as_features(fake), frechet(real, fake, backend)
    if backend == "own":
        kernel = kernel_distance(x, y, KERNEL_SUBSETS, KERNEL_SIZE, seed)
        enough = min(len(x), len(y)) > NEIGHBOURS
        manifold = precision_recall(x, y, NEIGHBOURS) if enough else (None, None)
        return Distances(distance, kernel.mean, kernel.std, *manifold)
    if backend == "clean-fid":
        module = _need("cleanfid.fid", backend)
        size = min(KERNEL_SIZE, len(x), len(y))
        np.random.seed(seed)  # noqa: NPY002 - clean-fid draws its subsets from numpy's global state
        kid = float(module.kernel_distance(y, x, KERNEL_SUBSETS, size))
        return Distances(distance, kid, None, None, None)
    tensors = [torch.from_numpy(part).float() for part in (y, x)]
    kid, prc = (_need(f"torch_fidelity.metric_{name}", backend) for name in ("kid", "prc"))
    size = min(KERNEL_SIZE, len(x), len(y))
    kernel_options: dict[str, Any] = {"kid_subsets": KERNEL_SUBSETS, "kid_subset_size": size, "rng_seed": seed, "verbose": False}
    found = kid.kid_features_to_metric(*tensors, **kernel_options)
    found |= prc.prc_features_to_metric(*tensors, prc_neighborhood=NEIGHBOURS, prc_batch_size=4096, save_cpu_ram=True, verbose=False)
    return Distances(
        distance,
        float(found["kernel_inception_distance_mean"]),
        float(found["kernel_inception_distance_std"]),
        float(found["precision"]),
        float(found["recall"]),
    )


def version_of(backend: Backend) -> str:
    """Name and version of the backend; a :class:`ProxymaskError` where it is not installed."""
    if backend == "own":
        return "proxymask's own"
    _need({"torch-fidelity": "torch_fidelity", "clean-fid": "cleanfid"}[backend], backend)
    from importlib.metadata import version

    return f"{backend} {version(backend)}"


def _need(module: str, backend: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ProxymaskError(
            f"--backend {backend} is not usable here ({error}): pip install {backend} torchvision, or leave the flag out"
        ) from None
