"""Figure S4: K in {5, 10, 25, 50, 100}: a sheet, and as numbers what the paper left to the eye.

    python -m ablations.clusters --data data/avatars64 --masks data/test64 --generator avatars --clusters avatars \\
        --labels runs/avatars-labels --discriminator runs/g64 --work runs/ablations-avatars --steps 4000 --mapper-steps 2400

The generator's own K is the arm ``full``, the others are K-clusters; with the --work of :mod:`ablations.parts` they share trainings.
A row holds mIoU with the mapper (``miou_masks``) and without (``miou_proxy``), the IoU of every class (the paper's "glasses" are
accessories), the share of pixels that stay although their class changes (mask ignored), agreement, and the distances.
"""

import dataclasses
from pathlib import Path

import tyro

from proxymask.training.presets import load_preset

from .arms import Arm, run
from .common import Ablation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clusters(Ablation):
    """Vary the number of clusters."""

    out: Path = Path(__file__).parents[2] / "docs" / "results" / "ablations" / "clusters.json"
    """JSON file of the rows; rows of other arms that are in it stay. The picture sheet is written beside it."""
    numbers: tuple[int, ...] = (5, 10, 25, 50, 100)
    """K."""

    @property
    def arms(self) -> dict[str, Arm]:
        """An arm for each K; that of the preset's own K is ``full``."""
        own = load_preset(self.preset).num_clusters
        return {
            "full" if number == own else f"{number}-clusters": Arm(clusters=None if number == own else number) for number in self.numbers
        }


if __name__ == "__main__":
    args = tyro.cli(Clusters)
    run(args, "clusters", args.arms)
