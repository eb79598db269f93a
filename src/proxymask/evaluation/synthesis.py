"""The models under evaluation: anything that makes pictures from label masks, and a bundle, whose single steps are measured too.

This is the only module of the evaluation that calls the :class:`~proxymask.inference.synthesizer.Synthesizer`.

Shapes: B pictures of H x W pixels; proxy masks and features have h x w positions; K clusters, C channels.
"""

from collections.abc import Sequence
from typing import Protocol

import torch

from ..core.errors import ProxymaskError
from ..core.sizes import Size
from ..inference.detail_inputs import mask_inputs
from ..inference.style import Style
from ..inference.synthesizer import Synthesizer
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

    def styles(self, w: torch.Tensor) -> Style:
        """Features, keys and values of latents w (B, w_dim)."""
        return self.synth.encode_styles(w)

    def sample(self, styles: Style) -> torch.Tensor:
        """The generator's own pictures of the styles (B, 3, H, W), float32 in [-1, 1]."""
        return self.render(styles.state, styles.w)

    def layout(self, w: torch.Tensor) -> tuple[torch.Tensor, SplitState]:
        """Proxy masks (B, h, w) int64 of the samples of latents w (B, w_dim), and the samples at the split."""
        return self.synth.layout(w)

    def render(self, state: SplitState, w: torch.Tensor) -> torch.Tensor:
        """The later layers (G2): features at the split -> pictures (B, 3, H, W), float32 in [-1, 1]."""
        return self.synth.render_state(state, w)

    def rearrange(self, styles: Style, proxy: torch.Tensor) -> SplitState:
        """The rearranger: features of the styles in the layout of proxy masks, ids (B, h, w) or one-hot or soft (B, K, h, w)."""
        return self.synth.rearrange(proxy, styles)

    def own_proxy(self, styles: Style) -> torch.Tensor:
        """Proxy masks (B, h, w) int64 of the style samples themselves."""
        return self.clusters.assign(styles.state.features)

    def substitute(self, ids: torch.Tensor, styles: Style) -> torch.Tensor:
        """Proxy masks (B, h, w) of other samples as a transfer uses them: clusters that the style lacks are replaced by similar ones."""
        return self.synth.substitute(ids, styles)

    def map(self, masks: torch.Tensor, styles: Style) -> torch.Tensor:
        """The mapper: label ids (B, H, W), or (1, H, W) for all styles, -> proxy masks for the styles.

        Returns:
            Cluster ids (B, h, w), or (B, K, h, w) where the bundle takes probabilities.

        Raises:
            ProxymaskError: the bundle lacks the mapper.
        """
        if not self.has_mapper:
            raise ProxymaskError(f"the bundle {self.synth.bundle.name} has no mapper {self.mapper!r}")
        return self.synth.proxy_mask(self.synth.map(masks, self.mapper), styles, mask_inputs(masks, self.mapper))

    def from_proxy(self, proxy: torch.Tensor, styles: Style) -> torch.Tensor:
        """Pictures (B, 3, H, W) of proxy masks, ids (B, h, w) or (B, K, h, w); one style may serve all masks."""
        return self.synth.render(proxy, styles)

    def from_masks(self, masks: torch.Tensor, styles: Style) -> torch.Tensor:
        """Pictures (B, 3, H, W) of label ids (B, H, W); one mask may serve all styles, or one style all masks."""
        proxy = self.map(masks, styles)
        painted = mask_inputs(masks, self.mapper)
        return self.synth.render(proxy, styles, painted)

    def generate(self, masks: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """See :class:`MaskToImage`."""
        return self.from_masks(masks, self.styles(self.synth.w(list(seeds))))
