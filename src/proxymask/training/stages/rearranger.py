"""The rearranger stage (supplement A.1, A.2)."""

import dataclasses
import inspect
from typing import Any, ClassVar

import torch

from ...core.device import to_device
from ...core.errors import ProxymaskError
from ...core.hashing import short_hash
from ...core.seeding import derive_rng
from ...models.discriminator import Discriminator
from ...models.proxy_clusters import ProxyClusters
from ...models.rearranger import Rearranger
from ...models.split_generator import SplitGenerator
from ..adversarial import Pictures
from ..narrow_keys import narrow_keys
from ..parts import check_compatible, pictures_id
from ..rearranger import RearrangerConfig, RearrangerStage, check_mix_layers
from ..run_dirs import Networks
from .definition import BATCH, TrainedStage, discriminator_to_train, hashes, seeded

STATISTICS_SAMPLES = 64
OF_START = ("key_channels", "key_mask", "key_mask_channels")  # arguments that are those of the rearranger to start from
NARROW_SAMPLES = 256  # samples that narrower queries and keys are fitted to


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RearrangerDefinition(TrainedStage):
    """Stage 2: the rearranger, and the discriminator for its pictures."""

    name: ClassVar[str] = "rearranger"

    config: RearrangerConfig
    split: SplitGenerator
    clusters: ProxyClusters
    discriminator: Discriminator | None = None
    """The generator's, which L_adv starts from; None: an untrained one."""
    pictures: Pictures | None = None
    """Real pictures for L_adv; None: samples of the generator."""
    start: Rearranger | None = None
    """A trained rearranger of the same widths to start from."""
    rms: tuple[float, float] | None = None
    """Root mean square of features and RGB at the cut; None: measured."""

    def inputs(self) -> dict[str, Any]:
        networks = hashes(generator=self.split.generator, clusters=self.clusters, discriminator=self.discriminator)
        found: dict[str, Any] = {"pictures": pictures_id(self.pictures), **networks}
        if self.start is not None:
            found["start"] = short_hash(self.start)
        return found

    def build(self) -> RearrangerStage:
        if self.loop.batch < 2:
            raise ProxymaskError("--batch 1: a sample takes the proxy mask of another one of the batch; give 2 or more")
        check_compatible(self.split, self.clusters)
        check_mix_layers(self.config.mix_layers, self.split.generator)
        rearranger = self._new_rearranger()
        rearranger.initialize(self.clusters.centroids.cpu(), *(self.rms or state_rms(self.split, self.loop.seed, self.device)))
        if self.start is not None:
            self._load(rearranger, self.start)
        elif self.config.init == "centroids":
            rearranger.attend_to_clusters()
        discriminator = discriminator_to_train(self.discriminator, self.split.generator, self.loop.seed)
        return RearrangerStage(self.split, self.clusters, rearranger, discriminator, self.pictures, self.config, self.steps)

    def _new_rearranger(self) -> Rearranger:
        arguments = inspect.signature(Rearranger.__init__).parameters
        widths = {field.name: getattr(self.config, field.name) for field in dataclasses.fields(self.config) if field.name in arguments}
        with seeded(self.loop.seed, "init", "rearranger"):
            return Rearranger(
                channels=self.split.channels,
                resolution=self.split.resolution,
                num_clusters=self.clusters.num_clusters,
                img_channels=self.split.generator.img_channels,
                start=self.split.start,
                **({} if self.start is None else {name: self.start.config[name] for name in OF_START}),
                **widths,
            )

    def _load(self, rearranger: Rearranger, start: Rearranger) -> None:
        """Take the weights of ``start``, which may lack the refinement block."""
        fresh = {name: value for name, value in rearranger.state_dict().items() if name.startswith("refinement.")}
        weights = fresh | start.state_dict()
        shapes = {name: value.shape for name, value in rearranger.state_dict().items()}
        if {name: value.shape for name, value in weights.items()} != shapes:
            raise ProxymaskError("--start holds a rearranger of other widths or choices: give the settings it was trained with")
        rearranger.load_state_dict(weights)

    def finalize(self, stage: RearrangerStage, networks: Networks) -> Networks:
        """The rearranger with queries and keys as narrow as the config says."""
        trained = networks["rearranger"]
        assert isinstance(trained, Rearranger)
        if self.config.narrow_channels:
            device = trained.to_query.weight.device
            split, clusters = to_device(self.split, device), self.clusters.to(device)
            z = torch.randn(NARROW_SAMPLES, split.generator.z_dim, generator=derive_rng(self.loop.seed, "narrow"))
            trained, _ = narrow_keys(trained, split, clusters, self.config.narrow_channels, z)
        return networks | {"rearranger": trained}


@torch.no_grad()
def state_rms(split: SplitGenerator, seed: int, device: torch.device) -> tuple[float, float]:
    """Root mean square of features and of accumulated RGB at the cut, over 64 samples."""
    to_device(split, device)
    z = torch.randn(STATISTICS_SAMPLES, split.generator.z_dim, generator=derive_rng(seed, "statistics"))
    features, rgb = 0.0, 0.0
    for part in z.split(BATCH):
        state = split.features(split.w(part.to(device)))
        features += float(state.features.square().mean()) * len(part)
        rgb += float(state.rgb.square().mean()) * len(part)
    return (features / STATISTICS_SAMPLES) ** 0.5, (rgb / STATISTICS_SAMPLES) ** 0.5
