"""The verb ``cluster``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from ..core.checks import Checked, Range
from ..core.device import resolve_device
from ..core.errors import ProxymaskError
from ..models.proxy_clusters import ProxyClusters
from ..models.split_generator import SplitGenerator
from ..training.distributed import processes
from ..training.parts import load_part
from ..training.presets import DEFAULT_PRESET, load_preset
from ..training.run_dirs import mark_of, run_lock
from ..training.stages.clusters import ClustersDefinition
from .options import ClassIndex, Common, Computing
from .progress import progress
from .stage_options import OPTIONAL, OptionalCut, PresetName, generator_of, say


@dataclass(frozen=True, kw_only=True)
class Cluster(Checked):
    """The proxy clusters of a generator: spherical k-means of its features at the cut.

    Examples:
      proxymask cluster --generator runs/generator --out runs/clusters
    """

    generator: Path
    """The generator: its run, its saved network, a bundle, or a checkpoint of another project (.pkl, .pt, .pth)."""
    out: Path
    """Folder for clusters/."""
    cut: OptionalCut = None
    """Side of the features at the cut; by default a quarter of the side of the pictures, from 32 to 64 and at most half."""
    clusters: Annotated[int | None, Range(1, 2**14), OPTIONAL] = None
    """Number of clusters, K; 25 in the paper."""
    samples: Annotated[int | None, Range(1, 10**6), OPTIONAL] = None
    """Number of samples whose features are clustered; 256 in the paper."""
    class_index: ClassIndex = None
    """The class of a class-conditional generator."""
    preset: PresetName = DEFAULT_PRESET
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Cluster, and report the sizes of the clusters."""
        with run_lock(self.out):
            self._run()

    def _run(self) -> None:
        generator, _ = generator_of(self.generator, self.class_index)
        preset = load_preset(self.preset, generator.resolution)
        definition = ClustersDefinition(
            split=SplitGenerator(generator, self.cut or preset.cut_for(generator.resolution)).eval().requires_grad_(False),
            num_clusters=self.clusters or preset.num_clusters,
            samples=self.samples or preset.cluster_samples,
            seed=self.common.seed,
            device=resolve_device(self.common.device),
        )
        if not definition.is_done(self.out):
            if mark_of(self.out) is not None:
                raise ProxymaskError(f"{self.out} holds clusters of another generator or with other settings: choose another --out")
            with processes(self.common.device), progress("clusters, pass") as update:
                definition.run(self.out, update)
        say(f"{load_part(self.out, 'clusters', ProxyClusters).report()}\nclusters: {self.out / 'clusters'}")
