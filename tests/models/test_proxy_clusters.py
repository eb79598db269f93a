"""``ProxyClusters``: proxy masks, colours, files."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from proxymask.core.errors import ProxymaskError
from proxymask.models import spherical_kmeans as kmeans
from proxymask.models.proxy_clusters import ProxyClusters, fit_proxy_clusters

B, C, R, K = 5, 12, 8, 6


def maps(seed: int = 0, count: int = B) -> Tensor:
    """Feature maps (count, C, R, R): six directions with noise, at random places."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(K, C, generator=torch.Generator().manual_seed(77))
    ids = torch.randint(K, (count, R, R), generator=generator)
    return (centers[ids] + 0.5 * torch.randn(count, R, R, C, generator=generator)).permute(0, 3, 1, 2).contiguous()


def batches(features: Tensor, size: int = 2) -> Callable[[], Iterator[Tensor]]:
    return lambda: iter(features.split(size))


@pytest.fixture(scope="module")
def clusters() -> ProxyClusters:
    return fit_proxy_clusters(batches(maps()), K, R, seed=3, cut="8/second")


def test_fit_is_k_means_of_the_features(clusters: ProxyClusters) -> None:
    sizes = {"num_clusters": K, "channels": C, "resolution": R, "sample_count": B, "start": [4, 4]}
    assert clusters.config == {**sizes, "cut": "8/second"}
    assert not clusters.training
    features = maps()
    assert clusters.counts.tolist() == clusters.assign(features).flatten().bincount(minlength=K).tolist()
    best = clusters.scores(features).max(dim=1).values
    assert float(clusters.inertia) == pytest.approx(float(1 - best.mean()), abs=1e-5)
    again = fit_proxy_clusters(batches(features, 5), K, R, seed=3)
    assert torch.equal(again.centroids, clusters.centroids)
    # The rows that were clustered are the channels at each position.
    rows = features.permute(0, 2, 3, 1).reshape(-1, C)
    direct = kmeans.spherical_kmeans(lambda: [rows], K, seed=3)
    assert torch.equal(direct.centroids, clusters.centroids)


def test_assign_is_the_clustering(clusters: ProxyClusters) -> None:
    features = maps(seed=9)
    mask = clusters.assign(features)
    assert mask.shape == (B, R, R)
    assert mask.dtype == torch.int64
    for b, y, x in [(0, 0, 0), (1, 7, 2), (4, 3, 5)]:
        assert mask[b, y, x] == (clusters.centroids.double() @ features[b, :, y, x].double()).argmax()
    assert torch.equal(mask, clusters.scores(features).argmax(dim=1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mask, clusters.assign(features))
    assert (clusters.assign(torch.zeros(1, C, R, R)) == 0).all()


def test_scores_are_cosines(clusters: ProxyClusters) -> None:
    features = maps(seed=2)
    scores = clusters.scores(features)
    want = torch.nn.functional.cosine_similarity(features[:, None].double(), clusters.centroids[None, :, :, None, None].double(), dim=2)
    torch.testing.assert_close(scores, want.float())
    torch.testing.assert_close(clusters.scores(features * 1e-9), scores)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(clusters.scores(features), scores)
    assert clusters.scores(features.bfloat16()).dtype == torch.float32


def test_scores_have_a_gradient_even_at_zero(clusters: ProxyClusters) -> None:
    features = maps(seed=2)[:1].double()
    features[0, :, 1, 1] = 0
    features.requires_grad_()
    scores = clusters.scores(features)
    assert (scores[0, :, 1, 1] == 0).all()
    scores[0, 2].sum().backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
    assert features.grad.abs().max() < 10
    assert features.grad[0, :, 0, 0].abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool])
def test_one_hot_of_ids(clusters: ProxyClusters, dtype: torch.dtype) -> None:
    mask = clusters.assign(maps())
    hot = clusters.one_hot(mask, dtype)
    assert hot.shape == (B, K, R, R)
    assert hot.dtype == dtype
    assert torch.equal(hot.float().argmax(dim=1), mask)
    assert (hot.float().sum(dim=1) == 1).all()
    assert torch.equal(clusters.one_hot(mask.to(torch.uint8), dtype), hot)


