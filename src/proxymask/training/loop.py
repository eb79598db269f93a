"""The training loop of every stage, after StyleGAN2's recipe.

A stage owns networks and optimisers and defines one step. The loop does the rest: precision, gradient accumulation, several processes,
steps with non-finite gradients, moving averages of the weights, checkpoints, logs and sample grids.

Resuming is exact: all random numbers of a step are derived from ``(seed, step)``, so that a run is described by its tensors and its step.
Several processes do what one would: every process draws the *full* batch and takes its part of it, and gradients are averaged.

Shapes: B samples, C channels, H x W pixels.
"""

import copy
import dataclasses
import json
import math
import signal
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from PIL import Image
from torch import nn

from ..core.checks import BatchSize, Checked, Count, Natural, Range, Seed, Steps
from ..core.device import autocast, resolve_device, resolve_precision, to_device
from ..core.errors import ProxymaskError
from ..core.seeding import derive_rng, derive_seed
from .checkpoint import explain_full_disk, load_checkpoint, save_checkpoint
from .distributed import main_lock
from .stats import StatsLog

MAX_BAD_STEPS = 25  # steps in a row with non-finite gradients after which a run stops

Batch = TypeVar("Batch")
Progress = Callable[[int, int, dict[str, float]], None]
"""Called with (step, steps, latest means by name)."""


@dataclasses.dataclass(frozen=True)
class LoopConfig(Checked):
    """How long and how to run; the same for all stages."""

    steps: Steps = 1000
    """Optimisation steps in all. A resumed run goes on to this number."""
    batch: BatchSize = 16
    """Samples a step, over all processes and parts of the batch."""
    accumulate: BatchSize = 1
    """Parts into which each process splits its batch, one after the other, to save memory."""
    seed: Seed = 0
    """Seed of the whole run."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda or mps."""
    precision: str = "auto"
    """Type of the computation: auto, fp32 or bf16."""
    ema_samples: Annotated[float, Range(0)] = 10_000
    """Half-life of the moving average of the weights, in samples (StyleGAN2: 10,000)."""
    ema_rampup: Annotated[float, Range(0, 1000)] = 0.05
    """Upper limit of that half-life, as a share of the samples seen so far, so that short runs average too (StyleGAN2: 0.05)."""
    log_every: Count = 50
    """Steps between lines of stats.jsonl."""
    checkpoint_every: Count = 1000
    """Steps between checkpoints."""
    grid_every: Natural = 1000
    """Steps between picture grids. 0: none."""
    keep: Count = 2
    """Newest checkpoints that are kept."""
    tensorboard: bool = True
    """Also write events for TensorBoard."""

    def __post_init__(self) -> None:
        """Check every field, and that the batch has as many parts as it is split into."""
        super().__post_init__()
        if self.batch % self.accumulate:
            raise ProxymaskError(f"--batch {self.batch} must be a multiple of --accumulate {self.accumulate}")


class Stage(Protocol):
    """What the loop needs of a stage: networks, optimisers and one step."""

    name: str
    modules: dict[str, nn.Module]
    """Every network that is trained, and every buffer that is stored, by name."""
    optimizers: dict[str, torch.optim.Optimizer]

    @property
    def averaged(self) -> tuple[str, ...]:
        """Names in ``modules`` of which a moving average is kept."""
        ...

    def step_kind(self, index: int) -> Hashable:
        """Which losses and regularisers step ``index`` computes. Steps of equal kind take equally long."""
        ...

    def step(self, run: "Run") -> None:
        """One optimisation step, by means of ``run``."""
        ...

    def grid(self, run: "Run") -> Image.Image | None:
        """A picture of the progress so far, or None."""
        ...


