"""The one training loop, shared by every stage.

A stage owns networks and optimisers and says what one step is; the loop owns everything else: precision, gradient
accumulation, processes, non-finite steps, EMA, checkpoints, resume, logs and pictures.

Exact resume: all randomness of a step is derived from ``(seed, step)``, so the state of a run is its tensors and its
step number. Several processes: the *full* batch is drawn on every process and each takes its share, and gradients are
averaged, so that two processes do what one would.
"""

import dataclasses
import errno
import json
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
import torch.distributed as dist
from PIL import Image
from torch import nn

from ..core import legacy
from ..core.device import autocast, resolve_device, resolve_precision
from ..core.errors import ProxymaskError
from ..core.files import load_tensors, read_json, save_tensors, write_json
from ..core.seeding import derive_rng, derive_seed

CHECKPOINT_FORMAT = 1
MAX_BAD_STEPS = 25  # in a row, before a run is given up


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """How long and how to run; the same for all stages."""

    steps: int = 1000
    """Optimisation steps in all. A resumed run goes on to this number."""
    batch: int = 16
    """Samples a step, over all processes and parts of the batch."""
    accumulate: int = 1
    """Parts into which each process splits its batch, one after the other, to save memory."""
    seed: int = 0
    """Seed of the whole run."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda or mps."""
    precision: str = "auto"
    """Type of the computation: auto, fp32 or bf16."""
    ema_samples: float = 10_000
    """Half-life of the moving average of the weights, in samples (StyleGAN2: 10,000)."""
    ema_rampup: float = 0.05
    """Most of that half-life, as a share of the samples seen so far, so that short runs average too (StyleGAN2: 0.05)."""
    log_every: int = 50
    """Steps between lines of stats.jsonl."""
    checkpoint_every: int = 1000
    """Steps between checkpoints."""
    grid_every: int = 1000
    """Steps between picture grids. 0: none."""
    keep: int = 2
    """Newest checkpoints that are kept."""
    tensorboard: bool = True
    """Also write events for TensorBoard."""


class Stage(Protocol):
    """What the loop needs of a stage."""

    name: str
    modules: dict[str, nn.Module]
    """Everything that trains, by name."""
    optimizers: dict[str, torch.optim.Optimizer]

    @property
    def averaged(self) -> tuple[str, ...]:
        """Names in ``modules`` of which a moving average is kept."""
        ...

    def step(self, run: "Run") -> None:
        """One optimisation step, by means of ``run``."""
        ...

    def grid(self, run: "Run") -> Image.Image | None:
        """A picture that shows how far training has come."""
        ...


