"""The mapper stage for conditions other than masks: a U-Net whose encoder is built like StyleGAN2's discriminator (supplement A.1, E)."""

import dataclasses
from pathlib import Path
from typing import Any

import torch

from ...conditions.base import Condition
from ...core.errors import ProxymaskError
from ...core.files import write_json
from ...core.hashing import short_hash
from ...data.dataset import ImageSet
from ...models.unet_mapper import UNetMapper
from ..mapper import ConditionConfig, MapperStage
from ..pair_cache import probe_of
from ..pairs import ConditionPairs, RealPairs
from ..parts import EXTRACTOR, check_compatible
from .definition import network_id, seeded
from .mapper import PairedMapperDefinition


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ConditionMapperDefinition(PairedMapperDefinition):
    """Stage 4 for a condition other than a mask."""

    condition: Condition
    unet: ConditionConfig
    picture_mapper: UNetMapper | None = None
    """Predicts the proxy masks of ``pictures``, so that these give pairs too."""
    real_share: float = 0.5
    """Share of a batch that is made of ``pictures``, with ``picture_mapper``."""

    def inputs(self) -> dict[str, Any]:
        found = super().inputs() | {f"unet.{key}": value for key, value in dataclasses.asdict(self.unet).items()}
        found |= self.condition.about() | network_id(self.condition)
        if self.picture_mapper is not None:
            found |= {"picture_mapper": short_hash(self.picture_mapper), "real_share": self.real_share}
        return found

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(
            self, "config", dataclasses.replace(self.config, label_prior=False)
        )  # labels are known everywhere in masks alone

    def cache_identity(self) -> dict[str, Any]:
        found = super().cache_identity() | self.condition.about()
        if self.condition.colour_invariant and self.unet.unet_recolor:
            found["recolour"] = self.unet.unet_recolor
        return found

    def cache_probe(self) -> torch.Tensor:
        return probe_of(self.condition, self.frozen.split.generator.resolution)

    def save_more(self, out: Path) -> None:
        """``labels.json``, if there are labels, and ``condition.json`` and ``extractor/``, which ``bundle add`` reads."""
        super().save_more(out)
        terms = self.condition.terms()
        about = self.condition.about() | ({} if terms is None else {"terms": terms})
        write_json(out / "condition.json", about | {"proxy_mask_mode": self.config.proxy_mask_mode})
        network = self.condition.own_network()
        if network is not None and not (out / EXTRACTOR / "config.json").is_file():  # the mapper learned from the one that is there
            network.save_pretrained(out / EXTRACTOR)

    def build(self) -> MapperStage:
        split, clusters, unet = self.frozen.split, self.frozen.clusters, self.unet
        check_compatible(split, clusters, self.frozen.rearranger)
        classes = None if self.segmenter is None else self.segmenter.out.out_channels
        if self.condition.needs_labels and classes not in (None, self.condition.channels):
            raise ProxymaskError(
                f"the segmenter knows {classes} classes, labels.json has {self.condition.channels}: train it with this file"
            )
        mapper = self._new_mapper()
        if unet.unet_start == "discriminator":
            if self.discriminator is None:
                raise ProxymaskError("there is no discriminator to start the mapper from: name one with --discriminator")
            mapper.start_from(self.discriminator)
        self.load_start(mapper)
        segmenter = None if self.segmenter is None else self.labeler().segmenter
        source = ConditionPairs(split, clusters, self.condition, segmenter, unet.unet_recolor)
        parts = self.frozen, mapper, self.discriminator_to_train(), source, self.pictures, self.config, self.steps
        stage = MapperStage(*parts, unet=unet, auxiliary=self.auxiliary())
        stage.shards = self.shards
        if self.picture_mapper is not None:
            assert isinstance(self.pictures, ImageSet)
            stage.real = RealPairs(self.pictures, self.picture_mapper, self.condition, self.real_share, unet.unet_recolor)
        return stage

    def _new_mapper(self) -> UNetMapper:
        split, unet, size = self.frozen.split, self.unet, self.frozen.split.generator.resolution
        widths = (self.discriminator or split.generator).config
        with seeded(self.loop.seed, "init", "mapper", self.condition.name):
            return UNetMapper(
                self.condition.channels,
                self.frozen.clusters.num_clusters,
                split.resolution,
                size,
                unet.unet_base or widths["channel_base"],
                unet.unet_max or widths["channel_max"],
                split.start,
                1 if unet.unet_start == "discriminator" else min(unet.unet_space_to_depth, size // split.resolution),
            )
