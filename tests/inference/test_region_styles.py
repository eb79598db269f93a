"""A style for each label: each region as its style alone would paint it, and refusals in words."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.inference.fused import FusedG2
from proxymask.inference.region_styles import RegionG2, assign_styles, attend_by_region, choose_by_region, shrink
from proxymask.inference.style import RegionStyles
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.split_generator import SplitState


@pytest.fixture(scope="module")
def synth() -> Synthesizer:
    """Float32, and a mapper that reads its mask."""
    bundle = tiny.make_bundle()
    with torch.no_grad():
        bundle.mappers["mask"].tail.weight.mul_(30)
    return Synthesizer(bundle, device="cpu", precision="fp32")


def halves(left: int, right: int) -> np.ndarray:
    """A mask of two labels, each half of it."""
    mask = np.full((tiny.SIZE, tiny.SIZE), left, dtype=np.uint8)
    mask[:, tiny.SIZE // 2 :] = right
    return mask


def names(synth: Synthesizer) -> tuple[str, ...]:
    return synth.config.labels


def test_one_style_for_every_label_is_that_style(synth: Synthesizer) -> None:
    mask = halves(0, 1)
    plain = synth(mask, 3, output_type="tensor")
    for styles in ({None: 3}, {names(synth)[0]: 3}, {0: 3, 1: synth.make_style(3)}):
        assert torch.allclose(synth(mask, styles, output_type="tensor"), plain, atol=2e-5)


def test_g2_of_one_style_is_that_of_the_style(synth: Synthesizer) -> None:
    style = synth.make_style(5)
    ones = torch.ones(1, tiny.SIZE, tiny.SIZE)
    got = RegionG2(synth.split, [style.w])(style.state, ones)
    assert torch.allclose(got, FusedG2(synth.split, style.w)(style.state), atol=1e-5)


def test_g2_inside_a_region_is_that_of_its_style(synth: Synthesizer) -> None:
    """Away from the border: layers behind the cut reach a few pixels."""
    a, b = synth.make_style(1), synth.make_style(2)
    half = torch.zeros(2, tiny.SIZE, tiny.SIZE)
    half[0, :, : tiny.SIZE // 2] = half[1, :, tiny.SIZE // 2 :] = 1
    both = RegionG2(synth.split, [a.w, b.w])(a.state, half)
    alone = [RegionG2(synth.split, [style.w])(a.state, torch.ones(1, tiny.SIZE, tiny.SIZE)) for style in (a, b)]
    assert torch.allclose(both[..., 0], alone[0][..., 0], atol=1e-5)
    assert torch.allclose(both[..., -1], alone[1][..., -1], atol=1e-5)
    assert not torch.allclose(alone[0], alone[1], atol=1e-2)


def test_attention_is_that_over_all_styles_with_the_others_masked_out(synth: Synthesizer) -> None:
    styles = [synth.make_style(1), synth.make_style(2)]
    side = synth.split.size[0]
    ids = torch.arange(side * side).view(1, side, side) % tiny.K
    tokens = synth.query_tokens(ids)
    owner = torch.zeros(side, side, dtype=torch.long)
    owner[:, side // 2 :] = 1
    weights = F.one_hot(owner, 2).permute(2, 0, 1).float()
    with torch.inference_mode():
        got = attend_by_region(synth.rearranger, tokens, styles, weights)
        key, value = (torch.cat([getattr(style.kv, part) for style in styles], dim=1) for part in ("key", "value"))
        logits = tokens.query @ key.transpose(1, 2) / key.shape[2] ** 0.5
        foreign = owner.flatten()[:, None] != torch.tensor([0, 1]).repeat_interleave(side * side)[None]
        moved = logits.masked_fill(foreign, -torch.inf).softmax(dim=-1) @ value
        statistics = torch.einsum("shw,sc->chw", weights, torch.cat([style.kv.statistics for style in styles]))[None]
        expected = synth.rearranger.finish(moved, tokens.mask_features, statistics, styles[0].kv.rgb)
    assert torch.allclose(got.features, expected.features, atol=1e-4)


def test_a_region_changes_with_its_style_and_the_far_side_does_not(synth: Synthesizer) -> None:
    mask = halves(0, 1)
    left, right = names(synth)[:2]
    first, second, third = (synth(mask, {left: 1, right: style}, output_type="numpy").astype(int) for style in (1, 2, 3))
    assert np.abs(first[:, -1] - second[:, -1]).max() > 8
    assert np.abs(second[:, -1] - third[:, -1]).max() > 8


def test_many_masks_mix_both_kinds_of_style(synth: Synthesizer) -> None:
    mask = halves(0, 1)
    styles = [3, {0: 3, 1: 4}, synth.make_region_styles({0: 3, 1: 4})]
    pictures = synth([mask] * 3, styles, output_type="numpy")
    assert np.array_equal(pictures[0], synth(mask, 3, output_type="numpy"))
    assert np.array_equal(pictures[1], pictures[2])
    assert np.array_equal(np.asarray(synth.generate(mask, {0: 3, 1: 4}).picture), pictures[1])


def test_labels_that_are_not_named(synth: Synthesizer) -> None:
    labels = synth.labels
    assert labels is not None
    first, second, *_ = labels.names
    assert assign_styles({second: 8, first: 2}, labels) == [2, 8, *[8] * (len(labels) - 2)]
    assert assign_styles({None: 5, second: 8}, labels) == [5, 8, *[5] * (len(labels) - 2)]
    made = synth.make_region_styles({None: 5, second: 8, 0: 5})
    assert isinstance(made, RegionStyles)
    assert len(made.styles) == 2
    assert "2 styles" in repr(made)


def test_shares_sum_to_one_at_every_size() -> None:
    weights = F.one_hot(torch.randint(0, 3, (32, 32), generator=torch.Generator().manual_seed(0)), 3).permute(2, 0, 1).float()
    for size in (32, 16, 8):
        small = shrink(weights, (size, size))
        assert small.shape == (3, size, size)
        assert torch.allclose(small.sum(dim=0), torch.ones(size, size))


def test_soft_proxy_masks_are_blended() -> None:
    planes = [F.one_hot(torch.full((1, 2, 2), k), 3).permute(0, 3, 1, 2).float() for k in (0, 2)]
    weights = torch.tensor([0.25, 0.75]).view(2, 1, 1).expand(2, 2, 2)
    got = choose_by_region(planes, weights)
    assert torch.allclose(got[0, :, 0, 0], torch.tensor([0.25, 0.0, 0.75]))
    assert choose_by_region([torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), 2)], weights).unique().tolist() == [2]


@pytest.mark.parametrize(
    ("styles", "said"),
    [
        ({}, "names at least one label"),
        ({"wings": 3}, "unknown class 'wings'"),
        ({"Left": 3}, "did you mean left"),
        ({99: 3}, "99 is no label"),
        ({True: 3}, "True is no label"),
        ({0: "3"}, "a style is a seed"),
        ({0: {1: 2}}, "a style is a seed"),
    ],
)
def test_refusals(synth: Synthesizer, styles: object, said: str) -> None:
    with pytest.raises(ProxymaskError, match=said):
        synth(halves(0, 1), styles)


def test_one_label_named_twice(synth: Synthesizer) -> None:
    with pytest.raises(ProxymaskError, match="two styles"):
        synth(halves(0, 1), {0: 3, names(synth)[0]: 4})


def test_without_a_mask_there_are_no_regions(synth: Synthesizer) -> None:
    with pytest.raises(ProxymaskError, match="needs a mask"):
        synth.transfer(1, {0: 3})


def test_states_stay_as_they_are(synth: Synthesizer) -> None:
    """The styles' own tensors are not written to."""
    style = synth.make_style(1)
    before = SplitState(*(part.clone() for part in style.state))
    synth(halves(0, 1), {0: style, 1: 2})
    assert all(torch.equal(old, new) for old, new in zip(before, style.state, strict=True))
