"""Scores of anything that paints from masks, on equal terms: for rivals, ablations and curves over time."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..data.dataset import ImageSet
from ..judges import Judge, SegmentationScore
from ..metrics.backends import distances
from .subject import STYLES, BundlePainter, Painter

BATCH = 25


class Bench:
    """Real pictures, masks and judge that several subjects are scored on.

    Args:
        judge: reads the pictures; its features are those of the distances.
        real: reference of the distances, the first ``count`` pictures.
        masks: pictures with exact masks, the first ``count`` (round and round).
        count: pictures a subject.
        seed: the first seed of the looks is ``STYLES + seed``.
    """

    def __init__(self, judge: Judge, real: ImageSet, masks: ImageSet, count: int = 500, seed: int = 0) -> None:
        self.judge, self.masks, self.count, self.seed = judge, masks, count, seed
        self.device = next(judge.parameters()).device
        self.real = torch.cat([self.features(real.images(list(part))) for part in self._parts(min(count, len(real)))])

    def _parts(self, count: int) -> Sequence[range]:
        return [range(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Judge's features (B, D) on the CPU."""
        return self.judge(pictures.to(self.device)).cpu()

    def distance(self, features: torch.Tensor) -> dict[str, Any]:
        """Distances of features to the real pictures."""
        got = distances(self.real, features)
        numbers = {"frechet_judge": got.frechet, "kernel_judge": got.kernel, "precision": got.precision, "recall": got.recall}
        return {name: None if value is None else round(float(value), 5) for name, value in numbers.items()}

    def painted(self, paint: Callable[[torch.Tensor, range], torch.Tensor]) -> dict[str, Any]:
        """Scores of pictures of the masks: ``paint`` gets masks (B, H, W) and their numbers."""
        score, found = SegmentationScore(self.judge.labels.names), []
        for index in self._parts(self.count):
            masks = self.masks.masks([i % len(self.masks) for i in index])
            read, features = self.judge.read(paint(masks, index).to(self.device))
            score.update(read, self.judge.sized_masks(masks))
            found.append(features.cpu())
        summary = score.summary()
        iou = {name: None if value != value else round(value, 4) for name, value in summary["iou"].items()}
        keys = ("miou", "accuracy", "linear_gan_miou", "boundary_f_1px", "boundary_f_2px")
        return {"count": self.count, **{key: round(summary[key], 4) for key in keys}, "iou": iou, **self.distance(torch.cat(found))}

    def painter(self, painter: Painter) -> dict[str, Any]:
        """Scores of a painter with a look of its own for every picture."""
        return self.painted(lambda masks, index: painter.paint(masks, [STYLES + self.seed + i for i in index]))

    def unconditional(self, subject: BundlePainter) -> dict[str, Any]:
        """Distances of the frozen generator's own samples."""
        found = []
        for index in self._parts(self.count):
            styles = subject.style(subject.synth.w([STYLES + self.seed + i for i in index]))
            found.append(self.features(subject.sample(styles)))
        return {"count": self.count, **self.distance(torch.cat(found))}
