"""Fewer keys of a style."""

import pytest
import torch

import tiny
from proxymask.errors import ProxymaskError
from proxymask.fewer_keys import fewer_keys
from proxymask.layers import attention
from proxymask.rearranger import StyleKeys
from proxymask.synthesizer import Synthesizer


def keys_of(key: torch.Tensor, value: torch.Tensor) -> StyleKeys:
    one = torch.ones(len(key), 3)
    return StyleKeys(key, value, torch.zeros(len(key), 3, 8, 8), one.long(), one, one)


def test_positions_that_are_alike_are_one() -> None:
    """Where every position occurs four times, a quarter of the keys gives the same attention to the last digit but rounding."""
    rng = torch.Generator().manual_seed(0)
    few, values = torch.randn(2, 16, 8, generator=rng), torch.randn(2, 16, 5, generator=rng)
    places = torch.stack([torch.randperm(64, generator=rng) for _ in range(2)])
    spread = [part.repeat(1, 4, 1).gather(1, places[:, :, None].expand(-1, -1, part.shape[2])) for part in (few, values)]
    keys = keys_of(*spread)
    thin = fewer_keys(keys, 16)
    assert thin.key.shape == (2, 16, 8)
    assert thin.value.shape == (2, 16, 5)
    query = 3 * torch.randn(2, 30, 8, generator=rng)
    assert torch.allclose(attention(query, thin.key, thin.value), attention(query, *spread), atol=1e-5)
    assert float(torch.cdist(thin.key, few).amin(dim=2).max()) < 1e-4
    assert all(a is b for a, b in zip(keys[2:], thin[2:], strict=True))


def test_groups_are_of_one_size_and_alike() -> None:
    """Every position counts once; groups are tighter than groups at random."""
    rng = torch.Generator().manual_seed(1)
    key, value = torch.randn(1, 96, 6, generator=rng), torch.randn(1, 96, 4, generator=rng)
    thin = fewer_keys(keys_of(key, value), 32)
    assert thin.key.shape[1] == 32
    assert torch.allclose(thin.key.mean(dim=1), key.mean(dim=1), atol=1e-5)
    assert torch.allclose(thin.value.mean(dim=1), value.mean(dim=1), atol=1e-5)
    by_chance = key[:, torch.randperm(96, generator=rng)].unflatten(1, (32, 3)).mean(dim=2)
    assert float(thin.key.var(dim=1).mean()) > 1.5 * float(by_chance.var(dim=1).mean())


@pytest.mark.parametrize(
    ("n", "most", "left"), [(64, 0, 64), (64, 64, 64), (64, 100, 64), (64, 63, 32), (48, 16, 16), (48, 12, 8), (48, 33, 48), (45, 8, 45)]
)
def test_how_many_are_left(n: int, most: int, left: int) -> None:
    keys = keys_of(torch.randn(1, n, 8), torch.randn(1, n, 8))
    thin = fewer_keys(keys, most)
    assert thin.key.shape[1] == left
    assert (thin is keys) == (left == n)


def test_positions_all_alike() -> None:
    thin = fewer_keys(keys_of(torch.ones(1, 16, 4), torch.full((1, 16, 2), 2.0)), 4)
    assert torch.equal(thin.key, torch.ones(1, 4, 4))
    assert torch.equal(thin.value, torch.full((1, 4, 2), 2.0))


def test_the_bundle_says_how_many() -> None:
    bundle = tiny.make_bundle()
    plain = Synthesizer(bundle, "cpu", "fp32")
    n = plain.make_style(seed=1).keys.key.shape[1]
    bundle.about["keys"] = n // 2
    thin = Synthesizer(bundle, "cpu", "fp32")
    style = thin.make_style(seed=1)
    assert style.keys.key.shape[1] == n // 2
    own = bundle.clusters.assign(style.state.features)
    assert 0 < float((plain.render(own, plain.make_style(seed=1)) - thin.render(own, style)).abs().mean()) < 0.2
    both = thin.make_style(w=thin.w([1, 2]))
    pair = thin.render(own.expand(2, -1, -1), both)
    assert torch.allclose(pair[:1], thin.render(own, style), atol=1e-3)
    for wrong in (-1, 2.5, "many", True):
        bundle.about["keys"] = wrong
        with pytest.raises(ProxymaskError, match="whole number"):
            Synthesizer(bundle, "cpu", "fp32")
