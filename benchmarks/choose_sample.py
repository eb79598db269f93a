"""Which one sample to label? Those that show every class, and in whose look others can be read.

    python benchmarks/choose_sample.py --annotator runs/annotator --first 5000000 --count 50000 --best 80

A class that is missing, or an eye behind dark glasses, is never learnt; a look in which hair and clothes are one colour tells nobody
which is which. The first is counted by the annotator; the second is how well the nearest neighbour, among the labelled sample's own
features, reads other samples laid out in its look (training/in_look.py), against the annotator. So the choice knows more than one label:
docs/decisions.md, choice-of-sample, says so too.
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

USUAL = {
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
    """List samples, the best to read others by first."""

    annotator: Path
    """What counts classes, and what the reading is held against."""
    bundle: str = "avatars"
    """Generator, clusters and rearranger."""
    first: int = 5_000_000
    """First seed."""
    count: int = 6000
    """How many seeds."""
    best: int = 40
    """How many of them, with most of every class, are tried as a look."""
    others: int = 40
    """How many samples are read in each."""


def main() -> None:
    args = tyro.cli(Choose)
    synth = Synthesizer.from_pretrained(args.bundle, device="cpu")
    cut, bundle = synth.cut, synth.bundle
    annotator = UNetSegmenter.from_pretrained(args.annotator)
    usual = torch.tensor([USUAL[name] for name in AVATAR_LABELS.names], dtype=torch.float32)

    @torch.inference_mode()
    def labelled(w: torch.Tensor) -> torch.Tensor:
        with autocast(synth.device, synth.dtype):
            picture = cut.render(cut.features(w), w)
        return annotator(picture.float().clamp(-1, 1)).argmax(dim=1)

    found: list[tuple[float, int, list[int]]] = []
    for start in range(args.first, args.first + args.count, BATCH):
        seeds = list(range(start, min(start + BATCH, args.first + args.count)))
        for seed, share in zip(seeds, shown(labelled(synth.w(seeds)), usual), strict=True):
            found.append((share[0], seed, share[1]))
    found.sort(reverse=True)

    w = synth.w(range(7_000_000, 7_000_000 + args.others))
    truth = labelled(w)
    rows = []
    for _, seed, areas in found[: args.best]:
        own = synth.w([seed])
        matrix = read_in(StyleTransferLabeler(Frozen(cut, bundle.clusters, bundle.rearranger), own), labelled(own)[0], w, truth)
        rows.append((matrix.miou() + matrix.pixel_accuracy(), seed, areas, matrix))
    for _, seed, areas, matrix in sorted(rows, key=lambda row: -row[0]):
        each = " ".join(f"{name} {value:.2f}" for name, value in zip(AVATAR_LABELS.names, matrix.iou(), strict=True))
        print(f"{seed}: mIoU {matrix.miou():.3f}, accuracy {matrix.pixel_accuracy():.3f}; {each}; pixels {areas}")


def shown(labels: torch.Tensor, usual: torch.Tensor) -> list[tuple[float, list[int]]]:
    """Of masks (B, H, W): how much of its usual size the smallest class has and how bare the eyes are, and the pixels of all classes."""
    planes = F.one_hot(labels, len(usual)).permute(0, 3, 1, 2).float()
    area = planes.sum(dim=(2, 3))
    eyes = planes[:, 2:3]
    near = F.avg_pool2d(planes, 7, 1, 3)
    bare = ((near[:, 1:2] + near[:, 3:4]) * eyes).sum(dim=(1, 2, 3)) / eyes.sum(dim=(1, 2, 3)).clamp_min(1)
    share = (area / usual).amin(dim=1).clamp_max(1.5) + bare.clamp_max(0.5)
    return list(zip(share.tolist(), area.long().tolist(), strict=True))


@torch.inference_mode()
def read_in(look: StyleTransferLabeler, labels: torch.Tensor, w: torch.Tensor, truth: torch.Tensor) -> ConfusionMatrix:
    """How well the samples ``w`` are read in a look whose one sample has ``labels`` (H, W), by nearest neighbour."""
    one = torch.zeros(1, dtype=torch.long)

    def described(layout: torch.Tensor) -> torch.Tensor:
        levels = [F.normalize(level, dim=1) for level in look.levels(layout, one.expand(len(layout)))]
        both = torch.cat([F.interpolate(level, size=labels.shape, mode="bilinear") for level in levels], dim=1)
        return torch.cat([both, F.avg_pool2d(both, 5, 1, 2)], dim=1).flatten(2).transpose(1, 2).bfloat16()

    known = described(look.labelled()[0])[0].t()
    matrix = ConfusionMatrix(len(AVATAR_LABELS))
    for sample, wanted in zip(described(look.layout(w)), truth, strict=True):
        matrix.update(labels.flatten()[(sample @ known).argmax(dim=1)], wanted.flatten())
    return matrix


if __name__ == "__main__":
    main()
