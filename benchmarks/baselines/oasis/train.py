"""Train the supervised rival, on exact masks or on one-label pseudo-labels, by one command that goes on after a stop.

    python -m baselines.oasis.train --data data/avatars64 --steps 20000 --out runs/oasis            # (a) all exact masks
    python -m baselines.oasis.train --bundle avatars --segmenter runs/segmenter1 --steps 20000 --out runs/oasis-1    # (b) one label

(from the folder ``benchmarks``). OUT/snapshots/<step> get the averaged generator with re-estimated batch norms;
``wall_time.py`` scores them, and ``painter.py`` lets anything else of the evaluation paint with one.
"""

import copy
import dataclasses
import os
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from proxymask.cli.progress import progress
from proxymask.core.errors import ProxymaskError
from proxymask.core.files import read_json, write_json
from proxymask.core.hashing import short_hash
from proxymask.core.seeding import derive_rng
from proxymask.data.dataset import ImageSet
from proxymask.inference.bundle import Bundle
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.training.loop import LoopConfig, Run, train
from proxymask.training.parts import load_part
from proxymask.training.stages.definition import seeded

from .networks import OasisDiscriminator, OasisGenerator, reestimate
from .stage import ExactPairs, OasisConfig, OasisStage, Pairs, PseudoPairs

PASSES = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOasis:
    """Train the rival."""

    out: Path
    """Run folder."""
    data: Path | None = None
    """(a) Pictures with exact masks."""
    bundle: str | None = None
    """(b) Instead: the bundle whose generator makes the pictures."""
    segmenter: Path | None = None
    """(b) Its few-shot segmenter, where it is not the bundle's own (a run of proxymask train segmenter)."""
    size: int = 64
    """Side of the pictures, with --data."""
    steps: int = 20_000
    """Budget."""
    batch: int = 16
    """Pictures a step."""
    snapshot_every: int = 500
    """Steps between snapshots."""
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    config: Annotated[OasisConfig, tyro.conf.arg(name="")] = dataclasses.field(default_factory=OasisConfig)


def open_pairs(args: TrainOasis) -> tuple[Pairs, int, int, str]:
    """The pairs, their number of classes, their size, and what the run is made of."""
    if (args.data is None) == (args.bundle is None):
        raise ProxymaskError("give --data (exact masks) or --bundle (pseudo-labels), one of the two")
    if args.data is not None:
        data = ImageSet.open(args.data, None if (args.data / "index.json").is_file() else args.size)
        if data.labels is None:
            raise ProxymaskError(f"{args.data} has no masks")
        assert isinstance(data.size, int), "the rival makes square pictures"
        return ExactPairs(data), len(data.labels), data.size, f"exact {data.fingerprint[:16]}"
    assert args.bundle is not None
    bundle = Bundle.load(args.bundle)
    segmenter = bundle.segmenter if args.segmenter is None else load_part(args.segmenter, "segmenter", FewShotSegmenter)
    if segmenter is None:
        raise ProxymaskError(f"{args.bundle} has no segmenter: give --segmenter")
    made_of = f"pseudo {short_hash(bundle.generator)} {short_hash(segmenter)}"
    return PseudoPairs(bundle.split_generator(), segmenter), segmenter.out.out_channels, bundle.resolution, made_of


def snapshot(stage: OasisStage, run: Run, out: Path) -> None:
    """Write the averaged generator as it would be used now."""
    folder = out / "snapshots" / f"{run.index:08d}"
    if (folder / "snapshot.json").is_file():
        return
    average = copy.deepcopy(run.averages["generator"])
    assert isinstance(average, OasisGenerator)
    batches = []
    for number in range(PASSES):
        drawn = Run(run.config, stage)
        drawn.index = -1 - number  # other pairs than those of any step
        _, masks = stage.pairs.draw(drawn)
        z = torch.randn(len(masks), average.z_dim, generator=derive_rng(run.config.seed, "re-estimate", number)).to(run.device)
        batches.append((masks, z))
    with run.autocast():
        reestimate(average, batches)
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    average.save_pretrained(temporary)
    about = {"step": run.index, "samples": run.index * run.config.batch, "pairs": type(stage.pairs).__name__}
    write_json(temporary / "snapshot.json", about)
    os.replace(temporary, folder)


def snapshots(out: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Whole snapshots of a run with what they say of themselves, oldest first."""
    return [(path.parent, read_json(path)) for path in sorted((out / "snapshots").glob("*/snapshot.json")) if path.parent.suffix != ".tmp"]


def train_oasis(args: TrainOasis) -> Path:
    """Train (on); returns the newest snapshot."""
    pairs, number, size, made_of = open_pairs(args)
    c = args.config
    with seeded(args.seed, "init", "oasis"):
        generator = OasisGenerator(number, size, c.width, c.z_dim, c.hidden)
        discriminator = OasisDiscriminator(number, size, c.width)
    stage = OasisStage(generator, discriminator, pairs, c)
    # the paper's average keeps 0.9999 a step: half of it is forgotten in 6,931 steps
    loop = LoopConfig(
        steps=args.steps,
        batch=args.batch,
        seed=args.seed,
        device=args.device,
        precision=args.precision,
        ema_samples=6931.0 * args.batch,
        checkpoint_every=args.snapshot_every,
        grid_every=args.snapshot_every,
        tensorboard=False,
    )
    identity = {**dataclasses.asdict(c), "pairs": made_of}
    with progress("oasis") as update:

        def after(step: int, steps: int, numbers: dict[str, float]) -> None:
            update(step, steps, numbers)
            if step % args.snapshot_every == 0 and stage.run is not None:
                snapshot(stage, stage.run, args.out)

        snapshot(stage, train(stage, loop, args.out, identity=identity, progress=after), args.out)
    return snapshots(args.out)[-1][0]


def main() -> None:
    print(f"newest snapshot: {train_oasis(tyro.cli(TrainOasis))}")


if __name__ == "__main__":
    main()
