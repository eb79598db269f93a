"""The cluster stage: proxy clusters by spherical k-means of the features at the cut (supplement A.2: 256 samples; B.2: K = 25)."""

import dataclasses
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch

from ...core.device import to_device
from ...core.errors import ProxymaskError
from ...core.seeding import derive_rng
from ...models.proxy_clusters import ProxyClusters, fit_proxy_clusters
from ...models.split_generator import SplitGenerator
from ..distributed import barrier, is_main
from ..loop import Progress
from ..run_dirs import finish, run_lock
from .definition import BATCH, StageDefinition, hashes

MAX_CACHED_FEATURES = 512 * 2**20  # bytes of features that are kept in memory instead of being computed for every pass

PassProgress = Callable[[int, float], None]
"""Called with (pass, inertia)."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ClustersDefinition(StageDefinition):
    """Stage 1: the proxy clusters of a generator."""

    name: ClassVar[str] = "clusters"

    split: SplitGenerator
    num_clusters: int
    """K."""
    samples: int
    """Random samples whose features are clustered."""
    seed: int
    device: torch.device

    @property
    def steps(self) -> int:
        return 0

    @cached_property
    def identity(self) -> dict[str, Any]:
        sizes = {"clusters": self.num_clusters, "samples": self.samples, "cut": self.split.resolution}
        return {**sizes, "seed": self.seed, **hashes(generator=self.split.generator)}

    def run(self, out: Path, progress: Progress | None = None) -> None:
        """Cluster on process 0, and save the result; ``progress`` gets (pass, 0, inertia by name)."""
        with run_lock(out):
            self._run(out, progress)

    def _run(self, out: Path, progress: Progress | None) -> None:
        if is_main():
            note = None if progress is None else lambda index, inertia: progress(index, 0, {"inertia": inertia})
            found = cluster_features(self.split, self.num_clusters, self.samples, self.seed, self.device, note)
            finish(out, self.identity, 0, {"clusters": found})
        barrier()


def cluster_features(
    split: SplitGenerator,
    num_clusters: int,
    samples: int,
    seed: int,
    device: torch.device,
    progress: PassProgress | None = None,
    max_iterations: int = 100,
) -> ProxyClusters:
    """Spherical k-means of the features of random samples, in float32.

    Features that do not fit into 512 MiB are computed anew for every pass.

    Raises:
        ProxymaskError: no samples; as ``fit_proxy_clusters``.
    """
    if samples < 1:
        raise ProxymaskError(f"clusters need samples, got {samples}: 256 is the paper's number")
    to_device(split, device)
    z = torch.randn(samples, split.generator.z_dim, generator=derive_rng(seed, "clusters"))

    @torch.no_grad()
    def computed() -> Iterator[torch.Tensor]:
        for part in z.split(BATCH):
            yield split.features(split.w(part.to(device))).features

    source: Callable[[], Any] = computed
    if samples * split.channels * split.size[0] * split.size[1] * 4 <= MAX_CACHED_FEATURES:
        held = list(computed())
        source = held.__iter__
    return fit_proxy_clusters(
        source,
        num_clusters,
        split.resolution,
        seed,
        cut=split.resolution,
        start=split.start,
        progress=progress,
        max_iterations=max_iterations,
    )
