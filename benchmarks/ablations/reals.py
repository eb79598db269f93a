"""What L_adv takes for real: the generator's own samples, or real pictures.

python -m ablations.reals --data data/avatars64 --masks data/test64 --discriminator runs/g64 --work runs/ablations --steps 10000
"""

import dataclasses

import tyro

from .common import Lab, Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reals(Settings):
    """Compare the reals of L_adv."""


def run(args: Reals) -> None:
    lab = Lab(args)
    rows, folders = [], {}
    for name, real in (("own samples", False), ("real pictures", True)):
        short = "reals-" + name.replace(" ", "-")
        net, _ = lab.rearranger(short, real=real)
        folders[name] = lab.variant(short, rearranger=net)
        rows.append(lab.row("reals", name, lab.evaluated(short, folders[name], mapped=False)))
        lab.write("reals", rows)
    lab.sheet("reals", folders)


if __name__ == "__main__":
    run(tyro.cli(Reals))
