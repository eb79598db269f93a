"""What L_adv takes for real: the generator's own samples, or real pictures.

python -m ablations.reals --data data/avatars64 --masks data/test64 --discriminator runs/g64 --work runs/ablations --steps 10000
"""

import dataclasses

import tyro

from .common import Lab, Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reals(Settings):
    """Compare the reals of L_adv. The variants are own-samples and real-pictures."""


VARIANTS = {"own-samples": False, "real-pictures": True}


def run(args: Reals) -> None:
    lab = Lab(args)
    rows = []
    for variant in lab.chosen(list(VARIANTS)):
        short = f"reals-{variant}"
        net, _ = lab.rearranger(short, real=VARIANTS[variant])
        found = lab.evaluated(short, lab.variant(short, rearranger=net), mapped=False)
        rows.append(lab.row("reals", variant.replace("-", " "), found))
        lab.write("reals", rows, [name.replace("-", " ") for name in VARIANTS])
    lab.sheet("reals", [f"reals-{variant}" for variant in VARIANTS])


if __name__ == "__main__":
    run(tyro.cli(Reals))
