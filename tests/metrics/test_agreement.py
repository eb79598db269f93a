import math

import numpy as np
import pytest
import torch

from proxymask.core.errors import ProxymaskError
from proxymask.metrics.agreement import (
    MaskAgreement,
    RegionColors,
    mask_agreement,
    psnr,
    region_colors,
    style_consistency,
    style_distances,
    unchanged_share,
)


class ArgMax:
    def assign(self, features):
        return features.argmax(1)


def one_hot(ids, k):
    return torch.nn.functional.one_hot(ids, k).permute(0, 3, 1, 2).float()


def test_mask_agreement_against_a_loop():
    rng = torch.Generator().manual_seed(0)
    target, style, got = (torch.randint(0, k, (5, 6, 6), generator=rng) for k in (7, 4, 7))
    style[0] = 2
    counts = [0, 0, 0, 0]
    for b in range(5):
        for y in range(6):
            for x in range(6):
                absent = not bool((style[b] == target[b, y, x]).any())
                counts[2 * absent + 1] += 1
                counts[2 * absent] += int(got[b, y, x] == target[b, y, x])
    result = mask_agreement(one_hot(got, 8), target, style, ArgMax())
    assert result == MaskAgreement(*counts)
    assert result.present == pytest.approx(counts[0] / counts[1])
    assert result.absent == pytest.approx(counts[2] / counts[3])
    assert result.overall == pytest.approx(float((got == target).float().mean()))
    split = mask_agreement(one_hot(got[:2], 8), target[:2], style[:2], ArgMax()) + mask_agreement(
        one_hot(got[2:], 8), target[2:], style[2:], ArgMax()
    )
    assert split == result


def test_mask_agreement_without_positions_is_nan():
    same = torch.zeros(1, 2, 2, dtype=torch.long)
    result = mask_agreement(one_hot(same, 2), same, same, ArgMax())
    assert result.present == 1
    assert math.isnan(result.absent)
    assert math.isnan(MaskAgreement().overall)
    with pytest.raises(ProxymaskError, match="shapes differ"):
        mask_agreement(one_hot(same, 2), same, torch.zeros(1, 4, 4, dtype=torch.long), ArgMax())


def test_region_colors():
    rng = np.random.default_rng(1)
    images, masks = rng.uniform(-1, 1, (3, 3, 8, 10)), rng.integers(0, 4, (3, 8, 10))
    result = region_colors(torch.from_numpy(images).float(), torch.from_numpy(masks), 5)
    for b in range(3):
        for label in range(4):
            np.testing.assert_allclose(result.mean[b, label], images[b][:, masks[b] == label].mean(1), atol=1e-6)
            assert result.area[b, label] == (masks[b] == label).sum()
    assert not result.valid[:, 4].any()
    assert result.valid[:, :4].all()
    assert (result.mean[:, 4] == 0).all()


def colors(mean, area):
    return RegionColors(torch.tensor(mean, dtype=torch.float32), torch.tensor(area))


def test_style_distances_by_hand():
    picture = colors([[[0, 0, 0], [1, 0, 0], [5, 5, 5]]], [[30, 10, 4]])
    references = colors(
        [[[0, 0, 0.5], [0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0], [9, 9, 9]], [[0] * 3] * 3], [[1, 1, 0], [0, 7, 0], [0, 0, 0]]
    )
    np.testing.assert_allclose(style_distances(picture, references)[0], [(0.5 * 30 + 1 * 10) / 40, 1, np.inf])
    np.testing.assert_allclose(style_distances(picture, references, "plain")[0], [0.75, 1, np.inf])
    np.testing.assert_allclose(style_distances(picture, references, ignore=(1,))[0], [0.5, np.inf, np.inf])


def painted(palettes, masks):
    """Pictures (S, M, 3, H, W) that paint mask m with the palette (N, 3) of style s."""
    return torch.stack([palette[masks].permute(0, 3, 1, 2) for palette in palettes])


def test_style_consistency_of_perfect_shuffled_and_equal_pictures():
    rng = torch.Generator().manual_seed(2)
    palettes = torch.rand(4, 3, 3, generator=rng) * 2 - 1
    masks = torch.randint(0, 3, (5, 8, 8), generator=rng)
    own = torch.randint(0, 3, (4, 8, 8), generator=rng)
    references = region_colors(torch.stack([palettes[s][own[s]].permute(2, 0, 1) for s in range(4)]), own, 3)
    images = painted(palettes, masks)
    assert style_consistency(images, masks, references) == 1
    assert style_consistency(images + 0.05 * torch.randn(images.shape, generator=rng), masks, references, "plain") == 1
    assert style_consistency(images.roll(1, 0), masks, references) == 0
    mixed = images.clone()
    mixed[0, 1] = images[1, 1]
    assert style_consistency(mixed, masks, references) == pytest.approx(19 / 20)
    equal = RegionColors(references.mean[:1].expand(4, -1, -1), references.area[:1].expand(4, -1))
    assert style_consistency(images, masks, equal) == 0  # no style is nearest: a tie is a miss


def test_style_consistency_uses_the_asked_mask():
    """Pictures with the right colours in the wrong places are punished."""
    palettes = torch.tensor([[[1.0, 0, 0], [0, 0, 1.0]], [[0, 0, 1.0], [1.0, 0, 0]]])  # the second style swaps the colours
    mask = torch.zeros(1, 4, 4, dtype=torch.long)
    mask[0, :, 2:] = 1
    references = region_colors(painted(palettes, mask)[:, 0], mask.expand(2, -1, -1), 2)
    assert style_consistency(painted(palettes, mask), mask, references) == 1
    assert style_consistency(painted(palettes, 1 - mask), mask, references) == 0


def test_psnr():
    a = torch.zeros(2, 3, 4, 4)
    b = a.clone()
    b[0] += 0.2
    result = psnr(a, b)
    assert float(result[0]) == pytest.approx(20, abs=1e-5)  # error 0.2 of a range of 2
    assert torch.isinf(result[1])
    assert float(psnr(a, b, peak=1.0)[0]) == pytest.approx(20 - 20 * math.log10(2), abs=1e-5)


def test_errors():
    picture = torch.zeros(1, 3, 4, 4)
    with pytest.raises(ProxymaskError, match="do not fit"):
        region_colors(picture, torch.zeros(1, 5, 4, dtype=torch.long), 2)
    with pytest.raises(ProxymaskError, match="outside"):
        region_colors(picture, torch.full((1, 4, 4), 2), 2)
    with pytest.raises(ProxymaskError, match="do not fit"):
        style_consistency(torch.zeros(2, 3, 3, 4, 4), torch.zeros(3, 4, 4), colors([[[0.0] * 3]], [[1]]))
    with pytest.raises(ProxymaskError, match="differ in shape"):
        psnr(picture, picture[..., :2])


def test_unchanged_share():
    a = torch.zeros(2, 3, 4, 4)
    b = a.clone()
    b[0, 1, :2] = 0.2  # one channel is enough
    b[1] += 0.04  # below the threshold
    same, total = unchanged_share(a, b)
    assert same.tolist() == [8, 16]
    assert total.tolist() == [16, 16]
    where = torch.zeros(2, 4, 4, dtype=torch.bool)
    where[:, 0] = True
    same, total = unchanged_share(a, b, where)
    assert (same.tolist(), total.tolist()) == ([0, 4], [4, 4])
    with pytest.raises(ProxymaskError, match="do not fit"):
        unchanged_share(a, b[:1])
    with pytest.raises(ProxymaskError, match="do not fit"):
        unchanged_share(a, b, where[:1])
