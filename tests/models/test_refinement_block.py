"""The block that mends what the attention moved."""

import torch

import tiny
from proxymask.inference.mask_query import MaskQuery
from proxymask.models.rearranger import Rearranger
from proxymask.models.refinement_block import RefinementBlock, style_statistics


def block(seed: int = 0) -> RefinementBlock:
    torch.manual_seed(seed)
    return RefinementBlock(channels=6, num_clusters=5, hidden=8)


def awake(refinement: RefinementBlock) -> RefinementBlock:
    """Leave the start, where nothing is added."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in (refinement.leave.weight, refinement.modulation.weight):
            parameter.normal_()
    return refinement


def inputs(h: int = 8, w: int = 12) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(2)
    return torch.randn(2, 6, h, w, generator=rng), torch.randn(2, 8, h, w, generator=rng), torch.randn(2, 12, generator=rng)


def test_starts_as_the_identity() -> None:
    x, target, look = inputs()
    assert torch.equal(block()(x, target, look), x)


def test_depends_on_features_mask_and_style() -> None:
    refinement, (x, target, look) = awake(block()), inputs()
    out = refinement(x, target, look)
    assert out.shape == x.shape
    assert not torch.allclose(out, x)
    for other in (refinement(x + 1, target, look) - 1, refinement(x, -target, look), refinement(x, target, look + 1)):
        assert float((other - out).detach().abs().max()) > 1e-2
    # one sample's inputs do not reach the other's
    changed = torch.cat([target[:1], -target[1:]])
    assert torch.allclose(refinement(x, changed, look)[0], out[0], atol=1e-6)


def test_receptive_field() -> None:
    """A change at one position is felt a few positions away, and on a grid that is not square."""
    refinement, (x, target, look) = awake(block()), inputs(16, 24)
    with torch.no_grad():
        there = target.clone()
        there[:, :, 8, 12] += 1
        felt = (refinement(x, there, look) - refinement(x, target, look)).abs().amax(dim=(0, 1)) > 1e-6
    assert bool(felt[8, 12])
    assert bool(felt[8, 16])
    assert not bool(felt[0, 0])


def test_fused_is_the_same_function() -> None:
    refinement, (x, target, look) = awake(block()), inputs()
    with torch.no_grad():
        for parameter in refinement.parameters():  # biases too
            parameter.add_(0.1 * torch.randn_like(parameter))
        ready = refinement.fused()
        assert torch.allclose(ready(x, target, look), refinement(x, target, look), atol=1e-4)
        assert torch.equal(x, inputs()[0])  # nothing that came in was written to


def test_style_statistics_are_mean_and_deviation() -> None:
    value = torch.tensor([[[1.0, 5.0], [3.0, 5.0]]])
    assert torch.allclose(style_statistics(value), torch.tensor([[2.0, 5.0, 1.0, 0.0]]), atol=2e-3)


def test_refines_the_output_of_the_rearranger() -> None:
    """At first it changes nothing; awake, it draws what the mask asks, whether the attention found it or not."""
    stage = tiny.make_stage("rearranger")
    plain = stage.rearranger.eval()
    with_block = Rearranger(**{**plain.config, "refinement_width": 8}).eval()
    missing, unknown = with_block.load_state_dict(plain.state_dict(), strict=False)
    assert not unknown
    assert missing
    assert all(name.startswith("refinement.") for name in missing)
    w = stage.cut.w(torch.randn(2, stage.cut.generator.z_dim, generator=torch.Generator().manual_seed(0)))
    state = stage.cut.features(w)
    ids = stage.clusters.assign(state.features).roll(1, 0)
    mask = stage.clusters.one_hot(ids)
    with torch.no_grad():
        before, same = plain(state, mask), with_block(state, mask)
        assert torch.allclose(before.features, same.features)
        assert torch.allclose(before.rgb, same.rgb)
        assert with_block.refinement is not None
        awake(with_block.refinement)
        after = with_block(state, mask)
        assert not torch.allclose(before.features, after.features)
        assert not torch.allclose(before.rgb, after.rgb)
        # the query by lookup carries the same codes
        looked_up = with_block.attend(MaskQuery(with_block)(ids), with_block.encode_style(state))
        assert torch.allclose(looked_up.features, after.features, atol=1e-4)
        assert with_block.attention_map(with_block.encode_mask(mask), with_block.encode_style(state)).shape[1] == ids[0].numel()
