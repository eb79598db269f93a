"""Detail networks, on against off: the same masks or other conditions, the same styles, every other weight the same.

    python benchmarks/details.py --masks fresh --real data/avatars128 [--mapper NAME] [--count 2000] [--judge FOLDER ...] [--out F.json]
        [--sheet F.png]

``--masks`` is a data set with exact masks, which nothing was trained on; ``--real`` one of pictures, for the distance (without it the
pictures of ``--masks``). A mapper of another condition gets it made of these masks (scribbles over 5 % of the pixels) or of their pictures
(sketch, edges); the pictures are still compared with the masks. Each judge, by default the shipped ones, reads both versions of every
picture. Printed are mIoU, the IoU of each label, the boundary F-score at 1 and 2 pixels, and the Frechet distance of the judge's
features to those of the real pictures. The time of a picture is measured by ``speed.py``. The sheet has rows of mask, picture without,
and picture with the detail network, those masks first whose label picture changed most.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import output
import torch
from PIL import Image

from proxymask.conditions.scribble import COVERED, ScribbleCondition
from proxymask.data.dataset import ImageSet
from proxymask.evaluation.judge import Judge, judge_names, shipped_judges
from proxymask.imaging.masks import colorize
from proxymask.inference.detail_inputs import DetailInput
from proxymask.inference.synthesizer import Synthesizer
from proxymask.metrics.frechet import FeatureStats, frechet_distance
from proxymask.metrics.segmentation import SegmentationScore

BATCH, FIRST_STYLE, SHOWN = 8, 40_000_000, 12


class Readings:
    """What one judge finds in the pictures of one version."""

    def __init__(self, judge: Judge, names: list[str]) -> None:
        self.judge, self.score = judge, SegmentationScore(names)
        self.features: FeatureStats | None = None

    def add(self, pictures: torch.Tensor, masks: torch.Tensor | None) -> None:
        """Read pictures (B, 3, H, W) that were made from masks (B, H, W)."""
        ids, features = self.judge.predict(pictures)
        self.features = (self.features or FeatureStats(features.shape[1])).add(features)
        if masks is not None:
            self.score.update(ids, self.judge.resized_masks(masks))


class Given:
    """The condition that a mapper reads, made of exact masks or of their pictures."""

    def __init__(self, synth: Synthesizer, mapper: str) -> None:
        self.synth, self.mapper = synth, mapper
        about = synth.bundle.condition_of(mapper)
        self.kind = None if about["condition"] == "mask" else synth.condition(about["condition"], mapper=mapper)
        if isinstance(self.kind, ScribbleCondition):
            self.kind.covered = COVERED

    def of(self, data: ImageSet, index: Sequence[int]) -> torch.Tensor:
        """Label ids (B, H, W), or planes (B, P, H, W), of samples of ``data``."""
        return self.of_pictures(data.images(index), data.masks(index), index[0])

    def of_pictures(self, pictures: torch.Tensor, masks: torch.Tensor, seed: int) -> torch.Tensor:
        """The same of pictures (B, 3, H, W) and their label ids (B, H, W)."""
        if self.kind is None:
            return masks
        return self.synth.extract_condition(self.kind, pictures, masks, torch.Generator().manual_seed(seed), self.mapper)

    def logits(self, given: torch.Tensor) -> torch.Tensor:
        """The mapper's output for what :meth:`of` made."""
        return self.synth.map(given, self.mapper) if self.kind is None else self.synth.map_planes(given, self.mapper)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="avatars")
    parser.add_argument("--mapper", default="mask")
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--judge", type=Path, nargs="*")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    output.prepare(args.out)
    synth = Synthesizer.from_pretrained(args.bundle)
    labels = synth.bundle.labels
    assert labels is not None
    if args.mapper not in synth.bundle.details:
        parser.error(f"{args.bundle} has no detail network for {args.mapper}")
    folders = args.judge or shipped_judges(labels)
    judges = {name: Judge.load(folder) for name, folder in zip(judge_names(folders), folders, strict=True)}
    condition = Given(synth, args.mapper)
    data = ImageSet.open(args.masks, synth.bundle.resolution)
    real = data if args.real is None else ImageSet.open(args.real, synth.bundle.resolution)
    count = min(args.count, len(data))
    found = {name: {kind: Readings(judge, labels.names) for kind in ("off", "on", "generator", "real")} for name, judge in judges.items()}
    kept: list[tuple[float, np.ndarray]] = []
    for start in range(0, count, BATCH):
        index = range(start, min(start + BATCH, count))
        masks = data.masks(index)
        w = synth.w([FIRST_STYLE + number for number in index])
        style = synth.encode_styles(w)
        given = condition.of(data, index)
        inputs = (DetailInput(args.mapper, given),)
        proxy = synth.proxy_mask(condition.logits(given), style, inputs)
        made = {
            "off": synth.render(proxy, style),
            "on": synth.render(proxy, style, inputs),
            "generator": synth.render_state(style.state, w),
        }
        for readings in found.values():
            for kind, pictures in made.items():
                readings[kind].add(pictures, None if kind == "generator" else masks)
            readings["real"].add(real.images([number % len(real) for number in index]), None)
        if args.sheet is not None:
            changed = (made["on"] - made["off"]).abs().mean(dim=(1, 2, 3)).tolist()
            columns = [colorize(mask.numpy().astype(np.uint8), labels) for mask in masks]
            pixels = {kind: ((made[kind].permute(0, 2, 3, 1) + 1) * 127.5).round().to(torch.uint8).numpy() for kind in ("off", "on")}
            kept += [
                (c, np.concatenate([m, pixels["off"][i], pixels["on"][i]])) for i, (c, m) in enumerate(zip(changed, columns, strict=True))
            ]
            kept = sorted(kept, key=lambda pair: -pair[0])[:SHOWN]
    result: dict[str, Any] = {"bundle": synth.bundle.name, "mapper": args.mapper, "count": count, "judges": {}}
    for name, readings in found.items():
        reference = readings["real"].features
        assert reference is not None
        rows = {kind: readings[kind].score.summary() for kind in ("off", "on")}
        stats = {kind: readings[kind].features for kind in ("off", "on", "generator")}
        distances = {kind: frechet_distance(of, reference) for kind, of in stats.items() if of is not None}
        result["judges"][name] = {kind: {**rows[kind], "distance": distances[kind]} for kind in rows} | {
            "generator": distances["generator"]
        }
        print(f"judge {name}, {count} masks{'':<8}{'off':>8}{'on':>8}{'change':>9}")
        for what in ("miou", "accuracy", "boundary_f_1px", "boundary_f_2px"):
            print(f"  {what:<26}{rows['off'][what]:8.3f}{rows['on'][what]:8.3f}{rows['on'][what] - rows['off'][what]:+9.3f}")
        for label in labels.names:
            off, on = rows["off"]["iou"][label], rows["on"]["iou"][label]
            print(f"  IoU {label:<22}{off:8.3f}{on:8.3f}{on - off:+9.3f}")
        print(f"  {'distance':<26}{distances['off']:8.2f}{distances['on']:8.2f}   the generator's own {distances['generator']:.2f}")
    output.write(args.out, json.loads(json.dumps(result, default=float)))
    if args.sheet is not None:
        big = Image.fromarray(np.concatenate([column for _, column in kept], axis=1))
        scale = max(1, 192 // synth.bundle.resolution)
        big.resize((big.width * scale, big.height * scale), Image.Resampling.NEAREST).save(args.sheet)


if __name__ == "__main__":
    main()
