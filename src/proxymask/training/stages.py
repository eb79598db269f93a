"""From settings to networks to run folders: what the verbs of ``proxymask train`` and ``fit`` have in common.

A stage's folder ends with its networks in ``save_pretrained`` form (``generator/``, ``discriminator/``, ...) and with
``stage.json``, written last: what the networks were made of, and the SHA-256 of their files.
"""

import dataclasses
import glob
import hashlib
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ..checkpoints.formats.native import source_of
from ..checkpoints.loading import open_checkpoint
from ..conditions.base import Condition
from ..core import legacy
from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from ..core.files import read_json, write_json
from ..core.hashing import file_hash
from ..core.seeding import derive_rng, derive_seed
from ..core.sizes import Size, size_text
from ..data.dataset import ImageSet
from ..imaging.labels import LabelSet
from ..inference.find import EMBEDDED, list_bundles
from ..models.depth_net import DepthNet
from ..models.discriminator import Discriminator
from ..models.few_shot_segmenter import FewShotSegmenter
from ..models.growing import grow_discriminator, grow_generator
from ..models.mappers import Mapper
from ..models.oasis_mapper import OasisMapper
from ..models.proxy_clusters import ProxyClusters, fit_proxy_clusters
from ..models.rearranger import Rearranger
from ..models.segmentation_nets import UNetSegmenter
from ..models.split_generator import SplitGenerator
from ..models.stylegan2 import Generator
from ..models.unet_mapper import UNetMapper
from .depth import DepthConfig, DepthImages, DepthStage
from .distillation import DistillationStage
from .distributed import barrier, is_main, main_first
from .generator import GeneratorConfig, GeneratorStage, Pictures
from .loop import LoopConfig, Stage, checkpoints, train
from .mapper import (
    AUXILIARY_SAMPLES,
    AUXILIARY_WIDTH,
    ConditionConfig,
    ConditionPairs,
    GeneratedImages,
    MapperConfig,
    MapperStage,
    SegmenterLabeler,
    new_auxiliary_stage,
)
from .narrow_keys import narrow_keys
from .rearranger import RearrangerConfig, RearrangerStage
from .segmentation import SegmentationStage
from .segmenter import STYLE_TRANSFER_PHASE, SegmenterConfig, SegmenterStage
from .style_transfer import StyleTransferLabeler

MARK = "stage.json"
# the stages that leave a mark, by a network that no stage before them in this list saves
MARKED = ("clusters", "rearranger", "segmenter", "mapper", "depth", "generator")
# what a run folder may hold, by the start of the name
OURS = (
    "checkpoint-",
    "events.",
    "stats.jsonl",
    "grids",
    "labels.json",
    MARK,
    "generator",
    "discriminator",
    "auxiliary",
    "viewer",  # its name in 0.1.0
    "reader",
    "clusters",
    "rearranger",
    "segmenter",
    "mapper",
    "condition.json",
    "depth",
)
KEEP_FEATURES = 512 * 2**20  # bytes of features that clustering may hold instead of computing them anew for every pass
STATISTICS_SAMPLES = 64
GROWN_WARMUP = 500  # steps over which grown networks come to their full learning rate
NARROW_SAMPLES = 256  # that narrower queries and keys are fitted to
BATCH = 8  # samples a forward pass, outside of training

Progress = Callable[[int, int, dict[str, float]], None]
Passes = Callable[[int, float], None]
Model = TypeVar("Model", bound=ConfigModel)


# ---------------------------------------------------------------------------------------------------------------- networks


