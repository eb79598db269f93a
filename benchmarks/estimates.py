"""What ``fit`` says beforehand against what each stage then takes: time, memory and disk, every stage run to its end.

    python benchmarks/estimates.py --out ../docs/results/estimates.json

The networks, pictures and batches are those of the presets; the steps and the samples of the clusters are fewer, so that all of it takes
minutes. The labelled sample is painted in stripes. A load that changes between measuring and running shows in the ratio of the times, so
there is a second one: of processor time, with what is said times the share of a core that measuring got.
"""

import dataclasses
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from PIL import Image

from proxymask.core.files import read_json, write_json
from proxymask.core.memory import peak_memory, reset_peak
from proxymask.data.drawn_dataset import make_dataset
from proxymask.training.fit import FitConfig, fit
from proxymask.training.fit.labels import TEMPLATE
from proxymask.training.presets import STAGES, load_preset

STAGE = r"^  (prepare pictures|clusters|generator|rearranger|segmenter|mapper) "
ROW = re.compile(STAGE + r".*?about ([^,\n]+)(?:, (?:GPU )?memory ([^,\n]+))?(?:, disk ([^,\n]+))?(?:, once labelled)?$", re.MULTILINE)
UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "kB": 1e3, "MB": 1e6, "GB": 1e9}
CLUSTERED = 64  # samples whose features are clustered
DRAWN = 256  # side of the real pictures before they are prepared


@dataclasses.dataclass(frozen=True)
class Estimates:
    """Compare what is announced with what is used."""

    presets: tuple[str, ...] = ("demo", "ours-128")
    """Presets, each with pictures of its own size."""
    steps: tuple[int, ...] = (48, 24)
    """Steps of every stage of each preset."""
    pictures: int = 600
    """Real pictures."""
    work: Path | None = None
    """Folder for everything; a temporary one where not given."""
    out: Path | None = None
    """Also write the numbers here."""
    worker: tuple[Path, ...] = ()
    """Used by the script itself: run fit in this folder."""


def number(text: str) -> float:
    """Seconds or bytes of "3 min 20 s" or "1.2 MB"."""
    words = text.split()
    return sum(float(value) * UNITS[unit] for value, unit in zip(words[::2], words[1::2], strict=True))


class Watch:
    """A report of ``fit`` that notes what is said of each stage, and what each takes."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.said: dict[str, dict[str, float]] = {}
        self.real: dict[str, dict[str, float]] = {}
        self.share = 1.0
        """Of a core, that the process got while it measured."""

    def say(self, text: str) -> None:
        """Read the plan."""
        print(text, flush=True)
        for stage, seconds, memory, disk in ROW.findall(text):
            self.said[stage] = {"seconds": number(seconds), "processor": number(seconds) * self.share}
            self.said[stage] |= {name: number(value) for name, value in (("memory", memory), ("disk", disk)) if value}

    def progress(self, title: str) -> AbstractContextManager[Any]:
        """Watch a stage."""
        stage = {"clusters, pass": "clusters", "preparing pictures": "prepare pictures"}.get(title, title)
        return self._watched(stage)

    @contextmanager
    def _watched(self, stage: str) -> Iterator[Any]:
        reset_peak()
        began, processor = time.perf_counter(), time.process_time()
        yield lambda *_: None
        seconds, processor = time.perf_counter() - began, time.process_time() - processor
        if stage.startswith("measuring"):
            self.share = processor / seconds
            return
        prepared = self.work.parent / "pictures"
        disk = sum(map(size, prepared.glob(".prepared-*"))) if stage == "prepare pictures" else size(self.work / stage)
        self.real[stage] = {"seconds": seconds, "processor": processor, "memory": peak_memory(), "disk": disk}


def size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def run_fit(folder: Path) -> None:
    """One call of ``fit``; what was said and used is written to the folder."""
    config = FitConfig(images=folder / "pictures", out=folder / "model", preset=str(folder / "preset.json"), label_samples=1)
    watch = Watch(folder / "model.work")
    fit(config, watch)
    write_json(folder / "said.json", {"said": watch.said, "real": watch.real})


def shrunken(preset: str, steps: int) -> dict[str, Any]:
    """The preset with fewer steps, as a JSON file of settings has it."""
    settings: dict[str, Any] = {"base": preset, "cluster_samples": CLUSTERED}
    for stage in STAGES:
        grids = steps // 2 if load_preset(preset).loop(stage).grid_every else 0
        settings[f"{stage}_loop"] = {"steps": steps, "checkpoint_every": steps // 4, "grid_every": grids}
    return settings


def compare(preset: str, steps: int, folder: Path, pictures: int) -> list[dict[str, Any]]:
    """Run fit until samples are to be painted, paint, and run it to the end."""
    side = load_preset(preset).resolution
    make_dataset(folder / "drawn", count=pictures, size=DRAWN)
    (folder / "drawn" / "images").rename(folder / "pictures")
    write_json(folder / "preset.json", shrunken(preset, steps))
    rows = []
    for _ in range(2):
        subprocess.run([sys.executable, __file__, "--worker", str(folder)], check=True)
        found = read_json(folder / "said.json")
        for stage, real in found["real"].items():
            if stage in found["said"]:
                rows.append({"preset": preset, "stage": stage, "said": found["said"][stage], "real": real})
        stripes = np.arange(side)[:, None] * 4 // side
        mask = np.broadcast_to(stripes, (side, side))
        Image.fromarray(TEMPLATE.colors[mask]).save(folder / "model.work" / "to-label" / "000000.mask.png")
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown: said, real, and their ratio."""
    lines = ["| preset | stage | time, s: said / real | processor time, s | memory, MB | disk, MB |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = []
        for name, unit in (("seconds", 1.0), ("processor", 1.0), ("memory", 1e6), ("disk", 1e6)):
            said, real = row["said"].get(name), row["real"][name]
            digits = 1 if real / unit < 100 else 0
            cells.append("" if said is None or not real else f"{said / unit:.{digits}f} / {real / unit:.{digits}f} = {said / real:.2f}")
        lines.append(f"| {row['preset']} | {row['stage']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    args = tyro.cli(Estimates)
    if args.worker:
        run_fit(args.worker[0])
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for preset, steps in zip(args.presets, args.steps, strict=True):
            place = (args.work or Path(folder)) / preset
            place.mkdir(parents=True)
            rows += compare(preset, steps, place, args.pictures)
    print(table(rows))
    if args.out is not None:
        write_json(args.out, {"rows": json.loads(json.dumps(rows))})


if __name__ == "__main__":
    main()
