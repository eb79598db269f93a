"""Short trainings of the rearranger that differ in one choice each, on one generator, in one run.

    python benchmarks/rearranger_choices.py --generator RUN --judge JUDGE --steps 100 --only base rgb-keep rgb-drop

What a row means: agreement (share of positions whose nearest centroid is the asked one, mask of another sample, where the
style has the cluster), PSNR of a mirrored-in-training sample under its own mask, and the feature distance of pictures with
another sample's mask to the frozen generator's own samples, on the judge's features.
"""

import dataclasses
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import tyro
from ablations.losses import PAPER

from proxymask.device import autocast, resolve_device, resolve_precision
from proxymask.generators.cut import CutGenerator
from proxymask.generators.stylegan2 import Discriminator, Generator, seed_to_z
from proxymask.metrics.agreement import mask_agreement, psnr
from proxymask.metrics.frechet import FeatureStats, frechet_distance
from proxymask.segmentation_nets import DilatedSegmenter
from proxymask.stages import build_rearranger, cluster_features
from proxymask.training.grids import tile, to_uint8
from proxymask.training.loop import train
from proxymask.training.presets import PRESETS

CHOICES: dict[str, dict[str, Any]] = {
    "untrained": {},
    "base": {},
    "rgb-keep": {"rgb": "keep"},
    "rgb-drop": {"rgb": "drop"},
    "value-projection": {"value": "projection"},
    "keys-features-only": {"key_mask": False},
    "random-start": {"init": "random"},
    "random-start-paper": {"init": "random", "key_mask": False, "value": "projection", "overlap": True},
    "tau-0.05": {"temperature": 0.05},
    "tau-0.3": {"temperature": 0.3},
    "self-features-only": {"self_picture": 0.0},
    "self-perceptual": {"self_perceptual": 1.0},
    "no-self": {"lambda_self": 0.0},
    "no-mask": {"lambda_mask": 0.0},
    "no-adv": {"lambda_adv": 0.0},
    "mask-absent": {"mask_absent": True},
    "no-flip": {"flip": False},
}


@dataclasses.dataclass(frozen=True)
class Choices:
    """Compare choices of the rearranger."""

    generator: Path
    """Folder with generator/ and discriminator/."""
    judge: Path
    """Folder of the judge, for the feature distance."""
    steps: int = 100
    """Steps of each training."""
    count: int = 500
    """Samples for the numbers."""
    only: tuple[str, ...] = ()
    """Some of the choices; all where none is named."""
    clusters: int = 25
    """K."""
    seed: int = 0
    """Seed of all of them."""
    sheets: Path | None = None
    """Folder for a picture sheet a choice."""
    out: Path = Path("choices.jsonl")
    """One line a choice is appended here."""


@torch.inference_mode()
def numbers(
    cut: CutGenerator, clusters: Any, rearranger: Any, judge: DilatedSegmenter, args: Choices, sheet: Path | None
) -> dict[str, Any]:
    device = next(cut.parameters()).device
    dtype = resolve_precision("auto", device)
    total, quality, moved_features, own_features = None, [], [], []
    for start in range(0, args.count, 20):
        with autocast(device, dtype):
            w = cut.w(seed_to_z(range(2_000_000 + start, 2_000_020 + start), cut.generator.z_dim).to(device))
            state = cut.features(w)
            own = clusters.assign(state.features)
            other = own.roll(1, dims=0)
            same, moved = rearranger(state, clusters.one_hot(own)), rearranger(state, clusters.one_hot(other))
            picture, again, crossed = (cut.render(s, w).float().clamp(-1, 1) for s in (state, same, moved))
            own_features.append(judge.features(picture))
            moved_features.append(judge.features(crossed))
        part = mask_agreement(moved.features, other, own, clusters)
        total = part if total is None else total + part
        quality.append(psnr(again, picture))
        if start == 0 and sheet is not None:
            tile([to_uint8(x[:12]) for x in (picture, picture.roll(1, dims=0), crossed)], 2).save(sheet)
    assert total is not None
    stats = [FeatureStats(x[0].shape[1]).add(torch.cat(x)) for x in (moved_features, own_features)]
    return {
        "present": round(total.present, 3),
        "absent": round(total.absent, 3),
        "self_psnr": round(float(torch.cat(quality).mean()), 2),
        "distance": round(frechet_distance(*stats), 3),
    }


def main() -> None:
    args = tyro.cli(Choices)
    device = resolve_device("auto")
    preset = PRESETS["demo"]
    generator = Generator.from_pretrained(args.generator / "generator").to(device)
    judge = DilatedSegmenter.from_pretrained(args.judge).to(device)
    cut = CutGenerator(generator, preset.cut_for(generator.resolution))
    clusters = cluster_features(cut, args.clusters, preset.cluster_samples, args.seed, device).to(device)
    for name in args.only or tuple(CHOICES):
        config = dataclasses.replace(preset.rearranger, **{**PAPER, **CHOICES[name]})
        discriminator = Discriminator.from_pretrained(args.generator / "discriminator")
        stage = build_rearranger(config, cut, clusters, discriminator, None, args.steps, args.seed, device)
        began, rearranger = time.time(), stage.rearranger
        if name != "untrained":
            loop = dataclasses.replace(
                preset.rearranger_loop,
                steps=args.steps,
                seed=args.seed,
                checkpoint_every=10**9,
                grid_every=0,
                ema_samples=2000,
                tensorboard=False,
            )
            folder = Path(tempfile.mkdtemp())
            rearranger = train(stage, loop, folder).averages["rearranger"]
            shutil.rmtree(folder)
        rearranger = rearranger.to(device).eval()
        sheet = None
        if args.sheets is not None:
            args.sheets.mkdir(parents=True, exist_ok=True)
            sheet = args.sheets / f"{name}.png"
        row = {"choice": name, "steps": args.steps, "clusters": args.clusters, "count": args.count}
        row |= numbers(cut, clusters, rearranger, judge, args, sheet) | {"seconds": round(time.time() - began)}
        print(json.dumps(row), flush=True)
        with args.out.open("a") as handle:
            handle.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
