"""What ``fit`` is given, what it returns, and where it reports to."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Protocol

import tyro

from ...core.checks import Checked, Range, Seed
from ...core.device import DeviceName, Precision
from ..presets import DEFAULT_PRESET

OnProgress = Callable[..., None]
"""Called with (done, total[, numbers by name])."""
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(optional)")]
OptionalText = Annotated[str | None, tyro.conf.arg(metavar="STR", help_behavior_hint="(optional)")]
_NUMBER = tyro.conf.arg(metavar="INT", help_behavior_hint="(optional)")
OptionalSide = Annotated[int | None, Range(8, 2**13, kind="power of two"), _NUMBER]
OptionalCut = Annotated[int | None, Range(4, 2**13, kind="power of two"), _NUMBER]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitConfig(Checked):
    """What to fit, and to what."""

    images: OptionalPath = None
    """Folder of pictures, or a prepared set, to train a generator on. With --generator: real pictures for the discriminator."""
    generator: OptionalPath = None
    """A trained generator: its run, its saved network, a bundle, or a checkpoint of another project (.pkl, .pt, .pth)."""
    class_index: Annotated[int | None, Range(0, 10**6), tyro.conf.arg(name="class", metavar="INT", help_behavior_hint="(optional)")] = None
    """The class of a class-conditional --generator. A bundle has its class already."""
    bundle: OptionalText = None
    """A bundle whose generator, clusters and rearranger are kept: only segmenter, mapper and detail network are trained anew."""
    labels: OptionalPath = None
    """Folder of painted samples (as proxymask sample writes them) with labels.json; without it, samples to paint are written."""
    samples: OptionalPath = None
    """Folder of the samples' .json files, if it is not that of the masks."""
    strict: bool = False
    """Refuse painted masks whose colours are not exactly those of labels.json; otherwise edges are read, and a note has their share."""
    out: Path
    """Folder for the bundle. OUT.work, next to it, holds what is needed to continue."""
    preset: str = DEFAULT_PRESET
    """Settings of all stages: auto (ours at the size of the pictures), demo, ours-128 to ours-1024, paper-256 to paper-1024, or a JSON file
    such as {"base": "demo", "rearranger": {"hidden": 32}}."""
    steps_scale: Annotated[float, Range(0, 1e4, above=True)] = 1.0
    """Factor of the preset's steps: 0.01 for a quick trial, 4 for a longer run."""
    resolution: OptionalSide = None
    """Side of the pictures of a generator to be trained; by default that of a prepared set, else the preset's, or 64."""
    cut: OptionalCut = None
    """Side of the features at the cut; by default a quarter of the side of the pictures, from 32 to 64 and at most half."""
    label_samples: Annotated[int, Range(1, 10**5)] = 16
    """How many samples to write for labelling."""
    name: OptionalText = None
    """Name of the bundle; by default that of the folder."""
    licence: str = ""
    """Licence and source of the pictures or the generator, for the model card."""
    seed: Seed = 0
    """Seed of all random numbers: the same seed gives the same files on the same machine."""
    device: DeviceName = "auto"
    """Where to compute; auto takes an NVIDIA GPU, then an Apple GPU, then the CPU."""
    precision: Precision = "auto"
    """auto is bf16 where the hardware has it, fp32 elsewhere."""


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What :func:`.run.fit` made."""

    bundle: Path | None
    """The bundle, if one was written."""
    to_label: Path | None
    """The folder of samples that wait for their masks; None if the mapper is trained."""


class Report(Protocol):
    """Where :func:`.run.fit` reports to."""

    def say(self, text: str) -> None:
        """Show a line, or several."""
        ...

    def progress(self, title: str) -> AbstractContextManager[OnProgress]:
        """Show progress while the body runs; gives a function to be called along the way."""
        ...


class Silent:
    """A report that shows nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def progress(self, title: str) -> AbstractContextManager[OnProgress]:
        """Nothing."""
        return nullcontext(lambda *_: None)
