"""The verbs ``train generator``, ``rearranger``, ``segmenter`` and ``depth``, and the table of all that follow ``train``."""

import dataclasses
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from ..core.checks import BatchSize, Checked, Steps
from ..core.errors import ProxymaskError
from ..core.files import check_outside
from ..core.hashing import weights_hash
from ..core.sizes import START, Size, as_size, short_text, size_text
from ..core.text import counted
from ..data.dataset import ImageSet
from ..imaging.labels import LabelSet
from ..inference.find import find_bundle, is_bundle
from ..inference.samples import read_label_set, read_labelled
from ..models.discriminator import Discriminator
from ..models.proxy_clusters import ProxyClusters
from ..models.rearranger import Rearranger
from ..models.split_generator import SplitGenerator
from ..models.stylegan2 import Generator
from ..models.stylegan2_layers import check_resolution
from ..training.depth import DepthConfig, DepthImages
from ..training.distributed import processes
from ..training.loop import LoopConfig
from ..training.parts import check_colours, load_part, open_pictures
from ..training.presets import DEFAULT_PRESET, load_preset
from ..training.run_dirs import check_out, run_lock
from ..training.stages.depth import DepthDefinition
from ..training.stages.generator import GeneratorDefinition
from ..training.stages.rearranger import RearrangerDefinition
from ..training.stages.segmenter import SegmenterDefinition, absent_labels
from .evaluation import TrainJudge
from .hints import add_to_bundle, command_line
from .options import ClassIndex, Common, Computing, OptionalPath
from .progress import progress
from .stage_options import (
    Flat,
    GeneratorLoop,
    GeneratorOverrides,
    OptionalSide,
    PresetName,
    RearrangerLoop,
    RearrangerOverrides,
    SegmenterLoop,
    SegmenterOverrides,
    check_folders,
    discriminator_of,
    generator_of,
    part_of,
    pictures_of,
    say,
    stage_settings,
    train_stage,
)
from .train_detail import TrainDetail
from .train_mapper import TrainMapper


