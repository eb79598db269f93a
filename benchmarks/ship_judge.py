"""Put a trained judge into the package, as float16, with its accuracy on fresh pictures and its card.

    python benchmarks/ship_judge.py --judge runs/judge --learnt-from data/judge64 --test data/test64 --out src/proxymask/judges/avatars

``--judge`` is a folder of ``proxymask train judge``, ``--learnt-from`` and ``--test`` are data sets of ``proxymask data``, whose
``dataset.json`` gives kind, source and terms. The accuracy is that of the float16 weights that are shipped.
"""

import dataclasses
from pathlib import Path

import tyro

from proxymask.core.files import read_json
from proxymask.core.sizes import short_text
from proxymask.data.dataset import ImageSet
from proxymask.evaluation.judge import Judge
from proxymask.training.judge import Part, score_judge

CARD = """# Judge of {kind}, {network}

A segmentation network (`{design}`, {parameters:,} parameters, float16, {size} pixels, {classes} classes) that reads pictures
and scores them against masks. It learnt from {learnt:,} {kind} with exact masks (`proxymask data {kind}`), augmented on the way in, in
{steps:,} steps; its class weights were taken back out of the last bias. It took no part in training, labelling or choosing anything that it
scores, and shares no data with the pseudo-label network.

Its own accuracy on {count:,} fresh {kind} (another seed, never seen), which bounds what its scores can tell:

| | |
|---|---|
| mIoU, pooled | {miou:.4f} |
| pixel accuracy | {accuracy:.4f} |
| boundary F-score at 1 and 2 pixels | {boundary_f_1px:.4f}, {boundary_f_2px:.4f} |
{rows}

Limits: it knows these {kind} at {size} pixels; other sizes are resized to it. A distance in its features is no FID.

Licence: {licence}.
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
    count: int = 2000
    """Pictures of the test."""


def main() -> None:
    args = tyro.cli(Ship)
    judge = Judge.load(args.judge)
    learnt, test = ImageSet.open(args.learnt_from, judge.info.size), ImageSet.open(args.test, judge.info.size)
    assert test.labels is not None
    judge.net.load_state_dict({name: value.half().float() for name, value in judge.net.state_dict().items()})
    score = score_judge(judge.net, test.labels, Part(test, range(min(args.count, len(test)))), precision="fp32")
    score["data"] = test.fingerprint
    about = read_json(args.learnt_from / "dataset.json")
    licence = f"weights Apache-2.0; made from {about['kind']}, {about['art']['authors']} ({about['art']['terms']})"
    info = dataclasses.replace(judge.info, data=learnt.fingerprint, accuracy=score, licence=licence)
    Judge(judge.net, test.labels, info).save(args.out, half=True)
    rows = "\n".join(f"| IoU of {name} | {value:.3f} |" for name, value in score["iou"].items())
    facts = {
        "kind": about["kind"],
        "network": info.network,
        "design": type(judge.net).__name__,
        "parameters": sum(p.numel() for p in judge.net.parameters()),
        "size": short_text(info.size),
        "classes": len(test.labels),
        "learnt": len(learnt),
        "steps": info.steps,
        "licence": licence,
        "command": "proxymask train judge, then python benchmarks/ship_judge.py",
    }
    text = CARD.format(**score, **facts, rows=rows)
    (args.out / "README.md").write_text(text)
    print(f"{args.out}: {sum(p.stat().st_size for p in args.out.iterdir()):,} bytes, mIoU {score['miou']}")


if __name__ == "__main__":
    main()
