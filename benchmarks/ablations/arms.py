"""Arms: chains of trainings that differ in one thing, which all ablations are made of.

An arm is a chain: rearranger, few-shot segmenter, mapper. The arm ``full`` is our recipe, by default the demo preset. Arms that change only
what comes after the rearranger take that of ``full``; an arm ``student`` learns from its mapper. No arm has a detail network.
"""

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from wall_time import averaged

from proxymask.core.errors import ProxymaskError
from proxymask.core.hashing import weights_hash
from proxymask.data.dataset import ImageSet
from proxymask.evaluation import BundleSynthesis
from proxymask.evaluation.synthesis import SHAPES, STYLES
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

from .common import Ablation, Stages

DRAWN = 16  # labelled samples of a draw, of which its arms take the first ones


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
    draw: int | None = None
    """Which of the folder's samples: draw d takes ``labelled`` of them from number 16 d on (:data:`DRAWN`). None: the first."""
    real: bool = True
    """False: L_adv takes samples of the generator for real, as fit does without pictures."""
    narrowed: bool = True
    """False: queries and keys keep the channels that they were trained with."""
    student: bool = False
    """The mapper learns from that of ``full``, with the widths of docs/decisions.md, mapper-distillation."""


class Domain(Stages):
    """One generator with its labelled samples, and the chain of trainings of every arm.

    Args:
        args: generator, data and lengths.
        arms: by name; one with changes of the rearranger, of L_adv's reals or of K has its own rearranger, the others that of ``full``.
    """

    def __init__(self, args: Ablation, arms: Mapping[str, Arm]) -> None:
        generator = load_part(args.generator, "generator", Generator)
        given = None if args.clusters is None else load_part(args.clusters, "clusters", ProxyClusters)
        cut = load_preset(args.preset).cut_for(generator.resolution) if given is None else given.resolution
        labels = read_label_set(args.labels)
        super().__init__(args, SplitGenerator(generator, cut).eval().requires_grad_(False), labels)
        self.arms, self.given, self.digest = arms, given, weights_hash(generator)
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
        own = bool(arm.rearranger) or arm.clusters is not None or not arm.real
        net, run = self.trained_rearranger(name if own else "full", clusters, arm.real, **arm.rearranger)
        if not arm.narrowed:  # of the same training, before it was narrowed
            newest = checkpoints(run)[-1]
            if steps_done(run) != self.settings.steps:
                raise ProxymaskError(f"{newest} is not the end of its training: remove {run}, and run the same command again")
            trained = averaged(Rearranger, "rearranger", run, newest)
            assert isinstance(trained, Rearranger)
            net = trained
        return clusters, net, run

    def labelled(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """w and masks of an arm's labelled samples.

        Raises:
            ProxymaskError: there are too few.
        """
        arm = self.arms[name]
        first = DRAWN * (arm.draw or 0)
        last = len(self.ws) if arm.labelled is None else first + arm.labelled
        if last > len(self.ws):
            raise ProxymaskError(f"{name} takes labelled samples {first} to {last - 1}, and --labels holds {len(self.ws)}: label more")
        return self.ws[first:last], self.masks[first:last]

    def segmenter(self, name: str, clusters: ProxyClusters, rearranger: Rearranger) -> FewShotSegmenter:
        """The few-shot segmenter of an arm; where no rearranger takes part in it, arms of as many labels share one."""
        arm = self.arms[name]
        ws, masks = self.labelled(name)
        transferred = len(ws) <= self.preset.segmenter.style_transfer_max_labels
        own = transferred or bool(arm.segmenter) or arm.draw is not None
        called = f"{len(ws)}-labels-{name}" if own else f"{len(ws)}-labels"
        return self.trained_segmenter(called, ws, masks, clusters, rearranger, **arm.segmenter)

    def bundle(self, name: str, mapped: bool) -> Bundle:
        """The trained parts of an arm, with segmenter and mapper where it is ``mapped``."""
        arm = self.arms[name]
        clusters, rearranger, run = self.rearranged(name)
        parts: dict[str, Any] = {
            "generator": self.split.generator,
            "cut": self.split.resolution,
            "clusters": clusters,
            "rearranger": rearranger,
        }
        if not mapped:
            return Bundle(**parts, labels=self.labels, about={"generator": self.digest})
        discriminator = load_part(run, "discriminator", Discriminator)  # that of the mapper starts from it, as in fit
        segmenter = self.segmenter(name, clusters, rearranger)
        changes, teacher = dict(arm.mapper), None
        if arm.student:
            teacher = self.mapper("full", clusters, rearranger, segmenter, discriminator)
            *wide, _, last = self.preset.mapper.widths
            changes |= {"widths": (*wide, last, last), "tail": 1}
        mapper = self.mapper(name, clusters, rearranger, segmenter, discriminator, arm.real, teacher, **changes)
        return Bundle(
            **parts,
            labels=self.labels,
            segmenter=segmenter,
            mappers={"mask": mapper},
            about={"proxy_mask_mode": changes.get("proxy_mask_mode", self.preset.mapper.proxy_mask_mode), "generator": self.digest},
        )

    def sheet(self, out: Path, mapped: bool, columns: int = 10) -> list[str]:
        """A picture sheet: what gives the layout (masks, or other samples where no arm is ``mapped``), samples that give the style, then a
        row for each arm that is in the work folder; returns those."""
        rows: list[np.ndarray] = []
        drawn: list[str] = []
        masks = self.fresh.masks([index % len(self.fresh) for index in range(columns)])
        for name in self.arms:
            folder = self.folder(name, mapped)
            if not (folder / "bundle.json").is_file():
                continue
            drawn.append(name)
            synth = Synthesizer.from_pretrained(folder, self.settings.device, self.settings.precision)
            subject = BundleSynthesis(synth, seed=self.settings.seed)
            style = subject.styles(subject.w(STYLES, range(columns)))
            if mapped:
                layout, made = np.stack([colorize(mask.numpy(), self.labels) for mask in masks]), subject.from_masks(masks, style)
            else:
                shape_w = subject.w(SHAPES, range(columns))
                ids, shape = subject.layout(shape_w)
                layout, made = to_uint8(subject.render(shape, shape_w)), subject.from_proxy(subject.substitute(ids, style), style)
            rows += [to_uint8(made)] if rows else [layout, to_uint8(subject.sample(style)), to_uint8(made)]
        write_picture(out, tile(rows))
        return drawn


def run(args: Ablation, ablation: str, arms: Mapping[str, Arm], mapped: bool = True) -> None:
    """Do the arms that --only names, or all.

    Args:
        args: generator, data and lengths.
        ablation: name in the JSON file.
        arms: all that there are.
        mapped: whether they have a segmenter and a mapper; otherwise proxy masks of other samples give the layout.
    """
    domain = Domain(args, arms)
    rows: list[dict[str, Any]] = []
    curves: dict[str, list[dict[str, Any]]] = {}
    bench = domain.benchmark(domain.fresh, args.point_count) if args.points else None
    for name in domain.chosen(list(arms)):
        bundle = domain.bundle(name, mapped)
        found = domain.evaluated(domain.named(name, mapped), domain.saved(domain.folder(name, mapped), bundle), mapped)
        about: dict[str, Any] = {"clusters": bundle.clusters.num_clusters, "judge": found.about["judges"][0]["name"]}
        if mapped:
            budget = {"mapper_steps": args.mapper_steps, "segmenter_steps": args.segmenter_steps}
            about |= {**budget, "labels": len(domain.labelled(name)[0]), "draw": arms[name].draw}
        rows.append(domain.row(ablation, name, found, **about))
        if bench is not None:
            curves[domain.seeded(name)] = domain.curve(domain.rearranged(name)[2], bundle, bench)
        domain.store(ablation, {"rows": rows, **({"curves": curves} if args.points else {})}, list(arms))
    drawn = domain.sheet(args.out.with_name(f"{domain.seeded(args.out.stem)}.png"), mapped)
    domain.store(ablation, {"rows": [], domain.seeded("sheet"): drawn}, list(arms))
