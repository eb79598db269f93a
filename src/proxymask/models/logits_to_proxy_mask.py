"""What a mapper hands over to the rearranger."""

from typing import Literal

import torch

ProxyMaskMode = Literal["soft", "hard", "style-prior"]
"""``soft``: probabilities. ``hard``: the most likely cluster (as in the paper). ``style-prior``: the most likely cluster when how often
the style sample has each cluster is taken into account (Bayes' rule): a mask does not say which skin, the style does. It needs a
rearranger with a refinement block, which draws what the style lacks."""


def logits_to_proxy_mask(logits: torch.Tensor, kind: ProxyMaskMode, prior: torch.Tensor) -> torch.Tensor:
    """Mapper logits -> proxy mask for the rearranger, with a straight-through gradient where it is one-hot.

    Args:
        logits: (B, K, h, w).
        kind: see :data:`ProxyMaskMode`.
        prior: (B, K) or (1, K), :meth:`ProxyClusters.prior` of the style, which ``style-prior`` adds to the logits.

    Returns:
        (B, K, h, w) float32, summing to one over K.
    """
    if is_hard(kind) and not (torch.is_grad_enabled() and logits.requires_grad):
        return torch.zeros_like(logits, dtype=torch.float32).scatter_(1, logits_to_cluster_ids(logits, kind, prior)[:, None], 1.0)
    soft = _for_style(logits, kind, prior).softmax(dim=1)
    if not is_hard(kind):
        return soft
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
    return hard + soft - soft.detach()


def is_hard(kind: ProxyMaskMode) -> bool:
    """Whether one cluster a position is handed over, and no probabilities."""
    return kind != "soft"


def logits_to_cluster_ids(logits: torch.Tensor, kind: ProxyMaskMode, prior: torch.Tensor) -> torch.Tensor:
    """What :func:`logits_to_proxy_mask` hands over in a hard ``kind``, as ids (B, h, w), int64, without a gradient."""
    return _for_style(logits, kind, prior).argmax(dim=1)


def _for_style(logits: torch.Tensor, kind: ProxyMaskMode, prior: torch.Tensor) -> torch.Tensor:
    """The logits, float32, with what is known of the style added."""
    return logits + prior[:, :, None, None].float() if kind == "style-prior" else logits.float()
