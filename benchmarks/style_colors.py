"""Does the style's own colour survive, for dark and for light styles alike?

    python style_colors.py --labels skin top clothes --masks fresh --out ../docs/results/style-colors-avatars.json

Samples are drawn; the bundle's segmenter reads their labels. Pairs of a style and a mask are drawn at random and painted: the mask in the
style, by the mapper; the style's own mask in the style; and the proxy mask of another sample in the style, without a mapper. The masks are
those of a data set of exact masks, or, without one, what the segmenter reads in other samples: its mistakes depend on the colours of
these, and a mapper can learn to see them.

For each label the styles are split into five groups of the same size by the lightness (CIE Lab, L of 0 to 100) of the label in the style
sample. Reported for each group and each of the three: how much lighter the label is in the picture than in the style (mean), and how far
its colour is from the style's (median, CIE76). Then the slope of the picture's lightness over that of the style, by least squares: 1 where
it survives, 0 where every style gives the same.

A region is that of the mask that was painted, also where the picture does not follow it.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import tyro
from label_colors import label_colors, to_lab

from proxymask.data.dataset import ImageSet
from proxymask.inference.synthesizer import Synthesizer

WAYS = ("own mask", "mask", "proxy mask")
GROUPS = 5
BATCH = 20


@dataclasses.dataclass(frozen=True)
class StyleColors:
    """Print a table for each label and write the numbers."""

    labels: tuple[str, ...]
    """Labels whose colours are compared."""
    bundle: str = "avatars"
    """A bundle with a segmenter and a mapper of masks."""
    masks: Path | None = None
    """A data set with exact masks (proxymask data); without it, masks are what the segmenter reads in samples."""
    mapper: str = "mask"
    """Which mapper of masks."""
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


def samples(synth: Synthesizer, seeds: list[int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Colours of the labels (S, N, 3) and masks (S, H, W) of samples, as the segmenter reads them."""
    colors, masks = [], []
    for start in range(0, len(seeds), BATCH):
        pictures, _, read = synth.sample(synth.w(seeds[start : start + BATCH]))
        if read is None:
            raise SystemExit("the bundle has no segmenter: take one that fit made with labels")
        ids = read.cpu().numpy().astype(np.uint8)
        colors.append(label_colors(to_lab(pictures), ids, count))
        masks.append(ids)
    return np.concatenate(colors), np.concatenate(masks)


def exact_masks(path: Path, synth: Synthesizer, count: int) -> np.ndarray:
    """Masks (count, H, W) of a data set; they start again where it has fewer."""
    data = ImageSet.open(path, synth.size)
    if data.labels is None or synth.labels is None or tuple(data.labels.names) != tuple(synth.labels.names):
        raise SystemExit(f"{path} has not the labels of the bundle: draw a data set of its domain (proxymask data)")
    return data.masks([i % len(data) for i in range(count)]).numpy().astype(np.uint8)


def painted(
    synth: Synthesizer, mapper: str, seeds: list[int], read: np.ndarray, masks: np.ndarray, pairs: np.ndarray, count: int
) -> Mapping[str, np.ndarray]:
    """Colours of the labels (P, N, 3) in the pictures of all pairs (style, layout), by way.

    Args:
        read: (S, H, W), masks of the samples.
        masks: (S, H, W), masks to paint.
    """
    found: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
    for style, layout in pairs:
        made = synth.make_style(seeds[style])
        given = [read[style], masks[layout]]
        both = synth(given, made, mapper=mapper, output_type="tensor")
        moved = picture_tensor(np.asarray(synth.transfer(seeds[layout], made).picture))
        colors = label_colors(to_lab(torch.cat([both.cpu(), moved])), np.stack([*given, read[layout]]), count)
        for way, color in zip(WAYS, colors, strict=True):
            found[way].append(color)
    return {way: np.stack(colors) for way, colors in found.items()}


def of_label(style: np.ndarray, pictures: Mapping[str, np.ndarray]) -> dict[str, object]:
    """The groups and the slopes of one label; ``style`` (P, 3) and each of ``pictures`` (P, 3), NaN where the label is missing."""
    there = ~np.isnan(style[:, 0])
    for colors in pictures.values():
        there &= ~np.isnan(colors[:, 0])
    order = np.argsort(style[there, 0], kind="stable")
    own = style[there][order]
    sorted_by_style = {way: colors[there][order] for way, colors in pictures.items()}
    groups: list[dict[str, object]] = []
    for part in np.array_split(np.arange(len(own)), GROUPS):
        row: dict[str, object] = {"count": len(part), "lightness": float(own[part, 0].mean())}
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
    synth = Synthesizer.from_pretrained(args.bundle, device=args.device)
    names = list(synth.config.labels)
    unknown = [name for name in args.labels if name not in names]
    if unknown:
        raise SystemExit(f"{args.bundle} has no label {', '.join(unknown)}: it has {', '.join(names)}")
    seeds = [200_000 + args.seed * args.samples + i for i in range(args.samples)]
    colors, read = samples(synth, seeds, len(names))
    masks = read if args.masks is None else exact_masks(args.masks, synth, args.samples)
    rng = np.random.default_rng(args.seed)
    pairs = np.array([rng.choice(args.samples, 2, replace=False) for _ in range(args.pairs)])
    pictures = painted(synth, args.mapper, seeds, read, masks, pairs, len(names))
    stored: dict[str, object] = {}
    for name in args.labels:
        label = names.index(name)
        stored[name] = found = of_label(colors[pairs[:, 0], label], {way: got[:, label] for way, got in pictures.items()})
        print(f"{name}: slope " + ", ".join(f"{slope:.2f} ({way})" for way, slope in found["slope"].items()))  # type: ignore[attr-defined]
        for row in found["groups"]:  # type: ignore[attr-defined]
            cells = [f"{way}: {row[way]['lighter']:+.1f}, distance {row[way]['distance']:.1f}" for way in WAYS]
            print(f"  L {row['lightness']:5.1f} ({row['count']} pairs)  " + "; ".join(cells))
    if args.out is not None:
        about = {
            "bundle": Path(args.bundle).name,
            "mapper": args.mapper,
            "exact masks": args.masks is not None,
            "samples": args.samples,
            "pairs": args.pairs,
            "seed": args.seed,
        }
        args.out.write_text(json.dumps({**about, "labels": stored}, indent=1) + "\n")


if __name__ == "__main__":
    main()
