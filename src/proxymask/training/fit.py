"""``fit``: from a folder of pictures, or a generator, to a bundle, running every stage that is still missing.

Everything is kept in the work folder ``<out>.work``, one folder a stage; a stage is done when its networks are saved and
``stage.json`` says that they were made of exactly what is asked for. So the same command goes on after any stop, and
another setting, picture or label makes anew just what depends on it; what was there before moves aside, never away.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any, Protocol

import torch
import tyro

from ..core.device import DeviceName, Precision, resolve_device, resolve_precision
from ..core.errors import ProxymaskError
from ..core.files import read_json, replace_folder, write_json
from ..core.hashing import file_hash, weights_hash
from ..core.sizes import Size, as_size, height_width, size_text
from ..data.dataset import ImageSet
from ..data.prepare import prepared_folder
from ..imaging.labels import LabelSet
from ..imaging.reader import SUFFIXES
from ..inference.bundle import Bundle, check_bundle, find_bundle
from ..inference.samples import (
    has_sidecars,
    labels_hash,
    painted_masks,
    read_label_set,
    read_labelled,
    read_sidecar,
    select_samples_to_label,
    write_samples,
)
from ..models.discriminator import Discriminator
from ..models.few_shot_segmenter import FewShotSegmenter
from ..models.oasis_mapper import OasisMapper
from ..models.proxy_clusters import ProxyClusters
from ..models.rearranger import Rearranger
from ..models.split_generator import SplitGenerator
from ..models.stylegan2 import Generator
from ..models.stylegan2_layers import check_resolution
from .distributed import agreed, barrier, is_main, processes
from .estimate import Cost, measure_clusters, measure_pictures, measure_stage
from .loop import Stage, Stopped
from .presets import DEFAULT_PRESET, Preset, StageName, preset_title, resolve_preset
from .stages import (
    acquire_run_dir,
    build_generator,
    build_mapper,
    build_rearranger,
    build_segmenter,
    check_class,
    check_colours,
    cluster_features,
    finish,
    identity_of,
    is_done,
    new_generator,
    open_generator,
    open_pictures,
    pictures_id,
    run_stage,
    steps_done,
)

TRAINED: tuple[StageName, ...] = ("generator", "rearranger", "segmenter", "mapper")
KEPT = ("generator", "clusters", "rearranger")  # parts of a bundle that new labels leave as they are
CANDIDATES = 256  # samples out of which those to label are chosen
SPARE = 1.1  # of the disk that is needed
TEMPLATE = LabelSet.of((("background", "#000000"), ("part 1", "#e6194b"), ("part 2", "#3cb44b"), ("part 3", "#4363d8")))
README = """\
One painted sample is enough to teach the model your labels; up to 16 make it better. They are sorted: begin with 000000.png,
which shows most of what there is.

1. Edit labels.json: one entry for each kind of region, with ids 0, 1, 2, ..., a name and a colour. Remove what you do not need.
2. Open 000000.png in any image editor and paint over it with exactly these colours, hard edges, no antialiasing: every pixel
   belongs to one label. Do not change the size of the canvas (a whole multiple of it is fine).
3. Save the painting as 000000.mask.png in this folder, beside 000000.png and 000000.json. Leave those two as they are.
4. Repeat with 000001.png and so on as long as you like.
5. Run the command that made this folder once more. It goes on from here.

