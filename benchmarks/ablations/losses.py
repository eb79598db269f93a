"""Figures S2 and S3: L_adv alone, with L_self, with L_mask; and L_mix and the refinement block, which are not in the paper: distance over
iterations, and a sheet of pictures.

python -m ablations.losses --data data/avatars64 --masks data/test64 --discriminator runs/g64 --work runs/ablations --steps 10000
"""

import dataclasses
from typing import Any, Literal

import tyro

from proxymask.data.dataset import ImageSet

from .common import Lab, Settings

# the paper's rearranger: what the demo preset adds is taken out of it
PAPER: dict[str, Any] = {
    "refinement_width": 0,
    "lambda_self": 10.0,
    "mix_share": 0.5,
    "mix_layers": (2, 3),
    "mix_absent": False,
    "discriminator_lr_multiplier": 1.0,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "L_adv": {**PAPER, "lambda_self": 0.0, "lambda_mask": 0.0, "lambda_mix": 0.0},
    "L_adv + L_self": {**PAPER, "lambda_mask": 0.0, "lambda_mix": 0.0},
    "L_adv + L_self + L_mask": {**PAPER, "lambda_mix": 0.0},
    "L_adv + L_self + L_mask + L_mix": PAPER,
    "refinement block": {},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Losses(Settings):
    """Ablate the rearranger's losses. The variants are L_adv, L_adv-L_self, L_adv-L_self-L_mask, L_adv-L_self-L_mask-L_mix and
    refinement-block."""

    init: Literal["centroids", "random"] = "random"
    """Start of the attention. random is the paper's; a start from the centroids follows masks before anything is learnt."""
    points: int = 10
    """Checkpoints that are measured on the way."""
    point_count: int = 500
    """Pictures a point."""


def run(args: Losses) -> None:
    lab = Lab(args)
    rows: list[dict[str, Any]] = []
    curves: dict[str, list[dict[str, Any]]] = {}
    bench = lab.benchmark(ImageSet.open(args.masks, lab.bundle.resolution), args.point_count)
    names = {name.replace(" + ", "-").replace(" ", "-"): name for name in VARIANTS}
    for short in lab.chosen(list(names)):
        name = names[short]
        net, out = lab.rearranger(f"losses-{short}-{args.init}", points=args.points, init=args.init, **VARIANTS[name])
        curves[lab.named(name)] = lab.curve(out, lab.bundle, bench)
        place = lab.variant(f"losses-{short}", rearranger=net)
        rows.append(lab.row("losses", name, lab.evaluated(f"losses-{short}-{args.init}", place, mapped=False), init=args.init))
        lab.write("losses", rows, list(VARIANTS), curves=curves)
    lab.sheet("losses", [f"losses-{short}" for short in names])


if __name__ == "__main__":
    run(tyro.cli(Losses))
