"""How long a picture takes, and a training and an evaluation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .form import Section, joined, load, markdown, missing

TITLE = "How long does a new mask take?"
FILES = {
    "speed-avatars": "embedded avatars, 128 pixels",
    "speed-ours-128": "preset ours-128",
    "speed-ours-256": "preset ours-256",
    "speed-paper-256": "paper's sizes, 256 pixels, queries and keys of 320 channels",
}
HOW = "One thread, bf16, processor time, the style cached; presets and the paper's sizes: random weights. Compare times within a row only."
WHOLE = ("generator, uncut", "mask to picture", "mask to picture, detail network")
PARTS = {
    "mapper": "mapper",
    "query": "query",
    "attention": "attention",
    "attention and block behind": "attention and the blocks behind",
    "G2": "G2",
}


def measured(folder: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and content of every measurement; those of earlier machines come last."""
    found = [(name, load(folder / f"{file}.json")) for file, name in FILES.items()]
    others = load(folder / "speed-other-machines.json") or {"rows": []}
    return [(name, stored) for name, stored in found if stored is not None] + [(row["name"], row) for row in others["rows"]]


def ms(stored: Mapping[str, Any], key: str) -> str:
    """Milliseconds of a part; empty where they were not measured."""
    value = stored["times"].get(key, {}).get("ms")
    return "" if value is None else f"{value:.4g}"


def section(folder: Path) -> Section:
    """A new mask against the uncut generator."""
    found = measured(folder)
    if not found:
        return missing(TITLE, "speed")
    name, stored = found[0]
    times, detail = stored["times"], stored["times"].get("mask to picture, detail network")
    said = f"A new mask takes {times['mask to picture']['ratio']:.2f} times as long as a picture of the uncut generator"
    said += (f", with the detail network {detail['ratio']:.2f} times" if detail else "") + f" ({name})."
    ratios = {name: one["times"]["mask to picture"]["ratio"] for name, one in found}
    slower, slowest = sum(ratio > 1 for ratio in ratios.values()), max(ratios, key=lambda name: ratios[name])
    loses = f"Where it loses: {slower} of {len(ratios)} rows are slower than the uncut generator. The slowest takes "
    loses += f"{ratios[slowest]:.2f} times as long ({slowest})."
    rows = [
        [
            name,
            one["processor"],
            *(ms(one, key) for key in WHOLE),
            f"{ratios[name]:.2f}",
            f"{one['peak_mib']:,}" if "peak_mib" in one else "",
        ]
        for name, one in found
    ]
    heads = [
        "",
        "processor",
        "uncut generator, ms",
        "mask to picture, ms",
        "with the detail network, ms",
        "mask to picture / generator",
        "peak memory, MiB",
    ]
    split = [[name, *(ms(one, key) for key in PARTS)] for name, one in found if "mapper" in one["times"]]
    return Section(
        TITLE,
        said,
        "speed",
        f"{loses} {HOW}",
        markdown(heads, rows),
        folded={
            "Time of each part": markdown(["", *(f"{title}, ms" for title in PARTS.values())], split),
            "How fast are a training and an evaluation?": trainings(folder),
        },
    )


def trainings(folder: Path) -> str:
    """Speeds of the trainings and of an evaluation."""
    blocks = []
    training = load(folder / "speed-training.json")
    if training is not None:
        rows = [[row["name"], str(row["from"]), str(row["to"])] for row in training["rows"]]
        blocks += ["Trainings on one core, 64 pixels, bf16; each training logs its speed.", markdown(["", "from", "to"], rows)]
    speed = load(folder / "evaluation-speed.json")
    if speed is not None:
        cores = f"{speed['cores']} core" + ("s" if speed["cores"] > 1 else "")
        size = f"{speed['count']:,} pictures at {speed['resolution']} pixels, cut at {speed['cut']}"
        blocks.append(f"An evaluation of {size}: {speed['seconds']:,} s on {cores} ({speed['processor_seconds']:,} processor seconds).")
    return joined(blocks)
