"""The verbs that measure: ``evaluate`` and ``train judge``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..core.checks import Checked, Range
from ..core.errors import ProxymaskError
from ..core.files import check_outside
from ..core.lock import is_lock
from ..core.sizes import height_width, short_text
from ..data.dataset import ImageSet
from ..evaluation import EvaluationConfig, evaluate
from ..training.distributed import is_main, main_lock, processes
from ..training.judge import JudgeConfig, train_judge
from ..training.run_dirs import explain_stop
from .options import Common, Computing, OptionalPath
from .progress import Terminal, progress

_OPTIONAL = tyro.conf.arg(metavar="INT", help_behavior_hint="(optional)")


@dataclass(frozen=True, kw_only=True)
class Evaluate(EvaluationConfig):
    """Measure a bundle: how well pictures follow their masks, how near they are to real pictures, how well they keep their style.

    OUT gets metrics.json and report.html. Results are kept in OUT/cache, so the same command resumes after a stop, and a larger number
    of pictures extends a smaller one. Where weights are missing, a note says where to put them, and everything else is measured.

    Examples:
      proxymask evaluate --data avatars-64 --out evaluation
      proxymask evaluate --bundle my-bundle --data photos --masks labelled --judge my-judge --features inception --out evaluation
      proxymask evaluate --bundle my-bundle --data labelled --judge my-judge my-other-judge --out evaluation
      proxymask evaluate --data avatars-64 --masks fresh-64 --parts baselines --labelled labelled --out baselines
      proxymask evaluate --bundle my-bundle --data photos --protocol paper --features pt_inception-2015-12-05-6726825d.pth --out paper
    """

    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Measure, then print the numbers and the paths of the results."""
        with progress("evaluating, pictures") as update:
            found = evaluate(
                self, device=self.common.device, precision=self.common.precision, seed=self.common.seed, progress=lambda a, b: update(a, b)
            )
        terminal = Terminal()
        for row in found.numbers:
            value = "undefined" if row["value"] is None else f"{row['value']:.4g}"
            terminal.say(f"{row['name'] + ', ' + row['title']:<110} {value:>9}  ({row['count']:,})")
        for note in found.messages:
            terminal.say(f"note: {note}")
        terminal.say(f"report: {self.out / 'report.html'}; numbers: {self.out / 'metrics.json'}")


@dataclass(frozen=True, kw_only=True)
class TrainJudge(Checked):
    """Train a judge for your own labelled domain: the segmentation network that proxymask evaluate measures pictures with.

    No part of a bundle is trained with it. OUT gets the judge and its accuracy on pictures outside its training set. The same command
    resumes after a stop.

    Examples:
      proxymask train judge --data labelled --out runs/judge
      proxymask train judge --data avatars-128 --test avatars-128-fresh --out runs/judge
    """

    data: Path
    """Data set of pictures with masks: images/, masks/ and labels.json, as proxymask data avatars writes."""
    out: Path
    """Folder of the judge; training resumes from the checkpoints in it."""
    test: OptionalPath = None
    """Data set to measure the accuracy on; if not given, a tenth of the data is kept out of the training for it."""
    size: Annotated[int | None, Range(8, 4096, kind="multiple of 8"), _OPTIONAL] = None
    """Side of the pictures that the judge reads, a multiple of 8; that of a prepared set if not given, else 64."""
    strict: bool = False
    """Leave out pictures whose mask holds colours that are not exactly those of labels.json; otherwise edges are read, and a note has
    their share."""
    config: Annotated[JudgeConfig, tyro.conf.arg(name="")] = field(default_factory=JudgeConfig)
    common: Common = field(default_factory=Computing)

    def run(self) -> None:
        """Train it and print its accuracy."""
        if self.out.is_file() or (self.out.is_dir() and any(self.out.iterdir()) and not _is_run(self.out)):
            raise ProxymaskError(f"--out {self.out} holds other files: give another folder")
        check_outside(self.out, self.data, self.test)
        with processes(self.common.device), main_lock(self.out), explain_stop(self.out):
            size = self.size or (None if (self.data / "index.json").is_file() else 64)
            with progress("reading files") as count:
                data = ImageSet.open(self.data, size, count, self.strict)
                test = None if self.test is None else ImageSet.open(self.test, data.size, count, self.strict)
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
    """Whether a folder holds a judge, or what a stopped training leaves."""
    names = ("judge.json", "checkpoint-*", "stats.jsonl", "events.*")
    return any(any(folder.glob(name)) for name in names) or all(is_lock(entry) for entry in folder.iterdir())
