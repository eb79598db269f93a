"""Sessions: a bounded number, forgotten when nobody comes back."""

import pytest

from proxymask.studio.errors import BusyError
from proxymask.studio.sessions import Sessions


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_page_that_comes_back_finds_its_session():
    sessions = Sessions(4, 60)
    session, restored = sessions.connect(None)
    assert not restored
    session.newest = 17
    sessions.disconnect(session)
    again, restored = sessions.connect(session.id)
    assert (again, restored) == (session, True)
    assert again.newest == -1, "a reloaded page counts from the start"


@pytest.mark.parametrize("known", ["", "unknown", "../../etc", "x" * 100])
def test_an_unknown_id_gets_a_new_session(known: str):
    session, restored = Sessions(4, 60).connect(known)
    assert not restored
    assert session.id != known
    assert len(session.id) >= 16


def test_a_duplicated_tab_gets_a_session_of_its_own():
    sessions = Sessions(4, 60)
    first, _ = sessions.connect(None)
    second, restored = sessions.connect(first.id)
    assert (second is first, restored) == (False, False)


def test_sessions_are_forgotten_after_a_while_but_not_while_connected():
    clock = Clock()
    sessions = Sessions(4, 60, clock)
    gone, stays = sessions.connect(None)[0], sessions.connect(None)[0]
    sessions.disconnect(gone)
    clock.now = 61
    assert sessions.connect(gone.id)[1] is False
    assert sessions.connect(None)[0] is not stays
    assert len(sessions) == 3


def test_a_full_server_forgets_who_left_first_and_then_refuses():
    clock = Clock()
    sessions = Sessions(2, 1000, clock)
    first, second = sessions.connect(None)[0], sessions.connect(None)[0]
    sessions.disconnect(second)
    clock.now = 5
    sessions.disconnect(first)
    sessions.connect(None)
    assert len(sessions) == 2
    assert sessions.connect(second.id)[1] is False  # the one that left first made room, this one takes the other's
    with pytest.raises(BusyError, match="2 pages are open"):
        sessions.connect(None)
