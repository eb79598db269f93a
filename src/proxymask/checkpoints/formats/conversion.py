"""What a family's module makes of a file."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from ...core.errors import ProxymaskError
from ...models.stylegan2 import SeedStyle
from ..safe_pickle.messages import file_errors


@dataclasses.dataclass(frozen=True)
class Choices:
    """What the user says of a network, where the file says nothing.

    Attributes:
        lr_multiplier: of the mapping network; None: by the scale of its weights.
        final_tanh: the picture is the hyperbolic tangent of the last layer, an option of genforce and Hammer.
    """

    lr_multiplier: float | None = None
    final_tanh: bool = False


@dataclasses.dataclass
class NetworkWeights:
    """A generator or a discriminator in this package's terms: ``config`` are the arguments of the class, ``tensors`` its state dict."""

    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]


@dataclasses.dataclass
class Conversion:
    """The networks of a file, and what is known of them.

    Attributes:
        family: the name people know it by.
        generator: the averaged generator, or the trained one where that is the only one.
        discriminator: where the file has one that can be used.
        assumed: settings that neither the file nor its shapes give, one phrase each.
        notes: what was left out or is missing, one phrase each.
        facts: more about the file, by name.
        notice: the licence notice in the file.
        mean_w_missing: the file has no average of w; it has to be computed.
        tanh_unknown: the file does not say whether the pictures end in a tanh, and the user said nothing of it.
        seed_style: how the family draws z from a seed.
    """

    family: str
    generator: NetworkWeights
    discriminator: NetworkWeights | None = None
    assumed: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    notice: str = ""
    mean_w_missing: bool = False
    tanh_unknown: bool = False
    seed_style: SeedStyle = "nvidia"

    def add_discriminator(self, read: Callable[[], NetworkWeights | None]) -> None:
        """Take the discriminator that ``read`` returns; where it cannot be read, a note says why."""
        try:
            with file_errors():
                self.discriminator = read()
        except ProxymaskError as error:
            self.notes.append(f"the discriminator is left out: {error.message}")