A mask may also be a grey or palette picture whose values are the ids, or a folder 000000.mask/ with one black-and-white picture
for each label, named after it.
"""

Count = Callable[..., None]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(optional)")]
OptionalText = Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint="(optional)")]
OptionalNumber = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(optional)")]


class Report(Protocol):
    """Where :func:`fit` says what it does."""

    def say(self, text: str) -> None:
        """A line, or some."""
        ...

    def progress(self, title: str) -> AbstractContextManager[Count]:
        """Gives a function of (done, total[, numbers by name]) to be called along the way."""
        ...


class Silent:
    """Says nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def progress(self, title: str) -> AbstractContextManager[Count]:
        """Shows nothing."""
        return nullcontext(lambda *_: None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitConfig:
    """What to fit, and to what."""

    images: OptionalPath = None
    """Folder of pictures, or a prepared set, to train a generator on; or, beside --generator or --bundle, to judge realism by."""
    generator: OptionalPath = None
    """A trained generator instead: its run, its saved network, a bundle, or a checkpoint of another project (.pkl, .pt, .pth)."""
    class_index: Annotated[int | None, tyro.conf.arg(name="class", metavar="INT", help_behavior_hint="(optional)")] = None
    """The class to take, of a class-conditional --generator; that of a bundle is chosen already."""
    bundle: OptionalText = None
    """A bundle whose generator, clusters and rearranger stay as they are: only segmenter and mapper are trained anew."""
    labels: OptionalPath = None
    """Folder of painted samples (as proxymask sample writes them) with labels.json; without it, samples to paint are written."""
    samples: OptionalPath = None
    """Folder of the samples' sidecars, where it is not that of the masks."""
    out: Path
    """Folder for the bundle. OUT.work, beside it, holds what is needed to go on."""
    preset: str = DEFAULT_PRESET
    """Settings of all stages: auto (ours at the size of the pictures), demo, ours-128 to ours-1024, paper-256 to paper-1024, or a JSON file
    such as {"base": "demo", "rearranger": {"hidden": 32}}."""
    steps_scale: float = 1.0
    """Times the preset's steps, for a quick look (0.01) or a longer run (4)."""
    resolution: OptionalNumber = None
    """Side of the pictures of a generator to be trained; that of a prepared set, the preset's, or 64, where not given."""
    cut: OptionalNumber = None
    """Side of the features at the cut; the preset's, or half the pictures, where not given."""
    label_samples: int = 16
    """How many samples to write for labelling."""
    name: OptionalText = None
    """Name of the bundle; that of the folder where not given."""
    licence: str = ""
    """Licence and source of the pictures or the generator, for the model card."""
    seed: int = 0
    """All that is random follows from it: the same seed gives the same files on the same machine."""
    device: DeviceName = "auto"
    """Where to compute; auto takes an NVIDIA GPU, then an Apple GPU, then the CPU."""
    precision: Precision = "auto"
    """auto is bf16 where the hardware has it, fp32 elsewhere."""


@dataclasses.dataclass(frozen=True)
class FitResult:
    """Where :func:`fit` ended."""

    bundle: Path | None
    """The bundle, where one was written."""
    to_label: Path | None
    """The folder of samples that wait for their masks; None where the mapper is trained."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done, and what it takes."""

    lines: list[str]
    seconds: float
    memory: int
    disk: int
    """Bytes that will be written."""


def fit(config: FitConfig, report: Report | None = None) -> FitResult:
    """Run every missing stage in order: generator, clusters, rearranger, (samples to label,) segmenter, mapper, bundle.

    Raises:
        Stopped: Ctrl-C or SIGTERM; the same call goes on.
        ProxymaskError: anything wrong with the arguments, known before a stage is run; a full disk; a training that failed.
    """
    with processes(config.device):
        speaker = report if report is not None and is_main() else Silent()
        try:
            return _Fit(config, speaker).run()
        except KeyboardInterrupt:
            raise Stopped("stopped between two steps of training; run the same command again to go on") from None


class _Fit:
    """The networks as far as they are there, and one method a stage."""

    def __init__(self, config: FitConfig, report: Report) -> None:
        self.config, self.report = config, report
        self.device = resolve_device(config.device)
        self.dtype = resolve_precision(config.precision, self.device)
        if config.out.name in ("", ".."):
            raise ProxymaskError(f"--out {config.out}: name a folder, which will be made")
        self.out = config.out
        self.work = config.out.with_name(config.out.name + ".work")
        self.preset = self._preset(None)
        self.generator: Generator | None = None
        self.discriminator: Discriminator | None = None
        self.clusters: ProxyClusters | None = None
        self.rearranger: Rearranger | None = None
        self.segmenter: FewShotSegmenter | None = None
        self.mapper: OasisMapper | None = None
        self.pictures: ImageSet | None = None
        self.labels: LabelSet | None = None
        self.num_labels = 10  # until they are known: the mapper's cost hardly depends on it
        self.labelled: tuple[torch.Tensor, torch.Tensor, list[str]] | None = None
        self.source: Bundle | None = None
        self.origin: dict[str, Any] = {}  # of a generator that was imported
        self.hashes: dict[str, str] = {}
        self._check()

    # ------------------------------------------------------------------------------------------------------------ the order

    def run(self) -> FitResult:
        """Everything that is missing."""
        missing = self._missing()
        if missing != ["bundle"]:
            with self.report.progress("measuring how fast this machine is") as count:
                plan = self._plan(missing, count)
            self.report.say("\n".join(plan.lines))
            _check_disk(self.out.parent, plan.disk)
        if is_main():
            try:
                self.work.mkdir(parents=True, exist_ok=True)
                write_json(self.work / "settings.json", json.loads(json.dumps(dataclasses.asdict(self.preset))))
            except OSError as error:
                raise ProxymaskError(f"cannot write {self.work} ({error.strerror}): choose another --out") from None
        barrier()
        while missing:
            stage = missing[0]
            if stage == "labels":
                return self._ask_for_labels()
            getattr(self, f"_make_{stage}")()
            if stage == "bundle":
                break
            missing = self._missing()
        return FitResult(self.out, None)

    def _missing(self) -> list[str]:
        """The stages that are not done, in order; what is done is loaded."""
        order = ["pictures", "generator", "clusters", "rearranger", "labels", "segmenter", "mapper"]
        for index, stage in enumerate(order):
            if not getattr(self, f"_load_{stage}")():
                return [*order[index:], "bundle"]
        return ["bundle"]

    # ------------------------------------------------------------------------------------------------- checks, before any work

    def _check(self) -> None:
        config = self.config
        given = [flag for flag, value in (("--generator", config.generator), ("--bundle", config.bundle)) if value is not None]
        if len(given) == 2:
            raise ProxymaskError("--generator and --bundle both name a generator: give one of them")
        if not given and config.images is None:
            raise ProxymaskError("fit starts from something: give --images DIR, --generator DIR or --bundle NAME")
        if config.class_index is not None and config.generator is None:
            raise ProxymaskError("--class goes with --generator, and nothing else given here has classes to choose from: leave it out")
        for flag, path in (("--images", config.images), ("--labels", config.labels), ("--samples", config.samples)):
            if path is not None and not path.is_dir():
                raise ProxymaskError(f"{flag} {path} is not a folder" if path.exists() else f"{flag} {path} does not exist")
        images = config.images
        if images is not None and not (images / "index.json").is_file() and not _picture_files(images):
            raise ProxymaskError(f"--images {images} holds no pictures ({', '.join(sorted(SUFFIXES))})")
        for path in (self.out, self.work):
            if path.exists() and not path.is_dir():
                raise ProxymaskError(f"{path} is a file: choose another --out")
        if self.out.is_dir() and any(self.out.iterdir()) and not (self.out / "bundle.json").is_file():
            raise ProxymaskError(f"{self.out} is not empty and holds no bundle: choose another --out")
        parent = _existing(self.out.parent)
        if not os.access(parent, os.W_OK):
            raise ProxymaskError(f"{parent} cannot be written: choose another --out")

        if config.bundle is not None:
            self._open_bundle(config.bundle)
        elif (self.out / "bundle.json").is_file() and not self.work.is_dir():
            raise ProxymaskError(f"{self.out} holds a bundle already: choose another --out, or retrain its mapper with --bundle {self.out}")
        elif config.generator is not None:
            self.generator, self.discriminator, self.origin = open_generator(config.generator, config.class_index)
            check_class(self.generator)
            if config.images is not None:
                check_colours(self.generator)
        self.resolution = self._resolution()
        self.preset = self._preset(self.resolution)
        self.cut = self._cut()
        folder = self._label_folder()
        if folder is not None:  # wrong labels are better known now than after hours
            self._read_labels(folder)

    def _open_bundle(self, name: str) -> None:
        self.source = bundle = Bundle.load(name)
        self.generator, self.clusters, self.rearranger = bundle.generator, bundle.clusters, bundle.rearranger
        concat_channels = Path(f"{find_bundle(name)}.work") / "rearranger" / "discriminator"
        if (concat_channels / "config.json").is_file():
            found = Discriminator.from_pretrained(concat_channels)
            self.discriminator = found if found.picture_size == bundle.generator.picture_size else None
        if (self.out / "bundle.json").is_file() and not self.work.is_dir() and self.out.resolve() != find_bundle(name).resolve():
            raise ProxymaskError(f"{self.out} holds another bundle: choose another --out")

    def _preset(self, resolution: int | None) -> Preset:
        config = self.config
        preset = resolve_preset(config.preset, resolution).scaled(config.steps_scale)
        return preset.with_loops(device=config.device, precision=config.precision, seed=config.seed)

    def _resolution(self) -> int:
        if self.generator is not None:
            if self.config.resolution not in (None, self.generator.resolution):
                raise ProxymaskError(f"--resolution {self.config.resolution}: this generator makes pictures of {self.generator.resolution}")
            return self.generator.resolution
        if self.config.resolution is not None:
            size = self.config.resolution
        elif self.config.images is not None and (self.config.images / "index.json").is_file():
            prepared = ImageSet.open(self.config.images).size
            if not isinstance(prepared, int):
                raise ProxymaskError(
                    f"--images {self.config.images} is prepared at {size_text(prepared)}, and a new generator makes square pictures: "
                    "prepare it at a square size, or give a generator of such pictures with --generator"
                )
            size = prepared
        else:
            size = self.preset.resolution
        check_resolution(size)
        return size

    @property
    def _size(self) -> Size:
        """Of the pictures."""
        return self.resolution if self.generator is None else as_size(self.generator.picture_size)

    def _cut(self) -> int:
        if self.source is not None:
            if self.config.cut not in (None, self.source.cut):
                raise ProxymaskError(f"--cut {self.config.cut}: this bundle is cut at {self.source.cut}")
            return self.source.cut
        cut = self.config.cut or self.preset.cut_for(self.resolution)
        if cut not in check_resolution(self.resolution)[1:]:
            raise ProxymaskError(f"--cut {cut}: {self.resolution}-pixel pictures can be cut at {check_resolution(self.resolution)[1:]}")
        return cut

    # ------------------------------------------------------------------------------------------------------------- the plan

    def _plan(self, missing: Sequence[str], count: Count) -> Plan:
        """Measure the missing stages."""
        config = self._generator_config()
        later = "labels" in missing  # the stages after it wait for masks
        rows: list[tuple[str, str, float, bool]] = []
        costs: dict[str, Cost] = {}
        disk = 0
        for number, stage in enumerate(missing):
            count(number, len(missing))
            waiting = later and stage in ("segmenter", "mapper")
            if stage == "pictures" and self.config.images is not None:
                files = _picture_files(self.config.images)
                rows.append(("prepare pictures", f"{len(files):,} files", measure_pictures(files, self._size, os.cpu_count() or 1), False))
                height, width = height_width(self._size)
                _check_disk(self.config.images, len(files) * height * width * 3)
            elif stage == "clusters":
                seconds = measure_clusters(self.preset, config, self.cut, self.device)
                rows.append((stage, f"{self.preset.cluster_samples:,} samples", seconds, False))
            elif stage in TRAINED:
                loop = self.preset.loop(stage)
                cost = costs[stage] = measure_stage(
                    stage, self.preset, config, self.cut, self.num_labels, self.config.images is not None, self.device
                )
                done = min(steps_done(self.work / stage), loop.steps)
                what = f"{loop.steps:,} steps" + (f", {done:,} of them done" if done else "")
                rows.append((stage, what, cost.seconds_per_step * (loop.steps - done), waiting))
                disk += 0 if done else cost.checkpoint * (loop.keep + 2)  # those kept, one being written, the networks
        now, then = sum(seconds for *_, seconds, wait in rows if not wait), sum(seconds for *_, seconds, wait in rows if wait)
        memory = max((cost.memory for cost in costs.values()), default=0)
        where = "GPU memory" if self.device.type == "cuda" else "memory"
        if self.source is not None:
            first = f"fit: new labels for {self.config.bundle} -> {self.out}"
        else:
            first = f"fit: {self.config.generator or self.config.images} -> {self.out}"
        lines = [f"{first} ({size_text(self._size)} pictures, cut at {self.cut}, on {self.device.type}; work in {self.work})"]
        lines += [
            f"  {name:<17}{what:<38}about {duration(seconds)}{', once labelled' if wait else ''}" for name, what, seconds, wait in rows
        ]
        in_all = f"  {'in all':<17}{'':<38}about {duration(now)}" + (f", and {duration(then)} once labelled" if then else "")
        in_all += f"; {where} about {amount(memory)}" if memory else ""
        free = shutil.disk_usage(_existing(self.out.parent)).free
        lines += [f"{in_all}; disk about {amount(disk)} of {amount(free)} free", "  Ctrl-C stops it at any time; the same command goes on."]
        return Plan(lines, now, memory, disk)

    def _generator_config(self) -> dict[str, Any]:
        if self.generator is not None:
            return {**self.generator.config, "c_dim": 0}  # for what is measured it is as fast without classes, and none need be chosen
        with torch.device("meta"):  # its config is wanted, not its weights
            return new_generator(self.preset.generator, self.resolution, 0).config

    # ----------------------------------------------------------------------------------------------------------- the stages

    def _load_pictures(self) -> bool:
        images = self.config.images
        if images is None or self.pictures is not None:
            return True
        if any((folder / "index.json").is_file() for folder in (images, prepared_folder(images, self._size))):
            self.pictures = open_pictures(images, self._size)  # prepares again only what has changed
        return self.pictures is not None

    def _make_pictures(self) -> None:
        assert self.config.images is not None
        with self.report.progress("preparing pictures") as count:
            self.pictures = open_pictures(self.config.images, self._size, count)
        unread = len(_picture_files(self.config.images)) - len(self.pictures)
        rest = f"; {unread:,} files could not be used (proxymask data prepare names them)" if unread > 0 else ""
        self.report.say(f"{len(self.pictures):,} pictures of {size_text(self._size)}{rest}")

    def _identity(self, stage: str) -> dict[str, Any]:
        """What a stage is made of, as far as it can be known now."""
        preset, pictures = self.preset, pictures_id(self.pictures)
        made_of: dict[str, Any]
        if stage == "clusters":
            sizes = {"clusters": preset.num_clusters, "samples": preset.cluster_samples, "cut": self.cut}
            return {**sizes, "seed": self.config.seed, **self._of("generator")}
        if stage == "generator":
            made_of = {"resolution": self.resolution, "pictures": pictures}
            return identity_of(preset.generator, preset.generator_loop, made_of, schedule=False)
        if stage == "rearranger":
            made_of = {"pictures": pictures, **self._of("generator", "clusters", "discriminator")}
            return identity_of(preset.rearranger, preset.rearranger_loop, made_of)
        if stage == "segmenter":
            assert self.labels is not None
            assert self.labelled is not None
            few = len(self.labelled[0]) <= preset.segmenter.style_transfer_max_labels
            shown_by = ("clusters", "rearranger") if few else ()
            made_of = {"labels": labels_hash(self.labels, *self.labelled[:2]), **self._of("generator", *shown_by)}
            return identity_of(preset.segmenter, preset.segmenter_loop, made_of)
        made_of = {"pictures": pictures, **self._of("generator", "clusters", "rearranger", "segmenter", "discriminator")}
        return identity_of(preset.mapper, preset.mapper_loop, made_of)

    def _of(self, *parts: str) -> dict[str, str]:
        return {part: self._hash(part)[:16] for part in parts}

    def _hash(self, part: str) -> str:
        if part not in self.hashes:
            network = getattr(self, part)
            self.hashes[part] = "fresh" if network is None else weights_hash(network)
        return self.hashes[part]

    def _done(self, stage: str) -> bool:
        steps = self.preset.loop(stage).steps if stage in TRAINED else 0
        return is_done(self.work / stage, self._identity(stage), steps)

    def _took(self, part: str, network: Any) -> None:
        setattr(self, part, network)
        self.hashes.pop(part, None)

    def _load_generator(self) -> bool:
        if self.generator is not None:
            return True
        if not self._done("generator"):
            return False
        self._took("generator", Generator.from_pretrained(self.work / "generator" / "generator"))
        self._took("discriminator", Discriminator.from_pretrained(self.work / "generator" / "discriminator"))
        folder = self._label_folder()
        if folder is not None:
            self._read_labels(folder)  # now that it can be told whose samples they are, and before anything else is trained
        return True

    def _load_clusters(self) -> bool:
        if self.clusters is None and self._done("clusters"):
            self._took("clusters", ProxyClusters.from_pretrained(self.work / "clusters" / "clusters"))
        return self.clusters is not None

    def _load_rearranger(self) -> bool:
        if self.rearranger is None and self._done("rearranger"):
            self._took("rearranger", Rearranger.from_pretrained(self.work / "rearranger" / "rearranger"))
            self._took("discriminator", Discriminator.from_pretrained(self.work / "rearranger" / "discriminator"))
        return self.rearranger is not None

    def _load_labels(self) -> bool:
        folder = self._label_folder()
        if self.labelled is None and folder is not None:
            self._read_labels(folder)
        return self.labelled is not None

    def _load_segmenter(self) -> bool:
        if self.segmenter is None and self._done("segmenter"):
            self._took("segmenter", FewShotSegmenter.from_pretrained(self.work / "segmenter" / "segmenter"))
        return self.segmenter is not None

    def _load_mapper(self) -> bool:
        if self.mapper is None and self._done("mapper"):
            self._took("mapper", OasisMapper.from_pretrained(self.work / "mapper" / "mapper"))
        return self.mapper is not None

    def _run(self, name: StageName, build: Callable[[], Stage]) -> None:
        self._claim(name)
        with self.report.progress(name) as count:
            run_stage(build(), self.preset.loop(name), self.work / name, self._identity(name), count)
        self.report.say(f"{name}: done ({self.work / name})")

    def _claim(self, name: str) -> None:
        if is_main():
            aside = acquire_run_dir(self.work / name, self._identity(name))
            if aside is not None:
                self.report.say(f"{name}: the earlier one was made of something else; it is kept as {aside}")
        barrier()

    def _make_generator(self) -> None:
        pictures, config, seed = self.pictures, self.preset.generator, self.config.seed
        assert pictures is not None
        self._run("generator", lambda: build_generator(config, new_generator(config, self.resolution, seed), None, pictures, seed))

    def _make_clusters(self) -> None:
        self._claim("clusters")
        cut = self._cut_generator()
        if is_main():
            with self.report.progress("clusters, pass") as count:
                found = cluster_features(
                    cut,
                    self.preset.num_clusters,
                    self.preset.cluster_samples,
                    self.config.seed,
                    self.device,
                    lambda index, inertia: count(index, 0, {"inertia": inertia}),
                )
            finish(self.work / "clusters", self._identity("clusters"), 0, {"clusters": found})
        self.report.say(f"clusters: done ({self.work / 'clusters'})")
        barrier()

    def _cut_generator(self) -> SplitGenerator:
        assert self.generator is not None
        return SplitGenerator(self.generator, self.cut).eval().requires_grad_(False)

    def _make_rearranger(self) -> None:
        clusters, loop = self.clusters, self.preset.rearranger_loop
        assert clusters is not None
        self._run(
            "rearranger",
            lambda: build_rearranger(
                self.preset.rearranger,
                self._cut_generator(),
                clusters,
                _copy(self.discriminator),
                self.pictures,
                loop.steps,
                loop.seed,
                self.device,
            ),
        )

    def _make_segmenter(self) -> None:
        assert self.labels is not None
        assert self.labelled is not None
        (ws, masks, _), labels, seed = self.labelled, self.labels, self.config.seed
        cut, parts = self._cut_generator(), (self.clusters, self.rearranger)
        steps = self.preset.segmenter_loop.steps
        absent = [label.name for label in labels.labels if not bool((masks == label.id).any())]
        if absent:
            self.report.say(f"note: no mask shows {', '.join(absent)}; what nobody painted cannot be learnt")
        self._run(
            "segmenter",
            lambda: build_segmenter(self.preset.segmenter, cut, ws, masks, len(labels), steps, seed, self.device, *parts),
        )
        if is_main():
            labels.save(self.work / "segmenter" / "labels.json")

    def _make_mapper(self) -> None:
        clusters, rearranger, segmenter, labels = self.clusters, self.rearranger, self.segmenter, self.labels
        assert clusters is not None
        assert rearranger is not None
        assert segmenter is not None
        assert labels is not None
        self._run(
            "mapper",
            lambda: build_mapper(
                self.preset.mapper,
                self._cut_generator(),
                clusters,
                rearranger.to(self.device),
                segmenter,
                labels,
                _copy(self.discriminator),
                self.pictures,
                self.preset.mapper_loop.steps,
                self.config.seed,
                self.device,
            ),
        )

    # ----------------------------------------------------------------------------------------------------------- the labels

    @property
    def _to_label(self) -> Path:
        return self.work / "to-label"

    def _label_folder(self) -> Path | None:
        """Where the painted masks are: as told, or where they were asked for."""
        if self.config.labels is not None:
            return self.config.labels
        first = self._to_label / "000000.json"
        if self.generator is None or not first.is_file() or read_sidecar(first).generator != self._hash("generator"):
            return None
        return self._to_label if painted_masks(self._to_label) else None

    def _read_labels(self, folder: Path) -> None:
        """Read the labelled samples; as long as there is no generator, just look whether they can be read."""
        samples = self.config.samples
        if samples is None and not has_sidecars(folder) and self._to_label.is_dir():
            samples = self._to_label  # masks alone, of the samples that were written for them
        own = (folder / "labels.json").is_file() or samples is None or not (samples / "labels.json").is_file()
        labels = read_label_set(folder if own or samples is None else samples)
        labelled = read_labelled(folder, labels, None if self.generator is None else self._hash("generator"), samples)
        self.num_labels = len(labels)
        if self.generator is not None:
            self.labels, self.labelled = labels, labelled

    def _ask_for_labels(self) -> FitResult:
        """Write the samples most worth labelling, and a bundle that needs no labels."""
        assert self.clusters is not None
        folder, written = self._to_label, None
        if is_main():
            self._write_to_label(folder)
        barrier()
        if self.source is None:
            if not _has_mapper(self.out):
                self._make_bundle()
            written = self.out
        can = (
            f"{self.out} can already lay one sample out in the shape of another (proxymask transfer --bundle {self.out}).\n"
            if written
            else ""
        )
        self.report.say(
            f"{can}To paint with masks, it has to learn your labels. {self.config.label_samples} samples lie in\n  {folder}\n"
            f"Name your labels in its labels.json, paint over 000000.png, and save that as 000000.mask.png in the same folder\n"
            f"(README.txt there says it in full; one is enough, more are better). Then run the same command again."
        )
        return FitResult(written, folder)

    def _write_to_label(self, folder: Path) -> None:
        assert self.generator is not None
        assert self.clusters is not None
        first = folder / "000000.json"
        if first.is_file():
            old = read_sidecar(first).generator
            if old != self._hash("generator"):
                aside = folder.with_name(f"{folder.name}.{old[:8]}")
                os.replace(folder, aside)
                self.report.say(f"samples of an earlier generator are kept as {aside}")
            elif (folder / f"{self.config.label_samples - 1:06d}.png").is_file():
                return  # all there; labels.json may be edited by now
        cut, clusters = self._cut_generator().to(self.device), self.clusters.to(self.device)
        candidates = max(CANDIDATES, self.config.label_samples)
        seeds = select_samples_to_label(cut, clusters, self.config.label_samples, candidates, self.config.seed, self.dtype)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "labels.json").is_file():
            TEMPLATE.save(folder / "labels.json")
        (folder / "README.txt").write_text(README, encoding="utf-8")
        with self.report.progress("samples to label") as count:
            write_samples(cut, len(seeds), folder, seeds=seeds, with_proxy=True, clusters=clusters, precision=self.dtype, progress=count)

    # ----------------------------------------------------------------------------------------------------------- the bundle

    def _make_bundle(self) -> None:
        if is_main():
            self._write_bundle()
            self.report.say(f"bundle: {self.out}")
            if self.mapper is not None:
                self.report.say(f"now paint: proxymask generate --bundle {self.out} --mask MASK.png --out picture.png --style-seed 1")
        barrier()

    def _write_bundle(self) -> None:
        assert self.generator is not None
        assert self.clusters is not None
        assert self.rearranger is not None
        config, source = self.config, self.source
        about = dict(source.about) if source is not None else {}
        if source is None:
            about |= {"made by": "proxymask fit", "preset": preset_title(config.preset, self.resolution)}
            about |= {"generator": self._hash("generator")}
            about |= {"pictures": len(self.pictures) if self.pictures is not None else "none; the generator's own samples"}
            if self.origin:
                about |= _origin(self.origin)
        if config.licence:
            about["licence"] = config.licence
        if self.mapper is not None and self.labelled is not None:
            about |= {"proxy_mask_mode": self.preset.mapper.proxy_mask_mode, "labelled samples": self.labelled[2]}
        bundle = Bundle(
            generator=self.generator,
            cut=self.cut,
            clusters=self.clusters,
            rearranger=self.rearranger,
            labels=self.labels if self.mapper is not None else None,
            segmenter=self.segmenter,
            mappers=({} if source is None else dict(source.mappers)) | ({} if self.mapper is None else {"mask": self.mapper}),
            name=config.name or (source.name if source is not None else self.out.name),
            about=about,
        )
        if source is None:
            bundle.save(self.out)
            return
        assert source.folder is not None
        staging = bundle.save(self.work / "bundle")
        _keep_files(source.folder, staging)
        problems = check_bundle(staging)
        if problems:
            raise ProxymaskError(f"{staging}: {'; '.join(problems)}")
        replace_folder(staging, self.out)


