"""What one step of the generator stage does."""

from pathlib import Path

import pytest
import torch
from steps import run_of, totals

import tiny
from proxymask.models.growing import grow_discriminator, grow_generator
from proxymask.training import losses
from proxymask.training.adversarial import discriminator_update, stylegan_adam
from proxymask.training.augment import diff_augment
from proxymask.training.generator import FRAME, GeneratorConfig, GeneratorStage, keep_loss


def test_stylegan_adam() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(2))]
    group = stylegan_adam(iter(parameters), 0.002, every=16).param_groups[0]
    assert group["lr"] == pytest.approx(0.002 * 16 / 17)
    assert group["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))
    assert group["eps"] == 1e-8
    plain = stylegan_adam(iter(parameters), 0.002).param_groups[0]
    assert (plain["lr"], plain["betas"]) == (0.002, (0.0, 0.99))
    optimizers = tiny.make_stage("generator", path_every=4, r1_every=16).optimizers
    assert [o.param_groups[0]["lr"] for o in optimizers.values()] == pytest.approx([0.002 * 4 / 5, 0.002])


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 1, 1), (1.0, 2, 2), (0.5, 1, 2)])
def test_style_mixing(share: float, least: int, most: int) -> None:
    stage = tiny.make_stage("generator", style_mixing=share)
    run = run_of(stage, batch=16)
    (ws,) = stage.latents(run, "g")
    distinct = [len(torch.unique_consecutive(sample, dim=0)) for sample in ws]
    assert (min(distinct), max(distinct)) == (least, most)
    crossings = {
        int((sample[1:] != sample[:-1]).any(dim=1).nonzero()[0]) + 1 for sample in ws if len(torch.unique_consecutive(sample, dim=0)) == 2
    }
    assert crossings <= set(range(1, stage.generator.num_ws))
    if share == 1:
        assert len(crossings) >= 4  # anywhere
    (again,) = stage.latents(run, "g")
    assert torch.equal(ws, again)
    run.index = 1
    assert not torch.equal(ws, *stage.latents(run, "g"))


def test_w_avg_follows() -> None:
    stage = tiny.make_stage("generator", style_mixing=0.0)
    before = stage.generator.mapping.w_avg.clone()
    (ws,) = stage.latents(run_of(stage, batch=16), "g")
    assert torch.allclose(stage.generator.mapping.w_avg, 0.995 * before + 0.005 * ws[:, 0].mean(dim=0).detach(), atol=1e-6)


@pytest.mark.parametrize("path_weight", [0.0, 2.0])
def test_frozen_blocks_keep_their_weights(path_weight: float, tmp_path: Path) -> None:
    """New blocks learn; the mapping network, its mean and the other blocks stay to the last bit."""
    stage = tiny.make_stage("generator", grown_from=8, new_blocks_only=True, path_weight=path_weight)
    before = {name: value.clone() for name, value in stage.generator.state_dict().items()}
    tiny.run(stage, tmp_path, steps=3)
    changed = {name for name, value in stage.generator.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("synthesis.b16.") for name in changed)
    assert {name for name in before if "b16" in name and name.endswith("conv1.weight")} <= changed
    assert not any(name.endswith("noise_strength") for name in changed)  # grain


def test_new_blocks_keep_the_smaller_pictures() -> None:
    """L_keep is of these pictures and the smaller generator's; it has a gradient in the new blocks alone."""
    smaller = tiny.make_generator(noise=0.0)
    sizes = (2 * tiny.SIZE, smaller.config["channel_base"], smaller.config["channel_max"])
    torch.manual_seed(0)
    wider = (sizes[0], 2 * sizes[1], sizes[2])
    grown, judge = grow_generator(smaller, *sizes), grow_discriminator(tiny.make_discriminator(mbstd_group=1), *wider)
    torgb = grown.synthesis.block(2 * tiny.SIZE).torgb.weight
    torch.nn.init.normal_(torgb)
    config = GeneratorConfig(z_dim=tiny.Z, path_weight=0.0, new_blocks_only=True)
    stage = GeneratorStage(grown, judge, tiny.Pictures(), config, grown_from=tiny.SIZE)
    ws = grown.broadcast(grown.mapping(torch.randn(3, tiny.Z)))
    picture, loss = stage.picture(ws)
    assert loss is not None
    torch.testing.assert_close(picture, grown.synthesis(ws, "none"))  # whose noise has strength 0
    old = smaller.synthesis(ws[:, : smaller.num_ws], "none")
    assert loss.item() == pytest.approx(keep_loss(picture, old).item(), rel=1e-5)
    loss.backward()
    assert torgb.grad is not None
    assert torgb.grad.abs().max() > 0
    assert all(p.grad is None for name, p in grown.named_parameters() if f"b{2 * tiny.SIZE}." not in name)
    other = tiny.make_stage("generator")
    assert other.picture(other.generator.broadcast(torch.randn(2, tiny.Z)))[1] is None


