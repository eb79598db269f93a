"""The published method against ours, at equal steps, on one generator with the same labels: distance over steps, and all scores at the end.

    python -m ablations.published --data data/avatars64 --masks data/test64 --generator avatars --clusters avatars \\
        --labels runs/avatars-labels --discriminator runs/g64 --work runs/ablations-avatars --steps 10000 --mapper-steps 4400

The arm ``published`` has every setting of the preset paper-256 but for the sizes of the networks and the lengths of the trainings, which
are those of ours: K = 25, a random start of the attention, no refinement, L_self in the place of L_mix, learning rates of 0.002, a mapper
without priors and without L_label, a segmenter without style-transfer labelling, no substitution of clusters that a style lacks.
"""

import dataclasses
from pathlib import Path
from typing import Any

import tyro

from proxymask.training.presets import Preset, load_preset

from .arms import Arm, run
from .common import Ablation

SIZES = {"hidden", "layers", "widths", "tail"}
"""Settings of the networks' sizes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published(Ablation):
    """Compare the published method with ours. The arms are full, which is ours, and published."""

    out: Path = Path(__file__).parents[2] / "docs" / "results" / "ablations" / "published.json"
    """JSON file of the rows; rows of other arms that are in it stay. The picture sheet is written beside it."""
    points: int = 10
    """Checkpoints of each rearranger that are measured on the way."""

    @property
    def arms(self) -> dict[str, Arm]:
        """Ours, and the published method in the sizes of ours."""
        return {"full": Arm(), "published": published(self.preset)}


def published(preset: str) -> Arm:
    """The arm that has every setting of paper-256 but for the sizes and lengths, which are those of ``preset``."""
    ours, theirs = load_preset(preset), load_preset("paper-256")
    rearranger, segmenter, mapper = (changed(stage, ours, theirs) for stage in ("rearranger", "segmenter", "mapper"))
    return Arm(clusters=theirs.num_clusters, rearranger=rearranger, segmenter=segmenter, mapper=mapper)


def changed(stage: str, ours: Preset, published: Preset) -> dict[str, Any]:
    """Settings of a stage, without its sizes, that the published method has otherwise."""
    theirs = dataclasses.asdict(getattr(published, stage))
    mine = dataclasses.asdict(getattr(ours, stage))
    return {name: value for name, value in theirs.items() if name not in SIZES and mine[name] != value}


if __name__ == "__main__":
    args = tyro.cli(Published)
    run(args, "published", args.arms)
