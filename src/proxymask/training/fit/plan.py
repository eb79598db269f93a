"""The plan of a ``fit``: which stages are missing, and the time, memory and disk that they will take."""

import dataclasses
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ...core.errors import ProxymaskError
from ...core.sizes import height_width, size_text
from ...data.prepare import source_files
from ..checkpoint import steps_done
from ..distributed import agreed
from ..estimate import Cost, measure_clusters, measure_pictures, measure_stage
from ..presets import STAGES
from ..stages.generator import new_generator
from .config import Count
from .inputs import existing_folder
from .state import FitState, needed

DISK_MARGIN = 1.1  # factor of the disk space that is needed


@dataclasses.dataclass(frozen=True)
class Plan:
    """What has to be done."""

    lines: list[str]
    """For people."""
    disk: int
    """Bytes that will be written."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One stage of the plan."""

    stage: str
    amount: str
    """Steps, samples or files."""
    seconds: float
    after_labels: bool
    """It waits for painted masks."""


def make_plan(state: FitState, missing: Sequence[str], count: Count) -> Plan:
    """Measure the missing stages. ``count`` is called with (stages measured, stages).

    Raises:
        ProxymaskError: settings that do not fit each other; no room for the prepared pictures.
    """
    generator = _generator_config(state)
    rows: list[Row] = []
    costs: list[Cost] = []
    disk = 0
    for number, stage in enumerate(missing):
        count(number, len(missing))
        if stage == "pictures":
            rows.append(_pictures_row(state))
        elif stage == "clusters":
            seconds = measure_clusters(state.preset, generator, state.cut, state.device)
            rows.append(Row(stage, f"{state.preset.cluster_samples:,} samples", seconds, False))
        elif stage in STAGES:
            loop = state.preset.loop(stage)
            cost = measure_stage(stage, state.preset, generator, state.cut, state.num_labels, state.config.images is not None)
            done = min(_steps_done(state, stage), loop.steps) if number == 0 else 0  # later stages follow from what is made before
            amount_done = f", {done:,} of them done" if done else ""
            after_labels = "labels" in missing and stage in ("segmenter", "mapper")
            rows.append(Row(stage, f"{loop.steps:,} steps{amount_done}", cost.seconds_per_step * (loop.steps - done), after_labels))
            costs.append(cost)
            disk += 0 if done else cost.checkpoint * (loop.keep + 2)  # those kept, one being written, the networks
    return Plan(_lines(state, rows, max((cost.memory for cost in costs), default=0), disk), disk)


def _steps_done(state: FitState, stage: str) -> int:
    """Steps of a stage whose inputs are all there that need not be repeated."""
    return steps_done(state.work / stage) if state.definition(stage).can_continue(state.work / stage) else 0


def _pictures_row(state: FitState) -> Row:
    images = needed(state.config.images)
    files = source_files(images).files
    height, width = height_width(state.size)
    check_disk(images, len(files) * height * width * 3)
    return Row("prepare pictures", f"{len(files):,} files", measure_pictures(files, state.size, os.cpu_count() or 1), False)


def _lines(state: FitState, rows: Sequence[Row], memory: int, disk: int) -> list[str]:
    config = state.config
    if state.source is not None:
        first = f"fit: new labels for {config.bundle} -> {state.out}"
    else:
        first = f"fit: {config.generator or config.images} -> {state.out}"
    lines = [f"{first} ({size_text(state.size)} pictures, cut at {state.cut}, on {state.device.type}; work in {state.work})"]
    for row in rows:
        later = ", once labelled" if row.after_labels else ""
        lines.append(f"  {row.stage:<17}{row.amount:<38}about {duration(row.seconds)}{later}")
    now = sum(row.seconds for row in rows if not row.after_labels)
    then = sum(row.seconds for row in rows if row.after_labels)
    total = f"  {'in all':<17}{'':<38}about {duration(now)}" + (f", and {duration(then)} once labelled" if then else "")
    if memory:
        total += f"; {'GPU memory' if state.device.type == 'cuda' else 'memory'} about {amount(memory)}"
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
