"""The verb ``train mapper``."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from ..conditions import get_condition
from ..conditions.extractors import DEPTH_NET
from ..core import legacy
from ..core.checks import Checked, Range
from ..core.errors import ProxymaskError
from ..core.files import check_outside, read_json
from ..core.hashing import short_hash
from ..imaging.labels import LabelSet
from ..inference.find import find_bundle
from ..inference.samples import read_label_set
from ..models.few_shot_segmenter import FewShotSegmenter
from ..models.mappers import Mapper, load_mapper
from ..models.proxy_clusters import ProxyClusters
from ..models.rearranger import Rearranger
from ..models.split_generator import SplitGenerator
from ..models.unet_mapper import UNetMapper
from ..training.distributed import is_main, main_first, processes
from ..training.mapper import MapperConfig
from ..training.parts import Frozen, find_part, load_part
from ..training.presets import DEFAULT_PRESET, load_preset
from ..training.run_dirs import check_out, mark_of, run_lock
from ..training.stages.condition_mapper import ConditionMapperDefinition
from ..training.stages.definition import TrainedStage
from ..training.stages.distillation import DistillationDefinition
from ..training.stages.mapper import MapperDefinition, PairedMapperDefinition
from .hints import add_to_bundle
from .options import ClassIndex, Common, Computing, OptionalPath
from .progress import progress
from .stage_options import (
    ConditionOverrides,
    Flat,
    MapperLoop,
    MapperOverrides,
    PresetName,
    changed,
    check_folders,
    discriminator_of,
    generator_of,
    part_of,
    pictures_of,
    say,
    stage_settings,
    train_stage,
)


@dataclass(frozen=True, kw_only=True)
class TrainMapper(Checked):
    """The mapper: turns masks of your labels, or drawings or depth maps, into proxy masks.

    OUT gets mapper/ (averaged weights). The same command resumes after a stop. With --condition, pairs are made of generated pictures by an
    extractor, so that no data has to be collected; only the mapper is trained. proxymask bundle add puts it into a bundle.

    Examples:
      proxymask train mapper --generator runs/generator --clusters runs/clusters --rearranger runs/rearranger \\
        --segmenter runs/segmenter --out runs/mapper
      proxymask train mapper --bundle avatars --teacher avatars --widths 32 32 32 16 --out runs/smaller
      proxymask train mapper --bundle avatars --condition sketch --out runs/sketch
      proxymask train mapper --bundle avatars --condition hed --extractor pidinet --out runs/hed
      proxymask train mapper --bundle avatars --condition my-conditions.py:darkness --out runs/darkness
    """

    out: Path
    """Run folder; training resumes from the checkpoints in it."""
    bundle: OptionalPath = None
    """A bundle, or the name of an embedded one, instead of --generator, --clusters, --rearranger and --segmenter."""
    generator: OptionalPath = None
    """The generator: its run, its saved network, a bundle, or a checkpoint of another project (.pkl, .pt, .pth)."""
    class_index: ClassIndex = None
    """The class of a class-conditional generator; a bundle has its class already."""
    clusters: OptionalPath = None
    """The generator's clusters: the folder that proxymask cluster wrote, or a bundle."""
    rearranger: OptionalPath = None
    """The generator's rearranger: its run, its saved network, or a bundle."""
    segmenter: OptionalPath = None
    """The few-shot segmenter, with labels.json: its run, its saved network, or a bundle. Needed for masks and scribbles; L_label uses it
    for all conditions."""
    condition: str = "mask"
    """What the mapper reads: mask, scribble, sketch, edges, hed, photo-sketch, depth, picture, or FILE.py:NAME of your own."""
    extractor: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(the condition's own)")] = None
    """What makes the condition from a picture: xdog, canny, sobel, hed, pidinet, pidinet-tiny, photo-sketch, ldc; depth-net,
    depth-anything-v2-small, midas."""
    weights: OptionalPath = None
    """The extractor's weights, if they are not in the usual place. For depth-net: by default the network in --bundle, if it has one."""
    images: OptionalPath = None
    """Real pictures for the adversarial loss, where it is on; without them, samples of the generator are used. With --picture-mapper for
    pairs."""
    picture_mapper: OptionalPath = None
    """A mapper of pictures (train mapper --condition picture). It predicts the proxy masks of --images, so that these give pairs too."""
    real_share: Annotated[float, Range(0, 1, above=True)] = 0.5
    """Share of a batch that is made of --images, with --picture-mapper."""
    cache: OptionalPath = None
    """Folder in which pairs are stored, so that several runs share them: missing pairs are made first. Without it, pairs are made in every
    step."""
    cache_pairs: Annotated[int | None, Range(1, 10**9), tyro.conf.arg(metavar="INT", help_behavior_hint="(steps x batch)")] = None
    """Number of pairs in --cache. If it is smaller than the training needs, pairs are repeated with other augmentation."""
    discriminator: OptionalPath = None
    """The discriminator that the adversarial loss starts from, where it is on, and the encoder with --unet-start discriminator; by default
    the one trained with the rearranger, else an untrained one."""
    start: OptionalPath = None
    """A trained mapper of the same widths to start from, of the same condition or of another one, which is faster than from nothing."""
    teacher: tuple[Path, ...] = ()
    """Trained mappers of masks, their runs or a bundle. The new mapper is trained to give the mean of their outputs, and on nothing else:
    for a smaller, faster mapper, or one instead of several."""
    preset: PresetName = DEFAULT_PRESET
    config: Annotated[MapperOverrides, Flat] = field(default_factory=MapperOverrides)
    unet: Annotated[ConditionOverrides, Flat] = field(default_factory=ConditionOverrides)
    loop: Annotated[MapperLoop, Flat] = field(default_factory=MapperLoop)
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Train it."""
        check_outside(self.out, self.images)
        with processes(self.common.device), run_lock(self.out):
            self._check_flags()
            check_folders(images=self.images)
            check_out(self.out)
            definition = self._definition()
            condition = definition.condition if isinstance(definition, ConditionMapperDefinition) else None
            if isinstance(definition, PairedMapperDefinition) and definition.cache is not None:
                self._fill_cache(definition)
            train_stage(definition, self.out, "mapper" if condition is None else f"mapper for {condition.name}")
        say(f"mapper: {self.out / 'mapper'}")
        if condition is not None and self.bundle is not None:
            say(f"next: {add_to_bundle(self.out, self.bundle)}")

    def _check_flags(self) -> None:
        """A :class:`ProxymaskError` where flags are given that do nothing together."""
        if self.teacher:
            sources = ("images", "picture_mapper", "cache", "cache_pairs", "extractor", "weights", "discriminator", "start")
            unused = [f"--{name.replace('_', '-')}" for name in sources if getattr(self, name) is not None]
            unused += ["--condition"] if self.condition != "mask" else []
            if unused:
                raise ProxymaskError(f"with --teacher a mapper of masks learns from the teachers alone: leave {', '.join(unused)} out")
        elif self.condition == "mask":
            if self.picture_mapper is not None:
                raise ProxymaskError("a mask is made of labels, which real pictures have not: leave --picture-mapper out")
            if self.extractor is not None or self.weights is not None:
                raise ProxymaskError("a mask is made of labels, not by an extractor: leave --extractor and --weights out")
        if self.cache_pairs is not None and self.cache is None:
            raise ProxymaskError("--cache-pairs is the number of pairs in a cache: name its folder with --cache")
        if self.picture_mapper is not None and self.images is None:
            raise ProxymaskError("--picture-mapper predicts the proxy masks of real pictures: name them with --images")
        if self.class_index is not None and self.generator is None:
            raise ProxymaskError("--class goes with --generator: the class of a bundle was chosen when it was made, leave --class out")

    def _definition(self) -> TrainedStage:
        """The stage: of masks, of another condition, or with teachers."""
        frozen = self._frozen()
        generator = frozen.split.generator
        config, loop = stage_settings("mapper", self.preset, generator.resolution, self.common, self.config, self.loop)
        self._check_adversarial(config)
        segmenter, labels = self._segmenter(config)
        shared: dict[str, Any] = {"loop": loop, "frozen": frozen, "segmenter": segmenter, "labels": labels}
        shared |= {"config": self._with_bundle_mode(config), "pictures": pictures_of(self.images, generator)}
        if self.teacher:
            return DistillationDefinition(teachers=self._teachers(), **shared)
        start = None if self.start is None else load_mapper(find_part(self.start, "mapper"))
        shared |= {"start": start, "cache": self.cache, "cache_pairs": self.cache_pairs}
        shared["discriminator"] = discriminator_of(self.discriminator, self._part("rearranger"), "rearranger", generator)
        if self.condition == "mask":
            return MapperDefinition(**shared)
        return ConditionMapperDefinition(
            condition=get_condition(self.condition, labels, self.extractor, self._extractor_weights()),
            unet=changed(load_preset(self.preset, generator.resolution).condition, self.unet),
            picture_mapper=self._picture_mapper(frozen),
            real_share=self.real_share,
            **shared,
        )

    def _check_adversarial(self, config: MapperConfig) -> None:
        """A :class:`ProxymaskError` where a flag is given that L_adv alone uses, and L_adv is off."""
        if config.lambda_adv or self.teacher:
            return
        unused = ["--images"] if self.images is not None and self.picture_mapper is None else []
        unused += ["--discriminator"] if self.discriminator is not None and self.condition == "mask" else []
        if unused:
            raise ProxymaskError(
                f"{' and '.join(unused)}: only the adversarial loss uses that, and it is off: leave it out, or add --lambda-adv 1"
            )

    def _part(self, name: str) -> Path:
        """Where the part ``name`` is: its flag, or --bundle."""
        return part_of(getattr(self, name), self.bundle, name)

    def _frozen(self) -> Frozen:
        generator, _ = generator_of(self._part("generator"), self.class_index)
        clusters = load_part(self._part("clusters"), "clusters", ProxyClusters)
        rearranger = load_part(self._part("rearranger"), "rearranger", Rearranger)
        return Frozen(SplitGenerator(generator, clusters.resolution), clusters, rearranger)

    def _segmenter(self, config: MapperConfig) -> tuple[FewShotSegmenter | None, LabelSet | None]:
        """The segmenter, where the condition or L_label needs it, and the labels, where the condition is made of them."""
        made_of_labels = self.condition in ("mask", "scribble")
        has_segmenter = self.segmenter is not None or (self.bundle is not None and (find_bundle(self.bundle) / "segmenter").is_dir())
        if not made_of_labels and not (config.lambda_label and has_segmenter):
            return None, None
        part = find_part(self._part("segmenter"), "segmenter")
        segmenter = FewShotSegmenter.from_pretrained(part)
        if not made_of_labels:
            return segmenter, None
        return segmenter, read_label_set(part if (part / "labels.json").is_file() else part.parent)

    def _with_bundle_mode(self, config: MapperConfig) -> MapperConfig:
        """``config`` with the proxy mask mode of --bundle, unless the flag gives one."""
        if self.bundle is None or self.config.proxy_mask_mode is not None:
            return config
        file = find_bundle(self.bundle) / "bundle.json"
        stored = legacy.bundle_about(read_json(file)["about"], file)
        return dataclasses.replace(config, proxy_mask_mode=stored.get("proxy_mask_mode", "soft"))

    def _extractor_weights(self) -> Path | None:
        """--weights; without it, for depth-net, the network of the bundle's mapper of depth, where --bundle has one."""
        if self.weights is not None or self.extractor != DEPTH_NET or self.bundle is None:
            return self.weights
        networks = find_bundle(self.bundle) / "extractors"
        return min(networks.glob("*"), key=lambda network: (network.name != self.condition, network.name), default=None)

    def _teachers(self) -> list[Mapper]:
        """The teachers, in the order of the flag; one that is named twice is loaded once."""
        bundled = {given: not given.exists() or (given / "bundle.json").is_file() for given in self.teacher}
        known = {given: load_mapper(find_part(given, "mappers/mask" if whole else "mapper")) for given, whole in bundled.items()}
        return [known[given] for given in self.teacher]

    def _picture_mapper(self, frozen: Frozen) -> UNetMapper | None:
        """The mapper of --picture-mapper, which must be one of pictures, for this generator and these clusters."""
        if self.picture_mapper is None:
            return None
        mapper = load_mapper(find_part(self.picture_mapper, "mapper"))
        made_of = (mark_of(self.picture_mapper) or {}).get("identity", {})
        if not isinstance(mapper, UNetMapper) or mapper.in_channels != 3 or made_of.get("condition", "picture") != "picture":
            how = "proxymask train mapper --condition picture"
            raise ProxymaskError(f"{self.picture_mapper} is no mapper of pictures: train one with {how}")
        generator, clusters = frozen.split.generator, frozen.clusters
        sizes = {"num_clusters": clusters.num_clusters, "resolution": frozen.split.resolution, "input_resolution": generator.resolution}
        fits = all(mapper.config[key] == value for key, value in sizes.items())
        for part, module in (("generator", generator), ("clusters", clusters)):
            if not fits or made_of.get(part, short_hash(module)) != short_hash(module):
                raise ProxymaskError(f"{self.picture_mapper} was trained with another {part}: train one with this")
        return mapper

    def _fill_cache(self, definition: PairedMapperDefinition) -> None:
        """Make the missing pairs of --cache, on process 0."""
        assert definition.shards is not None
        with main_first():
            if is_main():
                with progress("pairs") as update:
                    size = definition.fill_cache(update)
                say(f"pairs: {definition.shards.count:,} in {self.cache}, {size / 1e6:.0f} MB")
