"""The verbs that train: ``train generator|rearranger|segmenter|mapper``, ``cluster`` and ``fit``."""

import ast
import dataclasses
import inspect
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..conditions import Condition, get_condition
from ..core import legacy
from ..core.device import resolve_device, resolve_precision
from ..core.errors import ProxymaskError
from ..core.files import read_json, write_json
from ..core.hashing import short_hash, weights_hash
from ..core.sizes import Size, as_size, short_text, size_text
from ..data.dataset import ImageSet
from ..imaging.labels import LabelSet
from ..inference.find import find_bundle
from ..inference.samples import labels_hash, read_label_set, read_labelled
from ..models.discriminator import Discriminator
from ..models.few_shot_segmenter import FewShotSegmenter
from ..models.mappers import load_mapper
from ..models.proxy_clusters import ProxyClusters
from ..models.rearranger import Rearranger
from ..models.split_generator import SplitGenerator
from ..models.stylegan2 import Generator
from ..models.stylegan2_layers import check_resolution
from ..models.unet_mapper import UNetMapper
from ..training.depth import DepthConfig, DepthImages
from ..training.distillation import DistillationStage
from ..training.distributed import is_main, main_first, processes
from ..training.fit import FitConfig, fit
from ..training.generator import GeneratorConfig
from ..training.loop import LoopConfig
from ..training.mapper import ConditionConfig, MapperConfig, MapperStage
from ..training.pairs import PairShards, RealPairs, probe_of
from ..training.presets import DEFAULT_PRESET, PRESETS, StageName, resolve_preset
from ..training.rearranger import RearrangerConfig
from ..training.segmenter import SegmenterConfig
from ..training.stages import (
    build_condition_mapper,
    build_depth,
    build_distillation,
    build_generator,
    build_mapper,
    build_rearranger,
    build_segmenter,
    check_class,
    check_colours,
    check_out,
    cluster_features,
    discriminator_beside,
    find_part,
    finish,
    grow,
    identity_of,
    is_done,
    load_part,
    mark_of,
    match_class,
    new_generator,
    open_generator,
    open_pictures,
    pictures_id,
    run_stage,
)
from .evaluation import TrainJudge
from .options import ClassIndex, Common, Computing, OptionalPath
from .progress import Terminal, progress


def overrides(config: type, attribute: str) -> type:
    """A dataclass with every field of ``config``, each None ("as the preset says") unless it is given.

    So one flag changes one setting of a preset, and help shows what each preset says. Fields that all verbs have elsewhere
    (device, precision, seed) are left out.
    """
    hints, texts = typing.get_type_hints(config), _field_texts(config)
    fields: list[Any] = []
    for entry in dataclasses.fields(config):
        if entry.name in ("device", "precision", "seed"):
            continue
        values = {name: _shown(getattr(getattr(preset, attribute), entry.name)) for name, preset in PRESETS.items()}
        names = {value: _preset_names([name for name, v in values.items() if v == value]) for value in values.values()}
        one = len(names) == 1
        default = f"(default: {next(iter(names))})" if one else "(" + "; ".join(f"{k}: {v}" for v, k in names.items()) + ")"
        metavar = _metavar(hints[entry.name])
        argument = tyro.conf.arg(help=texts[entry.name], help_behavior_hint=default, metavar=metavar)
        fields.append((entry.name, Annotated[hints[entry.name] | None, argument], None))
    return dataclasses.make_dataclass(f"{config.__name__}Overrides", fields, frozen=True)


def _preset_names(names: Sequence[str]) -> str:
    """The names of presets, a family of which all are there as one."""
    text = ", ".join(names)
    for family in ("ours-", "paper-"):
        text = text.replace(", ".join(name for name in PRESETS if name.startswith(family)), f"{family}*")
    return text


