"""The detail network."""

import pytest
import torch
import torch.nn.functional as F

from proxymask.core.errors import ProxymaskError
from proxymask.inference.fused import fused_copy
from proxymask.models.detail_network import DetailChange, DetailNetwork

PLANES = 3


def network(resolution: int = 16, cut: int = 8) -> DetailNetwork:
    torch.manual_seed(0)
    made = DetailNetwork(PLANES, 7, resolution, cut, 8, 2.0)
    with torch.no_grad():
        made.leave.weight.normal_()
    return made.eval()


def square(height: int = 16, width: int = 16) -> torch.Tensor:
    ids = torch.zeros(1, height, width, dtype=torch.int64)
    ids[:, 6:10, 6:10] = 1
    return F.one_hot(ids, PLANES).permute(0, 3, 1, 2).float()


def change(made: DetailNetwork, given: torch.Tensor) -> DetailChange:
    size = [side // made.factor for side in given.shape[-2:]]
    last = torch.randn(len(given), 7, *size, generator=torch.Generator().manual_seed(1))
    return made(made.encode(given), last)


def is_nothing(found: DetailChange) -> bool:
    return bool((found.features == 0).all() and (found.neighbours == 0).all())


def test_it_starts_as_no_change() -> None:
    assert is_nothing(change(DetailNetwork(PLANES, 7, 16, 8), square()))


def test_it_acts_about_borders_and_fades() -> None:
    made, planes = network(resolution=32, cut=16), square(32, 32)  # border pixels 5 to 10; a cell is 2 pixels
    found = change(made, planes)
    assert found.features.shape == (1, 7, 32, 32)
    assert found.neighbours.shape == (1, 4, 32, 32)
    gate = made.gate(planes)
    assert (gate[0, 0, 8, [5, 6, 9, 10]] == 1).all()
    assert (gate[0, 0, 8, 10:15].diff() < 0).all()
    assert gate[0, 0, 8, 14] > 0
    assert (gate[0, 0, :, 15:] == 0).all()
    for part in (found.features, found.neighbours):
        assert torch.equal(part.abs().amax(dim=1)[0] > 0, gate[0, 0] > 0)


def test_the_gate_of_ids_is_that_of_their_planes() -> None:
    planes = square()
    for same_planes in (planes, planes.to(torch.uint8), planes.bool()):
        assert torch.equal(network().gate(planes.argmax(dim=1)), network().gate(same_planes))


def test_a_mask_without_borders_changes_nothing() -> None:
    flat = torch.zeros(1, PLANES, 16, 16)
    flat[:, 2] = 1
    assert is_nothing(change(network(), flat))


def test_neighbours_take_their_share_of_a_pixel() -> None:
    picture = torch.arange(2 * 9, dtype=torch.float32).view(1, 2, 3, 3)
    weights = torch.zeros(1, 4, 3, 3)
    weights[0, :, 1, 1] = torch.tensor([0.25, 0.125, 0.0625, 0.5])  # above, below, left, right
    weights[0, 0, 0, 0] = 1.0  # nothing is above a corner
    mixed = DetailChange(torch.zeros(1, 1, 3, 3), weights, 1, 1.0).on_picture(picture)
    wanted = picture.clone()
    p = picture[0, :]
    wanted[0, :, 1, 1] = 0.25 * p[:, 0, 1] + 0.125 * p[:, 2, 1] + 0.0625 * p[:, 1, 0] + 0.5 * p[:, 1, 2] + 0.0625 * p[:, 1, 1]
    torch.testing.assert_close(mixed, wanted)


def test_neighbours_of_larger_pictures_are_further_away() -> None:
    picture = torch.arange(64, dtype=torch.float32).view(1, 1, 8, 8)
    weights = torch.zeros(1, 4, 4, 4)
    weights[:, 0] = 0.5  # above
    mixed = DetailChange(torch.zeros(1, 1, 4, 4), weights, 2, 1.0).on_picture(picture)
    torch.testing.assert_close(mixed[:, :, 2:], picture[:, :, 2:] - 8)  # half of what stands two rows of 8 above
    assert torch.equal(mixed[:, :, :2], picture[:, :, :2])


def same(a: DetailChange, b: DetailChange) -> bool:
    return torch.allclose(a.features, b.features, atol=1e-5) and torch.allclose(a.neighbours, b.neighbours, atol=1e-5)


def test_ids_and_planes_mean_the_same() -> None:
    assert same(change(network(), square().argmax(dim=1)), change(network(), square()))


def test_one_mask_serves_several_pictures() -> None:
    made = network()
    last = torch.randn(2, 7, 16, 16, generator=torch.Generator().manual_seed(1))
    assert same(made(made.encode(square()), last), made(made.encode(square().expand(2, -1, -1, -1)), last))


def test_the_level_of_the_features_is_a_unit() -> None:
    """Features that are twice as large, in a network for such, get twice the change, and neighbours the same."""
    one, two = network(), network()
    two.level *= 2
    two.drawn.gain /= 2
    last = torch.randn(1, 7, 16, 16, generator=torch.Generator().manual_seed(1))
    found, twice = one(one.encode(square()), last), two(two.encode(square()), 2 * last)
    nothing = torch.zeros_like(last)
    torch.testing.assert_close(2 * found.on_features(nothing), twice.on_features(nothing))
    torch.testing.assert_close(found.neighbours, twice.neighbours)


def test_changes_of_two_networks_add_up() -> None:
    one, two = network(), network()
    two.level *= 2
    last, given = torch.randn(1, 7, 16, 16, generator=torch.Generator().manual_seed(1)), square()
    a, b = one(one.encode(given), last), two(two.encode(given), last)
    torch.testing.assert_close(a.plus(b).on_features(last), b.on_features(a.on_features(last)))
    torch.testing.assert_close(a.plus(b).neighbours, a.neighbours + b.neighbours)


def test_the_fused_form_is_the_same_function() -> None:
    made = network()
    assert same(change(fused_copy(made, torch.float32), square()), change(made, square()))


def test_pictures_that_are_not_square_and_a_smaller_cut() -> None:
    made = network(32, 8)
    found = change(made, square(32, 64))
    assert found.features.shape == (1, 7, 16, 32)
    assert (made.cell, found.factor) == (4, 2)


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ProxymaskError, match="at least 2 times the cut"):
        DetailNetwork(PLANES, 7, 16, 16)
    with pytest.raises(ProxymaskError, match="planes"):
        DetailNetwork(0, 7, 16, 8)