def test_keep_loss() -> None:
    """What pictures reduced by area differ by; and a frame of the outer two pixels, which are one of the old picture, counts by itself."""
    old = torch.rand(2, 3, 4, 4)
    noise = torch.randn(2, 3, 8, 8)
    noise[:, :, ::2, ::2] = -noise[:, :, 1::2, ::2] - noise[:, :, ::2, 1::2] - noise[:, :, 1::2, 1::2]  # that area does not see
    inner = torch.nn.functional.pad(torch.ones(4, 4), (2, 2, 2, 2))
    enlarged = torch.nn.functional.interpolate(old, scale_factor=2.0, mode="bilinear")
    area = float((torch.nn.functional.avg_pool2d(enlarged, 2) - old).square().mean())
    assert float(keep_loss(enlarged + inner * noise, old)) == pytest.approx(area, rel=1e-4)
    change = torch.randn(2, 3, 8, 8)
    picture = enlarged + change
    outer = (1 - inner).bool()
    wanted = (torch.nn.functional.avg_pool2d(picture, 2) - old).square().mean() + FRAME * change[:, :, outer].square().mean()
    assert float(keep_loss(picture, old)) == pytest.approx(float(wanted), rel=1e-4)


@pytest.mark.parametrize("penalty", [0.0, 5.0])
def test_discriminator_update(penalty: float) -> None:
    """Its gradient is that of the logistic loss, with R1 where it is due, on the discriminator alone."""
    stage = tiny.use_sgd(tiny.make_stage("generator"), rate=1.0)
    run = run_of(stage)
    real, fake = torch.randn(4, 3, 16, 16), torch.randn(4, 3, 16, 16)
    before = [p.detach().clone() for p in stage.discriminator.parameters()]
    x = real.clone().requires_grad_()
    logits = stage.discriminator(x)
    loss = losses.adversarial_d(logits, stage.discriminator(fake))
    if penalty:
        loss = loss + penalty * losses.r1(logits, x)
    wanted = torch.autograd.grad(loss, list(stage.discriminator.parameters()), allow_unused=True)
    discriminator_update(run, stage.discriminator, real, fake, penalty)
    for old, now, grad in zip(before, stage.discriminator.parameters(), wanted, strict=True):
        step = torch.zeros(()) if grad is None else grad
        assert torch.allclose(old - now, step, atol=1e-5 * max(1.0, float(step.abs().max())))
    assert ("d/r1" in run.take_stats()) == (penalty > 0)


def test_generator_schedule(tmp_path: Path) -> None:
    """R1 every second step here, path length too, each weighed by its interval."""
    stage = tiny.make_stage("generator", r1_every=3, path_every=2)
    due: list[tuple[int, float]] = []
    run = run_of(stage)
    for index in range(6):
        run.index = index
        stage.step(run)
        stats = run.take_stats()
        due.append(("d/r1" in stats, "g/path" in stats))
    assert due == [(i % 3 == 0, i % 2 == 0) for i in range(6)]
    assert float(stage.path.mean) > 0
    off = tiny.make_stage("generator", path_weight=0.0)
    run = run_of(off)
    off.step(run)
    assert "g/path" not in run.take_stats()


def test_the_discriminator_may_learn_alone_first() -> None:
    """A generator without its discriminator keeps its weights as long as the new one is no judge of it."""
    stage = tiny.make_stage("generator", discriminator_first=2)
    run, moved = run_of(stage), []
    for index in range(3):
        before = {name: [p.detach().clone() for p in module.parameters()] for name, module in stage.modules.items()}
        run.index = index
        stage.step(run)
        moved.append(
            {
                name: any(not torch.equal(a, b) for a, b in zip(before[name], stage.modules[name].parameters(), strict=True))
                for name in ("generator", "discriminator")
            }
        )
    assert [m["generator"] for m in moved] == [False, False, True]
    assert all(m["discriminator"] for m in moved)


