"""What each part beyond the paper is worth: the full recipe (by default the demo preset), and each part off alone, on any domain.

    python -m ablations.parts --data data/avatars64 --masks data/test64 --generator avatars --clusters avatars \\
        --labels runs/avatars-labels --discriminator runs/g64 --work runs/parts-avatars --steps 4000 --mapper-steps 2400 \\
        --out ../docs/results/ablations/parts-avatars.json
    python -m ablations.parts ... --only full no-L_mix      # these alone; the rows of the others stay

An arm is a chain of trainings: rearranger, few-shot segmenter, mapper. Arms that change only what comes after the rearranger take that of
the arm ``full``; the arm ``student`` learns from the mapper of ``full``. Each arm is scored on the fresh masks by every judge: mIoU and
boundary F-score, distance in the features of the first judge, agreement of the proxy masks, colours of the own style. No arm has a detail
network. ``full`` and ``one-label`` are the arms that the others are compared with (:data:`PARTS`).
"""

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from wall_time import averaged

from proxymask.core.errors import ProxymaskError
from proxymask.core.hashing import weights_hash
from proxymask.data.dataset import ImageSet
from proxymask.evaluation import BundleSynthesis
from proxymask.evaluation.synthesis import STYLES
from proxymask.imaging.grids import tile, to_uint8
from proxymask.imaging.masks import colorize
from proxymask.imaging.pictures import write_picture
from proxymask.inference.bundle import Bundle
from proxymask.inference.samples import read_label_set, read_labelled
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.discriminator import Discriminator
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.rearranger import Rearranger
from proxymask.models.split_generator import SplitGenerator
from proxymask.models.stylegan2 import Generator
from proxymask.training.checkpoint import checkpoints, steps_done
from proxymask.training.parts import load_part
from proxymask.training.presets import load_preset

from .common import Budget, Stages


@dataclasses.dataclass(frozen=True)
class Arm:
    """What an arm changes in the full recipe."""

    rearranger: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Changed settings of the rearranger; where there are some, the arm trains its own."""
    segmenter: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    mapper: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    clusters: int | None = None
    """K, if it is another one; the arm then trains its own rearranger."""
    labelled: int | None = None
    """Labelled samples; None: all that are there."""
    narrowed: bool = True
    """False: queries and keys keep the channels that they were trained with."""
    student: bool = False
    """The mapper learns from that of ``full``, with the widths of docs/decisions.md, mapper-distillation."""


ARMS: Mapping[str, Arm] = {
    "full": Arm(),
    "no-refinement": Arm(rearranger={"refinement_width": 0, "mix_absent": False}),  # attention alone cannot draw what the style lacks
    "no-L_mix": Arm(rearranger={"lambda_mix": 0.0, "lambda_self": 10.0}),  # L_self as in the paper (A.2)
    "no-attention-start": Arm(rearranger={"key_mask": False, "init": "random"}),
    "25-clusters": Arm(clusters=25),
    "no-narrowing": Arm(narrowed=False),
    "no-L_label": Arm(mapper={"lambda_label": 0.0}),
    "no-label-prior": Arm(mapper={"label_prior": False}),
    "no-style-prior": Arm(mapper={"proxy_mask_mode": "hard"}),
    "student": Arm(student=True),
    "one-label": Arm(labelled=1),
    "one-label-no-style-transfer": Arm(labelled=1, segmenter={"style_transfer_max_labels": 0}),
}


@dataclasses.dataclass(frozen=True)
class Part:
    """A part beyond the paper: the arm that has it, and the arm that differs in it alone."""

    title: str
    on: str
    off: str
    purpose: Literal["quality", "speed"] = "quality"
    """What it is there for: a part for speed must cost nothing, the others must bring something."""


PARTS = (
    Part("refinement block", "full", "no-refinement"),
    Part("L_mix (off: L_self)", "full", "no-L_mix"),
    Part("L_label", "full", "no-L_label"),
    Part("label prior (off: the coarser style prior)", "full", "no-label-prior"),
    Part("style prior", "full", "no-style-prior"),
    Part("attention start: centroids, mask in the keys", "full", "no-attention-start"),
    Part("K = 100 (off: 25)", "full", "25-clusters"),
    Part("style-transfer labelling, with one label", "one-label", "one-label-no-style-transfer"),
    Part("narrowing of queries and keys", "full", "no-narrowing", "speed"),
    Part("student mapper, narrower (off: its teacher)", "student", "full", "speed"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts(Budget):
    """Switch each part off alone."""

    generator: Path
    """The domain's generator: its run, its saved network, a bundle, or the name of an embedded one."""
    clusters: Path | None = None
    """Its clusters; by default they are made, as many as the preset says."""
    labels: Path
    """Folder of labelled samples and labels.json, as proxymask fit --labels takes it; arms of one label take the first."""
    out: Path
    """JSON file of the rows, parts-DOMAIN.json; rows of other arms that are in it stay. The picture sheet is written beside it."""


