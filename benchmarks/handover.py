"""How sharply the style's prior tells clusters that stand in the same places from others (``ALIKE``), judged by the annotator.

    python benchmarks/handover.py --annotator runs/annotator --data data/annotator64 --discriminator runs/g64 --add runs/sketch

Masks and pictures that the judge's numbers are not made of. ``0`` compares a cluster with all (the prior is the style's whole amount of
it), ``none`` leaves the prior out. The distance is Frechet's in the generator's discriminator's features, to samples of the generator.
"""

import dataclasses
import json
from pathlib import Path

import torch
import tyro

from proxymask.conditions.scribble import COVERED, ScribbleCondition
from proxymask.data.dataset import ImageSet
from proxymask.device import autocast
from proxymask.generators.stylegan2 import Discriminator
from proxymask.mappers import load_mapper
from proxymask.mappers.handover import handover
from proxymask.metrics.frechet import FeatureStats, frechet_distance
from proxymask.metrics.segmentation import ConfusionMatrix
from proxymask.modeling import read_json
from proxymask.proxy import proxy_mask
from proxymask.segmentation_nets import UNetSegmenter
from proxymask.stages import load_part
from proxymask.synthesizer import Synthesizer

BATCH = 25


@dataclasses.dataclass(frozen=True)
class Handover:
    """Compare priors."""

    annotator: Path
    """Folder of the annotator (a UNetSegmenter)."""
    data: Path
    """Pictures with exact masks."""
    discriminator: Path
    """Whose features the distance is in: a generator's run."""
    bundle: str = "avatars"
    """Bundle to measure; its mask mapper, and those of --add."""
    add: tuple[Path, ...] = ()
    """Run folders of train mapper."""
    alike: tuple[str, ...] = ("none", "0", "2", "4", "8", "16")
    """Values of ALIKE."""
    first: int = 7000
    """The first of them that is taken."""
    count: int = 100
    """Pictures a row."""
    samples: int = 400
    """The generator's own, for the distance."""


class Compare:
    """The bundle and what it is measured with."""

    def __init__(self, args: Handover) -> None:
        self.args, self.synth = args, Synthesizer.from_pretrained(args.bundle, device="cpu")
        self.annotator = UNetSegmenter.from_pretrained(args.annotator)
        self.data = ImageSet.open(args.data, self.synth.size)
        self.discriminator = load_part(args.discriminator, "discriminator", Discriminator)
        starts = range(0, args.samples, BATCH)
        self.own = self.stats([self.synth.sample(self.synth.w(range(7_000_000 + i, 7_000_000 + i + BATCH)))[0] for i in starts])

    @torch.inference_mode()
    def stats(self, pictures: list[torch.Tensor]) -> FeatureStats:
        with autocast(self.synth.device, self.synth.dtype):
            last = [torch.cat([x.float().mean(dim=(2, 3)) for x in self.discriminator.features(part)[-3:]], dim=1) for part in pictures]
        return FeatureStats(last[0].shape[1]).add(torch.cat(last))

    @torch.inference_mode()
    def row(self, mapper: str, alike: str) -> dict[str, object]:
        """One mapper with one value."""
        synth, labels = self.synth, self.synth.bundle.labels
        assert labels is not None
        matrix, pictures = ConfusionMatrix(len(labels.names)), []
        proxy_mask.ALIKE = float(alike) if alike != "none" else 0.0
        kind = synth.condition(synth.bundle.condition_of(mapper)["condition"])
        if isinstance(kind, ScribbleCondition):
            kind.covered = COVERED
        for start in range(0, self.args.count, BATCH):
            index = [self.args.first + start + i for i in range(BATCH)]
            masks = self.data.masks(index)
            if kind.name == "mask":
                logits = synth.map(masks.numpy(), mapper)
            else:
                logits = synth.map_planes(kind.extract(self.data.images(index), masks, torch.Generator().manual_seed(start)), mapper)
            style = synth.make_style(w=synth.w([2_000_000 + i for i in index]))
            available, prior = synth.bundle.clusters.available(style.keys.counts), synth.bundle.clusters.prior(style.keys.amount)
            proxy = handover(logits, "present" if alike == "none" else "likely", available, prior)
            pictures.append(synth.render(proxy, style))
            with autocast(synth.device, synth.dtype):
                matrix.update(self.annotator(pictures[-1]).argmax(dim=1), masks)
        distance = frechet_distance(self.stats(pictures), self.own)
        return {
            "mapper": mapper,
            "alike": alike,
            "miou": round(matrix.miou(), 4),
            "accuracy": round(matrix.pixel_accuracy(), 4),
            "distance": round(distance, 3),
        }


def main() -> None:
    args = tyro.cli(Handover)
    compare = Compare(args)
    names = ["mask"]
    for run in args.add:
        about = read_json(run / "condition.json")
        compare.synth.bundle.mappers[about["condition"]] = load_mapper(run / "mapper")
        compare.synth.bundle.conditions[about["condition"]] = about
        names.append(about["condition"])
    for name in names:
        for value in args.alike:
            print(json.dumps(compare.row(name, value)), flush=True)


if __name__ == "__main__":
    main()