def _origin(origin: dict[str, Any]) -> dict[str, str]:
    """What the card says of a generator that was imported."""
    said = {
        "source of the generator": f"{origin.get('source')} ({origin.get('family')}), sha256 {origin.get('sha256') or 'unknown'}",
        "licence of the generator": origin.get("licence"),
        "licence notice in its file": " ".join(str(origin.get("licence notice", "")).split()),
    }
    return {key: str(value) for key, value in said.items() if value}


def _keep_files(source: Path, target: Path) -> None:
    """Put the source's own files of the parts that do not change into ``target``, byte for byte, and set its bundle.json right."""
    about, old = read_json(target / "bundle.json"), read_json(source / "bundle.json")["sha256"]
    for name in [name for name in about["sha256"] if name.startswith(tuple(f"{part}/" for part in KEPT))]:
        shutil.copyfile(source / name, target / name)
        about["sha256"][name] = file_hash(target / name)
        if about["sha256"][name] != old[name]:
            raise ProxymaskError(f"{source / name} changed while it was copied: copy the bundle again")
    write_json(target / "bundle.json", about)


def _has_mapper(folder: Path) -> bool:
    return (folder / "bundle.json").is_file() and bool(read_json(folder / "bundle.json").get("mappers"))


def _copy(discriminator: Discriminator | None) -> Discriminator | None:
    """A copy to train on: the original is what the stage's identity names."""
    if discriminator is None:
        return None
    copy = Discriminator(**discriminator.config)
    copy.load_state_dict(discriminator.state_dict())
    return copy


def _check_disk(place: Path, needed: int) -> None:
    """A :class:`ProxymaskError` where the disk of ``place`` has no room for ``needed`` bytes."""
    place = _existing(place)
    free = shutil.disk_usage(place).free
    if agreed(free < needed * SPARE):
        raise ProxymaskError(f"the disk of {place} has {amount(free)} free, about {amount(needed * SPARE)} are needed: make room")


def _existing(path: Path) -> Path:
    """The nearest folder above ``path`` that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _picture_files(folder: Path) -> list[Path]:
    root = folder / "images" if (folder / "images").is_dir() else folder
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def duration(seconds: float) -> str:
    """A time for people: 40 s, 12 min, 3 h 20 min, 2 d 4 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 36 * 60:
        return f"{minutes // 60} h {minutes % 60 // 5 * 5} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def amount(size: float) -> str:
    """Bytes for people: 12 MB, 3.4 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"
