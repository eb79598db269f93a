"""The server is killed and started again while somebody paints."""

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
