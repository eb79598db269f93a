import dataclasses
import math

import pytest
import torch

from proxymask.core.errors import ProxymaskError
from proxymask.imaging.labels import LabelSet
from proxymask.models import segmentation_nets
from proxymask.models.segmentation_nets import DilatedSegmenter, UNetSegmenter
from proxymask.training.loop import LoopConfig, Run
from proxymask.training.segmentation import (
    NO_CLASS,
    SegmentationConfig,
    SegmentationStage,
    augment,
    class_weights,
    evaluate_segmentation_net,
    resample,
    train_segmentation_net,
    unweight,
)

CPU = {"device": "cpu", "precision": "fp32"}
NETS = [lambda n: UNetSegmenter(n, width=8), lambda n: DilatedSegmenter(n, width=16)]


class Shapes:
    """Bright squares (1) with a one-pixel bar (2) on a noisy background (0)."""

    def __init__(self, count=24, size=16):
        rng = torch.Generator().manual_seed(0)
        self._masks = torch.zeros(count, size, size, dtype=torch.long)
        for mask in self._masks:
            y, x = torch.randint(1, size // 2 - 1, (2,), generator=rng).tolist()
            mask[y : y + size // 2, x : x + size // 2] = 1
            mask[y + size // 4, x + 1 : x + size // 2 - 1] = 2
        palette = torch.tensor([[-0.5, -0.5, 0.0], [0.6, 0.2, 0.0], [-0.8, 0.2, 0.9]])
        self._images = palette[self._masks].permute(0, 3, 1, 2) + 0.1 * torch.randn(count, 3, size, size, generator=rng)

    def __len__(self):
        return len(self._masks)

    def images(self, indices):
        return self._images[indices].clamp(-1, 1)

    def masks(self, indices):
        return self._masks[indices]


def small(seed=0, kind=1):
    torch.manual_seed(seed)
    return NETS[kind](3)


@pytest.mark.parametrize("make", NETS)
def test_shapes_sizes_and_gradients(make):
    net = make(5)
    for size in ((16, 24), (8, 8)):
        logits = net(torch.randn(2, 3, *size))
        assert logits.shape == (2, 5, *size)
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    for wrong in (torch.zeros(1, 3, 12, 16), torch.zeros(1, 1, 16, 16), torch.zeros(3, 16, 16)):
        with pytest.raises(ProxymaskError, match="multiples of 8"):
            net(wrong)


@pytest.mark.parametrize("make", NETS)
def test_a_picture_does_not_depend_on_its_batch(make):
    net, x = make(4), torch.randn(3, 3, 16, 16)
    net.train()
    torch.testing.assert_close(net(x)[1:2], net(x[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", NETS)
def test_save_and_load(make, tmp_path):
    net, x = make(4), torch.randn(1, 3, 16, 16)
    loaded = type(net).from_pretrained(net.save_pretrained(tmp_path))
    assert torch.equal(net(x), loaded(x))


@pytest.mark.parametrize("kind", [UNetSegmenter, DilatedSegmenter])
def test_receptive_field_is_large_and_detail_is_kept(kind, monkeypatch):
    """Without the norms, whose receptive field is the whole picture: pixels at a distance of 28 matter, the nearest ones matter most."""
    monkeypatch.setattr(segmentation_nets, "_norm", lambda channels: torch.nn.Identity())
    torch.manual_seed(0)
    x = torch.randn(4, 3, 64, 64, requires_grad=True)
    kind(3)(x)[..., 32, 32].square().sum().backward()
    reach = x.grad.abs().sum((0, 1))
    assert reach[32, 4] > 0
    assert reach[29:36, 29:36].max() == reach.max()


def test_features_are_means_and_deviations_of_the_maps():
    net = DilatedSegmenter(4).eval()
    x = torch.rand(3, 3, 64, 64) * 2 - 1
    features = net.features(x)
    assert features.shape == (3, 288)
    assert features.dtype == torch.float32
    assert torch.allclose(features[:1], net.features(x[:1]), atol=1e-5)
    assert (features[0] - features[1]).abs().max() > 1e-3
    stages = net.feature_maps(x)
    assert torch.allclose(features[:, :16], stages[0].mean((2, 3)))
    assert torch.allclose(features[:, -32:], stages[-1].flatten(2).std(2, correction=0), atol=1e-5)


def test_augment_moves_picture_and_mask_together():
    rng = torch.Generator().manual_seed(1)
    masks = torch.randint(0, 2, (64, 4, 4), generator=rng).repeat_interleave(8, 1).repeat_interleave(8, 2)
    images = (masks[:, None] * 2.0 - 1).expand(-1, 3, -1, -1) * 0.6
    moved, labels = augment(images, masks, torch.Generator().manual_seed(2))
    assert not torch.equal(labels, masks)
    assert moved.abs().max() <= 1
    bright = moved.mean(1)
    for picture, mask in zip(bright, labels, strict=True):
        if 0.05 < mask.float().mean() < 0.95:
            both = torch.stack([picture.flatten(), mask.flatten().float()])
            assert torch.corrcoef(both)[0, 1] > 0.8
    again = augment(images, masks, torch.Generator().manual_seed(2))
    assert torch.equal(again[0], moved)
    assert torch.equal(again[1], labels)
    assert not torch.equal(augment(images, masks, torch.Generator().manual_seed(3))[0], moved)


def test_class_weights():
    data = Shapes()
    weights = class_weights(data, 5, power=0.25)
    share = torch.bincount(data._masks.flatten(), minlength=5) / data._masks.numel()
    assert weights[3:].sum() == 0
    assert float((weights * share).sum()) == pytest.approx(1)
    assert float(weights[2] / weights[0]) == pytest.approx(float(share[0] / share[2]) ** 0.25, rel=1e-5)
    with pytest.raises(ProxymaskError, match="has 2 classes"):
        class_weights(data, 2)


@pytest.mark.parametrize("kind", [0, 1])
def test_learns(kind):
    data, log = Shapes(64), []
    config = SegmentationConfig(learning_rate=5e-3, balance=0.25)
    net = train_segmentation_net(
        small(kind=kind), data, LoopConfig(steps=80, batch=8, **CPU), config=config, progress=lambda *a: log.append(a)
    )
    matrix = evaluate_segmentation_net(net, data, **CPU)
    assert matrix.iou()[:2].min() > 0.9  # the thin bar needs more steps
    assert int(matrix.counts.sum()) == 64 * 16 * 16
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    assert [step for step, _, _ in log] == list(range(1, 81))
    assert log[-1][2]["loss/cross_entropy"] < log[49][2]["loss/cross_entropy"]


class Breaks(Shapes):
    """Stops the run in the middle of a step, like a kill."""

    reads = 0

    def images(self, indices):
        self.reads += 1
        if self.reads > 5:
            raise RuntimeError("killed")
        return super().images(indices)


def test_stop_and_resume_is_exact(tmp_path):
    loop = LoopConfig(steps=8, batch=4, seed=3, checkpoint_every=2, grid_every=2, **CPU)
    straight = train_segmentation_net(small(), Shapes(), loop)
    with pytest.raises(RuntimeError, match="killed"):
        train_segmentation_net(small(), Breaks(), loop, out=tmp_path)
    with pytest.raises(ProxymaskError, match="other settings"):
        train_segmentation_net(small(), Shapes(), dataclasses.replace(loop, steps=9), out=tmp_path)
    seen = []
    resumed = train_segmentation_net(small(9), Shapes(), loop, out=tmp_path, progress=lambda step, *_: seen.append(step))
    assert seen == [5, 6, 7, 8]
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert torch.equal(DilatedSegmenter.from_pretrained(tmp_path).head.weight, straight.head.weight)
    again = train_segmentation_net(small(9), Shapes(), loop, out=tmp_path)  # a finished run is not trained further
    assert torch.equal(again.head.weight, straight.head.weight)


def test_microbatches_change_nothing():
    def gradients(accumulate):
        stage = SegmentationStage(small(), Shapes(), SegmentationConfig(), steps=10)
        run = Run(LoopConfig(batch=8, accumulate=accumulate, **CPU), stage)
        stage.step(run)
        return torch.cat([p.grad.flatten() for p in stage.net.parameters()])

    torch.testing.assert_close(gradients(1), gradients(4), rtol=1e-3, atol=1e-5)


def test_grid():
    data = Shapes()
    data.labels = LabelSet.of([("ground", "#000000"), ("square", "#ff0000"), ("bar", "#00ff00")])
    stage = SegmentationStage(small(), data, SegmentationConfig(), steps=10)
    run = Run(LoopConfig(**CPU), stage)
    run.averages = {"net": stage.net}
    picture = stage.grid(run)
    assert (0, 255, 0) in {color for _, color in picture.getcolors(1 << 20)}
    data.labels = None
    assert stage.grid(run) is None


def test_pixels_without_a_class_are_ignored():
    blank = Shapes()
    blank._masks[:, :8] = NO_CLASS
    net = train_segmentation_net(small(), blank, LoopConfig(steps=2, batch=4, **CPU))
    assert all(p.isfinite().all() for p in net.parameters())
    assert int(evaluate_segmentation_net(net, blank, [0, 1], **CPU).counts.sum()) == 2 * 8 * 16


def test_empty_set():
    class Empty(Shapes):
        def __len__(self):
            return 0

    with pytest.raises(ProxymaskError, match="empty"):
        train_segmentation_net(small(), Empty(), LoopConfig(steps=1, **CPU))


def test_resampled_pictures_lose_detail_every_second_one() -> None:
    pictures = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = resample(pictures, 0.25, torch.Generator().manual_seed(1))
    assert torch.equal(found[1::2], pictures[1::2])
    assert (found[::2].var(dim=(1, 2, 3)) < 0.8 * pictures[::2].var(dim=(1, 2, 3))).all()
    assert torch.equal(found, resample(pictures, 0.25, torch.Generator().manual_seed(1)))
    flat = torch.full((2, 3, 32, 32), 0.5)
    torch.testing.assert_close(resample(flat, 0.25, torch.Generator().manual_seed(1)), flat)


def test_left_and_right_change_places_in_mirrored_pictures() -> None:
    """Class 1 is on the left of every picture, 2 on the right; so it is in all augmented ones."""
    masks = torch.ones(64, 16, 16, dtype=torch.long)
    masks[..., 8:] = 2
    table = torch.arange(256)
    table[[1, 2]] = torch.tensor([2, 1])
    _, swapped = augment(torch.zeros(64, 3, 16, 16), masks, torch.Generator().manual_seed(2), table)
    assert (swapped[..., :6] == 1).all()
    assert (swapped[..., 10:] == 2).all()
    _, plain = augment(torch.zeros(64, 3, 16, 16), masks, torch.Generator().manual_seed(2))
    assert 0.2 < float((plain[:, 0, 0] == 1).float().mean()) < 0.8


def test_a_class_that_was_never_seen_is_not_predicted() -> None:
    net = UNetSegmenter(3, width=8)
    before = net.head.bias.detach().clone()
    unweight(net, torch.tensor([2.0, 0.5, 0.0]))
    assert torch.allclose(net.head.bias, before - torch.tensor([math.log(2), math.log(0.5), 0.0]))
