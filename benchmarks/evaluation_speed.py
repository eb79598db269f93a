"""How long ``proxymask evaluate`` takes for 2,000 pictures at 128 pixels.

    python benchmarks/evaluation_speed.py --count 2000 --cut 64 --out docs/results/evaluation-speed.json

The bundle has the sizes of ``benchmarks/gpu/avatars128.json`` and random weights: what is measured is time alone. The reference
pictures are drawn first, and that is not counted.
"""

import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path

import output
import torch
import tyro

from proxymask.data.avatars import AVATAR_LABELS
from proxymask.data.dataset import ImageSet
from proxymask.data.drawn_dataset import make_dataset
from proxymask.evaluation import EvaluationConfig, evaluate
from proxymask.inference.bundle import Bundle
from proxymask.models.oasis_mapper import OasisMapper
from proxymask.models.rearranger import Rearranger
from proxymask.models.split_generator import SplitGenerator
from proxymask.training.presets import load_preset
from proxymask.training.stages.clusters import cluster_features
from proxymask.training.stages.generator import new_generator

PRESET = Path(__file__).parent / "gpu" / "avatars128.json"


@dataclasses.dataclass(frozen=True)
class Speed:
    """Time an evaluation."""

    count: int = 2000
    """Pictures of each kind."""
    cut: int = 64
    """Side of the features at the cut."""
    real: int = 500
    """Real pictures that are drawn for the reference."""
    out: Path | None = None
    """Also write the numbers here."""


def random_bundle(folder: Path, cut: int) -> Path:
    """A bundle of 128 pixels whose networks have never learnt anything."""
    preset = load_preset(str(PRESET))
    generator = new_generator(preset.generator, 128, 0).eval().requires_grad_(False)
    half = SplitGenerator(generator, cut)
    clusters = cluster_features(half, preset.num_clusters, 16, 0, torch.device("cpu"))
    torch.manual_seed(0)
    recipe = preset.rearranger
    rearranger = Rearranger(half.channels, cut, preset.num_clusters, position_channels=recipe.position_channels, hidden=recipe.hidden)
    rearranger.initialize(clusters.centroids, 1.0)
    mapper = OasisMapper(len(AVATAR_LABELS), preset.num_clusters, cut, widths=tuple(preset.mapper.widths), hidden=preset.mapper.hidden)
    about = {"proxy_mask_mode": "hard"}
    return Bundle(generator, cut, clusters, rearranger.eval(), AVATAR_LABELS, None, {"mask": mapper.eval()}, "random-128", about).save(
        folder
    )


def main() -> None:
    args = tyro.cli(Speed)
    output.prepare(args.out)
    with tempfile.TemporaryDirectory() as folder:
        bundle = random_bundle(Path(folder) / "bundle", args.cut)
        make_dataset(Path(folder) / "real", "avatars", args.real, 128, 77, "head", None, None)
        ImageSet.open(Path(folder) / "real", 128)
        began, cpu = time.time(), time.process_time()
        evaluate(EvaluationConfig(bundle=str(bundle), data=Path(folder) / "real", out=Path(folder) / "out", count=args.count))
    row = {
        "count": args.count,
        "resolution": 128,
        "cut": args.cut,
        "seconds": round(time.time() - began),
        "processor_seconds": round(time.process_time() - cpu),
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)),
    }
    print(json.dumps(row))
    output.write(args.out, row)


if __name__ == "__main__":
    main()
