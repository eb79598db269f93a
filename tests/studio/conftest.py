"""Fixtures of the studio's tests. Where its packages are missing (the extra ``test`` has them), each file here is one skipped test."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

NEEDED = ("fastapi", "uvicorn", "websockets")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

if MISSING:

    class SkippedModule(pytest.Module):
        """A test file that cannot be imported here."""

        def collect(self) -> NoReturn:
            what = ", ".join(MISSING)
            pytest.skip(f"no test of this file was run: it needs {what}: pip install 'proxymask[studio,test]'", allow_module_level=True)

    def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
        return SkippedModule.from_parent(parent, path=module_path)

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
