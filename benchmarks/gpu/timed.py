"""Stages of a training that end in time: each gets a share of what is left, and its batch and steps are chosen by measuring some steps.

A stage that has used its share is finished with what it has. Where the time of a call ends before, the next call goes on.
"""

import dataclasses
import platform
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import torch
from carried import pack, raise_rates
from composed import ComposedAvatars
from torch import nn

from proxymask.core.config_model import ConfigModel
from proxymask.core.files import load_tensors, read_json, write_json
from proxymask.models.detail_network import DetailNetwork
from proxymask.models.discriminator import Discriminator
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.oasis_mapper import OasisMapper
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.rearranger import Rearranger
from proxymask.models.segmentation_nets import UNetSegmenter
from proxymask.models.split_generator import SplitGenerator
from proxymask.models.stylegan2 import Generator
from proxymask.training.checkpoint import checkpoints
from proxymask.training.loop import LoopConfig, Run, Stage, Stopped, place, train
from proxymask.training.presets import Preset

SHARES = {"generator": 54, "clusters": 3, "rearranger": 17, "annotator": 5, "segmenter": 4, "mapper": 11, "detail": 6}
"""Stages in their order, with the share of the time that each gets."""
NETWORKS: dict[str, dict[str, type[ConfigModel]]] = {
    "generator": {"generator": Generator, "discriminator": Discriminator},
    "clusters": {"clusters": ProxyClusters},
    "rearranger": {"rearranger": Rearranger, "discriminator": Discriminator},
    "annotator": {"net": UNetSegmenter},
    "segmenter": {"segmenter": FewShotSegmenter},
    "mapper": {"mapper": OasisMapper},
    "detail": {"detail": DetailNetwork},
}
PROBED = 1000  # steps of the schedule from which the mean time of a step is taken
PLANNED = 0.93  # share of a stage's time that its steps are planned to take
BETTER = 1.25  # rate of a twice as large batch, as a multiple of the smaller one's, from which the larger one is taken
EXPORTED = 90.0  # seconds of training between two checkpoints that are also written to --out

Make = Callable[[LoopConfig], Stage]


class OutOfTime(Exception):
    """The time of this call is used up; the next one goes on."""


class Job:
    """One call: its folders, its clock, and what was found out.

    Args:
        work: folder of the stages.
        out: where the results are written that outlast the machine.
        preset: settings of all stages.
        seconds: time of this call, all writing included.
        reserve: of it, for the bundle, the sheet and the last results.
        later: seconds of training that later calls will have.
        device: where to train.
    """

    def __init__(self, work: Path, out: Path, preset: Preset, seconds: float, reserve: float, later: float, device: torch.device) -> None:
        self.work, self.out, self.preset, self.later, self.device = work, out, preset, later, device
        self.began = time.monotonic()
        self.end = self.began + seconds - reserve
        self.pool: ComposedAvatars | None = None
        self.networks: dict[str, dict[str, ConfigModel]] = {}
        self.machine = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
        self.report: dict[str, Any] = read_json(work / "report.json") if (work / "report.json").is_file() else {"stages": {}}

    def say(self, text: str) -> None:
        """Print a line with the seconds since the start."""
        print(f"[{time.monotonic() - self.began:6.1f} s] {text}", flush=True)

    def is_done(self, stage: str) -> bool:
        """Whether a stage is finished."""
        return (self.work / stage / "done.json").is_file()

    def deadline(self, stage: str) -> float:
        """When a stage has used its share of the time that is left; it may lie behind the end of this call."""
        left = {name: float(share) for name, share in SHARES.items() if not self.is_done(name)}
        planned = self.report["stages"].get(stage, {}).get("steps", 0)
        if planned:  # it was begun in an earlier call
            left[stage] *= max(0.05, 1 - steps_of(self.work / stage) / planned)
        now = time.monotonic()
        return now + max(0.0, self.end - now + self.later) * left[stage] / sum(left.values())

    def check_time(self) -> None:
        """Raise :class:`OutOfTime` where this call's time is used up."""
        if time.monotonic() >= self.end:
            raise OutOfTime

    def save(self, stage: str, networks: dict[str, nn.Module], **about: Any) -> None:
        """Write the networks of a finished stage as float16 and read them again, so that what follows is made with what is shipped."""
        folder = self.work / stage
        for name in NETWORKS[stage]:
            network = networks[name]
            assert isinstance(network, ConfigModel)
            network.save_pretrained(folder / name, half=True)
        self.report["stages"].setdefault(stage, {}).update(about)
        write_json(folder / "done.json", about)
        for checkpoint in checkpoints(folder):
            shutil.rmtree(checkpoint)
        self.load(stage)
        self.export()

    def load(self, stage: str) -> None:
        """Read the networks of a finished stage."""
        self.networks[stage] = {name: kind.from_pretrained(self.work / stage / name) for name, kind in NETWORKS[stage].items()}

    def get(self, stage: str, name: str | None = None) -> Any:
        """A network of a finished stage, by default that of the stage's name."""
        return self.networks[stage][name or stage]

    def split(self) -> SplitGenerator:
        """The finished generator, frozen and split."""
        return SplitGenerator(self.get("generator"), self.preset.cut).eval().requires_grad_(False)

    def export(self) -> None:
        """Write all results to ``out``."""
        write_json(self.work / "report.json", self.report)
        paths = pack(self.work, self.out)
        write_json(self.out / "report.json", self.report)
        if (self.work / "sheet.jpg").is_file():
            shutil.copyfile(self.work / "sheet.jpg", self.out / "sheet.jpg")
        self.say(f"written: {sum(path.stat().st_size for path in paths) / 2**20:.1f} MiB in {len(paths)} files")


