"""The generator that another one was grown from is in it."""

import pytest
import torch
from smaller_generator import smaller_generator

from proxymask.core.errors import ProxymaskError
from proxymask.models.growing import grow_generator
from tiny import make_generator


def test_smaller_pictures_are_those_before_growing() -> None:
    small = make_generator()
    grown = grow_generator(small, 2 * small.resolution, small.config["channel_base"], small.config["channel_max"])
    for parameter in grown.synthesis.block(grown.resolution).parameters():
        parameter.data.add_(1)  # as if trained
    again, z = smaller_generator(grown, small.resolution), small.z([1, 2])
    assert again.config == small.config
    assert torch.equal(again(z), small(z))
    with pytest.raises(ProxymaskError, match=f"resolution {grown.resolution}: the generator has blocks of 4, 8, "):
        smaller_generator(grown, grown.resolution)
