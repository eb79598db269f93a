"""The segmenter stage: the few-shot segmenter of 1 to 16 labelled samples (supplement E, after RepurposeGAN)."""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import torch

from ...core.device import to_device
from ...core.errors import ProxymaskError
from ...core.seeding import derive_rng
from ...imaging.labels import LabelSet
from ...inference.samples import labels_hash
from ...models.few_shot_segmenter import FewShotSegmenter
from ...models.proxy_clusters import ProxyClusters
from ...models.rearranger import Rearranger
from ...models.split_generator import SplitGenerator
from ..parts import Frozen, check_compatible
from ..segmentation import mirrored_ids
from ..segmenter import STYLE_TRANSFER_PHASE, SegmenterConfig, SegmenterStage, StyleTransfer
from ..style_transfer import StyleTransferLabeler
from .definition import BATCH, TrainedStage, hashes, seeded


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SegmenterDefinition(TrainedStage):
    """Stage 3: the few-shot segmenter.

    With few labelled samples (``style_transfer_max_labels``) it also learns by style-transfer labelling, for which clusters and rearranger
    are needed.
    """

    name: ClassVar[str] = "segmenter"

    config: SegmenterConfig
    split: SplitGenerator
    """The generator; at any cut where style-transfer labelling is off."""
    labels: LabelSet
    ws: torch.Tensor
    """Latents of the labelled samples, (n, w_dim) or (n, num_ws, w_dim)."""
    masks: torch.Tensor
    """Their labels (n, H, W), int64."""
    clusters: ProxyClusters | None = None
    rearranger: Rearranger | None = None

    @property
    def uses_style_transfer(self) -> bool:
        """Whether style-transfer labelling is on."""
        return len(self.ws) <= self.config.style_transfer_max_labels

    def inputs(self) -> dict[str, Any]:
        found: dict[str, Any] = {"labels": labels_hash(self.labels, self.ws, self.masks), **hashes(generator=self.split.generator)}
        return found | (hashes(clusters=self.clusters, rearranger=self.rearranger) if self.uses_style_transfer else {})

    def build(self) -> SegmenterStage:
        generator, seed = to_device(self.split, self.device).generator, self.loop.seed
        if self.ws.shape[-1] != generator.w_dim:
            raise ProxymaskError(
                f"the labelled samples have latents of {self.ws.shape[-1]} numbers, this generator has {generator.w_dim}: sample from it"
            )
        z = torch.randn(BATCH // 2, generator.z_dim, generator=derive_rng(seed, "segmenter", "statistics"))
        with torch.no_grad():
            levels, _ = self.split.feature_pyramid(self.split.w(z.to(self.device)))
        with seeded(seed, "init", "segmenter"):
            segmenter = self._new_segmenter(levels)
        segmenter.calibrate([level.cpu() for level in levels])
        transfer = self._style_transfer(levels) if self.uses_style_transfer else None
        return SegmenterStage(self.split, segmenter, self.ws, self.masks, self.config, transfer, mirrored_ids(self.labels))

    def _style_transfer(self, levels: list[torch.Tensor]) -> StyleTransfer:
        """Style-transfer labelling, calibrated to the features ``levels`` of every block."""
        if self.clusters is None or self.rearranger is None:
            raise ProxymaskError(
                f"with {len(self.ws)} labelled samples, style-transfer labelling is on (style_transfer_max_labels "
                f"{self.config.style_transfer_max_labels}): give the rearranger and its clusters, or set style_transfer_max_labels to 0"
            )
        check_compatible(self.split, self.clusters, self.rearranger)
        from_cut = levels[self.split.generator.synthesis.block_resolutions.index(self.split.resolution) :]
        with seeded(self.loop.seed, "init", "look reader"):
            reader = self._new_segmenter(from_cut, skip_levels=0)
        reader.calibrate([level.cpu() for level in from_cut])
        labeler = StyleTransferLabeler(Frozen(self.split, self.clusters, self.rearranger), self.ws)
        return StyleTransfer(labeler, reader, round(self.steps * (1 - STYLE_TRANSFER_PHASE)))

    def _new_segmenter(self, levels: list[torch.Tensor], skip_levels: int = 1) -> FewShotSegmenter:
        channels, generator = [level.shape[1] for level in levels], self.split.generator
        return FewShotSegmenter(channels, generator.resolution, len(self.labels), start=generator.start, skip_levels=skip_levels)

    def save_more(self, out: Path) -> None:
        """``labels.json``."""
        self.labels.save(out / "labels.json")


def absent_labels(labels: LabelSet, masks: torch.Tensor) -> list[str]:
    """A note where labels are in none of the masks (n, H, W)."""
    absent = [label.name for label in labels.labels if not bool((masks == label.id).any())]
    return [f"no mask shows {', '.join(absent)}; a label that is in no mask cannot be learned"] if absent else []
