"""What one step of each stage does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from proxymask.imaging.grids import tile, to_uint8
from proxymask.models.split_generator import SplitState
from proxymask.training import loop, losses
from proxymask.training.augment import diff_augment
from proxymask.training.generator import discriminator_update, lazy_adam


def run_of(stage: loop.Stage, **config: object) -> loop.Run:
    """A run at step 0 that nothing has been done in."""
    run = loop.Run(tiny.loop_config(**config), stage)
    run.averages = dict(stage.modules)
    return run


def totals(stage: loop.Stage, index: int = 0, **config: object) -> tuple[list[tuple[str, float]], dict[str, float]]:
    """The loss that each optimiser is given in one step, and what is logged; nothing is updated."""
    run, seen = run_of(stage, **config), []
    run.index = index
    run.update = lambda name, terms: seen.append((name, sum(float(loss.detach()) for loss in terms()))) is None  # type: ignore[method-assign]
    stage.step(run)
    return seen, run.take_stats()


# The generator.


def test_lazy_adam() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(2))]
    group = lazy_adam(iter(parameters), 0.002, 16).param_groups[0]
    assert group["lr"] == pytest.approx(0.002 * 16 / 17)
    assert group["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))
    assert group["eps"] == 1e-8
    plain = lazy_adam(iter(parameters), 0.002, 0).param_groups[0]
    assert (plain["lr"], plain["betas"]) == (0.002, (0.0, 0.99))
    optimizers = tiny.make_stage("generator", path_every=4, r1_every=16).optimizers
    assert [o.param_groups[0]["lr"] for o in optimizers.values()] == pytest.approx([0.002 * 4 / 5, 0.002 * 16 / 17])


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


# The rearranger.


def test_rearranger_samples() -> None:
    """State and masks belong together, and the other mask is another sample's."""
    stage = tiny.make_stage("rearranger")
    run = run_of(stage, batch=8)
    w, state, own, other = stage.samples(run, "samples")
    assert torch.equal(stage.clusters.assign(stage.cut.features(w).features), own)
    assert torch.equal(state.features, stage.cut.features(w).features)
    assert torch.equal(other, own.roll(1, dims=0))
    run.rank, run.world = 1, 2
    half = stage.samples(run, "samples")
    assert torch.equal(half[0], w[4:])
    assert torch.equal(half[3], other[4:])  # across the border of the processes


@pytest.mark.parametrize(("adv_every", "r1_every", "last"), [(5, 16, 0.3), (2, 3, 0.5), (1, 4, 0.0), (3, 2, 1.0), (4, 2, 0.13)])
def test_adversarial_schedule(adv_every: int, r1_every: int, last: float) -> None:
    """In the first phase every few steps, then each; R1 at every so many of the discriminator's own steps."""
    stage = tiny.make_stage("rearranger", steps=100, adv_every=adv_every, r1_every=r1_every, adv_phase=last)
    due = [i for i in range(100) if stage.adversarial_due(i)]
    start = round(100 * (1 - last))
    assert due == [i for i in range(100) if i % adv_every == 0 or i >= start]
    assert [stage.r1_due(i) for i in due] == [n % r1_every == 0 for n in range(len(due))]
    off = tiny.make_stage("rearranger", lambda_adv=0.0)
    assert not any(off.adversarial_due(i) for i in range(20))


@pytest.mark.parametrize("index", [0, 1])
def test_rearranger_weights(index: int) -> None:
    stage = tiny.make_stage(
        "rearranger",
        lambda_self=3.0,
        lambda_mask=5.0,
        lambda_adv=7.0,
        adv_every=2,
    )
    seen, stats = totals(stage, index)
    own = stats["loss/self_features"] + stats["loss/self_picture"]
    wanted = 3 * own + 5 * (stats["loss/mask_self"] + stats["loss/mask_cross"])
    assert len(seen) == (2 if index == 0 else 1)
    assert seen[0] == ("rearranger", pytest.approx(wanted + (7 * stats["loss/adv"] if index == 0 else 0), rel=1e-4))
    if index == 0:
        assert seen[1] == ("discriminator", pytest.approx(stats["d/loss"] + 10 / 2 * 2 * stats["d/r1"], rel=1e-4))


