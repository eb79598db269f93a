"""Kill ``fit`` at random and aimed moments, go on by the same command, and compare what comes out with an undisturbed run.

    python kill_resume.py                      # 100 trials; make kill-resume
    python kill_resume.py --trials 5 --seed 3

A trial is a whole ``fit`` of toy size, from pictures to a bundle, through the command line: until the samples to label are written, and,
once they are painted, until it is done. It is ended once or twice in a row: by SIGINT, SIGTERM or SIGKILL at a random time, or just before
a random file is made, renamed or removed; by SIGKILL in the middle of the writing of a tensor file; by two SIGINT one after the other; or
because the disk becomes full (a small tmpfs, which needs root; elsewhere another signal takes its place). Every process of a trial is
forked from this one, which has imported everything and computed nothing, so that a start takes no time.

Compared are all files of the bundle and of the work folder, byte for byte: weights, averages, optimiser states, samples, picture grids, and
every number of ``stats.jsonl`` except times. Nothing may be left over: no temporary file, no lock. Takes 20 minutes on one core.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import torch._dynamo  # which optimisers import
import torch.utils.tensorboard
from PIL import Image

import proxymask.cli.fit  # noqa: F401
from proxymask.cli import main as proxymask_main
from proxymask.core import files

SIZE = 16
TIMES = {"seconds", "samples_per_second"}
QUIET = {"tensorboard": False, "grid_every": 0}
TOY: dict[str, Any] = {
    "base": "demo",
    "resolution": SIZE,
    "cut": 8,
    "num_clusters": 5,
    "cluster_samples": 16,
    "generator": {"z_dim": 16, "channel_base": 128, "channel_max": 16},
    "rearranger": {"hidden": 8, "position_channels": 8, "refinement_width": 8, "narrow_channels": 16},
    "mapper": {"widths": [8, 8, 8], "hidden": 8, "lambda_label": 1.0, "lambda_adv": 1.0, "adv_phase": 0.25},
    "generator_loop": {"steps": 8, "batch": 4, "checkpoint_every": 3, "log_every": 2, "grid_every": 4, "keep": 2},
    "rearranger_loop": {"steps": 8, "batch": 4, "checkpoint_every": 3, "log_every": 3, **QUIET},
    "segmenter_loop": {"steps": 8, "batch": 4, "checkpoint_every": 3, "log_every": 2, **QUIET},
    "mapper_loop": {"steps": 12, "batch": 4, "checkpoint_every": 3, "log_every": 5, **QUIET},
    "detail_loop": {"steps": 12, "batch": 4, "checkpoint_every": 3, "log_every": 5, **QUIET},
}
COMMAND = ("fit", "--images", "pictures", "--preset", "toy.json", "--label-samples", "3", "--out", "disk/model", "--device", "cpu")
STARTS = ("nothing", "generator", "painted", "segmenter")
"""Where a trial begins: which stages of an undisturbed run are there already. ``painted``: all that needs no labels."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclasses.dataclass(frozen=True)
class Kill:
    """How one process is ended."""

    how: str
    """time, file, tensors, twice or disk."""
    at: float
    """Seconds of computing (time, twice, disk), or the number of the file operation or tensor file."""
    number: int = signal.SIGKILL

    def __str__(self) -> str:
        name = {"disk": "full disk", "twice": "SIGINT twice"}.get(self.how, signal.Signals(self.number).name)
        return f"{name} at {self.at:.2f} s" if self.how in ("time", "twice", "disk") else f"{name} at {self.how} {self.at:.0f}"


@dataclasses.dataclass(frozen=True)
class Length:
    """How long the undisturbed run from a start is."""

    seconds: float
    """Of computing."""
    operations: int
    """File operations."""
    tensors: int
    """Tensor files written."""


# ------------------------------------------------------------------------------------------------------------- one process


def child(root: Path, kill: Kill | None) -> int:
    """Run the command in ``root``, in this (forked) process; ends it where ``kill`` says so."""
    os.chdir(root)
    out = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    done = {"file": 0, "tensors": 0}

    def count(kind: str) -> bool:
        done[kind] += 1
        return kill is not None and kill.how == kind and done[kind] == kill.at

    def hook(event: str, given: tuple[Any, ...]) -> None:
        name = given[0] if given and isinstance(given[0], str | os.PathLike) else ""
        opened = event == "open" and isinstance(given[2], int) and given[2] & WRITES
        changed = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link")
        if (opened or changed) and "model" in os.fspath(name) and count("file"):
            assert kill is not None
            os.kill(os.getpid(), kill.number)

    save = files.save_file

    def save_file(tensors: dict[str, torch.Tensor], path: Path) -> None:
        save(tensors, path)
        if count("tensors"):
            os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    files.save_file = save_file  # type: ignore[assignment]
    sys.addaudithook(hook)
    try:
        code = proxymask_main(COMMAND)
    except KeyboardInterrupt:  # after the command has ended
        code = 130
    Path("done.json").write_text(json.dumps(done))
    return code


