"""Depth that drawings come with, and the network that learns it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from proxymask.conditions import get_condition
from proxymask.core.errors import ProxymaskError
from proxymask.models.depth_net import DepthNet, find_depth_net
from proxymask.training.depth import DepthConfig, DepthImages
from proxymask.training.stages.depth import DepthDefinition
from proxymask.training.stats import stat_lines


def test_depth_is_written_and_learned(tmp_path: Path) -> None:
    pytest.importorskip("robohash")
    from proxymask.data.drawn_dataset import make_dataset

    out = make_dataset(tmp_path / "set", "avatars", 8, 32, workers=1)
    with pytest.raises(ProxymaskError, match="draw it with proxymask data avatars --depth"):
        DepthImages(out)
    before = {path.name: path.read_bytes() for path in (out / "images").iterdir()}
    make_dataset(tmp_path / "set", "avatars", 8, 32, workers=1, depth=True)
    assert {path.name: path.read_bytes() for path in (out / "images").iterdir()} == before
    with Image.open(out / "depth" / "000003.png") as opened:
        assert opened.mode == "I;16"
        stored = np.asarray(opened)
    data = DepthImages(out)
    depths = data.depths([3, 4])
    assert torch.allclose(depths[0] * 65535, torch.from_numpy(stored.astype(np.float32)), atol=0.5)
    stage = DepthDefinition(config=DepthConfig(width=8, learning_rate=0.02), loop=tiny.loop_config(steps=60), data=data).build()
    run = tiny.run(stage, tmp_path / "run", steps=60, batch=8)
    net = run.averages["depth"]
    assert isinstance(net, DepthNet)
    lines = stat_lines(tmp_path / "run" / "stats.jsonl")
    first, last = (sum(line["loss/depth"] for line in part) / 5 for part in (lines[:5], lines[-5:]))
    assert last < 0.75 * first
    with torch.no_grad():
        found = net(data.images(range(8)))[:, 0]
    truth = data.depths(list(range(8)))
    stacked = torch.corrcoef(torch.stack([found.flatten(), truth.flatten()]))
    assert float(stacked[0, 1]) > 0.7
    assert net(torch.rand(1, 3, 21, 35)).shape == (1, 1, 21, 35)  # any size
    net.save_pretrained(tmp_path / "saved" / "depth")
    for place in (tmp_path / "saved", tmp_path / "saved" / "depth"):
        condition = get_condition("depth", None, "depth-net", place)
        planes = condition.extract(data.images([0, 1]), None, torch.Generator())
        assert torch.allclose(planes.amax(dim=(1, 2, 3)), torch.ones(2))
        assert float(planes.min()) == 0
    with pytest.raises(ProxymaskError, match="holds no depth network"):
        find_depth_net(tmp_path)
    (out / "depth" / "000007.png").unlink()
    with pytest.raises(ProxymaskError, match=r"000007\.png is missing"):
        DepthImages(out)
