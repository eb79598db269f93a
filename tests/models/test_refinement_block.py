"""The refinement block after the attention."""

import torch

import tiny
from proxymask.inference.fused import MaskQuery
from proxymask.models.rearranger import Rearranger
from proxymask.models.refinement_block import RefinementBlock, style_statistics


def block(seed: int = 0) -> RefinementBlock:
    torch.manual_seed(seed)
    return RefinementBlock(channels=6, num_clusters=5, hidden=8)


def randomized(refinement: RefinementBlock) -> RefinementBlock:
    """Random weights in place of the zeros of the start, with which nothing is added."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in (refinement.leave.weight, refinement.modulation.weight):
            parameter.normal_()
    return refinement


def inputs(h: int = 8, w: int = 12) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(2)
    return torch.randn(2, 6, h, w, generator=rng), torch.randn(2, 8, h, w, generator=rng), torch.randn(2, 12, generator=rng)


def test_starts_as_the_identity() -> None:
    x, mask, style = inputs()
    assert torch.equal(block()(x, mask, style), x)


def test_depends_on_features_mask_and_style() -> None:
    refinement, (x, mask, style) = randomized(block()), inputs()
    out = refinement(x, mask, style)
    assert out.shape == x.shape
    assert not torch.allclose(out, x)
    for other in (refinement(x + 1, mask, style) - 1, refinement(x, -mask, style), refinement(x, mask, style + 1)):
        assert float((other - out).detach().abs().max()) > 1e-2
    # the inputs of one sample do not change the output of another
    changed = torch.cat([mask[:1], -mask[1:]])
    assert torch.allclose(refinement(x, changed, style)[0], out[0], atol=1e-6)


def test_receptive_field() -> None:
    """A change at one position changes the output a few positions away; the grid is not square."""
    refinement, (x, mask, style) = randomized(block()), inputs(16, 24)
    with torch.no_grad():
        edited = mask.clone()
        edited[:, :, 8, 12] += 1
        changed = (refinement(x, edited, style) - refinement(x, mask, style)).abs().amax(dim=(0, 1)) > 1e-6
    assert bool(changed[8, 12])
    assert bool(changed[8, 16])
    assert not bool(changed[0, 0])


def test_fused_is_the_same_function() -> None:
    refinement, (x, mask, style) = randomized(block()), inputs()
    with torch.no_grad():
        for parameter in refinement.parameters():  # biases too
            parameter.add_(0.1 * torch.randn_like(parameter))
        ready = refinement.fused()
        assert torch.allclose(ready(x, mask, style), refinement(x, mask, style), atol=1e-4)
        assert torch.equal(x, inputs()[0])  # inputs are not modified


def test_style_statistics_are_mean_and_deviation() -> None:
    value = torch.tensor([[[1.0, 5.0], [3.0, 5.0]]])
    assert torch.allclose(style_statistics(value), torch.tensor([[2.0, 5.0, 1.0, 0.0]]), atol=2e-3)


def test_refines_the_output_of_the_rearranger() -> None:
    """At the start it changes nothing; with other weights it changes the output of the rearranger by the mask."""
    stage = tiny.make_stage("rearranger")
    plain = stage.rearranger.eval()
    with_block = Rearranger(**{**plain.config, "refinement_width": 8}).eval()
    missing, unknown = with_block.load_state_dict(plain.state_dict(), strict=False)
    assert not unknown
    assert missing
    assert all(name.startswith("refinement.") for name in missing)
    w = stage.split.w(torch.randn(2, stage.split.generator.z_dim, generator=torch.Generator().manual_seed(0)))
    state = stage.split.features(w)
    ids = stage.clusters.assign(state.features).roll(1, 0)
    mask = stage.clusters.one_hot(ids)
    with torch.no_grad():
        before, same = plain(state, mask), with_block(state, mask)
        assert torch.allclose(before.features, same.features)
        assert torch.allclose(before.rgb, same.rgb)
        assert with_block.refinement is not None
        randomized(with_block.refinement)
        after = with_block(state, mask)
        assert not torch.allclose(before.features, after.features)
        assert not torch.allclose(before.rgb, after.rgb)
        # the query by lookup has the same mask features
        looked_up = with_block.attend(MaskQuery(with_block)(ids), with_block.encode_style(state))
        assert torch.allclose(looked_up.features, after.features, atol=1e-4)
        assert with_block.attention_map(with_block.encode_mask(mask), with_block.encode_style(state)).shape[1] == ids[0].numel()
