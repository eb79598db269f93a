"""What all stages have in common."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from proxymask.imaging.grids import tile, to_uint8


@pytest.mark.parametrize("name", ["rearranger", "mapper"])
@pytest.mark.parametrize("pictures", [True, False])
def test_frozen_parts_stay(name: str, pictures: bool, tmp_path: Path) -> None:
    """The stage changes its own networks; generator, clusters and (for the mapper) rearranger keep every bit."""
    stage = tiny.make_stage(name)
    stage.pictures = tiny.Pictures() if pictures else None
    frozen = {"split": stage.split, "clusters": stage.clusters} | ({"rearranger": stage.rearranger} if name == "mapper" else {})
    before = {k: {n: v.clone() for n, v in m.state_dict().items()} for k, m in frozen.items()}
    start = {k: {n: v.clone() for n, v in m.state_dict().items()} for k, m in stage.modules.items()}
    tiny.run(stage, tmp_path)
    for part, module in frozen.items():
        assert tiny.differing(before[part], module.state_dict()) == []
        assert not any(p.requires_grad or p.grad is not None for p in module.parameters())
    for part, module in stage.modules.items():
        assert len(tiny.differing(start[part], module.state_dict())) > 5, part
    lines = (tmp_path / "stats.jsonl").read_text()
    for word in ("d/r1", "d/loss", '"loss/adv"' if name == "mapper" else "loss/agreement"):
        assert word in lines


@pytest.mark.parametrize(("name", "rows", "columns"), [("generator", 5, 8), ("rearranger", 4, 10), ("mapper", 5, 10)])
def test_grids(name: str, rows: int, columns: int, tmp_path: Path) -> None:
    stage = tiny.make_stage(name)
    run = tiny.run(stage, tmp_path, steps=1, grid_every=1)
    picture = Image.open(tmp_path / "grids/00000001.png")
    assert picture.mode == "RGB"
    assert picture.size == tuple(8 * (n * 18 + 2) for n in (columns, rows))
    state = tiny.state(run)
    with torch.no_grad():
        assert np.array_equal(np.asarray(stage.grid(run)), np.asarray(picture))  # the same noise at every step
    assert tiny.differing(state, tiny.state(run)) == []


def test_tiles() -> None:
    cells = [np.full((n, 3, 3, 3), n * 10, np.uint8) for n in (2, 1)]
    sheet = np.asarray(tile(cells, gap=1))
    assert sheet.shape == (9, 9, 3)
    for (y, x), value in {(1, 1): 20, (1, 5): 20, (5, 1): 10, (5, 5): 255}.items():
        assert (sheet[y : y + 3, x : x + 3] == value).all()
    assert (sheet[::4] == 255).all()
    assert np.asarray(tile(cells, scale=2, gap=1)).shape == (18, 18, 3)
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert to_uint8(x)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_every_stage_names_what_it_averages() -> None:
    for name in tiny.STAGES:
        stage = tiny.make_stage(name)
        assert stage.name == name
        assert stage.averaged == (name,)
        assert set(stage.modules) >= {name}
        assert set(stage.optimizers) <= set(stage.modules)