@dataclass(frozen=True, kw_only=True)
class TrainGenerator(Checked):
    """An unconditional generator (StyleGAN2), from a folder of pictures.

    OUT gets generator/ (averaged weights) and discriminator/, and during training checkpoints, grids/ of pictures, stats.jsonl and
    TensorBoard events. The same command resumes after a stop; a larger --steps continues a finished run.

    Examples:
      proxymask train generator --images photos --out runs/generator
      proxymask train generator --images few-photos --out runs/tuned --resume-from runs/generator --augment color translation
      proxymask train generator --images photos --out runs/g128 --grow-from runs/g64 --resolution 128 --channel-base 4096
      torchrun --nproc-per-node 4 -m proxymask train generator --images photos --out runs/generator --preset paper-256
    """

    images: Path
    """Folder of pictures, or a prepared set."""
    out: Path
    """Run folder; training resumes from the checkpoints in it."""
    resume_from: OptionalPath = None
    """Fine-tune this generator (its run, its saved network, or a bundle) instead of training a new one."""
    grow_from: OptionalPath = None
    """Start from this generator of smaller pictures: its blocks are taken over, widened as --channel-base and --channel-max say, and blocks
    are added for the larger size. Its discriminator grows too; if there is none, give --discriminator-first."""
    class_index: ClassIndex = None
    """The class of a class-conditional generator to fine-tune or grow."""
    resolution: OptionalSide = None
    """Side of the pictures, a power of two; by default that of a prepared set, or twice that of --grow-from."""
    preset: PresetName = DEFAULT_PRESET
    config: Annotated[GeneratorOverrides, Flat] = field(default_factory=GeneratorOverrides)
    loop: Annotated[GeneratorLoop, Flat] = field(default_factory=GeneratorLoop)
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Train it."""
        check_outside(self.out, self.images)
        with processes(self.common.device), run_lock(self.out):
            preset = load_preset(self.preset)
            check_folders(images=self.images)
            check_out(self.out)
            start, discriminator = self._start()
            size = self._size(start, preset.resolution)
            with progress("reading files") as count:
                pictures = open_pictures(self.images, size, count)
            grow = self.grow_from is not None
            side = _square(pictures) if start is None or grow else start.resolution
            given = _with_widths_of(start, self.config) if start is not None and grow else self.config
            config, loop = stage_settings("generator", self.preset, side, self.common, given, self.loop)
            definition = GeneratorDefinition(
                config=config,
                loop=loop,
                pictures=pictures,
                size=pictures.size,
                start=start,
                discriminator=discriminator,
                grow=grow,
            )
            train_stage(definition, self.out, "generator")
        say(f"generator: {self.out / 'generator'}; next: {self._next(config.new_blocks_only)}")

    def _next(self, new_blocks_only: bool) -> str:
        """The command that uses the generator: it goes into the bundle that it was grown from, or gets one of its own."""
        if self.grow_from is not None and new_blocks_only:
            bundle = self.grow_from if is_bundle(self.grow_from) else "BUNDLE"
            return command_line("bundle", "add", self.out, "--bundle", bundle, "--out", "larger-bundle")
        return command_line("fit", "--generator", self.out, "--images", self.images, "--out", "my-bundle")

    def _start(self) -> tuple[Generator | None, Discriminator | None]:
        """The generator to fine-tune or to grow, if one is given, and its discriminator, if there is one."""
        if self.resume_from is not None and self.grow_from is not None:
            raise ProxymaskError("--resume-from keeps the size of the pictures and --grow-from changes it: give one of them")
        given = self.resume_from or self.grow_from
        if given is None:
            if self.class_index is not None:
                raise ProxymaskError("--class goes with --resume-from or --grow-from, neither of which is given: leave --class out")
            return None, None
        start, discriminator = generator_of(given, self.class_index)
        check_colours(start)
        if self.grow_from is not None and start.start != START:
            made, block = size_text(start.picture_size), size_text(start.start)
            raise ProxymaskError(
                f"--grow-from {given} makes pictures of {made} from a block of {block}, and only generators that start with 4x4 grow: "
                "fine-tune it at its own size (--resume-from)"
            )
        return start, discriminator

    def _size(self, start: Generator | None, default: int) -> Size | None:
        """Size at which the pictures are prepared; None: that of a prepared set. ``default``: for a new generator."""
        prepared = (self.images / "index.json").is_file()
        if start is not None and self.grow_from is None:
            size = as_size(start.picture_size)
            if self.resolution not in (None, size):
                made = short_text(start.picture_size)
                raise ProxymaskError(f"--resolution {self.resolution}: the generator in {self.resume_from} makes pictures of {made}")
            return size
        if self.resolution is not None:
            if start is None:
                check_resolution(self.resolution)
            return self.resolution
        if prepared:
            return None
        return default if start is None else 2 * start.resolution


def _with_widths_of(smaller: Generator, given: GeneratorOverrides) -> GeneratorOverrides:
    """The flags of a growth, with the widths of ``smaller`` where its blocks stay and no widths are given: others would not fit."""
    if not given.new_blocks_only:
        return given
    widths = {name: smaller.config[name] for name in ("channel_base", "channel_max") if getattr(given, name) is None}
    return replace(given, **widths)


def _square(pictures: ImageSet) -> int:
    """The side of pictures that a new or grown generator can be trained on."""
    if not isinstance(pictures.size, int):
        raise ProxymaskError(
            f"{pictures.folder} is prepared at {size_text(pictures.size)}, and a new generator makes square pictures: prepare it at a "
            "square size (proxymask data prepare), or fine-tune a generator of such pictures (--resume-from)"
        )
    check_resolution(pictures.size)
    return pictures.size


@dataclass(frozen=True, kw_only=True)
class TrainRearranger(Checked):
    """The rearranger: gives the features of one sample the layout of a proxy mask. Needs no labels.

    OUT gets rearranger/ (averaged weights) and discriminator/. The same command resumes after a stop.

    Examples:
      proxymask train rearranger --generator runs/generator --clusters runs/clusters --out runs/rearranger --images photos
      proxymask train rearranger --bundle my-bundle --out runs/rearranger
    """

    out: Path
    """Run folder; training resumes from the checkpoints in it."""
    bundle: OptionalPath = None
    """A bundle, or the name of an embedded one, instead of --generator and --clusters."""
    generator: OptionalPath = None
    """The generator: its run, its saved network, a bundle, or a checkpoint of another project (.pkl, .pt, .pth)."""
    clusters: OptionalPath = None
    """The generator's clusters: the folder that proxymask cluster wrote, or a bundle."""
    class_index: ClassIndex = None
    """The class of a class-conditional generator."""
    images: OptionalPath = None
    """Real pictures for the adversarial loss; without them, samples of the generator are used."""
    discriminator: OptionalPath = None
    """The discriminator to start from; by default the one trained with the generator, else an untrained one."""
    start: OptionalPath = None
    """A trained rearranger of the same widths to start from, with other settings or other real pictures."""
    preset: PresetName = DEFAULT_PRESET
    config: Annotated[RearrangerOverrides, Flat] = field(default_factory=RearrangerOverrides)
    loop: Annotated[RearrangerLoop, Flat] = field(default_factory=RearrangerLoop)
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Train it."""
        check_outside(self.out, self.images)
        with processes(self.common.device), run_lock(self.out):
            check_folders(images=self.images)
            check_out(self.out)
            source, clustered = (part_of(getattr(self, name), self.bundle, name) for name in ("generator", "clusters"))
            generator, discriminator = generator_of(source, self.class_index)
            config, loop = stage_settings("rearranger", self.preset, generator.resolution, self.common, self.config, self.loop)
            clusters = load_part(clustered, "clusters", ProxyClusters)
            if self.discriminator is not None:
                discriminator = discriminator_of(self.discriminator, source, "generator", generator)
            definition = RearrangerDefinition(
                config=config,
                loop=loop,
                split=SplitGenerator(generator, clusters.resolution).eval().requires_grad_(False),
                clusters=clusters,
                discriminator=discriminator,
                pictures=pictures_of(self.images, generator),
                start=None if self.start is None else load_part(self.start, "rearranger", Rearranger),
            )
            train_stage(definition, self.out, "rearranger")
        say(f"rearranger: {self.out / 'rearranger'}")


@dataclass(frozen=True, kw_only=True)
class TrainSegmenter(Checked):
    """The few-shot segmenter: labels the generator's samples, from 1 to 16 that you painted.

    The samples must be the generator's own, each with the .json file that proxymask sample writes. The mask of 000000.png is
    000000.mask.png in the same folder, and labels.json there names the classes.

    Examples:
      proxymask train segmenter --generator runs/generator --clusters runs/clusters --rearranger runs/rearranger --labels painted \\
        --out runs/segmenter
      proxymask train segmenter --bundle my-bundle --labels painted --out runs/segmenter
    """

    labels: Path
    """Folder of painted masks and labels.json. Without that file, the classes are those of --bundle."""
    out: Path
    """Run folder; training resumes from the checkpoints in it."""
    bundle: OptionalPath = None
    """A bundle, or the name of an embedded one, instead of --generator, --clusters and --rearranger."""
    generator: OptionalPath = None
    """The generator: its run, its saved network, a bundle, or a checkpoint of another project (.pkl, .pt, .pth)."""
    class_index: ClassIndex = None
    """The class of a class-conditional generator."""
    samples: OptionalPath = None
    """Folder of the samples' .json files, if it is not that of the masks."""
    clusters: OptionalPath = None
    """The generator's clusters, which style-transfer labelling needs (--style-transfer-max-labels); by default those in --bundle or
    --generator."""
    rearranger: OptionalPath = None
    """The rearranger, which style-transfer labelling needs; by default that in --bundle or --generator."""
    strict: bool = False
    """Refuse painted masks whose colours are not exactly those of labels.json."""
    preset: PresetName = DEFAULT_PRESET
    config: Annotated[SegmenterOverrides, Flat] = field(default_factory=SegmenterOverrides)
    loop: Annotated[SegmenterLoop, Flat] = field(default_factory=SegmenterLoop)
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Train it."""
        with processes(self.common.device), run_lock(self.out):
            check_folders(labels=self.labels, samples=self.samples)
            check_out(self.out)
            source = part_of(self.generator, self.bundle, "generator")
            generator, _ = generator_of(source, self.class_index)
            config, loop = stage_settings("segmenter", self.preset, generator.resolution, self.common, self.config, self.loop)
            labels = self._label_set()
            ws, masks, names = read_labelled(self.labels, labels, weights_hash(generator), self.samples, self.strict)
            for note in absent_labels(labels, masks):
                say(f"note: {note}")
            clusters = rearranger = None
            if len(ws) <= config.style_transfer_max_labels:
                clusters, rearranger = self._for_style_transfer(source)
            # the segmenter reads all blocks: without style-transfer labelling any cut will do
            side = generator.synthesis.block_resolutions[-1] if clusters is None else clusters.resolution
            definition = SegmenterDefinition(
                config=config,
                loop=loop,
                split=SplitGenerator(generator, side),
                labels=labels,
                ws=ws,
                masks=masks,
                clusters=clusters,
                rearranger=rearranger,
            )
            train_stage(definition, self.out, "segmenter")
        say(f"segmenter, of {counted(len(names), 'labelled sample')}: {self.out / 'segmenter'}")
        if self.bundle is not None:
            say(f"next: {add_to_bundle(self.out, self.bundle)}")

    def _label_set(self) -> LabelSet:
        """The classes of the masks: those in their folder, else those of the bundle."""
        if self.bundle is not None and not (self.labels / "labels.json").is_file():
            ours = find_bundle(self.bundle)
            if (ours / "labels.json").is_file():
                return LabelSet.load(ours / "labels.json")
        return read_label_set(self.labels)

    def _for_style_transfer(self, source: Path) -> tuple[ProxyClusters, Rearranger]:
        """What style-transfer labelling needs."""
        try:
            clusters = load_part(self.clusters or self.bundle or source, "clusters", ProxyClusters)
            return clusters, load_part(self.rearranger or self.bundle or source, "rearranger", Rearranger)
        except ProxymaskError as error:
            few = "style-transfer labelling needs them: give --clusters and --rearranger, or --style-transfer-max-labels 0"
            raise ProxymaskError(f"{error.message}; {few}") from None


@dataclass(frozen=True, kw_only=True)
class TrainDepth(Checked):
    """A small depth network, trained on drawn pictures whose depth is exact, for the extractor depth-net.

    OUT gets depth/ (averaged weights). The same command resumes after a stop.

    Examples:
      proxymask data avatars --count 4000 --size 64 --depth --out avatars-64
      proxymask train depth --images avatars-64 --out runs/depth
      proxymask train mapper --bundle avatars --condition depth --extractor depth-net --weights runs/depth --out runs/depth-mapper
    """

    images: Path
    """The folder that proxymask data avatars --depth wrote, or of another kind of drawn pictures."""
    out: Path
    """Run folder; training resumes from the checkpoints in it."""
    steps: Steps = 1000
    """Optimisation steps."""
    batch: BatchSize = 16
    """Pictures a step."""
    config: Annotated[DepthConfig, Flat] = field(default_factory=DepthConfig)
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Train it."""
        check_outside(self.out, self.images)
        with processes(self.common.device), run_lock(self.out):
            check_folders(images=self.images)
            check_out(self.out)
            every = max(1, min(500, self.steps))
            loop = LoopConfig(steps=self.steps, batch=self.batch, checkpoint_every=every, grid_every=every)
            loop = dataclasses.replace(loop, device=self.common.device, precision=self.common.precision, seed=self.common.seed)
            definition = DepthDefinition(config=self.config, loop=loop, data=DepthImages(self.images))
            train_stage(definition, self.out, "depth")
        say(f"depth network: {self.out / 'depth'}")
        hint = command_line(
            "train", "mapper", "--bundle", "avatars", "--condition", "depth", "--extractor", "depth-net", "--weights", self.out
        )
        say(f"next: {hint} --out depth-mapper")


TRAIN = {
    "generator": TrainGenerator,
    "rearranger": TrainRearranger,
    "segmenter": TrainSegmenter,
    "mapper": TrainMapper,
    "detail": TrainDetail,
    "depth": TrainDepth,
    "judge": TrainJudge,
}
