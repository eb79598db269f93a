"""The server is killed and started again while somebody paints."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from studio_driver import StudioServer


@pytest.fixture
def own_server():
    server = StudioServer()
    server.start()
    yield server
    server.stop()


def test_server_killed_in_the_middle_of_a_stroke(open_studio, own_server):
    studio = open_studio(own_server)
    studio.start_from("short hair")
    before, picture = studio.ids(), studio.picture()
    studio.press("7")
    studio.down((40, 40), (80, 80))
    own_server.kill()
    studio.page.get_by_text("The server is away").wait_for()
    studio.page.mouse.move(*studio.at(200, 80), steps=10)
    studio.page.mouse.up()
    stroked = studio.ids()
    assert (stroked != before)[70:90, 100:200].any()
    studio.stroke((40, 200), (90, 200))
    painted = studio.ids()
    own_server.start()
    studio.page.get_by_text("The server is back").wait_for()
    studio.settle()
    assert np.array_equal(studio.ids(), painted)
    assert not np.array_equal(studio.picture(), picture)
    studio.press("Control+z")
    studio.settle()
    assert np.array_equal(studio.ids(), stroked)


def test_work_of_other_labels_stays_apart(open_studio, tiny_bundle: Path, tmp_path: Path):
    """A bundle of the same name with other labels, as another fit leaves it: ids that were painted have another meaning there."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "mine"))
    server = StudioServer("--bundle", str(folder), "--workspace", str(tmp_path / "work"))
    server.start()
    try:
        studio = open_studio(server)
        studio.press("3")
        studio.stroke((40, 40), (200, 200))
        studio.settle()
        painted = studio.ids()
        assert painted.any()
        for name in ("other", "skin"):
            server.kill()
            about, labels = json.loads((folder / "bundle.json").read_text()), json.loads((folder / "labels.json").read_text())
            labels["labels"][1]["name"] = name
            (folder / "labels.json").write_text(json.dumps(labels))
            about["sha256"]["labels.json"] = hashlib.sha256((folder / "labels.json").read_bytes()).hexdigest()
            (folder / "bundle.json").write_text(json.dumps(about))
            server.start()
            studio.page.reload()
            studio.ready()
            assert np.array_equal(studio.ids(), painted) is (name == "skin")
    finally:
        server.stop()
