"""Figures S2 and S3: L_adv alone, with L_self, with L_mask; and ours beside it: distance over iterations, and a sheet of pictures.

    python -m ablations.losses --data data/avatars64 --masks data/test64 --generator avatars --clusters avatars \\
        --labels runs/avatars-labels --discriminator runs/g64 --work runs/ablations-avatars --steps 10000

All but ``full`` are the arm ``published`` of :mod:`ablations.published` without some of its losses; L_adv keeps its schedule in each, so
that it acts equally often. With the --work of that ablation they share trainings.
"""

import dataclasses
from pathlib import Path

import tyro

from .arms import Arm, run
from .common import Ablation
from .published import published

WITHOUT = {"L_adv": ("lambda_self", "lambda_mask"), "L_adv-L_self": ("lambda_mask",)}  # settings that are 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Losses(Ablation):
    """Ablate the rearranger's losses. The arms are L_adv, L_adv-L_self, published, which has L_mask too, and full, which is ours."""

    out: Path = Path(__file__).parents[2] / "docs" / "results" / "ablations" / "losses.json"
    """JSON file of the rows; rows of other arms that are in it stay. The picture sheet is written beside it."""
    points: int = 10
    """Checkpoints of each rearranger that are measured on the way."""

    @property
    def arms(self) -> dict[str, Arm]:
        """The published method with one loss more in each."""
        theirs = published(self.preset)
        settings = {name: {**theirs.rearranger, **dict.fromkeys(zero, 0.0)} for name, zero in WITHOUT.items()}
        fewer = {name: dataclasses.replace(theirs, rearranger=changed) for name, changed in settings.items()}
        return {**fewer, "published": theirs, "full": Arm()}


if __name__ == "__main__":
    args = tyro.cli(Losses)
    run(args, "losses", args.arms, mapped=False)