class Run:
    """What a stage may use during a step: randomness, precision, :meth:`update`, :meth:`log`, the averaged networks."""

    def __init__(self, config: LoopConfig, stage: Stage) -> None:
        self.config, self.stage = config, stage
        self.device = resolve_device(config.device)
        self.dtype = resolve_precision(config.precision, self.device)
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        if config.batch % (self.world * config.accumulate):
            raise ProxymaskError(f"batch {config.batch} must be a multiple of processes x accumulate = {self.world} x {config.accumulate}")
        self.index = 0
        self.bad_steps = 0
        self.bad_in_row: dict[str, int] = {}
        self.averages: dict[str, nn.Module] = {}
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def rng(self, purpose: str) -> torch.Generator:
        """A generator that depends on the seed, the step and ``purpose`` only (the same on every process)."""
        return derive_rng(self.config.seed, self.index, purpose)

    def local_shard(self, full: torch.Tensor) -> torch.Tensor:
        """This process' part of something drawn for the full batch, on the device."""
        size = full.shape[0] // self.world
        return full[self.rank * size : (self.rank + 1) * size].to(self.device)

    def microbatches(self, *tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        """Split this process' part into the accumulation rounds."""
        yield from zip(*(t.chunk(self.config.accumulate) for t in tensors), strict=True)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean over all processes of a statistic without gradient."""
        if self.world == 1:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.world

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Autocast to the run's precision."""
        with autocast(self.device, self.dtype):
            yield

    def log(self, name: str, value: torch.Tensor | float) -> None:
        """Add to the mean that the next line of stats.jsonl reports under ``name``."""
        number = float(value.detach()) if isinstance(value, torch.Tensor) else float(value)
        if math.isfinite(number):
            self._sums[name] = self._sums.get(name, 0.0) + number
            self._counts[name] = self._counts.get(name, 0) + 1

    def take_stats(self) -> dict[str, float]:
        """The means since the last call."""
        means = {k: self._sums[k] / self._counts[k] for k in sorted(self._sums)}
        self._sums, self._counts = {}, {}
        return means

    def update(self, optimizer: str, losses: Callable[[], Iterator[torch.Tensor]]) -> bool:
        """Zero gradients, run backward on every loss (one an accumulation round), average over processes, step.

        A step whose loss or gradient is not finite is skipped and counted, and weights and buffers stay as they were; after
        25 in a row of one optimiser the run stops (:class:`ProxymaskError`), its last checkpoint being good.
        """
        buffers = [b for module in self.stage.modules.values() for b in module.buffers()]  # running means follow the forward pass
        before = [b.clone() for b in buffers]
        chosen = self.stage.optimizers[optimizer]
        parameters = [p for group in chosen.param_groups for p in group["params"]]
        chosen.zero_grad(set_to_none=True)
        finite = True
        for loss in losses():
            finite = finite and bool(torch.isfinite(loss.detach()))
            (loss / self.config.accumulate).backward()
        grads = [p.grad for p in parameters if p.grad is not None]
        if self.world > 1:
            flag = torch.tensor([1.0 if finite else 0.0], device=self.device)
            dist.all_reduce(flag, op=dist.ReduceOp.MIN)
            finite = bool(flag.item() > 0)
            flat = torch.cat([g.flatten() for g in grads])
            dist.all_reduce(flat)
            flat /= self.world
            for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
                grad.copy_(part.view_as(grad))
        norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in grads])) if grads else torch.zeros(())
        if not finite or not bool(torch.isfinite(norm)):
            chosen.zero_grad(set_to_none=True)
            for buffer, old in zip(buffers, before, strict=True):
                buffer.copy_(old)
            self.bad_steps += 1
            self.bad_in_row[optimizer] = self.bad_in_row.get(optimizer, 0) + 1
            if self.bad_in_row[optimizer] >= MAX_BAD_STEPS:
                raise ProxymaskError(
                    f"{self.stage.name}: {MAX_BAD_STEPS} steps in a row were not finite; the last checkpoint is good: "
                    "resume from it with a lower learning rate or --precision fp32"
                )
            return False
        self.bad_in_row[optimizer] = 0
        self.log(f"grad_norm/{optimizer}", norm)
        chosen.step()
        return True


