"""What the ablations share: stages that go on after a stop, measurement by the package's own evaluation, rows that say what they are."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from wall_time import averaged, proxy_driven, seconds_at

from proxymask.cli.progress import progress
from proxymask.core.checks import nearest
from proxymask.core.device import resolve_device
from proxymask.core.errors import ProxymaskError
from proxymask.core.files import read_json, write_json
from proxymask.core.hashing import short_hash
from proxymask.core.lock import InUse, folder_lock
from proxymask.data.dataset import ImageSet
from proxymask.evaluation import BundleSynthesis, Evaluation, EvaluationConfig, MaskToImageBenchmark, evaluate
from proxymask.evaluation.config import Part
from proxymask.evaluation.judge import Judge, shipped_judges
from proxymask.evaluation.results import judge_key
from proxymask.evaluation.synthesis import SHAPES, STYLES
from proxymask.imaging.grids import tile, to_uint8
from proxymask.imaging.labels import LabelSet
from proxymask.imaging.pictures import write_picture
from proxymask.inference.bundle import Bundle
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.discriminator import Discriminator
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.oasis_mapper import OasisMapper
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.rearranger import Rearranger
from proxymask.models.split_generator import SplitGenerator
from proxymask.training.checkpoint import checkpoints
from proxymask.training.parts import Frozen, load_part
from proxymask.training.presets import Preset, load_preset
from proxymask.training.stages.clusters import ClustersDefinition
from proxymask.training.stages.definition import StageDefinition
from proxymask.training.stages.distillation import DistillationDefinition
from proxymask.training.stages.mapper import MapperDefinition
from proxymask.training.stages.rearranger import RearrangerDefinition
from proxymask.training.stages.segmenter import SegmenterDefinition

TOY = 4000  # rearranger steps, those of the default fit, below which a row is no result
SHORT = 10_000  # and below which its row is marked as a short one
WAIT = 5.0  # seconds between two looks at a folder that another process writes
SCORES = ("frechet/judge", "precision/judge", "recall/judge", "miou", "boundary_f_1px", "accuracy", "mask_ignored", "unchanged")
OF_EVERY_JUDGE = ("miou", "boundary_f_1px")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """Settings that all ablations have: data, judges, lengths."""

    data: Path
    """Real pictures: the reference of the distances, and the reals of L_adv where real ones are taken."""
    masks: Path
    """Fresh pictures with exact masks."""
    work: Path
    """Folder for the trainings and evaluations; the same command goes on in it."""
    discriminator: Path | None = None
    """Where L_adv starts: the discriminator trained with the generator; a fresh one where not given."""
    judge: tuple[Path, ...] = ()
    """The judges, the main one first; the shipped ones where not given."""
    preset: str = "demo"
    """Settings of the stages."""
    steps: int = 10_000
    """Budget: steps of each rearranger. With less than 10,000 a row is marked as short, with less than 4,000 as a toy."""
    mapper_steps: int = 4400
    """Budget: steps of each mapper."""
    segmenter_steps: int = 400
    """Budget: steps of each segmenter."""
    count: int = 2000
    """Pictures an evaluation."""
    only: tuple[str, ...] = ()
    """Do these variants alone; rows of the others stay as they are. All where not given. Processes with different variants may run at the
    same time with the same --work."""
    seed: int = 0
    """Of the trainings and of the evaluation's styles. Each seed has rows and folders of its own."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Budget):
    """Settings of the ablations of one bundle."""

    bundle: str = "avatars"
    """The generator that everything is made of, with its labels and segmenter."""
    results: Path = Path(__file__).parents[2] / "docs" / "results" / "ablations"
    """Where rows and sheets go."""


