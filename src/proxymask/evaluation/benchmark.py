"""Scores of any model that makes pictures from label masks, on equal terms: for other methods, ablations and curves over training time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..core.seeding import permutation
from ..data.dataset import ImageSet
from ..metrics.backends import distances
from ..metrics.segmentation import SegmentationScore
from .judge import Judge
from .results import SCORES
from .synthesis import SEED_SPAN, STYLES, MaskToImage

BATCH = 25


class MaskToImageBenchmark:
    """Real pictures, masks and judges that several models are scored on.

    Args:
        judge: segments the pictures; the distances are of its features.
        real: the reference of the distances, ``count`` of its pictures.
        masks: pictures with exact masks, one for each picture; after the last mask the first one comes again.
        count: pictures of each model.
        seed: draws the real pictures and the masks; picture i has the style seed ``seed * SEED_SPAN + STYLES + i``.
        further: other judges by name, which segment the pictures too.
    """

    def __init__(
        self,
        judge: Judge,
        real: ImageSet,
        masks: ImageSet,
        count: int = 500,
        seed: int = 0,
        further: Mapping[str, Judge] | None = None,
    ) -> None:
        self.further = dict(further or {})
        self.judge, self.masks, self.count, self.seed = judge, masks, count, seed
        self.device = next(judge.parameters()).device
        reference = permutation(len(real), seed, "reference")[:count].tolist()
        self.mask_order = permutation(len(masks), seed, "masks").tolist()
        self.real = torch.cat([self.features(real.images(reference[part.start : part.stop])) for part in self._batches(len(reference))])

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
        """Segmentation scores and distances; ``generate`` gets masks (B, H, W) and their numbers and returns pictures (B, 3, H, W).

        The segmentation scores of further judges are in ``judges``, by name.
        """
        score, found = SegmentationScore(self.judge.labels.names), []
        others = {name: SegmentationScore(judge.labels.names) for name, judge in self.further.items()}
        for index in self._batches(self.count):
            masks = self.masks.masks([self.mask_order[i % len(self.mask_order)] for i in index])
            pictures = generate(masks, index).to(self.device)
            predicted, features = self.judge.predict(pictures)
            score.update(predicted, self.judge.resized_masks(masks))
            found.append(features.cpu())
            for name, judge in self.further.items():
                others[name].update(judge.predict(pictures)[0], judge.resized_masks(masks))
        more = {"judges": {name: _rounded(other) for name, other in others.items()}} if others else {}
        return {"count": self.count, **_rounded(score), **self.distance(torch.cat(found)), **more}

    def score_model(self, model: MaskToImage) -> dict[str, Any]:
        """:meth:`score` of a model, every picture in a style of its own."""
        first = self.seed * SEED_SPAN + STYLES
        return self.score(lambda masks, index: model.generate(masks, [first + i for i in index]))


def _rounded(score: SegmentationScore) -> dict[str, Any]:
    """Scores with four digits; None for the IoU of a class that no picture and no mask shows."""
    summary = score.summary()
    iou = {name: None if value != value else round(value, 4) for name, value in summary["iou"].items()}
    return {**{key: round(summary[key], 4) for key in SCORES}, "iou": iou}
