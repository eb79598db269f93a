"""The U-Net mapper: the discriminator's encoder, a decoder to proxy size, what it remembers."""

import copy

import pytest
import torch
from torch.nn import functional as F

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.inference.fused import fused_copy
from proxymask.models.mappers import OasisMapper, UNetMapper, load_mapper


def make(seed: int = 0, **config: object) -> UNetMapper:
    torch.manual_seed(seed)
    sizes = {"in_channels": 1, "num_clusters": tiny.K, "resolution": tiny.CUT, "input_resolution": tiny.SIZE, **tiny.WIDTHS}
    return UNetMapper(**{**sizes, **config})


def planes(batch: int = 2, channels: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, channels, tiny.SIZE, tiny.SIZE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("resolution", [8, 16])
@pytest.mark.parametrize("channels", [1, 3, 9])
def test_output_shapes(resolution: int, channels: int) -> None:
    mapper = make(resolution=resolution, in_channels=channels)
    assert mapper(planes(channels=channels)).shape == (2, tiny.K, resolution, resolution)


@pytest.mark.parametrize(("fold", "resolution"), [(2, 16), (2, 8), (4, 8)])
def test_folding_is_space_to_depth(fold: int, resolution: int) -> None:
    """Pixels into channels first: the same planes in, the same size out, and every pixel still counts."""
    torch.manual_seed(0)
    mapper = UNetMapper(3, tiny.K, resolution, 32, **tiny.WIDTHS, fold=fold).eval()
    assert mapper.down_sides[0] == 32 // fold
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
    out = mapper(x)
    assert out.shape == (2, tiny.K, resolution, resolution)
    out.square().sum().backward()
    assert float((x.grad != 0).float().mean()) > 0.99
    with torch.no_grad():
        wanted, got = mapper(x), fused_copy(mapper, torch.float32)(x)
    assert float((got - wanted).norm() / wanted.norm()) < 1e-5


@pytest.mark.parametrize(("fold", "resolution"), [(2, 32), (3, 8), (8, 8), (0, 8), (-2, 8)])
def test_impossible_folds_are_refused(fold: int, resolution: int) -> None:
    with pytest.raises(ProxymaskError, match="folded by"):
        UNetMapper(1, tiny.K, resolution, 32, **tiny.WIDTHS, fold=fold)


def test_a_folded_encoder_cannot_start_from_a_discriminator() -> None:
    with pytest.raises(ProxymaskError, match="unet_space_to_depth 1"):
        make(fold=2, resolution=8).start_from(tiny.make_discriminator())


def test_published_widths_fit() -> None:
    with torch.device("meta"):
        mapper = UNetMapper(1, 25, 64, 256)
    assert mapper.up_sides == [8, 16, 32, 64]
    assert mapper.out.weight.shape == (25, 512, 1, 1)
    assert [mapper.get_submodule(f"b{side}.conv0").weight.shape[0] for side in (256, 128, 64, 32)] == [128, 256, 512, 512]


@pytest.mark.parametrize(("resolution", "size"), [(32, 16), (4, 16), (8, 24)])
def test_impossible_sizes_are_refused(resolution: int, size: int) -> None:
    with pytest.raises(ProxymaskError):
        make(resolution=resolution, input_resolution=size)


@pytest.mark.parametrize("channels", [1, 3])
def test_encoder_equals_the_discriminator(channels: int) -> None:
    """With its weights, the encoder's features are the discriminator's, of a grey picture where one plane comes in."""
    discriminator, mapper = tiny.make_discriminator(), make(in_channels=channels).eval()
    before = copy.deepcopy(mapper.state_dict())
    taken = mapper.start_from(discriminator)
    assert {name for name, value in mapper.state_dict().items() if not torch.equal(value, before[name])} <= set(taken)
    assert {"fromcondition.weight", "b16.conv0.weight", "b8.skip.weight"} <= set(taken)
    x = planes(channels=channels)
    wanted = discriminator.features(x.expand(-1, 3, -1, -1))
    y, got = mapper.fromcondition(x), []
    for side in mapper.down_sides:
        y = mapper.get_submodule(f"b{side}")(y)
        got.append(y)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(got, wanted, strict=True))


