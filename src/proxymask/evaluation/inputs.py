"""What an evaluation works with: the bundle, real pictures, masks, judges and feature networks, opened and checked."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..core.checks import nearest
from ..core.device import to_device
from ..core.errors import ProxymaskError
from ..core.files import read_json
from ..core.hashing import json_hash
from ..core.seeding import permutation
from ..core.sizes import height_width, short_text
from ..core.text import counted
from ..data.dataset import ImageSet
from ..imaging.labels import LabelSet
from ..inference.find import find_bundle
from ..inference.samples import read_labelled
from ..inference.synthesizer import Synthesizer
from ..metrics.backends import version_of
from ..metrics.features import NAMES, EfficientNetFeatures, FeatureNetwork, load_features
from ..metrics.lpips import PerceptualDistance, find_lpips
from . import counts
from .baselines import LabelTable
from .config import EvaluationConfig, Part
from .judge import Judge, judge_names, shipped_judges
from .synthesis import BundleSynthesis

CACHE_FORMAT = 3
MASK_MAPPER = "mask"  # of every bundle that was fitted


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Everything that is measured and measured with. Made by :func:`open_inputs`."""

    config: EvaluationConfig
    count: int
    """Pictures of each kind."""
    parts: tuple[Part, ...]
    seed: int
    bundle: BundleSynthesis
    bundle_digest: str
    judges: dict[str, Judge]
    """Judges by name, the end of the path of their folder; the first is the main one. Empty where there is none."""
    networks: dict[str, FeatureNetwork]
    """Feature networks of the distances by their key; the main judge is the first where there is one."""
    perceptual: list[PerceptualDistance]
    """Perceptual distances: LPIPS where its weights are found, then the main judge's."""
    real: ImageSet
    order: list[int]
    """All numbers of ``real``, shuffled."""
    masks: ImageSet | None
    """Pictures with the masks to make pictures from; None where there are no masks."""
    mask_order: list[int]
    """All numbers of ``masks``, shuffled: files are often sorted by what they show, so the first ones stand for nothing."""
    table: LabelTable | None
    """The second baseline, where labelled samples are given."""
    backend: str
    """Name and version of the program that computes the distances."""
    notes: list[str]

    @property
    def device(self) -> torch.device:
        """Where the networks compute."""
        return self.bundle.synth.device

    @property
    def judge(self) -> Judge | None:
        """The main judge: its features are those of the distances, the sheets show its predictions. The others only score."""
        return next(iter(self.judges.values()), None)

    def stored_name(self, name: str, judge: Judge) -> str:
        """Name of a tensor or number of a judge in the cache: ``name`` of the main judge's, with the digest of any other's."""
        return name if judge is self.judge else f"{name}-{judge.digest[:16]}"

    @property
    def labels(self) -> LabelSet | None:
        """The bundle's classes."""
        return self.bundle.synth.bundle.labels

    @property
    def has_mask_pictures(self) -> bool:
        """Whether pictures can be made from masks: there are masks, and a mapper for them."""
        return self.masks is not None and self.bundle.has_mapper

    @property
    def measures_masks(self) -> bool:
        """Whether pictures from masks are scored: not in the paper's protocol, whose pictures are of two latents (supplement B.1)."""
        return self.has_mask_pictures and self.config.protocol == "standard"

    @property
    def details(self) -> bool | None:
        """Whether pictures from masks are drawn with the mapper's detail network; None where it has none."""
        return self.config.details if self.config.mapper in self.bundle.synth.bundle.details else None

    @property
    def reference(self) -> list[int]:
        """Indices of the ``count`` real pictures that the distances are measured to; fewer where ``real`` has fewer."""
        return self.order[: self.count]

    @property
    def other_real(self) -> tuple[ImageSet, list[int]]:
        """Real pictures to compare with the reference, and their numbers.

        They are the pictures of the same set that are left, where those are as many, else those of the set of the masks, or the second half
        of the reference, which then is compared with its first half: whichever are the most.
        """
        rest, half = self.order[self.count : 2 * self.count], self.reference[len(self.reference) // 2 :]
        found = [(self.real, rest)]
        if self.masks is not None and self.masks.fingerprint != self.real.fingerprint:
            found.append((self.masks, self.mask_order[: self.count]))
        found.append((self.real, half))
        return max(found, key=lambda each: len(each[1]))

    @property
    def shares_reference(self) -> bool:
        """Whether :attr:`other_real` are part of the reference."""
        source, numbers = self.other_real
        return source is self.real and set(numbers) <= set(self.reference)

    @property
    def swapped_by(self) -> int:
        """How many masks further stands the mask that another is swapped with; 0 where there is no other mask."""
        there = 0 if self.masks is None else len(self.masks)
        return 0 if there < 2 else counts.OWN_MASK if counts.OWN_MASK % there else there // 2

    def mask_numbers(self, indices: Sequence[int]) -> list[int]:
        """Numbers in ``masks`` of the pictures ``indices``, shuffled; after the last mask the first one comes again."""
        return [self.mask_order[index % len(self.mask_order)] for index in indices]

    def masks_of(self, indices: Sequence[int]) -> torch.Tensor:
        """Masks (B, H, W) int64 of the pictures ``indices``, see :meth:`mask_numbers`."""
        assert self.masks is not None
        return self.masks.masks(self.mask_numbers(indices))

    def _scoring(self, judge: Judge) -> str:
        """What a judge's scores depend on besides the pictures: its digest, and the size at which it scores if it is not its own."""
        size = judge.scored_size(*height_width(self.bundle.size))
        return judge.digest if size == height_width(judge.info.size) else f"{judge.digest}@{short_text(size)}"

    def identity(self) -> dict[str, Any]:
        """What stored parts depend on: with another identity nothing of the cache is used."""
        return ({"details": False} if self.details is False else {}) | {
            "format": CACHE_FORMAT,
            "bundle": self.bundle_digest,
            "mapper": self.config.mapper,
            "proxy_mask_mode": self.bundle.synth.proxy_mask_mode,
            "device": self.device.type,
            "precision": str(self.bundle.synth.dtype),
            "seed": self.seed,
            "data": self.real.fingerprint,
            "masks": None if self.masks is None else self.masks.fingerprint,
            "judge": " ".join(map(self._scoring, self.judges.values())) or None,
            "features": {key: net.digest for key, net in self.networks.items()},
            "perceptual": {net.label: net.digest for net in self.perceptual},
        }


def open_inputs(config: EvaluationConfig, device: str = "auto", precision: str = "auto", seed: int = 0) -> Inputs:
    """Open and check everything that ``config`` names.

    Raises:
        ProxymaskError: a bundle, data set, judge or weights file that cannot be used, or no feature network at all.
    """
    notes: list[str] = []
    count, parts, backend = config.resolved_count(), config.resolved_parts(), version_of(config.backend)
    synth = Synthesizer.from_pretrained(config.bundle, device, precision)
    channels = synth.bundle.generator.img_channels
    if channels != 3:
        raise ProxymaskError(f"{config.bundle} makes pictures of {channels} channels: only pictures in colours (3) can be evaluated")
    _check_mapper(config.mapper, synth)
    synth.use_details = config.details
    bundle = BundleSynthesis(synth, config.mapper, seed)
    real = ImageSet.open(config.data, synth.size, strict=config.strict)
    labelled = real if config.masks is None else ImageSet.open(config.masks, synth.size, strict=config.strict)
    judges = _open_judges(config, bundle, real, notes)
    judge = next(iter(judges.values()), None)
    networks = _open_networks(config, judge, synth.device, notes)
    order = permutation(len(real), seed, "reference").tolist()
    masks = _usable_masks(config, labelled, bundle, judges, notes)
    if len(real) < count:
        notes.append(f"--data has {counted(len(real), 'picture')}: the reference is these, not {count:,}")
    inputs = Inputs(
        config=config,
        count=count,
        parts=parts,
        seed=seed,
        bundle=bundle,
        bundle_digest=json_hash(read_json(find_bundle(config.bundle) / "bundle.json")["sha256"]),
        judges=judges,
        networks=networks,
        perceptual=_open_perceptual(config, judge, networks, notes),
        real=real,
        order=order,
        masks=masks,
        mask_order=[] if masks is None else permutation(len(masks), seed, "masks").tolist(),
        table=_label_table(config, bundle, notes),
        backend=backend,
        notes=notes,
    )
    if "pictures" in parts and inputs.shares_reference and len(inputs.reference) < 4:
        raise ProxymaskError(
            f"--data has {counted(len(real), 'picture')}: distances need 4, two to compare with two others; give more, or --parts without "
            "pictures"
        )
    return inputs


def _check_mapper(name: str, synth: Synthesizer) -> None:
    """Refuse a mapper that is not there, or that does not read masks; a bundle without any is measured without one."""
    able = sorted(mapper for mapper in synth.bundle.mappers if synth.bundle.condition_of(mapper)["condition"] == "mask")
    if name not in able and (able or name != MASK_MAPPER):
        have = f"it has {', '.join(able)}" if able else "it has none"
        raise ProxymaskError(f"--mapper {name}: the bundle {synth.bundle.name} has no such mapper for masks ({have}){nearest(name, able)}")


def _open_judges(config: EvaluationConfig, bundle: BundleSynthesis, real: ImageSet, notes: list[str]) -> dict[str, Judge]:
    """The judges by name, the first the main one; all know the classes of the masks, or, without masks, those of the first."""
    labels, whose = bundle.synth.bundle.labels or real.labels, "the masks have"
    folders = list(config.judge) or ([] if labels is None else shipped_judges(labels))
    if not folders:
        notes.append("not computed: all that needs a judge (mIoU, boundaries, ...): give --judge; proxymask train judge makes one")
    opened: dict[str, tuple[Path, Judge]] = {}  # by digest
    for folder in folders:
        judge = to_device(Judge.load(folder), bundle.synth.device)
        if labels is not None and judge.labels.names != labels.names:
            raise ProxymaskError(f"the judge in {folder} knows {', '.join(judge.labels.names)}; {whose} {', '.join(labels.names)}")
        if judge.digest in opened:
            raise ProxymaskError(f"--judge: {opened[judge.digest][0]} and {folder} hold the same network; give each judge once")
        if labels is None:
            labels, whose = judge.labels, f"the judge in {folder} knows"
        opened[judge.digest] = folder, judge
    judges = dict(zip(judge_names(folders), [judge for _, judge in opened.values()], strict=True))
    for name, judge in judges.items():
        if judge.info.size != bundle.size:
            ours, theirs, size = short_text(bundle.size), short_text(judge.info.size), height_width(bundle.size)
            how = (
                "are resized to that and scored at their own size"
                if judge.scored_size(*size) == size
                else "and their masks are resized to that"
            )
            notes.append(f"the judge {name} reads {theirs} pixels: pictures of {ours} {how}")
    return judges


def _open_networks(config: EvaluationConfig, judge: Judge | None, device: torch.device, notes: list[str]) -> dict[str, FeatureNetwork]:
    networks: dict[str, FeatureNetwork] = {} if judge is None else {"judge": judge}
    for what in config.features:
        if what == "judge":
            continue
        try:
            net = to_device(load_features(what, config.weights), device)
        except ProxymaskError as error:
            if what.partition(":")[0] not in NAMES:
                raise  # a path must be right; the weights of a named network may be missing
            notes.append(f"not computed: {what} features: {error.message}")
            continue
        networks[net.key] = net
    if not config.features:
        notes.append("FID and KID proper need Inception's weights: --features inception (and --weights FOLDER)")
    if not networks:
        raise ProxymaskError("no features to measure distances in: give --judge (proxymask train judge) or --features")
    return networks


def _open_perceptual(
    config: EvaluationConfig, judge: Judge | None, networks: dict[str, FeatureNetwork], notes: list[str]
) -> list[PerceptualDistance]:
    lpips, missing = find_lpips(config.weights)
    if missing:
        notes.append(f"not computed: {missing}" if lpips is None else missing)
    found = [net for net in (lpips, None if judge is None else judge.perceptual()) if net is not None]
    deep = [net for net in networks.values() if isinstance(net, EfficientNetFeatures)]
    return found + [PerceptualDistance(f"perceptual distance, {net.label} features", net.maps, net.digest) for net in deep]


def _usable_masks(
    config: EvaluationConfig, labelled: ImageSet, bundle: BundleSynthesis, judges: dict[str, Judge], notes: list[str]
) -> ImageSet | None:
    """The set if it has masks; the notes say what is not measured, and which judge knows these masks."""
    labels = bundle.synth.bundle.labels
    without = "the diversity is of proxy masks" if config.protocol == "paper" else "pictures from masks are not measured"
    if labelled.labels is None:
        notes.append(f"no masks: {without}; give a data set with masks as --masks or --data")
        return None
    if labels is None or not bundle.has_mapper:
        notes.append(f"the bundle has no mapper {config.mapper!r}: {without}")
    elif labelled.labels.names != labels.names:
        raise ProxymaskError(f"the masks in {labelled.folder} have the classes {labelled.labels.names}, the bundle {labels.names}")
    for name, judge in judges.items():
        if labelled.has_fingerprint(judge.info.data) or (judge.info.source and judge.info.source == labelled.source):
            notes.append(f"the judge {name} was trained on these very masks: its scores are too good; give others as --masks")
    return labelled


def _label_table(config: EvaluationConfig, bundle: BundleSynthesis, notes: list[str]) -> LabelTable | None:
    labels = bundle.synth.bundle.labels
    if config.labelled is None:
        return None
    if labels is None:
        raise ProxymaskError(f"--labelled: the bundle {bundle.synth.bundle.name} has no labels; leave the flag out")
    w, masks, _ = read_labelled(config.labelled, labels, None, strict=config.strict)
    if absent := [label.name for label in labels.labels if not bool((masks == label.id).any())]:
        notes.append(f"baseline b: no labelled sample shows {', '.join(absent)}: there its table takes the clusters of {labels.names[0]}")
    return LabelTable(masks, bundle.layout(w.to(bundle.synth.device))[0])