@pytest.mark.parametrize("flip", [True, False])
def test_style_samples_are_mirrored(flip: bool) -> None:
    """Half of them, features and RGB alike; what they shall become again is not."""
    stage = tiny.make_stage("rearranger", flip=flip, lambda_adv=0.0)
    given: list[SplitState] = []
    masks: list[torch.Tensor] = []
    real = stage.rearranger.encode_style
    stage.rearranger.encode_style = lambda state, own: given.append(state) or masks.append(own) or real(state, own)
    seen, _ = totals(stage, batch=16)
    assert len(seen) == 1
    _, state, own, _ = stage.samples(run_of(stage, batch=16), "samples")
    turned = [bool(torch.equal(a, b.flip(2))) for a, b in zip(given[0].features, state.features, strict=True)]
    assert any(turned) == flip
    for i, mirrored in enumerate(turned):
        assert torch.equal(given[0].features[i], state.features[i].flip(2) if mirrored else state.features[i])
        assert torch.equal(given[0].rgb[i], state.rgb[i].flip(2) if mirrored else state.rgb[i])
        assert torch.equal(masks[0][i], own[i].flip(1) if mirrored else own[i])


@pytest.mark.parametrize("name", ["rearranger", "mapper"])
@pytest.mark.parametrize("pictures", [True, False])
def test_frozen_parts_stay(name: str, pictures: bool, tmp_path: Path) -> None:
    """The stage changes its own networks; generator, clusters and (for the mapper) rearranger keep every bit."""
    stage = tiny.make_stage(name)
    stage.pictures = tiny.Pictures() if pictures else None
    frozen = {"cut": stage.cut, "clusters": stage.clusters} | ({"rearranger": stage.rearranger} if name == "mapper" else {})
    before = {k: {n: v.clone() for n, v in m.state_dict().items()} for k, m in frozen.items()}
    start = {k: {n: v.clone() for n, v in m.state_dict().items()} for k, m in stage.modules.items()}
    tiny.run(stage, tmp_path)
    for part, module in frozen.items():
        assert tiny.differing(before[part], module.state_dict()) == []
        assert not any(p.requires_grad or p.grad is not None for p in module.parameters())
    for part, module in stage.modules.items():
        assert len(tiny.differing(start[part], module.state_dict())) > 5, part
    lines = (tmp_path / "stats.jsonl").read_text()
    for word in ("d/r1", "d/loss", '"loss/adv"' if name == "mapper" else "loss/agreement"):
        assert word in lines


def test_self_loss_of_the_untouched_state() -> None:
    stage = tiny.make_stage("rearranger")
    run = run_of(stage)
    w, state, _, _ = stage.samples(run, "samples")
    loss, parts = stage.self_loss(run, state, state, w)
    assert float(loss.detach()) == 0
    assert set(parts) == {"self_features", "self_picture", "self_psnr"}
    off, parts = stage.self_loss(run, SplitState(state.features * 1.1, state.rgb), state, w)
    assert float(parts["self_features"]) == pytest.approx(0.1, rel=1e-4)
    assert float(off.detach()) == pytest.approx(sum(float(v.detach()) for k, v in parts.items() if k != "self_psnr"), rel=1e-5)
    assert 0 < float(parts["self_psnr"]) < 80


