"""The models under evaluation: anything that makes pictures from label masks, and a bundle, whose single steps are measured too.

This is the only module of the evaluation that calls the :class:`~proxymask.synthesizer.Synthesizer`.

Shapes: B pictures of H x W pixels; proxy masks and features have h x w positions; K clusters, C channels.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch

from ..core.device import autocast
from ..core.errors import ProxymaskError
from ..core.sizes import Size
from ..inference.synthesizer import Synthesizer
from ..models.logits_to_proxy_mask import is_hard, logits_to_cluster_ids, logits_to_proxy_mask
from ..models.rearranger import StyleKV
from ..models.split_generator import SplitState

SEED_SPAN = 10_000_000  # latent seeds that belong to one --seed
STYLES, SHAPES, CONSISTENCY, DIVERSITY = 1_000_000, 3_000_000, 500_000, 7_000_000
"""First latent seeds of the drawings: styles of all pictures, samples that give a proxy mask, styles of the style consistency, styles of
the diversity. They are so far apart that no latent serves twice."""


class MaskToImage(Protocol):
    """A model that makes pictures from label masks, for comparisons on equal terms."""

    size: Size
    """Side of its pictures in pixels, or their (height, width)."""

    def generate(self, masks: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Label ids (B, H, W) int64 and one seed for the style of each -> pictures (B, 3, H, W) float32 in [-1, 1]."""
        ...


class StyleBatch(NamedTuple):
    """Styles with everything that depends on them alone."""

    w: torch.Tensor
    """(B, w_dim)."""
    state: SplitState
    """The style samples at the cut: features (B, C, h, w) and the RGB so far."""
    keys: StyleKV
    """Keys and values of the attention."""

    def expanded(self, count: int) -> "StyleBatch":
        """One style repeated ``count`` times without copying; several styles as they are."""
        if len(self.w) == count:
            return self
        tensors = ((t.expand(count, *t.shape[1:]) for t in part) for part in ((self.w,), self.state, self.keys))
        (w,), state, keys = tensors
        return StyleBatch(w, SplitState(*state), StyleKV(*keys))


class BundleSynthesis:
    """The steps of a bundle from latents and masks to pictures, in batches, without gradients, in the synthesizer's precision.

    Args:
        synth: the opened bundle.
        mapper: name of the mapper that turns label masks into proxy masks.
        seed: offset of all latent seeds, so that evaluations with different seeds share no latent.
    """

    def __init__(self, synth: Synthesizer, mapper: str = "mask", seed: int = 0) -> None:
        self.synth, self.mapper, self.first = synth, mapper, seed * SEED_SPAN
        self.clusters = synth.bundle.clusters
        self.size = synth.size

    @property
    def has_mapper(self) -> bool:
        """Whether the bundle can make pictures from label masks with this mapper."""
        return self.mapper in self.synth.bundle.mappers and self.synth.bundle.labels is not None

    def w(self, first: int, indices: Sequence[int]) -> torch.Tensor:
        """Latents w (B, w_dim) of the seeds ``first + index``."""
        return self.synth.w([self.first + first + index for index in indices])

    @torch.inference_mode()
    def styles(self, w: torch.Tensor) -> StyleBatch:
        """Features, keys and values of latents w (B, w_dim)."""
        with autocast(self.synth.device, self.synth.dtype):
            state = self.synth.cut.features(w)
        return StyleBatch(w, state, self.synth.keys(state))

    @torch.inference_mode()
    def sample(self, styles: StyleBatch) -> torch.Tensor:
        """The generator's own pictures of the styles (B, 3, H, W), float32 in [-1, 1]."""
        return self.render(styles.state, styles.w)

    @torch.inference_mode()
    def layout(self, w: torch.Tensor) -> tuple[torch.Tensor, SplitState]:
        """Proxy masks (B, h, w) int64 of the samples of latents w (B, w_dim), and the samples at the cut."""
        with autocast(self.synth.device, self.synth.dtype):
            state = self.synth.cut.features(w)
        return self.clusters.assign(state.features), state

    @torch.inference_mode()
    def render(self, state: SplitState, w: torch.Tensor) -> torch.Tensor:
        """The later layers (G2): features at the cut -> pictures (B, 3, H, W), float32 in [-1, 1]."""
        with autocast(self.synth.device, self.synth.dtype):
            return self.synth.cut.render(state, w).float().clamp(-1, 1)

    @torch.inference_mode()
    def rearrange(self, styles: StyleBatch, proxy: torch.Tensor) -> SplitState:
        """The rearranger: features of the styles in the layout of proxy masks, ids (B, h, w) or one-hot or soft (B, K, h, w)."""
        with autocast(self.synth.device, self.synth.dtype):
            query = self.synth.ask(proxy)
        return self.synth.rearranger.attend(query, styles.keys)

    def own_proxy(self, styles: StyleBatch) -> torch.Tensor:
        """Proxy masks (B, h, w) int64 of the style samples themselves."""
        return self.clusters.assign(styles.state.features)

    def substitute(self, ids: torch.Tensor, styles: StyleBatch) -> torch.Tensor:
        """Proxy masks (B, h, w) of other samples as a transfer uses them: clusters that the style lacks are replaced by similar ones."""
        return self.synth.substituted(ids, self.clusters.available(styles.keys.counts))

    @torch.inference_mode()
    def map(self, masks: torch.Tensor, styles: StyleBatch) -> torch.Tensor:
        """The mapper: label ids (B, H, W), or (1, H, W) for all styles, -> proxy masks for the styles.

        Returns:
            Cluster ids (B, h, w), or (B, K, h, w) where the bundle hands over probabilities.

        Raises:
            ProxymaskError: the bundle lacks the mapper.
        """
        if not self.has_mapper:
            raise ProxymaskError(f"the bundle {self.synth.bundle.name} has no mapper {self.mapper!r}")
        logits = self.synth.map(masks.numpy().astype(np.uint8), self.mapper)
        count = max(len(logits), len(styles.w))
        convert = logits_to_cluster_ids if is_hard(self.synth.proxy_mask_mode) else logits_to_proxy_mask
        return convert(logits.expand(count, -1, -1, -1), self.synth.proxy_mask_mode, self.clusters.prior(styles.keys.counts))

    def from_proxy(self, proxy: torch.Tensor, styles: StyleBatch) -> torch.Tensor:
        """Pictures (B, 3, H, W) of proxy masks, ids (B, h, w) or (B, K, h, w); one style may serve all masks."""
        styles = styles.expanded(len(proxy))
        return self.render(self.rearrange(styles, proxy), styles.w)

    def from_masks(self, masks: torch.Tensor, styles: StyleBatch) -> torch.Tensor:
        """Pictures (B, 3, H, W) of label ids (B, H, W); one mask may serve all styles, or one style all masks."""
        return self.from_proxy(self.map(masks, styles), styles)

    def generate(self, masks: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """See :class:`MaskToImage`."""
        return self.from_masks(masks, self.styles(self.synth.w(list(seeds))))
