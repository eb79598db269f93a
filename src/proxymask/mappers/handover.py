"""What a mapper hands over to the rearranger."""

import torch


def handover(logits: torch.Tensor, kind: str) -> torch.Tensor:
    """Mapper logits (B, K, r, r) -> proxy mask for the rearranger, float32: probabilities, or one-hot with straight-through gradient."""
    soft = logits.float().softmax(dim=1)
    if kind == "soft":
        return soft
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
    return hard + soft - soft.detach()
