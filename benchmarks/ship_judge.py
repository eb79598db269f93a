"""Put a trained judge into the package, as float16, with its accuracy on fresh pictures and its card.

    python benchmarks/ship_judge.py --judge runs/judge --learnt-from data/judge64 --test data/test64 --out src/proxymask/judges/avatars

``--judge`` is a folder of ``proxymask train judge`` or of ``benchmarks/segmentation_nets.py judge``. The accuracy is that of the float16
weights that are shipped.
"""

import dataclasses
from pathlib import Path

import tyro

from proxymask.data.dataset import ImageSet
from proxymask.evaluation.judge import Judge, JudgeInfo
from proxymask.models.segmentation_nets import DilatedSegmenter
from proxymask.training.judge import Part, score_judge

CARD = """# Judge of avatars

A segmentation network (`DilatedSegmenter`, {parameters:,} parameters, float16, {size}x{size} pixels, {classes} classes) that reads pictures
and scores them against masks. It learnt from {learnt:,} drawn avatars with exact masks (`proxymask data avatars`), augmented on the way
in, in {steps:,} steps of 32; its class weights were taken back out of the last bias. It took no part in training, labelling or choosing
anything that it scores, and shares neither architecture nor data with the pseudo-label network.

Its own accuracy on {count:,} fresh avatars (another seed, never seen), which bounds what its scores can tell:

| | |
|---|---|
| mIoU, pooled | {miou:.4f} |
| pixel accuracy | {accuracy:.4f} |
| boundary F-score at 1 and 2 pixels | {boundary_f_1px:.4f}, {boundary_f_2px:.4f} |
{rows}

Limits: it knows avatars of this framing at {size} pixels; other sizes are resized to it. A distance in its features is no FID.

Licence: weights Apache-2.0; made from avatars by Pablo Stanley (avataaars.com, free for personal and commercial use).
Made by: `{command}`
"""


@dataclasses.dataclass(frozen=True)
class Ship:
    """Put a trained judge into the package."""

    judge: Path
    """Folder of the trained network."""
    learnt_from: Path
    """What it learnt from."""
    test: Path
    """Fresh pictures for its accuracy."""
    out: Path
    """Folder to write."""
    size: int = 64
    """Side of its pictures."""
    steps: int = 1200
    """Steps it was trained for."""
    count: int = 2000
    """Pictures of the test."""


def main() -> None:
    args = tyro.cli(Ship)
    learnt, test = ImageSet.open(args.learnt_from, args.size), ImageSet.open(args.test, args.size)
    assert test.labels is not None
    net = DilatedSegmenter.from_pretrained(args.judge)
    net.load_state_dict({name: value.half().float() for name, value in net.state_dict().items()})
    score = score_judge(net, test.labels, Part(test, range(min(args.count, len(test)))), precision="fp32")
    score["data"] = test.fingerprint
    licence = "weights Apache-2.0; made from avatars by Pablo Stanley (avataaars.com, free for personal and commercial use)"
    judge = Judge(net, test.labels, JudgeInfo(args.size, learnt.fingerprint, args.steps, score, licence))
    judge.save(args.out, half=True)
    rows = "\n".join(f"| IoU of {name} | {value:.3f} |" for name, value in score["iou"].items())
    command = f"proxymask train judge --data AVATARS --steps {args.steps} --out JUDGE, then python benchmarks/ship_judge.py"
    parameters = sum(p.numel() for p in net.parameters())
    facts = {"size": args.size, "classes": len(test.labels), "learnt": len(learnt), "steps": args.steps}
    text = CARD.format(**score, **facts, parameters=parameters, rows=rows, command=command)
    (args.out / "README.md").write_text(text)
    print(f"{args.out}: {sum(p.stat().st_size for p in args.out.iterdir()):,} bytes, mIoU {score['miou']}")


if __name__ == "__main__":
    main()
