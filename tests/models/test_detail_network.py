"""The detail network."""

import pytest
import torch
import torch.nn.functional as F

from proxymask.core.errors import ProxymaskError
from proxymask.inference.fused import fused_copy
from proxymask.models.detail_network import DetailNetwork

PLANES, CLUSTERS = 3, 5


def network(start: tuple[int, int] = (4, 4), resolution: int = 16, cut: int = 8) -> DetailNetwork:
    torch.manual_seed(0)
    made = DetailNetwork(PLANES, CLUSTERS, 6, 10, 7, resolution, cut, 8, 4, start)
    with torch.no_grad():
        made.leave.weight.normal_()
        made.modulation.weight.normal_()
    return made.eval()


def square(height: int = 16, width: int = 16) -> torch.Tensor:
    ids = torch.zeros(1, height, width, dtype=torch.int64)
    ids[:, 6:10, 6:10] = 1
    return F.one_hot(ids, PLANES).permute(0, 3, 1, 2).float()


def change(made: DetailNetwork, planes: torch.Tensor, proxy: torch.Tensor, w: torch.Tensor | None = None) -> torch.Tensor:
    height, width = proxy.shape[-2:]
    features = torch.randn(len(planes), 6, height, width, generator=torch.Generator().manual_seed(1))
    return made(made.encode(planes, proxy), features, torch.ones(len(planes), 10) if w is None else w)


def test_it_starts_as_no_change() -> None:
    made = DetailNetwork(PLANES, CLUSTERS, 6, 10, 7, 16, 8)
    assert (change(made, square(), torch.zeros(1, 8, 8, dtype=torch.int64)) == 0).all()


def test_it_acts_in_the_band_about_borders_only() -> None:
    found = change(network(), square(), torch.zeros(1, 8, 8, dtype=torch.int64))
    assert found.shape == (1, 7, 16, 16)
    acts = found.abs().amax(dim=1)[0] > 0
    rows = torch.arange(16)
    near = ((rows >= 3) & (rows <= 12))[:, None] & ((rows >= 3) & (rows <= 12))[None, :]  # border pixels 5 to 10, and 2 more
    for corner in ((3, 3), (3, 12), (12, 3), (12, 12)):  # of the square, which no pixel of the border has as a side
        near[corner] = False
    assert torch.equal(acts, near)


def test_a_mask_without_borders_changes_nothing() -> None:
    flat = torch.zeros(1, PLANES, 16, 16)
    flat[:, 2] = 1
    assert (change(network(), flat, torch.zeros(1, 8, 8, dtype=torch.int64)) == 0).all()


def test_ids_and_planes_of_the_proxy_mask_mean_the_same() -> None:
    ids = torch.randint(CLUSTERS, (1, 8, 8), generator=torch.Generator().manual_seed(2))
    planes = F.one_hot(ids, CLUSTERS).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(change(network(), square(), ids), change(network(), square(), planes))


def test_the_last_layers_w_counts() -> None:
    w = torch.randn(1, 4, 10, generator=torch.Generator().manual_seed(3))
    proxy = torch.zeros(1, 8, 8, dtype=torch.int64)
    assert torch.equal(change(network(), square(), proxy, w), change(network(), square(), proxy, w[:, -1]))
    assert not torch.equal(change(network(), square(), proxy, w), change(network(), square(), proxy, w[:, 0]))


def test_the_fused_form_is_the_same_function() -> None:
    made, proxy = network(), torch.zeros(1, 8, 8, dtype=torch.int64)
    torch.testing.assert_close(change(fused_copy(made, torch.float32), square(), proxy), change(made, square(), proxy))


def test_pictures_that_are_not_square_and_a_smaller_cut() -> None:
    made = network((4, 8), 32, 8)
    found = change(made, square(32, 64), torch.zeros(1, 8, 16, dtype=torch.int64))
    assert found.shape == (1, 7, 32, 64)
    assert made.reach == 4


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ProxymaskError, match="at least 2 times the cut"):
        DetailNetwork(PLANES, CLUSTERS, 6, 10, 7, 16, 16)
    with pytest.raises(ProxymaskError, match="planes"):
        DetailNetwork(0, CLUSTERS, 6, 10, 7, 16, 8)
