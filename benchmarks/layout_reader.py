"""What clusters tell of a layout, and how much of a colour: features as they are, in the mean look, and as a layout reader reads them.

    python benchmarks/layout_reader.py --annotator runs/annotator --clusters runs/clusters --numbers 25 100

Columns: *readable*: mIoU of labels that a small network (three convolutions, the same for all rows) reads off the proxy mask, against the
annotator's reading of the picture; *colour*: share of the variance of colours within skin, clothes and top that the cluster explains;
*absent*: share of another sample's proxy mask whose clusters a style lacks; *same*: share of positions that keep their cluster when all but
the first three layers of a sample are another's.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
import tyro
from torch import nn

from proxymask.bundle import Bundle
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.metrics.segmentation import ConfusionMatrix
from proxymask.proxy.proxy_mask import ProxyClusters, fit_proxy_clusters
from proxymask.segmentation_nets import UNetSegmenter
from proxymask.stages import load_part

COLOURED = ("skin", "clothes", "top")
LAYERS = 3  # of which "same" speaks
BATCH = 50


@dataclasses.dataclass(frozen=True)
class Compare:
    """Compare what is clustered."""

    annotator: Path
    """Folder of the annotator (a UNetSegmenter)."""
    clusters: Path
    """Clusters with a layout reader."""
    bundle: str = "avatars"
    """Whose generator."""
    numbers: tuple[int, ...] = (25, 100)
    """K."""
    looks: tuple[int, ...] = (3, 4)
    """How many layers stay in the rows of the mean look."""
    fitted: int = 1500
    """Samples that the small network learns from; the first 256 are clustered."""
    tested: int = 200
    """Others."""
    steps: int = 400
    """Steps of the small network, of 16 samples."""
    seed: int = 5


Read = Callable[[torch.Tensor], torch.Tensor]


class Bench:
    """Samples with what is known of them."""

    @torch.no_grad()
    def __init__(self, args: Compare) -> None:
        self.args, self.rng = args, torch.Generator().manual_seed(args.seed)
        self.cut = Bundle.load(args.bundle).cut_generator().eval().requires_grad_(False)
        self.annotator = UNetSegmenter.from_pretrained(args.annotator)
        self.fit, self.test, self.other = (self.ws(n) for n in (args.fitted, args.tested, args.tested))
        self.labels = self.annotated(self.fit)
        self.truth = self.annotated(self.test)
        pictures = torch.cat([self.picture(part) for part in self.test.split(BATCH)])
        self.colours = F.adaptive_avg_pool2d(pictures, self.cut.size).permute(0, 2, 3, 1)

    def ws(self, count: int) -> torch.Tensor:
        generator = self.cut.generator
        return generator.broadcast(self.cut.w(torch.randn(count, generator.z_dim, generator=self.rng)))

    def picture(self, ws: torch.Tensor) -> torch.Tensor:
        return self.cut.generator.synthesis(ws, "const").clamp(-1, 1)

    def annotated(self, ws: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.annotator(self.picture(part)).argmax(dim=1) for part in ws.split(BATCH)])

    def in_look(self, ws: torch.Tensor, rest: torch.Tensor, stay: int) -> torch.Tensor:
        first = torch.arange(ws.shape[1])[None, :, None] < stay
        return torch.where(first, ws, rest.expand_as(ws))

    @torch.no_grad()
    def row(self, name: str, k: int, read: Read) -> dict[str, object]:
        """One kind of features, ``read`` from ws (B, num_ws, w_dim), in K clusters."""

        held = [read(part).float() for part in self.fit[:256].split(BATCH)]
        found = fit_proxy_clusters(lambda: held, k, self.cut.resolution, start=self.cut.start, init_sample=32768, max_iterations=25)

        def ids(ws: torch.Tensor) -> torch.Tensor:
            return torch.cat([found.assign(read(part).float()) for part in ws.split(BATCH)])

        own, moved = ids(self.test), ids(self.in_look(self.test, self.other, LAYERS))
        score = self.readable(k, ids(self.fit), own)
        iou = {name: round(float(v), 2) for name, v in zip(AVATAR_LABELS.names, score.iou(), strict=True)}
        return {
            "clustered": name,
            "clusters": k,
            "readable": round(score.miou(), 3),
            "colour": {label: round(self.colour(AVATAR_LABELS.names.index(label), k, own), 2) for label in COLOURED},
            "absent": round(self.absent(found, own), 2),
            "same": round(float((own == moved).float().mean()), 2),
            "iou": iou,
        }

    def readable(self, k: int, ids: torch.Tensor, tested: torch.Tensor) -> ConfusionMatrix:
        with torch.enable_grad():
            torch.manual_seed(0)
            net = nn.Sequential(
                *(nn.Conv2d(48, 64, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(64, 64, 3, padding=1), nn.LeakyReLU(0.2)),
                *(nn.Conv2d(64, 4 * len(AVATAR_LABELS), 3, padding=1), nn.PixelShuffle(2)),
            )
            embed = nn.Embedding(k, 48)
            optimizer = torch.optim.Adam([*embed.parameters(), *net.parameters()], lr=0.003)
            for step in range(self.args.steps):
                for group in optimizer.param_groups:
                    group["lr"] = 0.003 * min(1, (step + 1) / 30) * (1 - step / self.args.steps)
                index = torch.randint(len(ids), (16,))
                with torch.autocast("cpu", torch.bfloat16):
                    logits = net(embed(ids[index]).permute(0, 3, 1, 2))
                loss = F.cross_entropy(logits.float(), self.labels[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        matrix = ConfusionMatrix(len(AVATAR_LABELS))
        for part, truth in zip(tested.split(BATCH), self.truth.split(BATCH), strict=True):
            matrix.update(net(embed(part).permute(0, 3, 1, 2)).argmax(dim=1), truth)
        return matrix

    def colour(self, label: int, k: int, ids: torch.Tensor) -> float:
        step = self.truth.shape[-1] // ids.shape[-1]
        here = self.truth[:, ::step, ::step] == label
        colours, of = self.colours[here], ids[here]
        total = torch.zeros(k, 3).index_add_(0, of, colours)
        mean = total / of.bincount(minlength=k).clamp_min(1)[:, None]
        return 1 - float((colours - mean[of]).square().sum() / (colours - colours.mean(dim=0)).square().sum())

    def absent(self, clusters: ProxyClusters, ids: torch.Tensor) -> float:
        there = clusters.available(clusters.one_hot(ids).sum(dim=(2, 3)))
        return 1 - float(there.gather(1, ids.roll(1, dims=0).flatten(1)).float().mean())


def main() -> None:
    args = tyro.cli(Compare)
    bench = Bench(args)
    reader = load_part(args.clusters, "clusters", ProxyClusters).reader
    assert reader is not None, "--clusters have no layout reader"
    mean = bench.cut.generator.broadcast(bench.cut.generator.mapping.w_avg[None])
    kinds: dict[str, Read] = {"features": lambda ws: bench.cut.features(ws).features}
    for stay in args.looks:
        kinds[f"in the mean look, {stay} layers stay"] = lambda ws, stay=stay: bench.cut.features(bench.in_look(ws, mean, stay)).features
    kinds["as the reader reads them"] = lambda ws: reader(bench.cut.features(ws).features)
    for k in args.numbers:
        for name, read in kinds.items():
            print(json.dumps(bench.row(name, k, read)), flush=True)


if __name__ == "__main__":
    main()
