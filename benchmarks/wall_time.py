"""Distance and mIoU against the wall time of training (supplement, Figure S5): ours and the rival's, scored alike.

    python benchmarks/wall_time.py --data data/avatars64 --masks data/test64 --count 500 --out docs/results/wall-time.json \\
        --rival oasis runs/oasis oasis-1-label runs/oasis-1 --bundle avatars --rearranger runs/rearranger --segmenter runs/segmenter \\
        --mapper runs/mapper --generator runs/generator

A rival's run holds snapshots (``baselines/oasis/train.py``). Ours are the runs of ``proxymask train rearranger`` and ``train mapper``
with ``--keep 1000`` and as many ``--checkpoint-every`` as points are wanted; every checkpoint's average is scored. While the
rearranger trains there is no mapper: its points are of proxy masks of other samples, and have no mIoU. Scored points are kept in --out,
so the same command adds new ones. Wall time is that of a machine with nothing else to do: see :func:`seconds_at`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import output
import torch
import tyro
from baselines.oasis.painter import OasisPainter
from baselines.oasis.train import snapshots

from proxymask.core.config_model import ConfigModel
from proxymask.core.errors import ProxymaskError
from proxymask.core.files import load_tensors, read_json
from proxymask.core.hashing import short_hash
from proxymask.data.dataset import ImageSet
from proxymask.evaluation import BundleSynthesis, MaskToImageBenchmark
from proxymask.evaluation.judge import Judge, judge_names, shipped_judges
from proxymask.evaluation.synthesis import SHAPES, STYLES
from proxymask.inference.bundle import Bundle
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.oasis_mapper import OasisMapper
from proxymask.models.rearranger import Rearranger
from proxymask.training.checkpoint import checkpoints
from proxymask.training.parts import find_part


@dataclasses.dataclass(frozen=True, kw_only=True)
class WallTime:
    """Score checkpoints over wall time."""

    data: Path
    """Real pictures."""
    masks: Path
    """Fresh pictures with exact masks."""
    judge: tuple[Path, ...] = ()
    """The judges, the main one first; the shipped ones where not given."""
    count: int = 500
    """Pictures a point."""
    rival: dict[str, Path] = dataclasses.field(default_factory=dict)
    """Name and run of each rival."""
    bundle: str = "avatars"
    """Ours: the bundle with generator, clusters and labels."""
    rearranger: Path | None = None
    """Ours: the rearranger's run."""
    segmenter: Path | None = None
    """Ours: the segmenter's run, whose time is that between rearranger and mapper."""
    mapper: Path | None = None
    """Ours: the mapper's run."""
    name: str = "ours"
    """What ours is called."""
    generator: Path | None = None
    """The run of the generator's own training, whose time is counted in the second curve of ours."""
    device: str = "auto"
    out: Path = Path("wall-time.json")
    """Where the points are kept."""


def seconds_at(run: Path, step: int | None = None) -> float:
    """Seconds that training takes up to a step (to its end where none is given): at the median pace between the lines of a run's
    stats.jsonl, so that snapshots, and other work on the machine for less than half of the time, do not count."""
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines() if line.endswith("}")]
    steps, seconds = [0, *(line["step"] for line in lines)], [0.0, *(line["seconds"] for line in lines)]
    pace = float(np.median(np.diff(seconds) / np.diff(steps)))
    return pace * (steps[-1] if step is None else step)


def averaged(kind: type[ConfigModel], name: str, run: Path, checkpoint: Path) -> ConfigModel:
    """The averaged network ``name`` of a checkpoint."""
    config, prefix = kind.from_pretrained(find_part(run, name)).config, f"average.{name}."
    tensors = load_tensors(checkpoint / "state.safetensors")
    weights = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    if kind is Rearranger:  # while it trains, queries and keys have all their channels
        config = config | {"key_channels": len(weights["to_query.weight"])}
    return kind.from_tensors(config, weights, str(checkpoint))


