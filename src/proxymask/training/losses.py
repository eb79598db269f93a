"""The losses, one function each, with their equations.

Sources: the supplement, A.2 (weights and schedule of L_adv, L_self, L_mask, L_recon) and B.1 (what each is for); StyleGAN2 (Karras et al.
2020). The supplement numbers no equations and gives L_self, L_mask and L_recon in words only; the equations here are this project's reading
of them.

Shapes: B samples, C feature channels, h x w positions at the cut, K clusters, N labels, H x W pixels.
"""

import torch
import torch.nn.functional as F

IGNORE_INDEX = -100  # target of a position that a cross-entropy leaves out


def adversarial_g(fake_logits: torch.Tensor) -> torch.Tensor:
    """L_adv of the generating networks (supplement A.2): ``mean softplus(-D(fake))``.

    The non-saturating logistic loss (Goodfellow et al. 2014, section 3), as in StyleGAN2.
    """
    return F.softplus(-fake_logits.float()).mean()


def adversarial_d(real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
    """L_adv of the discriminator (supplement A.2): ``mean softplus(-D(real)) + mean softplus(D(fake))``.

    The logistic loss (Goodfellow et al. 2014, equation 1), as in StyleGAN2.
    """
    return F.softplus(-real_logits.float()).mean() + F.softplus(fake_logits.float()).mean()


def r1(real_logits: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """R1 (Mescheder et al. 2018, equation 9) without its factor gamma / 2: ``mean_b ||d D(x_b) / d x_b||^2``.

    Supplement A.2: gamma 10.
    """
    (grad,) = torch.autograd.grad(real_logits.float().sum(), real, create_graph=True)
    return grad.float().square().sum(dim=(1, 2, 3)).mean()


def path_length(picture: torch.Tensor, ws: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Path lengths (B,) of StyleGAN2 (section 3.2, the norm in equation 4): ``sqrt(mean_layers sum_dims (J_w^T y)^2)``.

    Args:
        picture: (B, C, H, W), made from ``ws``.
        ws: (B, num_ws, w_dim), requires grad.
        noise: ~ N(0, 1), as ``picture``; y is this over the picture's side.
    """
    scaled = noise / (picture.shape[2] * picture.shape[3]) ** 0.5
    (grad,) = torch.autograd.grad((picture.float() * scaled).sum(), ws, create_graph=True)
    return grad.float().square().sum(dim=2).mean(dim=1).sqrt()


def mask_loss(features: torch.Tensor, mask: torch.Tensor, centroids: torch.Tensor, temperature: float) -> torch.Tensor:
    """L_mask (supplement A.2, B.1): cross-entropy of the rearranged features' cluster probabilities to the proxy mask.

    ``-mean_x sum_k m_k(x) log softmax_k(<f'(x) / |f'(x)|, c_k> / tau)``

    Args:
        features: (B, C, h, w) rearranged features f'.
        mask: proxy mask m, ids (B, h, w) int64 (-100: left out) or weights (B, K, h, w).
        centroids: (K, C) unit vectors c.
        temperature: tau.
    """
    unit = F.normalize(features.float(), dim=1)
    scores = torch.einsum("bchw,kc->bkhw", unit, centroids.float()) / temperature
    return F.cross_entropy(scores, mask, reduction="none").mean()  # over all positions, so that a split batch has the same loss


def relative_l1(features: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """The feature part of L_self (supplement A.2, B.1): ``mean_b (mean |f'_b - f_b| / mean |f_b|)``.

    It has no unit, so that one weight suits every generator. Each sample has its own denominator, so that the loss does not depend on how a
    batch is split.

    Args:
        features: (B, C, h, w) f'.
        target: (B, C, h, w) f.
        weight: (B, 1, h, w) in [0, 1], factor of the error at each position; the denominator stays.
    """
    target = target.float()
    difference = (features.float() - target).abs()
    error = (difference if weight is None else difference * weight).mean(dim=(1, 2, 3))
    return (error / target.abs().mean(dim=(1, 2, 3)).clamp_min(1e-8)).mean()


def picture_l1(picture: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """The picture part of L_self (supplement A.2, B.1): ``mean |G2(f') - G(z)|``.

    ``weight``: (B, 1, H, W) in [0, 1], factor of the error at each pixel.
    """
    difference = (picture.float() - target.float()).abs()
    return (difference if weight is None else difference * weight).mean()


def reconstruction(logits: torch.Tensor, target: torch.Tensor, adjustment: torch.Tensor | None = None) -> torch.Tensor:
    """L_recon of the mapper (supplement A.2): cross-entropy of its logits (B, K, h, w) to the sample's own proxy mask (B, h, w).

    ``adjustment`` (K,) is added to the logits. With ``tau log p_k``, p the clusters' frequencies, the mapper's own logits give a rare
    cluster a probability higher by ``p_k ^ -tau``: logit adjustment (Menon et al. 2021, equation 10). Beyond the paper.
    """
    scores = logits.float()
    return F.cross_entropy(scores if adjustment is None else scores + adjustment[:, None, None], target)


def distillation_loss(logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
    """Distillation (Hinton et al. 2015, section 2, at temperature 1): ``mean_x KL(softmax(t(x)) || softmax(s(x)))``. Beyond the paper.

    ``logits`` s and ``teacher_logits`` t: (B, K, h, w).
    """
    ours, theirs = logits.float().log_softmax(dim=1), teacher_logits.float().log_softmax(dim=1)
    return F.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=1).mean()


def label_loss(logits: torch.Tensor, mask: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """L_label: cross-entropy of the labels that the auxiliary segmenter s finds in a picture to the mask m that it was made from.

    ``-mean_x v_m(x) log softmax_m(x)(s(G2(f')(x)))``. Beyond the paper.

    Args:
        logits: (B, N, H, W) of s.
        mask: m, ids (B, H, W) int64 (-100: left out).
        weight: v (N,), so that small parts count.
    """
    return F.cross_entropy(logits.float(), mask, weight, reduction="none").mean()  # over all pixels, as in mask_loss
