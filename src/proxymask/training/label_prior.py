"""The style prior of masks while a mapper or its detail network is trained: see ``models/label_prior.py``."""

import torch

from ..models.label_prior import PICTURE_EXPONENT, clusters_by_label
from ..models.oasis_mapper import OasisMapper
from .pairs import SegmenterLabeler


class LabelPrior:
    """The prior of a mapper in styles whose labels a few-shot segmenter reads."""

    def __init__(self, mapper: OasisMapper, labeler: SegmenterLabeler) -> None:
        self.mapper, self.labeler = mapper, labeler

    def of(self, proxy: torch.Tensor, labels: torch.Tensor, masks: torch.Tensor, exponent: float = 1.0) -> torch.Tensor:
        """For masks (B, H, W), in the styles of samples with these proxy masks (B, h, w) and labels (B, H, W): (B, K, h, w)."""
        return self.mapper.style_prior(clusters_by_label(proxy, labels, *self.mapper.cluster_counts.shape), masks, exponent)

    def in_styles(self, proxy: torch.Tensor, w: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """The same, times PICTURE_EXPONENT, for pictures in the styles ``w`` (B, w_dim), whose own proxy masks are ``proxy``."""
        return self.of(proxy, self.labeler(w), masks, PICTURE_EXPONENT)
