"""The mapper for masks, its batch norm, and the proxy mask of its logits."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.models.logits_to_proxy_mask import logits_to_cluster_ids, logits_to_proxy_mask
from proxymask.models.oasis_mapper import OasisMapper, PlainBatchNorm, Spade, SpadeBlock


def ids(batch: int = 3, size: int = tiny.SIZE, seed: int = 0) -> torch.Tensor:
    """Coarse masks of all labels."""
    coarse = torch.randint(tiny.N, (batch, 4, 4), generator=torch.Generator().manual_seed(seed))
    return coarse.repeat_interleave(size // 4, 1).repeat_interleave(size // 4, 2)


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_batch_norm_equals_torch(offset: float) -> None:
    """Statistics, output and gradient in training, and the output in evaluation; also for values far from zero."""
    norm, reference = PlainBatchNorm(6), nn.BatchNorm2d(6, affine=False)
    for step in range(4):
        x = (torch.randn(3, 6, 5, 7, generator=torch.Generator().manual_seed(step)) * (1 + step) + offset).requires_grad_()
        y = x.detach().clone().requires_grad_()
        a, b = norm(x), reference(y)
        assert torch.allclose(a, b, atol=2e-5)
        weight = torch.randn(a.shape, generator=torch.Generator().manual_seed(9))
        (a * weight).sum().backward()
        (b * weight).sum().backward()
        assert torch.allclose(x.grad, y.grad, atol=2e-5)
    assert torch.allclose(norm.running_mean, reference.running_mean, rtol=1e-5)
    assert torch.allclose(norm.running_var, reference.running_var, rtol=1e-3)
    before = norm.running_mean.clone()
    x = torch.randn(1, 6, 4, 4) + offset
    assert torch.allclose(norm.eval()(x), reference.eval()(x), atol=2e-3 if offset else 1e-5)
    assert torch.equal(norm.running_mean, before)


def test_batch_norm_of_a_constant() -> None:
    """A mask of one class gives one value everywhere: no division by zero, no exploding gradient."""
    norm, x = PlainBatchNorm(2), torch.full((2, 2, 4, 4), 3.0, requires_grad=True)
    y = norm(x)
    assert torch.allclose(y, torch.zeros(()), atol=1e-3)
    y.sum().backward()
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize(("widths", "start"), [((12, 12, 8), 4), ((8, 8), 8), ((8, 8, 8, 8), 2)])
@pytest.mark.parametrize("size", [tiny.CUT, tiny.SIZE, 64])
def test_output_shapes(widths: tuple[int, ...], start: int, size: int) -> None:
    mapper = tiny.make_mapper(widths=widths)
    assert mapper.first == (start, start)
    mask = ids(size=size)
    logits = mapper(mask)
    assert logits.shape == (3, tiny.K, tiny.CUT, tiny.CUT)
    planes = F.one_hot(mask, tiny.N).permute(0, 3, 1, 2).float()
    assert torch.equal(mapper.eval()(planes), mapper(mask))


def test_published_widths_fit() -> None:
    with torch.device("meta"):
        mapper = OasisMapper(19, 25, 64)
    assert mapper.first == (8, 8)  # four blocks: 8, 16, 32, 64
    middles = [block.conv0.weight.shape[0] for block in mapper.blocks]
    assert middles == [1024, 1024, 512, 256]
    assert [block.shortcut is not None for block in mapper.blocks] == [False, False, True, True]


def test_impossible_widths_are_refused() -> None:
    for widths in ((8,), (8,) * 6):
        with pytest.raises(ProxymaskError, match="do not fit a proxy mask of 8"):
            tiny.make_mapper(widths=widths)


@torch.no_grad()
def test_size_of_the_last_convolution() -> None:
    """Another size changes the number of weights and not the shape of the output; an even one is refused."""
    whole, point = tiny.make_mapper().eval(), tiny.make_mapper(tail=1).eval()
    assert point.tail.weight.shape == (*whole.tail.weight.shape[:2], 1, 1)
    assert point(ids()).shape == whole(ids()).shape
    for tail in (0, 2):
        with pytest.raises(ProxymaskError, match="an odd size"):
            tiny.make_mapper(tail=tail)


def test_masks_are_resized_as_configured() -> None:
    """Nearest neighbour keeps planes one-hot; area keeps the share of each class, also of thin parts."""
    mask = torch.zeros(1, 16, 16, dtype=torch.long)
    mask[0, :, 5] = 1  # one pixel wide
    planes = F.one_hot(mask, tiny.N).permute(0, 3, 1, 2).float()
    nearest, area = tiny.make_mapper(), tiny.make_mapper(resize="area")
    got = nearest.resize_planes(planes, 4)
    assert torch.equal(got, planes[:, :, 2::4, 2::4])
    assert torch.equal(got.sum(dim=1), torch.ones(1, 4, 4))
    assert not got[0, 1].any()  # lost by nearest neighbour
    grains = torch.rand(2, tiny.N, 16, 16)
    assert torch.equal(nearest.resize_planes(grains, 4), grains[:, :, 2::4, 2::4])  # the pixel in the middle of the cell
    assert torch.allclose(area.resize_planes(grains, 4), F.avg_pool2d(grains, 4))
    share = area.resize_planes(planes, 4)
    assert torch.allclose(share[0, 1], torch.tensor([0.0, 0.25, 0.0, 0.0]).expand(4, 4))
    assert torch.equal(share.sum(dim=1), torch.ones(1, 4, 4))
    for mapper in (nearest, area):
        assert mapper.resize_planes(planes, 16) is planes
        assert torch.equal(mapper.resize_planes(planes, 32), planes.repeat_interleave(2, 2).repeat_interleave(2, 3))
    torch.manual_seed(0)
    assert not torch.equal(nearest.eval()(mask), area.eval()(mask))


def test_spade_equals_its_formula() -> None:
    torch.manual_seed(0)
    spade, x, planes = Spade(6, 4, 5), torch.randn(2, 6, 8, 8), torch.rand(2, 4, 8, 8)
    hidden = F.relu(F.conv2d(planes, spade.shared.weight, spade.shared.bias, padding=1))
    gamma, beta = F.conv2d(hidden, spade.gamma_beta.weight, spade.gamma_beta.bias, padding=1).split(6, dim=1)
    wanted = F.batch_norm(x, None, None, training=True) * (1 + gamma) + beta
    assert torch.allclose(spade(x, planes), wanted, atol=1e-5)


def test_spade_block_equals_its_formula() -> None:
    torch.manual_seed(0)
    block, x, planes = SpadeBlock(6, 4, 3, 5).eval(), torch.randn(2, 6, 8, 8), torch.rand(2, 3, 8, 8)

    def conv(y: torch.Tensor, layer: nn.Conv2d) -> torch.Tensor:
        return F.conv2d(y, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)

    for layer in (block.conv0, block.conv1, block.shortcut):  # spectral norm: the largest singular value is one
        assert float(torch.linalg.svdvals(layer.weight.detach().flatten(1))[0]) == pytest.approx(1, abs=0.05)
    y = conv(F.leaky_relu(block.norm0(x, planes), 0.2), block.conv0)
    y = conv(F.leaky_relu(block.norm1(y, planes), 0.2), block.conv1)
    assert torch.allclose(block(x, planes), conv(block.norm_s(x, planes), block.shortcut) + y, atol=1e-5)
    assert block.shortcut.bias is None
    same = SpadeBlock(4, 4, 3, 5)
    assert same.shortcut is None


def test_evaluation_is_deterministic_and_independent_of_the_batch() -> None:
    mapper = tiny.make_mapper()
    for seed in range(3):
        mapper(ids(seed=seed))
    mapper.eval()
    before = copy.deepcopy(mapper.state_dict())
    together = mapper(ids())
    assert torch.equal(together, mapper(ids()))
    alone = torch.cat([mapper(ids()[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in mapper.state_dict().items())
    assert not torch.allclose(mapper.train()(ids()), together, atol=1e-4)  # in training it depends on the batch


def test_gradient_reaches_everything() -> None:
    mapper = tiny.make_mapper()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in mapper.named_parameters():
            parameter.add_(0.1 * torch.randn_like(parameter), alpha=1.0 if name else 0.0)
    F.cross_entropy(mapper(ids()), torch.randint(tiny.K, (3, tiny.CUT, tiny.CUT))).backward()
    silent = [n for n, p in mapper.named_parameters() if p.grad is None or not float(p.grad.abs().max()) > 0]
    # A bias before a batch norm has no effect, so it has no gradient.
    assert [n for n in silent if not n.endswith("conv0.bias")] == []


def test_learns_a_mask() -> None:
    """A table from labels to clusters is learned in a few steps and holds for new masks."""
    mapper, table = tiny.make_mapper(), torch.tensor([3, 0, 4, 1])
    optimizer = torch.optim.Adam(mapper.parameters(), 0.01, (0.0, 0.99))
    for step in range(40):
        mask = ids(8, seed=step)
        loss = F.cross_entropy(mapper(mask), table[mask[:, ::2, ::2]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        mask = ids(8, seed=999)
        assert float((mapper.eval()(mask).argmax(dim=1) == table[mask[:, ::2, ::2]]).float().mean()) > 0.9


@pytest.mark.parametrize("kind", ["hard", "style-prior"])
def test_proxy_mask_of_logits(kind: str) -> None:
    """Probabilities, or one-hot with the gradient of the probabilities; with and without the prior of the style."""
    logits = torch.randn(2, tiny.K, 4, 4, requires_grad=True)
    prior = torch.randn(2, tiny.K)
    chosen = logits + prior[:, :, None, None] if kind == "style-prior" else logits
    assert torch.allclose(logits_to_proxy_mask(logits, "soft", prior), logits.softmax(dim=1))
    hard, soft = logits_to_proxy_mask(logits, kind, prior), chosen.softmax(dim=1)
    assert torch.allclose(hard, F.one_hot(chosen.argmax(dim=1), tiny.K).permute(0, 3, 1, 2).float(), atol=1e-6)
    assert torch.equal(logits_to_proxy_mask(logits.detach(), kind, prior).argmax(dim=1), logits_to_cluster_ids(logits, kind, prior))
    weight = torch.randn(soft.shape)
    (wanted,) = torch.autograd.grad((soft * weight).sum(), logits)
    (got,) = torch.autograd.grad((hard * weight).sum(), logits)
    assert torch.allclose(got, wanted)  # straight through
    assert logits_to_proxy_mask(logits.bfloat16(), "soft", prior).dtype == torch.float32


def test_saving_and_loading_keeps_everything(tmp_path) -> None:
    mapper = tiny.make_mapper(resize="area")
    mapper(ids())
    again = OasisMapper.from_pretrained(mapper.save_pretrained(tmp_path / "m"))
    assert again.config == mapper.config
    assert torch.equal(again(ids(seed=3)), mapper.eval()(ids(seed=3)))
