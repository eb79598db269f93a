"""The training on a GPU that is there for minutes, at toy size: every call ends in time, the next one goes on on a bare machine."""

import itertools
import json
import shutil
import sys
import types
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "gpu"))

import avatars256
import timed

from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.discriminator import Discriminator
from proxymask.models.stylegan2 import Generator
from proxymask.training import auxiliary

TOY = {
    "base": "demo",
    "resolution": 32,
    "cut": 8,
    "num_clusters": 6,
    "cluster_samples": 8,
    "generator": {"channel_base": 256, "channel_max": 8},
    "rearranger": {"position_channels": 4, "hidden": 4, "layers": 2, "refinement_width": 4, "narrow_channels": 4},
    "mapper": {"widths": [4, 4], "hidden": 4},
    "generator_loop": {"batch": 4},
    "rearranger_loop": {"batch": 4},
    "segmenter_loop": {"batch": 2},
    "mapper_loop": {"batch": 2},
    "detail": {"width": 8},
    "detail_loop": {"batch": 2},
}
A_LOOK = 0.5  # seconds that pass whenever somebody looks at the clock


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A generator of 16 pixels and its discriminator."""
    torch.manual_seed(0)
    widths = {"resolution": 16, "channel_base": 128, "channel_max": 8}
    Generator(z_dim=8, w_dim=8, mapping_layers=1, **widths).save_pretrained(tmp_path / "small" / "generator")
    Discriminator(**widths).save_pretrained(tmp_path / "small" / "discriminator")
    return tmp_path / "small"


def test_calls_that_end_in_every_stage_give_a_bundle_that_paints(start, tmp_path, monkeypatch):
    pytest.importorskip("robohash")
    looks = itertools.count()
    clock = types.SimpleNamespace(monotonic=lambda: next(looks) * A_LOOK)
    clock.perf_counter = clock.monotonic
    monkeypatch.setattr(timed, "time", clock)
    monkeypatch.setattr(auxiliary, "COUNTED", 8)
    monkeypatch.setattr(auxiliary, "BATCH", 4)
    monkeypatch.setattr(avatars256, "CANDIDATES", 16)
    monkeypatch.setattr(avatars256, "SHOWN", 2)
    preset, work, out, before = (tmp_path / name for name in ("toy.json", "work", "out", "before"))
    preset.write_text(json.dumps(TOY))
    stopped_in = []
    for later in (20, 10, 0, 0, 0, 0, 0, 0):
        budget = ["--seconds", "8", "--reserve", "0", "--later", str(later), "--device", "cpu"]
        pictures = ["--workers", "1", "--capacity", "6", "--first", "6"]
        places = ["--preset", str(preset), "--start", str(start), "--work", str(work), "--out", str(out), "--from", str(before)]
        code = avatars256.main(["run", *budget, *pictures, *places])
        found = [path for path in out.rglob("*") if path.is_file()]
        assert len(found) <= avatars256.MOST_FILES
        assert all(path.stat().st_size < avatars256.MOST_BYTES for path in found)
        if code == 0:
            break
        assert code == 3
        stages = [path.name for path in work.iterdir() if path.is_dir() and not (path / "done.json").is_file()]
        stopped_in += stages
        shutil.rmtree(before, ignore_errors=True)
        out.rename(before)
        shutil.rmtree(work)  # the machine is lost
    assert stopped_in[:2] == ["generator", "generator"]  # in the middle of it, so that a checkpoint has travelled
    assert code == 0
    synth = Synthesizer.from_pretrained(work / "bundle", device="cpu")
    assert list(synth.bundle.details) == ["mask"]
    assert synth.generate(torch.zeros(32, 32, dtype=torch.uint8).numpy(), style=1).picture.size == (32, 32)
