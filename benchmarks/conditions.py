"""How well pictures follow each kind of condition, judged against exact masks; robustness; speed; the curve of a training run.

    proxymask data avatars --count 500 --size 64 --seed 5 --depth --out fresh
    python benchmarks/conditions.py --bundle my-bundle --judge JUDGE --fresh fresh --out conditions.json
    python benchmarks/conditions.py --judge JUDGE --fresh fresh --add runs/sketch runs/edges runs/depth --out conditions.json
    python benchmarks/conditions.py --judge JUDGE --fresh fresh --run runs/sketch --out curve.json

Conditions are made of the fresh pictures (sketch, edges ...), of their exact masks (scribbles over 5 % of the pixels) or are their
exact depth. The number to beat is the mask mapper's on the same pictures in the same styles. ``--add`` measures mappers that are in no
bundle yet, with the bundle's other parts. ``--run`` scores every checkpoint of a mapper's run folder (train it with a larger --keep)
against the seconds it took.
"""

import dataclasses
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import output
import torch
import tyro
from wall_time import averaged, seconds_at

from proxymask.conditions import Condition
from proxymask.conditions import augmentations as by_hand
from proxymask.conditions.scribble import COVERED, ScribbleCondition
from proxymask.core.errors import ProxymaskError
from proxymask.core.files import read_json
from proxymask.core.hashing import short_hash
from proxymask.core.sizes import height_width
from proxymask.data.dataset import ImageSet
from proxymask.evaluation.judge import Judge
from proxymask.inference.detail_inputs import mask_inputs
from proxymask.inference.synthesizer import Synthesizer
from proxymask.metrics.segmentation import ConfusionMatrix
from proxymask.models.mappers import Mapper, load_mapper
from proxymask.models.unet_mapper import UNetMapper
from proxymask.training.checkpoint import checkpoints
from proxymask.training.depth import DepthImages
from proxymask.training.parts import load_extractor