def _field_texts(config: type) -> dict[str, str]:
    """The docstring under each field."""
    [node] = ast.parse(inspect.getsource(config)).body
    assert isinstance(node, ast.ClassDef)
    texts = {}
    for line, below in pairwise(node.body):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            assert isinstance(below, ast.Expr)
            assert isinstance(below.value, ast.Constant)
            texts[line.target.id] = " ".join(str(below.value.value).split())
    return texts


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return " ".join(map(str, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _metavar(hint: Any) -> str:
    if hint is bool:
        return "{True,False}"
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return "{" + ",".join(map(str, inner)) + "}"
    return f"{inner[0].__name__.upper()} ..." if inner else str(hint.__name__).upper()


if TYPE_CHECKING:
    GeneratorOverrides = GeneratorConfig
    GeneratorLoop = LoopConfig
    RearrangerOverrides = RearrangerConfig
    RearrangerLoop = LoopConfig
    SegmenterOverrides = SegmenterConfig
    SegmenterLoop = LoopConfig
    MapperOverrides = MapperConfig
    ConditionOverrides = ConditionConfig
    MapperLoop = LoopConfig
else:
    GeneratorOverrides, GeneratorLoop = overrides(GeneratorConfig, "generator"), overrides(LoopConfig, "generator_loop")
    RearrangerOverrides, RearrangerLoop = overrides(RearrangerConfig, "rearranger"), overrides(LoopConfig, "rearranger_loop")
    SegmenterOverrides, SegmenterLoop = overrides(SegmenterConfig, "segmenter"), overrides(LoopConfig, "segmenter_loop")
    MapperOverrides, MapperLoop = overrides(MapperConfig, "mapper"), overrides(LoopConfig, "mapper_loop")
    ConditionOverrides = overrides(ConditionConfig, "condition")

Flat = tyro.conf.arg(name="")  # --steps instead of --loop.steps
OptionalNumber = Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(the preset's)")]


def _settings(stage: StageName, preset: str, resolution: int, common: Computing, config: Any, loop: Any) -> tuple[Any, LoopConfig]:
    """The settings of a stage for pictures of ``resolution``: the preset's, with what was given on the command line."""
    chosen = resolve_preset(preset, resolution).with_loops(device=common.device, precision=common.precision, seed=common.seed)
    return _changed(getattr(chosen, stage), config), _changed(chosen.loop(stage), loop)


def _changed(base: Any, given: Any) -> Any:
    values = {entry.name: getattr(given, entry.name) for entry in dataclasses.fields(given)}
    return dataclasses.replace(base, **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if v is not None})


def _generator(path: Path, class_index: int | None) -> tuple[Generator, Discriminator | None]:
    """A generator with the class that it is to take, and its discriminator where there is one."""
    generator, discriminator, _ = open_generator(path, class_index)
    check_class(generator)
    return generator, discriminator


def _pictures(path: Path | None, generator: Generator) -> ImageSet | None:
    """Real pictures to compare those of ``generator`` with."""
    if path is None:
        return None
    check_colours(generator)
    with progress("preparing pictures") as count:
        return open_pictures(path, as_size(generator.picture_size), count)


def _discriminator(given: Path | None, concat_channels: Path, name: str, generator: Generator) -> Discriminator | None:
    if given is None:
        return discriminator_beside(concat_channels, name, generator)
    found = load_part(given, "discriminator", Discriminator)
    if found.picture_size != generator.picture_size:
        theirs, ours = short_text(found.picture_size), short_text(generator.picture_size)
        raise ProxymaskError(f"--discriminator {given} judges pictures of {theirs}, the generator makes {ours}")
    match_class(found, generator)
    return found


def _square(pictures: ImageSet) -> int:
    """The side of pictures that a new generator can learn from."""
    if not isinstance(pictures.size, int):
        raise ProxymaskError(
            f"{pictures.folder} is prepared at {size_text(pictures.size)}, and a new generator makes square pictures: prepare it at a "
            "square size (proxymask data prepare), or fine-tune a generator of such pictures (--resume-from)"
        )
    check_resolution(pictures.size)
    return pictures.size


def _say(text: str) -> None:
    Terminal().say(text)


@dataclass(frozen=True, kw_only=True)
class TrainGenerator:
    """An unconditional generator (StyleGAN2), from a folder of pictures.

    OUT gets generator/ (averaged weights) and discriminator/, and while it trains checkpoints, grids/ of pictures, stats.jsonl and
    TensorBoard events. The same command goes on after a stop; a larger --steps goes on after the end.

    Examples:
      proxymask train generator --images photos --out runs/generator
      proxymask train generator --images few-photos --out runs/tuned --resume-from runs/generator --augment color translation
      proxymask train generator --images photos --out runs/g128 --grow-from runs/g64 --resolution 128 --channel-base 4096
      torchrun --nproc-per-node 4 -m proxymask train generator --images photos --out runs/generator --preset paper-256
    """

    images: Path
    """Folder of pictures, or a prepared set."""
    out: Path
    """Run folder; one that holds checkpoints is gone on with."""
    resume_from: OptionalPath = None
    """Fine-tune this generator (its run, its saved network, or a bundle) instead of starting from nothing."""
    grow_from: OptionalPath = None
    """Start as this generator of smaller pictures: its blocks are taken over, widened where --channel-base or --channel-max say so, and new
    ones are added. Its discriminator grows too; where there is none, give --discriminator-first."""
    class_index: ClassIndex = None
    """The class to take, of a class-conditional generator to fine-tune."""
    resolution: OptionalNumber = None
    """Side of the pictures, a power of two; that of a prepared set where it is one; twice that of --grow-from."""
    preset: str = DEFAULT_PRESET
    """Settings: auto (ours at the size of the pictures), demo, ours-SIZE, paper-SIZE, or a JSON file that changes one of them.
    The flags below change single settings."""
    config: Annotated[GeneratorOverrides, Flat] = field(default_factory=GeneratorOverrides)
    loop: Annotated[GeneratorLoop, Flat] = field(default_factory=GeneratorLoop)
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Train it."""
        with processes(self.common.device):
            preset = resolve_preset(self.preset)
            check_out(self.out)
            start = discriminator = None
            size: Size | None = self.resolution
            if self.resume_from is not None and self.grow_from is not None:
                raise ProxymaskError("--resume-from keeps the size of the pictures and --grow-from changes it: give one of them")
            if self.resume_from is not None:
                start, discriminator = _generator(self.resume_from, self.class_index)
                check_colours(start)
                if size not in (None, as_size(start.picture_size)):
                    made = short_text(start.picture_size)
                    raise ProxymaskError(f"--resolution {size}: the generator in {self.resume_from} makes pictures of {made}")
                size = as_size(start.picture_size)
            elif self.grow_from is not None:
                start, discriminator = _generator(self.grow_from, self.class_index)
                check_colours(start)
                if size is None and not (self.images / "index.json").is_file():
                    size = 2 * start.resolution
            elif self.class_index is not None:
                raise ProxymaskError(
                    "--class is of a generator that has classes: name it with --resume-from or --grow-from, or leave --class out"
                )
            elif size is None and not (self.images / "index.json").is_file():
                size = preset.resolution
            if self.resolution is not None and start is None:
                check_resolution(self.resolution)  # before anything is prepared
            with progress("preparing pictures") as count:
                pictures = open_pictures(self.images, size, count)
            made_of = {"resolution": pictures.size, "pictures": pictures_id(pictures)}
            side = _square(pictures) if start is None or self.grow_from is not None else start.resolution
            config, loop = _settings("generator", self.preset, side, self.common, self.config, self.loop)
            if start is not None:
                made_of |= {"start" if self.grow_from is None else "grown_from": short_hash(start)}
            if self.grow_from is not None:
                assert start is not None
                start, discriminator = grow(config, start, discriminator, side, loop.seed)
            generator = start or new_generator(config, side, loop.seed)
            stage = build_generator(config, generator, discriminator, pictures, loop.seed, grown=self.grow_from is not None)
            with progress("generator") as update:
                run_stage(stage, loop, self.out, identity_of(config, loop, made_of, schedule=False), update)
        _say(f"generator: {self.out / 'generator'}; next: proxymask fit --generator {self.out} --images {self.images} --out my-bundle")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The proxy clusters of a generator: spherical k-means of its features at the cut.

    Examples:
      proxymask cluster --generator runs/generator --out runs/clusters
    """

    generator: Path
    """The generator: its run, its saved network, a bundle, or a checkpoint of another project (.pkl, .pt, .pth)."""
    out: Path
    """Folder for clusters/."""
    cut: OptionalNumber = None
    """Side of the features at the cut; the preset's, or half the pictures for another size."""
    clusters: OptionalNumber = None
    """K, how many; 25 in the paper."""
    samples: OptionalNumber = None
    """Samples whose features are clustered; 256 in the paper."""
    class_index: ClassIndex = None
    """The class to take, of a class-conditional generator."""
    preset: str = DEFAULT_PRESET
    """Settings: auto (ours at the size of the pictures), demo, ours-SIZE, paper-SIZE, or a JSON file."""
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Cluster, and report the sizes."""
        check_out(self.out)
        generator, _ = _generator(self.generator, self.class_index)
        preset = resolve_preset(self.preset, generator.resolution)
        side = self.cut or preset.cut_for(generator.resolution)
        count, samples = self.clusters or preset.num_clusters, self.samples or preset.cluster_samples
        identity = {"clusters": count, "samples": samples, "cut": side, "seed": self.common.seed, "generator": short_hash(generator)}
        if not is_done(self.out, identity, 0):
            if (self.out / "clusters").exists():
                raise ProxymaskError(f"{self.out} holds clusters of another generator or with other settings: choose another --out")
            cut = SplitGenerator(generator, side).eval().requires_grad_(False)
            with progress("clusters, pass") as update:
                found = cluster_features(
                    cut,
                    count,
                    samples,
                    self.common.seed,
                    resolve_device(self.common.device),
                    lambda index, inertia: update(index, 0, {"inertia": inertia}),
                )
            finish(self.out, identity, 0, {"clusters": found})
        _say(f"{load_part(self.out, 'clusters', ProxyClusters).report()}\nclusters: {self.out / 'clusters'}")


@dataclass(frozen=True, kw_only=True)
class TrainRearranger:
    """The rearranger: lays the features of one sample out as a proxy mask asks. Needs no labels.

    OUT gets rearranger/ (averaged weights) and discriminator/. The same command goes on after a stop.

    Examples:
      proxymask train rearranger --generator runs/generator --clusters runs/clusters --out runs/rearranger --images photos
    """

    generator: Path
    """The generator: its run, its saved network, a bundle, or a checkpoint of another project (.pkl, .pt, .pth)."""
    clusters: Path
    """Its clusters: what proxymask cluster wrote, or a bundle."""
    out: Path
    """Run folder; one that holds checkpoints is gone on with."""
    class_index: ClassIndex = None
    """The class to take, of a class-conditional generator."""
    images: OptionalPath = None
    """Real pictures for the adversarial loss; without them, the generator's own samples are taken."""
    discriminator: OptionalPath = None
    """Where L_adv starts; the discriminator beside the generator where there is one, else a fresh one."""
    start: OptionalPath = None
    """A trained rearranger of the same widths to go on from, with other settings or other real pictures."""
    preset: str = DEFAULT_PRESET
    """Settings: auto (ours at the size of the pictures), demo, ours-SIZE, paper-SIZE, or a JSON file that changes one of them.
    The flags below change single settings."""
    config: Annotated[RearrangerOverrides, Flat] = field(default_factory=RearrangerOverrides)
    loop: Annotated[RearrangerLoop, Flat] = field(default_factory=RearrangerLoop)
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Train it."""
        with processes(self.common.device):
            check_out(self.out)
            generator, discriminator = _generator(self.generator, self.class_index)
            config, loop = _settings("rearranger", self.preset, generator.resolution, self.common, self.config, self.loop)
            clusters = load_part(self.clusters, "clusters", ProxyClusters)
            cut = SplitGenerator(generator, clusters.resolution).eval().requires_grad_(False)
            if self.discriminator is not None:
                discriminator = _discriminator(self.discriminator, self.generator, "generator", generator)
            pictures = _pictures(self.images, generator)
            made_of = {"pictures": pictures_id(pictures), "generator": short_hash(generator), "clusters": short_hash(clusters)}
            made_of |= {"discriminator": short_hash(discriminator)}
            device = resolve_device(self.common.device)
            first = None if self.start is None else load_part(self.start, "rearranger", Rearranger)
            narrow_channels = 0 if first is None else first.config["key_channels"]
            stage = build_rearranger(
                config, cut, clusters, discriminator, pictures, loop.steps, loop.seed, device, key_channels=narrow_channels
            )
            if first is not None:
                fresh = {name: value for name, value in stage.rearranger.state_dict().items() if name.startswith("refinement.")}
                start = fresh | first.state_dict()  # a retouching block may be put behind a rearranger that had none
                shapes = {name: value.shape for name, value in stage.rearranger.state_dict().items()}
                if {name: value.shape for name, value in start.items()} != shapes:
                    raise ProxymaskError(
                        f"{self.start} holds a rearranger of other widths or choices: give the settings it was trained with"
                    )
                stage.rearranger.load_state_dict(start)
                made_of |= {"start": short_hash(first)}
            with progress("rearranger") as update:
                run_stage(stage, loop, self.out, identity_of(config, loop, made_of), update)
        _say(f"rearranger: {self.out / 'rearranger'}")


@dataclass(frozen=True, kw_only=True)
class TrainSegmenter:
    """The few-shot segmenter: labels the generator's samples, from 1 to 16 that you painted.

    The samples must be the generator's own, with the .json that proxymask sample writes beside each; the mask of 000000.png is
    000000.mask.png in the same folder, and labels.json there names the classes.

    Examples:
      proxymask train segmenter --generator runs/generator --clusters runs/clusters --rearranger runs/rearranger --labels painted \\
        --out runs/segmenter
    """

    generator: Path
    """The generator: its run, its saved network, a bundle, or a checkpoint of another project (.pkl, .pt, .pth)."""
    labels: Path
    """Folder of painted masks and labels.json."""
    out: Path
    """Run folder; one that holds checkpoints is gone on with."""
    class_index: ClassIndex = None
    """The class to take, of a class-conditional generator."""
    samples: OptionalPath = None
    """Folder of the samples' .json files, where it is not that of the masks."""
    clusters: OptionalPath = None
    """The generator's clusters, for few labels (--look-most): what proxymask cluster wrote; a bundle as the generator has them."""
    rearranger: OptionalPath = None
    """The rearranger, likewise: its run or its saved network."""
    preset: str = DEFAULT_PRESET
    """Settings: auto (ours at the size of the pictures), demo, ours-SIZE, paper-SIZE, or a JSON file that changes one of them.
    The flags below change single settings."""
    config: Annotated[SegmenterOverrides, Flat] = field(default_factory=SegmenterOverrides)
    loop: Annotated[SegmenterLoop, Flat] = field(default_factory=SegmenterLoop)
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Train it."""
        with processes(self.common.device):
            check_out(self.out)
            generator, _ = _generator(self.generator, self.class_index)
            config, loop = _settings("segmenter", self.preset, generator.resolution, self.common, self.config, self.loop)
            labels = read_label_set(self.labels)
            ws, masks, names = read_labelled(self.labels, labels, weights_hash(generator), self.samples)
            made_of: dict[str, Any] = {"labels": labels_hash(labels, ws, masks), "generator": short_hash(generator)}
            clusters = rearranger = None
            side = generator.synthesis.block_resolutions[-1]  # the segmenter reads all blocks: any cut will do
            if len(ws) <= config.style_transfer_max_labels:
                try:
                    clusters = load_part(self.clusters or self.generator, "clusters", ProxyClusters)
                    rearranger = load_part(self.rearranger or self.generator, "rearranger", Rearranger)
                except ProxymaskError as error:
                    few = "style-transfer labelling needs them: give --clusters and --rearranger, or --style-transfer-max-labels 0"
                    raise ProxymaskError(f"{error}; {few}") from None
                made_of |= {"clusters": short_hash(clusters), "rearranger": short_hash(rearranger)}
                side = clusters.resolution
            device = resolve_device(self.common.device)
            parts = SplitGenerator(generator, side), ws, masks, len(labels), loop.steps, loop.seed, device, clusters, rearranger
            stage = build_segmenter(config, *parts)
            with progress("segmenter") as update:
                run_stage(stage, loop, self.out, identity_of(config, loop, made_of), update)
            if is_main():
                labels.save(self.out / "labels.json")
        _say(f"segmenter, of {len(names)} labelled samples: {self.out / 'segmenter'}")


@dataclass(frozen=True, kw_only=True)
class TrainMapper:
    """The mapper: turns masks of your labels, or drawings or depth maps, into proxy masks.

    OUT gets mapper/ (averaged weights). The same command goes on after a stop. With --condition, pairs are made of generated pictures
    by an extractor; nothing is collected by hand, and nothing but the mapper is trained. proxymask bundle add puts it into a bundle.

    Examples:
      proxymask train mapper --generator runs/generator --clusters runs/clusters --rearranger runs/rearranger
        --segmenter runs/segmenter --out runs/mapper
      proxymask train mapper --bundle avatars --teacher avatars --widths 32 32 32 16 --out runs/smaller
      proxymask train mapper --bundle avatars --condition sketch --out runs/sketch
      proxymask train mapper --bundle avatars --condition hed --extractor pidinet --out runs/hed
      proxymask train mapper --bundle avatars --condition my-conditions.py:darkness --out runs/darkness
    """

    out: Path
    """Run folder; one that holds checkpoints is gone on with."""
    bundle: OptionalPath = None
    """Takes the place of the next four: a bundle, or the name of an embedded one."""
    generator: OptionalPath = None
    """The generator: its run, its saved network, a bundle, or a checkpoint of another project (.pkl, .pt, .pth)."""
    class_index: ClassIndex = None
    """The class to take, of a class-conditional generator; that of a bundle is chosen already."""
    clusters: OptionalPath = None
    """Its clusters: what proxymask cluster wrote, or a bundle."""
    rearranger: OptionalPath = None
    """Its rearranger: its run, its saved network, or a bundle."""
    segmenter: OptionalPath = None
    """Its segmenter (needed for masks and scribbles, used by L_label for all): its run, its saved network, or a bundle; labels.json is
    found there too."""
    condition: str = "mask"
    """What it reads: mask, scribble, sketch, edges, hed, photo-sketch, depth, picture, or FILE.py:NAME of your own."""
    extractor: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(the condition's own)")] = None
    """What makes the condition of a picture: xdog, canny, sobel, hed, pidinet, pidinet-tiny, photo-sketch, ldc; depth-net,
    depth-anything-v2-small, midas."""
    weights: OptionalPath = None
    """The extractor's weights, where they do not lie in the usual place."""
    images: OptionalPath = None
    """Real pictures for the adversarial loss; without them, the generator's own samples are taken. With --picture-mapper, for pairs
    too."""
    picture_mapper: OptionalPath = None
    """A mapper of pictures (train mapper --condition picture): it tells the proxy masks of --images, so that they give pairs too."""
    real_share: float = 0.5
    """With --picture-mapper: the share of a batch that is made of --images."""
    cache: OptionalPath = None
    """Folder of shards of pairs: what is missing is made first, what is there is read, so that runs share it. Without, pairs are made on
    the fly."""
    cache_pairs: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(steps x batch)")] = None
    """Pairs that the run reads from --cache; fewer than its steps need come again, disturbed otherwise."""
    discriminator: OptionalPath = None
    """Where L_adv starts; the discriminator beside the rearranger where there is one, else a fresh one."""
    start: OptionalPath = None
    """A trained mapper of the same widths to go on from: of the same condition with other settings, or of another one, which is faster
    than from nothing."""
    teacher: tuple[Path, ...] = ()
    """Trained mappers of masks, their runs or a bundle: OUT's mapper learns, with widths of its own, to say of any mask what they say in
    the mean, and from nothing else. For a smaller, faster mapper, or one instead of several."""
    preset: str = DEFAULT_PRESET
    """Settings: auto (ours at the size of the pictures), demo, ours-SIZE, paper-SIZE, or a JSON file that changes one of them.
    The flags below change single settings."""
    config: Annotated[MapperOverrides, Flat] = field(default_factory=MapperOverrides)
    unet: Annotated[ConditionOverrides, Flat] = field(default_factory=ConditionOverrides)
    loop: Annotated[MapperLoop, Flat] = field(default_factory=MapperLoop)
    common: Common = field(default_factory=Computing)

    def _part(self, name: str) -> Path:
        given: Path | None = getattr(self, name)
        if given is None and self.bundle is None:
            raise ProxymaskError(f"give --{name}, or --bundle for all parts")
        found = given or self.bundle
        assert found is not None
        return found

    def _bundle_has_labels(self) -> bool:
        return self.bundle is not None and (find_bundle(self.bundle) / "segmenter").is_dir()

    def _real_pairs(self, pictures: ImageSet | None, condition: Condition, stage: MapperStage) -> RealPairs:
        assert self.picture_mapper is not None
        if pictures is None:
            raise ProxymaskError("--picture-mapper tells the proxy masks of real pictures: name them with --images")
        mapper = load_mapper(find_part(self.picture_mapper, "mapper"))
        ours = {key: stage.mapper.config[key] for key in ("num_clusters", "resolution", "input_resolution")}
        made_of = (mark_of(self.picture_mapper) or {}).get("identity", {})
        if not isinstance(mapper, UNetMapper) or mapper.in_channels != 3 or made_of.get("condition", "picture") != "picture":
            raise ProxymaskError(f"{self.picture_mapper} is no mapper of pictures: train one with train mapper --condition picture")
        theirs = {key: mapper.config[key] for key in ours}
        for part, module in (("generator", stage.cut.generator), ("clusters", stage.clusters)):
            if theirs != ours or made_of.get(part, short_hash(module)) != short_hash(module):
                raise ProxymaskError(f"{self.picture_mapper} was trained with another {part}: train one with this")
        return RealPairs(pictures, mapper, condition, self.real_share, stage.unet.unet_recolor)

    def _check_teacher(self) -> None:
        """A teacher takes no other source beside it."""
        if not self.teacher:
            return
        sources = ("images", "picture_mapper", "cache", "extractor", "weights", "discriminator")
        unused = [f"--{name.replace('_', '-')}" for name in sources if getattr(self, name) is not None]
        unused += ["--condition"] if self.condition != "mask" else []
        if unused:
            raise ProxymaskError(f"--teacher teaches a mapper of masks by what it says, and by nothing else: leave {', '.join(unused)} out")

    def _student(
        self,
        config: MapperConfig,
        loop: LoopConfig,
        cut: SplitGenerator,
        clusters: ProxyClusters,
        segmenter: FewShotSegmenter | None,
        labels: LabelSet | None,
        made_of: dict[str, Any],
    ) -> DistillationStage:
        assert segmenter is not None
        assert labels is not None
        bundled = {given: not given.exists() or (given / "bundle.json").is_file() for given in self.teacher}
        known = {given: load_mapper(find_part(given, "mappers/mask" if whole else "mapper")) for given, whole in bundled.items()}
        teachers = [known[given] for given in self.teacher]  # one that is named twice is loaded once
        made_of |= {"teacher": [short_hash(teacher) for teacher in teachers]}
        return build_distillation(
            config, cut, clusters, segmenter, labels, teachers, loop.steps, loop.seed, resolve_device(self.common.device)
        )

    def _filled(
        self,
        stage: MapperStage,
        condition: Condition | None,
        segmenter: FewShotSegmenter | None,
        loop: LoopConfig,
        made_of: dict[str, Any],
    ) -> PairShards:
        assert self.cache is not None
        identity: dict[str, Any] = {"condition": "mask"} if condition is None else condition.about()
        identity |= {"generator": made_of["generator"], "clusters": made_of["clusters"]}
        if condition is not None and condition.colour_invariant and stage.unet.unet_recolor:
            identity |= {"recolour": stage.unet.unet_recolor}
        if segmenter is not None:
            identity |= {"segmenter": short_hash(segmenter)}
        device = resolve_device(self.common.device)
        count = loop.steps * loop.batch if self.cache_pairs is None else self.cache_pairs
        shards = PairShards(self.cache, count, identity, probe_of(condition, stage.cut.generator.resolution), loop.seed)
        with main_first():
            if is_main():
                for module in (stage.cut, stage.clusters):
                    module.to(device)
                with progress("pairs") as update:
                    size = shards.fill(stage.make, stage.cut, device, resolve_precision(self.common.precision, device), update)
                _say(f"pairs: {count:,} in {self.cache}, {size / 1e6:.0f} MB")
        return shards

    def run(self) -> None:
        """Train it."""
        with processes(self.common.device):
            check_out(self.out)
            self._check_teacher()
            if self.class_index is not None and self.generator is None:
                raise ProxymaskError("--class goes with --generator: the class of a bundle was chosen when it was made, leave --class out")
            generator, _ = _generator(self._part("generator"), self.class_index)
            config, loop = _settings("mapper", self.preset, generator.resolution, self.common, self.config, self.loop)
            widths = _changed(resolve_preset(self.preset, generator.resolution).condition, self.unet)
            clusters = load_part(self._part("clusters"), "clusters", ProxyClusters)
            rearranger = load_part(self._part("rearranger"), "rearranger", Rearranger)
            segmenter = labels = None
            made_of_labels = self.condition in ("mask", "scribble")
            if made_of_labels or (config.lambda_label and (self.segmenter is not None or self._bundle_has_labels())):
                part = find_part(self._part("segmenter"), "segmenter")
                segmenter = FewShotSegmenter.from_pretrained(part)
                if made_of_labels:
                    labels = read_label_set(part if (part / "labels.json").is_file() else part.parent)
            cut = SplitGenerator(generator, clusters.resolution).eval().requires_grad_(False)
            discriminator = None
            if not self.teacher:
                discriminator = _discriminator(self.discriminator, self._part("rearranger"), "rearranger", generator)
            pictures = _pictures(self.images, generator)
            made_of: dict[str, Any] = {"pictures": pictures_id(pictures), "generator": short_hash(generator)}
            made_of |= {"clusters": short_hash(clusters), "rearranger": short_hash(rearranger), "segmenter": short_hash(segmenter)}
            made_of |= {"discriminator": short_hash(discriminator)}
            device = resolve_device(self.common.device)
            if self.bundle is not None and self.config.proxy_mask_mode is None:  # what the bundle does with a mapper's output
                file = find_bundle(self.bundle) / "bundle.json"
                stored = legacy.bundle_about(read_json(file)["about"], file)
                config = dataclasses.replace(config, proxy_mask_mode=stored.get("proxy_mask_mode", "soft"))
            about: dict[str, Any] | None = None
            condition: Condition | None = None
            stage: MapperStage | DistillationStage
            if self.teacher:
                stage = self._student(config, loop, cut, clusters, segmenter, labels, made_of)
            elif self.condition == "mask":
                if self.picture_mapper is not None:
                    raise ProxymaskError("a mask is made of labels, which real pictures have not: leave --picture-mapper out")
                if self.extractor is not None or self.weights is not None:
                    raise ProxymaskError("a mask is made of labels, not by an extractor: leave --extractor and --weights out")
                assert segmenter is not None
                assert labels is not None
                stage = build_mapper(
                    config, cut, clusters, rearranger, segmenter, labels, discriminator, pictures, loop.steps, loop.seed, device
                )
            else:
                condition = get_condition(self.condition, labels, self.extractor, self.weights)
                about = condition.about()
                made_of |= {f"unet.{key}": value for key, value in dataclasses.asdict(widths).items()} | about
                stage = build_condition_mapper(
                    config,
                    widths,
                    condition,
                    cut,
                    clusters,
                    rearranger,
                    segmenter,
                    discriminator,
                    pictures,
                    loop.steps,
                    loop.seed,
                    device,
                )
                if self.picture_mapper is not None:
                    stage.real = self._real_pairs(pictures, condition, stage)
                    made_of |= {"picture_mapper": short_hash(stage.real.mapper), "real_share": self.real_share}
            if self.start is not None:
                first = load_mapper(find_part(self.start, "mapper"))
                if first.config != stage.mapper.config:
                    raise ProxymaskError(f"{self.start} holds a mapper of other widths or planes: give the settings it was trained with")
                stage.mapper.load_state_dict(first.state_dict())
                if isinstance(stage.mapper, UNetMapper):
                    stage.mapper.forget()
                made_of |= {"start": short_hash(first)}
            if self.cache is not None:
                assert isinstance(stage, MapperStage)
                stage.shards = self._filled(stage, condition, segmenter, loop, made_of)
                made_of |= {"cache_pairs": stage.shards.count}
            with progress("mapper" if about is None else f"mapper for {about['condition']}") as update:
                run_stage(stage, loop, self.out, identity_of(config, loop, made_of), update)
            if is_main():
                if labels is not None:
                    labels.save(self.out / "labels.json")
                if about is not None:
                    write_json(self.out / "condition.json", about | {"proxy_mask_mode": config.proxy_mask_mode})
        _say(f"mapper: {self.out / 'mapper'}")
        if about is not None and self.bundle is not None:
            _say(f"next: proxymask bundle add {self.out} --bundle {self.bundle} --out my-bundle")


@dataclass(frozen=True, kw_only=True)
class TrainDepth:
    """A small depth network, of drawn pictures whose depth is exact; the extractor depth-net.

    OUT gets depth/ (averaged weights). The same command goes on after a stop.

    Examples:
      proxymask data avatars --count 4000 --size 64 --depth --out avatars-64
      proxymask train depth --images avatars-64 --out runs/depth
      proxymask train mapper --bundle avatars --condition depth --extractor depth-net --weights runs/depth --out runs/depth-mapper
    """

    images: Path
    """What proxymask data avatars --depth wrote."""
    out: Path
    """Run folder; one that holds checkpoints is gone on with."""
    steps: int = 1000
    """Optimisation steps."""
    batch: int = 16
    """Pictures a step."""
    config: Annotated[DepthConfig, Flat] = field(default_factory=DepthConfig)
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Train it."""
        with processes(self.common.device):
            check_out(self.out)
            every = max(1, min(500, self.steps))
            loop = LoopConfig(steps=self.steps, batch=self.batch, checkpoint_every=every, grid_every=every)
            loop = dataclasses.replace(loop, device=self.common.device, precision=self.common.precision, seed=self.common.seed)
            data = DepthImages(self.images)
            stage = build_depth(self.config, data, loop.steps, loop.seed)
            with progress("depth") as update:
                run_stage(stage, loop, self.out, identity_of(self.config, loop, {"pictures": data.fingerprint[:16]}), update)
        _say(f"depth network: {self.out / 'depth'}")
        _say(f"next: proxymask train mapper --condition depth --extractor depth-net --weights {self.out}")


@dataclass(frozen=True, kw_only=True)
class Fit(FitConfig):
    """Everything: from a folder of pictures, or a generator, to a bundle that paints with your masks.

    First says how long it will take, how much memory and disk it needs. Runs every stage that is missing: generator, clusters,
    rearranger, segmenter, mapper. Can be stopped at any time; the same command goes on. Labels are asked for on the way: samples
    are written, you paint one of them (or some), and the same command goes on.

    Examples:
      proxymask fit --images photos --out my-bundle
      proxymask fit --generator runs/generator --labels painted --out my-bundle
      proxymask fit --bundle avatars --labels painted-otherwise --out my-bundle
    """

    def run(self) -> None:
        """Run every missing stage."""
        fit(self, Terminal())


TRAIN = {
    "generator": TrainGenerator,
    "rearranger": TrainRearranger,
    "segmenter": TrainSegmenter,
    "mapper": TrainMapper,
    "depth": TrainDepth,
    "judge": TrainJudge,
}
