"""A trained rival as something that the evaluation can score."""

from collections.abc import Sequence
from pathlib import Path

import torch

from proxymask.core.device import autocast, resolve_device, resolve_precision
from proxymask.core.seeding import derive_rng

from .networks import OasisGenerator


class OasisPainter:
    """See :class:`proxymask.evaluation.MaskToImage`; a seed is the noise vector, spread over the whole picture.

    Args:
        folder: a snapshot of ``train.py``.
        device, precision: as everywhere.
    """

    def __init__(self, folder: Path, device: str = "auto", precision: str = "auto") -> None:
        self.device = resolve_device(device)
        self.dtype = resolve_precision(precision, self.device)
        self.generator = OasisGenerator.from_pretrained(folder).to(self.device)
        self.size = self.generator.resolution

    @torch.inference_mode()
    def generate(self, masks: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Ids (B, R, R) int64 and a seed each -> pictures (B, 3, R, R) float32 in [-1, 1]."""
        z = torch.stack([torch.randn(self.generator.z_dim, generator=derive_rng(seed, "oasis")) for seed in seeds])
        with autocast(self.device, self.dtype):
            return self.generator(masks.to(self.device), z.to(self.device)).float().clamp(-1, 1)
