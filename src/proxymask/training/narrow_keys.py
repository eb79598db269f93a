"""Narrower queries and keys once a rearranger is trained (beyond the paper): the same logits, up to a little, from fewer products.

Training leaves most of the variance of ``query . key`` in a part of their channels. Of all pairs of linear maps of the two to ``width``
channels, one is nearest to the logits in the mean square: the truncated singular value decomposition of what is left when both are made
white (docs/experiments.md, 27). It goes into the weights of the last linear map of either side, so that nothing else changes.
"""

import torch

from ..models.proxy_clusters import ProxyClusters
from ..models.rearranger import Rearranger
from ..models.split_generator import SplitGenerator

BATCH = 8  # samples a forward pass


@torch.no_grad()
def narrow_keys(
    rearranger: Rearranger, cut: SplitGenerator, clusters: ProxyClusters, width: int, z: torch.Tensor
) -> tuple[Rearranger, float]:
    """``rearranger`` with queries and keys of ``width`` channels, fitted to the samples of ``z`` (n, z_dim) under their own proxy masks,
    and the root mean square of what the logits lose; itself where they are no wider."""
    if rearranger.key_dim <= width:
        return rearranger, 0.0
    device = rearranger.to_query.weight.device
    query_moment, key_moment = (torch.zeros(rearranger.key_dim, rearranger.key_dim, dtype=torch.float64) for _ in range(2))
    count = 0
    for part in z.split(BATCH):
        state = cut.features(cut.w(part.to(device)))
        own = clusters.assign(state.features)
        query = rearranger.encode_mask(clusters.one_hot(own)).query.flatten(0, 1).double().cpu()
        key = rearranger.encode_style(state, own).key.double().cpu()
        key = (key - key.mean(dim=1, keepdim=True)).flatten(0, 1)  # what all keys of a style have in common no softmax sees
        query_moment += query.t() @ query
        key_moment += key.t() @ key
        count += len(query)
    query_root, query_inverse = _roots(query_moment / count)
    key_root, key_inverse = _roots(key_moment / count)
    left, size, right = torch.linalg.svd(query_root @ key_root)
    share = size[:width].sqrt()
    # logits are divided by the root of the width, which is another now
    share = share * (width / rearranger.key_dim) ** 0.25
    to_query, to_key = query_inverse @ left[:, :width] * share, key_inverse @ right[:width].t() * share

    narrow_channels = Rearranger(**{**rearranger.config, "key_channels": width}).to(device)
    weights = rearranger.state_dict()
    for name, narrower in (("to_query.weight", to_query), ("to_key.weight", to_key)):
        weights[name] = torch.einsum("cd,ceij->deij", narrower.to(weights[name]), weights[name])
    narrow_channels.load_state_dict(weights)
    lost = float((size[width:].square().sum() / rearranger.key_dim).sqrt())
    return narrow_channels.train(rearranger.training), lost


def _roots(moment: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The symmetric root of a positive matrix and its inverse; directions with next to nothing in them count as having a little."""
    values, axes = torch.linalg.eigh(moment)
    values = values.clamp_min(values[-1] * 1e-9)
    return axes * values.sqrt() @ axes.t(), axes * values.rsqrt() @ axes.t()
