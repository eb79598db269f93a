"""The style prior of masks while a mapper or its detail network is trained: see ``models/label_prior.py``."""

from typing import TypeGuard

import torch
from torch import nn

from ..models.label_prior import PICTURE_EXPONENT, clusters_by_label
from ..models.oasis_mapper import OasisMapper
from .pairs import SegmenterLabeler


def has_label_prior(mapper: nn.Module) -> TypeGuard[OasisMapper]:
    """Whether it is a mapper of masks with a label prior."""
    return isinstance(mapper, OasisMapper) and mapper.label_prior


class LabelPrior:
    """The prior of a mapper in styles whose labels a few-shot segmenter reads."""

    def __init__(self, mapper: OasisMapper, labeler: SegmenterLabeler) -> None:
        self.mapper, self.labeler = mapper, labeler

    def of(self, proxy: torch.Tensor, labels: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """For masks (B, H, W), in the styles of samples with these proxy masks (B, h, w) and labels (B, H, W): (B, K, h, w)."""
        return self.mapper.style_prior(clusters_by_label(proxy, labels, *self.mapper.cluster_counts.shape), masks)

    def in_styles(self, proxy: torch.Tensor, w: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """The same for pictures in the styles ``w`` (B, w_dim), whose own proxy masks are ``proxy``."""
        return PICTURE_EXPONENT * self.of(proxy, self.labeler(w), masks)
