"""Where a mapper's training pairs come from: generated pictures with labels, generated pictures with a condition, or real pictures.

A pair is what the mapper reads (a label mask, or planes of another condition) and the proxy mask that it has to give. Of a generated
picture, the proxy mask is that of its own features (supplement E). Real pictures have none; a mapper of the condition ``picture``, trained
on generated pairs, predicts theirs (the supplement says in E both that conditions were made of training data and of generated pictures).

Shapes: B pairs, H x W pixels, C planes of a condition, h x w positions at the cut, K clusters.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch

from ..conditions.base import Condition
from ..core.config_model import ConfigModel
from ..core.device import to_device
from ..core.errors import ProxymaskError
from ..models.few_shot_segmenter import FewShotSegmenter
from ..models.proxy_clusters import ProxyClusters
from ..models.split_generator import SplitGenerator
from .adversarial import Pictures
from .losses import IGNORE_INDEX

UNKNOWN = IGNORE_INDEX  # label of pixels that have none


class Pairs(NamedTuple):
    """What a mapper learns from."""

    given: torch.Tensor
    """Label ids (B, H, W), int64, or planes (B, C, H, W) in [0, 1]."""
    proxy: torch.Tensor
    """Proxy masks (B, h, w), int64."""
    labels: torch.Tensor
    """Label ids (B, H, W) for L_label, int64; UNKNOWN where there are none."""


class PairSource(Protocol):
    """Makes pairs of generated samples."""

    def __call__(self, w: torch.Tensor, rng: torch.Generator) -> Pairs:
        """Pairs of the samples w (B, w_dim), as the extractor gives them."""
        ...

    def augment(self, given: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """``given`` with the irregularities of what people draw."""
        ...

    def show(self, given: torch.Tensor) -> np.ndarray:
        """``given`` as colours, uint8 (B, H, W, 3)."""
        ...


def unknown(pictures: torch.Tensor) -> torch.Tensor:
    """Labels (B, H, W) of pictures (B, C, H, W) without labels."""
    return torch.full((len(pictures), *pictures.shape[2:]), UNKNOWN, dtype=torch.long, device=pictures.device)


def to_rgb(pictures: torch.Tensor) -> torch.Tensor:
    """A generator's pictures (B, C, H, W) as RGB (B, 3, H, W), float32 in [-1, 1]; alpha is left out, one channel is repeated."""
    pictures = pictures.float().clamp(-1, 1)
    if pictures.shape[1] == 3:
        return pictures
    return pictures[:, :3] if pictures.shape[1] > 3 else pictures[:, :1].expand(-1, 3, -1, -1)


