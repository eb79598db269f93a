"""The parts of an evaluation: what each draws, and what it stores of its pictures.

A part covers a range of picture numbers and returns tensors for the cache; :mod:`proxymask.evaluation.collect` turns them into numbers.
Picture i always has the same latents and the same mask, whatever the count, so a larger count extends a smaller one.

Names of stored tensors: ``features/SET/NETWORK`` (B, D), ``score/SET/...`` (:meth:`SegmentationScore.tensors`), with the sets of
:data:`proxymask.evaluation.results.SETS`. Scores, and whatever else depends on the judge, are stored of every judge
(:meth:`Inputs.stored_name <proxymask.evaluation.inputs.Inputs.stored_name>`).

Shapes: B pictures of H x W pixels, h x w positions of the proxy mask.
"""

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ..core.sizes import Size, height_width
from ..data.dataset import ImageSet
from ..inference.style import Style
from ..metrics.agreement import MaskAgreement, mask_agreement, psnr, region_colors, style_consistency, unchanged_share
from ..metrics.lpips import group_pairs
from ..metrics.segmentation import SegmentationScore
from . import counts
from .baselines import nearest_copy
from .cache import Tensors
from .inputs import Inputs
from .judge import Judge
from .synthesis import CONSISTENCY, DIVERSITY, SHAPES, STYLES
from .workers import Progress

HIGHEST_PSNR = 100.0  # dB, for samples that come back exactly


class Batches:
    """Features and segmentation scores of batches of pictures, by set.

    Args:
        inputs: the judges and the other feature networks.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.features: dict[str, list[torch.Tensor]] = {}
        self.scores: dict[str, SegmentationScore] = {}

    def add(self, of: str, pictures: torch.Tensor) -> list[torch.Tensor]:
        """Compute and keep the features of pictures (B, 3, H, W); returns what each judge predicts, ids (B, h, w) at its own size."""
        pictures = pictures.to(self.inputs.device)
        predicted = []
        for key, net in self.inputs.networks.items():
            if isinstance(net, Judge):
                ids, found = net.predict(pictures)
                predicted.append(ids)
            else:
                found = net(pictures)
            self.features.setdefault(f"features/{of}/{key}", []).append(found.cpu())
        return predicted + [judge.predict(pictures)[0] for judge in list(self.inputs.judges.values())[1:]]

    def score(self, of: str, judge: Judge, predicted: torch.Tensor, target: torch.Tensor) -> None:
        """Score a judge's predictions against targets, ids (B, H, W) of one size."""
        name = f"{self.inputs.stored_name('score', judge)}/{of}"
        self.scores.setdefault(name, SegmentationScore(judge.labels.names)).update(predicted, target)

    def score_masks(self, of: str, predicted: Sequence[torch.Tensor], masks: torch.Tensor) -> None:
        """Score the predictions of every judge against masks (B, H, W) of the pictures' size; nothing without a judge."""
        for judge, ids in zip(self.inputs.judges.values(), predicted, strict=True):
            self.score(of, judge, ids, judge.resized_masks(masks))

    def tensors(self) -> Tensors:
        """All of it."""
        out = {name: torch.cat(values) for name, values in self.features.items()}
        return out | {f"{of}/{name}": value for of, score in self.scores.items() for name, value in score.tensors().items()}