def run(root: Path, kill: Kill | None = None) -> tuple[int, str]:
    """Run the command in another process, and end that as ``kill`` says: its exit status (negative: the signal), what it printed."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(child(root, kill))
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    if kill is not None and kill.how in ("time", "twice", "disk"):
        while 0 <= seconds_of(pid) < kill.at:
            time.sleep(0.005)
        if kill.how == "disk":
            fill(root / "disk")
        else:
            os.kill(pid, kill.number)
            if kill.how == "twice":
                time.sleep(0.1)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, kill.number)
    status = os.waitpid(pid, 0)[1]
    if kill is not None and kill.how == "disk":
        (root / "disk" / "filler").unlink(missing_ok=True)
    return os.waitstatus_to_exitcode(status), (root / "said.txt").read_text()


def seconds_of(pid: int) -> float:
    """Seconds that a process has computed; -1 where it has ended."""
    state, *numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return -1.0 if state == "Z" else (int(numbers[10]) + int(numbers[11])) / os.sysconf("SC_CLK_TCK")


def fill(disk: Path) -> None:
    """Take what room a disk has left."""
    with (disk / "filler").open("wb", buffering=0) as handle, contextlib.suppress(OSError):
        for size in (2**16, 2**12, 1):
            with contextlib.suppress(OSError):
                while handle.write(bytes(size)) == size:
                    pass


# ---------------------------------------------------------------------------------------------------------------- one trial


class World:
    """Pictures, a preset, and what an undisturbed run gives.

    Args:
        root: folder for all of it.
        starts: where trials will begin.
    """

    def __init__(self, root: Path, starts: tuple[str, ...] = STARTS) -> None:
        self.root = root
        rng = np.random.default_rng(0)
        blank = root / "blank"
        (blank / "pictures").mkdir(parents=True)
        for number in range(12):
            pixels = np.full((20, 20, 3), rng.integers(100, 255, 3), np.uint8)
            y, x = rng.integers(2, 8, 2)
            pixels[y : y + 8, x : x + 8] = rng.integers(0, 150, 3)
            Image.fromarray(pixels).save(blank / "pictures" / f"{number}.png")
        (blank / "toy.json").write_text(json.dumps(TOY))
        (blank / "disk").mkdir()
        self.lengths: dict[str, Length] = {}
        self.expected: dict[str, str] = {}
        self._measure("nothing")
        for start in starts:
            if start not in self.lengths:
                self._measure(start)

    def begin(self, start: str, root: Path) -> None:
        """Make ``root`` what it is at the start of a trial."""
        done = {"nothing": "blank", "generator": "nothing", "painted": "labels", "segmenter": "nothing"}[start]
        shutil.copytree(self.root / done, root, dirs_exist_ok=True)
        work = root / "disk" / "model.work"
        if start == "generator":
            shutil.rmtree(root / "disk" / "model")
            for entry in work.iterdir():
                if entry.name != "generator":
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if start == "segmenter":
            shutil.rmtree(work / "mapper")
            shutil.rmtree(root / "disk" / "model")
            shutil.copytree(self.root / "labels" / "disk" / "model", root / "disk" / "model")

    def _measure(self, start: str) -> None:
        """Run from a start undisturbed. The first one says what is expected; the others have to give the same."""
        root = self.root / start
        self.begin(start, root)
        lengths = [self._undisturbed(root)]
        if paint(root):
            if start == "nothing":
                shutil.copytree(root, self.root / "labels")
            lengths.append(self._undisturbed(root))
            self.lengths["painted"] = lengths[1]
        self.lengths[start] = Length(*(sum(values) for values in zip(*map(dataclasses.astuple, lengths), strict=True)))
        found = contents(root / "disk")
        self.expected = self.expected or found
        wrong = differences(self.expected, found)
        if wrong:
            raise SystemExit(f"two undisturbed runs differ: {wrong}")

    def _undisturbed(self, root: Path) -> Length:
        began = os.times()
        code, said = run(root)
        if code:
            raise SystemExit(f"the undisturbed run failed: {said}")
        done, ended = json.loads((root / "done.json").read_text()), os.times()
        seconds = ended.children_user + ended.children_system - began.children_user - began.children_system
        return Length(seconds, done["file"], done["tensors"])

    def trial(self, start: str, kills: list[Kill], root: Path) -> list[str]:
        """What is wrong after a ``fit`` that was ended by ``kills``, one after the other."""
        wrong = []
        self.begin(start, root)
        left = list(kills)
        while True:
            kill = left.pop(0) if left else None
            code, said = run(root, kill)
            if "Traceback" in said:
                wrong.append(f"traceback: {said[-1500:]}")
            if code == 0:
                if not paint(root):
                    break
                continue
            expected = explain(kill, code, said)
            if expected:
                wrong.append(expected)
                if kill is None:
                    return wrong
        return wrong + differences(self.expected, contents(root / "disk"))


def explain(kill: Kill | None, code: int, said: str) -> str:
    """Why an exit status or the last words of a process are not what they should be; empty where they are."""
    last = said.strip().rpartition("\n")[2]
    if kill is None:
        return f"the same command ended with {code}: {last}"
    if kill.how == "disk":
        room = "make room" in last or ("no space left" in last and "same command" in last)
        return "" if code == 2 and room else f"full disk: {code}, {last!r}"
    if kill.number == signal.SIGKILL:
        return "" if code == -signal.SIGKILL else f"SIGKILL: {code}"
    return "" if code == 130 and "stopped" in last else f"{kill}: {code}, {last!r}"


def paint(root: Path) -> bool:
    """Paint the samples that wait for it; whether there were any."""
    folder = root / "disk" / "model.work" / "to-label"
    if not (folder / "000000.png").is_file() or (folder / "000000.mask.png").is_file():
        return False
    for number in range(2):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[4 + number : 12, 4:12] = 1
        mask[6 + number : 9, 6:10] = 2
        Image.fromarray(mask).save(folder / f"{number:06d}.mask.png")
    return True


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below ``folder`` by its path, without times; event files of TensorBoard, which hold times, are left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not path.name.startswith("events.") and path.name != "filler":
            data = path.read_bytes()
            if path.name in ("stats.jsonl", "state.json"):
                lines = [json.loads(line) for line in (data.splitlines() if path.suffix == ".jsonl" else [data])]
                data = json.dumps([{key: value for key, value in line.items() if key not in TIMES} for line in lines]).encode()
            found[name] = hashlib.sha256(data).hexdigest()
    return found


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Files that are missing, left over, or another one."""
    names = [f"missing: {name}" for name in expected.keys() - found.keys()]
    names += [f"left over: {name}" for name in found.keys() - expected.keys()]
    return names + [f"differs: {name}" for name in expected.keys() & found.keys() if expected[name] != found[name]]


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int = 64) -> Iterator[bool]:
    """Mount a small tmpfs at ``folder``; yields whether that is possible here."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = shutil.which("mount") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


# --------------------------------------------------------------------------------------------------------------- all trials


def draw(rng: random.Random, length: Length, how: str) -> Kill:
    """A kill at a random moment of a run of this length."""
    number = rng.choice((signal.SIGINT, signal.SIGTERM, signal.SIGKILL))
    if how == "file":
        return Kill(how, rng.randint(1, length.operations), number)
    if how == "tensors":
        return Kill(how, rng.randint(1, length.tensors))
    return Kill(how, rng.uniform(0, length.seconds), signal.SIGINT if how == "twice" else number)


def plan(rng: random.Random, lengths: dict[str, Length], starts: tuple[str, ...], number: int, disk: bool) -> tuple[str, list[Kill]]:
    """Where trial ``number`` starts, and what ends it: every way from every start in turn, every third one twice in a row."""
    ways = ("time", "file", "tensors", "time", "disk" if disk else "time", "file", "twice")
    start = starts[number % len(starts)]
    kills = [draw(rng, lengths[start], ways[number % len(ways)])]
    if number % 3 == 2:
        kills.append(draw(rng, lengths[start], rng.choice(("time", "file", "tensors"))))
    return start, kills


def main() -> None:
    """Run the trials, one line each, and say how many gave what the undisturbed run gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial (0)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (0)")
    parser.add_argument("--start", choices=STARTS, help="begin all trials there; by default there are some from each")
    given = parser.parse_args()
    bad, starts = 0, STARTS if given.start is None else (given.start,)
    with tempfile.TemporaryDirectory(prefix="kill-resume-") as folder:
        world = World(Path(folder) / "world", starts)
        for start, length in world.lengths.items():
            print(f"undisturbed from {start}: {length.seconds:.1f} s, {length.operations} file operations, {length.tensors} tensor files")
        for number in range(given.first, given.first + given.trials):
            rng = random.Random(f"{given.seed}/{number}")
            root = Path(folder) / "trial"
            began = time.monotonic()
            with small_disk(root / "disk") as disk:
                start, kills = plan(rng, world.lengths, starts, number, disk)
                wrong = world.trial(start, kills, root)
            shutil.rmtree(root)
            bad += bool(wrong)
            verdict = "; ".join(wrong) if wrong else "equal"
            print(f"{number}: from {start}, {', then '.join(map(str, kills))}: {verdict} ({time.monotonic() - began:.0f} s)", flush=True)
    print(f"{given.trials - bad} of {given.trials} equal")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