def proxy_driven(bench: MaskToImageBenchmark, subject: BundleSynthesis) -> dict[str, Any]:
    """Distances of pictures of proxy masks of other samples."""
    found = []
    for start in range(0, bench.count, 25):
        index = range(start, min(start + 25, bench.count))
        style = subject.styles(subject.w(STYLES, index))
        proxy = subject.substitute(subject.layout(subject.w(SHAPES, index))[0], style)
        found.append(bench.features(subject.from_proxy(proxy, style)))
    return {"count": bench.count, **bench.distance(torch.cat(found))}


def run(args: WallTime) -> None:
    """Score what is not scored yet."""
    rows: list[dict[str, Any]] = read_json(args.out)["rows"] if args.out.is_file() else []
    output.prepare(args.out)
    bundle = dataclasses.replace(Bundle.load(args.bundle), details={})  # trained with other mappers than those that are scored
    assert bundle.labels is not None
    folders = args.judge or shipped_judges(bundle.labels)
    assert folders, "give --judge"
    judges = {name: Judge.load(folder) for name, folder in zip(judge_names(folders), folders, strict=True)}
    judge, further = next(iter(judges.values())), dict(list(judges.items())[1:])
    real, masks = (ImageSet.open(folder, bundle.resolution) for folder in (args.data, args.masks))
    bench = MaskToImageBenchmark(judge, real, masks, args.count, further=further)
    common = {
        "judge": judge.digest[:16],
        "resolution": bundle.resolution,
        "count": args.count,
        "data": real.fingerprint[:16],
        "masks": masks.fingerprint[:16],
        "bundle": short_hash(bundle.generator),
    }
    for row in rows:
        other = next((key for key, value in common.items() if row.get(key, value) != value), None)
        if other is not None:
            raise ProxymaskError(f"{args.out} holds points of another {other}: move it away, or give another --out")

    def add(name: str, phase: str, step: int, seconds: float, weights: str, score: Any) -> None:
        row = {"name": name, "phase": phase, "step": step, "seconds": round(seconds, 3), "weights": weights, **score(), **common}
        rows.append(row)
        print(json.dumps(row), flush=True)
        output.write(args.out, {"rows": rows})

    def known(name: str, weights: str) -> bool:
        return any((row["name"], row["weights"]) == (name, weights) for row in rows)

    for name, place in args.rival.items():
        taken = snapshots(place)
        if not taken:
            raise ProxymaskError(f"--rival {name} {place}: no snapshots there; python -m baselines.oasis.train makes them")
        for path, about in taken:
            painter = OasisPainter(path, args.device)
            weights = short_hash(painter.generator)
            if not known(name, weights):
                add(
                    name,
                    about["pairs"],
                    about["step"],
                    seconds_at(place, about["step"]),
                    weights,
                    lambda painter=painter: bench.score_model(painter),
                )
    spent = 0.0
    offsets = {} if args.generator is None else {"generator_seconds": round(seconds_at(args.generator), 1)}
    if args.rearranger is not None:
        for path in checkpoints(args.rearranger):
            step = read_json(path / "state.json")["step"]
            net = averaged(Rearranger, "rearranger", args.rearranger, path)
            assert isinstance(net, Rearranger)
            if not known(args.name, short_hash(net)):
                subject = BundleSynthesis(Synthesizer(dataclasses.replace(bundle, rearranger=net), args.device))
                add(
                    args.name,
                    "rearranger",
                    step,
                    seconds_at(args.rearranger, step),
                    short_hash(net),
                    lambda s=subject: proxy_driven(bench, s) | offsets,
                )
            bundle.rearranger = net
        spent = sum(seconds_at(run) for run in (args.rearranger, args.segmenter) if run is not None)
    if args.mapper is not None:
        for path in checkpoints(args.mapper):
            step = read_json(path / "state.json")["step"]
            net = averaged(OasisMapper, "mapper", args.mapper, path)
            assert isinstance(net, OasisMapper)
            weights = f"{short_hash(net)} {short_hash(bundle.rearranger)}"
            if not known(args.name, weights):
                subject = BundleSynthesis(Synthesizer(dataclasses.replace(bundle, mappers={"mask": net}), args.device))
                add(
                    args.name,
                    "mapper",
                    step,
                    spent + seconds_at(args.mapper, step),
                    weights,
                    lambda s=subject: bench.score_model(s) | offsets,
                )


if __name__ == "__main__":
    run(tyro.cli(WallTime))
