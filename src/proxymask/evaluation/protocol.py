"""The evaluation: what is drawn, what is measured on it, and what stands beside each number.

Sources: the paper's supplement B.1 (proxy-driven pictures of two latents against training images), B.2 (masks that are ignored), C.1
(diversity of groups), D (the proxy grid). Everything beyond them, and each choice that they leave open, is said in the report.
"""

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from .. import __version__
from ..bundle import find_bundle
from ..data.dataset import ImageSet
from ..errors import ProxymaskError
from ..judges import Judge, SegmentationScore, shipped_judge
from ..labels import LabelSet
from ..metrics.agreement import MaskAgreement, mask_agreement, psnr, region_colors, style_consistency, unchanged_share
from ..metrics.backends import KERNEL_SIZE, KERNEL_SUBSETS, NEIGHBOURS, Backend, distances, version_of
from ..metrics.features import NAMES, FeatureNetwork, load_features
from ..metrics.lpips import Perceptual, find_lpips, group_diversity, group_pairs
from ..modeling import read_json, write_json
from ..seeding import derive_rng
from ..sizes import Size, height_width, short_text
from ..synthesizer import Synthesizer
from .beside import Beside
from .cache import Cache, Tensors, digest_of
from .subject import CONSISTENCY, DIVERSITY, SHAPES, STYLES, BundlePainter

FORMAT = 1
BATCH, BATCH_OFF_CPU = 5, 25  # on a CPU few pictures at a time stay in its cache
CHUNK = 250  # pictures between two points to go on from
GROUPS, PAIRS = 10, 10  # C.1
CONSISTENT_STYLES, CONSISTENT_MASKS = 20, 25
IDENTITY = 100  # samples under their own mask, at most
DIVERSE = 50  # masks rendered once a group, at most
DEFAULT_COUNT, PAPER_COUNT = 2000, 28_000  # B.1
SHOWN = 8