def test_colours_are_distinct_and_stable() -> None:
    many = ProxyClusters(25).colors()
    assert many.shape == (25, 3)
    assert many.dtype == np.uint8
    assert (many == ProxyClusters(25).colors()).all()
    assert (many[:7] == ProxyClusters(7).colors()).all()
    distance = np.abs(many[:, None].astype(int) - many[None]).max(axis=-1) + 255 * np.eye(25, dtype=int)
    assert distance.min() >= 40
    for count in (1, 300, 2000):
        assert len(np.unique(ProxyClusters(count, 1, 1).colors(), axis=0)) == count


def test_colorize_maps_ids_to_colours(clusters: ProxyClusters) -> None:
    mask = clusters.assign(maps())
    picture = clusters.colorize(mask)
    assert picture.shape == (B, R, R, 3)
    assert picture.dtype == np.uint8
    assert (picture[1, 2, 3] == clusters.colors()[mask[1, 2, 3]]).all()
    assert (clusters.colorize(mask.numpy().astype(np.uint8)) == picture).all()
    assert (clusters.colorize(mask[0]) == picture[0]).all()


def test_report_lists_every_cluster(clusters: ProxyClusters) -> None:
    text = clusters.report()
    assert f"{K} proxy clusters of {B * R * R:,} vectors (5 pictures, 12 channels at 8 x 8, cut 8/second)" in text
    assert "empty: none" in text
    assert f"{float(clusters.inertia):.4f}" in text
    assert all(f"{size:,d}" in text for size in clusters.counts.tolist())
    assert ProxyClusters(4).report() == "4 proxy clusters, not fitted"
    flat = fit_proxy_clusters(lambda: [torch.ones(2, C, R, R)], 3, R, seed=0)
    assert "empty: " in flat.report()
    assert "empty: none" not in flat.report()


@pytest.mark.parametrize("half", [False, True])
def test_round_trip_keeps_every_bit(clusters: ProxyClusters, tmp_path: Path, half: bool) -> None:
    clusters.save_pretrained(tmp_path, half=half)
    back = ProxyClusters.from_pretrained(tmp_path)
    assert back.config == clusters.config
    for name, value in clusters.state_dict().items():
        assert torch.equal(back.state_dict()[name], value)
        assert back.state_dict()[name].dtype == value.dtype
    assert torch.equal(back.assign(maps(seed=1)), clusters.assign(maps(seed=1)))
    assert json.loads((tmp_path / "config.json").read_text())["class"] == "ProxyClusters"


def test_zero_positions_are_left_out() -> None:
    features = maps()
    features[:, :, 0, 0] = 0
    found = fit_proxy_clusters(batches(features), K, R, seed=0)
    assert found.counts.sum() == B * (R * R - 1)
    assert found.sample_count == B


def test_wrong_input_is_refused(clusters: ProxyClusters) -> None:
    for shape in [(1, C + 1, R, R), (1, C, R, R + 1), (C, R, R)]:
        for call in (clusters.scores, clusters.assign):
            with pytest.raises(ProxymaskError, match=r"take \(B, 12, 8, 8\)"):
                call(torch.zeros(shape))
    for bad in (K, -1):
        for check in (clusters.one_hot, clusters.colorize):
            with pytest.raises(ProxymaskError, match="there are 6 clusters"):
                check(torch.full((1, 2, 2), bad))
    with pytest.raises(ProxymaskError, match="integer ids"):
        clusters.one_hot(torch.zeros(1, 2, 2))
    with pytest.raises(ProxymaskError, match="expected"):
        fit_proxy_clusters(batches(maps()), K, R * 2, seed=0)
    with pytest.raises(ProxymaskError, match="at least one"):
        ProxyClusters(0)
    with pytest.raises(ProxymaskError, match="NaN"):
        fit_proxy_clusters(lambda: [maps() * float("nan")], K, R, seed=0)
