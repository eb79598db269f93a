"""What a mapper hands over to the rearranger."""

from typing import Literal

import torch

Handover = Literal["soft", "hard", "likely-all"]
"""``soft``: probabilities. ``hard``: the most likely cluster. ``likely-all``: the most likely cluster for the style, by Bayes' rule: a mask
does not say which skin, but the style has much of one. It takes a rearranger that draws what the style lacks (retouch.py)."""


def handover(logits: torch.Tensor, kind: Handover, prior: torch.Tensor) -> torch.Tensor:
    """Mapper logits -> proxy mask for the rearranger, with a straight-through gradient where it is one-hot.

    Args:
        logits: (B, K, h, w).
        kind: see :data:`Handover`.
        prior: (B, K) or (1, K), :meth:`ProxyClusters.prior` of the style, which ``likely-all`` adds to the logits.

    Returns:
        (B, K, h, w) float32, summing to one over K.
    """
    if is_hard(kind) and not (torch.is_grad_enabled() and logits.requires_grad):
        return torch.zeros_like(logits, dtype=torch.float32).scatter_(1, handover_ids(logits, kind, prior)[:, None], 1.0)
    soft = _for_style(logits, kind, prior).softmax(dim=1)
    if not is_hard(kind):
        return soft
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
    return hard + soft - soft.detach()


def is_hard(kind: Handover) -> bool:
    """Whether one cluster a position is handed over, and no probabilities."""
    return kind != "soft"


def handover_ids(logits: torch.Tensor, kind: Handover, prior: torch.Tensor) -> torch.Tensor:
    """What :func:`handover` hands over in a hard ``kind``, as ids (B, h, w), int64, without a gradient."""
    return _for_style(logits, kind, prior).argmax(dim=1)


def _for_style(logits: torch.Tensor, kind: Handover, prior: torch.Tensor) -> torch.Tensor:
    """The logits, float32, with what is known of the style added."""
    return logits + prior[:, :, None, None].float() if kind == "likely-all" else logits.float()