class Domain(Stages):
    """One generator with its labelled samples, and the chain of trainings of every arm.

    Args:
        args: generator, data and lengths.
        arms: by name; one with changes of the rearranger or of K has a rearranger of its own, the others take that of ``full``.
        points: checkpoints of a rearranger that are kept on the way.
    """

    def __init__(self, args: Parts, arms: Mapping[str, Arm] = ARMS, points: int = 0) -> None:
        generator = load_part(args.generator, "generator", Generator)
        given = None if args.clusters is None else load_part(args.clusters, "clusters", ProxyClusters)
        cut = load_preset(args.preset).cut_for(generator.resolution) if given is None else given.resolution
        labels = read_label_set(args.labels)
        super().__init__(args, SplitGenerator(generator, cut).eval().requires_grad_(False), labels)
        self.arms, self.points, self.given, self.digest = arms, points, given, weights_hash(generator)
        self.fresh = ImageSet.open(args.masks, generator.resolution)
        self.ws, self.masks, _ = read_labelled(args.labels, labels, self.digest)

    @cached_property
    def own_clusters(self) -> ProxyClusters:
        """The clusters of all arms but those with another K."""
        return self.clustered(self.preset.num_clusters) if self.given is None else self.given

    def rearranged(self, name: str) -> tuple[ProxyClusters, Rearranger, Path]:
        """Clusters and rearranger of an arm, and the run of the rearranger."""
        arm = self.arms[name]
        clusters = self.own_clusters if arm.clusters is None else self.clustered(arm.clusters)
        own = bool(arm.rearranger) or arm.clusters is not None
        net, run = self.trained_rearranger(name if own else "full", clusters, real=True, points=self.points, **arm.rearranger)
        if not arm.narrowed:  # of the same training, before it was narrowed
            newest = checkpoints(run)[-1]
            if steps_done(run) != self.settings.steps:
                raise ProxymaskError(f"{newest} is not the end of its training: remove {run}, and run the same command again")
            trained = averaged(Rearranger, "rearranger", run, newest)
            assert isinstance(trained, Rearranger)
            net = trained
        return clusters, net, run

    def segmenter(self, name: str, clusters: ProxyClusters, rearranger: Rearranger) -> FewShotSegmenter:
        """The few-shot segmenter of an arm; where no rearranger takes part in it, arms of as many labels share one."""
        arm = self.arms[name]
        ws, masks = self.ws[: arm.labelled], self.masks[: arm.labelled]
        transferred = len(ws) <= self.preset.segmenter.style_transfer_max_labels
        called = f"{len(ws)}-labels-{name}" if transferred or arm.segmenter else f"{len(ws)}-labels"
        return self.trained_segmenter(called, ws, masks, clusters, rearranger, **arm.segmenter)

    def bundle(self, name: str) -> Bundle:
        """The trained parts of an arm."""
        arm = self.arms[name]
        clusters, rearranger, run = self.rearranged(name)
        discriminator = load_part(run, "discriminator", Discriminator)  # that of the mapper starts from it, as in fit
        segmenter = self.segmenter(name, clusters, rearranger)
        changes, teacher = dict(arm.mapper), None
        if arm.student:
            teacher = self.mapper("full", clusters, rearranger, segmenter, discriminator, real=True)
            *wide, _, last = self.preset.mapper.widths
            changes |= {"widths": (*wide, last, last), "tail": 1}
        mapper = self.mapper(name, clusters, rearranger, segmenter, discriminator, real=True, teacher=teacher, **changes)
        return Bundle(
            generator=self.cut.generator,
            cut=self.cut.resolution,
            clusters=clusters,
            rearranger=rearranger,
            labels=self.labels,
            segmenter=segmenter,
            mappers={"mask": mapper},
            about={"proxy_mask_mode": changes.get("proxy_mask_mode", self.preset.mapper.proxy_mask_mode), "generator": self.digest},
        )

    def sheet(self, out: Path, masks: int = 10) -> None:
        """A picture sheet: masks, samples that give the style, then a row for each arm that is there."""
        rows: list[np.ndarray] = []
        for folder in map(self.folder, self.arms):
            if not (folder / "bundle.json").is_file():
                continue
            synth = Synthesizer.from_pretrained(folder, self.settings.device, self.settings.precision)
            subject = BundleSynthesis(synth, seed=self.settings.seed)
            styles = subject.styles(subject.w(STYLES, range(masks)))
            shown = self.fresh.masks([index % len(self.fresh) for index in range(masks)])
            if not rows:
                assert self.labels is not None
                rows += [np.stack([colorize(mask.numpy(), self.labels) for mask in shown]), to_uint8(subject.sample(styles))]
            rows.append(to_uint8(subject.from_masks(shown, styles)))
        write_picture(out, tile(rows))


def run(args: Parts, ablation: str = "parts", arms: Mapping[str, Arm] = ARMS, points: int = 0, point_count: int = 0) -> None:
    """Do the arms that --only names, or all.

    Args:
        args: generator, data and lengths.
        ablation: name in the JSON file.
        arms: all that there are.
        points: checkpoints of each rearranger that are measured on the way, for a curve.
        point_count: pictures a point.
    """
    domain = Domain(args, arms, points)
    rows: list[dict[str, Any]] = []
    curves: dict[str, list[dict[str, Any]]] = {}
    bench = domain.benchmark(domain.fresh, point_count) if points else None
    for name in domain.chosen(list(arms)):
        bundle = domain.bundle(name)
        found = domain.evaluated(name, domain.saved(name, bundle), mapped=True, parts=("pictures", "own-mask", "style"))
        about = {
            "mapper_steps": args.mapper_steps,
            "segmenter_steps": args.segmenter_steps,
            "clusters": bundle.clusters.num_clusters,
            "labels": len(domain.ws[: arms[name].labelled]),
            "judge": next(judge["name"] for judge in found.about["judges"]),
        }
        rows.append(domain.row(ablation, name, found, **about))
        if bench is not None:
            curves[domain.named(name)] = domain.curve(domain.rearranged(name)[2], bundle, bench)
        domain.store(args.out, {"rows": rows, **({"curves": curves} if points else {})}, list(arms), lambda _: {"ablation": ablation})
    domain.sheet(args.out.with_name(f"{domain.named(args.out.stem)}.png"))


if __name__ == "__main__":
    run(tyro.cli(Parts))
