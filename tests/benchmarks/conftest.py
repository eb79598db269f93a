"""Benchmarks are scripts beside the package: their folder is put on the path."""

import sys
from pathlib import Path

import pytest

from proxymask.data.drawn_dataset import make_dataset

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 avatars of 32 pixels with exact masks."""
    out = tmp_path_factory.mktemp("drawn") / "avatars"
    make_dataset(out, "avatars", 24, 32, 31, "head", 1, None)
    return out
