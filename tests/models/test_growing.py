"""Grown networks start with the function of the smaller ones, and all their parameters get gradients."""

import pytest
import torch

from proxymask.core.errors import ProxymaskError
from proxymask.models.detail_network import DetailNetwork
from proxymask.models.discriminator import Discriminator
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.growing import grow_detail_network, grow_discriminator, grow_generator, grow_segmenter
from proxymask.models.split_generator import SplitGenerator
from proxymask.models.stylegan2 import Generator
from proxymask.models.stylegan2_ops import downsample2, upsample2

SMALL = {"resolution": 16, "channel_base": 512, "channel_max": 32}
LARGER = [(32, 512, 32), (32, 1024, 32), (64, 1024, 48), (128, 2048, 40)]


def generator(final_tanh: bool = False) -> Generator:
    """A small generator with random noise strengths and biases."""
    torch.manual_seed(0)
    made = Generator(z_dim=32, w_dim=32, mapping_layers=2, final_tanh=final_tanh, **SMALL)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            weight.add_(torch.randn_like(weight) * 0.3 if "bias" in name or "strength" in name else 0)
    return made


def discriminator() -> Discriminator:
    """A small discriminator with random biases."""
    torch.manual_seed(1)
    made = Discriminator(**SMALL)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            weight.add_(torch.randn_like(weight) * 0.3 if "bias" in name else 0)
    return made


