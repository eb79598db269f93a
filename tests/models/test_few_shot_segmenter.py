"""The few-shot segmenter."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import tiny
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.split_generator import SplitGenerator
from proxymask.models.stylegan2 import seed_to_z
from proxymask.training.segmenter import SegmenterConfig, SegmenterStage, mirror_and_shift


def test_sum_of_projections_equals_the_hypercolumn(split: SplitGenerator, w: torch.Tensor) -> None:
    """The reference is a 1x1 convolution of the concatenated, upsampled levels, without the first."""
    segmenter = tiny.make_segmenter(split)
    levels, _ = split.feature_pyramid(w)
    grown = [F.interpolate(level, size=tiny.SIZE, mode="bilinear", align_corners=False) for level in levels[1:]]
    column = torch.cat([x / level.square().mean().sqrt() for x, level in zip(grown, levels[1:], strict=True)], dim=1)
    segmenter.calibrate(levels)
    assert column.shape[1] == sum(tiny.LEVELS[1:])
    weight = torch.cat([conv.weight for conv in segmenter.project], dim=1)
    x = F.conv2d(column, weight) / 2**0.5
    seen = []
    segmenter.convs[0].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    logits = segmenter(levels)
    assert torch.allclose(seen[0], F.leaky_relu(x, 0.2), atol=1e-4)
    for conv, dilation in zip(segmenter.convs, (1, 2), strict=True):
        x = x + F.conv2d(F.leaky_relu(x, 0.2), conv.weight, conv.bias, padding=dilation, dilation=dilation)
    assert torch.allclose(logits, F.conv2d(F.leaky_relu(x, 0.2), segmenter.out.weight, segmenter.out.bias), atol=1e-4)
    assert logits.shape == (8, tiny.N, tiny.SIZE, tiny.SIZE)


def test_every_level_matters_but_the_skipped_ones(split: SplitGenerator, w: torch.Tensor) -> None:
    levels, _ = split.feature_pyramid(w)
    segmenter = tiny.make_segmenter(split)
    changed = [levels[0] + 1, *levels[1:]]
    assert torch.equal(segmenter(changed), segmenter(levels))  # of the skipped level
    assert not torch.equal(segmenter([levels[0], levels[1] + 1, levels[2]]), segmenter(levels))
    every = FewShotSegmenter(tiny.LEVELS, tiny.SIZE, tiny.N, width=4, skip_levels=0)
    assert not torch.equal(every(changed), every(levels))
    big = [100 * level for level in levels]  # after calibration, the scale of the features does not matter
    small = segmenter(levels)
    segmenter.level_rms.mul_(100)
    assert torch.allclose(segmenter(big), small, atol=1e-4)
    with pytest.raises(ValueError, match="zip"):
        segmenter(levels[:2])


def test_saving_and_loading_keeps_everything(split: SplitGenerator, w: torch.Tensor, tmp_path) -> None:
    segmenter = tiny.make_segmenter(split)
    again = FewShotSegmenter.from_pretrained(segmenter.save_pretrained(tmp_path / "s"))
    levels, _ = split.feature_pyramid(w)
    assert torch.equal(again(levels), segmenter(levels))


class Discs(nn.Module):
    """A toy generator: a disc and a bar below it, placed by w, in features that mix them with a texture and noise."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mixes = nn.ParameterList(torch.randn(channels, 5) for channels in tiny.LEVELS)

    def shares(self, w: torch.Tensor, res: int) -> torch.Tensor:
        """Share of each class at each position, background first: (B, 3, res, res), summing to one."""
        at = (torch.arange(res) + 0.5) / res
        y, x = at[None, :, None], at[None, None, :]
        cy, cx, radius = (0.4 + 0.3 * w[:, i, None, None].tanh() * (0.5 if i == 2 else 1) for i in range(3))
        radius = radius * 0.6
        disc = torch.sigmoid((radius - ((y - cy).square() + (x - cx).square()).sqrt()) * 40)
        bar = torch.sigmoid((y - cy - radius - 0.05) * 40) * (1 - disc)
        return torch.stack([1 - disc - bar, disc, bar], dim=1)

    def feature_pyramid(self, w: torch.Tensor, noise_mode: str = "const") -> tuple[list[torch.Tensor], None]:
        levels = []
        for res, mix in zip((4, 8, 16), self.mixes, strict=True):
            texture = torch.sin(torch.arange(res * res) * w[:, :1] * 3).view(-1, 1, res, res)
            noise = torch.randn(len(w), 1, res, res, generator=torch.Generator().manual_seed(res))
            levels.append(torch.einsum("bkhw,ck->bchw", torch.cat([self.shares(w, res), 0.2 * texture, 0.2 * noise], 1), mix))
        return levels, None

    def labels(self, w: torch.Tensor) -> torch.Tensor:
        return self.shares(w, tiny.SIZE).argmax(dim=1)


