"""Hashes of networks."""

import pytest
import torch

from proxymask.core.hashing import tensors_hash, weights_hash
from proxymask.models.stylegan2 import Generator

SMALL = {"z_dim": 8, "w_dim": 8, "resolution": 8, "channel_base": 64, "channel_max": 8, "mapping_layers": 1}


@pytest.mark.parametrize("changed", [{"final_tanh": True}, {"mapping_lr_multiplier": 1.0}, {"conv_clamp": 256.0}, {"scaled_weights": True}])
def test_generators_of_other_settings_are_others(changed: dict[str, object]) -> None:
    """The same tensors give other pictures, so that stages that learned from one are not done for the other."""
    plain, other = Generator(**SMALL), Generator(**SMALL | changed)
    other.load_state_dict(plain.state_dict())
    assert weights_hash(plain) == tensors_hash(plain.state_dict(), torch.float16)  # as for every network without such settings
    assert weights_hash(other) != weights_hash(plain)
    torch_seeds = Generator(**SMALL | {"seed_style": "torch"})
    torch_seeds.load_state_dict(plain.state_dict())
    assert weights_hash(torch_seeds) == weights_hash(plain)  # the same function of z
