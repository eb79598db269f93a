"""Scores of predicted masks against target masks: intersection over union (IoU), pooled or by picture, and boundary F-scores.

Shapes: masks are label ids (B, H, W), B pictures of H x W pixels; N classes; tables of scores are float64 (B, N), NaN where undefined.
"""

from collections.abc import Collection
from typing import Any, Self

import torch
import torch.nn.functional as F

from ..core.errors import ProxymaskError


def _check(pred: torch.Tensor, target: torch.Tensor, num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Both as int64 on the CPU; a :class:`ProxymaskError` where shapes differ or ids are out of range."""
    if pred.shape != target.shape:
        raise ProxymaskError(f"prediction {tuple(pred.shape)} and target {tuple(target.shape)} differ in shape")
    pred, target = pred.detach().cpu().long(), target.detach().cpu().long()
    for name, mask in (("prediction", pred), ("target", target)):
        if mask.numel() and (int(mask.min()) < 0 or int(mask.max()) >= num_classes):
            raise ProxymaskError(f"the {name} holds ids {int(mask.min())} to {int(mask.max())}, outside 0 to {num_classes - 1}")
    return pred, target


class ConfusionMatrix:
    """Counts of (target, predicted) pixels, pooled over all pictures; ``counts`` is int64 (N, N), rows are the target."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    def update(self, pred: torch.Tensor, target: torch.Tensor) -> Self:
        """Add ids of any one shape, such as (B, H, W). Raises :class:`ProxymaskError` on differing shapes or ids out of range."""
        pred, target = _check(pred, target, self.num_classes)
        pairs = torch.bincount((target * self.num_classes + pred).flatten(), minlength=self.num_classes**2)
        self.counts += pairs.view(self.num_classes, self.num_classes)
        return self

    def iou(self) -> torch.Tensor:
        """Intersection over union of each class, float64 (N,) in [0, 1]; NaN where the class is in neither prediction nor target."""
        hits = self.counts.diagonal().double()
        return hits / (self.counts.sum(0) + self.counts.sum(1) - hits)

    def miou(self) -> float:
        """Mean of :meth:`iou` over the classes that occur in prediction or target; NaN before any update."""
        return float(self.iou().nanmean())

    def pixel_accuracy(self) -> float:
        """Share of pixels that are right; NaN before any update."""
        return float(self.counts.diagonal().sum().double() / self.counts.sum())

    def frequency(self) -> torch.Tensor:
        """Share of the target's pixels that each class has, float64 (N,); NaN before any update."""
        return self.counts.sum(1).double() / self.counts.sum()


def per_image_iou(pred: torch.Tensor, target: torch.Tensor, num_classes: int, ignore: Collection[int] = (0,)) -> torch.Tensor:
    """IoU of each picture and class, float64 (B, N), from masks (B, H, W); NaN where the class is in neither mask or in ``ignore``.

    Tables of several batches may be stacked; :func:`class_then_mean` turns them into one score. With ``ignore`` at its default (the
    background) this is the convention of LinearGAN (Xu and Zheng, "Linear Semantics in Generative Adversarial Networks", CVPR 2021).

    Raises:
        ProxymaskError: the shapes differ, or an id is out of range.
    """
    pred, target = _check(pred, target, num_classes)
    batch = len(pred)
    offset = torch.arange(batch).view(-1, *[1] * (pred.dim() - 1)) * num_classes**2
    pairs = torch.bincount((offset + target * num_classes + pred).flatten(), minlength=batch * num_classes**2)
    counts = pairs.view(batch, num_classes, num_classes)
    hits = counts.diagonal(dim1=1, dim2=2).double()
    table = hits / (counts.sum(1) + counts.sum(2) - hits)
    table[:, list(ignore)] = torch.nan
    return table


def class_then_mean(table: torch.Tensor) -> tuple[torch.Tensor, float]:
    """From (B, N) scores with NaN where not defined: mean of each class over the pictures (N,), and the mean of those over the classes."""
    per_class = table.nanmean(0)
    return per_class, float(per_class.nanmean())


def _disc(radius: int) -> torch.Tensor:
    """Kernel (1, 1, 2r + 1, 2r + 1): ones at a Euclidean distance of at most ``radius``."""
    line = torch.arange(-radius, radius + 1)
    return ((line[:, None] ** 2 + line[None] ** 2) <= radius**2).float()[None, None]


def _boundary(region: torch.Tensor) -> torch.Tensor:
    """Pixels (B, H, W) of the region with a 4-neighbour outside it; the frame of the picture is no boundary."""
    padded = F.pad(region.float()[:, None], (1, 1, 1, 1), mode="replicate")[:, 0].bool()
    inner = padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1] & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:]
    return region & ~inner


