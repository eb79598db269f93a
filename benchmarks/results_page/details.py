"""What the detail network brings: every ``details-DOMAIN[-REST].json`` of ``details.py``."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxymask.core.files import read_json
from proxymask.evaluation.report import number

from .form import Section, by_judge, joined, listed, markdown, missing, words

TITLE = "What does the detail network bring?"
KEYS = {"miou": "mIoU", "boundary_f_1px": "boundary F-score, 1 pixel", "weakest": "IoU of the weakest class", "distance": "distance"}


@dataclasses.dataclass(frozen=True)
class Run:
    """A detail network, off and on."""

    domain: str
    rest: str
    """What the file's name says after the domain, "seed 1"."""
    stored: Mapping[str, Any]

    def weakest(self) -> str:
        """The class with the lowest IoU without it."""
        classes = next(iter(self.stored["judges"].values()))["off"]["iou"]
        return min(classes, key=lambda name: classes[name])

    def value(self, judge: int, state: str, key: str) -> float | None:
        """A number by a judge, off or on; None where the judge or the number is missing."""
        judges = list(self.stored["judges"].values())
        scores = judges[judge][state] if judge < len(judges) else {}
        return scores.get("iou", {}).get(self.weakest()) if key == "weakest" else scores.get(key)

    def growth(self, key: str) -> list[float]:
        """On minus off, as a share of off, by every judge."""
        pairs = [(self.value(judge, "off", key), self.value(judge, "on", key)) for judge in range(len(self.stored["judges"]))]
        return [on / off - 1 for off, on in pairs if off and on is not None]


def section(folder: Path) -> Section:
    """Off against on, every other weight the same."""
    files = [(path.stem.removeprefix("details-").partition("-"), read_json(path)) for path in sorted(folder.glob("details-*.json"))]
    runs = sorted((Run(domain, words(rest), stored) for (domain, _, rest), stored in files), key=lambda run: (run.domain, run.rest))
    if not runs:
        return missing(TITLE, "details")
    firsts = [next(run for run in runs if run.domain == domain) for domain in dict.fromkeys(run.domain for run in runs)]
    gains = listed([f"{run.value(0, 'off', 'miou'):.3f} to {run.value(0, 'on', 'miou'):.3f} ({run.domain})" for run in firsts])
    always = all(change > 0 for run in runs for key in ("miou", "boundary_f_1px", "weakest") for change in run.growth(key))
    whole = "mIoU, borders and the weakest class are better in every run and by every judge"
    part = "some numbers are worse in some run or by some judge"
    worse = []
    for run in runs:
        grown = [100 * change for change in run.growth("distance")]
        if max(grown) > 0:
            name = ", ".join(filter(None, [run.domain, run.rest]))
            worse.append(f"the distance to real pictures grows by up to {max(grown):.0f} % ({name})")
    weakest = listed([f"{words(run.weakest())} ({run.domain})" for run in firsts])
    count = listed([f"{count:,}" for count in sorted({run.stored["count"] for run in runs})])
    return Section(
        TITLE,
        f"The detail network {'raises' if always else 'changes'} the mIoU from {gains}; {whole if always else part}.",
        "details",
        f"Where it loses: {'; '.join(worse) or 'nowhere'}. Weakest class without it: {weakest}. {count} masks that "
        "nothing was trained on; off and on differ in the detail network alone. More: [details](details.md); "
        "its time: [speed](#how-long-does-a-new-mask-take).",
        table(runs),
        folded={"IoU of each class": of_classes(runs)},
    )


def heads(runs: list[Run]) -> list[tuple[Run, str, str]]:
    """Columns: on of every run, and before it off where that is not the off of the run before, as with another mapper."""
    columns: list[tuple[Run, str, str]] = []
    for run in runs:
        if not columns or run.value(0, "off", "miou") != columns[-1][0].value(0, "off", "miou"):
            columns.append((run, "off", ", ".join(filter(None, [run.domain, "off", run.rest]))))
        columns.append((run, "on", ", ".join(filter(None, [run.domain, "on", run.rest]))))
    return columns


def table(runs: list[Run]) -> str:
    """A row for each number and judge."""
    columns, rows = heads(runs), []
    judges = max((list(run.stored["judges"]) for run in runs), key=len)
    marks = [f", {mark}" if (mark := by_judge(judges, name)) else "" for name in judges]
    for judge, said in enumerate(marks):
        for key, title in KEYS.items():
            cells = [number(run.value(judge, state, key), key.replace("distance", "frechet")) for run, state, _ in columns]
            rows.append([title + said, *cells])
    return markdown(["", *(head for _, _, head in columns)], rows)


def of_classes(runs: list[Run]) -> str:
    """The IoU of each class by the first judge, a table a domain."""
    blocks = []
    for domain in dict.fromkeys(run.domain for run in runs):
        columns = heads([run for run in runs if run.domain == domain])
        judged = [next(iter(run.stored["judges"].values()))[state]["iou"] for run, state, _ in columns]
        rows = [[words(name), *(number(classes.get(name)) for classes in judged)] for name in judged[0]]
        blocks.append(markdown(["", *(head for _, _, head in columns)], rows))
    return joined(blocks)
