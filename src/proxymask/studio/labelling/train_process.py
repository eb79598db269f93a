"""The process that trains on labels: ``python -m proxymask.studio.labelling.train_process JOB_FOLDER``.

It runs :func:`~proxymask.training.fit.run.fit` with the settings of ``job.json`` and reports to standard output, one JSON object a line:
``{"say": text}``, ``{"stage": name, "done": n, "total": n, "left": seconds or null}``, and at the end ``{"end": "done"}``,
``{"end": "stopped"}`` or ``{"end": "failed", "error": text}``. It ends when the process that started it does.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...core.errors import ProxymaskError
from ...core.files import read_json
from ...training.fit.config import FitConfig, OnProgress
from ...training.fit.run import fit
from ...training.loop import Stopped
from ...training.presets import DEFAULT_PRESET

EVERY = 0.5  # seconds between two reports of a stage


class Lines:
    """A report of ``fit`` as lines of JSON."""

    def __init__(self, parent: int) -> None:
        self._parent = parent

    def say(self, text: str) -> None:
        """Write a line of text."""
        write({"say": text})

    @contextmanager
    def progress(self, title: str) -> Iterator[OnProgress]:
        """Write how far a stage is, and the time left by its pace so far."""
        begun: tuple[float, int] | None = None
        written = 0.0
        write({"stage": title, "done": 0, "total": 0, "left": None})

        def count(done: int, total: int = 0, numbers: Mapping[str, float] | None = None) -> None:
            nonlocal begun, written
            if os.getppid() != self._parent:
                raise KeyboardInterrupt  # the studio was killed: stop as if it had said so
            now = time.monotonic()
            if begun is None:
                begun = now, done
            since, first = begun
            if now - written < EVERY and done < total:
                return
            written = now
            left = (now - since) / (done - first) * (total - done) if total and done > first else None
            write({"stage": title, "done": done, "total": total, "left": left})

        yield count


def write(line: dict[str, Any]) -> None:
    """One JSON object."""
    print(json.dumps(line), flush=True)


def main(folder: str) -> int:
    """Train; returns the exit status."""
    parent, job = os.getppid(), read_json(Path(folder) / "job.json")
    config = FitConfig(
        bundle=str(job["source"]),
        labels=Path(job["labels"]),
        out=Path(job["out"]),
        steps_scale=float(job["steps_scale"]),
        name=str(job["name"]),
        preset=str(job.get("preset", DEFAULT_PRESET)),
        device=job["device"],
    )
    try:
        fit(config, Lines(parent))
    except (Stopped, KeyboardInterrupt):
        write({"end": "stopped"})
        return 130
    except ProxymaskError as error:
        write({"end": "failed", "error": error.message})
        return 2
    write({"end": "done"})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