Protocol = Literal["standard", "paper"]
Progress = Callable[[int, int], None]
TITLES = {
    "masks": "pictures from masks",
    "proxy": "pictures from proxy masks of other samples, no mapper",
    "generator": "the frozen generator's own samples",
    "floor": "real pictures against other real pictures",
    "grid": "masks taken to the proxy grid and back",
    "real": "real pictures, read by the judge",
    "samples": "samples of the generator",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What to measure, on what, and where the results go."""

    bundle: str = "avatars"
    """The model: the name of an embedded one, a folder, or a name on the hub (USER/MODEL)."""
    data: Path
    """Real pictures: what distances are measured to. A data set with masks also gives the masks, unless --masks does."""
    out: Path
    """Folder for metrics.json and report.html; the same command goes on in it after a stop."""
    masks: Path | None = None
    """Another data set with masks, fresh ones best, to paint."""
    judge: Path | None = None
    """Folder of the judge (proxymask train judge); for avatars the shipped one."""
    mapper: str = "mask"
    """Which of the bundle's mappers."""
    count: int | None = None
    """Pictures of each kind; 2,000, or 28,000 with --protocol paper."""
    features: tuple[str, ...] = ()
    """More feature networks beside the judge's: inception, inception-clean, squeezenet, or the path of a weights file (append :clean for
    clean resizing)."""
    weights: Path | None = None
    """Folder where named weights are looked for, LPIPS' too; PROXYMASK_WEIGHTS or ~/.cache/proxymask/weights where not given."""
    protocol: Protocol = "standard"
    """standard measures everything; paper is the supplement's B.1: pictures of two latents against as many training images."""
    backend: Backend = "own"
    """Who computes distances, precision and recall: own, or an installed torch-fidelity or clean-fid."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What came out, as ``metrics.json`` holds it, and pictures for the report."""

    about: dict[str, Any]
    numbers: list[dict[str, Any]]
    notes: list[str]
    sheets: dict[str, list[np.ndarray]]
    """Rows of pictures (N, H, W, 3) uint8 by title."""
    labels: LabelSet | None

    def find(self, key: str, of: str | None = None) -> dict[str, Any] | None:
        """The first number of this key, of this set where one is named."""
        return next((row for row in self.numbers if row["key"] == key and of in (None, row["of"])), None)

    def value(self, key: str, of: str | None = None) -> float:
        """Its value; NaN where it was not measured."""
        row = self.find(key, of)
        return float("nan") if row is None or row["value"] is None else float(row["value"])


class Evaluator:
    """One evaluation.

    Args:
        config: see :class:`EvaluationConfig`.
        device, precision, seed: as everywhere.
        progress: called with (pictures done, pictures in all).
    """

    def __init__(
        self, config: EvaluationConfig, *, device: str = "auto", precision: str = "auto", seed: int = 0, progress: Progress | None = None
    ) -> None:
        self.config, self.seed, self.progress = config, seed, progress
        self.notes: list[str] = []
        self.numbers: list[dict[str, Any]] = []
        count = config.count if config.count is not None else PAPER_COUNT if config.protocol == "paper" else DEFAULT_COUNT
        if count < 2:
            raise ProxymaskError(f"--count {count}: distances need at least 2 pictures")
        self.count = count
        self.backend = version_of(config.backend)
        synth = Synthesizer.from_pretrained(config.bundle, device, precision)
        if synth.bundle.generator.img_channels != 3:
            channels = synth.bundle.generator.img_channels
            raise ProxymaskError(f"{config.bundle} makes pictures of {channels} channels: only pictures in colours (3) can be evaluated")
        self.subject, self.device = BundlePainter(synth, config.mapper, seed), synth.device
        self.labels = synth.bundle.labels
        self.real = ImageSet.open(config.data, synth.size)
        fresh = self.real if config.masks is None else ImageSet.open(config.masks, synth.size)
        self.judge = self._open_judge()
        self.nets: dict[str, FeatureNetwork] = {} if self.judge is None else {"judge": self.judge}
        for what in config.features:
            if what == "judge":
                continue
            try:
                net = load_features(what, config.weights).to(self.device)
            except ProxymaskError as error:
                if what.partition(":")[0] not in NAMES:
                    raise  # a path that was given must be right; a name may be missing here
                self.note(f"not computed: {what} features: {error}")
                continue
            self.nets[net.key] = net
        if not config.features:
            self.note("FID and KID proper need Inception's weights: --features inception (and --weights FOLDER)")
        if not self.nets:
            raise ProxymaskError("no features to measure distances in: give --judge (proxymask train judge) or --features")
        lpips, missing = find_lpips(config.weights)
        if missing:
            self.note(f"not computed: {missing}" if lpips is None else missing)
        self.perceptual: list[Perceptual] = [] if lpips is None else [lpips]
        if self.judge is not None:
            self.perceptual.append(self.judge.perceptual())
        self.masks = self._usable_masks(fresh)
        self.order = torch.randperm(len(self.real), generator=derive_rng(seed, "reference")).tolist()
        self.reference = self.order[:count]
        if len(self.reference) < count:
            self.note(f"--data has {len(self.reference):,} pictures, so these are the reference, not {count:,}")
        self.floor = self._floor()
        folder = find_bundle(config.bundle)
        self.bundle_digest = digest_of(read_json(folder / "bundle.json")["sha256"])
        self.cache = Cache(config.out, self._identity())
        self.done, self.total = 0, 0
        self.beside, self.here, self.counting = Beside(self.device), threading.local(), threading.Lock()
        self.batch = BATCH if self.device.type == "cpu" else BATCH_OFF_CPU

    def note(self, text: str) -> None:
        """Something that the reader of the report must know."""
        self.notes.append(text)

    # -- what there is ------------------------------------------------------------------------------------------------
    def _open_judge(self) -> Judge | None:
        labels = self.labels or self.real.labels
        folder = self.config.judge or (None if labels is None else shipped_judge(labels))
        if folder is None:
            self.note("not computed: all that a judge reads (mIoU, boundaries, ...): give --judge; proxymask train judge makes one")
            return None
        judge = Judge.load(folder).to(self.device)
        if labels is not None and judge.labels.names != labels.names:
            raise ProxymaskError(f"the judge in {folder} knows {', '.join(judge.labels.names)}; the masks have {', '.join(labels.names)}")
        if judge.about.size != self.subject.size:
            ours, theirs = short_text(self.subject.size), short_text(judge.about.size)
            self.note(f"the judge reads {theirs} pixels: pictures of {ours} and their masks are resized to that")
        return judge

    def _usable_masks(self, fresh: ImageSet) -> ImageSet | None:
        if fresh.labels is None:
            self.note("no masks: pictures from masks are not measured; give a data set with masks as --masks or --data")
            return None
        if self.labels is None or not self.subject.can_paint:
            self.note(f"the bundle has no mapper {self.config.mapper!r}: pictures from masks are not measured")
        elif fresh.labels.names != self.labels.names:
            raise ProxymaskError(f"the masks in {fresh.folder} have the classes {fresh.labels.names}, the bundle {self.labels.names}")
        if self.judge is not None and fresh.fingerprint == self.judge.about.data:
            self.note("mind: the judge learnt from these very masks: its scores flatter; give fresh ones as --masks")
        return fresh

    def _floor(self) -> tuple[ImageSet, list[int]]:
        """Real pictures apart from the reference: of the same set where it has enough, else of the fresh one."""
        rest = self.order[self.count : 2 * self.count]
        other = self.masks
        if len(rest) < self.count and other is not None and other.fingerprint != self.real.fingerprint and len(other) > len(rest):
            return other, list(range(min(self.count, len(other))))
        if len(rest) < 2:  # nothing is left: two halves of the reference
            half = len(self.reference) // 2
            return self.real, self.reference[half:]
        return self.real, rest

    def _identity(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "bundle": self.bundle_digest,
            "mapper": self.config.mapper,
            "handover": self.subject.synth.handover,
            "device": self.device.type,
            "precision": str(self.subject.synth.dtype),
            "seed": self.seed,
            "data": self.real.fingerprint,
            "masks": None if self.masks is None else self.masks.fingerprint,
            "judge": None if self.judge is None else self.judge.digest,
            "features": {key: net.digest for key, net in self.nets.items()},
            "perceptual": {net.label: net.digest for net in self.perceptual},
        }

    @property
    def paints(self) -> bool:
        """Whether pictures are made from masks here."""
        return self.masks is not None and self.subject.can_paint and self.config.protocol == "standard"

    # -- drawing ------------------------------------------------------------------------------------------------------
    def _chunks(self, count: int, size: int | None = None) -> Iterator[range]:
        size = size or CHUNK
        for start in range(0, count, size):
            yield range(start, min(start + size, count))

    def _tick(self, count: int) -> None:
        """So many pictures more are done, in the part that this thread makes."""
        self.beside.check()
        self.here.ticked = getattr(self.here, "ticked", 0) + count
        with self.counting:
            self.done += count
            if self.progress is not None:
                self.progress(min(self.done, self.total), self.total)

    def _measured(self, pictures: torch.Tensor) -> tuple[torch.Tensor | None, dict[str, torch.Tensor]]:
        """The judge's reading (B, s, s) and the features by network."""
        read, features = None, {}
        for key, net in self.nets.items():
            if isinstance(net, Judge):
                read, found = net.read(pictures.to(self.device))
                features[key] = found.cpu()
            else:
                features[key] = net(pictures.to(self.device)).cpu()
        return read, features

    def masks_of(self, indices: Sequence[int]) -> torch.Tensor:
        """Masks (B, H, W), taken round and round."""
        assert self.masks is not None
        return self.masks.masks([index % len(self.masks) for index in indices])

    def _pictures(self, part: range) -> Tensors:
        """Pictures of all kinds for the numbers ``part``, as features and scores."""
        s, kept = self.subject, _Columns()
        scores = {of: SegmentationScore(self.judge.labels.names) for of in ("masks", "proxy")} if self.judge is not None else {}
        agreement, unchanged = MaskAgreement(), torch.zeros(4, dtype=torch.int64)
        for start in range(part.start, part.stop, self.batch):
            index = range(start, min(start + self.batch, part.stop))
            w, shape_w = s.w(STYLES, index), s.w(SHAPES, index)
            style = s.style(w)
            shape_ids, shape = s.shape(shape_w)
            free, asked = s.sample(style), s.substituted(shape_ids, style)
            moved = s.rearranged(style, asked)
            crossed = s.render(moved, w)
            agreement += mask_agreement(moved.features, asked, s.own(style), s.clusters)
            read_free, found = self._measured(free)
            kept.add("generator", found)
            read_crossed, found = self._measured(crossed)
            kept.add("proxy", found)
            where = None
            if self.judge is not None:
                assert read_free is not None
                assert read_crossed is not None
                wanted, _ = self.judge.read(s.render(shape, shape_w))
                scores["proxy"].update(read_crossed, wanted)
                where = _sized(wanted != read_free, s.size)
            for at, counted in ((0, None), (2, where)):
                if at == 0 or where is not None:
                    same, total = unchanged_share(free, crossed, counted)
                    unchanged[at : at + 2] += torch.stack([same.sum(), total.sum()])
            if self.paints:
                masks = self.masks_of(index)
                read, found = self._measured(s.from_masks(masks, style))
                kept.add("masks", found)
                if self.judge is not None:
                    assert read is not None
                    scores["masks"].update(read, self.judge.sized_masks(masks))
            self._tick(len(index))
        out = kept.tensors() | {f"score/{of}/{name}": v for of, score in scores.items() for name, v in score.tensors().items()}
        out["agreement"] = torch.tensor(dataclasses.astuple(agreement))
        return out | {"unchanged": unchanged}

    def _real(self, source: ImageSet, numbers: Sequence[int]) -> Tensors:
        kept = _Columns()
        for start in range(0, len(numbers), self.batch):
            part = list(numbers[start : start + self.batch])
            kept.add("real", self._measured(source.images(part))[1])
            self._tick(len(part))
        return kept.tensors()

    def _judged(self, part: range) -> Tensors:
        """The judge on the real pictures of the masks, and the masks taken to the proxy grid and back."""
        assert self.judge is not None
        assert self.masks is not None
        names = self.judge.labels.names
        real, grid = SegmentationScore(names), SegmentationScore(names)
        for start in range(part.start, part.stop, self.batch):
            index = list(range(start, min(start + self.batch, part.stop)))
            truth = self.masks.masks(index)
            real.update(self.judge.read(self.masks.images(index).to(self.device))[0], self.judge.sized_masks(truth))
            small = F.interpolate(truth[:, None].float(), size=self.subject.clusters.size, mode="nearest-exact")
            back = F.interpolate(small, size=height_width(self.subject.size), mode="nearest-exact")[:, 0].long()
            grid.update(back, truth)
            self._tick(len(index))
        return {f"score/{of}/{name}": v for of, score in (("real", real), ("grid", grid)) for name, v in score.tensors().items()}

    def _identity_of_samples(self, part: range) -> Tensors:
        """Samples under their own proxy mask, under another's as it comes, and, with a mapper, two masks in one style."""
        s = self.subject
        agreement, swapped = MaskAgreement(), torch.zeros(4, dtype=torch.int64)
        quality, perceptual = [], []
        for start in range(part.start, part.stop, self.batch):
            index = range(start, min(start + self.batch, part.stop))
            w = s.w(STYLES, index)
            style = s.style(w)
            own, picture = s.own(style), s.sample(style)
            again = s.render(s.rearranged(style, own), w)
            quality.append(psnr(again, picture).clamp(max=100.0))
            perceptual.append(torch.stack([net(again, picture).cpu() for net in self.perceptual]) if self.perceptual else None)
            other, _ = s.shape(s.w(SHAPES, index))
            agreement += mask_agreement(s.rearranged(style, other).features, other, own, s.clusters)
            if self.paints:
                one, two = self.masks_of(index), self.masks_of([i + IDENTITY for i in index])
                a, b = s.from_masks(one, style), s.from_masks(two, style)
                for at, where in ((0, None), (2, one != two)):
                    swapped[at : at + 2] += torch.stack([x.sum() for x in unchanged_share(a, b, where)])
            self._tick(len(index))
        out = {"psnr": torch.cat(quality), "agreement": torch.tensor(dataclasses.astuple(agreement)), "swapped": swapped}
        if self.perceptual:
            out["perceptual"] = torch.cat([p for p in perceptual if p is not None], dim=1)
        return out

    def _diverse(self, part: range) -> Tensors:
        """Distances (perceptual networks, masks, pairs of groups) of the masks ``part``, each rendered once a group."""
        s, rows = self.subject, []
        pairs = group_pairs(GROUPS, PAIRS, self.seed)
        for number in part:
            styles = s.style(s.w(DIVERSITY, range(number * GROUPS, (number + 1) * GROUPS)))
            pictures = s.from_masks(self.masks_of([number]), styles)
            found = []
            for net in self.perceptual:
                maps = net.embed(pictures)
                first, second = ([layer[[pair[side] for pair in pairs]] for layer in maps] for side in (0, 1))
                found.append(net.between(first, second).cpu())
            rows.append(torch.stack(found))
            self._tick(GROUPS)
        return {"distances": torch.stack(rows, dim=1)}

    def _style(self) -> dict[str, Any]:
        """Whether pictures keep the colours of their own style sample."""
        s = self.subject
        assert self.judge is not None
        w = s.w(CONSISTENCY, range(CONSISTENT_STYLES))
        samples = s.sample(s.style(w))
        read = _sized(self.judge.read(samples)[0], s.size)
        reference = region_colors(samples.cpu(), read, len(self.judge.labels))
        masks = self.masks_of(range(CONSISTENT_MASKS))
        rows = []
        for index in range(CONSISTENT_STYLES):
            rows.append(s.from_masks(masks, s.style(w[index : index + 1])).cpu())
            self._tick(CONSISTENT_MASKS)
        return {"share": style_consistency(torch.stack(rows), masks, reference)}

    # -- measuring ----------------------------------------------------------------------------------------------------
    def run(self) -> Evaluation:
        """Compute what is not there yet, then put everything together."""
        began = time.time()
        jobs = self._jobs()
        self.total = sum(size for _, _, size in jobs)
        parts = self.beside.run([functools.partial(self._part, *job) for job in jobs])
        found = {name: part for (name, _, _), part in zip(jobs, parts, strict=True)}
        self._collect(found)
        about = self._about() | {"seconds": round(time.time() - began, 1)}
        sheets = self._sheets(found)
        return Evaluation(about, self.numbers, self.notes, sheets, self.judge.labels if self.judge else self.labels)

    def _part(self, name: str, make: Callable[[], Any], size: int) -> Any:
        """One part, read or made, and stored."""
        self.here.ticked = 0
        found = self.cache.json(name, make) if name == "style" else self.cache.tensors(name, make)
        self._tick(size - self.here.ticked)  # what was there already counts as if it had been made
        return found

    def _jobs(self) -> list[tuple[str, Callable[[], Any], int]]:
        """Parts by name, what makes them, and how many pictures each is worth."""
        jobs: list[tuple[str, Callable[[], Any], int]] = []

        def add(prefix: str, parts: Iterator[range], make: Callable[[range], Any], weight: int = 1) -> None:
            for part in parts:
                jobs.append((f"{prefix}-{part.start}-{part.stop}", functools.partial(make, part), len(part) * weight))

        # what takes long comes first, so that the last parts, which may run beside nothing, are short
        kind = "pictures" if self.paints else "samples"
        add(kind, self._chunks(self.count), self._pictures)
        if self.paints and self.judge is not None:
            jobs.append(("style", self._style, CONSISTENT_STYLES * CONSISTENT_MASKS))
        self.identity_count = min(IDENTITY, self.count)
        add(f"identity-{kind}", self._chunks(self.identity_count), self._identity_of_samples)
        self.diverse = max(1, min(self.count // GROUPS, DIVERSE, len(self.masks))) if self.paints and self.masks else 0
        if self.diverse and self.perceptual:
            add("diversity", self._chunks(self.diverse, max(1, CHUNK // GROUPS)), self._diverse, GROUPS)
        source, numbers = self.floor
        add("reference", self._chunks(len(self.reference)), lambda part: self._real(self.real, self.reference[part.start : part.stop]))
        name = f"floor-{self.count}" if source is self.real else "floor-fresh"
        add(name, self._chunks(len(numbers)), lambda part: self._real(source, numbers[part.start : part.stop]))
        self.judged = 0
        if self.masks is not None and self.judge is not None and self.config.protocol == "standard":
            self.judged = min(self.count, len(self.masks))
            add("judged", self._chunks(self.judged), self._judged)
        return jobs

    def _add(self, key: str, name: str, of: str, value: float | None, count: int, **more: Any) -> None:
        """One number, with all that is needed to read it."""
        row = {"key": key, "name": name, "of": of, "title": TITLES[of], "value": value, "count": count, **more}
        row |= {"reference": self.real.fingerprint[:16], "seed": self.seed, "versions": _versions()}
        self.numbers.append(row)

    def _collect(self, found: dict[str, Any]) -> None:
        def gather(prefix: str) -> list[Tensors]:
            return [value for name, value in found.items() if name.startswith(prefix)]

        kind = "pictures" if self.paints else "samples"
        drawn, own = gather(f"{kind}-"), gather("identity-")
        self._collect_distances(gather("reference-"), gather("floor-"), drawn)
        self._collect_scores(drawn, gather("judged-"))
        moved = MaskAgreement(*torch.stack([part["agreement"] for part in drawn]).sum(dim=0).tolist())
        raw = MaskAgreement(*torch.stack([part["agreement"] for part in own]).sum(dim=0).tolist())
        plain = {"network": None, "resize": None}
        self._add("agreement", "mask agreement, proxy masks as handed over", "proxy", moved.overall, self.count, **plain)
        count = self.identity_count
        self._add("agreement_present", "mask agreement where the style has the asked cluster", "proxy", raw.present, count, **plain)
        self._add("agreement_absent", "mask agreement where the style lacks it", "proxy", _none(raw.absent), count, **plain)
        self._collect_unchanged(torch.stack([part["unchanged"] for part in drawn]).sum(dim=0), "proxy", self.count)
        if self.paints:
            self._collect_unchanged(torch.stack([part["swapped"] for part in own]).sum(dim=0), "masks", count)
        quality = torch.cat([part["psnr"] for part in own])
        self._add("identity_psnr", "a sample under its own proxy mask, PSNR (dB)", "samples", float(quality.mean()), count, **plain)
        if self.perceptual:
            values = torch.cat([part["perceptual"] for part in own], dim=1).mean(dim=1)
            for net, value in zip(self.perceptual, values.tolist(), strict=True):
                name = f"a sample under its own proxy mask, {net.label}"
                self._add("identity_perceptual", name, "samples", value, count, network=net.digest[:16], resize="none")
        if "style" in found:
            assert self.judge is not None
            extra = {"network": self.judge.digest[:16], "resize": self.judge.resize, "chance": 1 / CONSISTENT_STYLES}
            extra |= {"styles": CONSISTENT_STYLES, "masks": CONSISTENT_MASKS}
            total = CONSISTENT_STYLES * CONSISTENT_MASKS
            self._add("style_consistency", "colours nearest to those of the own style", "masks", found["style"]["share"], total, **extra)
        diverse = gather("diversity-")
        if diverse:
            table = torch.cat([part["distances"] for part in diverse], dim=1).double()  # (networks, masks, pairs)
            pairs = {pair: index for index, pair in enumerate(group_pairs(GROUPS, PAIRS, self.seed))}
            for net, rows in zip(self.perceptual, table, strict=True):
                got = group_diversity(functools.partial(_distance, rows, pairs), GROUPS, rows.shape[0], PAIRS, self.seed)
                more = {"spread": got.std, "groups": got.groups, "pairs": PAIRS, "network": net.digest[:16], "resize": "none"}
                self._add("diversity", f"diversity, {net.label}", "masks", got.mean, got.masks * got.groups, **more)

    def _collect_distances(self, reference: list[Tensors], floor: list[Tensors], drawn: list[Tensors]) -> None:
        for key, net in self.nets.items():
            real = torch.cat([part[f"features/real/{key}"] for part in reference]).numpy()
            other = torch.cat([part[f"features/real/{key}"] for part in floor]).numpy()
            sets = {
                of: [part[f"features/{of}/{key}"] for part in drawn if f"features/{of}/{key}" in part]
                for of in ("masks", "proxy", "generator")
            }
            arrays = {of: torch.cat(parts).numpy() for of, parts in sets.items() if parts} | {"floor": other}
            for of, fake in arrays.items():
                against = real
                if of == "floor":  # as many on either side, and no picture on both
                    against = real[: len(real) - len(other)] if self._halved() else real
                    against = against[: len(fake)]
                got = distances(against, fake, self.config.backend, self.seed)
                more: dict[str, Any] = {"network": net.digest[:16], "network_name": net.label, "resize": net.resize}
                more["backend"] = self.backend
                more["reference_count"] = len(against)
                self._add(f"frechet/{key}", net.frechet_name(), of, got.frechet, len(fake), **more)
                if got.kernel is not None:
                    size = min(KERNEL_SIZE, len(against), len(fake))
                    subsets = {"spread": got.kernel_std, "subsets": KERNEL_SUBSETS, "subset_size": size}
                    self._add(f"kernel/{key}", net.kernel_name(), of, got.kernel, len(fake), **more, **subsets)
                if got.precision is not None:
                    for which, value in (("precision", got.precision), ("recall", got.recall)):
                        name = f"{which} (k = {NEIGHBOURS}), {net.label} features"
                        self._add(f"{which}/{key}", name, of, value, len(fake), **more)

    def _halved(self) -> bool:
        """Whether the floor had to be cut out of the reference itself."""
        source, numbers = self.floor
        return source is self.real and set(numbers) <= set(self.reference)

    def _collect_scores(self, drawn: list[Tensors], judged: list[Tensors]) -> None:
        if self.judge is None:
            return
        names = self.judge.labels.names
        for of, parts in (("masks", drawn), ("proxy", drawn), ("grid", judged), ("real", judged)):
            score, prefix = SegmentationScore(names), f"score/{of}/"
            for part in parts:
                mine = {name.removeprefix(prefix): value for name, value in part.items() if name.startswith(prefix)}
                if mine:
                    score.take(mine)
            if not int(score.matrix.counts.sum()):
                continue
            summary = score.summary()
            more: dict[str, Any] = {"network": self.judge.digest[:16], "network_name": "judge", "resize": self.judge.resize}
            more["judge_own_miou"] = self.judge.about.accuracy.get("miou")
            if of == "grid":
                more = {"network": None, "resize": "nearest neighbour"}
            count = summary["count"]
            for key, name in SCORES.items():
                by_class = summary.get("iou" if key == "miou" else f"{key}_by_class")
                extra = more if by_class is None else more | {"classes": {k: _none(v) for k, v in by_class.items()}}
                self._add(key, name, of, _none(summary[key]), count, **extra)

    def _collect_unchanged(self, counts: torch.Tensor, of: str, count: int) -> None:
        plain = {"network": None, "resize": None}
        same, total, same_there, total_there = (int(v) for v in counts)
        self._add("unchanged", "pixels that stay when the mask is swapped", of, same / max(total, 1), count, **plain)
        if total_there:
            name = "mask ignored: pixels that stay although their class changes"
            self._add("mask_ignored", name, of, same_there / total_there, count, **plain)

    def _about(self) -> dict[str, Any]:
        synth = self.subject.synth
        return {
            "bundle": self.config.bundle,
            "bundle_sha256": self.bundle_digest,
            "mapper": self.config.mapper if self.paints else None,
            "handover": synth.handover,
            "resolution": synth.size,
            "cut": synth.bundle.cut,
            "clusters": synth.bundle.clusters.num_clusters,
            "protocol": self.config.protocol,
            "count": self.count,
            "seed": self.seed,
            "data": {"fingerprint": self.real.fingerprint, "pictures": len(self.real)},
            "masks": None if self.masks is None else {"fingerprint": self.masks.fingerprint, "pictures": len(self.masks)},
            "judge": None if self.judge is None else {"sha256": self.judge.digest, **dataclasses.asdict(self.judge.about)},
            "features": [
                {"name": net.label, "key": key, "sha256": net.digest, "resize": net.resize, "is_fid": net.is_fid, "dimensions": net.dim}
                for key, net in self.nets.items()
            ],
            "backend": self.backend,
            "device": str(self.device),
            "precision": str(synth.dtype),
            "versions": _versions(),
        }

    # -- pictures for the report --------------------------------------------------------------------------------------
    def _sheets(self, found: dict[str, Any]) -> dict[str, list[np.ndarray]]:
        drawn = [value for name, value in found.items() if name.startswith("pictures-" if self.paints else "samples-")]
        of = "masks" if self.paints else "proxy"
        sheets = {"as they come": self._sheet(range(min(SHOWN, self.count)), of)}
        if self.judge is not None:
            names = self.judge.labels.names
            score = SegmentationScore(names)
            for part in drawn:
                score.take({name.removeprefix(f"score/{of}/"): v for name, v in part.items() if name.startswith(f"score/{of}/")})
            ranked = score.per_picture().argsort(descending=True).tolist()
            middle = max(0, len(ranked) // 2 - SHOWN // 2)
            for title, chosen in (("best", ranked[:SHOWN]), ("median", ranked[middle:][:SHOWN]), ("worst", ranked[-SHOWN:])):
                sheets[title] = self._sheet(chosen, of)
        return sheets

    def _sheet(self, numbers: Sequence[int], of: str) -> list[np.ndarray]:
        """Rows: the mask asked for (or the sample that gave the shape), the style's own sample, the picture, the judge's reading."""
        s, size = self.subject, self.subject.size
        w = s.w(STYLES, numbers)
        style = s.style(w)
        rows = []
        if of == "masks":
            masks = self.masks_of(numbers)
            assert self.labels is not None
            rows.append(self.labels.colors[masks.numpy()])
            picture = s.from_masks(masks, style)
        else:
            shape_w = s.w(SHAPES, numbers)
            ids, shape = s.shape(shape_w)
            rows.append(_uint8(s.render(shape, shape_w)))
            picture = s.render(s.rearranged(style, s.substituted(ids, style)), w)
        rows += [_uint8(s.sample(style)), _uint8(picture)]
        if self.judge is not None:
            rows.append(self.judge.labels.colors[_sized(self.judge.read(picture)[0], size).numpy()])
        return rows


SCORES = {
    "miou": "mIoU, pooled over all pixels",
    "accuracy": "pixel accuracy",
    "linear_gan_miou": "mIoU as LinearGAN counts it (a picture at a time, no background)",
    "boundary_f_1px": "boundary F-score at 1 pixel",
    "boundary_f_2px": "boundary F-score at 2 pixels",
}


class _Columns:
    """Features of batches, by set and network."""

    def __init__(self) -> None:
        self.parts: dict[str, list[torch.Tensor]] = {}

    def add(self, of: str, features: dict[str, torch.Tensor]) -> None:
        for key, value in features.items():
            self.parts.setdefault(f"features/{of}/{key}", []).append(value)

    def tensors(self) -> Tensors:
        return {name: torch.cat(values) for name, values in self.parts.items()}


def _distance(rows: torch.Tensor, pairs: dict[tuple[int, int], int], mask: int, a: int, b: int) -> float:
    """The distance of two groups' pictures of a mask, out of a table (masks, pairs)."""
    return float(rows[mask, pairs[a, b]])


def _sized(ids: torch.Tensor, size: Size) -> torch.Tensor:
    """Ids or flags (B, h, w) at another size, by nearest neighbour."""
    if ids.shape[-2:] == height_width(size):
        return ids
    return F.interpolate(ids[:, None].float(), size=height_width(size), mode="nearest-exact")[:, 0].to(ids.dtype)


def _uint8(pictures: torch.Tensor) -> np.ndarray:
    from ..training.grids import to_uint8

    return to_uint8(pictures)


def _none(value: float) -> float | None:
    """NaN is no JSON."""
    return None if value != value else float(value)


def _versions() -> str:
    return f"proxymask {__version__}, torch {torch.__version__}, numpy {np.__version__}"


def evaluate(
    config: EvaluationConfig, *, device: str = "auto", precision: str = "auto", seed: int = 0, progress: Progress | None = None
) -> Evaluation:
    """Measure a bundle; write ``metrics.json`` and ``report.html`` into ``config.out``.

    Raises:
        ProxymaskError: bundle, data, judge or a weights file that cannot be used; nothing to measure with; a full disk.
    """
    from .report import write_report

    if config.out.is_file():
        raise ProxymaskError(f"{config.out} is a file: --out names a folder")
    result = Evaluator(config, device=device, precision=precision, seed=seed, progress=progress).run()
    try:
        write_json(config.out / "metrics.json", {"format": FORMAT, "about": result.about, "notes": result.notes, "numbers": result.numbers})
        write_report(config.out / "report.html", result)
    except OSError as error:
        raise ProxymaskError(f"cannot write {config.out} ({error.strerror}): make room and run the same command again") from None
    return result
