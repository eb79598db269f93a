"""What a mapper hands over to the rearranger."""

from typing import Literal

import torch

NEVER = -1e4  # logit of a cluster that must not be asked for
Handover = Literal["soft", "hard", "present-soft", "present", "likely-soft", "likely", "likely-all"]
"""``soft``: probabilities. ``hard``: the most likely cluster. ``present-soft``, ``present``: the same among the clusters that the
style sample has, so that a mask never asks a style for what it cannot give while something likely is at hand. ``likely-soft``,
``likely``: the same with Bayes' rule for the style: a mask does not say which skin, but the style has much of one. ``likely-all``: Bayes'
rule among all clusters, for a rearranger that draws what the style lacks (retouch.py)."""


def handover(logits: torch.Tensor, kind: Handover, present: torch.Tensor | None = None, prior: torch.Tensor | None = None) -> torch.Tensor:
    """Mapper logits -> proxy mask for the rearranger, with a straight-through gradient where it is one-hot.

    Args:
        logits: (B, K, h, w).
        kind: see :data:`Handover`.
        present: (B, K) or (1, K), whether the style sample has the cluster; needed by the kinds that ask for it.
        prior: (B, K) or (1, K), :meth:`ProxyClusters.prior` of the style; needed by the likely kinds.

    Returns:
        (B, K, h, w) float32, summing to one over K.
    """
    if is_hard(kind) and not (torch.is_grad_enabled() and logits.requires_grad):
        ids = handover_ids(logits, kind, present, prior)
        return torch.zeros_like(logits, dtype=torch.float32).scatter_(1, ids[:, None], 1.0)
    soft = _for_style(logits, kind, present, prior).softmax(dim=1)
    if kind.endswith("soft"):
        return soft
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
    return hard + soft - soft.detach()


def is_hard(kind: Handover) -> bool:
    """Whether one cluster a position is handed over, and no probabilities."""
    return not kind.endswith("soft")


def handover_ids(
    logits: torch.Tensor, kind: Handover, present: torch.Tensor | None = None, prior: torch.Tensor | None = None
) -> torch.Tensor:
    """What :func:`handover` hands over in a hard ``kind``, as ids (B, h, w), int64, without a gradient."""
    return _for_style(logits, kind, present, prior).argmax(dim=1)


def _for_style(logits: torch.Tensor, kind: Handover, present: torch.Tensor | None, prior: torch.Tensor | None) -> torch.Tensor:
    """The logits, float32, with what is known of the style added: one pass over them."""
    known: torch.Tensor | None = None
    if kind.startswith("likely"):
        assert prior is not None
        known = prior
    if kind.startswith(("present", "likely")) and kind != "likely-all":
        assert present is not None
        known = torch.where(present, 0.0 if known is None else known, NEVER)
    return logits.float() if known is None else logits + known[:, :, None, None].float()