def test_generator_weights() -> None:
    """The lazy terms are multiplied by their interval, and path length takes half a batch."""
    stage = tiny.make_stage("generator", r1_gamma=6.0, r1_every=5, path_weight=3.0, path_every=7)
    sizes: list[int] = []
    stage.generator.synthesis.register_forward_hook(lambda module, given, out: sizes.append(len(out)))
    seen, stats = totals(stage, batch=8)
    assert [name for name, _ in seen] == ["generator", "generator", "discriminator"]
    assert sizes == [8, 4, 8]
    assert seen[0][1] == pytest.approx(stats["g/loss"], rel=1e-5)
    assert seen[2][1] == pytest.approx(stats["d/loss"] + 6 / 2 * 5 * stats["d/r1"], rel=1e-5)
    assert float(stage.path.mean) == pytest.approx(0.01 * stats["g/path"], rel=1e-4)
    single, _ = totals(tiny.make_stage("generator", path_weight=1.0, path_every=1), batch=8)
    assert seen[1][1] == pytest.approx(21 * single[1][1], rel=1e-4)
    assert single[1][1] >= (0.99 * stats["g/path"]) ** 2  # squared distances from the running mean


@pytest.mark.parametrize("flip", [True, False])
def test_real_pictures(flip: bool) -> None:
    stage = tiny.make_stage("generator", flip=flip)
    run = run_of(stage, batch=32)
    x, everything = stage.real(run), stage.pictures.all
    straight = [bool((everything == picture).flatten(1).all(dim=1).any()) for picture in x]
    turned = [bool((everything == picture.flip(2)).flatten(1).all(dim=1).any()) for picture in x]
    assert all(a != b for a, b in zip(straight, turned, strict=True))
    assert any(turned) == flip
    run.rank, run.world = 1, 2
    assert torch.equal(stage.real(run), x[16:])


def test_generator_learns_a_colour(tmp_path: Path) -> None:
    """On pictures of one colour the generator's own mean colour comes nearer, and both networks changed."""
    stage = tiny.make_stage("generator", augment=(), path_weight=0.0, learning_rate=0.01)
    stage.pictures.all = torch.tensor([0.8, -0.5, 0.3])[None, :, None, None].expand(32, -1, 16, 16).contiguous()
    z = torch.randn(16, tiny.Z, generator=torch.Generator().manual_seed(0))

    def error() -> float:
        with torch.no_grad():
            return float((stage.generator(z).mean(dim=(0, 2, 3)) - torch.tensor([0.8, -0.5, 0.3])).norm())

    before = error()
    tiny.run(stage, tmp_path, steps=30, batch=8, checkpoint_every=1000, log_every=60)
    assert error() < 0.6 * before


@pytest.mark.parametrize("policy", [(), ("color",), ("translation",), ("cutout",), ("color", "translation", "cutout")])
def test_augmentation(policy: tuple[str, ...]) -> None:
    x = torch.rand(8, 3, 16, 16).mul(2).sub(1).requires_grad_()
    y = diff_augment(x, policy, torch.Generator().manual_seed(0))
    assert y.shape == x.shape
    assert torch.equal(y, diff_augment(x, policy, torch.Generator().manual_seed(0)))
    assert torch.equal(y, x) == (policy == ())
    y.sum().backward()
    assert bool(torch.isfinite(x.grad).all())
    assert float(x.grad.abs().max()) > 0


def test_augmentation_operations() -> None:
    flat = torch.full((64, 3, 16, 16), 0.5)
    moved = diff_augment(flat, ("translation",), torch.Generator().manual_seed(0))
    assert {float(v) for v in moved.unique()} == {0.0, 0.5}
    empty = (moved[:, 0] == 0).float().mean(dim=(1, 2))
    assert 0 < float(empty.max()) <= 1 - (14 / 16) ** 2 + 1e-6  # an eighth of the side at most
    x = torch.arange(256.0).view(1, 1, 16, 16).expand(64, 3, -1, -1) + 1
    shifted = diff_augment(x, ("translation",), torch.Generator().manual_seed(3))
    offsets = {tuple((shifted[i, 0, 8, 8] - x[0, 0, 8, 8]).round().int().reshape(1).tolist()) for i in range(64)}
    assert offsets <= {(16 * dy + dx,) for dy in range(-2, 3) for dx in range(-2, 3)}
    assert len(offsets) > 10
    cut = diff_augment(flat, ("cutout",), torch.Generator().manual_seed(0))
    gone = (cut[:, 0] == 0).float().mean(dim=(1, 2))
    assert 0.02 < float(gone.mean()) < 0.25
    color = diff_augment(flat, ("color",), torch.Generator().manual_seed(0))
    assert torch.allclose(color, color[:, :, :1, :1].expand_as(color))  # a flat picture stays flat
    assert float((color.mean(dim=(1, 2, 3)) - 0.5).abs().max()) <= 0.5
