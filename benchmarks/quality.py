"""Quality of a bundle, measured by a judge that had no part in making it.

    python benchmarks/quality.py --bundle avatars --judge JUDGE --real AVATARS --masks AVATARS_FRESH --out quality.json

``--real`` and ``--masks`` are folders of ``proxymask data avatars`` with different seeds, neither of them the judge's.
Every number names its count; the report repeats resolution and cut.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from baselines.no_learning import LabelTable, nearest_copy

from proxymask.data.dataset import ImageSet
from proxymask.device import autocast
from proxymask.generators.cut import CutState
from proxymask.mappers.handover import Handover, handover
from proxymask.metrics.agreement import mask_agreement, psnr, region_colors, style_consistency
from proxymask.metrics.frechet import FeatureStats, frechet_distance
from proxymask.metrics.kernel import kernel_distance
from proxymask.metrics.segmentation import ConfusionMatrix
from proxymask.sampling import read_label_set, read_labelled
from proxymask.segmentation_nets import DilatedSegmenter
from proxymask.synthesizer import Synthesizer

BATCH = 25


@dataclasses.dataclass(frozen=True)
class Quality:
    """Measure a bundle."""

    judge: Path
    """Folder of the judge (a DilatedSegmenter)."""
    real: Path
    """Real pictures: the reference of the feature distance; its second half gives the floor."""
    masks: Path
    """Fresh pictures with exact masks."""
    bundle: str = "avatars"
    """Bundle to measure."""
    mapper: str = "mask"
    """Which of its mappers."""
    labelled: Path | None = None
    """Folder of the labelled samples, for the baseline without a mapper."""
    count: int = 500
    """Masks for the segmentation scores, pairs for agreement and reconstruction."""
    distance_count: int = 10_000
    """Pictures a side for the feature distances."""
    baseline_count: int = 500
    """Pictures for the two baselines (and ours beside them)."""
    seed: int = 1_000_000
    """First of the style seeds."""
    handover: Handover | None = None
    """Another handover than the bundle's own."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    out: Path = Path("quality.json")
    """Where the numbers go."""


class Measure:
    """The bundle under test with everything cached that several numbers share."""

    def __init__(self, args: Quality) -> None:
        self.args = args
        self.synth = Synthesizer.from_pretrained(args.bundle, device=args.device)
        if args.handover is not None:
            self.synth.handover = args.handover
        self.judge = DilatedSegmenter.from_pretrained(args.judge).to(self.synth.device)
        self.real, self.fresh = ImageSet.open(args.real, self.synth.size), ImageSet.open(args.masks, self.synth.size)
        assert self.synth.bundle.labels is not None
        self.names = self.synth.bundle.labels.names
        self.n = len(self.names)

    # -- pictures -----------------------------------------------------------------------------------------------------
    def latents(self, first: int, count: int) -> torch.Tensor:
        return self.synth.w(range(self.args.seed + first, self.args.seed + first + count))

    @torch.inference_mode()
    def state(self, w: torch.Tensor) -> CutState:
        with autocast(self.synth.device, self.synth.dtype):
            return self.synth.cut.features(w)

    @torch.inference_mode()
    def render(self, state: CutState, w: torch.Tensor) -> torch.Tensor:
        with autocast(self.synth.device, self.synth.dtype):
            return self.synth.cut.render(state, w).float().clamp(-1, 1)

    @torch.inference_mode()
    def rearranged(self, state: CutState, proxy: torch.Tensor) -> CutState:
        rearranger = self.synth.bundle.rearranger
        with autocast(self.synth.device, self.synth.dtype):
            return rearranger.attend(rearranger.encode_mask(proxy), self.synth.keys(state))

    def one_hot(self, ids: torch.Tensor) -> torch.Tensor:
        return self.synth.bundle.clusters.one_hot(ids)

    @torch.inference_mode()
    def present(self, state: CutState) -> torch.Tensor:
        return self.synth.bundle.clusters.available(self.synth.keys(state).counts)

    def of_another(self, state: CutState) -> torch.Tensor:
        """Proxy masks of the neighbours in the batch, for the styles in it, as a transfer asks for them."""
        others = self.synth.bundle.clusters.assign(state.features).roll(1, dims=0)
        return self.one_hot(self.synth.substituted(others, self.present(state)))

    @torch.inference_mode()
    def mapped(self, masks: torch.Tensor, state: CutState) -> torch.Tensor:
        """Proxy masks (B, K, h, w) of masks (B, H, W) for styles."""
        logits = self.synth.map(masks.numpy().astype(np.uint8), self.args.mapper)
        return handover(logits, self.synth.handover, self.synth.bundle.clusters.prior(self.synth.keys(state).counts))

    def batches(self, count: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, CutState]]:
        """Mask ids, random w and its state; masks are taken round and round."""
        for start in range(0, count, BATCH):
            index = [i % len(self.fresh) for i in range(start, min(start + BATCH, count))]
            w = self.latents(start, len(index))
            yield self.fresh.masks(index), w, self.state(w)

    # -- judge --------------------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def labels_of(self, pictures: torch.Tensor) -> torch.Tensor:
        with autocast(self.synth.device, self.synth.dtype):
            return self.judge(pictures).argmax(dim=1).cpu()

    @torch.inference_mode()
    def features_of(self, pictures: torch.Tensor) -> np.ndarray:
        with autocast(self.synth.device, self.synth.dtype):
            return self.judge.features(pictures.to(self.synth.device)).float().cpu().numpy()

    def score(self, make: Callable[[torch.Tensor, torch.Tensor, CutState], torch.Tensor], count: int) -> tuple[dict[str, Any], np.ndarray]:
        """Segmentation scores of pictures made from (mask, w, state), and their features."""
        matrix, features = ConfusionMatrix(self.n), []
        for masks, w, state in self.batches(count):
            pictures = make(masks, w, state)
            matrix.update(self.labels_of(pictures), masks)
            features.append(self.features_of(pictures))
        return self.table(matrix, count), np.concatenate(features)

    def table(self, matrix: ConfusionMatrix, count: int) -> dict[str, Any]:
        iou = {name: round(float(v), 3) for name, v in zip(self.names, matrix.iou(), strict=True)}
        return {"count": count, "miou": round(matrix.miou(), 4), "accuracy": round(matrix.pixel_accuracy(), 4), "iou": iou}


