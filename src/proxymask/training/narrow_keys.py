"""Fewer channels of queries and keys in a trained rearranger (beyond the paper): nearly the same attention logits, computed faster.

After training, most of the variance of ``query . key`` lies in a part of the channels. Of all pairs of linear maps to ``width`` channels,
the one with the least mean square error of the logits is the truncated singular value decomposition after both are whitened. The maps are
multiplied into the last linear layer of either side, so that nothing else changes (docs/decisions.md, narrow-queries-and-keys).
"""

import torch

from ..models.proxy_clusters import ProxyClusters
from ..models.rearranger import Rearranger
from ..models.split_generator import SplitGenerator

BATCH = 8  # samples a forward pass


@torch.no_grad()
def narrow_keys(
    rearranger: Rearranger, split: SplitGenerator, clusters: ProxyClusters, width: int, z: torch.Tensor
) -> tuple[Rearranger, float]:
    """A copy of ``rearranger`` with queries and keys of ``width`` channels, fitted to samples ``z`` (n, z_dim) with their own proxy masks.

    Returns:
        The copy, or ``rearranger`` itself if its queries and keys are not wider; the root mean square error of the logits.
    """
    if rearranger.key_dim <= width:
        return rearranger, 0.0
    device = rearranger.to_query.weight.device
    query_moment, key_moment = (torch.zeros(rearranger.key_dim, rearranger.key_dim, dtype=torch.float64) for _ in range(2))
    count = 0
    for part in z.split(BATCH):
        state = split.features(split.w(part.to(device)))
        own = clusters.assign(state.features)
        query = rearranger.encode_mask(clusters.one_hot(own)).query.flatten(0, 1).double().cpu()
        key = rearranger.encode_style(state, own).key.double().cpu()
        key = (key - key.mean(dim=1, keepdim=True)).flatten(0, 1)  # softmax ignores what all keys of a style have in common
        query_moment += query.t() @ query
        key_moment += key.t() @ key
        count += len(query)
    query_root, query_inverse = _roots(query_moment / count)
    key_root, key_inverse = _roots(key_moment / count)
    left, size, right = torch.linalg.svd(query_root @ key_root)
    share = size[:width].sqrt()
    # the logits are divided by the root of the width, which has changed
    share = share * (width / rearranger.key_dim) ** 0.25
    to_query, to_key = query_inverse @ left[:, :width] * share, key_inverse @ right[:width].t() * share

    narrowed = Rearranger(**{**rearranger.config, "key_channels": width}).to(device)
    weights = rearranger.state_dict()
    for name, narrower in (("to_query.weight", to_query), ("to_key.weight", to_key)):
        weights[name] = torch.einsum("cd,ceij->deij", narrower.to(weights[name]), weights[name])
    narrowed.load_state_dict(weights)
    lost = float((size[width:].square().sum() / rearranger.key_dim).sqrt())
    return narrowed.train(rearranger.training), lost


def _roots(moment: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The symmetric root of a positive matrix, and its inverse with the eigenvalues bounded from below."""
    values, axes = torch.linalg.eigh(moment)
    values = values.clamp_min(values[-1] * 1e-9)
    return axes * values.sqrt() @ axes.t(), axes * values.rsqrt() @ axes.t()
