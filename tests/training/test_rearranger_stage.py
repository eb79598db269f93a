"""What one step of the rearranger stage does."""

import pytest
import torch
from steps import run_of, totals

import tiny
from proxymask.models.split_generator import SplitState


def test_rearranger_samples() -> None:
    """State and masks belong together, and the other mask is another sample's."""
    stage = tiny.make_stage("rearranger")
    run = run_of(stage, batch=8)
    w, state, own, other = stage.samples(run, "samples")
    assert torch.equal(stage.clusters.assign(stage.split.features(w).features), own)
    assert torch.equal(state.features, stage.split.features(w).features)
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


def test_steps_without_a_loss_change_nothing() -> None:
    """With L_adv alone the rearranger learns where that is due; a step of Adam without a gradient would halve its second moments."""
    stage = tiny.make_stage("rearranger", lambda_self=0.0, lambda_mask=0.0, lambda_mix=0.0, adv_every=2)
    assert [[name for name, _ in totals(stage, index)[0]] for index in (0, 1)] == [["rearranger", "discriminator"], []]


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
    picture = stage.split.render(mixed, w)
    assert float(stage.mix_loss(run, mixed, picture, mixed, w, everywhere)) == 0
    assert float(stage.mix_loss(run, state, stage.split.render(state, w), mixed, w, ~everywhere)) == 0
    wrong = float(stage.mix_loss(run, state, stage.split.render(state, w), mixed, w, everywhere))
    assert wrong > 0.01
    seen, stats = totals(stage, 1, batch=16)
    assert stats["loss/mix"] > 0
    own_part = stats["loss/self_features"] + stats["loss/self_picture"]
    total = 10 * own_part + stats["loss/mask_self"] + stats["loss/mask_cross"] + 4 * stats["loss/mix"]
    assert seen[0] == ("rearranger", pytest.approx(total, rel=1e-4))


def test_what_the_style_lacks_is_learned_too() -> None:
    """With ``mix_absent`` nothing is substituted in the masks of style-mixed samples, and L_mix counts everywhere there."""
    masks: dict[bool, torch.Tensor] = {}
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
        masks[whole] = seen[0]
        w, _, _, _ = stage.samples(run_of(stage, batch=16), "samples")
        _, own, taken = stage.mixed(run_of(stage, batch=16), w)
        assert bool(taken.all())
        assert torch.equal(seen[0], own) == whole
    assert not torch.equal(masks[False], masks[True])


def test_the_refinement_block_learns_at_its_own_rate() -> None:
    stage = tiny.make_stage(
        "rearranger", refinement_width=8, learning_rate=0.001, refinement_lr_multiplier=4.0, discriminator_lr_multiplier=3.0, r1_every=1
    )
    slow, fast = stage.optimizers["rearranger"].param_groups
    assert (slow["lr"], fast["lr"]) == (pytest.approx(0.001), pytest.approx(0.004))
    assert stage.rearranger.refinement is not None
    assert {id(p) for p in fast["params"]} == {id(p) for p in stage.rearranger.refinement.parameters()}
    assert len(slow["params"]) + len(fast["params"]) == len(list(stage.rearranger.parameters()))
    assert stage.optimizers["discriminator"].param_groups[0]["lr"] == pytest.approx(0.003)
