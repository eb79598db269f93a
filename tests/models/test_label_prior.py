"""The style prior of masks: counts of clusters under each label, what a style says of them, and where."""

import math

import pytest
import torch

import tiny
from proxymask.models.label_prior import clusters_by_label, label_prior, prior_at
from proxymask.models.oasis_mapper import COUNTS, OasisMapper


def test_counts_of_clusters_under_labels() -> None:
    proxy = torch.tensor([[[0, 1], [1, 2]]])
    labels = torch.tensor([[[0, 0], [0, 1]]]).repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)  # at twice the size
    assert clusters_by_label(proxy, labels, 3, 2).tolist() == [[[1, 0], [2, 0], [0, 1]]]


def test_prior_compares_clusters_within_a_label() -> None:
    mean = torch.tensor([[30.0, 0.0], [10.0, 0.0], [0.0, 8.0]])
    assert float(label_prior(mean[None], mean)[0, [0, 1, 2], [0, 0, 1]].abs().max()) < 0.01
    twice = label_prior(2 * mean[None], mean)  # a style with more of everything: how much there is of a label is no style
    assert float(twice[0, :2, 0].abs().max()) < 0.05
    dark = label_prior(torch.tensor([[[0.0, 0.0], [40.0, 0.0], [0.0, 8.0]]]), mean)[0]
    assert float(dark[1, 0]) == pytest.approx(math.log(4), abs=0.02)
    assert float(dark[0, 0]) < -4
    assert float(dark[2, 1]) == pytest.approx(0, abs=0.01)  # the other label is as it is at large
    without = label_prior(torch.tensor([[[30.0, 0.0], [10.0, 0.0], [0.0, 0.0]]]), mean)[0]
    assert float(without[2, 1]) == pytest.approx(0, abs=1e-5)  # nothing is known of a label that the style lacks


def test_prior_is_that_of_shares() -> None:
    """The same picture at twice the size has the same prior."""
    mean, counts = 10 * torch.rand(5, 3), 10 * torch.rand(2, 5, 3)
    assert torch.allclose(label_prior(counts, mean), label_prior(4 * counts, 4 * mean), atol=1e-5)
    nothing = torch.zeros(5, 3)
    nothing[:, 0] = 10  # labels that no sample has
    assert bool(torch.isfinite(label_prior(nothing[None], nothing)).all())


def test_prior_at_positions_is_that_of_their_labels() -> None:
    prior = torch.tensor([[[1.0, 5.0], [2.0, 7.0]]])  # (1, K, N)
    shares = torch.tensor([[[[1.0, 0.0, 0.5]], [[0.0, 1.0, 0.5]]]])
    assert prior_at(prior, shares).tolist() == [[[[1.0, 5.0, 3.0]], [[2.0, 7.0, 4.5]]]]


def test_a_mapper_counts_the_mean_over_all_samples(tmp_path) -> None:
    mapper = tiny.make_mapper(label_prior=True)
    rng = torch.Generator().manual_seed(1)
    proxy, labels = torch.randint(tiny.K, (12, 8, 8), generator=rng), torch.randint(tiny.N, (12, 16, 16), generator=rng)
    for part in ([0, 5], [5, 6], [6, 12]):
        mapper.count(proxy[slice(*part)], labels[slice(*part)])
    assert int(mapper.counted) == 12
    assert torch.allclose(mapper.cluster_counts, clusters_by_label(proxy, labels, tiny.K, tiny.N).mean(dim=0), atol=1e-5)
    again = OasisMapper.from_pretrained(mapper.save_pretrained(tmp_path / "mapper"))
    assert all(torch.equal(again.get_buffer(name), mapper.get_buffer(name)) for name in COUNTS)
    mapper.counted.fill_(10**6)  # more than float16 holds
    assert int(OasisMapper.from_pretrained(mapper.save_pretrained(tmp_path / "long", half=True)).counted) == 10**6
    uncounted = tiny.make_mapper(label_prior=True).style_prior(torch.rand(1, tiny.K, tiny.N), labels[:1])
    assert bool(torch.isfinite(uncounted).all())
    plain = OasisMapper.from_pretrained(tiny.make_mapper().save_pretrained(tmp_path / "plain"))  # as older versions wrote it
    assert not plain.label_prior
    assert not set(COUNTS) & plain.state_dict().keys()


def test_ids_and_planes_give_one_prior() -> None:
    mapper = tiny.make_mapper(label_prior=True)
    mapper.count(torch.randint(tiny.K, (4, 8, 8)), torch.randint(tiny.N, (4, 16, 16)))
    counts, mask = 10 * torch.rand(2, tiny.K, tiny.N), torch.randint(tiny.N, (2, 16, 16))
    of_ids = mapper.style_prior(counts, mask)
    assert of_ids.shape == (2, tiny.K, *mapper.size)
    assert torch.allclose(of_ids, mapper.style_prior(counts, mapper.planes(mask)), atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mapper.style_prior(counts, mask), of_ids)
