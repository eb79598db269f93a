"""Train the two segmentation networks of the experiments with drawn data: the pseudo-label network, which labels samples, and the judge,
which scores.

    python benchmarks/segmentation_nets.py pseudo-labels --data data/pseudo64 --test data/test64 --out runs/pseudo-labels
    python benchmarks/segmentation_nets.py judge         --data data/judge64  --test data/test64 --out runs/judge

They differ in architecture, data and seed, and the judge takes no part in training, labelling or choosing.
"""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from proxymask.data.dataset import ImageSet
from proxymask.models.segmentation_nets import DilatedSegmenter, UNetSegmenter
from proxymask.training.loop import LoopConfig
from proxymask.training.segmentation import SegmentationConfig, evaluate_segmentation_net, train_segmentation_net

KINDS = {"pseudo-labels": (UNetSegmenter, 2, 0.003), "judge": (DilatedSegmenter, 3, 0.005)}  # architecture, seed, learning rate


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a pseudo-label network or a judge."""

    kind: Annotated[Literal["pseudo-labels", "judge"], tyro.conf.Positional]
    data: Path
    """Pictures with exact masks (proxymask data avatars, churches, ...)."""
    test: Path
    """Others, for its accuracy."""
    out: Path
    """Run folder; holds the network at the end."""
    size: int = 64
    """Side of the pictures."""
    steps: int = 1200
    """Steps of 32 pictures."""


def main() -> None:
    args = tyro.cli(Train)
    architecture, seed, rate = KINDS[args.kind]
    data, test = ImageSet.open(args.data, args.size), ImageSet.open(args.test, args.size)
    assert data.labels is not None
    torch.manual_seed(seed)
    net = train_segmentation_net(
        architecture(len(data.labels)),
        data,
        LoopConfig(steps=args.steps, batch=32, seed=seed, checkpoint_every=500, grid_every=500),
        out=args.out,
        config=SegmentationConfig(learning_rate=rate),
        progress=lambda step, steps, means: print(f"{step} / {steps}: {means}", flush=True) if step % 50 == 0 else None,
    )
    matrix = evaluate_segmentation_net(net, test, range(min(500, len(test))))
    iou = {name: round(float(v), 3) for name, v in zip(data.labels.names, matrix.iou(), strict=True)}
    print(json.dumps({"accuracy": round(matrix.pixel_accuracy(), 4), "miou": round(matrix.miou(), 4), "iou": iou}))


if __name__ == "__main__":
    main()