class Stages:
    """The trainings of the parts around one generator, each in a folder of its own, and the evaluation of what they make.

    Args:
        settings: budget and places.
        cut: the generator.
        labels: classes of the masks; None where no segmenter or mapper is trained.
    """

    def __init__(self, settings: Budget, cut: SplitGenerator, labels: LabelSet | None) -> None:
        self.settings, self.labels = settings, labels
        self.device = resolve_device(settings.device)
        self.cut = cut.to(self.device)
        self.preset: Preset = load_preset(settings.preset).with_loops(
            device=settings.device, precision=settings.precision, seed=settings.seed
        )
        self.real = ImageSet.open(settings.data, cut.generator.resolution)

    def chosen(self, names: Sequence[str]) -> list[str]:
        """The variants of --only, in the order of ``names``; all of them where it is not given."""
        for name in self.settings.only:
            if name not in names:
                raise ProxymaskError(f"--only {name}: there are {', '.join(names)}{nearest(name, names)}")
        return [name for name in names if not self.settings.only or name in self.settings.only]

    def named(self, name: str) -> str:
        """The name with the seed, unless that is 0."""
        return f"{name}-seed-{self.settings.seed}" if self.settings.seed else name

    def discriminator(self) -> Discriminator | None:
        """A fresh copy of the one that L_adv starts from."""
        place = self.settings.discriminator
        return None if place is None else load_part(place, "discriminator", Discriminator)

    def clustered(self, number: int) -> ProxyClusters:
        """K clusters of the generator's features."""
        out = self.settings.work / self.named(f"clusters-{number}")
        sizes = {"num_clusters": number, "samples": self.preset.cluster_samples}
        self._run(ClustersDefinition(cut=self.cut, seed=self.settings.seed, device=self.device, **sizes), out, f"{number} clusters, pass")
        return load_part(out, "clusters", ProxyClusters)

    def trained_rearranger(
        self, name: str, clusters: ProxyClusters, real: bool = False, points: int = 0, **changes: Any
    ) -> tuple[Rearranger, Path]:
        """Train (on) a rearranger with ``changes`` of the preset's settings; ``points`` checkpoints are kept on the way.

        ``real``: L_adv takes real pictures, not samples of the generator.
        """
        config = dataclasses.replace(self.preset.rearranger, **changes)
        steps = self.settings.steps
        every = max(1, steps // points) if points else min(500, steps)
        loop = dataclasses.replace(
            self.preset.rearranger_loop, steps=steps, checkpoint_every=every, keep=10_000 if points else 2, grid_every=0, tensorboard=False
        )
        out = self.settings.work / self.named(f"rearranger-{name}-{steps}")
        given: dict[str, Any] = {"discriminator": self.discriminator(), "pictures": self.real if real else None}
        self._run(RearrangerDefinition(config=config, loop=loop, cut=self.cut, clusters=clusters, **given), out, f"rearranger {name}")
        return load_part(out, "rearranger", Rearranger), out

    def trained_segmenter(
        self, name: str, ws: torch.Tensor, masks: torch.Tensor, clusters: ProxyClusters, rearranger: Rearranger, **changes: Any
    ) -> FewShotSegmenter:
        """Train (on) a few-shot segmenter of labelled samples."""
        assert self.labels is not None
        steps = self.settings.segmenter_steps
        loop = dataclasses.replace(self.preset.segmenter_loop, steps=steps, checkpoint_every=steps, grid_every=0, tensorboard=False)
        out = self.settings.work / self.named(f"segmenter-{name}-{steps}")
        definition = SegmenterDefinition(
            config=dataclasses.replace(self.preset.segmenter, **changes),
            loop=loop,
            cut=self.cut,
            labels=self.labels,
            ws=ws,
            masks=masks,
            clusters=clusters,
            rearranger=rearranger,
        )
        self._run(definition, out, f"segmenter {name}")
        return load_part(out, "segmenter", FewShotSegmenter)

    def mapper(
        self,
        name: str,
        clusters: ProxyClusters,
        rearranger: Rearranger,
        segmenter: FewShotSegmenter,
        discriminator: Discriminator | None = None,
        real: bool = False,
        teacher: OasisMapper | None = None,
        **changes: Any,
    ) -> OasisMapper:
        """Train (on) a mapper with ``changes`` of the preset's settings, from a ``teacher`` alone where one is given.

        ``discriminator``: where L_adv starts; that of --discriminator where not given.
        """
        steps = self.settings.mapper_steps
        given: dict[str, Any] = {
            "config": dataclasses.replace(self.preset.mapper, **changes),
            "loop": dataclasses.replace(
                self.preset.mapper_loop, steps=steps, checkpoint_every=min(500, steps), grid_every=0, tensorboard=False
            ),
            "frozen": Frozen(self.cut, clusters, rearranger),
            "segmenter": segmenter,
            "labels": self.labels,
        }
        if teacher is not None:
            definition: StageDefinition = DistillationDefinition(teachers=[teacher], **given)
        else:
            start = discriminator or self.discriminator()
            definition = MapperDefinition(discriminator=start, pictures=self.real if real else None, **given)
        out = self.settings.work / self.named(f"mapper-{name}-{steps}")
        self._run(definition, out, f"mapper {name}")
        return load_part(out, "mapper", OasisMapper)

    def benchmark(self, masks: ImageSet, count: int) -> MaskToImageBenchmark:
        """The main judge with the real pictures, for the points of a curve."""
        judges = self.settings.judge or (shipped_judges(self.labels) if self.labels is not None else ())
        if not judges:
            raise ProxymaskError("no judge of these classes is shipped: give --judge")
        return MaskToImageBenchmark(Judge.load(judges[0]), self.real, masks, count)

    def curve(self, run: Path, bundle: Bundle, bench: MaskToImageBenchmark) -> list[dict[str, Any]]:
        """Distances at every checkpoint of a rearranger's run, in the place of that of ``bundle``."""
        points = []
        for path in checkpoints(run):
            step = read_json(path / "state.json")["step"]
            at = averaged(Rearranger, "rearranger", run, path)
            assert isinstance(at, Rearranger)
            synth = Synthesizer(dataclasses.replace(bundle, rearranger=at), self.settings.device, self.settings.precision)
            points.append({"step": step, "seconds": round(seconds_at(run, step), 1), **proxy_driven(bench, BundleSynthesis(synth))})
        return points

    def _run(self, definition: StageDefinition, out: Path, title: str) -> None:
        """Run a stage, unless it is done; where another process is running it, wait for that one. What the folder holds of other settings
        is kept under another name."""

        def run() -> None:
            if not definition.is_done(out):
                aside = definition.acquire(out)
                if aside is not None:
                    print(f"{out} held a run with other settings: it is {aside} now", flush=True)
                with progress(title) as update:
                    definition.run(out, update)

        when_free(run)

    def folder(self, name: str) -> Path:
        """Where the bundle of a variant is saved for its evaluation."""
        return self.settings.work / "bundles" / self.named(name)

    def saved(self, name: str, bundle: Bundle) -> Path:
        """Save the bundle of a variant in the work folder, without detail networks, which belong to the parts they were trained with."""
        made = dataclasses.replace(bundle, name=name, details={})
        for part in made.parts().values():
            part.cpu()
        out = made.save(self.folder(name), half=False)
        self.cut.to(self.device)
        return out

    def evaluated(self, name: str, folder: Path, mapped: bool, parts: tuple[Part, ...] = ()) -> Evaluation:
        """The package's own evaluation of a variant, all ``parts`` where none are given; what is done of it stays in the work folder."""
        s = self.settings
        config = EvaluationConfig(
            bundle=str(folder),
            data=s.data,
            masks=s.masks,
            judge=s.judge,
            out=s.work / "evaluations" / self.named(name),
            count=s.count,
            protocol="standard" if mapped else "paper",
            parts=parts,
        )
        with progress(f"evaluating {name}, pictures") as update:
            return evaluate(config, device=s.device, precision=s.precision, seed=s.seed, progress=lambda done, total: update(done, total))

    def row(self, ablation: str, variant: str, found: Evaluation, **more: Any) -> dict[str, Any]:
        """One row: what it is, its budget, and its numbers."""
        s = self.settings
        row: dict[str, Any] = {"ablation": ablation, "variant": variant, "seed": s.seed, "steps": s.steps}
        row |= {"count": s.count, **more}
        for of in ("masks", "proxy", "generator", "floor"):
            for key in SCORES:
                if (number := found.find(key, of)) is not None:
                    row[f"{key.partition('/')[0]}_{of}"] = _short(number["value"])
            if (number := found.find("miou", of)) is not None:
                row[f"iou_{of}"] = {name: _short(value) for name, value in number["classes"].items()}
            for judge in found.about["judges"][1:]:
                for key in OF_EVERY_JUDGE:
                    if (number := found.find(judge_key(key, judge["name"]), of)) is not None:
                        row.setdefault("judges", {}).setdefault(judge["name"], {})[f"{key}_{of}"] = _short(number["value"])
        for key in ("agreement", "agreement_present", "identity_psnr", "style_consistency"):
            if (number := found.find(key)) is not None:
                row[key] = _short(number["value"])
        return row | {"reference": found.about["data"]["fingerprint"][:16], "versions": found.about["versions"]}

    def store(self, path: Path, found: dict[str, Any], order: Sequence[str], derived: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Merge what was ``found`` into the JSON file: rows that are there stay, unless they are of the same variant and seed, and
        of no more steps.

        Args:
            path: of the file.
            found: ``rows``, and further lists or objects by variant.
            order: variants, as the rows shall stand.
            derived: more of the file, made from all that is in it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = self.cut.generator
        about = {"resolution": generator.resolution, "cut": self.cut.resolution, "generator": short_hash(generator)}

        def write() -> None:
            with folder_lock(path.parent):
                old = read_json(path) if path.is_file() else {}
                if old.get("rows") and old["generator"] != about["generator"]:
                    raise ProxymaskError(f"{path} holds rows of another generator: move it away, or write to another place")
                merged = {**about, **{key: merge(old.get(key), value, order) for key, value in found.items()}}
                write_json(path, merged | derived(merged))

        when_free(write)
        print(json.dumps(found["rows"][-1]) if found["rows"] else "", flush=True)


class Lab(Stages):
    """The parts of a bundle, which all variants share, and the stages on them."""

    def __init__(self, settings: Settings) -> None:
        self.bundle, self.results = Bundle.load(settings.bundle), settings.results
        super().__init__(settings, self.bundle.split_generator(), self.bundle.labels)

    def rearranger(self, name: str, clusters: ProxyClusters | None = None, **more: Any) -> tuple[Rearranger, Path]:
        """As :meth:`trained_rearranger`, by default with the bundle's clusters."""
        return self.trained_rearranger(name, clusters or self.bundle.clusters, **more)

    def segmenter(self, name: str, ws: torch.Tensor, masks: torch.Tensor) -> FewShotSegmenter:
        """As :meth:`trained_segmenter`, with the bundle's clusters and rearranger."""
        return self.trained_segmenter(name, ws, masks, self.bundle.clusters, self.bundle.rearranger)

    def variant(self, name: str, **parts: Any) -> Path:
        """The bundle with other parts, saved in the work folder for the evaluation."""
        return self.saved(name, dataclasses.replace(self.bundle, **parts))

    def write(
        self,
        ablation: str,
        rows: Sequence[Mapping[str, Any]],
        order: Sequence[str] = (),
        derived: Callable[[dict[str, Any]], dict[str, Any]] = lambda _: {},
        **more: Any,
    ) -> None:
        """Store the rows found so far, see :meth:`store`."""
        found = {"rows": list(rows), **more}
        self.store(self.results / f"{ablation}.json", found, order, lambda merged: {"ablation": ablation, **derived(merged)})

    def sheet(self, ablation: str, variants: Sequence[str], columns: int = 10) -> Path:
        """A picture sheet: samples that give the shape, samples that give the style, then a row for each variant that is there."""
        rows: list[np.ndarray] = []
        folders = [folder for folder in map(self.folder, variants) if (folder / "bundle.json").is_file()]
        for number, folder in enumerate(folders):
            subject = BundleSynthesis(
                Synthesizer.from_pretrained(folder, self.settings.device, self.settings.precision), seed=self.settings.seed
            )
            shape_w = subject.w(SHAPES, range(columns))
            style = subject.styles(subject.w(STYLES, range(columns)))
            ids, shape = subject.layout(shape_w)
            if number == 0:
                rows += [to_uint8(subject.render(shape, shape_w)), to_uint8(subject.sample(style))]
            rows.append(to_uint8(subject.from_proxy(subject.substitute(ids, style), style)))
        return write_picture(self.results / f"{self.named(ablation)}.png", tile(rows))


def when_free(work: Callable[[], T]) -> T:
    """The result of ``work``; while another process writes the folder that it needs, wait and try again."""
    told = False
    while True:
        try:
            return work()
        except InUse as error:
            if not told:
                print(f"waiting: {error.message}", flush=True)
            told = True
            time.sleep(WAIT)


def merge(old: Any, new: Any, order: Sequence[str]) -> Any:
    """The rows of a list, or the entries of an object, that are in ``old`` or ``new``; those of ``new`` where both have them.

    A row of more steps than the new one stays: a trial takes the place of no result.
    """
    if isinstance(new, Mapping):
        known = old or {}
        both = {**known, **{name: value for name, value in new.items() if _last_step(known.get(name)) <= _last_step(value)}}
        return {name: both[name] for name in [*(name for name in order if name in both), *(name for name in both if name not in order)]}

    def which(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return row.get("variant", row.get("labels")), row.get("draw"), row.get("seed", 0)

    def steps(row: Mapping[str, Any]) -> tuple[int, int]:
        return row.get("steps", 0), row.get("mapper_steps", 0)

    def place(row: Mapping[str, Any]) -> int:
        return order.index(row["variant"]) if row.get("variant") in order else len(order)

    rows = {which(row): row for row in old or []}
    for row in new:
        known = rows.get(which(row))
        if known is None or steps(known) <= steps(row):
            rows[which(row)] = row
        else:
            print(f"not stored: {row.get('variant', '')} is there with more steps, {steps(known)} and not {steps(row)}", flush=True)
    return sorted(rows.values(), key=lambda row: (place(row), row.get("seed", 0)))


def _last_step(curve: Any) -> int:
    """Of a list of points; 0 of anything else."""
    return curve[-1]["step"] if isinstance(curve, list) and curve else 0


def _short(value: float | None) -> float | None:
    return None if value is None or value != value else round(float(value), 4)
