"""Fixtures of the studio's tests. They need its packages (the extra ``test`` has them); without these nothing is collected here."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

if importlib.util.find_spec("fastapi") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    import studio_page
    from starlette.testclient import TestClient

    from proxymask.studio.config import StudioConfig

    @pytest.fixture(scope="session")
    def avatars() -> Iterator[TestClient]:
        """A running studio with the embedded bundle. Tests do not change it."""
        with studio_page.running(StudioConfig()) as client:
            yield client

    @pytest.fixture
    def tiny_studio(tiny_bundle: Path) -> Iterator[TestClient]:
        """A running studio of one's own, with a small bundle of random weights."""
        with studio_page.running(StudioConfig(str(tiny_bundle))) as client:
            yield client
