"""The plan of a ``fit``: which stages are missing, and the time, memory and disk that they will take."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ...core.errors import ProxymaskError
from ...core.memory import reset_peak, used_memory
from ...core.sizes import height_width, size_text
from ...core.text import counted
from ...data.prepare import source_files
from ...models.split_generator import SplitGenerator
from ...models.stylegan2 import Generator
from ..checkpoint import steps_done
from ..cost import Cost
from ..distributed import agreed
from ..estimate import measure, measure_clusters, measure_pictures
from ..presets import STAGES
from ..stages.generator import new_generator
from ..untrained import untrained_stage
from .config import OnProgress
from .inputs import existing_folder
from .state import FitState, needed

DISK_MARGIN = 1.1  # factor of the disk space that is needed
PICTURES = "prepare pictures"


@dataclasses.dataclass(frozen=True)
class Row:
    """One stage of the plan."""

    stage: str
    amount: str
    """Steps, samples or files."""
    cost: Cost
    done: int
    """Steps that are done."""
    after_labels: bool
    """It waits for painted masks."""

    @property
    def seconds(self) -> float:
        """Time that the stage still takes."""
        return self.cost.total(self.done)

    @property
    def disk(self) -> int:
        """Bytes that will be written."""
        return 0 if self.done else self.cost.disk


@dataclasses.dataclass(frozen=True)
class Plan:
    """What has to be done."""

    rows: tuple[Row, ...]
    lines: tuple[str, ...]
    """For people."""

    @property
    def disk(self) -> int:
        """Upper limit of the bytes that are written on the disk of --out."""
        spare = max((row.cost.spare_disk for row in self.rows), default=0)
        return spare + sum(row.disk for row in self.rows if row.stage != PICTURES)


def make_plan(state: FitState, missing: Sequence[str], count: OnProgress) -> Plan:
    """Measure the missing stages. ``count`` is called with (stages measured, stages).

    Raises:
        ProxymaskError: settings that do not fit each other; no room for the prepared pictures.
    """
    generator = _generator_config(state)
    folder = existing_folder(state.out.parent)
    rows: list[Row] = []
    before: list[int] = []  # memory in use before each row was measured
    for number, stage in enumerate(missing):
        count(number, len(missing))
        if stage == "labels":
            continue
        reset_peak()
        before.append(used_memory())
        if stage == "pictures":
            rows.append(_pictures_row(state))
        elif stage == "clusters":
            split = SplitGenerator(Generator(**generator), state.cut)
            cost = measure_clusters(split, state.preset.num_clusters, state.preset.cluster_samples, state.device)
            rows.append(Row(stage, f"{state.preset.cluster_samples:,} samples", cost, 0, False))
        else:
            assert stage in STAGES
            loop = state.preset.loop(stage)
            inputs = state.num_labels, state.num_labelled, _number_of_pictures(state)
            cost = measure(untrained_stage(stage, state.preset, generator, state.cut, *inputs), folder)
            done = min(_steps_done(state, stage), loop.steps) if number == 0 else 0  # later stages follow from what is made before
            amount_done = f", {done:,} of them done" if done else ""
            waits = state.labelled is None and state.config.labels is None
            after_labels = waits and "labels" in missing and stage in ("segmenter", "mapper", "detail")
            rows.append(Row(stage, f"{counted(loop.steps, 'step')}{amount_done}", cost, done, after_labels))
    count(len(missing), len(missing))
    if state.device.type != "cuda":
        rows = _with_leftovers(rows, before)
    return Plan(tuple(rows), tuple(_lines(state, rows)))


def _with_leftovers(rows: Sequence[Row], before: Sequence[int]) -> list[Row]:
    """Rows with the memory that PyTorch keeps of the stages that were measured after them."""
    reset_peak()
    now = used_memory()
    more = [max(0, now - then) if row.cost.memory else 0 for row, then in zip(rows, before, strict=True)]
    return [
        dataclasses.replace(row, cost=dataclasses.replace(row.cost, memory=row.cost.memory + extra))
        for row, extra in zip(rows, more, strict=True)
    ]


def _number_of_pictures(state: FitState) -> int:
    """Real pictures for L_adv, 0 without."""
    if state.config.images is None:
        return 0
    return len(state.pictures if state.pictures is not None else source_files(state.config.images).files)


def _steps_done(state: FitState, stage: str) -> int:
    """Steps of a stage whose inputs are all there that need not be repeated."""
    return steps_done(state.work / stage) if state.definition(stage).can_continue(state.work / stage) else 0


def _pictures_row(state: FitState) -> Row:
    images = needed(state.config.images)
    files = source_files(images).files
    height, width = height_width(state.size)
    disk = len(files) * height * width * 3
    check_disk(images, disk)
    return Row(PICTURES, f"{len(files):,} files", Cost(begin=measure_pictures(images, files, state.size), disk=disk), 0, False)


def _lines(state: FitState, rows: Sequence[Row]) -> list[str]:
    config = state.config
    if state.source is not None:
        first = f"fit: new labels for {config.bundle} -> {state.out}"
    else:
        first = f"fit: {config.generator or config.images} -> {state.out}"
    lines = [f"{first} ({size_text(state.size)} pictures, cut at {state.cut}, on {state.device.type}; work in {state.work})"]
    memory_of = "GPU memory" if state.device.type == "cuda" else "memory"
    wide = max([32, *(len(row.amount) + 1 for row in rows)])
    for row in rows:
        later = ", once labelled" if row.after_labels else ""
        needs = (f", {memory_of} {amount(row.cost.memory)}" if row.cost.memory else "") + (f", disk {amount(row.disk)}" if row.disk else "")
        lines.append(f"  {row.stage:<17}{row.amount:<{wide}}about {duration(row.seconds)}{needs}{later}")
    now = sum(row.seconds for row in rows if not row.after_labels)
    then = sum(row.seconds for row in rows if row.after_labels)
    total = f"  {'in all':<17}{'':<{wide}}about {duration(now)}" + (f", and {duration(then)} once labelled" if then else "")
    memory, disk = max((row.cost.memory for row in rows), default=0), sum(row.disk for row in rows)
    if memory:
        total += f"; {memory_of} about {amount(memory)}"
    free = shutil.disk_usage(existing_folder(state.out.parent)).free
    lines.append(f"{total}; disk about {amount(disk)} of {amount(free)} free")
    return [*lines, "  Ctrl-C stops it at any time; the same command continues."]


def _generator_config(state: FitState) -> dict[str, Any]:
    """Config of a generator that takes as long as the one in use, without classes, none of which need then be chosen."""
    if state.generator is not None:
        return {**state.generator.config, "c_dim": 0}
    with torch.device("meta"):  # no memory for its weights
        return new_generator(state.preset.generator, state.resolution, 0).config


def check_disk(folder: Path, size: int) -> None:
    """A :class:`ProxymaskError` where the disk of ``folder`` has no room for ``size`` bytes."""
    folder = existing_folder(folder)
    free = shutil.disk_usage(folder).free
    if agreed(free < size * DISK_MARGIN):
        raise ProxymaskError(f"the disk of {folder} has {amount(free)} free, about {amount(size * DISK_MARGIN)} are needed: make room")


def duration(seconds: float) -> str:
    """A time for people: 40 s, 3 min 20 s, 12 min, 3 h 20 min, 2 d 4 h."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 595:
        tens = round(seconds / 10)
        return f"{tens // 6} min" + (f" {tens % 6}0 s" if tens % 6 else "")
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 36 * 60:
        return f"{minutes // 60} h {minutes % 60 // 5 * 5} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def amount(size: float) -> str:
    """Bytes for people: 340 kB, 1.2 MB, 12 MB, 3.4 GB."""
    unit, name = (1e9, "GB") if size >= 1e9 else (1e6, "MB") if size >= 1e6 else (1e3, "kB")
    number = max(1.0, size / unit)
    return f"{number:.1f} {name}" if number < 9.95 and size >= 1e6 else f"{number:.0f} {name}"