def steps_of(folder: Path) -> int:
    """The step of the newest checkpoint."""
    found = checkpoints(folder)
    return int(read_json(found[-1] / "state.json")["step"]) if found else 0


def in_plain_format(stage: Stage) -> Stage:
    """A stage whose networks are kept in the contiguous memory format instead of the loop's channels-last."""
    step = stage.step

    def plain_step(run: Run) -> None:
        for module in stage.modules.values():
            module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        step(run)

    stage.step = plain_step  # type: ignore[method-assign]
    return stage


def seconds_a_step(stage: Stage, loop: LoopConfig) -> float:
    """Mean time of a step, over the kinds of steps of the whole schedule. The stage is trained a little."""
    run = Run(loop, stage)
    place(stage, run.device)
    order = [stage.step_kind(index) for index in range(loop.steps)]
    firsts: dict[Hashable, int] = {}
    for index, kind in enumerate(order):
        firsts.setdefault(kind, index)

    def spent(index: int) -> float:
        run.index = index
        began = time.perf_counter()
        stage.step(run)
        if run.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    seconds = {}
    for kind, index in firsts.items():
        spent(index)  # the first one also chooses algorithms and allocates
        seconds[kind] = spent(index)
    counts = Counter(order)
    return sum(seconds[kind] * count for kind, count in counts.items()) / len(order)


def measured(job: Job, make: Make, loop: LoopConfig, larger: bool) -> tuple[LoopConfig, float, bool]:
    """The loop with its batch, the seconds of a step, and whether the contiguous format is the faster one.

    The format is chosen in the generator stage, which has the time for it, and kept.
    """
    trial = dataclasses.replace(loop, steps=PROBED)
    plain = bool(job.report["stages"].get("generator", {}).get("plain", False))
    seconds = seconds_a_step(in_plain_format(make(trial)) if plain else make(trial), trial)
    if job.device.type == "cuda" and larger:
        other = seconds_a_step(in_plain_format(make(trial)), trial)
        job.say(f"  a step of {loop.batch}: {seconds * 1000:.0f} ms channels-last, {other * 1000:.0f} ms contiguous")
        seconds, plain = min(seconds, other), other < seconds
    if larger:
        twice = dataclasses.replace(trial, batch=2 * loop.batch)
        try:
            more = seconds_a_step(in_plain_format(make(twice)) if plain else make(twice), twice)
        except torch.OutOfMemoryError:
            more = float("inf")
        job.say(f"  pictures a second: {loop.batch / seconds:.0f} in batches of {loop.batch}, {twice.batch / more:.0f} in {twice.batch}")
        if 2 * seconds / more > BETTER:
            loop, seconds = dataclasses.replace(loop, batch=twice.batch), more
    if job.device.type == "cuda":
        torch.cuda.empty_cache()
    return loop, seconds, plain


