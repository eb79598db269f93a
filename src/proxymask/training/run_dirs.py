"""Run folders: what a stage leaves on the disk, whether it is finished, and whether it can be continued.

The folder of a finished stage holds its networks in ``save_pretrained`` form (``generator/``, ``discriminator/``, ...) and ``stage.json``,
which is written last: the identity (settings, and hashes of the networks and data that the stage was given), the number of steps, and the
SHA-256 of every file. A stage in training has ``checkpoint-*`` folders that store the same identity.
"""

import dataclasses
import glob
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from ..core import legacy
from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError, os_reason
from ..core.files import free_name, read_json, write_json
from ..core.hashing import file_hash, settings_hash
from ..core.lock import LOCK, folder_lock
from .checkpoint import checkpoints, steps_done
from .distributed import barrier, is_main, main_lock
from .loop import LoopConfig, Progress, Stage, Stopped, train

MARK = "stage.json"
# the stages that leave a mark, each after those whose networks it may save too
MARKED = ("clusters", "rearranger", "segmenter", "mapper", "detail", "depth", "generator")
# beginnings of the names that a run folder may hold
OURS = (
    LOCK,
    "checkpoint-",
    "events.",
    "stats.jsonl",
    "grids",
    "labels.json",
    MARK,
    "generator",
    "discriminator",
    "auxiliary",
    "viewer",  # name of "auxiliary" in 0.1.0
    "reader",
    "clusters",
    "rearranger",
    "segmenter",
    "mapper",
    "condition.json",
    "extractor",
    "detail",
    "depth",
)

Networks = dict[str, nn.Module]


@contextmanager
def explain_stop(out: Path) -> Iterator[None]:
    """Turn an interrupt outside of the loop, or in the middle of a step, into :class:`~.loop.Stopped`, which says what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        done = steps_done(out)
        kept = f"; step {done:,} is kept in {out}" if done else f" before anything was kept in {out}"
        raise Stopped(f"stopped{kept}; run the same command again to go on") from None


@contextmanager
def run_lock(out: Path) -> Iterator[None]:
    """Hold the lock of the run folder ``out`` while the body runs; the folder is made where it is missing.

    Raises:
        Stopped: as :func:`explain_stop`.
        ProxymaskError: as :func:`check_out` and :func:`.distributed.main_lock`.
    """
    check_out(out)
    with main_lock(out), explain_stop(out):
        yield


def identity_of(config: Any, loop: LoopConfig, inputs: Mapping[str, Any], schedule: bool = True) -> dict[str, Any]:
    """What must be the same for a stage to be continued: its settings, one key a field, and its ``inputs``.

    ``schedule``: what a step does depends on the number of steps, so that this number is part of the identity.
    """
    fields = {f"config.{key}": value for key, value in dataclasses.asdict(config).items()}
    # usual values are left out: earlier runs do not have these keys
    average = {key: getattr(loop, key) for key in ("ema_samples", "ema_rampup") if getattr(loop, key) != getattr(LoopConfig, key)}
    return {**fields, "batch": loop.batch, "seed": loop.seed, **average, **({"steps": loop.steps} if schedule else {}), **inputs}


def run_stage(
    stage: Stage,
    loop: LoopConfig,
    out: Path,
    identity: Mapping[str, Any],
    progress: Progress | None = None,
    finalize: Callable[[Networks], Networks] | None = None,
    save_more: Callable[[Path], None] | None = None,
) -> None:
    """Train ``stage`` in ``out``, resuming from its newest checkpoint, and save its networks, averaged where an average is kept.

    Args:
        stage: what is trained.
        loop: how long, and on what device.
        out: the run folder.
        identity: what the stage is made of (:func:`identity_of`).
        progress: called after every step.
        finalize: called with the trained networks by name; returns those to be saved.
        save_more: called with ``out`` in the end, to write other files.

    Raises:
        Stopped, ProxymaskError: as :func:`.loop.train` does.
    """
    run = train(stage, loop, out, identity=dict(identity), progress=progress if is_main() else None)
    if is_main():
        networks: Networks = {name: run.averages.get(name, module) for name, module in stage.modules.items()}
        if finalize is not None:
            networks = finalize(networks)
        saved = {name: module for name, module in networks.items() if isinstance(module, ConfigModel)}
        finish(out, identity, loop.steps, saved, save_more)
    barrier()


def finish(
    out: Path,
    identity: Mapping[str, Any],
    steps: int,
    networks: Mapping[str, ConfigModel],
    save_more: Callable[[Path], None] | None = None,
) -> None:
    """Save ``networks`` under their names in ``out``, what ``save_more`` writes there, then the mark of a finished stage.

    Raises:
        ProxymaskError: ``out`` cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        files: list[Path] = []
        for name, network in networks.items():
            folder = network.save_pretrained(out / name)
            files += [folder / "config.json", folder / "model.safetensors"]
        digests = {path.relative_to(out).as_posix(): file_hash(path) for path in files}
        if save_more is not None:
            save_more(out)
        write_json(out / MARK, {"identity": dict(identity), "steps": steps, "sha256": digests})
    except OSError as error:
        raise ProxymaskError(f"cannot write {out} ({os_reason(error)}); make room and run the same command again") from None


