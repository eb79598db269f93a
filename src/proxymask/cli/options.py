"""Options that several verbs share, and the opening of a bundle with them. PyTorch is imported only where a bundle is opened."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..core import checks
from ..core.checks import Checked, ClassNumber, Seed

if TYPE_CHECKING:
    from ..inference.synthesizer import Synthesizer

SeedStyleName = Literal["nvidia", "torch"] | None

OptionalSeed = Annotated[Seed | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(optional)")]
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="(optional)")]
OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(optional)")]
ClassIndex = Annotated[ClassNumber | None, tyro.conf.arg(name="class", metavar="INT", help_behavior_hint="(optional)")]
BundleName = Annotated[
    str,
    tyro.conf.arg(
        metavar="BUNDLE", help="The model: the name of an embedded bundle, a folder, or a name on the Hugging Face hub (USER/MODEL)."
    ),
]
Truncation = Annotated[
    checks.Truncation, tyro.conf.arg(help="Truncation psi: 1 leaves latents unchanged, smaller values move them towards the mean.")
]
SeedStyle = Annotated[
    SeedStyleName,
    tyro.conf.arg(
        metavar="{nvidia,torch}",
        help_behavior_hint="(the generator's own)",
        help="Random number generator that turns a seed into z: nvidia (NumPy's RandomState) or torch. For comparisons with other tools.",
    ),
]


@dataclass(frozen=True)
class Seeded(Checked):
    """Options of the verbs that draw random numbers."""

    seed: Seed = 0
    """Seed of all random numbers: the same seed gives the same files on the same machine."""


@dataclass(frozen=True)
class Devices(Checked):
    """Where and how networks run."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device to compute on; auto takes an NVIDIA GPU, else an Apple GPU, else the CPU."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Floating-point format; auto is bf16 where the hardware has it, fp32 elsewhere."""


@dataclass(frozen=True)
class Computing(Devices, Seeded):
    """Options of the verbs that run networks."""


CommonDevice = Annotated[Devices, tyro.conf.arg(name="")]
Common = Annotated[Computing, tyro.conf.arg(name="")]
CommonSeed = Annotated[Seeded, tyro.conf.arg(name="")]


def open_synthesizer(bundle: str, common: Computing, seed_style: SeedStyleName = None) -> "Synthesizer":
    """The synthesizer of ``bundle``, with PyTorch's random numbers seeded by ``common``.

    Raises:
        ProxymaskError: no such bundle, a damaged one, or a device that is not there.
    """
    import torch

    from ..inference.synthesizer import Synthesizer

    torch.manual_seed(common.seed)
    synth = Synthesizer.from_pretrained(bundle, common.device, common.precision)
    if seed_style is not None:
        synth.bundle.generator.seed_style = seed_style
    return synth
