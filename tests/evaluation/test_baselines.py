"""The baselines without learning: they copy what is there, and share out clusters as the samples have them."""

import torch

from proxymask.evaluation.baselines import LabelTable, nearest_copy
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.split_generator import SplitGenerator


def test_nearest_copy(split: SplitGenerator, clusters: ProxyClusters, w: torch.Tensor) -> None:
    state = split.features(w[:2])
    own = clusters.assign(state.features)
    again = nearest_copy(state, own, clusters)
    assert torch.equal(again.features, state.features)  # the nearest position of its own cluster is a position itself
    assert torch.equal(again.rgb, state.rgb)
    present = [cluster for cluster in range(5) if (own[0] == cluster).any() and (own[1] == cluster).any()]
    wanted = torch.full_like(own, present[0])
    wanted[:, :4] = present[-1]
    assert torch.equal(clusters.assign(nearest_copy(state, wanted, clusters).features), wanted)


def test_nearest_copy_of_a_missing_cluster(split: SplitGenerator, clusters: ProxyClusters, w: torch.Tensor) -> None:
    state = split.features(w[:1])
    own = clusters.assign(state.features)
    missing = int(own[0, 0, 0])
    y, x = (own[0] != missing).nonzero()[0].tolist()
    without = torch.where(own[:, None] == missing, state.features[:, :, y, x][..., None, None], state.features)
    found = nearest_copy(state._replace(features=without), torch.full_like(own, missing), clusters).features[0]
    most_similar = clusters.scores(without)[0, missing].flatten().argmax()
    assert torch.equal(found, without[0].flatten(1)[:, most_similar][:, None, None].expand_as(found))


def test_label_table_keeps_proportions() -> None:
    mask = torch.zeros(1, 8, 8, dtype=torch.int64)
    mask[:, 4:] = 1
    proxy = torch.zeros(1, 4, 4, dtype=torch.int64)
    proxy[:, 2:] = torch.tensor([1, 1, 1, 2])  # three of four in label 1, the last column another
    table = LabelTable(mask, proxy)
    assert torch.equal(table(mask), proxy)
    every = table(torch.ones_like(mask))[0]
    assert torch.bincount(every.flatten(), minlength=3).tolist() == [0, 12, 4]
    assert torch.equal(every[:, 3], torch.full((4,), 2))  # the nearest positions first
    unknown = table(torch.full_like(mask, 7))
    assert torch.equal(unknown, torch.zeros_like(unknown))  # the clusters of label 0


def test_label_table_takes_the_first_sample_of_a_label() -> None:
    masks = torch.stack([torch.zeros(4, 4, dtype=torch.int64), torch.ones(4, 4, dtype=torch.int64)])
    masks[1, :2] = 0
    proxies = torch.stack([torch.full((2, 2), 3), torch.full((2, 2), 4)])
    assert LabelTable(masks, proxies)(masks).tolist() == [[[3, 3], [3, 3]], [[3, 3], [4, 4]]]
