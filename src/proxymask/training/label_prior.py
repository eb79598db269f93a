"""Styles and the style prior of masks while a mapper or its detail network is trained: see ``models/label_prior.py``."""

import torch

from ..models.label_prior import PICTURE_EXPONENT, clusters_by_label
from ..models.oasis_mapper import OasisMapper
from ..models.rearranger import StyleKV
from .pairs import SegmenterLabeler
from .parts import Frozen


class LabelPrior:
    """The prior of a mapper in styles whose labels a few-shot segmenter reads."""

    def __init__(self, mapper: OasisMapper, labeler: SegmenterLabeler) -> None:
        self.mapper, self.labeler = mapper, labeler

    def of(self, proxy: torch.Tensor, labels: torch.Tensor, masks: torch.Tensor, exponent: float = 1.0) -> torch.Tensor:
        """For masks (B, H, W), in the styles of samples with these proxy masks (B, h, w) and labels (B, H, W): (B, K, h, w)."""
        return self.mapper.style_prior(clusters_by_label(proxy, labels, *self.mapper.cluster_counts.shape), masks, exponent)


def encode_styles(frozen: Frozen, label_prior: LabelPrior | None, w: torch.Tensor, masks: torch.Tensor) -> tuple[StyleKV, torch.Tensor]:
    """Keys and values of the styles ``w`` (B, w_dim), and the prior of their clusters at every position of ``masks``.

    Args:
        frozen: the generator, its clusters and the rearranger.
        label_prior: of the mapper, for label masks (B, H, W): the prior is then (B, K, h, w), times PICTURE_EXPONENT. None: the coarser
            :meth:`.ProxyClusters.prior`, for any input.
    """
    split, clusters = frozen.split, frozen.clusters
    levels = [] if label_prior is None else split.feature_pyramid(w)[0]
    state = split.features(w) if label_prior is None else split.state_at_split(levels, w)
    own = clusters.assign(state.features)
    style = frozen.rearranger.encode_style(state, own)
    if label_prior is None:
        return style, clusters.prior(style.counts)
    return style, label_prior.of(own, label_prior.labeler.segment(levels), masks, PICTURE_EXPONENT)
