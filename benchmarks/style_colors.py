"""Does the style's own colour survive, for dark and for light styles alike?

    python style_colors.py --labels skin top clothes --masks fresh --out ../docs/results/style-colors-avatars.json

Samples are drawn; the bundle's segmenter reads their labels. Pairs of a style and an input (a mask, or what another mapper reads) are drawn
at random and painted: the input in the style, by the mapper; that of the style's own sample in the style; and the proxy mask of another
sample in the style, without a mapper. Inputs are made of a data set with exact masks, or, without one, of what the segmenter reads in other
samples: its mistakes depend on the colours of these, and a mapper can learn to see them.

For each label the styles are split into five groups of the same size by the lightness (CIE Lab, L of 0 to 100) of the label in the style
sample. Reported for each group and each of the three: how much lighter the label is in the picture than in the style (mean), and how far
its colour is from the style's (median, CIE76). Then the slope of the picture's lightness over that of the style, by least squares: 1 where
it survives, 0 where every style gives the same.

A region is that of the mask that was painted, also where the picture does not follow it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import output
import torch
import tyro
from details import Given
from label_colors import label_colors, to_lab

from proxymask.data.dataset import ImageSet
from proxymask.inference.detail_inputs import DetailInput
from proxymask.inference.style import Style
from proxymask.inference.synthesizer import Synthesizer

WAYS = ("own input", "input", "proxy mask")
GROUPS = 5


@dataclasses.dataclass(frozen=True)
class StyleColors:
    """Print a table for each label and write the numbers."""

    labels: tuple[str, ...]
    """Labels whose colours are compared."""
    bundle: str = "avatars"
    """A bundle with a segmenter and a mapper."""
    masks: Path | None = None
    """A data set with exact masks (proxymask data); without it, masks are what the segmenter reads in samples."""
    mapper: str = "mask"
    """Which mapper."""
    samples: int = 400
    """Samples: they are the styles and the layouts."""
    pairs: int = 800
    """Pairs of a style and a layout."""
    seed: int = 0
    """Seed of the pairs; the samples are others too."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda or mps."""
    out: Path | None = None
    """JSON file for the numbers."""


def picture_tensor(pixels: np.ndarray) -> torch.Tensor:
    """A picture (H, W, 3) uint8 as (1, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


class Layouts:
    """Pictures (B, 3, H, W) in [-1, 1] and masks (B, H, W) by number: the generator's samples, or a data set."""

    def __init__(self, synth: Synthesizer, seeds: Sequence[int], data: ImageSet | None = None) -> None:
        self.synth, self.seeds, self.data = synth, seeds, data

    def of(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One picture and its mask."""
        if self.data is not None:
            index = [number % len(self.data)]
            return self.data.images(index), self.data.masks(index)
        pictures, _, labels = self.synth.sample(self.synth.w([self.seeds[number]]))
        if labels is None:
            raise SystemExit("the bundle has no segmenter: take one that fit made with labels")
        return pictures, labels


def exact_masks(path: Path, synth: Synthesizer) -> ImageSet:
    """A data set with the labels of the bundle."""
    data = ImageSet.open(path, synth.size)
    if data.labels is None or synth.labels is None or tuple(data.labels.names) != tuple(synth.labels.names):
        raise SystemExit(f"{path} has not the labels of the bundle: draw a data set of its domain (proxymask data)")
    return data


def paint(condition: Given, pictures: torch.Tensor, masks: torch.Tensor, style: Style) -> torch.Tensor:
    """The picture (1, 3, H, W), in a style, of the input that the mapper reads of a picture or its mask."""
    synth = condition.synth
    given = condition.of_pictures(pictures.cpu(), masks.cpu(), 0)
    painted = (DetailInput(condition.mapper, given),)
    return synth.render(synth.proxy_mask(condition.logits(given), style, painted), style, painted).cpu()


def of_label(style: np.ndarray, pictures: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The groups and the slopes of one label; ``style`` (P, 3) and each of ``pictures`` (P, 3), NaN where the label is missing."""
    there = ~np.isnan(style[:, 0])
    for colors in pictures.values():
        there &= ~np.isnan(colors[:, 0])
    order = np.argsort(style[there, 0], kind="stable")
    own = style[there][order]
    sorted_by_style = {way: colors[there][order] for way, colors in pictures.items()}
    groups: list[dict[str, Any]] = []
    for part in np.array_split(np.arange(len(own)), GROUPS):
        row: dict[str, Any] = {"count": len(part), "lightness": float(own[part, 0].mean())}
        for way, colors in sorted_by_style.items():
            row[way] = {
                "lighter": float((colors[part, 0] - own[part, 0]).mean()),
                "distance": float(np.median(np.linalg.norm(colors[part] - own[part], axis=1))),
            }
        groups.append(row)
    slopes = {way: float(np.polyfit(own[:, 0], colors[:, 0], 1)[0]) for way, colors in sorted_by_style.items()}
    return {"groups": groups, "slope": slopes}


def main() -> None:
    args = tyro.cli(StyleColors)
    output.prepare(args.out)
    synth = Synthesizer.from_pretrained(args.bundle, device=args.device)
    names = list(synth.config.labels)
    unknown = [name for name in args.labels if name not in names]
    if unknown:
        raise SystemExit(f"{args.bundle} has no label {', '.join(unknown)}: it has {', '.join(names)}")
    seeds = [200_000 + args.seed * args.samples + i for i in range(args.samples)]
    own = Layouts(synth, seeds)
    others = own if args.masks is None else Layouts(synth, seeds, exact_masks(args.masks, synth))
    rng = np.random.default_rng(args.seed)
    pairs = [rng.choice(args.samples, 2, replace=False).tolist() for _ in range(args.pairs)]
    condition = Given(synth, args.mapper)
    styles: list[np.ndarray] = []
    found: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    with torch.inference_mode():
        for at, layout in pairs:
            style, (sample, read) = synth.make_style(seeds[at]), own.of(at)
            moved = picture_tensor(np.asarray(synth.transfer(seeds[layout], style).picture))
            pictures = [paint(condition, sample, read, style), paint(condition, *others.of(layout), style), moved]
            masks = [read, others.of(layout)[1], own.of(layout)[1]]
            lab = to_lab(torch.cat([sample.cpu(), *pictures]))
            colors = label_colors(lab, np.concatenate([mask.cpu().numpy() for mask in (read, *masks)]), len(names))
            styles.append(colors[0])
            for way, color in zip(WAYS, colors[1:], strict=True):
                found[way].append(color)
    of_styles, of_pictures = np.stack(styles), {way: np.stack(colors) for way, colors in found.items()}
    stored: dict[str, Any] = {}
    for name in args.labels:
        label = names.index(name)
        stored[name] = of_one = of_label(of_styles[:, label], {way: got[:, label] for way, got in of_pictures.items()})
        print(f"{name}: slope " + ", ".join(f"{slope:.2f} ({way})" for way, slope in of_one["slope"].items()))
        for row in of_one["groups"]:
            cells = [f"{way}: {row[way]['lighter']:+.1f}, distance {row[way]['distance']:.1f}" for way in WAYS]
            print(f"  L {row['lightness']:5.1f} ({row['count']} pairs)  " + "; ".join(cells))
    about = {
        "bundle": Path(args.bundle).name,
        "mapper": args.mapper,
        "exact masks": args.masks is not None,
        "samples": args.samples,
        "pairs": args.pairs,
        "seed": args.seed,
    }
    output.write(args.out, {**about, "labels": stored})


if __name__ == "__main__":
    main()
