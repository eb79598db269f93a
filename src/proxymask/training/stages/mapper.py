"""The mapper stage for masks (supplement A.1, A.2), and what all mapper stages share."""

import abc
import dataclasses
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch

from ...core.device import resolve_precision, to_device
from ...core.errors import ProxymaskError
from ...core.hashing import short_hash
from ...imaging.labels import LabelSet
from ...models.discriminator import Discriminator
from ...models.few_shot_segmenter import FewShotSegmenter
from ...models.mappers import Mapper
from ...models.oasis_mapper import COUNTS, OasisMapper
from ...models.segmentation_nets import UNetSegmenter
from ...models.unet_mapper import UNetMapper
from ..adversarial import Pictures
from ..auxiliary import WIDTH, AuxiliaryStage
from ..mapper import MapperConfig, MapperStage
from ..pair_cache import PairShards, probe_of
from ..pairs import MaskPairs, SegmenterLabeler
from ..parts import Frozen, check_compatible, pictures_id
from .definition import TrainedStage, discriminator_to_train, hashes, seeded


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AnyMapperDefinition(TrainedStage):
    """Stage 4, the inputs that a mapper of any condition has."""

    name: ClassVar[str] = "mapper"

    config: MapperConfig
    frozen: Frozen
    segmenter: FewShotSegmenter | None = None
    """Makes masks of generated pictures, for masks, scribbles and L_label."""
    labels: LabelSet | None = None
    """For masks and scribbles."""
    discriminator: Discriminator | None = None
    """The rearranger's, which L_adv starts from; None: an untrained one."""
    pictures: Pictures | None = None
    """Real pictures for L_adv; None: samples of the generator."""

    def __post_init__(self) -> None:
        if self.labels is not None and self.labels.mirrored is not None:  # a mirrored left eye is no right eye of the generator's
            object.__setattr__(self, "config", dataclasses.replace(self.config, flip=False))

    def inputs(self) -> dict[str, Any]:
        frozen = hashes(generator=self.frozen.split.generator, clusters=self.frozen.clusters, rearranger=self.frozen.rearranger)
        others = hashes(segmenter=self.segmenter, discriminator=self.discriminator)
        return {"pictures": pictures_id(self.pictures), **frozen, **others}

    def save_more(self, out: Path) -> None:
        """``labels.json``, if there are labels."""
        if self.labels is not None:
            self.labels.save(out / "labels.json")

    def new_mask_mapper(self, label_prior: bool | None = None) -> OasisMapper:
        """An untrained mapper of masks; ``label_prior``: with counts of clusters and labels, None: as the config says.

        Raises:
            ProxymaskError: the segmenter has other labels.
        """
        assert self.segmenter is not None
        assert self.labels is not None
        known = self.segmenter.out.out_channels
        if known != len(self.labels):
            raise ProxymaskError(f"the segmenter knows {known} classes, labels.json has {len(self.labels)}: train it with this file")
        if label_prior is None:
            label_prior = self.config.label_prior and self.config.proxy_mask_mode == "style-prior"
        with seeded(self.loop.seed, "init", "mapper"):
            return OasisMapper(
                num_labels=len(self.labels),
                num_clusters=self.frozen.clusters.num_clusters,
                resolution=self.frozen.split.resolution,
                widths=tuple(self.config.widths),
                hidden=self.config.hidden,
                resize=self.config.resize,
                start=self.frozen.split.start,
                tail=self.config.tail,
                label_prior=label_prior,
            )

    def labeler(self) -> SegmenterLabeler:
        """The segmenter, frozen, on generated samples."""
        assert self.segmenter is not None
        return SegmenterLabeler(self.frozen.split, to_device(self.segmenter, self.device).eval().requires_grad_(False))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PairedMapperDefinition(AnyMapperDefinition):
    """A mapper that learns from pairs of a condition and a proxy mask."""

    start: Mapper | None = None
    """A trained mapper of the same widths to start from."""
    cache: Path | None = None
    """Folder of the pairs; None: they are made in every step."""
    cache_pairs: int | None = None
    """Pairs that are read from ``cache``; None: as many as the steps need."""

    def inputs(self) -> dict[str, Any]:
        found = super().inputs()
        if self.start is not None:
            found["start"] = short_hash(self.start)
        if self.shards is not None:
            found["cache_pairs"] = self.shards.count
        return found

    def cache_identity(self) -> dict[str, Any]:
        """What cached pairs are made of."""
        found: dict[str, Any] = {"condition": "mask", **hashes(generator=self.frozen.split.generator, clusters=self.frozen.clusters)}
        return found if self.segmenter is None else found | hashes(segmenter=self.segmenter)

    def cache_probe(self) -> torch.Tensor:
        """See :func:`.pair_cache.probe_of`."""
        return probe_of(None, self.frozen.split.generator.resolution)

    @cached_property
    def shards(self) -> PairShards | None:
        """The cached pairs."""
        if self.cache is None:
            return None
        count = self.loop.steps * self.loop.batch if self.cache_pairs is None else self.cache_pairs
        return PairShards(self.cache, count, self.cache_identity(), self.cache_probe(), self.loop.seed)

    def fill_cache(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Make the missing pairs of the cache; returns the bytes that the pairs take."""
        assert self.shards is not None
        stage, device = self.build(), self.device
        self.frozen.to(device)
        return self.shards.fill(stage.source, self.frozen.split, device, resolve_precision(self.loop.precision, device), progress)

    @abc.abstractmethod
    def build(self) -> MapperStage: ...

    def auxiliary(self) -> AuxiliaryStage | None:
        """The auxiliary segmenter of L_label, if the config has that loss and there is a segmenter."""
        if not self.config.lambda_label or self.segmenter is None:
            return None
        with seeded(self.loop.seed, "init", "viewer"):
            net = UNetSegmenter(self.segmenter.out.out_channels, WIDTH, depth=2)
        steps = max(1, round(self.steps * (1 - self.config.label_phase)))
        return AuxiliaryStage(net, self.labeler(), steps, self.labels, self.loop.seed)

    def load_start(self, mapper: Mapper) -> None:
        """Take the weights of ``start``.

        Raises:
            ProxymaskError: it has other widths or another input.
        """
        if self.start is None:
            return
        if self.start.config | {"label_prior": False} != mapper.config | {"label_prior": False}:
            raise ProxymaskError("--start holds a mapper of other widths or planes: give the settings it was trained with")
        # counts are of a segmenter and begin anew: the start may have learned from another one
        weights = {name: value for name, value in self.start.state_dict().items() if name not in COUNTS}
        mapper.load_state_dict(mapper.state_dict() | weights)
        if isinstance(mapper, UNetMapper):
            mapper.forget()

    def discriminator_to_train(self) -> Discriminator | None:
        """A copy of the discriminator, or an untrained one; None where there is no L_adv."""
        if not self.config.lambda_adv:
            return None
        return discriminator_to_train(self.discriminator, self.frozen.split.generator, self.loop.seed)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MapperDefinition(PairedMapperDefinition):
    """Stage 4 for masks: OASIS without its noise input (supplement A.1)."""

    def build(self) -> MapperStage:
        check_compatible(self.frozen.split, self.frozen.clusters, self.frozen.rearranger)
        mapper = self.new_mask_mapper()
        self.load_start(mapper)
        assert self.labels is not None
        source = MaskPairs(self.frozen.clusters, self.labeler(), torch.from_numpy(self.labels.colors.copy()))
        parts = self.frozen, mapper, self.discriminator_to_train(), source, self.pictures, self.config, self.steps
        stage = MapperStage(*parts, auxiliary=self.auxiliary())
        stage.shards = self.shards
        return stage
