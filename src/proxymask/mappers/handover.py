"""What a mapper hands over to the rearranger."""

from typing import Literal

import torch

Handover = Literal["soft", "hard", "present-soft", "present", "likely-soft", "likely"]
"""``soft``: probabilities. ``hard``: the most likely cluster. ``present-soft``, ``present``: the same among the clusters that the
style sample has, so that a mask never asks a style for what it cannot give while something likely is at hand. ``likely-soft``,
``likely``: the same with Bayes' rule for the style: a mask does not say which skin, but the style has much of one."""


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
    logits = logits.float()
    if kind.startswith("likely"):
        assert prior is not None
        logits = logits + prior[:, :, None, None]
    if kind.startswith(("present", "likely")):
        assert present is not None
        logits = logits.masked_fill(~present[:, :, None, None], -1e4)
    soft = logits.softmax(dim=1)
    if kind.endswith("soft"):
        return soft
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
    return hard + soft - soft.detach()
