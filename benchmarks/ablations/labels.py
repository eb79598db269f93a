"""The label curve: 1, 4, 8, 16 labelled samples; five draws of the segmenter each, the full chain once a count and three times more at one.

    python -m ablations.labels --data data/avatars64 --masks data/test64 --pseudo-labels runs/pseudo-labels \\
        --discriminator runs/g64 --work runs/ablations --steps 10000
    python -m ablations.labels ... --rearranger runs/avatars-64 --steps 4000      # with one that was trained already, for so long

No sample is labelled by hand: the pseudo-label network labels them, as it did those of the embedded model. A segmenter's accuracy is
measured against the judge's segmentation of fresh samples. One rearranger, trained without labels, serves all.
"""

import dataclasses
import statistics
from pathlib import Path
from typing import Any

import torch
import tyro
from label_samples import pseudo_label_masks

from proxymask.evaluation.judge import Judge, shipped_judges
from proxymask.metrics.segmentation import SegmentationScore
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.rearranger import Rearranger
from proxymask.models.segmentation_nets import UNetSegmenter
from proxymask.models.stylegan2 import seed_to_z
from proxymask.training.pairs import SegmenterLabeler
from proxymask.training.parts import load_part

from .common import Lab, Settings

FIRST = 5_100_000  # integer seeds of the labelled samples, a hundred a draw
FRESH = 6_000_000  # and of the samples on which segmenters are scored


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels(Settings):
    """Vary the number of labelled samples. The variants are 1-draw-0, 1-draw-1, ..."""

    pseudo_labels: Path
    """The pseudo-label network (benchmarks/segmentation_nets.py)."""
    numbers: tuple[int, ...] = (1, 4, 8, 16)
    """Labelled samples."""
    draws: int = 5
    """Draws of the segmenter for each number."""
    more: int = 3
    """Further full chains at the smallest number."""
    scored: int = 500
    """Fresh samples on which a segmenter is scored."""
    rearranger: str | None = None
    """A rearranger that is trained already (a run, or a bundle), instead of training one; --steps then says for how many steps it was."""


@torch.no_grad()
def accuracy(lab: Lab, segmenter: FewShotSegmenter, judge: Judge, count: int) -> dict[str, Any]:
    """A segmenter's labels of fresh samples against the judge's."""
    score, label = SegmentationScore(judge.labels.names), SegmenterLabeler(lab.cut, segmenter.to(lab.device))
    for start in range(0, count, 20):
        w = lab.cut.w(seed_to_z(range(FRESH + start, FRESH + min(start + 20, count)), lab.cut.generator.z_dim).to(lab.device))
        read, _ = judge.predict(lab.cut.render(lab.cut.features(w), w).clamp(-1, 1))
        score.update(judge.resized_masks(label(w).cpu()), read)
    summary = score.summary()
    return {"segmenter_miou": round(summary["miou"], 4), "segmenter_accuracy": round(summary["accuracy"], 4)}


def run(args: Labels) -> None:
    lab = Lab(args)
    assert lab.bundle.labels is not None
    folders = args.judge or shipped_judges(lab.bundle.labels)
    assert folders, "give --judge"
    judge, pseudo_net = Judge.load(folders[0]).to(lab.device), UNetSegmenter.from_pretrained(args.pseudo_labels)
    net = load_part(args.rearranger, "rearranger", Rearranger) if args.rearranger else lab.rearranger("labels")[0]
    rows: list[dict[str, Any]] = []
    segmenters: list[dict[str, Any]] = []
    names = {f"{number}-draw-{draw}": (number, draw) for number in args.numbers for draw in range(args.draws)}
    order = [f"{number} labelled, draw {draw}" for number, draw in names.values()]
    for number, draw in (names[name] for name in lab.chosen(list(names))):
        seeds = [FIRST + 100 * draw + i for i in range(number)]
        masks = torch.from_numpy(pseudo_label_masks(lab.bundle.generator.cpu(), pseudo_net, seeds)).long()
        lab.cut.to(lab.device)
        ws = lab.cut.w(seed_to_z(seeds, lab.cut.generator.z_dim).to(lab.device)).detach().cpu()
        name = f"labels-{number}-draw-{draw}"
        segmenter = lab.segmenter(name, ws, masks)
        scored = accuracy(lab, segmenter, judge, args.scored)
        about = {"labels": number, "draw": draw, "seed": args.seed, "count": args.scored, "steps": args.segmenter_steps}
        segmenters.append({**about, **scored})
        if draw == 0 or (number == min(args.numbers) and draw <= args.more):
            mapper = lab.mapper(name, lab.bundle.clusters, net, segmenter)
            place = lab.variant(name, rearranger=net, segmenter=segmenter, mappers={"mask": mapper})
            found = lab.evaluated(name, place, mapped=True)
            extra = {"labels": number, "draw": draw, "mapper_steps": args.mapper_steps, **scored}
            rows.append(lab.row("labels", f"{number} labelled, draw {draw}", found, **extra))
        lab.write("labels", rows, order, lambda found: {"spread": spread(found["segmenters"])}, segmenters=segmenters)


def spread(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation of the segmenters' scores over the draws, by number of labels."""
    out = []
    for number in sorted({row["labels"] for row in rows}):
        row: dict[str, Any] = {"labels": number}
        for key in ("segmenter_miou", "segmenter_accuracy"):
            values = [r[key] for r in rows if r["labels"] == number]
            row |= {
                "draws": len(values),
                f"{key}_mean": round(statistics.fmean(values), 4),
                f"{key}_std": round(statistics.pstdev(values), 4),
            }
        out.append(row)
    return out


if __name__ == "__main__":
    run(tyro.cli(Labels))