def stats_of(features: np.ndarray) -> FeatureStats:
    return FeatureStats(features.shape[1]).add(features)


def measure(args: Quality) -> dict[str, Any]:
    """All numbers of a bundle."""
    m = Measure(args)
    synth, clusters = m.synth, m.synth.bundle.clusters
    out: dict[str, Any] = {
        "bundle": args.bundle,
        "mapper": args.mapper,
        "handover": m.synth.handover,
        "resolution": synth.size,
        "cut": synth.bundle.cut,
        "clusters": clusters.num_clusters,
        "judge": str(json.loads((args.judge / "config.json").read_text())["class"]),
        "reference": m.real.fingerprint[:16],
        "masks": m.fresh.fingerprint[:16],
        "seed": args.seed,
    }
    began = time.time()

    def done(what: str) -> None:
        print(f"{time.time() - began:6.0f} s  {what}: {json.dumps(out[what])}", flush=True)

    # rearranged features under masks of other samples, and a sample under its own mask
    total, quality, ignored = None, [], []
    for start in range(0, args.count, BATCH):
        w = m.latents(start, BATCH)
        state = m.state(w)
        own = clusters.assign(state.features)
        other = own.roll(1, dims=0)
        moved = m.rearranged(state, m.one_hot(other))
        part = mask_agreement(moved.features, other, own, clusters)
        total = part if total is None else total + part
        picture = m.render(state, w)
        quality.append(psnr(m.render(m.rearranged(state, m.one_hot(own)), w), picture))
        ignored.append(((m.render(moved, w) - picture).abs().amax(dim=1) < 0.05).float().mean(dim=(1, 2)))
    assert total is not None
    out["agreement"] = {
        "count": args.count,
        "present": round(total.present, 4),
        "absent": round(total.absent, 4),
        "overall": round(total.overall, 4),
    }
    done("agreement")
    out["self_psnr_db"] = round(float(torch.cat(quality).mean()), 2)
    done("self_psnr_db")
    out["unchanged_when_mask_swapped"] = round(float(torch.cat(ignored).mean()), 4)
    done("unchanged_when_mask_swapped")

    # 20 styles x 25 masks
    w = m.latents(500_000, 20)
    samples = m.render(m.state(w), w)
    reference = region_colors(samples.cpu(), m.labels_of(samples), m.n)
    masks = m.fresh.masks(list(range(25)))
    logits = synth.map(masks.numpy().astype(np.uint8), args.mapper)
    styles = [synth.make_style(w=w[i : i + 1]) for i in range(20)]
    grid = torch.stack([synth.render(synth.proxy(logits, style), style).cpu() for style in styles])
    out["style_consistency"] = {"styles": 20, "masks": 25, "share": round(style_consistency(grid, masks, reference), 4)}
    done("style_consistency")

    # the picture against the mask, and the ceilings beside it
    def ours(masks: torch.Tensor, w: torch.Tensor, state: CutState) -> torch.Tensor:
        return m.render(m.rearranged(state, m.mapped(masks, state)), w)

    out["mask_to_picture"], ours_features = m.score(ours, args.count)
    done("mask_to_picture")
    matrix, grid_matrix = ConfusionMatrix(m.n), ConfusionMatrix(m.n)
    for start in range(0, args.count, 100):
        index = list(range(start, min(start + 100, args.count)))
        truth = m.fresh.masks(index)
        matrix.update(m.labels_of(m.fresh.images(index).to(synth.device)), truth)
        small = F.interpolate(truth[:, None].float(), size=synth.bundle.cut, mode="nearest-exact")
        grid_matrix.update(F.interpolate(small, size=synth.size, mode="nearest-exact")[:, 0].long(), truth)
    out["judge_on_real"] = m.table(matrix, args.count)
    done("judge_on_real")
    out["proxy_grid_and_back"] = m.table(grid_matrix, args.count)
    done("proxy_grid_and_back")

    # proxy masks of other samples, no mapper: the picture against the judge's reading of the sample that gave the mask
    matrix = ConfusionMatrix(m.n)
    for start in range(0, args.count, BATCH):
        w = m.latents(start, BATCH)
        state = m.state(w)
        truth = m.labels_of(m.render(state, w)).roll(1, dims=0)
        matrix.update(m.labels_of(m.render(m.rearranged(state, m.of_another(state)), w)), truth)
    out["proxy_only"] = m.table(matrix, args.count)
    done("proxy_only")

    # baselines without learning, at equal count
    def copied(masks: torch.Tensor, w: torch.Tensor, state: CutState) -> torch.Tensor:
        return m.render(nearest_copy(state, m.mapped(masks, state).argmax(dim=1), clusters), w)

    few = min(args.baseline_count, args.count)
    baselines = {}
    result, features_a = m.score(copied, few)
    baselines["a_nearest_copy"] = result
    features = {"ours": ours_features[:few], "a_nearest_copy": features_a}
    if args.labelled is not None:
        labels = read_label_set(args.labelled)
        latents, masks, _ = read_labelled(args.labelled, labels, None)
        table = LabelTable(masks, clusters.assign(m.state(latents.to(synth.device)).features))

        def tabled(masks: torch.Tensor, w: torch.Tensor, state: CutState) -> torch.Tensor:
            return m.render(m.rearranged(state, m.one_hot(table(masks).to(synth.device))), w)

        baselines["b_label_table"], features["b_label_table"] = m.score(tabled, few)
    half = min(len(m.real) // 2, args.distance_count)
    real = np.concatenate([m.features_of(m.real.images(list(range(i, min(i + 100, half))))) for i in range(0, half, 100)])
    for name, value in features.items():
        baselines.setdefault(name, {"count": few})["feature_distance"] = round(frechet_distance(stats_of(value), stats_of(real)), 4)
    out["baselines"] = baselines
    done("baselines")

    # feature distances
    floor = np.concatenate([m.features_of(m.real.images(list(range(half + i, half + min(i + 100, half))))) for i in range(0, half, 100)])
    _, driven = m.score(ours, half)
    free = np.concatenate([m.features_of(m.render(state, w)) for _, w, state in m.batches(half)])
    proxy_only = []
    for _, w, state in m.batches(half):
        proxy_only.append(m.features_of(m.render(m.rearranged(state, m.of_another(state)), w)))
    reference_stats = stats_of(real)
    distances: dict[str, Any] = {"count": half, "features": "judge", "floor": round(frechet_distance(stats_of(floor), reference_stats), 4)}
    sets = {"mask_driven": driven, "proxy_driven": np.concatenate(proxy_only), "generator": free, "floor": floor}
    for name, value in sets.items():
        kid = kernel_distance(value, real, seed=0)
        distances[name] = round(frechet_distance(stats_of(value), reference_stats), 4)
        distances[f"{name}_kernel"] = [round(kid.mean, 5), round(kid.std, 5)]
    distances["ratio_less_floor"] = round(
        (distances["mask_driven"] - distances["floor"]) / (distances["generator"] - distances["floor"]), 3
    )
    out["feature_distance"] = distances
    done("feature_distance")
    out["seconds"] = round(time.time() - began)
    return out


def main() -> None:
    args = tyro.cli(Quality)
    args.out.write_text(json.dumps(measure(args), indent=2) + "\n")
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
