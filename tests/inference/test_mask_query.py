"""The query by looking up asks for the same as the rearranger's own."""

import pytest
import torch

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.inference.mask_query import MaskQuery
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.rearranger import Rearranger

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


@pytest.mark.parametrize("config", [{}, {"layers": 2}, {"layers": 3, "add_position": True}, {"key_mask": False}, {"key_mask_channels": 3}])
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
