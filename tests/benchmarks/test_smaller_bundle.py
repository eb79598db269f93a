"""The bundle that another one was grown from is in it."""

import pytest
import torch
from smaller_bundle import smaller_bundle

import tiny
from proxymask.core.errors import ProxymaskError
from proxymask.models.detail_network import DetailNetwork
from proxymask.models.growing import grow_detail_network, grow_generator, grow_segmenter


def test_smaller_pictures_are_those_before_growing() -> None:
    small = tiny.make_bundle()
    assert small.segmenter is not None
    small.segmenter.level_rms.copy_(torch.rand(len(small.segmenter.level_rms)) + 0.5)
    side, config = small.resolution, small.generator.config
    small.details["mask"] = DetailNetwork(len(small.labels or ()), small.generator.synthesis.channels(2 * small.cut), side, small.cut)
    generator = grow_generator(small.generator, 2 * side, config["channel_base"], config["channel_max"])
    for parameter in generator.synthesis.block(2 * side).parameters():
        parameter.data.add_(1)  # as if trained
    channels = [generator.synthesis.channels(block) for block in generator.synthesis.block_resolutions]
    grown = tiny.make_bundle()
    grown.generator, grown.segmenter = generator, grow_segmenter(small.segmenter, channels)
    grown.details["mask"] = grow_detail_network(small.details["mask"], 2)

    again, z = smaller_bundle(grown, side), small.generator.z([1, 2])
    assert torch.equal(again.generator(z), small.generator(z))
    for name, part in small.parts().items():
        other = again.parts()[name]
        assert other.config == part.config
        for key, value in part.state_dict().items():
            assert torch.allclose(other.state_dict()[key], value, rtol=1e-6), key

    with pytest.raises(ProxymaskError, match=f"resolution {2 * side}: the generator has blocks of 4, 8, "):
        smaller_bundle(grown, 2 * side)
    with pytest.raises(ProxymaskError, match=f"split at {small.cut}, and needs a block after it"):
        smaller_bundle(grown, small.cut)
    grown.segmenter.project[-1].weight.data.add_(1)
    with pytest.raises(ProxymaskError, match="not grown by new blocks alone"):
        smaller_bundle(grown, side)
