"""What proxy clusters can hold: the mIoU that is left when every cluster takes the label that most of its pixels have.

    python benchmarks/cluster_ceiling.py --generator avatars --judge src/proxymask/judges/avatars --cuts 16 32
    python benchmarks/cluster_ceiling.py --generator runs/g128 --judge src/proxymask/judges/avatars --cuts 32 64

Cut and K are chosen with it before a rearranger is trained. Two numbers: with the majority label of each sample, which is what a style
sample and its own mask can hold, and with one label a cluster over all samples, which is what a mapper finds easy. The labels are those
that a judge reads off the samples, at the judge's size; proxy masks are brought to it by nearest neighbour.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import output
import torch
import torch.nn.functional as F
import tyro
from gpu.start import start_networks

from proxymask.core.device import resolve_device
from proxymask.evaluation.judge import Judge
from proxymask.metrics.segmentation import ConfusionMatrix
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.split_generator import SplitGenerator
from proxymask.models.stylegan2 import Generator, seed_to_z
from proxymask.training.stages.clusters import cluster_features

BATCH = 8
FIRST_SEED = 9_000_000


@dataclasses.dataclass(frozen=True)
class Ceiling:
    """Print a table, one line a cut and K."""

    generator: Path
    """The generator: a run, also one that is still training, a saved network, or a bundle or its name."""
    judge: Path
    """The judge (proxymask train judge), whose labels count as right."""
    cuts: tuple[int, ...] = (32, 64)
    """Cuts, sides of the features."""
    clusters: tuple[int, ...] = (25, 50, 100)
    """K."""
    samples: int = 200
    """Samples that are scored."""
    fitted: int = 256
    """Others that are clustered."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda or mps."""
    out: Path | None = None
    """JSON file for the numbers."""


def counts_of(proxy: torch.Tensor, labels: torch.Tensor, num_clusters: int, num_labels: int) -> torch.Tensor:
    """Pixels of each cluster with each label, (B, K, N), of proxy masks and labels (B, H, W)."""
    pairs = F.one_hot(proxy.flatten(1) * num_labels + labels.flatten(1), num_clusters * num_labels)
    return pairs.sum(dim=1).view(len(proxy), num_clusters, num_labels)


@torch.no_grad()
def labelled_samples(generator: Generator, judge: Judge, count: int, device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Latents w (B, w_dim) of samples and the labels (B, H, W) that the judge reads off them."""
    for start in range(0, count, BATCH):
        w = generator.mapping(seed_to_z(range(FIRST_SEED + start, FIRST_SEED + min(start + BATCH, count)), generator.z_dim).to(device))
        picture = generator.synthesis(generator.broadcast(w)).clamp(-1, 1)
        yield w, judge.predict(picture)[0]


@torch.no_grad()
def ceiling(split: SplitGenerator, clusters: ProxyClusters, given: list[tuple[torch.Tensor, torch.Tensor]], num_labels: int) -> list[float]:
    """mIoU with the majority label of each sample, and with one label a cluster over all samples."""
    kept = []
    for w, labels in given:
        proxy = clusters.assign(split.features(w).features).cpu()
        proxy = F.interpolate(proxy[:, None].float(), size=labels.shape[1:], mode="nearest-exact")[:, 0].long()
        kept.append((proxy, labels, counts_of(proxy, labels, clusters.num_clusters, num_labels)))
    common = torch.cat([counts for *_, counts in kept]).sum(dim=0).argmax(dim=1)
    each, one = ConfusionMatrix(num_labels), ConfusionMatrix(num_labels)
    for proxy, labels, counts in kept:
        own = counts.argmax(dim=2)
        each.update(own.gather(1, proxy.flatten(1)).view_as(labels), labels)
        one.update(common[proxy], labels)
    return [each.miou(), one.miou()]


def main() -> None:
    args = tyro.cli(Ceiling)
    output.prepare(args.out)
    device = resolve_device(args.device)
    generator, judge = start_networks(args.generator, average=True)[0].to(device), Judge.load(args.judge).to(device)
    given = list(labelled_samples(generator, judge, args.samples, device))
    rows = []
    for side in args.cuts:
        split = SplitGenerator(generator, side).eval().requires_grad_(False)
        for number in args.clusters:
            clusters = cluster_features(split, number, args.fitted, 0, device).to(device)
            own, common = ceiling(split, clusters, given, len(judge.labels))
            rows.append({"cut": side, "clusters": number, "label of each sample": round(own, 3), "one label": round(common, 3)})
            print(json.dumps(rows[-1]), flush=True)
    output.write(args.out, {"samples": args.samples, "rows": rows})


if __name__ == "__main__":
    main()
