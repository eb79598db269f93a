"""Augmentations of conditions and of pictures."""

from pathlib import Path

import pytest
import torch

import tiny
from proxymask.conditions import augmentations, get_condition
from proxymask.core.seeding import derive_rng


@pytest.mark.parametrize("name", ["sketch", "edges", "scribble", "depth", "picture", "darkness"])
def test_augmentations_keep_the_shape_and_repeat(name: str) -> None:
    if name == "darkness":
        get_condition(str(Path(__file__).parents[2] / "examples" / "conditions" / "darkness.py:darkness"))
    condition = get_condition(name, tiny.LABELS if name == "scribble" else None)
    at = torch.arange(32)
    drawn = ((at[:, None] - at[None]).abs() < 2).float().expand(16, condition.channels, 32, 32).clone()
    if name == "scribble":
        drawn[:, 1:] = 0
    one, two = (condition.augment(drawn, derive_rng(0, 5)) for _ in range(2))
    assert one.shape == drawn.shape
    assert torch.equal(one, two)
    assert 0 <= float(one.min()) <= float(one.max()) <= 1
    assert not torch.equal(one, condition.augment(drawn, derive_rng(0, 6)))
    assert len({float(x.sum()) for x in one}) > 8  # independent samples
    if name == "scribble":
        assert set(one.unique().tolist()) <= {0.0, 1.0}
        assert not one[:, 1:].any()  # no stroke changes its class


def test_augmentations_have_the_given_strength() -> None:
    line = torch.zeros(3, 1, 32, 32)
    line[:, :, 16] = 1
    extra = torch.tensor([0.0, 1.0, 4.0]).view(3, 1, 1, 1)
    assert augmentations.thicken(line, extra).sum(dim=(1, 2, 3)).tolist() == [32, 64, 160]
    full = torch.ones(3, 1, 32, 32)
    shares = torch.tensor([0.0, 0.25, 0.6]).view(3, 1, 1, 1)
    left = augmentations.remove(full, shares, derive_rng(0)).mean(dim=(1, 2, 3))
    assert torch.allclose(left, 1 - shares.flatten(), atol=0.01)
    dots = torch.zeros(2, 1, 64, 64)
    dots[:, :, 32, 32] = 1
    still = augmentations.jitter(dots, torch.zeros(2, 1, 1, 1), derive_rng(0))
    assert torch.allclose(still, dots, atol=1e-5)
    ramp = torch.linspace(0, 1, 64).expand(64, 1, 64, 64)
    moved = augmentations.jitter(ramp, torch.full((64, 1, 1, 1), 2.0), derive_rng(1)) - ramp
    assert float(moved[..., 8:-8].square().mean().sqrt() * 63) == pytest.approx(2, rel=0.15)  # pixels


def test_recoloured_pictures_keep_their_layout() -> None:
    pictures = torch.full((200, 3, 8, 8), -0.2)
    pictures[:, 0, :4], pictures[:, 2, 4:] = 0.9, 0.5
    which = (torch.arange(200) % 2 == 1).float()[:, None, None, None]
    out = augmentations.recolour(pictures, which, torch.Generator().manual_seed(0))
    assert torch.equal(out[::2], pictures[::2])
    changed = out[1::2]
    assert float(changed.abs().max()) <= 1
    assert torch.equal(changed, changed[:, :1].expand_as(changed))  # grey
    above, below = changed[:, 0, :4].flatten(1), changed[:, 0, 4:].flatten(1)
    assert float(above.std(dim=1).max()) < 1e-6  # what was one colour is one
    assert 0.2 < float((above[:, 0] > below[:, 0]).float().mean()) < 0.8  # and which is the lighter is left to chance
