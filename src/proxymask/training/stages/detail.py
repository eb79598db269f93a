"""The detail stage (beyond the paper)."""

import dataclasses
from typing import Any, ClassVar

import torch

from ...conditions.base import Condition
from ...core.device import to_device
from ...core.errors import ProxymaskError
from ...core.hashing import short_hash
from ...core.seeding import derive_rng
from ...imaging.labels import LabelSet
from ...models.detail_network import DetailNetwork
from ...models.discriminator import Discriminator
from ...models.few_shot_segmenter import FewShotSegmenter
from ...models.logits_to_proxy_mask import ProxyMaskMode
from ...models.mappers import Mapper
from ...models.oasis_mapper import OasisMapper
from ...models.segmentation_nets import UNetSegmenter
from ..auxiliary import WIDTH, AuxiliaryStage
from ..detail import DetailConfig, DetailStage
from ..pairs import ConditionPairs, MaskPairs, PairSource, SegmenterLabeler
from ..parts import Frozen, check_compatible
from ..rearranger import check_mix_layers
from .definition import BATCH, TrainedStage, discriminator_to_train, hashes, network_id, seeded

STATISTICS_SAMPLES = 64


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DetailDefinition(TrainedStage):
    """The detail network for what one mapper of a bundle reads."""

    name: ClassVar[str] = "detail"

    config: DetailConfig
    frozen: Frozen
    segmenter: FewShotSegmenter
    mapper: Mapper
    labels: LabelSet
    discriminator: Discriminator | None = None
    """The discriminator to start from; None: an untrained one."""
    level: float | None = None
    """Root mean square of the features of the first block after the split; None: it is measured over 64 samples."""
    condition: Condition | None = None
    """What the mapper reads; None: label masks."""
    mode: ProxyMaskMode = "soft"
    """How the mapper's logits become the proxy mask."""

    def inputs(self) -> dict[str, Any]:
        frozen = hashes(generator=self.frozen.split.generator, clusters=self.frozen.clusters, rearranger=self.frozen.rearranger)
        frozen |= hashes(discriminator=self.discriminator)
        others = {"mapper": short_hash(self.mapper), "segmenter": short_hash(self.segmenter), "proxy_mask_mode": self.mode}
        return frozen | others | ({"condition": "mask"} if self.condition is None else self.condition.about() | network_id(self.condition))

    def build(self) -> DetailStage:
        """Raises :class:`ProxymaskError` where networks do not fit, or the pictures are no larger than the features at the cut."""
        check_compatible(self.frozen.split, self.frozen.clusters, self.frozen.rearranger)
        check_mix_layers(self.config.mix_layers, self.frozen.split.generator)
        classes = self.segmenter.out.out_channels
        if classes != len(self.labels):
            raise ProxymaskError(f"the segmenter knows {classes} classes, the labels are {len(self.labels)}: train it with these labels")
        labeler = SegmenterLabeler(self.frozen.split, to_device(self.segmenter, self.device).eval().requires_grad_(False))
        with seeded(self.loop.seed, "init", "viewer"):
            net = UNetSegmenter(classes, WIDTH, depth=2)
        steps = max(1, round(self.steps * self.config.auxiliary_share))
        auxiliary = AuxiliaryStage(net, labeler, steps, self.labels, self.loop.seed)
        discriminator = discriminator_to_train(self.discriminator, self.frozen.split.generator, self.loop.seed)
        parts = self.frozen, self.mapper, self._network(), discriminator, self._source(labeler), self.mode, auxiliary
        return DetailStage(*parts, self.config, self.steps)

    def _source(self, labeler: SegmenterLabeler) -> PairSource:
        if self.condition is None:
            return MaskPairs(self.frozen.clusters, labeler, torch.from_numpy(self.labels.colors.copy()))
        return ConditionPairs(self.frozen.split, self.frozen.clusters, self.condition, labeler.segmenter)

    def _network(self) -> DetailNetwork:
        split = self.frozen.split
        generator = split.generator
        planes = len(self.labels) if isinstance(self.mapper, OasisMapper) else self.mapper.in_channels
        level = self._level() if self.level is None else self.level
        with seeded(self.loop.seed, "init", "detail"):
            return DetailNetwork(
                planes=planes,
                out_channels=generator.synthesis.channels(2 * split.resolution),
                resolution=generator.resolution,
                cut=split.resolution,
                width=self.config.width,
                level=level,
            )

    @torch.no_grad()
    def _level(self) -> float:
        """Root mean square of the features of the first block after the split, over 64 samples."""
        split = to_device(self.frozen.split, self.device)
        z = torch.randn(STATISTICS_SAMPLES, split.generator.z_dim, generator=derive_rng(self.loop.seed, "statistics"))
        level = split.generator.synthesis.block_resolutions.index(2 * split.resolution)
        squares = [split.feature_pyramid(split.w(part.to(self.device)))[0][level].float().square().mean() for part in z.split(BATCH)]
        return float(torch.stack(squares).mean().sqrt())