def test_encoder_of_other_widths_is_refused() -> None:
    with pytest.raises(ProxymaskError, match="does not fit this mapper's encoder"):
        make(channel_base=64).start_from(tiny.make_discriminator())
    with pytest.raises(ProxymaskError, match="does not fit this mapper's encoder"):
        make().start_from(tiny.make_discriminator(resolution=32))


def test_gradient_reaches_everything_and_far_pixels_matter() -> None:
    mapper = make()
    F.cross_entropy(mapper(planes()), torch.randint(tiny.K, (2, tiny.CUT, tiny.CUT))).backward()
    assert [name for name, p in mapper.named_parameters() if p.grad is None or not float(p.grad.abs().max()) > 0] == []
    x = planes(1).requires_grad_()
    mapper.eval()(x)[0, :, 0, 0].sum().backward()
    assert float(x.grad[0, 0, -1, -1].abs()) > 0


def test_mean_condition_is_updated_in_training_only() -> None:
    mapper = make().train()
    batches = [planes(4, seed=seed) for seed in range(5)]
    for batch in batches:
        mapper(batch)
    assert int(mapper.seen) == 5
    assert torch.allclose(mapper.typical, torch.cat(batches).mean(dim=0), atol=1e-6)  # 16 pixels: nothing is pooled
    kept = mapper.typical.clone()
    mapper.eval()(planes(seed=9))
    assert torch.equal(mapper.typical, kept)
    assert int(mapper.seen) == 5


def test_learns_a_drawing() -> None:
    """Inside or outside of a drawn square: learned in some steps, on squares not seen."""

    def squares(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = torch.Generator().manual_seed(seed)
        at = torch.randint(1, 4, (count, 2), generator=rng)
        side = torch.randint(3, 5, (count,), generator=rng)
        inside = torch.zeros(count, tiny.CUT, tiny.CUT, dtype=torch.long)
        for i in range(count):
            inside[i, at[i, 0] : at[i, 0] + side[i], at[i, 1] : at[i, 1] + side[i]] = 1
        filled = inside.repeat_interleave(2, 1).repeat_interleave(2, 2).float()[:, None]
        return filled - (-F.max_pool2d(-filled, 3, 1, 1)), inside

    mapper = make().train()
    optimizer = torch.optim.Adam(mapper.parameters(), 0.005, (0.0, 0.99))
    for step in range(120):
        x, target = squares(16, step)
        loss = F.cross_entropy(mapper(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        x, target = squares(64, 999)
        found = mapper.eval()(x).argmax(dim=1)
    assert float((found == target).float().mean()) > 0.97
    assert float((found == target)[target == 1].float().mean()) > 0.9


@pytest.mark.parametrize("half", [False, True])
def test_saving_and_loading_keeps_everything(tmp_path, half: bool) -> None:
    mapper = make().train()
    mapper(planes())
    again = load_mapper(mapper.save_pretrained(tmp_path / "m", half=half))
    assert isinstance(again, UNetMapper)
    assert int(again.seen) == 1
    assert torch.allclose(again(planes(seed=3)), mapper.eval()(planes(seed=3)), atol=1e-6 if not half else 1e-2)
    assert isinstance(load_mapper(tiny.make_mapper().save_pretrained(tmp_path / "o")), OasisMapper)
    tiny.make_discriminator().save_pretrained(tmp_path / "d")
    with pytest.raises(ProxymaskError, match="holds a Discriminator, which is no mapper"):
        load_mapper(tmp_path / "d")


def test_the_form_for_inference_is_the_same_function() -> None:
    torch.manual_seed(3)
    mapper = UNetMapper(2, 5, 8, 32, channel_base=256, channel_max=16).eval()
    with torch.no_grad():
        for parameter in mapper.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        planes = torch.rand(3, 2, 32, 32)
        ready = fused_copy(mapper, torch.float32)
        wanted, got = mapper(planes), ready(planes)
    assert float((got - wanted).norm() / wanted.norm()) < 1e-5
    assert len(list(ready.modules())) != len(list(mapper.modules()))