def set_cosine_rate(optimizer: torch.optim.Optimizer, rate: float, index: int, steps: int, warmup: int = 1) -> None:
    """Set the learning rate of step ``index`` of ``steps``: up to ``rate`` over ``warmup`` steps, and down to nothing as a cosine.

    It follows from the step alone, so that a resumed run has it right.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * min(index / steps, 1.0)))
    for group in optimizer.param_groups:
        group["lr"] = rate * min(1.0, (index + 1) / warmup) * cosine


def all_parameters_bytes(stage: Stage) -> int:
    """Bytes of weights in ``stage.modules``."""
    return sum(t.numel() * t.element_size() for m in stage.modules.values() for t in m.state_dict().values())


@torch.no_grad()
def _update_average(run: Run) -> None:
    seen = (run.index + 1) * run.config.batch
    half_life = min(run.config.ema_samples, seen * run.config.ema_rampup)
    beta = 0.5 ** (run.config.batch / max(half_life, 1e-8))
    for name, average in run.averages.items():
        source = run.stage.modules[name]
        for target, value in zip(average.parameters(), source.parameters(), strict=True):
            target.lerp_(value, 1 - beta)
        for kept, buffer in zip(average.buffers(), source.buffers(), strict=True):
            kept.copy_(buffer)


def _state(run: Run) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for name, module in run.stage.modules.items():
        tensors |= {f"module.{name}.{k}": v for k, v in module.state_dict().items()}
    for name, module in run.averages.items():
        tensors |= {f"average.{name}.{k}": v for k, v in module.state_dict().items()}
    for name, optimizer in run.stage.optimizers.items():
        for index, slots in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{name}.{index}.{slot}": torch.as_tensor(v) for slot, v in slots.items()}
    return tensors


def _restore(run: Run, tensors: dict[str, torch.Tensor]) -> None:
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


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints in a run folder, oldest first."""
    return sorted(p for p in folder.glob("checkpoint-*") if p.suffix != ".tmp" and (p / "state.json").is_file())


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    """Turn "no space left" into a :class:`ProxymaskError` that says what is still there."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        have = checkpoints(folder)
        kept = f"the last checkpoint is whole: {have[-1]}" if have else "there is no checkpoint yet"
        raise ProxymaskError(f"no space left on the disk of {folder} ({kept}); free some and run the same command again") from None


def save_checkpoint(run: Run, folder: Path, identity: dict[str, Any]) -> Path:
    """Write a checkpoint under a temporary name, then rename: what is there is always whole."""
    final = folder / f"checkpoint-{run.index:08d}"
    temporary = final.with_name(final.name + ".tmp")
    if temporary.exists():
        shutil.rmtree(temporary)
    with _full_disk(folder):
        try:
            temporary.mkdir(parents=True)
            save_tensors(temporary / "state.safetensors", _state(run))
            state = {"format": CHECKPOINT_FORMAT, "step": run.index, "bad_steps": run.bad_steps, "identity": identity}
            write_json(temporary / "state.json", state)
            if final.exists():
                shutil.rmtree(final)
            os.replace(temporary, final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    for old in checkpoints(folder)[: -run.config.keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_checkpoint(run: Run, folder: Path, identity: dict[str, Any]) -> bool:
    """Restore the newest readable checkpoint of ``folder``; a damaged one is named and the one before is taken.

    Returns:
        Whether there was one.

    Raises:
        ProxymaskError: none of those there can be read; another run's; another format; networks of another shape.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            state = read_json(path / "state.json")
            tensors = legacy.run_tensors(load_tensors(path / "state.safetensors"))
        except ProxymaskError as error:
            print(f"{error}; trying the checkpoint before it", file=sys.stderr)
            continue
        if state.get("format") != CHECKPOINT_FORMAT:
            raise ProxymaskError(
                f"{path} has checkpoint format {state.get('format')}, this version reads {CHECKPOINT_FORMAT}: start a new run folder"
            )
        old = legacy.stage_settings(run.stage.name, state["identity"])
        changed = sorted(k for k in identity.keys() | old.keys() if identity.get(k) != old.get(k))
        if changed:
            what = ", ".join(f"{k}: {old.get(k)} -> {identity.get(k)}" for k in changed[:4])
            raise ProxymaskError(f"{folder} holds a run with other settings ({what}); use the same settings or another --out")
        try:
            _restore(run, tensors)
        except (KeyError, RuntimeError, ValueError) as error:
            raise ProxymaskError(
                f"{path} does not fit these networks ({str(error).splitlines()[0]}); use the same settings or another --out"
            ) from None
        run.index, run.bad_steps = int(state["step"]), int(state["bad_steps"])
        return True
    if found:
        raise ProxymaskError(
            f"no checkpoint in {folder} can be read; remove its checkpoint-* folders to start the run over, or use another --out"
        )
    return False


class Stopped(ProxymaskError):
    """Training was stopped by the user; everything is saved."""