@pytest.mark.parametrize("shots", [1, 4])
def test_learns_from_few_samples(shots: int, tmp_path) -> None:
    """Trained on one or four labelled samples, it labels others correctly, with their parts in other places."""
    toy, w = Discs(), torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    ws, others = w[:shots], w[4:]
    segmenter = FewShotSegmenter(tiny.LEVELS, tiny.SIZE, 3, width=16, dilations=(1, 2))
    segmenter.calibrate(toy.feature_pyramid(w)[0])
    stage = SegmenterStage(toy, segmenter, ws, toy.labels(ws), SegmenterConfig(learning_rate=0.01))  # type: ignore[arg-type]
    run = tiny.run(stage, tmp_path, steps=60, batch=4, log_every=60, checkpoint_every=1000, ema_samples=40)
    with torch.no_grad():
        learned = run.averages["segmenter"](toy.feature_pyramid(others)[0]).argmax(dim=1)
    truth = toy.labels(others)
    assert float((learned == truth).float().mean()) > 0.95
    assert min(float((learned == truth)[truth == label].float().mean()) for label in range(3)) > 0.85
    assert float((toy.labels(w[:1]) == truth).float().mean()) < 0.8  # the mask of the labelled sample itself does not fit the others


def test_rare_classes_weigh_more(split: SplitGenerator) -> None:
    masks = torch.zeros(1, tiny.SIZE, tiny.SIZE, dtype=torch.long)
    masks[0, 0, :4], masks[0, 4:8] = 1, 2  # 4, 64 and 188 pixels; class 3 is not there
    ws = split.w(seed_to_z([0], tiny.Z))
    counts = torch.tensor([188.0, 4.0, 64.0, 0.0])
    weight = SegmenterStage(tiny.make_cut(), tiny.make_segmenter(split), ws, masks, SegmenterConfig()).weight
    assert weight[3] == 0
    assert float((weight * counts).sum()) == pytest.approx(256, rel=1e-5)  # the mean over the pixels is one
    assert float(weight[1] / weight[0]) == pytest.approx((188 / 4) ** 0.5, rel=1e-4)


def test_moving_labels_and_features_together() -> None:
    mask = torch.arange(64.0).view(1, 1, 8, 8).repeat(4, 1, 1, 1)
    mirror = torch.tensor([False, True, False, True])
    move = torch.tensor([[0, 0], [0, 0], [2, -1], [-20, 20]])
    got = mirror_and_shift(mask, mirror, move, 8)[:, 0]
    plain = mask[0, 0]
    assert torch.equal(got[0], plain)
    assert torch.equal(got[1], plain.flip(1))
    rows, cols = torch.arange(8).add(2).clamp(0, 7), torch.arange(8).sub(1).clamp(0, 7)
    assert torch.equal(got[2], plain[rows][:, cols])
    assert torch.equal(got[3], plain.flip(1)[torch.zeros(8, dtype=torch.long)][:, torch.full((8,), 7)])  # only replicated border pixels
    coarse = mirror_and_shift(mask[:, :, ::2, ::2].contiguous(), mirror, move, 8)[:, 0]  # at half the size, half the cells
    small = plain[::2, ::2]
    assert torch.equal(coarse[2], small[torch.arange(4).add(1).clamp(0, 3)][:, torch.arange(4)])  # -0.5 rounds to even: 0


def test_left_and_right_change_places_in_mirrored_samples(split: SplitGenerator, tmp_path: Path) -> None:
    """Class 1 is on the left, 2 on the right; a network that says so is right about the mirrored sample too."""
    masks = torch.ones(1, tiny.SIZE, tiny.SIZE, dtype=torch.long)
    masks[..., tiny.SIZE // 2 :] = 2
    swap = torch.arange(256)
    swap[[1, 2]] = torch.tensor([2, 1])
    ws = split.w(seed_to_z([0], tiny.Z))
    levels, _ = split.feature_pyramid(ws)
    answer = 50 * torch.nn.functional.one_hot(masks, tiny.N).movedim(3, 1).float()
    found = []
    for table in (None, swap):
        stage = SegmenterStage(tiny.make_cut(), tiny.make_segmenter(split), ws, masks, SegmenterConfig(), None, table)
        run = tiny.run(stage, tmp_path / str(table is None), steps=1)
        moves = torch.tensor([True]), torch.zeros(1, 2, dtype=torch.long)
        found.append(float(stage._loss(run, lambda _: answer, levels, masks, *moves)))  # type: ignore[arg-type]
    assert found[0] > 10
    assert found[1] < 0.01
