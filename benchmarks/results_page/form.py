"""What every section of ``docs/results.md`` is made of: sentences of what was found, one table, one plot, and folded numbers."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablations.common import SHORT, TOY

from proxymask.core.files import read_json
from proxymask.evaluation.report import number

DATA = "--data data/avatars128 --masks data/test128"
ROWS = "[benchmarks/README.md](../benchmarks/README.md)"
MORE = f"churches and faces: {ROWS}"
COMMANDS = {
    "evaluation": f"`proxymask evaluate {DATA} --out runs/evaluation`, of one label with `--bundle runs/avatars-one --mapper mask-1` (the "
    f"last command of the [card](../src/proxymask/bundles/avatars/README.md)); {MORE}",
    "paper": "`proxymask evaluate --data data/avatars128 --protocol paper --out runs/paper`",
    "details": "`python details.py --masks fresh128 --real data/avatars128 --count 1000`; `python details.py --bundle churches "
    "--masks churches-fresh2000 --real churches64/images --judge runs/churches-judge runs/churches-judge-unet`",
    "style-colors": "`python style_colors.py --labels skin top clothes --masks data/test128 "
    f"--out ../docs/results/style-colors-avatars.json`; {MORE}",
    "speed": "`OMP_NUM_THREADS=1 python speed.py --clock processor --rounds 60 [--preset ours-128 | --paper [--key-channels 0]]`",
    "parts": f"`python -m ablations.parts ...`, a line a domain in {ROWS}",
    **{name: f"`python -m ablations.{name} ...`, in {ROWS}" for name in ("published", "losses", "clusters", "labels")},
    "wall-time": f"`python wall_time.py`, after the trainings of {ROWS}, rows rival to wall time",
    "conditions": "`python conditions.py --judge ../src/proxymask/judges/avatars --fresh fresh --out ../docs/results/conditions.json`",
}
RENAMED = {"retouching block": "refinement block", "asked cluster": "queried cluster"}  # words of older JSON files, and today's


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of the page."""

    title: str
    found: str
    """What was found, in one sentence; it stands in the table of contents, too."""
    measured_by: str = ""
    """Name of the command that measures it, in :data:`COMMANDS`."""
    more: str = ""
    """Further sentences: where the method loses, and how it was measured."""
    table: str = ""
    plot: str = ""
    folded: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Title and Markdown of each folded part."""
    toys: bool = False
    """Whether all rows are toys: then the command is that of the full version."""

    def text(self) -> str:
        """The section in Markdown."""
        command = f"{'Full version' if self.toys else 'Command'}: {COMMANDS[self.measured_by]}" if self.measured_by else ""
        blocks = [f"## {self.title}", self.found, self.more, self.table, self.plot, *folds(self.folded), command]
        return joined(blocks)

    def line(self) -> str:
        """Its line in the table of contents."""
        return f"* [{self.title}](#{anchor(self.title)}): {self.found}"


def folds(folded: Mapping[str, str]) -> list[str]:
    """Every part folded; parts without text are left out."""
    return [fold(title, text) for title, text in folded.items() if text.strip()]


def fold(title: str, text: str) -> str:
    """A folded part; the blank lines let Markdown be read in it."""
    return f"<details><summary>{title}</summary>\n\n{text.strip()}\n\n</details>"


def joined(blocks: Sequence[str]) -> str:
    """Blocks of Markdown with a blank line between them; empty ones are left out."""
    return "\n\n".join(block.strip() for block in blocks if block.strip()) + "\n"


def anchor(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def missing(title: str, name: str) -> Section:
    """A section whose measurement is not there."""
    return Section(title, "Not measured yet.", name)


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def plot(folder: Path, name: str, svg: str) -> str:
    """Write a plot; the Markdown that shows it."""
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    (folder / "plots" / f"{name}.svg").write_text(svg + "\n")
    return f"![{name}](results/plots/{name}.svg)"


def load(path: Path) -> Any:
    """A JSON file, or None where it is missing."""
    return read_json(path) if path.is_file() else None


def current(name: str) -> str:
    """A name of a JSON file in today's words."""
    for old, new in RENAMED.items():
        name = name.replace(old, new)
    return name


def cell(row: Mapping[str, Any], key: str) -> str:
    """A number of a row; "accessories" is that class' IoU in pictures from masks."""
    if key == "accessories":
        return number((row.get("iou_masks") or row.get("iou_proxy") or {}).get(key))
    return number(row.get(key), key)


def words(name: str) -> str:
    """A name of a class or of a file in words."""
    return name.replace("_", " ").replace("-", " ")


def listed(names: Sequence[str], last: str = "and") -> str:
    """Names in a sentence: "a, b and c"; "none" where there are none."""
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "none"


def further_judges(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the judges after the main one that scored any of the rows."""
    return list(dict.fromkeys(name for row in rows for name in row.get("judges", {})))


def is_toy(steps: int) -> bool:
    """Whether a row of so many steps is no result."""
    return steps < TOY


def length(steps: int) -> str:
    """How a row of so many steps is marked."""
    return "**toy**" if is_toy(steps) else "short" if steps < SHORT else ""


def only_toys(title: str, steps: Sequence[int], name: str, folded: Mapping[str, str], more: str = "") -> Section:
    """A section whose rows are all toys of ``steps`` steps; ``name`` is that of the command of the full version."""
    sentence = f"No result yet: all rows are toys of {listed([f'{count:,}' for count in sorted(set(steps))], 'or')} steps."
    return Section(title, sentence, name, more, folded=folded, toys=True)


def by_judge(judges: Sequence[str], name: str) -> str:
    """How a number by a judge is marked: not at all for the first one."""
    position = judges.index(name) if name in judges else 0
    return ("", "second judge")[position] if position < 2 else f"judge {name}"