@pytest.mark.parametrize(("resolution", "base", "most"), LARGER)
def test_pictures_start_as_the_upsampled_old_ones(resolution: int, base: int, most: int) -> None:
    small = generator()
    large = grow_generator(small, resolution, base, most)
    z = torch.randn(3, 32)
    expected = small(z)
    while expected.shape[-1] < resolution:
        expected = upsample2(expected, small.synthesis.b8.kernel)
    torch.testing.assert_close(large(z), expected, rtol=1e-4, atol=1e-5)
    assert large.synthesis.block(8).conv0.weight.shape[0] == min(base // 8, most)


@pytest.mark.parametrize("final_tanh", [False, True])
def test_old_blocks_alone_make_the_old_pictures(final_tanh: bool) -> None:
    """What L_keep compares with."""
    small = generator(final_tanh)
    split, w = SplitGenerator(grow_generator(small, 32, 512, 32), 16), small.mapping(torch.randn(3, 32))
    torch.testing.assert_close(split.image(split.features(w), w), small.synthesis(small.broadcast(w)))
    torch.testing.assert_close(SplitGenerator(small, 16).image(split.features(w), w), small.synthesis(small.broadcast(w)))


@pytest.mark.parametrize("cmap_dim", [None, 8])
def test_a_conditional_discriminator_grows(cmap_dim: int | None) -> None:
    torch.manual_seed(0)
    small = Discriminator(**SMALL, c_dim=3, cmap_dim=cmap_dim)
    large = grow_discriminator(small, 32, 1024, 48)
    picture, classes = torch.randn(4, 3, 32, 32), torch.eye(3)[[0, 1, 2, 0]]
    shrunk = downsample2(picture, large.block(32).skip.kernel)
    torch.testing.assert_close(large(picture, classes), small(shrunk, classes), rtol=1e-3, atol=5e-3)


@pytest.mark.parametrize(("resolution", "base", "most"), LARGER)
def test_logit_starts_as_that_of_the_downsampled_picture(resolution: int, base: int, most: int) -> None:
    small = discriminator()
    large = grow_discriminator(small, resolution, base, most)
    picture = torch.randn(4, 3, resolution, resolution)
    shrunk = picture
    while shrunk.shape[-1] > 16:
        shrunk = downsample2(shrunk, large.block(resolution).skip.kernel)
    # a wider 4x4 block changes the minibatch standard deviation a little
    torch.testing.assert_close(large(picture), small(shrunk), rtol=1e-4, atol=1e-5 if most == 32 else 2e-3)


def test_everything_learns_from_the_first_steps() -> None:
    """Weights that start at zero do not stay zero: after one step of the last layer, all parameters of the generator get gradients."""
    large, judge = grow_generator(generator(), 32, 1024, 48), grow_discriminator(discriminator(), 32, 1024, 48)
    judge(torch.randn(4, 3, 32, 32)).sum().backward()
    assert not [name for name, p in judge.named_parameters() if p.grad is None or not p.grad.abs().max()]
    z = torch.randn(4, 32)
    judge(large(z, noise_mode="random")).sum().backward()
    torgb = large.synthesis.block(32).torgb.weight
    assert torgb.grad is not None
    assert torgb.grad.abs().max() > 0
    with torch.no_grad():
        torgb.sub_(0.1 * torgb.grad)
    large.zero_grad()
    judge(large(z, noise_mode="random")).sum().backward()
    assert not [name for name, p in large.named_parameters() if p.grad is None or not p.grad.abs().max()]


def test_impossible_growth_is_refused() -> None:
    with pytest.raises(ProxymaskError, match="larger resolution"):
        grow_generator(generator(), 16, 512, 32)
    with pytest.raises(ProxymaskError, match="only get wider"):
        grow_generator(generator(), 32, 512, 16)
    with pytest.raises(ProxymaskError, match="to grow"):
        grow_discriminator(discriminator(), 256, 1024, 32)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_grown_segmenter_finds_the_same_areas(factor: int) -> None:
    """Logits of smooth features are those of the smaller one, interpolated; the features of new blocks do not count."""
    torch.manual_seed(0)
    small = FewShotSegmenter((6, 6, 5), 16, 3, width=8, dilations=(1, 2)).eval()
    small.calibrate([2 * torch.randn(4, 6, 4, 4), torch.randn(4, 6, 8, 8), torch.randn(4, 5, 16, 16)])
    new = [4] if factor == 2 else [4, 2]
    large = grow_segmenter(small, [6, 6, 5, *new])
    assert (large.resolution, large.training) == (16 * factor, False)
    flat = [torch.randn(2, c, 1, 1).expand(-1, -1, size, size).clone() for c, size in ((6, 4), (6, 8), (5, 16))]
    flat[2][..., 8:] += 1.0  # and a border
    others = [torch.randn(2, c, 16 * 2 ** (i + 1), 16 * 2 ** (i + 1)) for i, c in enumerate(new)]
    found, wanted = large([*flat, *others]), small(flat)
    torch.testing.assert_close(found, large([*flat, *(5 * x for x in others)]))
    middle = slice(6 * factor, 10 * factor)  # far from the frame
    for at in (2, 13):  # and from the border
        torch.testing.assert_close(
            found[:, :, middle, at * factor], wanted[:, :, 6:10, at].repeat_interleave(factor, dim=2), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("factor", [2, 4])
def test_a_grown_detail_network_reads_the_reduced_mask(factor: int) -> None:
    torch.manual_seed(0)
    small = DetailNetwork(3, 7, 16, 8, 8, 2.0).eval()
    torch.nn.init.normal_(small.leave.weight)
    large = grow_detail_network(small, factor)
    assert (large.factor, large.training) == (factor, False)
    mask = torch.zeros(1, 16, 16, dtype=torch.int64)
    mask[:, :, 7:] = 1
    theirs, ours = small.encode(mask), large.encode(mask.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2))
    torch.testing.assert_close(ours.layout, theirs.layout)
    assert (ours.gate - theirs.gate).abs().max() < 0.3  # a border is two pixels wide, here smaller ones
    full = torch.ones_like(ours.gate)
    features = torch.randn(1, 7, 16, 16)
    changes = [net(code._replace(gate=full), features) for net, code in ((small, theirs), (large, ours))]
    torch.testing.assert_close(changes[0].features, changes[1].features)
    torch.testing.assert_close(changes[0].neighbours, changes[1].neighbours)
    # a mask with half as large a detail is neither of the two labels
    assert large.encode(torch.arange(16 * factor).remainder(2).expand(1, 16 * factor, -1)).layout.std(dim=3).max() < 1e-5