@contextmanager
def _stop_flag() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a flag read between steps; a second one interrupts at once."""
    stopped = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True

    try:
        previous = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are somebody else's business
        previous = {}
    try:
        yield lambda: stopped
    finally:
        for number, old in previous.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


def train(
    stage: Stage,
    config: LoopConfig,
    out: Path,
    *,
    identity: dict[str, Any] | None = None,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
) -> Run:
    """Run ``stage`` for ``config.steps`` steps in the folder ``out``, going on from its newest checkpoint if there is one.

    Args:
        stage: networks, optimisers and one step; its modules are moved to the device here.
        config: see :class:`LoopConfig`.
        out: run folder: ``stats.jsonl``, ``grids/``, ``events.*`` and ``checkpoint-*``.
        identity: settings that must be the same for a run to be continued (with the batch and the seed).
        progress: called after every step with (step, steps, latest means).

    Returns:
        The finished :class:`Run`; ``run.averages`` holds the averaged networks.

    Raises:
        Stopped: Ctrl-C or SIGTERM, after a checkpoint.
        ProxymaskError: full disk, another run in ``out``, too many non-finite steps.
    """
    from copy import deepcopy

    identity = {**(identity or {}), "stage": stage.name, "batch": config.batch, "seed": config.seed}
    identity = json.loads(json.dumps(identity))
    run = Run(config, stage)
    main = run.rank == 0
    channels_last = run.device.type != "mps"
    for module in stage.modules.values():
        module.to(run.device)
        if channels_last:
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run.averages = {name: deepcopy(stage.modules[name]).requires_grad_(False).eval() for name in stage.averaged}
    if main:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProxymaskError(f"cannot make the run folder {out}: {error.strerror}") from None
    resumed = load_checkpoint(run, out, identity)
    if main and not resumed:
        (out / "stats.jsonl").unlink(missing_ok=True)
    if main and resumed:
        _drop_later_stats(out / "stats.jsonl", run.index)
    writer = _summary_writer(out) if main and config.tensorboard else None
    latest: dict[str, float] = {}
    began, began_at, elapsed_before = time.time(), run.index, _elapsed(out / "stats.jsonl")
    saved_at = run.index if resumed else -1
    with _full_disk(out), _stop_flag() as stop_asked:
        try:
            while run.index < config.steps:
                torch.manual_seed(derive_seed(config.seed, run.index, "global", run.rank))
                stage.step(run)
                _update_average(run)
                run.index += 1
                if main and (run.index % config.log_every == 0 or run.index == config.steps):
                    latest = run.take_stats()
                    spent = time.time() - began
                    line = {
                        "step": run.index,
                        "samples": run.index * config.batch,
                        "seconds": round(elapsed_before + spent, 2),
                        "samples_per_second": round((run.index - began_at) * config.batch / max(spent, 1e-9), 2),
                        "bad_steps": run.bad_steps,
                        **{k: round(v, 6) for k, v in latest.items()},
                    }
                    with (out / "stats.jsonl").open("a") as handle:
                        handle.write(json.dumps(line) + "\n")
                    if writer is not None:
                        for key, value in latest.items():
                            writer.add_scalar(key, value, run.index)
                        writer.flush()
                if main and config.grid_every and (run.index % config.grid_every == 0 or run.index == config.steps):
                    with torch.no_grad():
                        picture = stage.grid(run)
                    if picture is not None:
                        (out / "grids").mkdir(exist_ok=True)
                        picture.save(out / "grids" / f"{run.index:08d}.png")
                if main and (run.index % config.checkpoint_every == 0 or run.index == config.steps):
                    save_checkpoint(run, out, identity)
                    saved_at = run.index
                if main and progress is not None:
                    progress(run.index, config.steps, latest)
                if _agree(stop_asked(), run):
                    if main and saved_at != run.index:
                        save_checkpoint(run, out, identity)
                    _agree(True, run)  # the others wait: a launcher ends all processes when the first one leaves
                    break
        finally:
            if writer is not None:
                writer.close()
    if run.index < config.steps:
        raise Stopped(f"{stage.name}: stopped at step {run.index} of {config.steps}; run the same command again to go on")
    return run


def _agree(flag: bool, run: Run) -> bool:
    """Whether any process was asked to stop, so that all stop at the same step."""
    if run.world == 1:
        return flag
    value = torch.tensor([1.0 if flag else 0.0], device=run.device)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value.item() > 0)


def _elapsed(stats: Path) -> float:
    """Seconds already spent, from the last whole line of stats.jsonl."""
    lines = _stat_lines(stats)
    return float(lines[-1]["seconds"]) if lines else 0.0


def _stat_lines(stats: Path) -> list[dict[str, Any]]:
    out = []
    if stats.is_file():
        for line in stats.read_text().splitlines():
            try:
                out.append(json.loads(line))
            except json.JSONDecodeError:  # a line cut short by a kill
                continue
    return out


def _drop_later_stats(stats: Path, step: int) -> None:
    """A killed run may have logged past its last checkpoint; those steps are done again."""
    lines = [line for line in _stat_lines(stats) if line["step"] <= step]
    stats.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _summary_writer(out: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(out))
