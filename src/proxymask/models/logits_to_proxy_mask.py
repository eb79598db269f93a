"""From a mapper's logits to the proxy mask that the rearranger takes.

Shapes: B masks, K clusters, h x w the size of the proxy mask.
"""

from typing import Literal

import torch

ProxyMaskMode = Literal["soft", "hard", "style-prior"]
"""How logits become a proxy mask.

``soft``: probabilities. ``hard``: the most likely cluster, as in the paper. ``style-prior``: the most likely cluster by Bayes' rule, where
the prior is how often each cluster occurs in the style sample, for masks under the label there (beyond the paper): a mask does not
determine the colour of the skin, the style does. It needs a rearranger with a refinement block, which draws what the style sample lacks."""


def logits_to_proxy_mask(logits: torch.Tensor, kind: ProxyMaskMode, prior: torch.Tensor) -> torch.Tensor:
    """Mapper logits -> proxy mask for the rearranger. Where it is one-hot, its gradient is that of the probabilities (straight-through).

    Args:
        logits: (B, K, h, w).
        kind: see :data:`ProxyMaskMode`.
        prior: of the style, which ``style-prior`` adds to the logits: (B, K) or (1, K), :meth:`ProxyClusters.prior`, the same at all
            positions, or (B, K, h, w), :meth:`OasisMapper.style_prior`.

    Returns:
        (B, K, h, w) float32, summing to one over K.
    """
    if is_hard(kind) and not (torch.is_grad_enabled() and logits.requires_grad):
        return torch.zeros_like(logits, dtype=torch.float32).scatter_(1, logits_to_cluster_ids(logits, kind, prior)[:, None], 1.0)
    soft = _add_prior(logits, kind, prior).softmax(dim=1)
    if not is_hard(kind):
        return soft
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
    return hard + soft - soft.detach()


def is_hard(kind: ProxyMaskMode) -> bool:
    """Whether the proxy mask is one-hot in this mode."""
    return kind != "soft"


def logits_to_cluster_ids(logits: torch.Tensor, kind: ProxyMaskMode, prior: torch.Tensor) -> torch.Tensor:
    """The one-hot result of :func:`logits_to_proxy_mask` as ids (B, h, w), int64, without a gradient."""
    return _add_prior(logits, kind, prior).argmax(dim=1)


def _add_prior(logits: torch.Tensor, kind: ProxyMaskMode, prior: torch.Tensor) -> torch.Tensor:
    """The logits, float32, plus the prior of the style where ``kind`` has one."""
    if kind != "style-prior":
        return logits.float()
    return logits + (prior if prior.ndim == 4 else prior[:, :, None, None]).float()
