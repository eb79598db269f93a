"""Descriptions of training runs and of saved models."""

import json
from pathlib import Path
from typing import Any

from ...core.errors import ProxymaskError
from ...core.files import read_json
from ...core.sizes import as_size, size_text
from ...core.text import counted
from ...imaging.labels import LabelSet
from ...models.proxy_clusters import ProxyClusters
from ...training.checkpoint import checkpoints
from .text import Description, count_tensors, json_lines, label_lines, plain

NOT_METRICS = ("step", "samples", "seconds", "samples_per_second", "bad_steps")  # of a line of stats.jsonl


def describe_judge(folder: Path) -> Description:
    """What ``proxymask train judge`` wrote."""
    info = read_json(folder / "judge.json")
    try:
        accuracy = info["accuracy"]
        lines = [
            f"{folder}: a judge for pictures of {size_text(as_size(info['size']))}, after {counted(info['steps'], 'step')}",
            f"mIoU {accuracy['miou']:.3f}, accuracy {accuracy['accuracy']:.3f} on {counted(accuracy['count'], 'picture')}",
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ProxymaskError(f"{folder / 'judge.json'} is no judge's, or damaged ({error}): train it again") from None
    count, values = count_tensors(folder / "model.safetensors")
    lines.append(f"network: {values:,} numbers in {counted(count, 'tensor')}")
    return plain("\n".join([*lines, "labels:", *label_lines(LabelSet.load(folder / "labels.json"))]))


def describe_run(folder: Path) -> Description:
    """A run folder: its settings, its last statistics, its checkpoints and the models that it wrote."""
    found, problems = checkpoints(folder), []
    lines = _state_lines(folder, found[-1]) if found else [f"{folder}: {_kind(folder)}"]
    last = _last_stats(folder / "stats.jsonl")
    if last:
        lines += _stats_lines(last)
    if found or last:
        lines.append(f"checkpoints: {', '.join(path.name for path in found) or 'none yet'}")
    for part in sorted(folder.iterdir()):
        if (part / "config.json").is_file():
            try:
                lines.append(describe_model(part))
            except ProxymaskError as error:
                problems.append(error.message)
    for path in found:
        try:
            count_tensors(path / "state.safetensors")
        except ProxymaskError as error:
            problems.append(error.message)
    grids = sorted((folder / "grids").glob("*.png"))
    if grids:
        lines.append(f"pictures of the training: {len(grids)}, the last one {grids[-1]}")
    return Description("\n".join(lines), problems)


def describe_model(folder: Path) -> str:
    """A saved network: its class, its size and its constructor arguments.

    Raises:
        ProxymaskError: config.json is not that of a network, or the weights are damaged.
    """
    stored = read_json(folder / "config.json")
    if not isinstance(stored, dict) or not isinstance(stored.get("config"), dict) or "class" not in stored:
        raise ProxymaskError(f"{folder / 'config.json'} holds no model config of proxymask")
    count, values = count_tensors(folder / "model.safetensors")
    lines = [f"{folder}: a saved {stored['class']} of {values:,} numbers in {count} tensors", *json_lines(stored["config"], "  ")]
    if stored["class"] == ProxyClusters.__name__:
        lines += [f"  {line}" for line in ProxyClusters.from_pretrained(folder).report().splitlines()]
    return "\n".join(lines)


def _kind(folder: Path) -> str:
    return "a finished stage" if (folder / "stage.json").is_file() else "a training run"


def _state_lines(folder: Path, checkpoint: Path) -> list[str]:
    """The stage, its step and its settings, from the last checkpoint."""
    state = read_json(checkpoint / "state.json")
    identity = state.get("identity", {})
    ended = "finished" if (folder / "stage.json").is_file() else "saved"
    lines = [f"{folder}: a run of the stage {identity.get('stage', 'unknown')}, {ended} at step {state.get('step', 0):,}"]
    settings = {key: value for key, value in identity.items() if key != "stage"}
    lines += ["settings:", *json_lines(settings, "  ")] if settings else []
    if state.get("bad_steps"):
        lines.append(f"steps skipped because they were not finite: {state['bad_steps']}")
    return lines


def _stats_lines(last: dict[str, Any]) -> list[str]:
    """The last line of stats.jsonl."""
    done, took = f"{last.get('samples', 0):,} samples", _duration(float(last.get("seconds", 0)))
    head = f"last statistics: step {last.get('step', 0):,}, {done} in {took}, {last.get('samples_per_second', 0)} samples/s"
    metrics = {key: value for key, value in last.items() if key not in NOT_METRICS and isinstance(value, int | float)}
    wide = max([32, *(len(key) + 1 for key in metrics)])
    return [head, *(f"  {key:<{wide}}{value:.5g}" for key, value in metrics.items())]


def _last_stats(path: Path) -> dict[str, Any]:
    if path.is_file():
        for line in reversed(path.read_text(encoding="utf-8", errors="replace").splitlines()):
            try:
                stats = json.loads(line)
            except json.JSONDecodeError:  # truncated by a kill
                continue
            if isinstance(stats, dict):
                return stats
    return {}


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 120 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
