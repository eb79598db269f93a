"""The one thread that renders: the newest job of a slot wins, owners take turns, nothing ends it."""

import threading
from collections.abc import Iterator

import pytest

from proxymask.studio.errors import BusyError
from proxymask.studio.turns import IDLE, Job, Pause, Turns, Work

WAIT = 20.0


@pytest.fixture
def turns() -> Iterator[Turns]:
    made = Turns(waiting=5)
    made.start()
    yield made
    made.close()


def fail(error: Exception) -> None:
    raise error


class Gate:
    """Work that says when it has been reached, and goes on when it may."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.go.wait(WAIT)


def recorded(log: list[str], name: str, steps: int = 1, gate: Gate | None = None, done: threading.Event | None = None) -> Work:
    if gate is not None:
        gate()
    for step in range(steps):
        log.append(f"{name}{step}")
        yield Pause.REST
    if done is not None:
        done.set()


def test_a_running_job_stops_at_its_next_step_when_a_newer_one_comes(turns: Turns):
    gate, log, done = Gate(), [], threading.Event()

    def work() -> Work:
        log.append("old 1")
        gate()
        yield Pause.STEP
        log.append("old 2")
        yield Pause.STEP

    turns.put(Job("a", "render", work(), 0, fail))
    assert gate.reached.wait(WAIT)
    turns.put(Job("a", "render", recorded(log, "new", done=done), 0, fail))
    gate.go.set()
    assert done.wait(WAIT)
    assert log == ["old 1", "new0"]


def test_a_stopped_job_is_closed_so_that_it_lets_go_of_what_it_holds(turns: Turns):
    gate, closed, done = Gate(), threading.Event(), threading.Event()

    def work() -> Work:
        try:
            gate()
            yield Pause.STEP
        finally:
            closed.set()

    turns.put(Job("a", "render", work(), 0, fail))
    assert gate.reached.wait(WAIT)
    turns.stop("a")
    gate.go.set()
    assert closed.wait(WAIT)
    turns.put(Job("a", "render", recorded([], "new", done=done), 0, fail))
    assert done.wait(WAIT)


def test_of_those_that_wait_only_the_newest_runs(turns: Turns):
    gate, log, done = Gate(), [], threading.Event()
    turns.put(Job("other", "render", recorded(log, "other", gate=gate), 0, fail))
    assert gate.reached.wait(WAIT)
    for name in "xyz":
        turns.put(Job("a", "render", recorded(log, name, done=done), 0, fail))
    assert turns.count("a") == 1
    gate.go.set()
    assert done.wait(WAIT)
    assert log == ["other0", "z0"]


def test_other_slots_of_the_owner_are_left_alone(turns: Turns):
    gate, log, done = Gate(), [], threading.Event()
    turns.put(Job("other", "render", recorded(log, "other", gate=gate), 0, fail))
    assert gate.reached.wait(WAIT)
    turns.put(Job("a", "attention", recorded(log, "attention", done=done), 1, fail))
    turns.put(Job("a", "render", recorded(log, "render"), 0, fail))
    gate.go.set()
    assert done.wait(WAIT)
    assert log == ["other0", "render0", "attention0"]


def test_owners_take_turns_between_their_pictures(turns: Turns):
    gate, log, done = Gate(), [], threading.Event()
    turns.put(Job("first", "x", recorded(log, "first", gate=gate), 0, fail))
    assert gate.reached.wait(WAIT)
    turns.put(Job("a", "render", recorded(log, "a", steps=4, done=done), 0, fail))
    turns.put(Job("b", "render", recorded(log, "b", steps=2), 0, fail))
    turns.put(Job("c", "render", recorded(log, "c", steps=1), 0, fail))
    gate.go.set()
    assert done.wait(WAIT)
    assert log == ["first0", "a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_the_urgent_job_of_an_owner_goes_first(turns: Turns):
    gate, log, done = Gate(), [], threading.Event()
    turns.put(Job("first", "x", recorded(log, "first", gate=gate), 0, fail))
    assert gate.reached.wait(WAIT)
    turns.put(Job("a", "thumbnails", recorded(log, "late", steps=2, done=done), 10, fail))
    turns.put(Job("a", "render", recorded(log, "soon", steps=2), 0, fail))
    gate.go.set()
    assert done.wait(WAIT)
    assert log == ["first0", "soon0", "soon1", "late0", "late1"]


def test_idle_work_waits_for_everybody(turns: Turns):
    gate, log, done = Gate(), [], threading.Event()
    turns.put(Job(IDLE, "census", recorded(log, "idle", steps=2, gate=gate, done=done), 0, fail))
    assert gate.reached.wait(WAIT)
    turns.put(Job("a", "render", recorded(log, "a", steps=3), 0, fail))
    gate.go.set()
    assert done.wait(WAIT)
    assert log == ["idle0", "a0", "a1", "a2", "idle1"]


def test_a_job_that_raises_is_told_and_ends_nothing(turns: Turns):
    told, done = [], threading.Event()

    def broken() -> Work:
        yield Pause.STEP
        raise ZeroDivisionError("of a network")

    turns.put(Job("a", "render", broken(), 0, told.append))
    turns.put(Job("b", "render", recorded([], "b", done=done), 0, fail))
    assert done.wait(WAIT)
    assert [type(error) for error in told] == [ZeroDivisionError]


def test_too_many_jobs_of_one_owner_are_refused(turns: Turns):
    gate = Gate()
    turns.put(Job("first", "x", recorded([], "first", gate=gate), 0, fail))
    assert gate.reached.wait(WAIT)
    for number in range(5):
        turns.put(Job("pages", str(number), recorded([], "x"), 0, fail))
    with pytest.raises(BusyError, match="busy"):
        turns.put(Job("pages", "one more", recorded([], "x"), 0, fail))
    done = threading.Event()
    turns.put(Job("someone else", "x", recorded([], "x", steps=20, done=done), 0, fail))
    gate.go.set()
    assert done.wait(WAIT)  # by then the others, who had their turns too, have ended


def test_ending_tells_all_that_wait():
    turns, gate, told = Turns(), Gate(), []
    turns.start()
    turns.put(Job("a", "render", recorded([], "a", gate=gate), 0, told.append))
    assert gate.reached.wait(WAIT)
    turns.put(Job("b", "render", recorded([], "b"), 0, told.append))
    gate.go.set()
    turns.close()
    assert {type(error) for error in told} == {BusyError}
    with pytest.raises(BusyError, match="ending"):
        turns.put(Job("c", "render", recorded([], "c"), 0, fail))