def test_mixed_samples_and_their_loss() -> None:
    stage = tiny.make_stage("rearranger", lambda_mix=4.0, mix_share=0.5, mix_layers=(2, 3), lambda_adv=0.0)
    run = run_of(stage, batch=16)
    w, state, _, _ = stage.samples(run, "samples")
    mixed, own, taken = stage.mixed(run, w)
    assert 0 < int(taken.sum()) < 16
    assert torch.equal(own, stage.clusters.assign(mixed.features))
    assert not torch.equal(mixed.features, state.features)
    alone = tiny.make_stage("rearranger", lambda_mix=4.0, mix_layers=(0,))  # no layer follows another latent
    same, _, _ = alone.mixed(run_of(alone, batch=16), w)
    assert torch.allclose(same.features, state.features, atol=1e-6)
    everywhere = torch.ones(16, tiny.CUT, tiny.CUT, dtype=torch.bool)
    picture = stage.cut.render(mixed, w)
    assert float(stage.mix_loss(run, mixed, picture, mixed, w, everywhere)) == 0
    assert float(stage.mix_loss(run, state, stage.cut.render(state, w), mixed, w, ~everywhere)) == 0
    wrong = float(stage.mix_loss(run, state, stage.cut.render(state, w), mixed, w, everywhere))
    assert wrong > 0.01
    seen, stats = totals(stage, 1, batch=16)
    assert stats["loss/mix"] > 0
    own_part = stats["loss/self_features"] + stats["loss/self_picture"]
    total = 10 * own_part + stats["loss/mask_self"] + stats["loss/mask_cross"] + 4 * stats["loss/mix"]
    assert seen[0] == ("rearranger", pytest.approx(total, rel=1e-4))


@pytest.mark.parametrize("flip", [True, False])
def test_mapper_pairs(flip: bool) -> None:
    stage = tiny.make_stage("mapper", flip=flip)
    run = run_of(stage, batch=16)
    labels, proxy, _ = stage.pairs(run, "pairs")
    z = torch.randn(16, tiny.Z, generator=run.rng("pairs"))
    w = stage.cut.w(z)
    plain = stage.labeller(w), stage.clusters.assign(stage.cut.features(w).features)
    mirrored = [bool(torch.equal(a, b.flip(1)) and not torch.equal(a, b)) for a, b in zip(proxy, plain[1], strict=True)]
    assert any(mirrored) == flip
    for i, turned in enumerate(mirrored):  # both or neither
        assert torch.equal(labels[i], plain[0][i].flip(1) if turned else plain[0][i])
        assert torch.equal(proxy[i], plain[1][i].flip(1) if turned else plain[1][i])


def test_mapper_phases(tmp_path: Path) -> None:
    stage = tiny.make_stage("mapper", steps=6, adv_phase=0.5)
    assert stage.adversarial_from == 3
    run = run_of(stage)
    for index in range(6):
        run.index = index
        stage.step(run)
        stats = run.take_stats()
        assert ("loss/adv" in stats) == ("d/loss" in stats) == (index >= 3)
        assert ("d/r1" in stats) == (index in (3, 5))
    assert tiny.make_stage("mapper", steps=6, lambda_adv=0.0).adversarial_from == 6


def test_mapper_weights() -> None:
    stage = tiny.make_stage("mapper", steps=4, adv_phase=0.5, lambda_recon=3.0, lambda_recon_adv=5.0, lambda_adv=7.0, r1_gamma=6.0)
    seen, stats = totals(stage, 0)
    assert seen == [("mapper", pytest.approx(3 * stats["loss/recon"], rel=1e-5))]
    seen, stats = totals(stage, 2)
    assert seen[0] == ("mapper", pytest.approx(5 * stats["loss/recon"] + 7 * stats["loss/adv"], rel=1e-5))
    assert seen[1] == ("discriminator", pytest.approx(stats["d/loss"] + 6 / 2 * 2 * stats["d/r1"], rel=1e-4))


