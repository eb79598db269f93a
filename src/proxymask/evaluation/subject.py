"""What is measured: a bundle's own steps in batches, or anything that paints pictures from masks."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from ..device import autocast
from ..errors import ProxymaskError
from ..generators.cut import CutState
from ..mappers.handover import handover
from ..synthesizer import Synthesizer

SEED_SPAN = 10_000_000  # integer seeds that belong to one --seed
STYLES, SHAPES, CONSISTENCY, DIVERSITY = 1_000_000, 3_000_000, 500_000, 7_000_000  # first seeds of what is drawn, apart from each other


class Painter(Protocol):
    """Anything that paints pictures from masks, for comparisons on equal terms."""

    size: int
    """Side of its pictures."""

    def paint(self, masks: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Ids (B, R, R) int64 and a seed for the look of each -> pictures (B, 3, R, R) float32 in [-1, 1]."""
        ...


class BundlePainter:
    """A bundle, step by step, a batch at a time. Everything is in inference mode and in the synthesizer's precision.

    Args:
        synth: the opened bundle.
        mapper: which of its mappers paints masks.
        seed: moves all integer seeds, so that two evaluations share no latent.
    """

    def __init__(self, synth: Synthesizer, mapper: str = "mask", seed: int = 0) -> None:
        self.synth, self.mapper, self.first = synth, mapper, seed * SEED_SPAN
        self.clusters = synth.bundle.clusters
        self.size = synth.size

    @property
    def can_paint(self) -> bool:
        """Whether the bundle has the mapper."""
        return self.mapper in self.synth.bundle.mappers and self.synth.bundle.labels is not None

    def w(self, first: int, indices: Sequence[int]) -> torch.Tensor:
        """w (B, w_dim) of the numbers ``indices`` of the drawing that begins at ``first``."""
        return self.synth.w([self.first + first + index for index in indices])

    @torch.inference_mode()
    def state(self, w: torch.Tensor) -> CutState:
        """State at the cut."""
        with autocast(self.synth.device, self.synth.dtype):
            return self.synth.cut.features(w)

    @torch.inference_mode()
    def render(self, state: CutState, w: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, R, R) float32 in [-1, 1]."""
        with autocast(self.synth.device, self.synth.dtype):
            return self.synth.cut.render(state, w).float().clamp(-1, 1)

    @torch.inference_mode()
    def rearranged(self, state: CutState, proxy: torch.Tensor) -> CutState:
        """States of the style samples laid out as proxy masks (B, K, r, r) ask."""
        with autocast(self.synth.device, self.synth.dtype):
            return self.synth.bundle.rearranger(state, proxy)

    @torch.inference_mode()
    def own(self, state: CutState) -> torch.Tensor:
        """Proxy masks (B, r, r) of the samples themselves."""
        return self.clusters.assign(state.features)

    @torch.inference_mode()
    def present(self, state: CutState) -> torch.Tensor:
        """Which clusters the style samples have (B, K)."""
        with autocast(self.synth.device, self.synth.dtype):
            return self.clusters.available(self.synth.bundle.rearranger.encode_style(state).counts)

    def substituted(self, ids: torch.Tensor, state: CutState) -> torch.Tensor:
        """Proxy masks of others (B, r, r), as a transfer asks for them: clusters that a style lacks are replaced."""
        return self.clusters.substitute(ids, self.present(state))

    @torch.inference_mode()
    def mapped(self, masks: torch.Tensor, state: CutState) -> torch.Tensor:
        """Masks (B, R, R) -> the proxy masks (B, K, r, r) that the mapper hands over for these styles."""
        if not self.can_paint:
            raise ProxymaskError(f"the bundle {self.synth.bundle.name} has no mapper {self.mapper!r}")
        logits = self.synth.map(masks.numpy().astype(np.uint8), self.mapper)
        return handover(logits, self.synth.handover, self.present(state))

    def from_masks(self, masks: torch.Tensor, w: torch.Tensor, state: CutState | None = None) -> torch.Tensor:
        """Pictures of masks (B, R, R) in the styles w (B, w_dim)."""
        state = state or self.state(w)
        return self.render(self.rearranged(state, self.mapped(masks, state)), w)

    def paint(self, masks: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """See :class:`Painter`."""
        return self.from_masks(masks, self.synth.w(list(seeds)))
