"""What is measured: a bundle's own steps in batches, or anything that paints pictures from masks."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch

from ..device import autocast
from ..errors import ProxymaskError
from ..generators.cut import CutState
from ..mappers.handover import handover, handover_ids, is_hard
from ..rearranger import StyleKeys
from ..sizes import Size
from ..synthesizer import Synthesizer

SEED_SPAN = 10_000_000  # integer seeds that belong to one --seed
STYLES, SHAPES, CONSISTENCY, DIVERSITY = 1_000_000, 3_000_000, 500_000, 7_000_000  # first seeds of what is drawn, apart from each other


class Painter(Protocol):
    """Anything that paints pictures from masks, for comparisons on equal terms."""

    size: Size
    """Side of its pictures, or their (height, width)."""

    def paint(self, masks: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Ids (B, H, W) int64 and a seed for the look of each -> pictures (B, 3, H, W) float32 in [-1, 1]."""
        ...


class Styled(NamedTuple):
    """Styles with all that depends on them alone."""

    w: torch.Tensor
    """(B, w_dim)."""
    state: CutState
    keys: StyleKeys

    def expanded(self, count: int) -> "Styled":
        """One style ``count`` times over, without copying; as it is where there are several."""
        if len(self.w) == count:
            return self
        tensors = ((t.expand(count, *t.shape[1:]) for t in part) for part in ((self.w,), self.state, self.keys))
        (w,), state, keys = tensors
        return Styled(w, CutState(*state), StyleKeys(*keys))


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
    def style(self, w: torch.Tensor) -> Styled:
        """What depends on the styles alone, computed once for all pictures in them."""
        with autocast(self.synth.device, self.synth.dtype):
            state = self.synth.cut.features(w)
        return Styled(w, state, self.synth.keys(state))

    @torch.inference_mode()
    def sample(self, styled: Styled) -> torch.Tensor:
        """The generator's own pictures (B, 3, H, W) float32 in [-1, 1]."""
        return self.render(styled.state, styled.w)

    @torch.inference_mode()
    def shape(self, w: torch.Tensor) -> tuple[torch.Tensor, CutState]:
        """Proxy masks (B, h, w) of samples that give a shape only, and their states."""
        with autocast(self.synth.device, self.synth.dtype):
            state = self.synth.cut.features(w)
        return self.clusters.assign(state.features), state

    @torch.inference_mode()
    def render(self, state: CutState, w: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W) float32 in [-1, 1]."""
        with autocast(self.synth.device, self.synth.dtype):
            return self.synth.cut.render(state, w).float().clamp(-1, 1)

    @torch.inference_mode()
    def rearranged(self, styled: Styled, proxy: torch.Tensor) -> CutState:
        """States of the style samples laid out as proxy masks ask: ids (B, h, w) or planes (B, K, h, w)."""
        with autocast(self.synth.device, self.synth.dtype):
            asked = self.synth.ask(proxy)
        return self.synth.rearranger.attend(asked, styled.keys)

    def own(self, styled: Styled) -> torch.Tensor:
        """Proxy masks (B, h, w) of the style samples themselves."""
        return self.clusters.assign(styled.state.features)

    def substituted(self, ids: torch.Tensor, styled: Styled) -> torch.Tensor:
        """Proxy masks of others (B, h, w), as a transfer asks for them: clusters that a style lacks are replaced."""
        return self.synth.substituted(ids, self.clusters.available(styled.keys.counts))

    @torch.inference_mode()
    def mapped(self, masks: torch.Tensor, styled: Styled) -> torch.Tensor:
        """Masks (B, H, W), or one (1, H, W) for all, -> the proxy masks that the mapper hands over for these styles: ids (B, h, w), or
        planes (B, K, h, w) where the bundle hands over probabilities."""
        if not self.can_paint:
            raise ProxymaskError(f"the bundle {self.synth.bundle.name} has no mapper {self.mapper!r}")
        logits = self.synth.map(masks.numpy().astype(np.uint8), self.mapper)
        count = max(len(logits), len(styled.w))
        give = handover_ids if is_hard(self.synth.handover) else handover
        return give(logits.expand(count, -1, -1, -1), self.synth.handover, self.clusters.prior(styled.keys.counts))

    def from_masks(self, masks: torch.Tensor, styled: Styled) -> torch.Tensor:
        """Pictures of masks (B, H, W), or of one (1, H, W), in the styles; one style may serve many masks."""
        proxy = self.mapped(masks, styled)
        styled = styled.expanded(len(proxy))
        return self.render(self.rearranged(styled, proxy), styled.w)

    def paint(self, masks: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """See :class:`Painter`."""
        return self.from_masks(masks, self.style(self.synth.w(list(seeds))))
