"""What the ablations share: stages that go on after a stop, measurement by the package's own evaluation, rows that say what they are."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from proxymask.cli.progress import progress
from proxymask.core.config_model import ConfigModel
from proxymask.core.device import resolve_device
from proxymask.core.files import write_json
from proxymask.core.hashing import short_hash
from proxymask.data.dataset import ImageSet
from proxymask.evaluation import BundleSynthesis, Evaluation, EvaluationConfig, evaluate
from proxymask.evaluation.results import judge_key
from proxymask.evaluation.synthesis import SHAPES, STYLES
from proxymask.imaging.grids import tile, to_uint8
from proxymask.imaging.pictures import write_picture
from proxymask.inference.bundle import Bundle
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.discriminator import Discriminator
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.oasis_mapper import OasisMapper
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.rearranger import Rearranger
from proxymask.training.parts import Frozen, load_part
from proxymask.training.presets import Preset, load_preset
from proxymask.training.stages.clusters import ClustersDefinition
from proxymask.training.stages.definition import StageDefinition
from proxymask.training.stages.mapper import MapperDefinition
from proxymask.training.stages.rearranger import RearrangerDefinition
from proxymask.training.stages.segmenter import SegmenterDefinition

TOY = 10_000  # rearranger steps below which a row is called a toy


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings that all ablations have."""

    data: Path
    """Real pictures: the reference of the distances, and the reals of L_adv where real ones are taken."""
    masks: Path
    """Fresh pictures with exact masks."""
    work: Path
    """Folder for the trainings and evaluations; the same command goes on in it."""
    bundle: str = "avatars"
    """The generator that everything is made of, with its labels and segmenter."""
    discriminator: Path | None = None
    """Where L_adv starts: the discriminator trained with the generator; a fresh one where not given."""
    judge: tuple[Path, ...] = ()
    """The judges, the main one first; the shipped ones where not given."""
    preset: str = "demo"
    """Settings of the stages."""
    steps: int = 10_000
    """Budget: steps of each rearranger. With less than 10,000 a row is marked as a toy."""
    mapper_steps: int = 4400
    """Budget: steps of each mapper."""
    segmenter_steps: int = 400
    """Budget: steps of each segmenter."""
    count: int = 2000
    """Pictures an evaluation."""
    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    results: Path = Path(__file__).parents[2] / "docs" / "results" / "ablations"
    """Where rows and sheets go."""