class Run:
    """What a stage uses during a step: random numbers, precision, :meth:`update`, :meth:`log`, the averaged networks.

    Raises:
        ProxymaskError: the batch cannot be divided by processes times accumulation.
    """

    def __init__(self, config: LoopConfig, stage: Stage) -> None:
        self.config, self.stage = config, stage
        self.device = resolve_device(config.device)
        self.dtype = resolve_precision(config.precision, self.device)
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        if config.batch % (self.world * config.accumulate):
            parts = f"{self.world} x {config.accumulate}"
            raise ProxymaskError(f"--batch {config.batch} must be a multiple of processes x --accumulate = {parts}")
        self.index = 0
        self.bad_steps = 0
        self.bad_in_row: dict[str, int] = {}
        self.seconds = 0.0
        """Time that the steps took, over all sessions."""
        self.averages: dict[str, nn.Module] = {}
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def rng(self, purpose: str) -> torch.Generator:
        """A generator that depends on the seed, the step and ``purpose`` only; the same on every process."""
        return derive_rng(self.config.seed, self.index, purpose)

    def local_shard(self, full: torch.Tensor) -> torch.Tensor:
        """This process' part of a tensor (B, ...) that was drawn for the full batch, on the device."""
        size = full.shape[0] // self.world
        return full[self.rank * size : (self.rank + 1) * size].to(self.device)

    def microbatches(self, *tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        """Tensors (B, ...) of this process, split along B into ``accumulate`` parts."""
        yield from zip(*(t.chunk(self.config.accumulate) for t in tensors), strict=True)

    def microbatches_of(self, batch: Batch) -> Iterator[Batch]:
        """A dataclass or named tuple of tensors (B, ...), nested or not, split along B into ``accumulate`` parts."""
        yield from _split(batch, self.config.accumulate)

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
        """Add to the mean that the next line of stats.jsonl reports under ``name``; non-finite values are left out."""
        number = float(value.detach()) if isinstance(value, torch.Tensor) else float(value)
        if math.isfinite(number):
            self._sums[name] = self._sums.get(name, 0.0) + number
            self._counts[name] = self._counts.get(name, 0) + 1

    @property
    def counters(self) -> dict[str, Any]:
        """All numbers of the run that are no tensors, for a checkpoint; JSON values. A line of stats.jsonl so spans a stop."""
        logged = {"sums": self._sums, "counts": self._counts}
        return {"bad_steps": self.bad_steps, "bad_in_row": self.bad_in_row, "seconds": round(self.seconds, 2), "logged": logged}

    @counters.setter
    def counters(self, stored: Mapping[str, Any]) -> None:
        logged = stored.get("logged", {"sums": {}, "counts": {}})  # 0.1.0 stored the number of bad steps alone
        self.bad_steps, self.bad_in_row = int(stored["bad_steps"]), dict(stored.get("bad_in_row", {}))
        self.seconds = float(stored.get("seconds", 0.0))
        self._sums, self._counts = dict(logged["sums"]), dict(logged["counts"])

    def take_stats(self) -> dict[str, float]:
        """The means since the last call."""
        means = {k: self._sums[k] / self._counts[k] for k in sorted(self._sums)}
        self._sums, self._counts = {}, {}
        return means

    def update(self, optimizer: str, losses: Callable[[], Iterator[torch.Tensor]]) -> bool:
        """One optimiser step: backward through every loss (one a microbatch), gradients averaged over processes.

        A step with a non-finite loss or gradient is skipped and counted; weights and buffers stay as they were.

        Returns:
            Whether the weights were changed.

        Raises:
            ProxymaskError: 25 such steps in a row with this optimiser.
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
            finite = self._average_gradients(grads, finite)
        norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in grads])) if grads else torch.zeros(())
        if not finite or not bool(torch.isfinite(norm)):
            chosen.zero_grad(set_to_none=True)
            for buffer, old in zip(buffers, before, strict=True):
                buffer.copy_(old)
            self._count_bad_step(optimizer)
            return False
        self.bad_in_row[optimizer] = 0
        self.log(f"grad_norm/{optimizer}", norm)
        chosen.step()
        return True

    def _average_gradients(self, grads: list[torch.Tensor], finite: bool) -> bool:
        """Average ``grads`` over all processes, in place; returns whether the loss is finite on all of them."""
        flag = torch.tensor([1.0 if finite else 0.0], device=self.device)
        dist.all_reduce(flag, op=dist.ReduceOp.MIN)
        flat = torch.cat([g.flatten() for g in grads])
        dist.all_reduce(flat)
        flat /= self.world
        for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            grad.copy_(part.view_as(grad))
        return bool(flag.item() > 0)

    def _count_bad_step(self, optimizer: str) -> None:
        self.bad_steps += 1
        self.bad_in_row[optimizer] = self.bad_in_row.get(optimizer, 0) + 1
        if self.bad_in_row[optimizer] >= MAX_BAD_STEPS:
            also = ", or go on with --precision fp32" if self.dtype != torch.float32 else ""
            raise NotFinite(
                f"{self.stage.name}: {MAX_BAD_STEPS} steps in a row were not finite: train it again with a lower --learning-rate "
                f"in another --out{also}"
            )


class NotFinite(ProxymaskError):
    """A training whose losses or gradients are no numbers any more."""


def _split(value: Any, count: int) -> list[Any]:
    """A tensor, or a dataclass or named tuple of such values, in ``count`` parts along the first axis."""
    if isinstance(value, torch.Tensor):
        return list(value.chunk(count))
    fields = value if isinstance(value, tuple) else [getattr(value, field.name) for field in dataclasses.fields(value)]
    return [type(value)(*parts) for parts in zip(*(_split(field, count) for field in fields), strict=True)]


def set_cosine_rate(optimizer: torch.optim.Optimizer, rate: float, index: int, steps: int, warmup: int = 1) -> None:
    """Set the learning rate of step ``index`` of ``steps``: linear warm-up to ``rate`` over ``warmup`` steps, cosine decay to 0.

    It depends on the step alone, so that a resumed run has the same rate.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * min(index / steps, 1.0)))
    for group in optimizer.param_groups:
        group["lr"] = rate * min(1.0, (index + 1) / warmup) * cosine


