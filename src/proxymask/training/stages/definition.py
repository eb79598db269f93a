"""What every stage definition has: an identity, a run folder, and for trained stages the networks and the loop."""

import abc
import copy
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from ...conditions.base import Condition
from ...core.device import resolve_device
from ...core.hashing import short_hash
from ...core.seeding import derive_seed
from ...models.discriminator import Discriminator
from ...models.stylegan2 import Generator
from ..loop import LoopConfig, Progress, Stage
from ..run_dirs import Networks, acquire_run_dir, as_json, found_identity, identity_of, is_done, run_lock, run_stage

BATCH = 8  # samples a forward pass, outside of training


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StageDefinition(abc.ABC):
    """A stage with its inputs, which are the fields of the subclass."""

    name: ClassVar[str]

    @property
    @abc.abstractmethod
    def steps(self) -> int:
        """Steps of training; 0 for what is computed at once."""

    @property
    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """What must be the same for a run folder to be continued: settings, and hashes of the inputs."""

    @abc.abstractmethod
    def run(self, out: Path, progress: Progress | None = None) -> None:
        """Do the stage in the run folder ``out``, resuming after a stop."""

    def is_done(self, out: Path) -> bool:
        """Whether ``out`` holds this stage, finished and complete."""
        return is_done(out, self.identity, self.steps)

    def can_continue(self, out: Path) -> bool:
        """Whether ``out`` holds this stage, finished or not."""
        return found_identity(out) == as_json(self.identity)

    def acquire(self, out: Path) -> Path | None:
        """Rename a run folder of another identity (:func:`.run_dirs.acquire_run_dir`); returns its new place, if there was one."""
        return acquire_run_dir(out, self.identity)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainedStage(StageDefinition):
    """A stage that is trained by the loop. Its ``config`` is a field of the subclass."""

    config: Any
    loop: LoopConfig
    schedule: ClassVar[bool] = True
    """Whether a step depends on the number of steps, which is then part of the identity."""

    @property
    def steps(self) -> int:
        return self.loop.steps

    @property
    def device(self) -> torch.device:
        """Where it is trained."""
        return resolve_device(self.loop.device)

    @cached_property
    def identity(self) -> dict[str, Any]:
        return identity_of(self.config, self.loop, self.inputs(), self.schedule)

    def for_measuring(self) -> "TrainedStage":
        """The same stage with copies of what training changes."""
        return self

    @abc.abstractmethod
    def inputs(self) -> dict[str, Any]:
        """The part of the identity that names networks and data."""

    @abc.abstractmethod
    def build(self) -> Stage:
        """The networks, ready to be trained.

        Raises:
            ProxymaskError: inputs or settings that do not fit each other.
        """

    def finalize(self, stage: Any, networks: Networks) -> Networks:
        """The networks to be saved, given the trained ones by name."""
        return networks

    def save_more(self, out: Path) -> None:
        """Write the files other than networks of a finished stage; called on process 0."""

    def run(self, out: Path, progress: Progress | None = None) -> None:
        with run_lock(out):
            identity = self.identity  # of the inputs as they are before training
            stage = self.build()
            run_stage(stage, self.loop, out, identity, progress, lambda networks: self.finalize(stage, networks), self.save_more)


@contextmanager
def seeded(seed: int, *keys: int | str) -> Iterator[None]:
    """Initialise weights from ``(seed, keys)`` alone, so that they are the same on every process; other random numbers are unaffected."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, *keys))
        yield


def network_id(condition: Condition) -> dict[str, str]:
    """The extractor's network as part of an identity; empty where it is a published one."""
    found = condition.network_hash()
    return {} if found is None else {"extractor_network": found}


def hashes(**modules: nn.Module | None) -> dict[str, str]:
    """Short hashes of networks by name; "fresh" for None."""
    return {name: short_hash(module) for name, module in modules.items()}


def new_discriminator(generator: Generator, seed: int) -> Discriminator:
    """An untrained discriminator as wide as ``generator``."""
    same = {name: generator.config[name] for name in ("resolution", "img_channels", "channel_base", "channel_max", "conv_clamp", "start")}
    with seeded(seed, "init", "discriminator"):
        return Discriminator(**same)


def discriminator_to_train(given: Discriminator | None, generator: Generator, seed: int) -> Discriminator:
    """A copy of ``given``, whose weights are part of the stage's identity, or an untrained discriminator."""
    return new_discriminator(generator, seed) if given is None else copy.deepcopy(given)
