"""What the ablations share: stages that go on after a stop, measurement by the package's own evaluation, rows that say what they are."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

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
from proxymask.evaluation.judge import Judge, shipped_judges
from proxymask.evaluation.results import judge_key
from proxymask.imaging.labels import LabelSet
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
class Ablation:
    """Settings of every ablation: generator, data, judges, lengths."""

    data: Path
    """Real pictures: the reference of the distances, and the reals of L_adv."""
    masks: Path
    """Fresh pictures with exact masks."""
    generator: Path
    """The domain's generator: its run, its saved network, a bundle, or the name of an embedded one."""
    clusters: Path | None = None
    """Its clusters; by default they are made, as many as the preset says."""
    labels: Path
    """Folder of labelled samples and labels.json, as proxymask fit --labels takes it; arms of one label take the first."""
    work: Path
    """Folder for the trainings and evaluations; the same command goes on in it. Ablations of one generator with the same lengths and labels
    share the trainings of their common arms where they share this folder."""
    out: Path
    """JSON file of the rows; rows of other arms that are in it stay. The picture sheet is written beside it."""
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
    points: int = 0
    """Checkpoints of each rearranger that are measured on the way, for a curve; 0: none."""
    point_count: int = 500
    """Pictures a point."""
    only: tuple[str, ...] = ()
    """Do these arms alone; rows of the others stay as they are. All where not given. Processes with different arms may run at the same time
    with the same --work."""
    seed: int = 0
    """Of the trainings and of the evaluation's styles. Each seed has rows and folders of its own."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"


class Stages:
    """The trainings of the parts around one generator, each in a folder of its own, and the evaluation of what they make.

    Args:
        settings: budget and places.
        split: the generator.
        labels: classes of the masks.
    """

    def __init__(self, settings: Ablation, split: SplitGenerator, labels: LabelSet) -> None:
        self.settings, self.labels = settings, labels
        self.device = resolve_device(settings.device)
        self.split = split.to(self.device)
        self.preset: Preset = load_preset(settings.preset).with_loops(
            device=settings.device, precision=settings.precision, seed=settings.seed
        )
        self.real = ImageSet.open(settings.data, split.generator.resolution)

    def chosen(self, names: Sequence[str]) -> list[str]:
        """The arms of --only, in the order of ``names``; all of them where it is not given."""
        for name in self.settings.only:
            if name not in names:
                raise ProxymaskError(f"--only {name}: there are {', '.join(names)}{nearest(name, names)}")
        return [name for name in names if not self.settings.only or name in self.settings.only]

    def seeded(self, name: str) -> str:
        """The name with the seed, unless that is 0."""
        return f"{name}-seed-{self.settings.seed}" if self.settings.seed else name

    def named(self, name: str, mapped: bool) -> str:
        """The name of an arm's bundle and evaluation."""
        return self.seeded(name if mapped else f"{name}-proxy")

    def discriminator(self) -> Discriminator | None:
        """A fresh copy of the one that L_adv starts from."""
        place = self.settings.discriminator
        return None if place is None else load_part(place, "discriminator", Discriminator)

    def clustered(self, number: int) -> ProxyClusters:
        """K clusters of the generator's features."""
        out = self.settings.work / self.seeded(f"clusters-{number}")
        sizes = {"num_clusters": number, "samples": self.preset.cluster_samples}
        self._run(
            ClustersDefinition(split=self.split, seed=self.settings.seed, device=self.device, **sizes), out, f"{number} clusters, pass"
        )
        return load_part(out, "clusters", ProxyClusters)

    def trained_rearranger(self, name: str, clusters: ProxyClusters, real: bool = True, **changes: Any) -> tuple[Rearranger, Path]:
        """Train (on) a rearranger with ``changes`` of the preset's settings; --points checkpoints are kept on the way.

        ``real``: L_adv takes real pictures, not samples of the generator.
        """
        config = dataclasses.replace(self.preset.rearranger, **changes)
        steps, points = self.settings.steps, self.settings.points
        every = max(1, steps // points) if points else min(500, steps)
        loop = dataclasses.replace(
            self.preset.rearranger_loop, steps=steps, checkpoint_every=every, keep=10_000 if points else 2, grid_every=0, tensorboard=False
        )
        out = self.settings.work / self.seeded(f"rearranger-{name}-{steps}")
        given: dict[str, Any] = {"discriminator": self.discriminator(), "pictures": self.real if real else None}
        self._run(RearrangerDefinition(config=config, loop=loop, split=self.split, clusters=clusters, **given), out, f"rearranger {name}")
        return load_part(out, "rearranger", Rearranger), out

    def trained_segmenter(
        self, name: str, ws: torch.Tensor, masks: torch.Tensor, clusters: ProxyClusters, rearranger: Rearranger, **changes: Any
    ) -> FewShotSegmenter:
        """Train (on) a few-shot segmenter of labelled samples."""
        steps = self.settings.segmenter_steps
        loop = dataclasses.replace(self.preset.segmenter_loop, steps=steps, checkpoint_every=steps, grid_every=0, tensorboard=False)
        out = self.settings.work / self.seeded(f"segmenter-{name}-{steps}")
        definition = SegmenterDefinition(
            config=dataclasses.replace(self.preset.segmenter, **changes),
            loop=loop,
            split=self.split,
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
        discriminator: Discriminator,
        real: bool = True,
        teacher: OasisMapper | None = None,
        **changes: Any,
    ) -> OasisMapper:
        """Train (on) a mapper with ``changes`` of the preset's settings, from a ``teacher`` alone where one is given.

        ``discriminator``: where L_adv starts, that of the rearranger's training.
        """
        steps = self.settings.mapper_steps
        given: dict[str, Any] = {
            "config": dataclasses.replace(self.preset.mapper, **changes),
            "loop": dataclasses.replace(
                self.preset.mapper_loop, steps=steps, checkpoint_every=min(500, steps), grid_every=0, tensorboard=False
            ),
            "frozen": Frozen(self.split, clusters, rearranger),
            "segmenter": segmenter,
            "labels": self.labels,
        }
        if teacher is not None:
            definition: StageDefinition = DistillationDefinition(teachers=[teacher], **given)
        else:
            definition = MapperDefinition(discriminator=discriminator, pictures=self.real if real else None, **given)
        out = self.settings.work / self.seeded(f"mapper-{name}-{steps}")
        self._run(definition, out, f"mapper {name}")
        return load_part(out, "mapper", OasisMapper)

    def benchmark(self, masks: ImageSet, count: int) -> MaskToImageBenchmark:
        """The main judge with the real pictures, for the points of a curve."""
        judges = self.settings.judge or shipped_judges(self.labels)
        if not judges:
            raise ProxymaskError("no judge of these classes is shipped: give --judge")
        return MaskToImageBenchmark(Judge.load(judges[0]), self.real, masks, count, seed=self.settings.seed)

    def curve(self, run: Path, bundle: Bundle, bench: MaskToImageBenchmark) -> list[dict[str, Any]]:
        """Distances at every checkpoint of a rearranger's run, in the place of that of ``bundle``."""
        points = []
        for path in checkpoints(run):
            step = read_json(path / "state.json")["step"]
            at = averaged(Rearranger, "rearranger", run, path)
            assert isinstance(at, Rearranger)
            synth = Synthesizer(dataclasses.replace(bundle, rearranger=at), self.settings.device, self.settings.precision)
            found = proxy_driven(bench, BundleSynthesis(synth, seed=self.settings.seed))
            points.append({"step": step, "seconds": round(seconds_at(run, step), 1), **found})
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

    def folder(self, name: str, mapped: bool) -> Path:
        """Where the bundle of an arm is saved for its evaluation."""
        return self.settings.work / "bundles" / self.named(name, mapped)

    def saved(self, folder: Path, bundle: Bundle) -> Path:
        """Save the bundle of an arm."""
        made = dataclasses.replace(bundle, name=folder.name)
        for part in made.parts().values():
            part.cpu()
        out = made.save(folder, half=False)
        self.split.to(self.device)
        return out

    def evaluated(self, name: str, folder: Path, mapped: bool) -> Evaluation:
        """The package's own evaluation of an arm, without a mapper of proxy masks alone; what is done stays in the work folder."""
        s = self.settings
        config = EvaluationConfig(
            bundle=str(folder),
            data=s.data,
            masks=s.masks,
            judge=s.judge,
            out=s.work / "evaluations" / name,
            count=s.count,
            protocol="standard" if mapped else "paper",
            parts=("pictures", "own-mask", "style") if mapped else ("pictures", "own-mask"),
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

    def store(self, ablation: str, found: dict[str, Any], order: Sequence[str]) -> None:
        """Merge what was ``found`` into the JSON file: rows that are there stay, unless they are of the same arm and seed, and of no more
        steps.

        Args:
            ablation: its name.
            found: ``rows``, further lists or objects by arm, and ``sheet``, the arms in the picture sheet, which takes the place of the
                old one. What is in the file under other keys stays.
            order: arms, as the rows shall stand.

        Raises:
            ProxymaskError: the file holds rows of another generator or preset.
        """
        path = self.settings.out
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = self.split.generator
        about = {"ablation": ablation, "resolution": generator.resolution, "cut": self.split.resolution}
        about |= {"generator": short_hash(generator), "preset": Path(self.settings.preset).stem}

        def write() -> None:
            with folder_lock(path.parent):
                old = read_json(path) if path.is_file() else {}
                other = next((key for key in ("generator", "preset") if old.get("rows") and old.get(key) != about[key]), None)
                if other is not None:
                    raise ProxymaskError(f"{path} holds rows of another {other}: move it away, or give another --out")
                merged = {key: value if key.startswith("sheet") else merge(old.get(key), value, order) for key, value in found.items()}
                write_json(path, {**about, **{key: value for key, value in old.items() if key not in about}, **merged})

        when_free(write)
        print(json.dumps(found["rows"][-1]) if found["rows"] else "", flush=True)


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
        return row["variant"], row.get("seed", 0)

    def steps(row: Mapping[str, Any]) -> tuple[int, int]:
        return row.get("steps", 0), row.get("mapper_steps", 0)

    def place(row: Mapping[str, Any]) -> int:
        return order.index(row["variant"]) if row["variant"] in order else len(order)

    rows = {which(row): row for row in old or []}
    for row in new:
        known = rows.get(which(row))
        if known is None or steps(known) <= steps(row):
            rows[which(row)] = row
        else:
            print(f"not stored: {row['variant']} is there with more steps, {steps(known)} and not {steps(row)}", flush=True)
    return sorted(rows.values(), key=lambda row: (place(row), row.get("seed", 0)))


def _last_step(curve: Any) -> int:
    """Of a list of points; 0 of anything else."""
    return curve[-1]["step"] if isinstance(curve, list) and curve else 0


def _short(value: float | None) -> float | None:
    return None if value is None or value != value else round(float(value), 4)