def mark_of(out: Path) -> dict[str, Any] | None:
    """The mark of a finished stage with settings under today's names; None where there is none, or none that can be read."""
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
    """Whether ``out`` holds a finished stage of this identity and number of steps whose files are complete."""
    mark = mark_of(out)
    if mark is None or mark["steps"] != steps or mark["identity"] != as_json(identity):
        return False
    return all((out / name).is_file() and file_hash(out / name) == digest for name, digest in mark["sha256"].items())


def acquire_run_dir(out: Path, identity: Mapping[str, Any]) -> Path | None:
    """Make ``out`` the folder of a stage with this identity. Nothing is deleted.

    A folder of another identity is renamed to ``<out>.<hash of that identity>``; a folder that was renamed earlier and has this identity is
    renamed back.

    Returns:
        The new place of the other folder, if there was one.

    Raises:
        ProxymaskError: another process writes ``out``, or it cannot be renamed.
    """
    wanted, aside = settings_hash(identity), None
    have = found_identity(out)
    if have is not None and settings_hash(have) != wanted:
        aside = _put_aside(out, settings_hash(have))
    if not out.exists() or have is None:
        for earlier in sorted(out.parent.glob(f"{glob.escape(out.name)}.*")):  # the name may hold the hash of an older version's settings
            identity_there = found_identity(earlier)
            if identity_there is not None and settings_hash(identity_there) == wanted:
                if out.exists():  # a training that ended before its first checkpoint
                    aside = _put_aside(out, "unfinished")
                os.replace(earlier, out)
                break
    return aside


def _put_aside(out: Path, suffix: str) -> Path:
    """Rename a run folder to ``<out>.<suffix>``, or to the first free ``<out>.<suffix>-<number>``."""
    aside = out.with_name(f"{out.name}.{suffix}")
    if aside.exists():
        aside = free_name(aside.parent, aside.name)
    with folder_lock(out):
        os.replace(out, aside)
        (aside / LOCK).unlink()
    return aside


def check_out(out: Path) -> None:
    """A :class:`ProxymaskError` where ``out`` is a file, or a folder that is not a run folder."""
    if out.exists() and not out.is_dir():
        raise ProxymaskError(f"{out} is a file: --out names a folder")
    foreign = [entry.name for entry in out.iterdir() if not entry.name.startswith(OURS)] if out.is_dir() else []
    if foreign:
        raise ProxymaskError(f"{out} holds something else ({foreign[0]}): choose another --out")


def found_identity(out: Path) -> dict[str, Any] | None:
    """The identity of the stage in ``out``: from its mark, or from its newest readable checkpoint if it is not finished."""
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


def as_json(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity as it is read back from JSON."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in identity.items()}
