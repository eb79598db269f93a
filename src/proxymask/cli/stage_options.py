"""What the verbs that train share: flags for the settings of a stage, and the networks and pictures that flags name."""

import ast
import dataclasses
import inspect
import shutil
import typing
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..core.checks import Checked, Range, flag
from ..core.errors import ProxymaskError
from ..core.sizes import as_size, short_text
from ..core.text import counted
from ..data.dataset import ImageSet
from ..models.discriminator import Discriminator
from ..models.stylegan2 import Generator
from ..training.checkpoint import steps_done
from ..training.cost import TimeLeft
from ..training.detail import DetailConfig
from ..training.estimate import measure
from ..training.fit.inputs import existing_folder
from ..training.fit.plan import amount, check_disk, duration
from ..training.generator import GeneratorConfig
from ..training.loop import LoopConfig
from ..training.mapper import ConditionConfig, MapperConfig
from ..training.parts import (
    check_class,
    check_colours,
    load_part,
    match_class,
    matching_discriminator,
    open_generator,
    open_pictures,
    source_notes,
)
from ..training.presets import PRESETS, StageName, load_preset
from ..training.rearranger import RearrangerConfig
from ..training.segmenter import SegmenterConfig
from ..training.stages.definition import TrainedStage
from .options import Computing
from .progress import Terminal, is_main, progress
from .streams import note


def overrides(config: type, attribute: str) -> type:
    """A dataclass with the fields of ``config``, each None unless it is given; ``attribute``: name of this config in a preset.

    Each flag changes one setting of a preset, and help shows the value in each preset. Device, precision and seed are left out, as they are
    flags of every verb.
    """
    hints, texts = typing.get_type_hints(config, include_extras=True), _field_texts(config)
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
    return dataclasses.make_dataclass(f"{config.__name__}Overrides", fields, bases=(Checked,), frozen=True)


def _preset_names(names: Sequence[str]) -> str:
    """The names of presets as one text; a family of presets that is complete is written with a star."""
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
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _metavar(inner[0])
    if hint is bool:
        return "{True,False}"
    if origin is typing.Literal:
        return "{" + ",".join(map(str, inner)) + "}"
    return f"{_metavar(inner[0])} ..." if inner else str(hint.__name__).upper()


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
    DetailOverrides = DetailConfig
    DetailLoop = LoopConfig
else:
    GeneratorOverrides, GeneratorLoop = overrides(GeneratorConfig, "generator"), overrides(LoopConfig, "generator_loop")
    RearrangerOverrides, RearrangerLoop = overrides(RearrangerConfig, "rearranger"), overrides(LoopConfig, "rearranger_loop")
    SegmenterOverrides, SegmenterLoop = overrides(SegmenterConfig, "segmenter"), overrides(LoopConfig, "segmenter_loop")
    MapperOverrides, MapperLoop = overrides(MapperConfig, "mapper"), overrides(LoopConfig, "mapper_loop")
    ConditionOverrides = overrides(ConditionConfig, "condition")
    DetailOverrides, DetailLoop = overrides(DetailConfig, "detail"), overrides(LoopConfig, "detail_loop")

Flat = tyro.conf.arg(name="")  # flags without prefix: --steps instead of --loop.steps
PresetName = Annotated[
    str,
    tyro.conf.arg(
        help="Settings: auto (ours at the size of the pictures), demo, ours-SIZE, paper-SIZE, or a JSON file that changes one of them."
    ),
]
OPTIONAL = tyro.conf.arg(metavar="INT", help_behavior_hint="(the preset's)")
OptionalSide = Annotated[int | None, Range(8, 2**13, kind="power of two"), OPTIONAL]
OptionalCut = Annotated[int | None, Range(4, 2**13, kind="power of two"), OPTIONAL]


def part_of(given: Path | None, bundle: Path | None, name: str) -> Path:
    """Where the part ``name`` is: its flag, or --bundle."""
    found = given or bundle
    if found is None:
        raise ProxymaskError(f"give --{name}, or --bundle for all parts")
    return found


def check_folders(**folders: Path | None) -> None:
    """Refuse flags that name no folder, before anything is loaded."""
    for name, folder in folders.items():
        if folder is not None and not folder.is_dir():
            raise ProxymaskError(f"{flag(name)} {folder} {'is not a folder' if folder.exists() else 'does not exist'}")


def stage_settings(stage: StageName, preset: str, resolution: int, common: Computing, config: Any, loop: Any) -> tuple[Any, LoopConfig]:
    """The settings of a stage for pictures of ``resolution``: those of the preset, changed by the flags that were given."""
    chosen = load_preset(preset, resolution).with_loops(device=common.device, precision=common.precision, seed=common.seed)
    return changed(getattr(chosen, stage), config), changed(chosen.loop(stage), loop)


def changed(base: Any, given: Any) -> Any:
    """The config ``base`` with the fields of the :func:`overrides` ``given`` that are not None."""
    values = {entry.name: getattr(given, entry.name) for entry in dataclasses.fields(given)}
    return dataclasses.replace(base, **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if v is not None})


def generator_of(path: Path, class_index: int | None) -> tuple[Generator, Discriminator | None]:
    """The generator in ``path`` with its class chosen, and its discriminator if there is one."""
    generator, discriminator, origin = open_generator(path, class_index)
    for text in source_notes(path, origin) if is_main() else ():
        note(f"note: {text}")
    check_class(generator)
    return generator, discriminator


def pictures_of(path: Path | None, generator: Generator) -> ImageSet | None:
    """Real pictures at the size of those of ``generator``."""
    if path is None:
        return None
    check_colours(generator)
    with progress("reading files") as count:
        return open_pictures(path, as_size(generator.picture_size), count)


def discriminator_of(given: Path | None, default: Path, name: str, generator: Generator) -> Discriminator | None:
    """The discriminator of the flag --discriminator, else that of the network ``name`` in ``default``, if there is one."""
    return matching_discriminator(default, name, generator) if given is None else load_discriminator(given, generator)


def load_discriminator(given: Path, generator: Generator) -> Discriminator:
    """The discriminator of the flag --discriminator; a :class:`ProxymaskError` where it is for other pictures or classes."""
    found = load_part(given, "discriminator", Discriminator)
    if found.picture_size != generator.picture_size:
        theirs, ours = short_text(found.picture_size), short_text(generator.picture_size)
        raise ProxymaskError(f"--discriminator {given} judges pictures of {theirs}, the generator makes {ours}")
    match_class(found, generator)
    return found


def say(text: str) -> None:
    """Print a line, on process 0."""
    Terminal().say(text)


def train_stage(definition: TrainedStage, out: Path, title: str) -> None:
    """Say how long the training will take and what it needs, then train, with its progress."""
    done, loop = steps_done(out), definition.loop
    if done >= loop.steps:
        with progress(title) as update:
            definition.run(out, update)
        return
    folder = existing_folder(out)
    with progress("measuring how fast this machine is"):
        cost = measure(definition, folder)
    check_disk(folder, cost.spare_disk + (0 if done else cost.disk))
    of_them = f", {done:,} of them done" if done else ""
    memory = "GPU memory" if definition.device.type == "cuda" else "memory"
    needs = f"; {memory} about {amount(cost.memory)}" if cost.memory else ""
    free = amount(shutil.disk_usage(folder).free)
    steps, time = counted(loop.steps, "step"), duration(cost.total(done))
    say(f"{title}: {steps}{of_them}: about {time}{needs}; disk about {amount(cost.disk)} of {free} free")
    with progress(title) as update:
        definition.run(out, TimeLeft(cost, update))
