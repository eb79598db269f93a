"""From the stored tensors of all parts to the numbers of ``metrics.json``."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..core.version import __version__
from ..metrics.agreement import MaskAgreement
from ..metrics.backends import KERNEL_SIZE, KERNEL_SUBSETS, NEIGHBOURS, distances, frechet
from ..metrics.features import FeatureNetwork
from ..metrics.lpips import group_diversity
from ..metrics.segmentation import SegmentationScore
from . import counts
from .cache import Tensors
from .inputs import Inputs
from .judge import Judge
from .results import SCORES, SETS, judge_key, none_if_nan

Found = Mapping[str, list[Any]]
"""Stored parts by kind: pictures, own-mask, diversity, reference, other-real, judged, baselines, style."""
PLAIN: Mapping[str, Any] = {"network": None, "resize": None}  # of numbers that need no network


def versions() -> str:
    """The program and its libraries."""
    return f"proxymask {__version__}, torch {torch.__version__}, numpy {np.__version__}"


def collect(inputs: Inputs, found: Found) -> list[dict[str, Any]]:
    """All numbers of the parts that were measured."""
    return _Collector(inputs, found).run()


def score_of(inputs: Inputs, parts: list[Tensors], of: str, judge: Judge) -> SegmentationScore:
    """A judge's segmentation scores of a set, over all parts that have them."""
    score, prefix = SegmentationScore(judge.labels.names), f"{inputs.stored_name('score', judge)}/{of}/"
    for part in parts:
        stored = {name.removeprefix(prefix): value for name, value in part.items() if name.startswith(prefix)}
        if stored:
            score.add_tensors(stored)
    return score


def _features(parts: list[Tensors], of: str, key: str) -> np.ndarray | None:
    """Features (n, D) of a set in a network, over all parts; None where there are none."""
    found = [part[f"features/{of}/{key}"] for part in parts if f"features/{of}/{key}" in part]
    return torch.cat(found).numpy() if found else None


