"""The style prior of masks: which clusters a style has under each label (beyond the paper).

A mask says where skin is, not which skin. By Bayes' rule ``p(cluster | mask, style)`` is ``p(cluster | mask)``, which the mapper learns,
times how much more frequent the cluster is in this style, under the label of that position, than in samples at large. Counting each label
by itself removes how much of a label a style sample has, which is shape and not style.

With it, the mapper learns only what the style leaves open. Without it, a mapper finds out colours from the mistakes of the few-shot
segmenter, and L_label prefers those in which a mask is easily read: dark faces came out light (docs/decisions.md, label-prior). For inputs
without labels, as drawings, the coarser :meth:`ProxyClusters.prior` takes its place.

Shapes: B samples, K clusters, N labels, h x w the size of the proxy mask, H x W that of the picture.
"""

import torch
import torch.nn.functional as F

PICTURE_EXPONENT = 2.0  # in pictures; 1, as Bayes' rule has it, while the mapper learns from samples in their own styles
# added to the counts, as shares of all positions, so that a missing cluster is unlikely and not impossible
ADDED_TO_CLUSTER = 0.0005  # to every cluster under every label
ADDED_TO_LABEL = 0.005  # to every label, in its clusters as they are at large: a label that a style lacks has an ordinary share of each


def clusters_by_label(proxy: torch.Tensor, labels: torch.Tensor, num_clusters: int, num_labels: int) -> torch.Tensor:
    """Positions of each cluster under each label, (B, K, N) float32, of proxy masks (B, h, w) and labels (B, H, W)."""
    small = F.interpolate(labels[:, None].float(), size=proxy.shape[1:], mode="nearest-exact")[:, 0].long()
    pairs = (proxy.long() * num_labels + small).flatten(1)
    counts = torch.zeros(len(pairs), num_clusters * num_labels, device=pairs.device)
    return counts.scatter_add_(1, pairs, torch.ones_like(pairs, dtype=counts.dtype)).view(-1, num_clusters, num_labels)


def label_prior(counts: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Log of how much more frequent each cluster is under each label in a style than in samples at large, (B, K, N) float32.

    log(n_kl / m_kl) - log(n_l / m_l), with n_kl the style's positions of cluster k under label l, n_l those of the label in all, m_kl and
    m_l their means over samples, each with small pseudo-counts. The second term takes out how much of a label the style has: only how that
    is shared out among clusters counts.

    Args:
        counts: (B, K, N), :func:`clusters_by_label` of the style samples.
        mean: (K, N), its mean over samples.
    """
    positions, usual = mean.sum().clamp_min(1), mean.sum(dim=0)
    least, added = ADDED_TO_CLUSTER * positions, ADDED_TO_LABEL * positions
    cluster = ((counts + added * mean / usual.clamp_min(1e-6) + least) / (mean + least)).log()
    label = ((counts.sum(dim=1, keepdim=True) + added + least) / (usual + least)).log()
    return cluster - label


def prior_at(prior: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """The prior at every position, (B, K, h, w): that of the labels there, by their shares.

    Args:
        prior: (B, K, N) or (1, K, N), :func:`label_prior`.
        shares: (B, N, h, w) or (1, N, h, w), share of each label in a position.
    """
    found = shares.flatten(2).to(prior.dtype).transpose(1, 2) @ prior.transpose(1, 2)  # channels last, as logits are
    return found.unflatten(1, shares.shape[2:]).permute(0, 3, 1, 2)
