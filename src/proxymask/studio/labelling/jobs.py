"""Trainings in the background: one at a time, each in a process of its own with one thread and low priority, so that painting goes on.

A job is a folder with ``job.json`` (what is trained, and its state) and ``log.jsonl`` (what the process reported). A job that was running
when the server ended goes on when it is started again: ``fit`` continues where it was. Of several servers in one workspace, one runs the
jobs; the others show them.
"""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ...core.errors import ProxymaskError
from ...core.files import read_json, write_json
from ...core.lock import InUse, folder_lock
from ...training.presets import DEFAULT_PRESET
from ..errors import NotFoundError
from .workspace import LabelFolder, Workspace

State = Literal["waiting", "running", "stopped", "done", "failed"]
MOST_WAITING, MOST_KEPT = 8, 200
STOP_SECONDS = 20.0  # a process that is stopped may write a checkpoint first
NICE = 10


@dataclass(frozen=True)
class Job:
    """One training, as ``job.json`` has it."""

    id: str
    label_set: str
    name: str
    """Of the bundle that is made."""
    source: str
    """The bundle whose generator, clusters and rearranger are kept: a name or a folder."""
    labels: str
    """Folder of the labelled samples."""
    out: str
    """Folder of the bundle that is made."""
    steps_scale: float
    device: str
    made: float
    state: State = "waiting"
    error: str | None = None
    preset: str = DEFAULT_PRESET
    """Settings of the stages: a name or a JSON file."""


@dataclass
class Progress:
    """How far the running job is."""

    stage: str = "starting"
    done: int = 0
    total: int = 0
    left: float | None = None
    """Seconds left of the stage."""
    said: str = ""
    """What ``fit`` said last."""