class Lab:
    """The parts that all variants share, and the stages on them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bundle = Bundle.load(settings.bundle)
        self.device = resolve_device(settings.device)
        self.cut = self.bundle.split_generator().to(self.device)
        self.preset: Preset = load_preset(settings.preset).with_loops(
            device=settings.device, precision=settings.precision, seed=settings.seed
        )
        self.real = ImageSet.open(settings.data, self.bundle.resolution)

    def discriminator(self) -> Discriminator | None:
        """A fresh copy of the one that L_adv starts from."""
        place = self.settings.discriminator
        return None if place is None else load_part(place, "discriminator", Discriminator)

    def clusters(self, number: int) -> ProxyClusters:
        """K clusters of the generator, made as the bundle's own were; those themselves for their own K."""
        if number == self.bundle.clusters.num_clusters:
            return self.bundle.clusters
        out = self.settings.work / f"clusters-{number}"
        sizes = {"num_clusters": number, "samples": self.preset.cluster_samples}
        self._run(ClustersDefinition(cut=self.cut, seed=self.settings.seed, device=self.device, **sizes), out, f"{number} clusters, pass")
        return load_part(out, "clusters", ProxyClusters)

    def rearranger(
        self, name: str, clusters: ProxyClusters | None = None, real: bool = False, points: int = 0, **changes: Any
    ) -> tuple[Rearranger, Path]:
        """Train (on) a rearranger with ``changes`` of the preset's settings; ``points`` checkpoints are kept on the way."""
        clusters = clusters or self.bundle.clusters
        config = dataclasses.replace(self.preset.rearranger, **changes)
        steps = self.settings.steps
        every = max(1, steps // points) if points else min(500, steps)
        loop = dataclasses.replace(
            self.preset.rearranger_loop, steps=steps, checkpoint_every=every, keep=10_000 if points else 2, grid_every=0, tensorboard=False
        )
        out = self.settings.work / f"rearranger-{name}-{steps}"
        given = {"discriminator": self.discriminator(), "pictures": self.real if real else None}
        self._run(RearrangerDefinition(config=config, loop=loop, cut=self.cut, clusters=clusters, **given), out, f"rearranger {name}")
        return load_part(out, "rearranger", Rearranger), out

    def segmenter(self, name: str, ws: torch.Tensor, masks: torch.Tensor) -> FewShotSegmenter:
        """Train (on) a few-shot segmenter of labelled samples."""
        assert self.bundle.labels is not None
        steps = self.settings.segmenter_steps
        loop = dataclasses.replace(self.preset.segmenter_loop, steps=steps, checkpoint_every=steps, grid_every=0, tensorboard=False)
        out = self.settings.work / f"segmenter-{name}-{steps}"
        definition = SegmenterDefinition(
            config=self.preset.segmenter,
            loop=loop,
            cut=self.cut,
            labels=self.bundle.labels,
            ws=ws,
            masks=masks,
            clusters=self.bundle.clusters,
            rearranger=self.bundle.rearranger,
        )
        self._run(definition, out, f"segmenter {name}")
        return load_part(out, "segmenter", FewShotSegmenter)

    def mapper(self, name: str, clusters: ProxyClusters, rearranger: Rearranger, segmenter: FewShotSegmenter) -> OasisMapper:
        """Train (on) a mapper."""
        assert self.bundle.labels is not None
        steps = self.settings.mapper_steps
        loop = dataclasses.replace(self.preset.mapper_loop, steps=steps, checkpoint_every=min(500, steps), grid_every=0, tensorboard=False)
        out = self.settings.work / f"mapper-{name}-{steps}"
        definition = MapperDefinition(
            config=self.preset.mapper,
            loop=loop,
            frozen=Frozen(self.cut, clusters, rearranger),
            segmenter=segmenter,
            labels=self.bundle.labels,
            discriminator=self.discriminator(),
        )
        self._run(definition, out, f"mapper {name}")
        return load_part(out, "mapper", OasisMapper)

    def _run(self, definition: StageDefinition, out: Path, title: str) -> None:
        """Run a stage, unless it is done."""
        if not definition.is_done(out):
            with progress(title) as update:
                definition.run(out, update)

    def variant(self, name: str, **parts: Any) -> Path:
        """The bundle with other parts, saved in the work folder for the evaluation."""
        cpu = {key: value.cpu() if isinstance(value, ConfigModel) else value for key, value in parts.items()}
        made = dataclasses.replace(self.bundle, name=name, **cpu)
        return made.save(self.settings.work / "bundles" / name, half=False)

    def evaluated(self, name: str, folder: Path, mapped: bool) -> Evaluation:
        """The package's own evaluation of a variant; its report stays in the work folder."""
        s = self.settings
        config = EvaluationConfig(
            bundle=str(folder),
            data=s.data,
            masks=s.masks,
            judge=s.judge,
            out=s.work / "evaluations" / name,
            count=s.count,
            protocol="standard" if mapped else "paper",
        )
        with progress(f"evaluating {name}, pictures") as update:
            return evaluate(config, device=s.device, precision=s.precision, seed=s.seed, progress=lambda done, total: update(done, total))

    def row(self, ablation: str, variant: str, found: Evaluation, **more: Any) -> dict[str, Any]:
        """One row: what it is, its budget, whether it is a toy, and its numbers."""
        s = self.settings
        row: dict[str, Any] = {"ablation": ablation, "variant": variant, "steps": s.steps, "toy": s.steps < TOY, "count": s.count, **more}
        for of in ("masks", "proxy", "generator", "floor"):
            for key in ("frechet/judge", "precision/judge", "recall/judge", "miou", "accuracy", "mask_ignored", "unchanged"):
                if (number := found.find(key, of)) is not None:
                    row[f"{key.partition('/')[0]}_{of}"] = _short(number["value"])
            if (number := found.find("miou", of)) is not None:
                row[f"iou_{of}"] = {name: _short(value) for name, value in number["classes"].items()}
            for judge in found.about["judges"][1:]:
                if (number := found.find(judge_key("miou", judge["name"]), of)) is not None:
                    row.setdefault("judges", {}).setdefault(judge["name"], {})[f"miou_{of}"] = _short(number["value"])
        for key in ("agreement", "agreement_present", "identity_psnr", "style_consistency"):
            if (number := found.find(key)) is not None:
                row[key] = _short(number["value"])
        return row | {"reference": found.about["data"]["fingerprint"][:16], "versions": found.about["versions"]}

    def write(self, ablation: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> Path:
        """Store the rows found so far."""
        path = self.settings.results / f"{ablation}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"resolution": self.bundle.resolution, "cut": self.bundle.cut, "generator": short_hash(self.bundle.generator)}
        write_json(path, {"ablation": ablation, **about, "rows": list(rows), **more})
        print(json.dumps(rows[-1]) if rows else "", flush=True)
        return path

    def sheet(self, ablation: str, folders: Mapping[str, Path], columns: int = 10) -> Path:
        """A picture sheet: samples that give the shape, samples that give the style, then one row a variant."""
        rows: list[np.ndarray] = []
        for number, folder in enumerate(folders.values()):
            subject = BundleSynthesis(
                Synthesizer.from_pretrained(folder, self.settings.device, self.settings.precision), seed=self.settings.seed
            )
            shape_w = subject.w(SHAPES, range(columns))
            style = subject.styles(subject.w(STYLES, range(columns)))
            ids, shape = subject.layout(shape_w)
            if number == 0:
                rows += [to_uint8(subject.render(shape, shape_w)), to_uint8(subject.sample(style))]
            rows.append(to_uint8(subject.from_proxy(subject.substitute(ids, style), style)))
        return write_picture(self.settings.results / f"{ablation}.png", tile(rows))


def _short(value: float | None) -> float | None:
    return None if value is None or value != value else round(float(value), 4)