def boundary_f_score(
    pred: torch.Tensor, target: torch.Tensor, num_classes: int, tolerance: int = 1, ignore: Collection[int] = ()
) -> torch.Tensor:
    """F-score of region outlines, float64 (B, N), from masks (B, H, W); :func:`class_then_mean` turns it into one score.

    Precision is the share of the predicted outline within ``tolerance`` pixels (Euclidean) of the target's outline, recall the
    reverse. 0 where only one side has an outline; NaN where neither has one, or the class is in ``ignore``.
    Source: Csurka et al., "What is a good evaluation measure for semantic segmentation?", BMVC 2013.

    Raises:
        ProxymaskError: the shapes differ, an id is out of range, or the tolerance is negative.
    """
    pred, target = _check(pred, target, num_classes)
    if tolerance < 0:
        raise ProxymaskError(f"a boundary tolerance of {tolerance} pixels is not possible: use 0 or more")
    table = torch.full((len(pred), num_classes), torch.nan, dtype=torch.float64)
    kernel = _disc(tolerance)
    for label in set(range(num_classes)) - set(ignore):
        ours, theirs = _boundary(pred == label), _boundary(target == label)
        near_ours, near_theirs = (F.conv2d(b.float()[:, None], kernel, padding=tolerance)[:, 0] > 0 for b in (ours, theirs))
        size_ours, size_theirs = ours.sum((1, 2)).double(), theirs.sum((1, 2)).double()
        precision = (ours & near_theirs).sum((1, 2)) / size_ours.clamp(min=1)
        recall = (theirs & near_ours).sum((1, 2)) / size_theirs.clamp(min=1)
        score = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
        table[:, label] = torch.where((size_ours + size_theirs) > 0, score, torch.nan)
    return table


class SegmentationScore:
    """All scores of predictions against targets, gathered batch by batch: pooled confusion matrix, IoU and boundary F-scores by picture.

    Args:
        names: the N class names; id 0 is the background.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.matrix = ConfusionMatrix(len(names))
        self.tables: dict[str, list[torch.Tensor]] = {"iou": [], "boundary_1": [], "boundary_2": []}

    def update(self, pred: torch.Tensor, target: torch.Tensor) -> Self:
        """Add predictions and targets, ids (B, H, W)."""
        number = len(self.names)
        self.matrix.update(pred, target)
        self.tables["iou"].append(per_image_iou(pred, target, number, ignore=()))
        for tolerance in (1, 2):
            self.tables[f"boundary_{tolerance}"].append(boundary_f_score(pred, target, number, tolerance))
        return self

    def tensors(self) -> dict[str, torch.Tensor]:
        """Its state, to be stored: ``counts`` int64 (N, N), and the tables ``iou``, ``boundary_1`` and ``boundary_2``, float64 (B, N)."""
        empty = torch.zeros(0, len(self.names), dtype=torch.float64)
        return {"counts": self.matrix.counts, **{name: torch.cat(parts or [empty]) for name, parts in self.tables.items()}}

    def add_tensors(self, stored: dict[str, torch.Tensor]) -> Self:
        """Add the :meth:`tensors` of other pictures."""
        self.matrix.counts += stored["counts"]
        for name, parts in self.tables.items():
            parts.append(stored[name])
        return self

    def per_picture(self) -> torch.Tensor:
        """Mean IoU of each picture (B,) over the classes that occur in its prediction or target."""
        return self.tensors()["iou"].nanmean(dim=1)

    def summary(self) -> dict[str, Any]:
        """The scores by name.

        ``count`` pictures; ``miou`` and ``accuracy`` pooled over all pixels; ``linear_gan_miou``, as LinearGAN counts it (by picture,
        then by class, without the background); ``boundary_f_1px`` and ``boundary_f_2px``; and by class ``iou``,
        ``boundary_f_1px_by_class`` and ``boundary_f_2px_by_class``.
        """
        tables = self.tensors()
        foreground = tables["iou"].clone()
        foreground[:, 0] = torch.nan
        out: dict[str, Any] = {
            "count": len(foreground),
            "miou": self.matrix.miou(),
            "accuracy": self.matrix.pixel_accuracy(),
            "linear_gan_miou": class_then_mean(foreground)[1],
            "iou": dict(zip(self.names, self.matrix.iou().tolist(), strict=True)),
        }
        for tolerance in (1, 2):
            per_class, mean = class_then_mean(tables[f"boundary_{tolerance}"])
            out[f"boundary_f_{tolerance}px"] = mean
            out[f"boundary_f_{tolerance}px_by_class"] = dict(zip(self.names, per_class.tolist(), strict=True))
        return out
