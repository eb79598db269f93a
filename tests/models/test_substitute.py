"""Clusters that a style lacks are replaced by those in the same places; the prior of a style."""

import torch

import tiny
from proxymask.models.proxy_clusters import PRIOR_EXPONENT, ProxyClusters, fit_proxy_clusters


def clusters_with(occupancy: torch.Tensor) -> ProxyClusters:
    k, r, _ = occupancy.shape
    clusters = ProxyClusters(num_clusters=k, channels=4, resolution=r)
    clusters.occupancy.copy_(occupancy)
    return clusters


def test_substitute_takes_the_cluster_of_the_same_places() -> None:
    top, bottom = torch.zeros(4, 4), torch.zeros(4, 4)
    top[:2], bottom[2:] = 1.0, 1.0
    clusters = clusters_with(torch.stack([top * 0.7, top * 0.3, bottom * 0.6, bottom * 0.4]))  # 0 and 1 share the top, 2 and 3 the bottom
    mask = torch.tensor([[0, 1, 2, 3]] * 4)[None]
    present = torch.tensor([[False, True, True, False]])
    expected = torch.tensor([[1, 1, 2, 2]] * 4)[None]
    assert torch.equal(clusters.substitute(mask, present), expected)


def test_a_cluster_without_similar_substitute_stays() -> None:
    """With ``min_similarity``, only a cluster in the same places replaces another."""
    occupancy = torch.zeros(3, 4, 4)
    occupancy[0, :2], occupancy[1, :2, :3], occupancy[2, 2:] = 1.0, 1.0, 1.0
    clusters = clusters_with(occupancy)
    mask = torch.tensor([[[1, 2], [1, 2]]])
    present = torch.tensor([[True, False, False]])
    assert torch.equal(clusters.substitute(mask, present), torch.zeros_like(mask))
    assert torch.equal(clusters.substitute(mask, present, min_similarity=0.7), torch.tensor([[[0, 2], [0, 2]]]))
    assert torch.equal(clusters.substitute(mask, present, min_similarity=1.0), mask)


def test_present_clusters_stay_in_each_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    clusters = clusters_with(torch.rand(5, 8, 8, generator=generator))
    mask = torch.randint(0, 5, (2, 8, 8), generator=generator)
    assert torch.equal(clusters.substitute(mask, torch.ones(2, 5, dtype=torch.bool)), mask)
    present = torch.tensor([[True, False, False, False, False], [False, False, False, False, True]])
    out = clusters.substitute(mask, present)
    assert bool((out[0] == 0).all())
    assert bool((out[1] == 4).all())


def test_occupancy_is_the_share_of_samples_at_each_position() -> None:
    features = torch.randn(12, 6, 4, 4, generator=torch.Generator().manual_seed(1))
    clusters = fit_proxy_clusters(lambda: features.split(5), 3, 4, seed=0)
    masks = clusters.assign(features)
    for k in range(3):
        assert torch.allclose(clusters.occupancy[k], (masks == k).float().mean(dim=0), atol=1e-6)
    assert torch.allclose(clusters.occupancy.sum(dim=0), torch.ones(4, 4))
    sizes = (masks.flatten(1)[:, :, None] == torch.arange(3)).sum(dim=1).float()
    assert torch.allclose(clusters.typical, sizes.sum(dim=0) / (sizes > 0).sum(dim=0))


def test_a_few_positions_are_not_enough() -> None:
    clusters = ProxyClusters(num_clusters=3, channels=4, resolution=4)
    clusters.typical.copy_(torch.tensor([8.0, 8.0, 1.0]))
    counts = torch.tensor([[14, 1, 1], [0, 0, 0], [12, 4, 0]])
    expected = torch.tensor([[True, False, True], [True, True, True], [True, True, False]])
    assert torch.equal(clusters.available(counts), expected)


def test_prior_is_bayes_rule_among_clusters_of_the_same_places() -> None:
    """How much a style has of a thing is shape; in which of the clusters of that thing it has it is style."""
    top, bottom = torch.zeros(4, 4), torch.zeros(4, 4)
    top[:2], bottom[2:] = 1.0, 1.0
    clusters = clusters_with(torch.stack([top * 0.75, top * 0.25, bottom * 0.5, bottom * 0.5]))
    mean = clusters.occupancy.sum(dim=(1, 2))
    assert mean.tolist() == [6, 2, 4, 4]
    assert clusters.shares().tolist() == [6 / 16, 2 / 16, 4 / 16, 4 / 16]
    assert torch.allclose(clusters.prior(mean[None]), torch.zeros(1, 4), atol=1e-6)
    much_on_top = clusters.prior((mean * torch.tensor([1.5, 1.5, 0.5, 0.5]))[None])
    assert torch.allclose(much_on_top, torch.zeros(1, 4), atol=1e-6)
    others = clusters.prior(torch.tensor([[2.0, 6.0, 4.0, 4.0]]))
    assert torch.allclose(others, PRIOR_EXPONENT * torch.tensor([[1 / 3, 3.0, 1.0, 1.0]]).log(), atol=1e-6)


def test_prior_is_finite_and_keeps_its_precision() -> None:
    clusters = tiny.make_clusters(tiny.make_cut())
    clusters.occupancy[2] = 0  # never seen in the fit
    nothing = clusters.prior(torch.zeros(1, tiny.K))  # nothing of a cluster is very unlikely, not impossible
    assert torch.isfinite(nothing).all()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(clusters.prior(torch.zeros(1, tiny.K)), nothing)
