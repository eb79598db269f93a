"""Fewer keys of a style for the attention of one new mask after another (beyond the paper).

Many positions of a style look alike, and the attention mixes them anyway. Groups of equally many positions that are alike in key and value
together become one each: since every group is as large as the others, the weights of the softmax stay what they would be. What a style
costs once doubles; every mask in it costs less (docs/experiments.md, 25).
"""

import torch

from .rearranger import StyleKeys

ROUNDS = 4  # of the power iteration for the axis along which a group is halved


@torch.no_grad()
def fewer_keys(keys: StyleKeys, most: int) -> StyleKeys:
    """The same styles with at most ``most`` keys each, a power of two; all n of them where ``most`` is 0, or where n cannot be halved as
    often.

    The positions are halved by the median along the axis in which they differ most, and so are the halves, and so on, until there are as
    many groups as possible; a group's key and value are means.
    """
    n = keys.key.shape[1]
    if not most or n <= most:
        return keys
    times = most.bit_length() - 1
    if n % 2**times:
        return keys
    key, value = keys.key.float(), keys.value.float()
    # both as what they are to the attention: products of unit queries, and values as they come out
    spread = [part.std(dim=(1, 2), keepdim=True, correction=0) for part in (key, value)]
    x = torch.cat([key, value * (spread[0] / spread[1].clamp_min(1e-12))], dim=2)
    order = torch.arange(n, device=x.device).expand(len(x), n)[:, None]  # (B, groups, members)
    for _ in range(times):
        members = x.gather(1, order.flatten(1)[:, :, None].expand(-1, -1, x.shape[2])).unflatten(1, order.shape[1:])
        members = members - members.mean(dim=2, keepdim=True)
        far = members.square().sum(dim=3).argmax(dim=2)
        axis = members.gather(2, far[:, :, None, None].expand(-1, -1, 1, x.shape[2])).squeeze(2)
        for _round in range(ROUNDS):
            axis = torch.einsum("bgmd,bgm->bgd", members, torch.einsum("bgmd,bgd->bgm", members, axis))
            axis = axis / axis.norm(dim=2, keepdim=True).clamp_min(1e-12)
        along = torch.einsum("bgmd,bgd->bgm", members, axis).argsort(dim=2, stable=True)
        halves = order.gather(2, along).unflatten(2, (2, -1))
        order = halves.flatten(1, 2)
    group = order.flatten(1)[:, :, None]
    mean = (part.gather(1, group.expand(-1, -1, part.shape[2])).unflatten(1, order.shape[1:]).mean(dim=2) for part in (key, value))
    thin_key, thin_value = mean
    return keys._replace(key=thin_key.to(keys.key.dtype), value=thin_value.to(keys.value.dtype))