class Measurement:
    """Draws and measures.

    Args:
        inputs: see :class:`~proxymask.evaluation.inputs.Inputs`.
        progress: gets the number of pictures after every batch.
    """

    def __init__(self, inputs: Inputs, progress: Progress) -> None:
        self.inputs, self.progress, self.bundle = inputs, progress, inputs.bundle
        self.batch = counts.BATCH if inputs.device.type == "cpu" else counts.BATCH_OFF_CPU
        self.pairs = group_pairs(counts.GROUPS, counts.PAIRS, inputs.seed)

    def _batches(self, part: range) -> Iterator[range]:
        """``part`` in batches; each is counted as done when the next one begins."""
        for start in range(part.start, part.stop, self.batch):
            index = range(start, min(start + self.batch, part.stop))
            yield index
            self.progress.add(len(index))

    def pictures(self, part: range) -> Tensors:
        """The generator's samples, the same styles under proxy masks of other samples, and, with a mapper, under label masks.

        Also ``agreement`` (4,): :class:`MaskAgreement` of the proxy masks; ``unchanged`` (4,): pixels that stay when a sample gets the
        proxy mask of another one, and all pixels; the same among those whose class differs (supplement B.2), as each judge reads it.
        """
        b, kept = self.bundle, Batches(self.inputs)
        agreement = MaskAgreement()
        unchanged: dict[str, torch.Tensor] = collections.defaultdict(lambda: torch.zeros(4, dtype=torch.int64))
        for index in self._batches(part):
            styles, shape_w = b.styles(b.w(STYLES, index)), b.w(SHAPES, index)
            shape_ids, shape = b.layout(shape_w)
            sample, proxy = b.sample(styles), b.substitute(shape_ids, styles)
            moved = b.rearrange(styles, proxy)
            crossed = b.render(moved, styles.w)
            agreement += mask_agreement(moved.features, proxy, b.own_proxy(styles), b.clusters)
            predicted, predicted_crossed = kept.add("generator", sample), kept.add("proxy", crossed)
            if not self.inputs.judges:
                unchanged["unchanged"] += unchanged_counts(sample, crossed)
            else:
                shapes = b.render(shape, shape_w)
                for judge, own, ids in zip(self.inputs.judges.values(), predicted, predicted_crossed, strict=True):
                    target, _ = judge.predict(shapes)
                    kept.score("proxy", judge, ids, target)
                    differs = resized_ids(target != own, b.size)
                    unchanged[self.inputs.stored_name("unchanged", judge)] += unchanged_counts(sample, crossed, differs)
            if self.inputs.measures_masks:
                masks = self.inputs.masks_of(index)
                kept.score_masks("masks", kept.add("masks", b.from_masks(masks, styles)), masks)
        return kept.tensors() | {"agreement": torch.tensor(dataclasses.astuple(agreement)), **unchanged}

    def real(self, source: ImageSet, numbers: Sequence[int]) -> Tensors:
        """Real pictures."""
        kept = Batches(self.inputs)
        for index in self._batches(range(len(numbers))):
            kept.add("real", source.images(list(numbers[index.start : index.stop])))
        return kept.tensors()

    def judged(self, part: range) -> Tensors:
        """The judges on the real pictures of the masks, and the masks reduced to the size of the proxy mask and enlarged again."""
        main = self.inputs.judge
        assert self.inputs.masks is not None
        assert main is not None
        kept = Batches(self.inputs)
        for index in self._batches(part):
            numbers = self.inputs.mask_numbers(index)
            target = self.inputs.masks.masks(numbers)
            pictures = self.inputs.masks.images(numbers).to(self.inputs.device)
            kept.score_masks("real", [judge.predict(pictures)[0] for judge in self.inputs.judges.values()], target)
            small = F.interpolate(target[:, None].float(), size=self.bundle.clusters.size, mode="nearest-exact")
            kept.score("grid", main, F.interpolate(small, size=height_width(self.bundle.size), mode="nearest-exact")[:, 0].long(), target)
        return kept.tensors()

    def own_mask(self, part: range) -> Tensors:
        """Samples under their own proxy mask, under another's as it is, and, with a mapper, under two label masks.

        ``psnr`` (B,) and ``perceptual`` (networks, B) of a sample and its reconstruction from its own proxy mask; ``agreement`` (4,)
        and ``unchanged`` (4,) under another's proxy mask without substitution of clusters; ``swapped`` (4,) under two label masks.
        """
        b = self.bundle
        agreement, unchanged, swapped = MaskAgreement(), torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)
        quality, perceptual = [], []
        for index in self._batches(part):
            styles = b.styles(b.w(STYLES, index))
            own, sample = b.own_proxy(styles), b.sample(styles)
            again = b.from_proxy(own, styles)
            quality.append(psnr(again, sample).clamp(max=HIGHEST_PSNR))
            perceptual += [torch.stack([net(again, sample).cpu() for net in self.inputs.perceptual])] if self.inputs.perceptual else []
            other, _ = b.layout(b.w(SHAPES, index))
            moved = b.rearrange(styles, other)
            agreement += mask_agreement(moved.features, other, own, b.clusters)
            unchanged += unchanged_counts(sample, b.render(moved, styles.w))
            if self.inputs.measures_masks and self.inputs.swapped_by:
                one, two = self.inputs.masks_of(index), self.inputs.masks_of([i + self.inputs.swapped_by for i in index])
                swapped += unchanged_counts(b.from_masks(one, styles), b.from_masks(two, styles), one != two)
        out = {"psnr": torch.cat(quality), "agreement": torch.tensor(dataclasses.astuple(agreement)), "swapped": swapped}
        out["unchanged"] = unchanged
        return out | ({"perceptual": torch.cat(perceptual, dim=1)} if perceptual else {})

    def diversity(self, part: range) -> Tensors:
        """``distances`` (networks, masks, pairs of groups): each mask of ``part`` in as many random styles as there are groups.

        The mask is a label mask where there is a mapper, else the proxy mask of a sample, with the clusters that each style lacks
        substituted.
        """
        b, rows = self.bundle, []
        for number in part:
            styles = b.styles(b.w(DIVERSITY, range(number * counts.GROUPS, (number + 1) * counts.GROUPS)))
            if self.inputs.has_mask_pictures:
                pictures = b.from_masks(self.inputs.masks_of([number]), styles)
            else:
                ids, _ = b.layout(b.w(SHAPES, [number]))
                pictures = b.from_proxy(b.substitute(ids.expand(counts.GROUPS, -1, -1), styles), styles)
            found = []
            for net in self.inputs.perceptual:
                maps = net.embed(pictures)
                first, second = ([layer[[pair[side] for pair in self.pairs]] for layer in maps] for side in (0, 1))
                found.append(net.between(first, second).cpu())
            rows.append(torch.stack(found))
            self.progress.add(counts.GROUPS)
        return {"distances": torch.stack(rows, dim=1)}

    def style(self) -> Mapping[str, Any]:
        """``share`` of the pictures whose colours are nearest to those of their own style sample (:func:`style_consistency`).

        One for each judge, by which the regions of the style samples are found.
        """
        b = self.bundle
        w = b.w(CONSISTENCY, range(counts.CONSISTENT_STYLES))
        samples = b.sample(b.styles(w))
        masks = self.inputs.masks_of(range(counts.CONSISTENT_MASKS))
        rows = []
        for index in range(counts.CONSISTENT_STYLES):
            rows.append(b.from_masks(masks, b.styles(w[index : index + 1])).cpu())
            self.progress.add(counts.CONSISTENT_MASKS)
        found = {}
        for judge in self.inputs.judges.values():
            predicted = resized_ids(judge.predict(samples)[0], b.size)
            reference = region_colors(samples.cpu(), predicted, len(judge.labels))
            found[self.inputs.stored_name("share", judge)] = style_consistency(torch.stack(rows), masks, reference)
        return found

    def baselines(self, part: range) -> Tensors:
        """The masks and styles of :meth:`pictures` without the rearranger (``copy``), and without the mapper (``table``)."""
        b, kept = self.bundle, Batches(self.inputs)
        for index in self._batches(part):
            masks, styles = self.inputs.masks_of(index), b.styles(b.w(STYLES, index))
            kept.score_masks("copy", kept.add("copy", self._copied(masks, styles)), masks)
            if self.inputs.table is not None:
                proxy = self.inputs.table(masks).to(self.inputs.device)
                kept.score_masks("table", kept.add("table", b.from_proxy(proxy, styles)), masks)
        return kept.tensors()

    def _copied(self, masks: torch.Tensor, styles: Style) -> torch.Tensor:
        proxy = self.bundle.map(masks, styles)
        ids = proxy if proxy.ndim == 3 else proxy.argmax(dim=1)
        return self.bundle.render(nearest_copy(styles.state, ids, self.bundle.clusters), styles.w)


def unchanged_counts(a: torch.Tensor, b: torch.Tensor, differs: torch.Tensor | None = None) -> torch.Tensor:
    """Unchanged pixels and all pixels of pictures (B, 3, H, W); the same among pixels ``differs`` (B, H, W), 0 where None: int64 (4,)."""
    everywhere = [x.sum() for x in unchanged_share(a, b)]
    there = [torch.tensor(0)] * 2 if differs is None else [x.sum() for x in unchanged_share(a, b, differs)]
    return torch.stack([*everywhere, *there])


def resized_ids(ids: torch.Tensor, size: Size) -> torch.Tensor:
    """Ids or flags (B, h, w) at the size of pictures, by nearest neighbour."""
    if ids.shape[-2:] == height_width(size):
        return ids
    return F.interpolate(ids[:, None].float(), size=height_width(size), mode="nearest-exact")[:, 0].to(ids.dtype)
