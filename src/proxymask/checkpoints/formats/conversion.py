"""What a family's module makes of a file."""

import dataclasses
from typing import Any

import torch

from ...models.stylegan2 import SeedStyle


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
    seed_style: SeedStyle = "nvidia"
