"""What each part beyond the paper is worth, and L_adv of the mapper, which the paper has.

The full recipe (by default the demo preset), and each part off alone, on any domain.

    python -m ablations.parts --data data/avatars64 --masks data/test64 --generator avatars --clusters avatars \\
        --labels runs/avatars-labels --discriminator runs/g64 --work runs/ablations-avatars --steps 4000 --mapper-steps 2400 \\
        --out ../docs/results/ablations/parts-avatars.json
    python -m ablations.parts ... --only full no-L_mix      # these alone; the rows of the others stay

Each arm is scored on the fresh masks by every judge: mIoU and boundary F-score, distance in the features of the first judge, agreement of
the proxy masks, colours of the own style. ``full`` and ``one-label`` are the arms that the others are compared with (:data:`PARTS`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import tyro

from .arms import Arm, run
from .common import Ablation

ARMS: Mapping[str, Arm] = {
    "full": Arm(),
    "no-refinement": Arm(rearranger={"refinement_width": 0, "mix_absent": False}),  # attention alone cannot draw what the style lacks
    "no-L_mix": Arm(rearranger={"lambda_mix": 0.0, "lambda_self": 10.0}),  # L_self as in the paper (A.2)
    "random-start": Arm(rearranger={"init": "random"}),
    "25-clusters": Arm(clusters=25),
    "no-real-pictures": Arm(real=False),
    "no-narrowing": Arm(narrowed=False),
    "no-L_label": Arm(mapper={"lambda_label": 0.0}),
    "mapper-L_adv": Arm(mapper={"lambda_adv": 1.0}),  # as in the paper (A.2); the rearranger has its own in every arm
    "no-label-prior": Arm(mapper={"label_prior": False}),
    "no-style-prior": Arm(mapper={"proxy_mask_mode": "hard"}),
    "student": Arm(student=True),
    "one-label": Arm(labelled=1),
    "one-label-no-style-transfer": Arm(labelled=1, segmenter={"style_transfer_max_labels": 0}),
}
EARLIER = "mask-in-keys/"
"""Prefix of arms that were measured when the recipe still had the style's own proxy mask in the keys (docs/decisions.md, attention-start).
Nothing trains them today; a part is compared within one recipe. ``neither``: no mask in the keys, and a random start. Their mappers end
with L_adv."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A part beyond the paper: the arm that has it, and the arm that differs in it alone."""

    title: str
    on: str
    off: str
    purpose: Literal["quality", "speed"] = "quality"
    """What it is there for: a part for speed must cost nothing, the others must bring something."""


PARTS = (
    Part("refinement block", "full", "no-refinement"),
    Part("L_mix (off: L_self)", "full", "no-L_mix"),
    Part("L_label", "full", "no-L_label"),
    Part("L_adv of the mapper, which the paper has", "mapper-L_adv", "full"),
    Part("label prior (off: the coarser style prior)", "full", "no-label-prior"),
    Part("style prior", "full", "no-style-prior"),
    Part("attention start from the clusters (off: random)", "full", "random-start"),
    Part("mask in the keys, which is gone, and attention start (off: neither)", f"{EARLIER}full", f"{EARLIER}neither"),
    Part("K = 100 (off: 25)", "full", "25-clusters"),
    Part("real pictures in L_adv (off: the generator's samples)", "full", "no-real-pictures"),
    Part("style-transfer labelling (one label)", "one-label", "one-label-no-style-transfer"),
    Part("narrowing of queries and keys", "full", "no-narrowing", "speed"),
    Part("student mapper, narrower (off: its teacher)", "student", "full", "speed"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts(Ablation):
    """Switch each part off alone."""


if __name__ == "__main__":
    run(tyro.cli(Parts), "parts", ARMS)
