"""The label curve: 1, 4, 8, 16 labelled samples, drawn at random, three times each.

    python -m ablations.labels --data data/avatars64 --masks data/test64 --generator avatars --clusters avatars \\
        --labels runs/avatars-labels-random --discriminator runs/g64 --work runs/ablations-avatars --steps 4000 --mapper-steps 2400

No sample is labelled by hand: the pseudo-label network labels them (``label_samples.py --random --count 48``). Draw d takes samples of that
folder from number 16 d on. One rearranger, trained without labels, serves all: that of the arm ``full`` of the other ablations.
"""

import dataclasses
from pathlib import Path

import tyro

from .arms import Arm, run
from .common import Ablation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labels(Ablation):
    """Vary the number of labelled samples. The arms are 1-labels-draw-0, 1-labels-draw-1, ..."""

    out: Path = Path(__file__).parents[2] / "docs" / "results" / "ablations" / "labels.json"
    """JSON file of the rows; rows of other arms that are in it stay. The picture sheet is written beside it."""
    numbers: tuple[int, ...] = (1, 4, 8, 16)
    """Labelled samples."""
    draws: int = 3
    """Draws of each number."""

    @property
    def arms(self) -> dict[str, Arm]:
        """An arm for each number and draw."""
        return {f"{number}-labels-draw-{draw}": Arm(labelled=number, draw=draw) for draw in range(self.draws) for number in self.numbers}


if __name__ == "__main__":
    args = tyro.cli(Labels)
    run(args, "labels", args.arms)
