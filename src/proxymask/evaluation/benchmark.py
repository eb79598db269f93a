"""Scores of any model that makes pictures from label masks, on equal terms: for other methods, ablations and curves over training time."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..data.dataset import ImageSet
from ..metrics.backends import distances
from ..metrics.segmentation import SegmentationScore
from .judge import Judge
from .synthesis import STYLES, BundleSynthesis, MaskToImage

BATCH = 25


class MaskToImageBenchmark:
    """Real pictures, masks and a judge that several models are scored on.

    Args:
        judge: segments the pictures; the distances are of its features.
        real: the reference of the distances, its first ``count`` pictures.
        masks: pictures with exact masks; mask ``i % len(masks)`` is that of picture i.
        count: pictures of each model.
        seed: picture i has the style seed ``STYLES + seed + i``.
    """

    def __init__(self, judge: Judge, real: ImageSet, masks: ImageSet, count: int = 500, seed: int = 0) -> None:
        self.judge, self.masks, self.count, self.seed = judge, masks, count, seed
        self.device = next(judge.parameters()).device
        self.real = torch.cat([self.features(real.images(list(part))) for part in self._batches(min(count, len(real)))])

    def _batches(self, count: int) -> Sequence[range]:
        return [range(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """The judge's features (B, D) of pictures (B, 3, H, W), on the CPU."""
        return self.judge(pictures.to(self.device)).cpu()

    def distance(self, features: torch.Tensor) -> dict[str, Any]:
        """Frechet and kernel distance, precision and recall of features (n, D) against the real pictures'."""
        got = distances(self.real, features)
        numbers = {"frechet_judge": got.frechet, "kernel_judge": got.kernel, "precision": got.precision, "recall": got.recall}
        return {name: None if value is None else round(float(value), 5) for name, value in numbers.items()}

    def score(self, generate: Callable[[torch.Tensor, range], torch.Tensor]) -> dict[str, Any]:
        """Segmentation scores and distances; ``generate`` gets masks (B, H, W) and their numbers and returns pictures (B, 3, H, W)."""
        score, found = SegmentationScore(self.judge.labels.names), []
        for index in self._batches(self.count):
            masks = self.masks.masks([i % len(self.masks) for i in index])
            predicted, features = self.judge.predict(generate(masks, index).to(self.device))
            score.update(predicted, self.judge.resized_masks(masks))
            found.append(features.cpu())
        summary = score.summary()
        iou = {name: None if value != value else round(value, 4) for name, value in summary["iou"].items()}
        keys = ("miou", "accuracy", "linear_gan_miou", "boundary_f_1px", "boundary_f_2px")
        return {"count": self.count, **{key: round(summary[key], 4) for key in keys}, "iou": iou, **self.distance(torch.cat(found))}

    def score_model(self, model: MaskToImage) -> dict[str, Any]:
        """:meth:`score` of a model, every picture in a style of its own."""
        return self.score(lambda masks, index: model.generate(masks, [STYLES + self.seed + i for i in index]))

    def score_generator(self, bundle: BundleSynthesis) -> dict[str, Any]:
        """Distances of the frozen generator's own samples."""
        found = []
        for index in self._batches(self.count):
            styles = bundle.styles(bundle.synth.w([STYLES + self.seed + i for i in index]))
            found.append(self.features(bundle.sample(styles)))
        return {"count": self.count, **self.distance(torch.cat(found))}
