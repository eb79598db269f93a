"""The fused forms are the same functions as the networks they are made of."""

import pytest
import torch

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.inference.fused import FusedG2, MaskQuery
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.rearranger import Rearranger
from proxymask.models.split_generator import SplitGenerator
from proxymask.models.stylegan2 import seed_to_z

IDS = torch.randint(0, tiny.K, (3, tiny.CUT, tiny.CUT), generator=torch.Generator().manual_seed(1))


def stirred(**config: object) -> Rearranger:
    """A rearranger none of whose parameters is where it started."""
    torch.manual_seed(0)
    sizes = {"channels": 8, "resolution": tiny.CUT, "num_clusters": tiny.K, "position_channels": 8, "hidden": 12}
    rearranger = Rearranger(**{**sizes, **config})
    with torch.no_grad():
        for parameter in rearranger.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return rearranger.eval()


@pytest.mark.parametrize(
    "config", [{}, {"layers": 2}, {"layers": 3, "add_position": True}, {"key_mask": True}, {"key_mask": True, "key_mask_channels": 3}]
)
@torch.no_grad()
def test_it_is_the_same_function(config: dict[str, object]) -> None:
    rearranger = stirred(**config)
    hot = ProxyClusters(tiny.K, 8, tiny.CUT).one_hot(IDS)
    wanted, found = rearranger.encode_mask(hot).query, MaskQuery(rearranger)(IDS).query
    assert found.shape == wanted.shape
    assert torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))
    rough = MaskQuery(rearranger, torch.bfloat16)(IDS).query
    assert rough.dtype == torch.bfloat16
    assert float((rough - wanted).abs().max()) < 0.05 * float(wanted.abs().max())


def test_another_size() -> None:
    with pytest.raises(ProxymaskError, match=r"\(4, 4\) does not fit"):
        MaskQuery(stirred())(IDS[:, :4, :4])


@pytest.mark.parametrize("config", [{}, {"conv_clamp": 0.5}, {"scaled_weights": True}, {"start": (4, 6)}])
@pytest.mark.parametrize("resolution", [8, 16])
def test_fused_g2_is_the_second_half(config: dict[str, object], resolution: int) -> None:
    """With the style in its weights, for several states, and with a w for each layer."""
    split = SplitGenerator(tiny.make_generator(**config), resolution)
    ws = split.generator.broadcast(split.w(seed_to_z([1], tiny.Z))).clone()
    ws[:, -1] += 0.3
    states = split.features(split.w(seed_to_z([2, 3], tiny.Z)))
    wanted = split.render(states, ws.expand(2, -1, -1))
    assert torch.allclose(FusedG2(split, ws)(states), wanted, atol=1e-4)
    assert not torch.allclose(FusedG2(split, split.w(seed_to_z([4], tiny.Z)))(states), wanted, atol=1e-2)
    rough = FusedG2(split, ws, torch.bfloat16)(states)
    assert rough.dtype == torch.float32
    assert float((rough - wanted).abs().mean()) < 0.05 * float(wanted.abs().mean())
    with pytest.raises(ProxymaskError, match="fused for one style, not for 2"):
        FusedG2(split, ws.expand(2, -1, -1))
