"""Two small sets of avatars with exact masks, drawn once."""

from pathlib import Path

import pytest

from proxymask.data.drawn_dataset import make_dataset


@pytest.fixture(scope="session")
def avatars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 avatars of 32 pixels."""
    out = tmp_path_factory.mktemp("avatars") / "real"
    make_dataset(out, "avatars", 48, 32, 21, "head", 1, None)
    return out


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 others."""
    out = tmp_path_factory.mktemp("avatars") / "fresh"
    make_dataset(out, "avatars", 32, 32, 22, "head", 1, None)
    return out
