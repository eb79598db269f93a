"""Label samples of a generator with the pseudo-label network, where no hand-made labels exist: STEM.mask.png for each STEM.png.

    proxymask sample --bundle runs/stage-bundle --count 16 --out labelled
    python benchmarks/label_samples.py --generator runs/g64 --clusters runs/clusters \\
        --pseudo-labels runs/pseudo-labels --count 16 --out labelled

The samples are those most worth labelling; of them the one whose mask shows the most classes, each well, comes first, so that
``--count 1`` is the sample of a one-label model. ``--random`` takes random ones instead.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
import tyro

from proxymask.data.avatars import AVATAR_LABELS
from proxymask.imaging.labels import LabelSet
from proxymask.imaging.masks import write_mask
from proxymask.inference.samples import SampleNetworks, select_samples_to_label, write_samples
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.segmentation_nets import UNetSegmenter
from proxymask.models.split_generator import SplitGenerator
from proxymask.models.stylegan2 import Generator, seed_to_z
from proxymask.training.parts import load_part


@dataclasses.dataclass(frozen=True)
class Label:
    """Write labelled samples."""

    generator: Path
    """The generator."""
    clusters: Path
    """Its clusters."""
    pseudo_labels: Path
    """The pseudo-label network (benchmarks/segmentation_nets.py)."""
    out: Path
    """Folder for samples and masks."""
    labels: Path | None = None
    """Folder with the labels.json of the network's classes (the data that it learned from); those of avatars if not given."""
    count: int = 16
    """How many."""
    candidates: int = 512
    """Out of how many."""
    first: int | None = None
    """Seed of the first sample, chosen by eye; else the one whose mask shows the most classes at their usual size."""
    random: bool = False
    """Take the first seeds instead of choosing."""
    seed: int = 5_000_000
    """First seed of the candidates."""


@torch.no_grad()
def pseudo_label_masks(generator: Generator, net: UNetSegmenter, seeds: list[int]) -> np.ndarray:
    """Pseudo-labels of the samples with these seeds: masks (n, R, R) uint8."""
    out = []
    for start in range(0, len(seeds), 32):
        picture = generator(seed_to_z(seeds[start : start + 32], generator.z_dim)).clamp(-1, 1)
        out.append(net(picture).argmax(dim=1).to(torch.uint8).numpy())
    return np.concatenate(out)


def richness(mask: np.ndarray, usual: np.ndarray) -> float:
    """How well a mask shows all classes: the sum of min(1, pixels / usual pixels) over them."""
    counts = np.bincount(mask.ravel(), minlength=len(usual))
    return float(np.minimum(1, counts / np.maximum(usual, 1)).sum())


def main() -> None:
    args = tyro.cli(Label)
    generator = load_part(args.generator, "generator", Generator)
    clusters = load_part(args.clusters, "clusters", ProxyClusters)
    net = UNetSegmenter.from_pretrained(args.pseudo_labels)
    split = SplitGenerator(generator, clusters.resolution)
    labels = AVATAR_LABELS if args.labels is None else LabelSet.load(args.labels / "labels.json")
    if args.random:
        seeds = list(range(args.seed, args.seed + args.count))
    else:
        candidates = list(range(args.seed, args.seed + args.candidates))
        masks = pseudo_label_masks(generator, net, candidates)
        per_mask = np.stack([np.bincount(mask.ravel(), minlength=len(labels)) for mask in masks])
        usual = np.array([np.median(column[column > 0]) if (column > 0).any() else 0 for column in per_mask.T])
        scores = [richness(mask, usual) for mask in masks]
        first = candidates[int(np.argmax(scores))] if args.first is None else args.first
        rest = [s for s in select_samples_to_label(split, clusters, args.count, args.candidates, args.seed) if s != first]
        seeds = [first, *rest][: args.count]
    masks = pseudo_label_masks(generator, net, seeds)
    write_samples(SampleNetworks(split, clusters), seeds, args.out, with_proxy=True)
    for index, mask in enumerate(masks):
        write_mask(args.out / f"{index:06d}.mask.png", mask, labels)
    labels.save(args.out / "labels.json")
    shown = [sorted(labels.names[i] for i in np.unique(mask)) for mask in masks]
    print(json.dumps({"seeds": seeds, "classes": [len(s) for s in shown]}))


if __name__ == "__main__":
    main()
