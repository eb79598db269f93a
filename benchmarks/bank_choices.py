"""What clusters know and what a style bank lends, before any training: how K, normalisation and lenders were chosen.

    python benchmarks/bank_choices.py --generator runs/g64 --annotator runs/annotator --clusters 25 50 100 --samples 0 1 3 7

One line of JSON a row. ``table``: mIoU of labels read off a table cluster -> likeliest label (classes weighed by the root of
their size), a bound on what a proxy mask says without its surroundings. ``absent``: share of the positions of another sample's
mask whose cluster the style (with what is lent to it) lacks. The rest is of the untrained rearranger, with another sample's
mask: the annotator's labels against those of the sample that gave the mask, and the distance to other samples of the generator
in features of its discriminator. The judge takes no part.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import tyro

from proxymask.device import autocast
from proxymask.generators.cut import CutGenerator
from proxymask.generators.stylegan2 import Discriminator, Generator, seed_to_z
from proxymask.metrics.frechet import FeatureStats, frechet_distance
from proxymask.metrics.segmentation import ConfusionMatrix
from proxymask.proxy import kmeans
from proxymask.proxy.proxy_mask import fit_proxy_clusters
from proxymask.rearranger import Asked, StyleKeys
from proxymask.segmentation_nets import UNetSegmenter
from proxymask.stages import build_rearranger, discriminator_beside, load_part
from proxymask.style_bank import StyleBank
from proxymask.training.presets import load_preset

NORMALISED = ("none", "center", "instance")
BATCH = 25


@dataclasses.dataclass(frozen=True)
class Choices:
    """Compare clusters and banks on a trained generator."""

    generator: Path
    annotator: Path
    """Folder of the annotator (a UNetSegmenter)."""
    clusters: tuple[int, ...] = (25, 50, 100)
    """K."""
    samples: tuple[int, ...] = (0, 1, 3, 7)
    """Lenders."""
    layers: tuple[int, ...] = (2, 3)
    """Layers that follow the lender."""
    tokens: int = 384
    """Positions lent at most."""
    count: int = 150
    """Pictures a row."""
    preset: str = "demo"
    """Whose rearranger."""


class Bench:
    """The generator, its samples, and who looks at them."""

    def __init__(self, args: Choices) -> None:
        self.args = args
        self.cpu = torch.device("cpu")
        self.preset = load_preset(args.preset)
        generator = load_part(args.generator, "generator", Generator)
        self.cut = CutGenerator(generator, self.preset.cut_for(generator.resolution)).eval()
        self.annotator = UNetSegmenter.from_pretrained(args.annotator).eval()
        critic = discriminator_beside(args.generator, "generator", generator)
        assert critic is not None, "the distance is taken in the features of the discriminator beside the generator"
        self.critic: Discriminator = critic.eval()
        with torch.inference_mode():
            self.fitted = [self.cut.features(self.w(range(i, i + 32))).features.float() for i in range(0, 256, 32)]
            self.ws = self.w(range(4_000_000, 4_000_000 + args.count))
            self.state, self.pictures = self.cut.features(self.ws), self.draw(self.ws)
            self.labels = self.read(self.pictures)
            self.reference = self.stats(self.draw(self.w(range(5_000_000, 5_000_600))))

    def w(self, seeds: range) -> torch.Tensor:
        return self.cut.w(seed_to_z(seeds, self.cut.generator.z_dim))

    def draw(self, w: torch.Tensor) -> torch.Tensor:
        with autocast(self.cpu, torch.bfloat16):
            return torch.cat([self.cut.render(self.cut.features(part), part).float().clamp(-1, 1) for part in w.split(BATCH)])

    def read(self, pictures: torch.Tensor) -> torch.Tensor:
        with autocast(self.cpu, torch.bfloat16):
            return torch.cat([self.annotator(part).float().argmax(dim=1) for part in pictures.split(BATCH)])

    def stats(self, pictures: torch.Tensor) -> FeatureStats:
        with autocast(self.cpu, torch.bfloat16):
            found = [[f.float().mean(dim=(2, 3)) for f in self.critic.features(part)[-3:]] for part in pictures.split(BATCH)]
        features = np.concatenate([torch.cat(part, dim=1).numpy() for part in found])
        return FeatureStats(features.shape[1]).add(features)


def normalised(features: torch.Tensor, kind: str) -> torch.Tensor:
    """Features less their mean over the picture, and divided by their deviation."""
    if kind == "none":
        return features
    features = features - features.mean(dim=(2, 3), keepdim=True)
    return features if kind == "center" else features / (features.std(dim=(2, 3), keepdim=True) + 1e-4 * features.std())


@torch.inference_mode()
def knowledge(bench: Bench, k: int, kind: str) -> dict[str, object]:
    """What a cluster says of a label by itself."""
    fitted = torch.cat([normalised(part, kind) for part in bench.fitted])
    rows = fitted.permute(0, 2, 3, 1).reshape(-1, fitted.shape[1])
    found = kmeans.spherical_kmeans(lambda: iter([rows]), k, seed=0, max_iterations=25, init_sample=16384)
    r = bench.cut.resolution

    def masks(features: torch.Tensor) -> torch.Tensor:
        return kmeans.assign(features.permute(0, 2, 3, 1).reshape(-1, features.shape[1]), found.centroids).view(-1, r, r)

    def fine(mask: torch.Tensor) -> torch.Tensor:
        return F.interpolate(mask[:, None].float(), size=bench.labels.shape[-1], mode="nearest-exact")[:, 0].long()

    theirs, ours = masks(fitted), masks(normalised(bench.state.features.float(), kind))
    first = bench.read(bench.draw(bench.w(range(256))))
    n = int(max(first.max(), bench.labels.max())) + 1
    table = torch.zeros(k, n).index_put_((fine(theirs).flatten(), first.flatten()), torch.ones(first.numel()), accumulate=True)
    matrix = ConfusionMatrix(n)
    matrix.update((table / table.sum(dim=0).clamp_min(1).sqrt()).argmax(dim=1)[fine(ours)], bench.labels)
    have = F.one_hot(theirs.flatten(1), k).sum(dim=1)
    typical = have.sum(dim=0) / (have > 0).sum(dim=0).clamp_min(1)
    counts = F.one_hot(ours.flatten(1), k).sum(dim=1)
    present = (counts >= typical / 4) & (counts > 0)
    absent = 1 - present.gather(1, ours.roll(1, dims=0).flatten(1)).float().mean()
    return {"K": k, "normalised": kind, "table": round(matrix.miou(), 3), "absent": round(float(absent), 3)}


@torch.inference_mode()
def transfer(bench: Bench, k: int, banks: list[StyleBank]) -> list[dict[str, object]]:
    """Pictures under other samples' masks by the untrained rearranger."""
    cut, state = bench.cut, bench.state
    clusters = fit_proxy_clusters(lambda: iter(bench.fitted), k, cut.resolution, seed=0, max_iterations=25, init_sample=16384)
    with torch.inference_mode(False), torch.no_grad():
        rearranger = build_rearranger(bench.preset.rearranger, cut, clusters, bench.critic, None, 1, 0, bench.cpu).rearranger.eval()
    asked, out = clusters.assign(state.features).roll(1, dims=0), []
    for bank in banks:
        with autocast(bench.cpu, torch.bfloat16):
            keys = bank.lend(cut, clusters, rearranger, bench.ws, rearranger.encode_style(state))
            available = clusters.available(keys.counts)
            query, told = rearranger.encode_mask(clusters.one_hot(clusters.substitute(asked, available)))
            parts = []
            for i in range(0, len(query), BATCH):
                moved = rearranger.attend(
                    Asked(query[i : i + BATCH], told if told is None else told[i : i + BATCH]), StyleKeys(*(t[i : i + BATCH] for t in keys))
                )
                parts.append(cut.render(moved, bench.ws[i : i + BATCH]).float().clamp(-1, 1))
        pictures = torch.cat(parts)
        matrix = ConfusionMatrix(int(bench.labels.max()) + 1)
        matrix.update(bench.read(pictures).clamp_max(matrix.num_classes - 1), bench.labels.roll(1, dims=0))
        absent = 1 - available.gather(1, asked.flatten(1)).float().mean()
        out.append(
            {
                "K": k,
                "lenders": bank.samples,
                "layers": bank.layers,
                "absent": round(float(absent), 3),
                "miou": round(matrix.miou(), 3),
                "accuracy": round(matrix.pixel_accuracy(), 3),
                "distance": round(frechet_distance(bench.stats(pictures), bench.reference), 3),
            }
        )
    return out


def main() -> None:
    args = tyro.cli(Choices)
    bench = Bench(args)
    for k in args.clusters:
        for kind in NORMALISED:
            print(json.dumps(knowledge(bench, k, kind)), flush=True)
    banks = [StyleBank(n, layers, args.tokens) for n in args.samples for layers in (args.layers if n else args.layers[:1])]
    for k in args.clusters:
        for row in transfer(bench, k, banks):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