@contextmanager
def seeded(seed: int, *keys: int | str) -> Iterator[None]:
    """Start weights that depend on ``(seed, keys)`` alone, and so are the same on every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, *keys))
        yield


def new_generator(config: GeneratorConfig, resolution: int, seed: int) -> Generator:
    """An untrained generator."""
    with seeded(seed, "init", "generator"):
        return Generator(
            z_dim=config.z_dim,
            w_dim=config.z_dim,
            resolution=resolution,
            mapping_layers=config.mapping_layers,
            channel_base=config.channel_base,
            channel_max=config.channel_max,
        )


def new_discriminator(generator: Generator, seed: int) -> Discriminator:
    """An untrained discriminator as wide as ``generator``."""
    same = {name: generator.config[name] for name in ("resolution", "img_channels", "channel_base", "channel_max", "conv_clamp", "start")}
    with seeded(seed, "init", "discriminator"):
        return Discriminator(**same)


def grow(
    config: GeneratorConfig, smaller: Generator, discriminator: Discriminator | None, resolution: int, seed: int
) -> tuple[Generator, Discriminator | None]:
    """``smaller`` and its discriminator, where there is one, grown to ``resolution`` with the widths of ``config``.

    Raises:
        ProxymaskError: no discriminator, and none is to be trained first; networks that cannot grow to that.
    """
    if discriminator is None and not config.discriminator_first:
        raise ProxymaskError(
            "no discriminator was found beside the generator to grow from, and an untrained one would undo what it knows: "
            "give --discriminator-first 2000 or more, the steps in which a new one is trained before the generator goes on"
        )
    widths = (resolution, config.channel_base, config.channel_max)
    with seeded(seed, "init", "grow"):
        grown = grow_generator(smaller, *widths)
        judge = None if discriminator is None else grow_discriminator(discriminator, *widths)
    return grown, judge


def build_generator(
    config: GeneratorConfig, generator: Generator, discriminator: Discriminator | None, pictures: Pictures, seed: int, grown: bool = False
) -> GeneratorStage:
    """Stage 0, from an untrained generator or, to fine-tune, a trained one, or one that has ``grown``."""
    warmup = GROWN_WARMUP if grown else 0
    return GeneratorStage(generator, discriminator or new_discriminator(generator, seed), pictures, config, warmup)


def build_rearranger(
    config: RearrangerConfig,
    cut: SplitGenerator,
    clusters: ProxyClusters,
    discriminator: Discriminator | None,
    pictures: Pictures | None,
    steps: int,
    seed: int,
    device: torch.device,
    rms: tuple[float, float] | None = None,
    key_channels: int = 0,
) -> RearrangerStage:
    """Stage 2. Without a discriminator (the generator's own) a fresh one is made; without ``rms``, :func:`state_rms` finds it;
    ``key_channels``: of a rearranger to go on from whose queries and keys are narrow already."""
    check_compatible(cut, clusters)
    if config.narrow_channels < 0:
        raise ProxymaskError(
            f"queries and keys cannot be narrowed to {config.narrow_channels} channels: give a width, or 0 to leave them as trained"
        )
    taken = inspect.signature(Rearranger.__init__).parameters
    widths = {field.name: getattr(config, field.name) for field in dataclasses.fields(config) if field.name in taken}
    with seeded(seed, "init", "rearranger"):
        rearranger = Rearranger(
            channels=cut.channels,
            resolution=cut.resolution,
            num_clusters=clusters.num_clusters,
            img_channels=cut.generator.img_channels,
            start=cut.start,
            key_channels=key_channels,
            **widths,
        )
    rearranger.initialize(clusters.centroids.cpu(), *(rms or state_rms(cut, seed, device)))
    return RearrangerStage(cut, clusters, rearranger, discriminator or new_discriminator(cut.generator, seed), pictures, config, steps)


def build_segmenter(
    config: SegmenterConfig,
    cut: SplitGenerator,
    ws: torch.Tensor,
    masks: torch.Tensor,
    num_labels: int,
    steps: int,
    seed: int,
    device: torch.device,
    clusters: ProxyClusters | None = None,
    rearranger: Rearranger | None = None,
) -> SegmenterStage:
    """Stage 3, of labelled samples ``ws`` (n, w_dim) or (n, num_ws, w_dim) and ``masks`` (n, H, W). ``clusters`` and ``rearranger`` show
    others in the look of the labelled ones, where the config asks for it (``style_transfer_max_labels``)."""
    generator = cut.generator.to(device)
    if ws.shape[-1] != generator.w_dim:
        raise ProxymaskError(
            f"the labelled samples have latents of {ws.shape[-1]} numbers, this generator has {generator.w_dim}: sample from it"
        )
    z = torch.randn(BATCH // 2, generator.z_dim, generator=derive_rng(seed, "segmenter", "statistics"))
    with torch.no_grad():
        levels, _ = cut.feature_pyramid(cut.w(z.to(device)))
    with seeded(seed, "init", "segmenter"):
        channels = [level.shape[1] for level in levels]
        segmenter = FewShotSegmenter(channels, generator.resolution, num_labels, start=generator.start)
    segmenter.calibrate([level.cpu() for level in levels])
    if len(ws) > config.style_transfer_max_labels:
        return SegmenterStage(cut, segmenter, ws, masks, config)
    if clusters is None or rearranger is None:
        raise ProxymaskError(
            f"with {len(ws)} labelled samples, style-transfer labelling is on (style_transfer_max_labels "
            f"{config.style_transfer_max_labels}): give the rearranger and its clusters, or set style_transfer_max_labels to 0"
        )
    check_compatible(cut, clusters, rearranger)
    seen = levels[cut.generator.synthesis.block_resolutions.index(cut.resolution) :]
    with seeded(seed, "init", "look reader"):
        channels = [level.shape[1] for level in seen]
        reader = FewShotSegmenter(channels, generator.resolution, num_labels, skip_levels=0, start=generator.start)
    reader.calibrate([level.cpu() for level in seen])
    looks = StyleTransferLabeler(cut, clusters, rearranger, ws)
    return SegmenterStage(cut, segmenter, ws, masks, config, looks, reader, round(steps * (1 - STYLE_TRANSFER_PHASE)))


def build_mapper(
    config: MapperConfig,
    cut: SplitGenerator,
    clusters: ProxyClusters,
    rearranger: Rearranger,
    segmenter: FewShotSegmenter,
    labels: LabelSet,
    discriminator: Discriminator | None,
    pictures: Pictures | None,
    steps: int,
    seed: int,
    device: torch.device,
) -> MapperStage:
    """Stage 4. Without a discriminator (the rearranger's) a fresh one is made."""
    check_compatible(cut, clusters, rearranger)
    mapper = _mask_mapper(config, cut, clusters, segmenter, labels, seed)
    return MapperStage(
        cut,
        clusters,
        rearranger,
        mapper,
        discriminator or new_discriminator(cut.generator, seed),
        SegmenterLabeler(cut, segmenter.to(device).eval().requires_grad_(False)),
        pictures,
        config,
        steps,
        torch.from_numpy(labels.colors.copy()),
        auxiliary=_auxiliary_stage(config, cut, segmenter, steps, seed),
    )


def build_distillation(
    config: MapperConfig,
    cut: SplitGenerator,
    clusters: ProxyClusters,
    segmenter: FewShotSegmenter,
    labels: LabelSet,
    teachers: Sequence[Mapper],
    steps: int,
    seed: int,
    device: torch.device,
) -> DistillationStage:
    """Stage 4 with teachers. The masks are those that the few-shot segmenter sees on generated pictures."""
    mapper = _mask_mapper(config, cut, clusters, segmenter, labels, seed)
    shared = ("num_labels", "num_clusters", "resolution", "start")
    known = [teacher for teacher in teachers if isinstance(teacher, OasisMapper)]
    if len(known) < len(teachers) or any(teacher.config[key] != mapper.config[key] for teacher in known for key in shared):
        raise ProxymaskError("a teacher is no mapper of masks with these labels and clusters: name those of this bundle with --teacher")
    seen = GeneratedImages(SegmenterLabeler(cut, segmenter.to(device).eval().requires_grad_(False)), AUXILIARY_SAMPLES)
    return DistillationStage(mapper, known, seen, config, steps)


def _mask_mapper(
    config: MapperConfig,
    cut: SplitGenerator,
    clusters: ProxyClusters,
    segmenter: FewShotSegmenter,
    labels: LabelSet,
    seed: int,
) -> OasisMapper:
    """A fresh mapper of masks."""
    if segmenter.out.out_channels != len(labels):
        raise ProxymaskError(
            f"the segmenter knows {segmenter.out.out_channels} classes, labels.json has {len(labels)}: train it with this file"
        )
    with seeded(seed, "init", "mapper"):
        return OasisMapper(
            num_labels=len(labels),
            num_clusters=clusters.num_clusters,
            resolution=cut.resolution,
            widths=tuple(config.widths),
            hidden=config.hidden,
            resize=config.resize,
            start=cut.start,
            tail=config.tail,
        )


def _auxiliary_stage(
    config: MapperConfig, cut: SplitGenerator, segmenter: FewShotSegmenter, steps: int, seed: int
) -> SegmentationStage | None:
    """What L_label needs, where the config asks for it."""
    if not config.lambda_label:
        return None
    with seeded(seed, "init", "viewer"):
        auxiliary_net = UNetSegmenter(segmenter.out.out_channels, AUXILIARY_WIDTH, depth=2)
    return new_auxiliary_stage(config, auxiliary_net, SegmenterLabeler(cut, segmenter), steps)


def build_condition_mapper(
    config: MapperConfig,
    widths: ConditionConfig,
    condition: Condition,
    cut: SplitGenerator,
    clusters: ProxyClusters,
    rearranger: Rearranger,
    segmenter: FewShotSegmenter | None,
    discriminator: Discriminator | None,
    pictures: Pictures | None,
    steps: int,
    seed: int,
    device: torch.device,
) -> MapperStage:
    """Stage 4 for a condition other than a mask: a U-Net mapper (supplement A.1). ``segmenter``: where it is made of labels, and for
    L_label."""
    check_compatible(cut, clusters, rearranger)
    if condition.needs_labels and segmenter is not None and segmenter.out.out_channels != condition.channels:
        raise ProxymaskError(
            f"the segmenter knows {segmenter.out.out_channels} classes, labels.json has {condition.channels}: train it with this file"
        )
    sized = (discriminator or cut.generator).config
    with seeded(seed, "init", "mapper", condition.name):
        mapper = UNetMapper(
            condition.channels,
            clusters.num_clusters,
            cut.resolution,
            cut.generator.resolution,
            widths.unet_base or sized["channel_base"],
            widths.unet_max or sized["channel_max"],
            cut.start,
            1 if widths.unet_start == "discriminator" else min(widths.unet_space_to_depth, cut.generator.resolution // cut.resolution),
        )
    if widths.unet_start == "discriminator":
        if discriminator is None:
            raise ProxymaskError("there is no discriminator to start the mapper from: name one with --discriminator")
        mapper.start_from(discriminator)
    auxiliary = None
    if segmenter is not None:
        segmenter.to(device).eval().requires_grad_(False)
        auxiliary = _auxiliary_stage(config, cut, segmenter, steps, seed)
    source = ConditionPairs(cut, clusters, condition, segmenter, widths.unet_recolor)
    discriminator = discriminator or new_discriminator(cut.generator, seed)
    return MapperStage(cut, clusters, rearranger, mapper, discriminator, source, pictures, config, steps, unet=widths, auxiliary=auxiliary)


def build_depth(config: DepthConfig, data: DepthImages, steps: int, seed: int) -> DepthStage:
    """The depth network of drawn pictures."""
    with seeded(seed, "init", "depth"):
        net = DepthNet(config.width)
    return DepthStage(net, data, config, steps)


def check_compatible(cut: SplitGenerator, clusters: ProxyClusters, rearranger: Rearranger | None = None) -> None:
    """A :class:`ProxymaskError` where clusters or rearranger belong to another generator or cut."""
    if (clusters.channels, clusters.size) != (cut.channels, cut.size):
        raise ProxymaskError(
            f"these clusters read {clusters.channels} channels at {size_text(clusters.size)}, the generator has {cut.channels} at "
            f"{size_text(cut.size)}: cluster this generator's features (proxymask cluster)"
        )
    if rearranger is None:
        return
    have = (rearranger.channels, rearranger.size, rearranger.num_clusters)
    if have != (cut.channels, cut.size, clusters.num_clusters):
        raise ProxymaskError(
            f"this rearranger was trained for other features or clusters ({have[0]} channels at {size_text(have[1])}, {have[2]} clusters): "
            "train one for these"
        )


def check_class(generator: Generator) -> None:
    """A :class:`ProxymaskError` where ``generator`` has classes and none of them is chosen, before any work is done."""
    if generator.c_dim:
        generator.mapping(torch.zeros(1, generator.z_dim))


def check_colours(generator: Generator) -> None:
    """A :class:`ProxymaskError` where pictures in colours cannot stand beside those that ``generator`` makes."""
    if generator.img_channels != 3:
        raise ProxymaskError(
            f"--images are in colours, this generator makes pictures of {generator.img_channels} channels: leave --images out, or give "
            "another generator"
        )


def match_class(discriminator: Discriminator, generator: Generator) -> None:
    """Let ``discriminator``, where it has classes, judge pictures as those of the class that ``generator`` takes.

    Raises:
        ProxymaskError: the generator has other classes, or none.
    """
    if discriminator.mapping is None:
        return
    if discriminator.c_dim != generator.c_dim:
        raise ProxymaskError(
            f"this discriminator knows {discriminator.c_dim} classes, the generator {generator.c_dim}: leave --discriminator out, or give "
            "the generator's own"
        )
    discriminator.choose_class(int(generator.mapping.class_index))


@torch.no_grad()
def state_rms(cut: SplitGenerator, seed: int, device: torch.device) -> tuple[float, float]:
    """Root mean square of features and accumulated RGB at the cut, over 64 samples."""
    cut.to(device)
    z = torch.randn(STATISTICS_SAMPLES, cut.generator.z_dim, generator=derive_rng(seed, "statistics"))
    features, rgb = 0.0, 0.0
    for part in z.split(BATCH):
        state = cut.features(cut.w(part.to(device)))
        features += float(state.features.square().mean()) * len(part)
        rgb += float(state.rgb.square().mean()) * len(part)
    return (features / STATISTICS_SAMPLES) ** 0.5, (rgb / STATISTICS_SAMPLES) ** 0.5


def cluster_features(
    cut: SplitGenerator,
    num_clusters: int,
    samples: int,
    seed: int,
    device: torch.device,
    progress: Passes | None = None,
    max_iterations: int = 100,
) -> ProxyClusters:
    """Stage 1: spherical k-means of the features of random samples, float32, streamed unless they fit into half a GiB."""
    if samples < 1:
        raise ProxymaskError(f"clusters need samples, got {samples}: 256 is the paper's number")
    cut.to(device)
    z = torch.randn(samples, cut.generator.z_dim, generator=derive_rng(seed, "clusters"))

    @torch.no_grad()
    def computed() -> Iterator[torch.Tensor]:
        for part in z.split(BATCH):
            yield cut.features(cut.w(part.to(device))).features

    source: Callable[[], Any] = computed
    if samples * cut.channels * cut.size[0] * cut.size[1] * 4 <= KEEP_FEATURES:
        held = list(computed())
        source = held.__iter__
    return fit_proxy_clusters(
        source,
        num_clusters,
        cut.resolution,
        seed,
        cut=cut.resolution,
        start=cut.start,
        progress=progress,
        max_iterations=max_iterations,
    )


# --------------------------------------------------------------------------------------------------------------- run folders


def identity_of(config: Any, loop: LoopConfig, made_of: Mapping[str, Any], schedule: bool = True) -> dict[str, Any]:
    """What must be the same for a stage to be continued: its settings, one key a field, and what it is made of.

    ``schedule``: the number of steps decides what a step does, so that it cannot be changed halfway.
    """
    fields = {f"config.{key}": value for key, value in dataclasses.asdict(config).items()}
    return {**fields, "batch": loop.batch, "seed": loop.seed, **({"steps": loop.steps} if schedule else {}), **made_of}


def pictures_id(pictures: Pictures | None) -> str:
    """What run folders call a set of real pictures by; "samples" where the generator's own take their place."""
    return pictures.fingerprint[:16] if isinstance(pictures, ImageSet) else "samples"


def run_stage(stage: Stage, loop: LoopConfig, out: Path, identity: Mapping[str, Any], progress: Progress | None = None) -> None:
    """Train ``stage`` in ``out``, going on from its newest checkpoint, and save its networks, averaged where an average is kept.

    Raises:
        Stopped, ProxymaskError: as :func:`train` does; ``out`` is a file, or a folder that is no run.
    """
    check_out(out)
    run = train(stage, loop, out, identity=dict(identity), progress=progress if is_main() else None)
    if is_main():
        networks = {name: run.averages.get(name, module) for name, module in stage.modules.items()}
        if isinstance(stage, RearrangerStage):
            networks["rearranger"] = _narrowed(stage, networks["rearranger"], loop.seed)
        finish(out, identity, loop.steps, {name: module for name, module in networks.items() if isinstance(module, ConfigModel)})
    barrier()


def _narrowed(stage: RearrangerStage, trained: nn.Module, seed: int) -> Rearranger:
    """The trained rearranger with queries and keys as narrow as its config asks for."""
    assert isinstance(trained, Rearranger)
    if not stage.config.narrow_channels:
        return trained
    device = trained.to_query.weight.device
    cut, clusters = stage.cut.to(device), stage.clusters.to(device)
    z = torch.randn(NARROW_SAMPLES, cut.generator.z_dim, generator=derive_rng(seed, "narrow"))
    return narrow_keys(trained, cut, clusters, stage.config.narrow_channels, z)[0]


def finish(out: Path, identity: Mapping[str, Any], steps: int, networks: Mapping[str, ConfigModel]) -> None:
    """Save ``networks`` under their names in ``out``, then the mark that the stage is done."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        files: list[Path] = []
        for name, network in networks.items():
            folder = network.save_pretrained(out / name)
            files += [folder / "config.json", folder / "model.safetensors"]
        digests = {path.relative_to(out).as_posix(): file_hash(path) for path in files}
        write_json(out / MARK, {"identity": dict(identity), "steps": steps, "sha256": digests})
    except OSError as error:
        raise ProxymaskError(f"cannot write {out} ({error.strerror or error}); make room and run the same command again") from None


def mark_of(out: Path) -> dict[str, Any] | None:
    """The mark of a finished stage, in today's settings; None where there is none, or none that can be read."""
    try:
        mark = read_json(out / MARK)
    except ProxymaskError:
        return None
    if not isinstance(mark, dict) or not {"identity", "steps", "sha256"} <= mark.keys():
        return None
    networks = {name.split("/")[0] for name in mark["sha256"]}
    stage = next((name for name in MARKED if name in networks), "")
    return mark | {"identity": legacy.stage_settings(stage, mark["identity"])}


def is_done(out: Path, identity: Mapping[str, Any], steps: int) -> bool:
    """Whether the stage in ``out`` was made of exactly this, to its end, and its files are whole."""
    mark = mark_of(out)
    if mark is None or mark["steps"] != steps or mark["identity"] != _as_json(identity):
        return False
    return all((out / name).is_file() and file_hash(out / name) == digest for name, digest in mark["sha256"].items())


def acquire_run_dir(out: Path, identity: Mapping[str, Any]) -> Path | None:
    """Make ``out`` the folder of a stage with this identity, losing nothing.

    What is there of another identity moves aside, to ``<out>.<hash of that identity>``; what moved aside earlier with this
    identity comes back.

    Returns:
        Where the other one went, if there was one.
    """
    wanted, aside = _digest(identity), None
    have = _found_identity(out)
    if have is not None and _digest(have) != wanted:
        aside = out.with_name(f"{out.name}.{_digest(have)}")
        os.replace(out, aside)
    if not out.exists():
        for earlier in sorted(out.parent.glob(f"{glob.escape(out.name)}.*")):  # the name may hold the hash of an older version's settings
            identity_there = _found_identity(earlier)
            if identity_there is not None and _digest(identity_there) == wanted:
                os.replace(earlier, out)
                break
    return aside


def steps_done(out: Path) -> int:
    """The step of the newest checkpoint, 0 without one."""
    have = checkpoints(out)
    return int(read_json(have[-1] / "state.json")["step"]) if have else 0


def _found_identity(out: Path) -> dict[str, Any] | None:
    """The identity of what is in ``out``: by its mark, or by its newest checkpoint where it is not finished."""
    mark = mark_of(out)
    if mark is not None:
        return mark["identity"]
    for path in reversed(checkpoints(out)):
        try:
            stored = dict(read_json(path / "state.json")["identity"])
        except (ProxymaskError, KeyError, TypeError, ValueError):
            continue
        stage = str(stored.pop("stage", ""))  # which the loop adds
        return legacy.stage_settings(stage, stored)
    return None


def _digest(identity: Mapping[str, Any]) -> str:
    text = repr(sorted(_as_json(identity).items()))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _as_json(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in identity.items()}


def check_out(out: Path) -> None:
    """A :class:`ProxymaskError` where ``out`` cannot become a run folder or is something else already."""
    if out.exists() and not out.is_dir():
        raise ProxymaskError(f"{out} is a file: --out names a folder")
    foreign = [entry.name for entry in out.iterdir() if not entry.name.startswith(OURS)] if out.is_dir() else []
    if foreign:
        raise ProxymaskError(f"{out} holds something else ({foreign[0]}): choose another --out")


def find_part(path: str | Path, name: str) -> Path:
    """The folder of a network: ``path`` itself, or ``<path>/<name>`` where ``path`` is a run, a bundle, or an embedded bundle's name.

    Raises:
        ProxymaskError: nothing there, a run that has not finished, something else.
    """
    folder = Path(path)
    if not folder.exists() and str(path) in list_bundles():
        folder = EMBEDDED / str(path)
    if not folder.is_dir():
        raise ProxymaskError(f"{path} is not a folder" if folder.exists() else f"{path} does not exist")
    for candidate in (folder, folder / name):
        if (candidate / "config.json").is_file():
            return candidate
    if mark_of(folder) is None and checkpoints(folder):
        raise ProxymaskError(f"the run in {path} has not finished (step {steps_done(folder)}): run its command again first")
    raise ProxymaskError(f"{path} holds no {name}: give the folder of a run, of a saved network, or of a bundle")


def load_part(path: str | Path, name: str, kind: type[Model]) -> Model:
    """The network that :func:`find_part` finds, in eval mode, float32; generators and discriminators out of others' checkpoints too."""
    if Path(path).is_file() and kind in (Generator, Discriminator):
        opened = open_checkpoint(path, sha256=False)
        found = opened.generator if kind is Generator else opened.discriminator
        if not isinstance(found, kind):
            raise ProxymaskError(f"{path} holds no {name}" + "".join(f"; {note}" for note in opened.notes))
        return found
    return kind.from_pretrained(find_part(path, name))


def open_generator(path: str | Path, class_index: int | None = None) -> tuple[Generator, Discriminator | None, dict[str, Any]]:
    """A generator with its discriminator, where there is one, and what is known of its source.

    Args:
        path: a run, a saved network, a bundle or its name, an import, or a checkpoint of another project.
        class_index: the class to take, of a class-conditional one.
    """
    if Path(path).is_file():
        opened = open_checkpoint(path, class_index=class_index)
        return opened.generator, opened.discriminator, opened.about()
    part = find_part(path, "generator")
    generator = Generator.from_pretrained(part)
    discriminator = discriminator_beside(path, "generator", generator)
    if class_index is not None:
        generator.choose_class(class_index)
        if discriminator is not None:
            discriminator.choose_class(class_index)
    return generator, discriminator, source_of(part)


def discriminator_beside(path: str | Path, name: str, generator: Generator) -> Discriminator | None:
    """The discriminator that was trained with the network at ``path``, where there is one for the pictures of ``generator``."""
    if Path(path).is_file():
        return open_checkpoint(path, sha256=False).discriminator
    part = find_part(path, name)
    for folder in (part / "discriminator", part.parent / "discriminator"):
        if (folder / "config.json").is_file():
            found = Discriminator.from_pretrained(folder)
            return found if found.picture_size == generator.picture_size else None
    return None


def open_pictures(path: str | Path, size: Size | None, progress: Callable[[int, int], None] | None = None) -> ImageSet:
    """A prepared set, or a folder of pictures prepared now at ``size``, by process 0 alone."""
    with main_first():
        return ImageSet.open(path, size, progress if is_main() else None)