def place(stage: Stage, device: torch.device) -> None:
    """Move the trained networks of ``stage`` to ``device``."""
    for module in stage.modules.values():
        to_device(module, device)


class Stopped(ProxymaskError):
    """Training was stopped by the user; everything is saved."""


def train(stage: Stage, config: LoopConfig, out: Path, *, identity: dict[str, Any] | None = None, progress: Progress | None = None) -> Run:
    """Run ``stage`` for ``config.steps`` steps in the folder ``out``, resuming from its newest checkpoint if there is one.

    Args:
        stage: networks, optimisers and one step; its networks are moved to the device here.
        config: see :class:`LoopConfig`.
        out: run folder, which gets ``stats.jsonl``, ``grids/``, ``events.*`` and ``checkpoint-*``.
        identity: settings that must be the same for a run to be resumed, besides the batch and the seed.
        progress: called after every step.

    Returns:
        The finished :class:`Run`; ``run.averages`` holds the averaged networks.

    Raises:
        Stopped: Ctrl-C or SIGTERM, after a checkpoint.
        ProxymaskError: full disk, another run or another process in ``out``, too many non-finite steps.
    """
    identity = {**(identity or {}), "stage": stage.name, "batch": config.batch, "seed": config.seed}
    with main_lock(out), explain_full_disk(out):
        return _train(stage, config, out, json.loads(json.dumps(identity)), progress)


def _train(stage: Stage, config: LoopConfig, out: Path, identity: dict[str, Any], progress: Progress | None) -> Run:
    run = Run(config, stage)
    main = run.rank == 0
    place(stage, run.device)
    run.averages = {name: copy.deepcopy(stage.modules[name]).requires_grad_(False).eval() for name in stage.averaged}
    saved_at = run.index if load_checkpoint(run, out, identity) else -1
    stats = StatsLog(out, run.index, config.batch, config.tensorboard, run.seconds) if main else None
    latest: dict[str, float] = {}
    with _stop_flag() as stop_requested:
        try:
            while run.index < config.steps:
                torch.manual_seed(derive_seed(config.seed, run.index, "global", run.rank))
                stage.step(run)
                _update_average(run)
                run.index += 1
                if stats is not None:
                    run.seconds = stats.seconds()
                    if _due(config.log_every, run):
                        latest = run.take_stats()
                        stats.write(run.index, run.bad_steps, latest)
                    if config.grid_every and _due(config.grid_every, run):
                        _save_grid(run, out)
                    if _due(config.checkpoint_every, run):
                        save_checkpoint(run, out, identity, config.keep, config.checkpoint_every)
                        saved_at = run.index
                    if progress is not None:
                        progress(run.index, config.steps, latest)
                if _any_process(stop_requested(), run):
                    if main and saved_at != run.index:
                        save_checkpoint(run, out, identity, config.keep, config.checkpoint_every)
                    _any_process(True, run)  # the others wait: a launcher ends all processes when the first one exits
                    break
        finally:
            if stats is not None:
                stats.close()
    if run.index < config.steps:
        raise Stopped(f"{stage.name}: stopped at step {run.index} of {config.steps}; run the same command again to go on")
    return run


def _due(every: int, run: Run) -> bool:
    """Whether something that is done every so many steps, and after the last one, is due after this step."""
    return run.index % every == 0 or run.index == run.config.steps


def _save_grid(run: Run, out: Path) -> None:
    with torch.no_grad():
        picture = run.stage.grid(run)
    if picture is not None:
        (out / "grids").mkdir(exist_ok=True)
        picture.save(out / "grids" / f"{run.index:08d}.png")


@torch.no_grad()
def _update_average(run: Run) -> None:
    """Exponential moving average of the weights with a half-life in samples; buffers are copied."""
    seen = (run.index + 1) * run.config.batch
    half_life = min(run.config.ema_samples, seen * run.config.ema_rampup)
    beta = 0.5 ** (run.config.batch / max(half_life, 1e-8))
    for name, average in run.averages.items():
        source = run.stage.modules[name]
        for target, value in zip(average.parameters(), source.parameters(), strict=True):
            target.lerp_(value, 1 - beta)
        for kept, buffer in zip(average.buffers(), source.buffers(), strict=True):
            kept.copy_(buffer)


@contextmanager
def _stop_flag() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a flag that is read between steps; a second one interrupts at once."""
    stopped = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True

    try:
        previous = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, where no handler can be set
        previous = {}
    try:
        yield lambda: stopped
    finally:
        for number, old in previous.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


def _any_process(flag: bool, run: Run) -> bool:
    """Whether ``flag`` is true on any process, so that all stop at the same step."""
    if run.world == 1:
        return flag
    value = torch.tensor([1.0 if flag else 0.0], device=run.device)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value.item() > 0)
