"""The verbs that measure: ``evaluate`` and ``train judge``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..data.dataset import ImageSet
from ..errors import ProxymaskError
from ..evaluation import EvaluationConfig, evaluate
from ..sizes import height_width, short_text
from ..training.distributed import is_main, processes
from ..training.judge import JudgeConfig, train_judge
from .progress import Terminal, progress
from .verbs import Common, Computing, Number, OptionalPath


@dataclass(frozen=True, kw_only=True)
class Evaluate(EvaluationConfig):
    """Measure a bundle: does the picture follow the mask, is it like real ones, does it keep its style; and what bounds each number.

    OUT gets metrics.json and report.html. What is computed is kept in OUT/cache, so the same command goes on after a stop, and a
    larger --count adds to what is there. Weights that are missing are named, with the place to put them, and the rest is computed.

    Examples:
      proxymask evaluate --data avatars-64 --out evaluation
      proxymask evaluate --bundle my-bundle --data photos --masks labelled --judge my-judge --features inception --out evaluation
      proxymask evaluate --bundle my-bundle --data photos --protocol paper --features pt_inception-2015-12-05-6726825d.pth --out paper
    """

    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Measure, print the main numbers, and say where the report is."""
        with progress("evaluating, pictures") as update:
            found = evaluate(
                self, device=self.common.device, precision=self.common.precision, seed=self.common.seed, progress=lambda a, b: update(a, b)
            )
        terminal = Terminal()
        for row in found.numbers:
            value = "undefined" if row["value"] is None else f"{row['value']:.4g}"
            terminal.say(f"{row['name'] + ', ' + row['title']:<110} {value:>9}  ({row['count']:,})")
        for note in found.notes:
            terminal.say(f"note: {note}")
        terminal.say(f"report: {self.out / 'report.html'}; numbers: {self.out / 'metrics.json'}")


@dataclass(frozen=True, kw_only=True)
class TrainJudge:
    """A judge of your own labelled domain, for proxymask evaluate: it reads pictures, and takes no part in making any.

    OUT gets the judge and its own accuracy on pictures that it did not learn from. The same command goes on after a stop.

    Examples:
      proxymask train judge --data labelled --out runs/judge
      proxymask train judge --data avatars-128 --test avatars-128-fresh --out runs/judge
    """

    data: Path
    """Data set of pictures with masks: images/, masks/ and labels.json, as proxymask data avatars writes."""
    out: Path
    """The judge's folder; one that holds checkpoints is gone on with."""
    test: OptionalPath = None
    """Another such data set for its accuracy; a tenth of --data is kept for that where none is given."""
    size: Number = None
    """Side of the pictures that it reads, a multiple of 8; that of a prepared set, else 64."""
    config: Annotated[JudgeConfig, tyro.conf.arg(name="")] = field(default_factory=JudgeConfig)
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Train it and print its accuracy."""
        if self.out.is_file() or (self.out.is_dir() and any(self.out.iterdir()) and not _is_run(self.out)):
            raise ProxymaskError(f"{self.out} holds something else: choose another --out")
        with processes(self.common.device):
            size = self.size or (None if (self.data / "index.json").is_file() else 64)
            with progress("preparing pictures") as count:
                data = ImageSet.open(self.data, size, count)
                test = None if self.test is None else ImageSet.open(self.test, data.size, count)
            if any(side % 8 for side in height_width(data.size)):
                raise ProxymaskError(f"--size {short_text(data.size)}: a judge reads pictures whose side is a multiple of 8")
            with progress("judge") as update:
                judge = train_judge(
                    data,
                    self.out,
                    self.config,
                    test=test,
                    seed=self.common.seed,
                    device=self.common.device,
                    precision=self.common.precision,
                    progress=update,
                )
        if is_main():
            score = judge.info.accuracy
            terminal = Terminal()
            for name, value in score["iou"].items():
                terminal.say(f"  {name:<16} IoU {value:.3f}" if value == value else f"  {name:<16} not in the test pictures")
            terminal.say(f"judge: {self.out}; mIoU {score['miou']:.3f}, accuracy {score['accuracy']:.3f} on {score['count']:,} pictures")


def _is_run(folder: Path) -> bool:
    return (folder / "judge.json").is_file() or any(folder.glob("checkpoint-*")) or (folder / "stats.jsonl").is_file()