class SegmenterLabeler:
    """The few-shot segmenter applied to generated samples."""

    def __init__(self, split: SplitGenerator, segmenter: FewShotSegmenter) -> None:
        self.split, self.segmenter = split, segmenter

    def __call__(self, w: torch.Tensor) -> torch.Tensor:
        """w (B, w_dim) -> label ids (B, H, W)."""
        return self.labels_and_pictures(w)[0]

    def labels_and_pictures(self, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """w (B, w_dim) -> label ids (B, H, W), and the pictures (B, 3, H, W) in [-1, 1] that they belong to."""
        levels, pictures = self.split.feature_pyramid(w)
        return self.segment(levels), to_rgb(pictures)

    def segment(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Features of every block -> label ids (B, H, W)."""
        return self.segmenter.predict(levels)


class MaskPairs:
    """Pairs of label masks: the few-shot segmenter's labels of generated pictures.

    ``colors``: uint8 (N, 3) of the labels.
    """

    def __init__(self, clusters: ProxyClusters, labeler: SegmenterLabeler, colors: torch.Tensor) -> None:
        self.clusters, self.labeler, self.colors = clusters, labeler, colors

    @torch.no_grad()
    def __call__(self, w: torch.Tensor, rng: torch.Generator) -> Pairs:
        levels, _ = self.labeler.split.feature_pyramid(w)
        labels = self.labeler.segment(levels)
        return Pairs(labels, self.clusters.assign(self.labeler.split.features_at_split(levels)), labels)

    def augment(self, given: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """The masks themselves: people paint masks as exactly."""
        return given

    def show(self, given: torch.Tensor) -> np.ndarray:
        """Masks in the colours of their labels."""
        return self.colors[given.cpu()].numpy()


class ConditionPairs:
    """Pairs of another condition: its extractor applied to generated pictures (supplement E).

    One pass through the generator gives features, picture and, by the segmenter, labels.

    Args:
        segmenter: the few-shot segmenter, for conditions that are made of labels, and for L_label.
        recolor: share of the pictures that are recoloured before a condition without colours is made of them.

    Raises:
        ProxymaskError: the condition is made of labels, and there is no segmenter.
    """

    def __init__(
        self,
        split: SplitGenerator,
        clusters: ProxyClusters,
        condition: Condition,
        segmenter: FewShotSegmenter | None = None,
        recolor: float = 0.0,
    ) -> None:
        if condition.needs_labels and segmenter is None:
            raise ProxymaskError(f"a {condition.name} is made of labels: give --segmenter")
        self.split, self.clusters, self.condition, self.segmenter, self.recolor = split, clusters, condition, segmenter, recolor

    @torch.no_grad()
    def __call__(self, w: torch.Tensor, rng: torch.Generator) -> Pairs:
        levels, pictures = self.split.feature_pyramid(w)
        proxy = self.clusters.assign(self.split.features_at_split(levels))
        colours = self.condition.random_recolour(to_rgb(pictures), self.recolor, rng)
        labels = None if self.segmenter is None else SegmenterLabeler(self.split, self.segmenter).segment(levels)
        planes = self.condition.extract(colours, labels if self.condition.needs_labels else None, rng).to(w.device)
        return Pairs(planes, proxy, unknown(pictures) if labels is None else labels)

    def augment(self, given: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """The condition's own augmentation: strokes moved, removed, thickened, ..."""
        return self.condition.augment(given, rng)

    def show(self, given: torch.Tensor) -> np.ndarray:
        """Planes as the condition shows them."""
        return self.condition.show(given)


class RealPairs:
    """Pairs of real pictures: the condition by its extractor, the proxy mask by a mapper of pictures.

    The proxy mask is drawn from that mapper's probabilities, position by position, so that the expected loss is the cross-entropy to these
    probabilities, which keep the mapper's uncertainty.

    Args:
        picture_mapper: planes (B, 3, H, W) in [0, 1] -> logits (B, K, h, w).
        share: of a batch, above 0 and at most 1.
        recolor: share of the pictures that are recoloured before a condition without colours is made of them.

    Raises:
        ProxymaskError: a condition that is made of labels, which pictures do not have; a share out of range.
    """

    def __init__(
        self, pictures: Pictures, picture_mapper: ConfigModel, condition: Condition, share: float = 0.5, recolor: float = 0.0
    ) -> None:
        if condition.needs_labels:
            raise ProxymaskError(f"a {condition.name} is made of labels, which real pictures have not: leave --picture-mapper out")
        if not 0 < share <= 1:
            raise ProxymaskError(f"--real-share is above 0 and at most 1, got {share}")
        self.pictures, self.condition, self.share, self.recolor = pictures, condition, share, recolor
        self.mapper = picture_mapper.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, index: torch.Tensor, rng: torch.Generator, device: torch.device) -> Pairs:
        """Pairs of the pictures with these indices (B,), as the extractor gives them."""
        pictures = self.pictures.images(index).to(device)
        to_device(self.mapper, device)
        probabilities = self.mapper((pictures + 1) / 2).float().softmax(dim=1)
        drawn = torch.rand(len(probabilities), 1, *probabilities.shape[2:], generator=rng).to(device)
        # rounding leaves the sum a little below one
        proxy = (probabilities.cumsum(dim=1) < drawn).sum(dim=1).clamp(max=probabilities.shape[1] - 1)
        planes = self.condition.extract(self.condition.random_recolour(pictures, self.recolor, rng), None, rng).to(device)
        return Pairs(planes, proxy, unknown(pictures))