class _Collector:
    """Gathers the numbers of one evaluation."""

    def __init__(self, inputs: Inputs, found: Found) -> None:
        self.inputs, self.found = inputs, found
        self.numbers: list[dict[str, Any]] = []

    def run(self) -> list[dict[str, Any]]:
        """The numbers of every part that is there."""
        pictures = "pictures" in self.inputs.parts
        if pictures:
            self._distances()
            self._scores("masks", self.found["pictures"])
            self._scores("proxy", self.found["pictures"])
        self._scores("grid", self.found["judged"])
        self._scores("real", self.found["judged"])
        if pictures:
            self._agreement()
        if self.found["own-mask"]:
            self._own_mask()
        if self.found["style"]:
            self._style(self.found["style"][0])
        if self.found["diversity"]:
            self._diversity()
        if self.found["baselines"]:
            self._baselines()
        return self.numbers

    def _add(self, key: str, name: str, of: str, value: float | None, count: int, *, judge: str = "", **more: Any) -> None:
        """One number, with everything that is needed to interpret it; with the name of its ``judge``, where it is not the main one."""
        if judge and self.inputs.judges[judge] is not self.inputs.judge:
            key, name, more = judge_key(key, judge), f"{name}, judge {judge}", more | {"judge": judge}
        row = {"key": key, "name": name, "of": of, "title": SETS[of], "value": value, "count": count, **more}
        row |= {"reference": self.inputs.real.fingerprint[:16], "seed": self.inputs.seed, "versions": versions()}
        self.numbers.append(row)

    # -- distances ----------------------------------------------------------------------------------------------------
    def _network(self, net: FeatureNetwork) -> dict[str, Any]:
        return {"network": net.digest[:16], "network_name": net.label, "resize": net.resize}

    def _real(self, key: str) -> np.ndarray:
        real = _features(self.found["reference"], "real", key)
        assert real is not None
        return real

    def _sets(self, key: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Name, features and reference features of everything whose distance is measured."""
        real = self._real(key)
        for of in ("masks", "proxy", "generator"):
            fake = _features(self.found["pictures"], of, key)
            if fake is not None:
                yield of, fake, real
        other = _features(self.found["other-real"], "real", key)
        assert other is not None
        # as many pictures on either side, and none on both
        against = real[: len(real) - len(other)] if self.inputs.shares_reference else real
        count = min(len(other), len(against))
        yield "floor", other[:count], against[:count]

    def _distances(self) -> None:
        for key, net in self.inputs.networks.items():
            found: dict[str, float] = {}
            sets = list(self._sets(key))
            for of, fake, real in sets:
                got = distances(real, fake, self.inputs.config.backend, self.inputs.seed)
                more = self._network(net) | {"backend": self.inputs.backend, "reference_count": len(real)}
                found[of] = got.frechet
                self._add(f"frechet/{key}", net.frechet_name(), of, got.frechet, len(fake), **more)
                if got.kernel is not None:
                    size = min(KERNEL_SIZE, len(real), len(fake))
                    subsets: dict[str, Any] = {"spread": got.kernel_std, "subsets": KERNEL_SUBSETS, "subset_size": size}
                    self._add(f"kernel/{key}", net.kernel_name(), of, got.kernel, len(fake), **more, **subsets)
                if got.precision is not None:
                    for which, value in (("precision", got.precision), ("recall", got.recall)):
                        name = f"{which} (k = {NEIGHBOURS}), {net.label} features"
                        self._add(f"{which}/{key}", name, of, value, len(fake), **more)
            self._excess(net, sets, found)

    def _excess(self, net: FeatureNetwork, sets: Sequence[tuple[str, np.ndarray, np.ndarray]], found: Mapping[str, float]) -> None:
        """Distances relative to the generator's own, both less that of real pictures to other real ones; all three of as many pictures,
        because a distance is larger with fewer."""
        count = min(len(fake) for _, fake, _ in sets)
        at = dict(found)
        for of, fake, real in sets:
            if count < max(len(fake), len(real)):
                at[of] = frechet(real[:count], fake[:count], self.inputs.config.backend)
        name = f"{net.frechet_name()}, relative to the generator's own, both less that of real pictures"
        for of in ("masks", "proxy"):
            if of in at:
                own = at["generator"] - at["floor"]
                value = (at[of] - at["floor"]) / own if own else None
                self._add(f"frechet_ratio/{net.key}", name, of, value, count, **self._network(net))

    # -- segmentation scores ------------------------------------------------------------------------------------------
    def _scores(self, of: str, parts: list[Tensors]) -> None:
        """Of every judge; masks on the proxy grid need none, and are there once."""
        for judge_name, judge in self.inputs.judges.items():
            score = score_of(self.inputs, parts, of, judge)
            if not int(score.matrix.counts.sum()):
                continue
            summary = score.summary()
            more: dict[str, Any] = {"network": judge.digest[:16], "network_name": "judge", "resize": judge.resize}
            more["judge_own_miou"] = judge.info.accuracy.get("miou")
            if of == "grid":
                more = {"network": None, "resize": "nearest neighbour"}
            for key, name in SCORES.items():
                by_class = summary.get("iou" if key == "miou" else f"{key}_by_class")
                extra = more if by_class is None else more | {"classes": {k: none_if_nan(v) for k, v in by_class.items()}}
                self._add(key, name, of, none_if_nan(summary[key]), summary["count"], judge=judge_name, **extra)

    # -- proxy masks and reconstruction -------------------------------------------------------------------------------
    def _agreement(self) -> None:
        """Of proxy masks of other samples, with substituted clusters, and of pixels that stay under them."""
        drawn = self.found["pictures"]
        agreement = MaskAgreement(*torch.stack([part["agreement"] for part in drawn]).sum(dim=0).tolist())
        name = "mask agreement, missing clusters substituted"
        self._add("agreement", name, "proxy", agreement.overall, self.inputs.count, **PLAIN)
        self._unchanged(torch.stack([part["unchanged"] for part in drawn]).sum(dim=0), "proxy", self.inputs.count)
        for judge_name, judge in list(self.inputs.judges.items())[1:]:
            pixels = torch.stack([part[self.inputs.stored_name("unchanged", judge)] for part in drawn]).sum(dim=0)
            self._mask_ignored(pixels, "proxy", self.inputs.count, judge_name)

    def _own_mask(self) -> None:
        parts: list[Tensors] = self.found["own-mask"]
        quality = torch.cat([part["psnr"] for part in parts])
        count = len(quality)
        raw = MaskAgreement(*torch.stack([part["agreement"] for part in parts]).sum(dim=0).tolist())
        for key, name, value in (
            ("agreement_present", "mask agreement where the style has the target cluster", raw.present),
            ("agreement_absent", "mask agreement where the style lacks the target cluster", raw.absent),
            ("agreement_unsubstituted", "mask agreement, nothing substituted", raw.overall),
        ):
            self._add(key, name, "proxy", none_if_nan(value), count, **PLAIN)
        same, total = torch.stack([part["unchanged"] for part in parts]).sum(dim=0)[:2].tolist()
        name = "pixels that stay when the mask is swapped, nothing substituted"
        self._add("unchanged_unsubstituted", name, "proxy", same / max(total, 1), count, **PLAIN)
        if self.inputs.measures_masks and self.inputs.swapped_by:
            self._unchanged(torch.stack([part["swapped"] for part in parts]).sum(dim=0), "masks", count)
        self._add("identity_psnr", "a sample under its own proxy mask, PSNR (dB)", "samples", float(quality.mean()), count, **PLAIN)
        if self.inputs.perceptual:
            values = torch.cat([part["perceptual"] for part in parts], dim=1).mean(dim=1)
            for net, value in zip(self.inputs.perceptual, values.tolist(), strict=True):
                name = f"a sample under its own proxy mask, {net.label}"
                self._add("identity_perceptual", name, "samples", value, count, network=net.digest[:16], resize="none")

    def _unchanged(self, pixels: torch.Tensor, of: str, count: int) -> None:
        same, total = (int(v) for v in pixels[:2])
        self._add("unchanged", "pixels that stay when the mask is swapped", of, same / max(total, 1), count, **PLAIN)
        self._mask_ignored(pixels, of, count)

    def _mask_ignored(self, pixels: torch.Tensor, of: str, count: int, judge: str = "") -> None:
        same, total = (int(v) for v in pixels[2:])
        if total:
            name = "mask ignored: pixels that stay although their class changes"
            self._add("mask_ignored", name, of, same / total, count, judge=judge, **PLAIN)

    # -- style, diversity, baselines ----------------------------------------------------------------------------------
    def _style(self, found: Mapping[str, Any]) -> None:
        styles, masks = counts.CONSISTENT_STYLES, counts.CONSISTENT_MASKS
        for judge_name, judge in self.inputs.judges.items():
            extra = {"network": judge.digest[:16], "resize": judge.resize, "chance": 1 / styles, "styles": styles, "masks": masks}
            name, share = "colours nearest to those of the own style", found[self.inputs.stored_name("share", judge)]
            self._add("style_consistency", name, "masks", share, styles * masks, judge=judge_name, **extra)

    def _diversity(self) -> None:
        """Supplement C.1: the mean over pairs of groups of the mean distance of two pictures of one mask, one of each group."""
        of = "masks" if self.inputs.has_mask_pictures else "proxy"
        table = torch.cat([part["distances"] for part in self.found["diversity"]], dim=1).double()  # (networks, masks, pairs)
        for net, rows in zip(self.inputs.perceptual, table, strict=True):
            got = group_diversity(rows, counts.GROUPS)
            more: dict[str, Any] = {"spread": got.std, "groups": got.groups, "pairs": rows.shape[1]}
            more |= {"network": net.digest[:16], "resize": "none"}
            self._add("diversity", f"diversity, {net.label}", of, got.mean, got.masks * got.groups, **more)

    def _baselines(self) -> None:
        """Scores of the baselines, and Frechet distances at the same number of pictures, since they fall with it."""
        parts = self.found["baselines"]
        for of in ("copy", "table"):
            self._scores(of, parts)
        for key, net in self.inputs.networks.items():
            real = self._real(key)
            for of in ("masks", "copy", "table"):
                fake = _features(self.found["pictures"] if of == "masks" else parts, of, key)
                if fake is None:
                    continue
                fake = fake[: counts.BASELINE]
                got = distances(real, fake, self.inputs.config.backend, self.inputs.seed)
                name = f"{net.frechet_name()}, {len(fake):,} pictures"
                more = self._network(net) | {"backend": self.inputs.backend, "reference_count": len(real)}
                self._add(f"frechet_baseline/{key}", name, of, got.frechet, len(fake), **more)


def describe(inputs: Inputs) -> dict[str, Any]:
    """The bundle, data, networks and settings of the evaluation, for ``metrics.json``."""
    synth, judge, masks = inputs.bundle.synth, inputs.judge, inputs.masks
    return {
        "bundle": inputs.config.bundle,
        "bundle_sha256": inputs.bundle_digest,
        "mapper": inputs.config.mapper if inputs.measures_masks else None,
        "details": bool(inputs.details) if inputs.measures_masks else None,
        "proxy_mask_mode": synth.proxy_mask_mode,
        "resolution": synth.size,
        "cut": synth.bundle.cut,
        "clusters": synth.bundle.clusters.num_clusters,
        "protocol": inputs.config.protocol,
        "parts": list(inputs.parts),
        "count": inputs.count,
        "seed": inputs.seed,
        "data": {"fingerprint": inputs.real.fingerprint, "pictures": len(inputs.real)},
        "masks": None if masks is None else {"fingerprint": masks.fingerprint, "pictures": len(masks)},
        "judge": None if judge is None else {"sha256": judge.digest, **dataclasses.asdict(judge.info)},
        "judges": [{"name": name, "sha256": one.digest, **dataclasses.asdict(one.info)} for name, one in inputs.judges.items()],
        "features": [
            {"name": net.label, "key": key, "sha256": net.digest, "resize": net.resize, "is_fid": net.is_fid, "dimensions": net.dim}
            for key, net in inputs.networks.items()
        ],
        "backend": inputs.backend,
        "device": str(inputs.device),
        "precision": str(synth.dtype),
        "versions": versions(),
    }
