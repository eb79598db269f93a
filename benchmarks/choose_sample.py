"""Choose the one sample to label for a one-label model: one that shows every class and whose style separates the classes well.

    python benchmarks/choose_sample.py --pseudo-labels runs/pseudo-labels --first 5000000 --count 50000 --best 80

A class that is missing from the labelled sample, or eyes behind dark glasses, cannot be learnt from it; nor can hair and clothes be
separated where they have one colour. The candidates are first filtered by the area of each class in their pseudo-labels. Those that are
left are ranked by a nearest-neighbour classifier: other samples are rearranged to the candidate's style
(proxymask/training/style_transfer.py), each position takes the label of the nearest feature of the candidate, and the result is compared
with the pseudo-labels of those samples. The choice therefore uses more labels than one (docs/decisions.md, choice-of-sample).
"""

import dataclasses
from pathlib import Path

import torch
import torch.nn.functional as F
import tyro

from proxymask.core.device import autocast
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.inference.synthesizer import Synthesizer
from proxymask.metrics.segmentation import ConfusionMatrix
from proxymask.models.segmentation_nets import UNetSegmenter
from proxymask.training.parts import Frozen
from proxymask.training.style_transfer import StyleTransferLabeler

USUAL = {  # area of each class in a typical sample, pixels of 64 x 64
    "background": 100,
    "skin": 200,
    "eyes": 22,
    "eyebrows": 6,
    "mouth": 22,
    "clothes": 90,
    "facial_hair": 90,
    "top": 150,
    "accessories": 40,
}
BATCH = 50


@dataclasses.dataclass(frozen=True)
class Choose:
    """List candidate samples, the best one first."""

    pseudo_labels: Path
    """The pseudo-label network (benchmarks/segmentation_nets.py)."""
    bundle: str = "avatars"
    """Generator, clusters and rearranger."""
    first: int = 5_000_000
    """First seed."""
    count: int = 6000
    """How many seeds."""
    best: int = 40
    """How many of them, those that show the classes best, are scored by the nearest-neighbour classifier."""
    others: int = 40
    """How many other samples each of them is scored on."""


def main() -> None:
    args = tyro.cli(Choose)
    synth = Synthesizer.from_pretrained(args.bundle, device="cpu")
    cut, bundle = synth.cut, synth.bundle
    net = UNetSegmenter.from_pretrained(args.pseudo_labels)
    usual = torch.tensor([USUAL[name] for name in AVATAR_LABELS.names], dtype=torch.float32)

    @torch.inference_mode()
    def labelled(w: torch.Tensor) -> torch.Tensor:
        with autocast(synth.device, synth.dtype):
            picture = cut.render(cut.features(w), w)
        return net(picture.float().clamp(-1, 1)).argmax(dim=1)

    found: list[tuple[float, int, list[int]]] = []
    for start in range(args.first, args.first + args.count, BATCH):
        seeds = list(range(start, min(start + BATCH, args.first + args.count)))
        for seed, (score, areas) in zip(seeds, visibility(labelled(synth.w(seeds)), usual), strict=True):
            found.append((score, seed, areas))
    found.sort(reverse=True)

    w = synth.w(range(7_000_000, 7_000_000 + args.others))
    truth = labelled(w)
    rows = []
    for _, seed, areas in found[: args.best]:
        own = synth.w([seed])
        matrix = nearest_neighbour_score(
            StyleTransferLabeler(Frozen(cut, bundle.clusters, bundle.rearranger), own), labelled(own)[0], w, truth
        )
        rows.append((matrix.miou() + matrix.pixel_accuracy(), seed, areas, matrix))
    for _, seed, areas, matrix in sorted(rows, key=lambda row: -row[0]):
        each = " ".join(f"{name} {value:.2f}" for name, value in zip(AVATAR_LABELS.names, matrix.iou(), strict=True))
        print(f"{seed}: mIoU {matrix.miou():.3f}, accuracy {matrix.pixel_accuracy():.3f}; {each}; pixels {areas}")


def visibility(labels: torch.Tensor, usual: torch.Tensor) -> list[tuple[float, list[int]]]:
    """A score of each of the masks (B, H, W), and the pixels of every class in it.

    The score is the least ratio of a class' area to its usual area, at most 1.5, plus the share of skin and eyebrows around the eyes, at
    most 0.5, which is low under dark glasses.
    """
    planes = F.one_hot(labels, len(usual)).permute(0, 3, 1, 2).float()
    area = planes.sum(dim=(2, 3))
    eyes = planes[:, 2:3]
    near = F.avg_pool2d(planes, 7, 1, 3)
    bare = ((near[:, 1:2] + near[:, 3:4]) * eyes).sum(dim=(1, 2, 3)) / eyes.sum(dim=(1, 2, 3)).clamp_min(1)
    share = (area / usual).amin(dim=1).clamp_max(1.5) + bare.clamp_max(0.5)
    return list(zip(share.tolist(), area.long().tolist(), strict=True))


@torch.inference_mode()
def nearest_neighbour_score(labeler: StyleTransferLabeler, labels: torch.Tensor, w: torch.Tensor, truth: torch.Tensor) -> ConfusionMatrix:
    """How well a nearest-neighbour classifier labels the samples ``w`` once they have the style of the one labelled sample.

    Args:
        labeler: of the one labelled sample.
        labels: (H, W), of that sample.
        w: of the B other samples.
        truth: (B, H, W), what the classifier is compared with.
    """
    one = torch.zeros(1, dtype=torch.long)

    def descriptors(layout: torch.Tensor) -> torch.Tensor:
        levels = [F.normalize(level, dim=1) for level in labeler.levels(layout, one.expand(len(layout)))]
        both = torch.cat([F.interpolate(level, size=labels.shape, mode="bilinear") for level in levels], dim=1)
        return torch.cat([both, F.avg_pool2d(both, 5, 1, 2)], dim=1).flatten(2).transpose(1, 2).bfloat16()

    known = descriptors(labeler.labelled()[0])[0].t()
    matrix = ConfusionMatrix(len(AVATAR_LABELS))
    for sample, wanted in zip(descriptors(labeler.layout(w)), truth, strict=True):
        matrix.update(labels.flatten()[(sample @ known).argmax(dim=1)], wanted.flatten())
    return matrix


if __name__ == "__main__":
    main()
