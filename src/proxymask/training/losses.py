"""One function a loss, with its equation. Sources: supplement A.2 and B.1; StyleGAN2 (Karras et al. 2020)."""

import torch
import torch.nn.functional as F

IGNORE_INDEX = -100  # target of a position that no cross-entropy here counts


def adversarial_g(fake_logits: torch.Tensor) -> torch.Tensor:
    """L_adv of the generating side, non-saturating logistic: ``mean softplus(-D(fake))``."""
    return F.softplus(-fake_logits.float()).mean()


def adversarial_d(real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
    """L_adv of the discriminator, logistic: ``mean softplus(-D(real)) + mean softplus(D(fake))``."""
    return F.softplus(-real_logits.float()).mean() + F.softplus(fake_logits.float()).mean()


def r1(real_logits: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """R1 (Mescheder et al. 2018): ``mean_b ||d D(x_b) / d x_b||^2``; weigh it with gamma / 2 (the paper: gamma 10)."""
    (grad,) = torch.autograd.grad(real_logits.float().sum(), real, create_graph=True)
    return grad.float().square().sum(dim=(1, 2, 3)).mean()


def path_length(picture: torch.Tensor, ws: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Path lengths (B,): ``sqrt(mean_layers sum_dims (J_w^T y)^2)``, y ~ N(0, 1) / side of the picture.

    Args:
        picture: (B, C, H, W), made from ``ws``.
        ws: (B, num_ws, w_dim), requires grad.
        noise: y * side, as ``picture``.
    """
    scaled = noise / (picture.shape[2] * picture.shape[3]) ** 0.5
    (grad,) = torch.autograd.grad((picture.float() * scaled).sum(), ws, create_graph=True)
    return grad.float().square().sum(dim=2).mean(dim=1).sqrt()


def mask_loss(features: torch.Tensor, asked: torch.Tensor, centroids: torch.Tensor, temperature: float) -> torch.Tensor:
    """L_mask: cross-entropy of the rearranged features' soft cluster assignment to the asked proxy mask.

    ``-mean_x sum_k m_k(x) log softmax_k(<f'(x) / |f'(x)|, c_k> / tau)``

    Args:
        features: (B, C, r, r) rearranged features f'.
        asked: proxy mask, ids (B, r, r) int64 (-100: left out) or weights (B, K, r, r).
        centroids: (K, C) unit vectors.
        temperature: tau.
    """
    unit = F.normalize(features.float(), dim=1)
    scores = torch.einsum("bchw,kc->bkhw", unit, centroids.float()) / temperature
    return F.cross_entropy(scores, asked, reduction="none").mean()  # over all positions, so that a split batch has the same loss


def relative_l1(features: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """The feature part of L_self: ``mean_b (mean |f'_b - f_b| / mean |f_b|)``: without unit, so that one weight suits every generator.

    Each sample has its own denominator, so that the loss does not depend on how a batch is split. ``weight`` (B, 1, r, r) in [0, 1]
    says how far an error counts (the denominator stays).
    """
    target = target.float()
    difference = (features.float() - target).abs()
    error = (difference if weight is None else difference * weight).mean(dim=(1, 2, 3))
    return (error / target.abs().mean(dim=(1, 2, 3)).clamp_min(1e-8)).mean()


def picture_l1(picture: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """The picture part of L_self: ``mean |G2(f') - G(z)|``; ``weight`` (B, 1, R, R) in [0, 1] says how far an error counts."""
    difference = (picture.float() - target.float()).abs()
    return (difference if weight is None else difference * weight).mean()


def reconstruction(logits: torch.Tensor, target: torch.Tensor, tilt: torch.Tensor | None = None) -> torch.Tensor:
    """L_recon of the mapper: cross-entropy of its logits (B, K, r, r) to the sample's own proxy mask (B, r, r).

    With ``tilt`` (K,), that of ``logits + tilt``. With ``tilt_k = tau log p_k``, of the clusters' shares p, what is rare comes out likelier
    by ``p_k ^ -tau``: logit adjustment (Menon et al. 2021, equation 10).
    """
    scores = logits.float()
    return F.cross_entropy(scores if tilt is None else scores + tilt[:, None, None], target)


def distillation_loss(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """How far a mapper is from the one that it learns from: ``mean_x KL(softmax(t(x)) || softmax(s(x)))`` of logits s, t (B, K, r, r)."""
    ours, theirs = logits.float().log_softmax(dim=1), wanted.float().log_softmax(dim=1)
    return F.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=1).mean()


def label(read: torch.Tensor, asked: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """L_label: cross-entropy of the labels that a network s reads off a picture to the mask m that the picture was painted from.

    ``-mean_x v_m(x) log softmax_m(x)(s(G2(f')(x)))``

    Args:
        read: logits (B, N, H, W) of s.
        asked: m, ids (B, H, W) int64 (-100: left out).
        weight: v (N,), so that small parts count.
    """
    return F.cross_entropy(read.float(), asked, weight, reduction="none").mean()  # over all pixels, so that a split batch has the same loss
