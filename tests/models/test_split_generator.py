"""The split generator: its halves equal the whole generator to the last bit."""

import pytest
import torch

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.models.split_generator import SplitGenerator, SplitState
from proxymask.models.stylegan2 import Generator, seed_to_z
from proxymask.models.stylegan2_ops import downsample2, fir_kernel, lowpass2_matmul, upsample2, upsample2_matmul


@pytest.fixture(scope="module")
def generator() -> Generator:
    return tiny.make_generator(seed=9, resolution=64, channel_base=512)


@pytest.mark.parametrize("resolution", [8, 16, 32, 64])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_halves_equal_the_whole(generator: Generator, resolution: int, precision: torch.dtype) -> None:
    split, z = SplitGenerator(generator, resolution), seed_to_z(range(3), tiny.Z)
    one = split.w(z, truncation=0.8)
    many = torch.randn(3, generator.num_ws, tiny.Z, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
        for w in (one, many):
            state = split.features(w)
            assert state.features.shape == (3, split.channels, resolution, resolution)
            assert state.rgb.shape == (3, 3, resolution, resolution)
            assert state.rgb.dtype == torch.float32
            picture = split.render(state, w)
            assert torch.equal(picture, generator.synthesis(generator.broadcast(w)))
            levels, same = split.feature_pyramid(w)
            assert torch.equal(picture, same)
            assert torch.equal(levels[generator.synthesis.block_resolutions.index(resolution)], state.features)
            again = split.state_at_split(levels, w)
            assert torch.equal(again.features, state.features)
            assert torch.equal(again.rgb, state.rgb)
        assert torch.equal(split.render(split.features(one), one), generator(z, truncation=0.8))


def test_halves_without_noise_and_channels_last(generator: Generator) -> None:
    generator = tiny.make_generator(seed=9, resolution=64, channel_base=512).to(memory_format=torch.channels_last)
    split = SplitGenerator(generator, 32)
    w = split.w(seed_to_z([1], tiny.Z))
    assert torch.equal(split.render(split.features(w, "none"), w, "none"), generator.synthesis(generator.broadcast(w), "none"))
    assert torch.equal(split.render(split.features(w), w), generator.synthesis(generator.broadcast(w)))


def test_each_half_depends_on_its_own_layers(split: SplitGenerator, w: torch.Tensor) -> None:
    """The split is after the second styled convolution of the block; its toRGB belongs to the second half."""
    synthesis, ws = split.generator.synthesis, split.generator.broadcast(w)
    x = synthesis.b8.convs(synthesis.b4.convs(None, ws[:, :2], "const"), ws[:, 1:4], "const")
    state = split.features(w)
    assert torch.equal(state.features, x)
    ws = ws.clone().requires_grad_()
    (grad,) = torch.autograd.grad(split.features(ws).features.square().sum(), ws)
    assert (grad.abs().sum(dim=(0, 2)) > 0).nonzero().flatten().tolist() == [0, 1, 2]
    (grad,) = torch.autograd.grad(split.render(state, ws).square().sum(), ws)
    assert (grad.abs().sum(dim=(0, 2)) > 0).nonzero().flatten().tolist() == [3, 4, 5]
    # The picture depends on both parts of the state.
    picture = split.render(state, w)
    assert not torch.equal(picture, split.render(SplitState(state.features.flip(3), state.rgb), w))
    moved = split.render(SplitState(state.features, state.rgb + 1), w)
    assert torch.allclose((moved - picture)[..., 4:-4, 4:-4], torch.ones(()), atol=1e-5)


@pytest.mark.parametrize("resolution", [4, 12, 32, 64])
def test_impossible_splits_are_refused(split: SplitGenerator, resolution: int) -> None:
    with pytest.raises(ProxymaskError, match=rf"at {resolution}: choose one of \[8, 16\]"):
        SplitGenerator(split.generator, resolution)


@pytest.mark.parametrize("size", [(8, 8), (6, 10)])
def test_lowpass_is_downsampling_and_upsampling(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    kernel = fir_kernel()
    assert torch.allclose(lowpass2_matmul(x, kernel), upsample2(downsample2(x, kernel), kernel), atol=1e-6)
    assert torch.allclose(upsample2_matmul(x, kernel), upsample2(x, kernel), atol=1e-6)