class Jobs:
    """The trainings of a workspace. All methods may be called from any thread.

    Args:
        workspace: where they are kept.
        preset: settings of new trainings, a name or a JSON file.
        device: where new trainings compute.
        finished: called with the folder of a bundle that is ready.
    """

    def __init__(self, workspace: Workspace, preset: str, device: str, finished: Callable[[Path], object]) -> None:
        self._workspace, self._preset, self._device, self._finished = workspace, preset, device, finished
        self._lock, self._wake = threading.RLock(), threading.Event()
        self._jobs: dict[str, Job] = {}
        self._progress: dict[str, Progress] = {}
        self._process: subprocess.Popen[str] | None = None
        self._running: str | None = None
        self._closing = False
        self._held: contextlib.ExitStack | None = None
        """Holds the lock of the jobs' folder, without which nothing is run or written."""
        self._thread = threading.Thread(target=self._run, name="proxymask-jobs", daemon=True)

    def start(self) -> None:
        """Read the jobs of earlier servers; those that were not done go on, unless another server runs them."""
        with self._lock:
            self._read()
            if self._jobs:
                with contextlib.suppress(ProxymaskError):
                    self._claim()
        self._thread.start()

    def _read(self) -> None:
        for path in sorted(self._workspace.jobs.glob("*/job.json")):
            try:
                job = Job(**read_json(path))
            except (ProxymaskError, TypeError):
                continue
            self._jobs[job.id] = job

    def _claim(self) -> None:
        """Become the server that runs the jobs, if it is not yet; what was running goes on.

        Raises:
            ProxymaskError: another server runs them, or the folder cannot be written.
        """
        if self._held is None:
            held = contextlib.ExitStack()
            try:
                held.enter_context(folder_lock(self._workspace.jobs))
            except InUse as error:
                raise ProxymaskError(f"another studio runs the trainings of this workspace: {error.message}") from None
            self._held = held
            self._read()
            self._jobs = {name: replace(job, state="waiting") if job.state == "running" else job for name, job in self._jobs.items()}
            self._wake.set()

    def close(self) -> None:
        """Stop the running job so that the next server goes on with it."""
        with self._lock:
            self._closing = True
            process = self._process
        self._wake.set()
        _end(process)
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS + 5)
        if self._held is not None:
            self._held.close()

    def list(self) -> list[dict[str, Any]]:
        """All jobs, the newest first, for a page."""
        with self._lock:
            jobs = sorted(self._jobs.values(), key=lambda job: -job.made)[:MOST_KEPT]
            return [self._about(job) for job in jobs]

    def add(self, labels: LabelFolder, name: str, source: str, steps_scale: float) -> dict[str, Any]:
        """Train a bundle of a label set.

        Raises:
            ProxymaskError: no labelled sample, too many waiting jobs, a name that is taken or that is no name of a folder.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}", name):
            raise ProxymaskError("name: 1 to 60 letters, digits, - or _, as it becomes the name of a folder")
        if not labels.samples():
            raise ProxymaskError(f"{labels.name} has no labelled sample yet: label one first")
        with self._lock:
            self._claim()
            active = [job for job in self._jobs.values() if job.state in ("waiting", "running")]
            if len(active) >= MOST_WAITING:
                raise ProxymaskError(f"{len(active)} trainings wait already: stop one, or wait")
            out = self._workspace.models / name
            if any(job.out == str(out) for job in active):
                raise ProxymaskError(f"name: {name} is being trained already: give another name, or stop that training")
            if out.exists():
                raise ProxymaskError(f"name: there is a bundle {name} already: give another name")
            if any(job.out == str(out) and job.state != "done" for job in self._jobs.values()):
                raise ProxymaskError(f"name: a training {name} was stopped or failed: go on with it, or give another name")
            place = secrets.token_hex(4)
            job = Job(
                place, labels.id, name, source, str(labels.folder), str(out), steps_scale, self._device, time.time(), preset=self._preset
            )
            try:
                (self._workspace.jobs / place).mkdir(parents=True)
                out.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ProxymaskError(f"cannot write {self._workspace.root} ({error.strerror}): make room") from None
            self._keep(job)
        self._wake.set()
        return self._about(job)

    def stop(self, identity: str) -> dict[str, Any]:
        """Stop a job; it can be resumed.

        Raises:
            NotFoundError: there is none.
        """
        with self._lock:
            job = self._get(identity)
            self._claim()
            if job.state in ("waiting", "running"):
                self._keep(replace(job, state="stopped"))
            process = self._process if self._running == identity else None
        _end(process)
        return self._about(self._get(identity))

    def resume(self, identity: str) -> dict[str, Any]:
        """Go on with a job that was stopped or failed.

        Raises:
            NotFoundError: there is none.
            ProxymaskError: it is done, its labels are gone, or another training has its name by now.
        """
        with self._lock:
            self._get(identity)
            self._claim()
            job = self._get(identity)
            if job.state == "done":
                raise ProxymaskError(f"{job.name} is done: paint with it")
            if not Path(job.labels).is_dir():
                raise ProxymaskError(f"the label set of {job.name} was removed: rename {job.labels}.removed-1 to what it was, and go on")
            if any(other.out == job.out and other.id != job.id and other.state != "stopped" for other in self._jobs.values()):
                raise ProxymaskError(f"a later training has the name {job.name}: train these labels under another name")
            if job.state in ("stopped", "failed"):
                self._keep(replace(job, state="waiting", error=None))
        self._wake.set()
        return self._about(self._get(identity))

    def preview(self, identity: str) -> Path | None:
        """The newest picture that the job's training wrote, None where there is none yet."""
        job = self._get(identity)
        grids = Path(f"{job.out}.work").glob("*/grids/*.png")
        return max(grids, key=lambda path: path.stat().st_mtime, default=None)

    def _get(self, identity: str) -> Job:
        with self._lock:
            if identity not in self._jobs:
                raise NotFoundError(f"no training {identity[:40]!r} here")
            return self._jobs[identity]

    def _about(self, job: Job) -> dict[str, Any]:
        progress = asdict(self._progress.get(job.id, Progress()))
        shown = {key: getattr(job, key) for key in ("id", "label_set", "name", "state", "error", "made", "steps_scale")}
        running = job.state == "running"
        return {**shown, "progress": progress if running else None, "preview": running and self.preview(job.id) is not None}

    def _keep(self, job: Job) -> None:
        self._jobs[job.id] = job
        with contextlib.suppress(OSError):  # a full disk loses only the state, and the job is known in memory
            write_json(self._workspace.jobs / job.id / "job.json", asdict(job))

    def _run(self) -> None:
        while True:
            self._wake.wait()
            with self._lock:
                if self._closing:
                    return
                waiting = sorted((job for job in self._jobs.values() if job.state == "waiting"), key=lambda job: job.made)
                if not waiting:
                    self._wake.clear()
                    continue
                job = replace(waiting[0], state="running")
                self._running, self._progress[job.id] = job.id, Progress()
                self._keep(job)
            end, error = self._train(job)
            with self._lock:
                self._running = self._process = None
                now = self._jobs[job.id]
                if self._closing and end == "stopped":
                    return  # job.json still says "running": the next server goes on
                if now.state == "running" or end == "done":
                    self._keep(replace(now, state=end, error=error))
            if end == "done":
                self._finished(Path(job.out))

    def _train(self, job: Job) -> tuple[State, str | None]:
        """Run the process of a job to its end."""
        folder = self._workspace.jobs / job.id
        command = [sys.executable, "-m", "proxymask.studio.labelling.train_process", str(folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        end: tuple[State, str | None] = "failed", "the training ended without a word"
        last = ""
        try:
            with open(folder / "log.jsonl", "a", encoding="utf-8") as log:
                with self._lock:
                    if self._closing or self._jobs[job.id].state != "running":
                        return "stopped", None
                    process = self._process = subprocess.Popen(
                        command,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        stdin=subprocess.DEVNULL,
                        text=True,
                        errors="replace",
                        env=environment,
                        start_new_session=True,  # Ctrl-C in the terminal is for the server, which stops the job itself
                    )
                with contextlib.suppress(OSError, AttributeError):
                    os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
                assert process.stdout is not None
                for line in process.stdout:
                    log.write(line)
                    log.flush()
                    last = line.strip() or last
                    end = self._report(job, line) or end
            status = process.wait()
        except OSError as error:
            return "failed", f"cannot run the training ({error.strerror})"
        if end[0] == "failed" and (self._jobs[job.id].state == "stopped" or self._closing):
            return "stopped", None
        if status < 0 and end[0] == "failed":
            return "failed", died(status)
        if end[0] == "failed" and end[1] == "the training ended without a word" and last:
            return "failed", last[:300]
        return end

    def _report(self, job: Job, line: str) -> tuple[State, str | None] | None:
        """Take one line of the process; how it ended, where the line says that."""
        try:
            found = json.loads(line)
        except ValueError:
            return None
        if not isinstance(found, dict):
            return None
        with self._lock:
            progress = self._progress[job.id]
            if "say" in found:
                progress.said = str(found["say"])[:2000]
            elif "stage" in found:
                progress.stage, progress.done, progress.total = str(found["stage"]), int(found["done"]), int(found["total"])
                progress.left = found["left"]
        if "end" not in found:
            return None
        return found["end"], found.get("error")


def _end(process: "subprocess.Popen[str] | None") -> None:
    """Let a process stop where it can go on later; kill it where it does not."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def died(status: int) -> str:
    """Why a process ended, from a negative exit status."""
    if -status == signal.SIGKILL:
        return "the training was killed, which the system does where memory is short: close other programs, then resume it"
    return f"the training was ended by signal {-status}: resume it"
