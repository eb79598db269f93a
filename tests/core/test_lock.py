"""The lock of a folder, with real processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxymask.core import lock
from proxymask.core.errors import ProxymaskError
from proxymask.core.lock import LOCK, InUse, folder_lock

WORKER = Path(__file__).with_name("lock_worker.py")
SYSTEMS = pytest.mark.parametrize("options", [(), ("no-flock",), ("no-links",), ("no-flock", "no-links")], ids=" ".join)


@contextlib.contextmanager
def worker(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A process that takes the lock; ended with the body."""
    child = subprocess.Popen([sys.executable, str(WORKER), str(folder), *options], stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


@SYSTEMS
def test_of_many_that_start_at_once_one_wins(options: tuple[str, ...], tmp_path: Path) -> None:
    """Six processes at the same instant, twice; each loser names the winner."""
    for number in range(2):
        folder, go = tmp_path / f"run-{number}", tmp_path / f"go-{number}"
        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(worker(folder, f"go={go}", "for=1", *options)) for _ in range(6)]
            assert [line(child) for child in children] == ["ready"] * 6
            go.touch()
            said = {child.pid: line(child) for child in children}
            (winner,) = [pid for pid, text in said.items() if text.startswith("held")]
            for pid, text in said.items():
                if pid != winner:
                    assert f"{folder} is in use by process {winner} since " in text
                    assert f"{WORKER}"[:40] in text  # long commands are cut
                    assert text.endswith("wait until it has ended, stop it, or choose another folder")
            for child in children:
                child.wait()
        assert not folder.exists() or not list(folder.iterdir())  # removed again, unless another one was looking just then


@SYSTEMS
def test_a_killed_process_is_not_in_the_way(options: tuple[str, ...], tmp_path: Path) -> None:
    with worker(tmp_path, *options) as child:
        assert line(child).startswith("held")
        with pytest.raises(InUse, match=f"process {child.pid}"), folder_lock(tmp_path):
            pass
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert (tmp_path / LOCK).exists()
    began = time.monotonic()
    with worker(tmp_path, "for=0", *options) as child:
        assert line(child).startswith("held")
        child.wait()
    assert time.monotonic() - began < 10
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_does_not_keep_it(tmp_path: Path) -> None:
    with worker(tmp_path, "fork") as child:
        left = int(line(child).split()[1])
        child.send_signal(signal.SIGKILL)
        child.wait()
        try:
            os.kill(left, 0)  # it lives
            for attempt in range(100):  # the child may not have run yet
                try:
                    with folder_lock(tmp_path):
                        break
                except InUse:
                    assert attempt < 99
                    time.sleep(0.1)
        finally:
            os.kill(left, signal.SIGKILL)


@pytest.mark.parametrize("options", [(), ("no-flock",)], ids=["flock", "none"])
def test_another_machine(options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ``flock`` does not reach the other machine, what counts is whether the file is still touched."""
    monkeypatch.setattr(lock, "WATCH", 1.5)
    with worker(tmp_path, "no-flock", "host=elsewhere") as child:
        assert line(child).startswith("held")
        with worker(tmp_path, *options) as other:
            said = line(other)
        assert f"in use by process {child.pid} on elsewhere since" in said
        assert said.endswith(f"or remove {tmp_path / LOCK} if that machine is gone")
        with pytest.warns(UserWarning, match="waiting 2 s"), pytest.raises(InUse, match="elsewhere"), folder_lock(tmp_path):
            pass
        child.kill()
        child.wait()
        with pytest.warns(UserWarning, match="process .* on elsewhere"), folder_lock(tmp_path):
            assert f'"host": "{socket.gethostname()}"' in (tmp_path / LOCK).read_text()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}'])
def test_a_damaged_file_is_not_in_the_way(content: str, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(content)
    with folder_lock(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_in_one_process(tmp_path: Path) -> None:
    """A thread may take it again, another thread may not; afterwards nothing is left, wherever the folder is by then."""
    said = []

    def other() -> None:
        try:
            with folder_lock(tmp_path / "run"):
                said.append("held")
        except InUse as error:
            said.append(str(error))

    with folder_lock(tmp_path / "run"), folder_lock(tmp_path / "." / "run"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "in use by another thread of this process" in said[0]
    with folder_lock(tmp_path / "run"):
        (tmp_path / "run" / "file").touch()
        os.rename(tmp_path / "run", tmp_path / "aside")
    other()
    assert said[1] == "held"
    with folder_lock(tmp_path / "aside"):  # the file that was renamed along names nobody who holds it
        pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["aside", "file"]
    (tmp_path / "file").touch()
    with pytest.raises(ProxymaskError, match=r"cannot write .*file/run \(Not a directory\)"), folder_lock(tmp_path / "file" / "run"):
        pass
