"""Attention in every implementation, and the fused copies of networks for inference."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

import tiny
from proxymask.inference.fused import fused_copy
from proxymask.models.layers import EqualConv, ResidualBlock, attention, concat_channels
from proxymask.models.oasis_mapper import OasisMapper
from proxymask.models.rearranger import Rearranger
from proxymask.models.unet_mapper import UNetMapper


def test_concat_channels_keeps_channels_last() -> None:
    wide = torch.randn(2, 7, 4, 6).to(memory_format=torch.channels_last)
    out = concat_channels(wide[:, :5], torch.randn(2, 3, 4, 6), wide[:, 5:])
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(out[:, :5], wide[:, :5])
    assert torch.equal(out[:, 8:], wide[:, 5:])


@pytest.mark.parametrize(("keys", "width"), [(48, 19), (700, 19), (48, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_equals_its_formula(keys: int, width: int, dtype: torch.dtype) -> None:
    """Against the definition in float64: more queries than a block, one style for each mask and one for all, and the gradient."""
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 600, 32), torch.randn(3, keys, 32), torch.randn(3, keys, width)
    given = [t.to(dtype).requires_grad_() for t in (query, key, value)]
    exact = [t.detach().double().requires_grad_() for t in given]

    def defined(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return (q @ k.transpose(1, 2) / 32**0.5).softmax(dim=2) @ v

    found, wanted = attention(*given), defined(*exact)
    atol = 1e-5 if dtype == torch.float32 else 0.02
    assert found.dtype == dtype
    assert torch.allclose(found.double(), wanted, atol=atol)
    found.float().square().sum().backward()
    wanted.square().sum().backward()
    for one, two in zip(given, exact, strict=True):
        assert float((one.grad.double() - two.grad).norm() / two.grad.norm()) < (1e-4 if dtype == torch.float32 else 0.05)
    shared = [given[0], *(t[:1].expand(3, -1, -1) for t in given[1:])]
    assert torch.allclose(attention(*shared).double(), defined(*(t.double() for t in shared)), atol=atol)


def ready(module: nn.Module) -> nn.Module:
    """In eval mode, with random parameters and statistics."""
    torch.manual_seed(1)
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.add_(0.2 * torch.randn_like(tensor))
        for name, buffer in module.named_buffers():
            if "running" in name:
                buffer.add_(torch.rand_like(buffer))
    return module.eval()


def networks() -> list[tuple[nn.Module, torch.Tensor]]:
    torch.manual_seed(0)
    picture = torch.rand(2, 3, tiny.SIZE, tiny.SIZE)
    ids = torch.randint(0, tiny.N, (2, tiny.SIZE, tiny.SIZE))
    plain = nn.Sequential(EqualConv(3, 5), ResidualBlock(5, 7), spectral_norm(nn.Conv2d(5, 4, 3, stride=2, padding=1)))
    oasis = [OasisMapper(tiny.N, tiny.K, tiny.CUT, widths=(16, 12, 8), hidden=8, resize=resize) for resize in ("nearest", "area")]
    unet = UNetMapper(3, tiny.K, tiny.CUT, tiny.SIZE, channel_base=128, channel_max=16)
    return [(plain, picture), (oasis[0], ids), (oasis[1], ids), (unet, picture)]


@pytest.mark.parametrize("index", range(4))
@torch.no_grad()
def test_a_fused_network_is_the_same_function(index: int) -> None:
    network, x = networks()[index]
    wanted = ready(network)(x)
    scale = float(wanted.abs().max())
    fast = fused_copy(network, torch.float32)
    assert torch.allclose(fast(x), wanted, atol=1e-4 * scale)
    assert torch.equal(network(x), wanted)  # the original is unchanged
    assert not any(p.requires_grad for p in fast.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = fused_copy(network, torch.bfloat16)(x).float()
    assert float((rough - wanted).abs().mean()) < 0.05 * scale


@torch.no_grad()
def test_a_fused_rearranger() -> None:
    torch.manual_seed(0)
    rearranger = ready(Rearranger(channels=8, resolution=tiny.CUT, num_clusters=tiny.K, position_channels=8, hidden=12))
    state = tiny.make_cut().features(torch.randn(2, tiny.Z))
    mask = F.one_hot(torch.randint(0, tiny.K, (2, tiny.CUT, tiny.CUT)), tiny.K).permute(0, 3, 1, 2).float()
    state = state._replace(features=torch.randn(2, 8, tiny.CUT, tiny.CUT))
    wanted, found = rearranger(state, mask), fused_copy(rearranger, torch.float32)(state, mask)
    for one, two in zip(found, wanted, strict=True):
        assert torch.allclose(one, two, atol=1e-4 * float(two.abs().max()))