BATCH = 25
Change = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Measure a bundle's mappers."""

    judge: Path
    """Folder of the judge."""
    fresh: Path
    """Fresh pictures with exact masks (proxymask data avatars, with --depth for depth)."""
    bundle: str = "avatars"
    """Bundle to measure."""
    add: tuple[Path, ...] = ()
    """Run folders of train mapper whose mappers are measured with the bundle, in place of its own of the same condition."""
    only: tuple[str, ...] = ()
    """Mappers to measure; all where none is named."""
    count: int = 500
    """Pictures."""
    robustness_count: int = 100
    """Pictures for each cell of the robustness tables."""
    seed: int = 1_000_000
    """First of the style seeds."""
    weights: Path | None = None
    """Weights of the extractor (with one condition)."""
    run: Path | None = None
    """A mapper's run folder: score its checkpoints instead."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    out: Path = Path("conditions.json")
    """Where the numbers go."""


class Measure:
    """The bundle under test and the judge."""

    def __init__(self, args: Conditions) -> None:
        self.args = args
        self.synth = Synthesizer.from_pretrained(args.bundle, device=args.device)
        self.judge = Judge.load(args.judge).to(self.synth.device)
        self.fresh = ImageSet.open(args.fresh, self.synth.size)
        self.depth_images = functools.cache(lambda size: DepthImages(args.fresh, size))
        if len(self.fresh) < max(args.count, args.robustness_count):
            raise ProxymaskError(f"--fresh {args.fresh} has {len(self.fresh)} pictures: give more, or lower --count and --robustness-count")
        for run in args.add:
            mapper, about = load_mapper(run / "mapper"), read_json(run / "condition.json")
            self.put(mapper, about, run)
        assert self.synth.bundle.labels is not None
        self.names = self.synth.bundle.labels.names

    def put(self, mapper: Mapper, about: dict[str, Any], run: Path) -> None:
        """Let the bundle use ``mapper`` for its condition, with the extractor that its ``run`` keeps."""
        mapper.to(self.synth.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        bundle, name = self.synth.bundle, str(about["condition"])
        bundle.remove_mapper(name)
        bundle.mappers[name], bundle.conditions[name] = mapper, about
        extractor = load_extractor(run)
        if extractor is not None:
            bundle.extractors[name] = extractor

    def planes(self, mapper: str, kind: Condition, index: list[int]) -> torch.Tensor:
        """The condition without augmentation of fresh pictures."""
        if kind.name == "depth" and (self.args.fresh / "depth").is_dir():
            from proxymask.conditions.depth import stretch_range

            size = height_width(self.synth.bundle.input_size(kind.name, mapper))
            return stretch_range(self.depth_images(size[0]).depths(index)[:, None])
        rng = torch.Generator().manual_seed(index[0])
        return self.synth.extract_condition(kind, self.fresh.images(index), self.fresh.masks(index), rng, mapper)

    def kind(self, mapper: str) -> Condition:
        about = self.synth.bundle.condition_of(mapper)
        kind = self.synth.condition(about["condition"], weights=self.args.weights if about.get("extractor") else None, mapper=mapper)
        if isinstance(kind, ScribbleCondition):
            kind.covered = COVERED
        return kind

    @torch.inference_mode()
    def score(self, mapper: str, kind: Condition, count: int, change: Change | None = None) -> dict[str, Any]:
        """Judged agreement of pictures with the truth, each in a style of its own."""
        synth, matrix = self.synth, ConfusionMatrix(len(self.names))
        for start in range(0, count, BATCH):
            index = list(range(start, min(start + BATCH, count)))
            planes = self.planes(mapper, kind, index)
            if change is not None:
                planes = change(planes, torch.Generator().manual_seed(start))
            logits = synth.map_planes(planes, mapper)
            style = synth.encode_styles(synth.w([self.args.seed + i for i in index]))
            painted = mask_inputs(self.fresh.masks(index), mapper) if kind.name == "mask" else ()
            pictures = synth.render(synth.proxy_mask(logits, style, painted), style)
            found, _ = self.judge.predict(pictures)
            matrix.update(found, self.judge.resized_masks(self.fresh.masks(index)))
        iou = {name: round(float(v), 3) for name, v in zip(self.names, matrix.iou(), strict=True)}
        return {"count": count, "miou": round(matrix.miou(), 4), "accuracy": round(matrix.pixel_accuracy(), 4), "iou": iou}

    @torch.inference_mode()
    def milliseconds(self, mapper: str, kind: Condition) -> float:
        """Of one condition through the mapper, processor time (with OMP_NUM_THREADS=1), lower quartile of 200: machines have neighbours."""
        planes, times = self.planes(mapper, kind, [0]), []
        for _ in range(200):
            began = time.process_time()
            self.synth.map_planes(planes, mapper)
            times.append(time.process_time() - began)
        return round(1000 * sorted(times)[len(times) // 4], 2)


def tables(kind: Condition) -> dict[str, dict[str, Change]]:
    """What is done to a condition in the robustness tables."""

    def thick(pixels: int) -> Change:
        return lambda planes, rng: by_hand.thicken(planes, torch.full((len(planes), 1, 1, 1), float(pixels)))

    def without(share: float) -> Change:
        return lambda planes, rng: by_hand.remove(planes, torch.full((len(planes), 1, 1, 1), share), rng)

    def moved(pixels: float) -> Change:
        mode = "nearest" if kind.needs_labels else "bilinear"
        return lambda planes, rng: by_hand.jitter(planes, torch.full((len(planes), 1, 1, 1), pixels), rng, mode)

    out = {
        "removed": {f"{share:.0%}": without(share) for share in (0.0, 0.1, 0.2, 0.4, 0.6)},
        "jitter_px": {f"{px}": moved(px) for px in (0.0, 0.5, 1.0, 2.0, 3.0)},
    }
    return out if kind.name == "depth" else {"wider_px": {f"{px}": thick(px) for px in (0, 1, 2, 3, 4)}, **out}


def measure(args: Conditions) -> dict[str, Any]:
    """All numbers of a bundle's mappers; those that are in ``args.out`` already are kept."""
    m = Measure(args)
    bundle = m.synth.bundle
    about = {"bundle": args.bundle, "fresh": m.fresh.fingerprint[:16], "judge": m.judge.digest[:16], "seed": args.seed, "count": args.count}
    about |= {"robustness_count": args.robustness_count, "networks": short_hash(bundle.rearranger)}
    earlier = read_json(args.out) if args.out.is_file() else {}
    known = earlier["mappers"] if all(earlier.get(key) == value for key, value in about.items()) else {}
    out: dict[str, Any] = {**about, "mappers": {}}
    reference = None
    if "mask" in bundle.mappers:
        reference = m.score("mask", m.kind("mask"), args.count)
        out["mask"] = reference | {"milliseconds": m.milliseconds("mask", m.kind("mask"))}
        print(f"mask: {json.dumps(out['mask'])}", flush=True)
    for name in args.only or [name for name in sorted(bundle.mappers) if name in bundle.conditions]:
        kind, weights = m.kind(name), short_hash(bundle.mappers[name])
        if known.get(name, {}).get("weights") == weights:
            out["mappers"][name] = known[name]
            continue
        found = m.score(name, kind, args.count)
        if reference is not None:
            found["share_of_mask"] = round(found["miou"] / reference["miou"], 3)
        # the score for an empty condition: faces in one frame are alike, so the mapper reaches this without any input
        found["miou_of_nothing"] = m.score(name, kind, args.robustness_count, lambda planes, rng: torch.zeros_like(planes))["miou"]
        found["milliseconds"] = m.milliseconds(name, kind)
        found["robustness"] = {
            title: {step: m.score(name, kind, args.robustness_count, change)["miou"] for step, change in row.items()}
            for title, row in tables(kind).items()
        }
        out["mappers"][name] = bundle.condition_of(name) | {"weights": weights} | found
        output.write(args.out, out)
        print(f"{name}: {json.dumps(out['mappers'][name])}", flush=True)
    return out


def curve(args: Conditions, run: Path) -> dict[str, Any]:
    """Quality against time of one training run."""
    m = Measure(args)
    about = read_json(run / "condition.json")
    name = str(about["condition"])
    points = []
    for folder in checkpoints(run):
        step = read_json(folder / "state.json")["step"]
        at = averaged(UNetMapper, "mapper", run, folder)
        assert isinstance(at, UNetMapper)
        m.put(at, about, run)
        found = m.score(name, m.kind(name), args.count)
        points.append({"step": step, "seconds": seconds_at(run, step), "miou": found["miou"], "accuracy": found["accuracy"]})
        print(json.dumps(points[-1]), flush=True)
    return {"condition": about, "count": args.count, "mask": m.score("mask", m.kind("mask"), args.count)["miou"], "points": points}


def main() -> None:
    args = tyro.cli(Conditions)
    output.prepare(args.out)
    found = measure(args) if args.run is None else curve(args, args.run)
    output.write(args.out, found)
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
