"""Checkpoints of a training run: ``checkpoint-<step>/`` with ``state.safetensors`` (all tensors) and ``state.json`` (step, identity).

A checkpoint is written under a temporary name and then renamed, so that whatever is there is complete.
"""

import errno
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from ..core import legacy
from ..core.differences import differences
from ..core.errors import ProxymaskError
from ..core.files import load_tensors, read_json, save_tensors, write_json

CHECKPOINT_FORMAT = 1
NAME = re.compile(r"checkpoint-\d{8,}(\.tmp)?")


class Trained(Protocol):
    """The part of a stage that is stored."""

    name: str
    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]


class Resumable(Protocol):
    """The part of a run that is stored."""

    index: int
    counters: dict[str, Any]
    averages: dict[str, nn.Module]

    @property
    def stage(self) -> Trained:
        """Networks and optimisers."""
        ...


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints in a run folder, oldest first."""
    named = (path for path in folder.glob("checkpoint-*") if NAME.fullmatch(path.name) and path.suffix != ".tmp")  # no copies of a user
    return sorted(path for path in named if (path / "state.json").is_file())


def steps_done(folder: Path) -> int:
    """The step of the newest checkpoint in a run folder whose ``state.json`` can be read, 0 without one."""
    for path in reversed(checkpoints(folder)):
        try:
            return int(read_json(path / "state.json")["step"])
        except (ProxymaskError, KeyError, TypeError, ValueError):
            continue
    return 0


@contextmanager
def explain_full_disk(folder: Path) -> Iterator[None]:
    """Turn "no space left" into a :class:`ProxymaskError` that names the last complete checkpoint."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        have = checkpoints(folder)
        kept = f"the last checkpoint is whole: {have[-1]}" if have else "there is no checkpoint yet"
        raise ProxymaskError(f"no space left on the disk of {folder} ({kept}); free some and run the same command again") from None


def save_checkpoint(run: Resumable, folder: Path, identity: dict[str, Any], keep: int, every: int) -> Path:
    """Write a checkpoint of ``run``, then remove all but that one and the newest ``keep`` - 1 whose steps are multiples of ``every``.

    So one that was written at a stop, between two that were due, goes as soon as the next one is there, and a run that was stopped
    leaves the checkpoints of one that was not.
    """
    final = folder / f"checkpoint-{run.index:08d}"
    temporary = final.with_name(final.name + ".tmp")
    if temporary.exists():
        shutil.rmtree(temporary)
    with explain_full_disk(folder):
        try:
            temporary.mkdir(parents=True)
            save_tensors(temporary / "state.safetensors", _collect(run))
            state = {"format": CHECKPOINT_FORMAT, "step": run.index, **run.counters, "identity": identity}
            write_json(temporary / "state.json", state)
            if final.exists():
                shutil.rmtree(final)
            os.replace(temporary, final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    # one of a later step is damaged, as this run did not go on from it
    due = [path for path in checkpoints(folder) if path.name < final.name and int(path.name.partition("-")[2]) % every == 0]
    kept = [*due[max(0, len(due) - keep + 1) :], final]
    for old in folder.glob("checkpoint-*"):  # also what is left of one whose writing or removal was interrupted
        if old not in kept and NAME.fullmatch(old.name):
            shutil.rmtree(old, ignore_errors=True)
    return final


def load_checkpoint(run: Resumable, folder: Path, identity: dict[str, Any]) -> bool:
    """Restore the newest readable checkpoint in ``folder``. A damaged one is reported and the one before it is tried.

    Returns:
        Whether there was one.

    Raises:
        ProxymaskError: none of the checkpoints can be read, another identity, another format, networks of another shape.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            state = read_json(path / "state.json")
            tensors = legacy.run_tensors(load_tensors(path / "state.safetensors"))
        except ProxymaskError as error:
            warnings.warn(f"{error.message}; trying the checkpoint before it", stacklevel=2)
            continue
        if state.get("format") != CHECKPOINT_FORMAT:
            raise ProxymaskError(
                f"{path} has checkpoint format {state.get('format')}, this version reads {CHECKPOINT_FORMAT}: start a new run folder"
            )
        old = legacy.stage_settings(run.stage.name, state["identity"])
        what = differences(old, identity)
        if what:
            raise ProxymaskError(f"{folder} holds a run with other settings ({what}); use the same settings or another --out")
        try:
            _restore(run, tensors)
        except (KeyError, RuntimeError, ValueError) as error:
            raise ProxymaskError(
                f"{path} does not fit these networks ({str(error).splitlines()[0]}); use the same settings or another --out"
            ) from None
        run.index, run.counters = int(state["step"]), state
        return True
    if found:
        raise ProxymaskError(
            f"no checkpoint in {folder} can be read; remove its checkpoint-* folders to start the run over, or use another --out"
        )
    return False


def _collect(run: Resumable) -> dict[str, torch.Tensor]:
    """All tensors of a run under ``module.NAME.*``, ``average.NAME.*`` and ``optimizer.NAME.*``."""
    tensors: dict[str, torch.Tensor] = {}
    for name, module in run.stage.modules.items():
        tensors |= {f"module.{name}.{k}": v for k, v in module.state_dict().items()}
    for name, module in run.averages.items():
        tensors |= {f"average.{name}.{k}": v for k, v in module.state_dict().items()}
    for name, optimizer in run.stage.optimizers.items():
        for index, slots in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{name}.{index}.{slot}": torch.as_tensor(v) for slot, v in slots.items()}
    return tensors


def _restore(run: Resumable, tensors: dict[str, torch.Tensor]) -> None:
    """Load what :func:`_collect` returned into the networks and optimisers of ``run``."""

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

    for kind, modules in (("module", run.stage.modules), ("average", run.averages)):
        for name, module in modules.items():
            module.load_state_dict(legacy.model_tensors(type(module).__name__, part(f"{kind}.{name}.")))
    for name, optimizer in run.stage.optimizers.items():
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in part(f"optimizer.{name}.").items():
            index, slot = key.split(".", 1)
            state.setdefault(int(index), {})[slot] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