@pytest.mark.parametrize("kind", ["soft", "hard", "style-prior"])
def test_mapper_learns_through_the_rest(kind: str) -> None:
    """L_adv alone reaches the mapper's weights through rearranger and generator, in either handover."""
    stage = tiny.use_sgd(tiny.make_stage("mapper", steps=2, adv_phase=1.0, lambda_recon_adv=0.0, proxy_mask_mode=kind))
    before = {k: v.clone() for k, v in stage.mapper.state_dict().items() if k in dict(stage.mapper.named_parameters())}
    stage.step(run_of(stage))
    assert "tail.weight" in tiny.differing(before, dict(stage.mapper.named_parameters()))


def test_mapper_with_labels_resumes_exactly(tmp_path: Path) -> None:
    """2N steps = N + resume + N over both phases of L_label, the network that reads pictures included."""
    config = {"lambda_label": 5.0, "label_phase": 0.5, "lambda_adv": 0.0, "cosine_decay": True}
    whole = tiny.state(tiny.run(tiny.make_stage("mapper", **config), tmp_path / "whole"))
    for steps in (2, 4, 6):
        parts = tiny.state(tiny.run(tiny.make_stage("mapper", **config), tmp_path / "parts", steps=steps))
    assert any(key.startswith("auxiliary") for key in whole)
    assert tiny.differing(whole, parts) == []


def test_mapper_with_labels_phases() -> None:
    """First the network that reads pictures learns, then it stands still and the mapper hears it."""
    stage = tiny.make_stage("mapper", steps=6, lambda_label=5.0, label_phase=0.5, lambda_adv=0.0, lambda_recon=3.0)
    assert stage.label_from == 3
    run = run_of(stage)
    for index in range(6):
        run.index = index
        before = {k: v.clone() for k, v in stage.auxiliary.net.state_dict().items()}
        stage.step(run)
        stats = run.take_stats()
        assert ("loss/cross_entropy" in stats) == bool(tiny.differing(before, stage.auxiliary.net.state_dict())) == (index < 3)
        assert ("loss/label" in stats) == (index >= 3)
    seen, stats = totals(stage, 1)
    assert seen == [
        ("auxiliary", pytest.approx(stats["loss/cross_entropy"], rel=1e-5)),
        ("mapper", pytest.approx(3 * stats["loss/recon"], rel=1e-5)),
    ]
    seen, stats = totals(stage, 4)
    assert seen == [("mapper", pytest.approx(3 * stats["loss/recon"] + 5 * stats["loss/label"], rel=1e-5))]


def test_auxiliary_segmenter_learns_the_segmenters_labels(tmp_path: Path) -> None:
    stage = tiny.make_stage("mapper", steps=160, lambda_label=1.0, label_phase=0.0, lambda_adv=0.0)
    tiny.run(stage, tmp_path, steps=160, batch=2, checkpoint_every=1000)
    w = stage.cut.w(torch.randn(16, tiny.Z, generator=torch.Generator().manual_seed(9)))
    with torch.no_grad():
        labels, pictures = stage.labeller.shown(w)
        read = stage.auxiliary.net(pictures).argmax(dim=1)
    assert torch.equal(labels, stage.labeller(w))
    share = labels.flatten().bincount().max() / labels.numel()  # of the most frequent label: what a guess has
    assert float((read == labels).float().mean()) > float(share) + 0.02


@pytest.mark.parametrize("kind", ["soft", "hard", "style-prior"])
def test_mapper_hears_what_is_painted(kind: str) -> None:
    """L_label alone reaches the mapper's weights through rearranger, generator and reading; what is soft is lowered by following it."""
    stage = tiny.make_stage("mapper", steps=1, lambda_label=1.0, label_phase=1.0, lambda_recon=0.0, lambda_adv=0.0, proxy_mask_mode=kind)
    stage = tiny.use_sgd(stage, rate=3.0)
    before = {k: v.clone() for k, v in stage.mapper.named_parameters()}
    run = run_of(stage, batch=16)
    stage.step(run)
    first = run.take_stats()["loss/label"]
    assert "tail.weight" in tiny.differing(before, dict(stage.mapper.named_parameters()))
    for _ in range(15):  # the same samples, for the step's number stays
        stage.step(run)
    if kind == "soft":
        assert run.take_stats()["loss/label"] < first
    assert not any(p.grad is not None for p in stage.auxiliary.net.parameters())


