"""The log of a run: ``stats.jsonl``, one JSON object a line with step, time and the means of all logged numbers; TensorBoard events."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class StatsLog:
    """Appends lines to ``stats.jsonl`` and, if ``tensorboard``, scalars to ``events.*``. Times continue from an earlier session.

    Args:
        folder: the run folder.
        step: the step that the run is at; later lines are of steps that will be repeated and are removed.
        batch: samples a step.
        tensorboard: also write TensorBoard events.
        seconds: time that the steps took so far; the last line that is kept may say more.
    """

    def __init__(self, folder: Path, step: int, batch: int, tensorboard: bool, seconds: float = 0.0) -> None:
        self.path, self.batch, self.first = folder / "stats.jsonl", batch, step
        lines = [line for line in stat_lines(self.path) if line["step"] <= step] if step else []
        if step:
            temporary = self.path.with_name(self.path.name + ".tmp")
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines))
            os.replace(temporary, self.path)
        else:
            self.path.unlink(missing_ok=True)
        self.before = max(seconds, float(lines[-1]["seconds"]) if lines else 0.0)
        self.began = time.monotonic()
        self.writer = _summary_writer(folder) if tensorboard else None

    def seconds(self) -> float:
        """Time that the steps took, over all sessions."""
        return self.before + time.monotonic() - self.began

    def write(self, step: int, bad_steps: int, means: Mapping[str, float]) -> None:
        """One line for ``step``, with the ``means`` since the line before."""
        spent = time.monotonic() - self.began
        line = {
            "step": step,
            "samples": step * self.batch,
            "seconds": round(self.seconds(), 2),
            "samples_per_second": round((step - self.first) * self.batch / max(spent, 1e-9), 2),
            "bad_steps": bad_steps,
            **{key: round(value, 6) for key, value in means.items()},
        }
        with self.path.open("a") as handle:
            handle.write(json.dumps(line) + "\n")
        if self.writer is not None:
            for key, value in means.items():
                self.writer.add_scalar(key, value, step)
            self.writer.flush()

    def close(self) -> None:
        """Close the TensorBoard file."""
        if self.writer is not None:
            self.writer.close()


def stat_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``stats.jsonl``; a line that was cut short by a kill is left out."""
    out = []
    if path.is_file():
        for line in path.read_text().splitlines():
            try:
                out.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return out


def _summary_writer(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))