class Clock:
    """Called after every step: ends the training in time, and writes the results from time to time."""

    def __init__(self, job: Job, name: str, deadline: float, every: int) -> None:
        self.job, self.name, self.deadline, self.every = job, name, deadline, every
        self.why, self.before, self.said = "", time.monotonic(), time.monotonic()

    def __call__(self, step: int, steps: int, means: dict[str, float]) -> None:
        now = time.monotonic()
        step_time, self.before = now - self.before, now
        if now - self.said > 20:
            self.said = now
            shown = ", ".join(f"{name} {value:.3g}" for name, value in means.items() if not name.startswith("grad"))
            self.job.say(f"  {self.name}: step {step} of {steps}; {shown}")
        if step == steps or self.why:
            return
        if now + step_time >= min(self.deadline, self.job.end):
            self.why = "share" if self.deadline <= self.job.end else "call"
            signal.raise_signal(signal.SIGINT)  # the loop writes a checkpoint and stops
        elif step % self.every == 0:  # the loop has just written a checkpoint
            self.job.export()
            self.before = time.monotonic()


def train_stage(job: Job, name: str, loop: LoopConfig, make: Make, larger: bool = False) -> tuple[Stage, dict[str, nn.Module]]:
    """Train a stage for its share of the time.

    Args:
        loop: batch and seed.
        make: makes the untrained stage; called several times.
        larger: whether a twice as large batch may be taken.

    Returns:
        The stage and its networks, averaged where an average is kept.

    Raises:
        OutOfTime: the end of this call came first.
    """
    job.check_time()
    folder, deadline = job.work / name, job.deadline(name)
    loop = dataclasses.replace(loop, device=str(job.device), tensorboard=False, grid_every=0, log_every=20, keep=1)
    began, done = time.monotonic(), steps_of(folder)
    if done:  # a run goes on with its batch
        before = job.report["stages"][name]
        loop = dataclasses.replace(loop, batch=before["batch"])
        if before["machine"] == job.machine:
            seconds, plain = before["ms_a_step"] / 1000, before["plain"]
        else:
            loop, seconds, plain = measured(job, make, loop, larger=False)
    else:
        loop, seconds, plain = measured(job, make, loop, larger)
    left = max(0.0, deadline - time.monotonic())
    steps = done + max(1, int(PLANNED * left / seconds))
    every = max(1, min(steps, int(EXPORTED / seconds)))
    loop = dataclasses.replace(loop, steps=steps, checkpoint_every=every)
    found = {"steps": steps, "batch": loop.batch, "ms_a_step": round(1000 * seconds, 1), "plain": plain, "machine": job.machine}
    job.report["stages"].setdefault(name, {}).update(found)
    job.say(f"{name}: {steps - done} steps of {loop.batch} at {1000 * seconds:.0f} ms in {left:.0f} s, after {done}")
    stage = make(loop)
    if raise_rates(folder, stage.optimizers):
        job.say("  the optimisers start anew; the learning rates rise")
    if plain:
        in_plain_format(stage)
    clock = Clock(job, name, deadline, every)
    try:
        averages = train(stage, loop, folder, progress=clock).averages
    except Stopped:
        if clock.why != "share":
            raise OutOfTime from None
        averages = averages_in(folder, stage)
    job.report["stages"][name].update(steps=steps_of(folder) or steps, seconds=round(time.monotonic() - began, 1))
    return stage, {part: averages.get(part, module) for part, module in stage.modules.items()}


def averages_in(folder: Path, stage: Stage) -> dict[str, nn.Module]:
    """The averaged networks of the newest checkpoint, in the networks of ``stage`` themselves."""
    tensors = load_tensors(checkpoints(folder)[-1] / "state.safetensors")
    for name in stage.averaged:
        prefix = f"average.{name}."
        stage.modules[name].load_state_dict({key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)})
    return {name: stage.modules[name].eval() for name in stage.averaged}
