"""Adversarial training after StyleGAN2 (Karras et al. 2020), as the supplement takes it over (A.2): Adam, real pictures, D's step.

Shapes: B samples, 3 x H x W pictures in [-1, 1].
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import nn

from ..models.stylegan2 import Generator
from . import losses
from .loop import Run

R1_EVERY = 16  # discriminator steps between R1 terms: StyleGAN2's lazy regularisation


class Pictures(Protocol):
    """A set of real pictures."""

    def __len__(self) -> int: ...

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> pictures (B, 3, H, W), float32 in [-1, 1]."""
        ...


def stylegan_adam(
    parameters: Iterable[nn.Parameter] | list[dict[str, Any]], learning_rate: float, momentum: float = 0.0, every: int = 0
) -> torch.optim.Adam:
    """StyleGAN2's Adam: betas (``momentum``, 0.99), with its correction for a regulariser that has a step of its own after every ``every``
    steps (0: none). R1 needs none: its gradient is part of the discriminator's step."""
    ratio = every / (every + 1) if every else 1.0
    return torch.optim.Adam(parameters, lr=learning_rate * ratio, betas=(momentum, 0.99**ratio), eps=1e-8)


def r1_weight(gamma: float, every: int, due: bool) -> float:
    """Weight of R1 in a discriminator step: gamma / 2 times the interval ``every`` if it is ``due``, else 0."""
    return gamma / 2 * every if due else 0.0


@torch.no_grad()
def real_pictures(run: Run, pictures: Pictures | None, generator: Generator) -> torch.Tensor:
    """This process' part of a batch of real pictures: of ``pictures``, or samples of the frozen ``generator`` where that is None."""
    if pictures is not None:
        index = torch.randint(len(pictures), (run.config.batch,), generator=run.rng("real"))
        return run.local_shard(pictures.images(index))
    z = torch.randn(run.config.batch, generator.z_dim, generator=run.rng("real"))
    with run.autocast():
        return generator(run.local_shard(z)).float()


def discriminator_update(run: Run, discriminator: nn.Module, real: torch.Tensor, fake: torch.Tensor, penalty: float) -> None:
    """One discriminator step: logistic loss, and R1 with weight ``penalty`` (0: none). ``fake`` carries no gradient."""

    def terms() -> Iterator[torch.Tensor]:
        for real_part, fake_part in run.microbatches(real, fake):
            x = real_part.detach().requires_grad_(penalty > 0)
            with run.autocast():
                real_logits, fake_logits = discriminator(x), discriminator(fake_part)
            loss = losses.adversarial_d(real_logits, fake_logits)
            run.log("d/loss", loss)
            run.log("d/real", real_logits.float().mean())
            run.log("d/fake", fake_logits.float().mean())
            if penalty:
                r1 = losses.r1(real_logits, x)
                run.log("d/r1", r1)
                loss = loss + penalty * r1
            yield loss

    run.update("discriminator", terms)