# Pictures.


@pytest.mark.parametrize(("name", "rows", "columns"), [("generator", 5, 8), ("rearranger", 4, 10), ("mapper", 5, 10)])
def test_grids(name: str, rows: int, columns: int, tmp_path: Path) -> None:
    stage = tiny.make_stage(name)
    run = tiny.run(stage, tmp_path, steps=1, grid_every=1)
    picture = Image.open(tmp_path / "grids/00000001.png")
    assert picture.mode == "RGB"
    assert picture.size == tuple(8 * (n * 18 + 2) for n in (columns, rows))
    state = tiny.state(run)
    with torch.no_grad():
        assert np.array_equal(np.asarray(stage.grid(run)), np.asarray(picture))  # the same noise at every step
    assert tiny.differing(state, tiny.state(run)) == []


def test_tiles() -> None:
    cells = [np.full((n, 3, 3, 3), n * 10, np.uint8) for n in (2, 1)]
    sheet = np.asarray(tile(cells, gap=1))
    assert sheet.shape == (9, 9, 3)
    for (y, x), value in {(1, 1): 20, (1, 5): 20, (5, 1): 10, (5, 5): 255}.items():
        assert (sheet[y : y + 3, x : x + 3] == value).all()
    assert (sheet[::4] == 255).all()
    assert np.asarray(tile(cells, scale=2, gap=1)).shape == (18, 18, 3)
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert to_uint8(x)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_every_stage_names_what_it_averages() -> None:
    for name in tiny.STAGES:
        stage = tiny.make_stage(name)
        assert stage.name == name
        assert stage.averaged == (name,)
        assert set(stage.modules) >= {name}
        assert set(stage.optimizers) <= set(stage.modules)


def test_what_the_style_lacks_is_learned_too() -> None:
    """With ``mix_absent`` nothing is substituted in the masks of style-mixed samples, and L_mix counts everywhere there."""
    asked: dict[bool, torch.Tensor] = {}
    for whole in (False, True):
        stage = tiny.make_stage(
            "rearranger",
            lambda_mix=4.0,
            mix_share=1.0,
            mix_layers=(2, 3),
            mix_absent=whole,
            lambda_adv=0.0,
            lambda_self=0.0,
            refinement_width=8,
        )
        seen: list[torch.Tensor] = []
        real = stage.rearranger.encode_mask
        stage.rearranger.encode_mask = lambda mask, seen=seen, real=real: seen.append(mask.argmax(1)) or real(mask)
        totals(stage, batch=16)
        assert len(seen) == 1  # lambda_self = 0 spares the pass that L_self needs
        asked[whole] = seen[0]
        w, _, _, _ = stage.samples(run_of(stage, batch=16), "samples")
        _, own, taken = stage.mixed(run_of(stage, batch=16), w)
        assert bool(taken.all())
        assert torch.equal(seen[0], own) == whole
    assert not torch.equal(asked[False], asked[True])


def test_the_retouching_block_learns_at_its_own_rate() -> None:
    stage = tiny.make_stage(
        "rearranger", refinement_width=8, learning_rate=0.001, refinement_lr_multiplier=4.0, discriminator_lr_multiplier=3.0, r1_every=1
    )
    slow, fast = stage.optimizers["rearranger"].param_groups
    assert (slow["lr"], fast["lr"]) == (pytest.approx(0.001), pytest.approx(0.004))
    assert stage.rearranger.refinement is not None
    assert {id(p) for p in fast["params"]} == {id(p) for p in stage.rearranger.refinement.parameters()}
    assert len(slow["params"]) + len(fast["params"]) == len(list(stage.rearranger.parameters()))
    assert stage.optimizers["discriminator"].param_groups[0]["lr"] == pytest.approx(0.003 / 2)
