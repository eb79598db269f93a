"""Figure S4: K in {5, 10, 25, 50, 100}: a sheet, and as numbers what the paper left to the eye.

    python -m ablations.clusters --data data/avatars64 --masks data/test64 --discriminator runs/g64 --work runs/ablations --steps 10000

A row holds the IoU of accessories (the paper's "glasses"), the share of pixels that stay although their class changes (mask ignored),
mIoU with the mapper (``miou_masks``) and without (``miou_proxy``), mask agreement, and the distance.
"""

import dataclasses

import tyro

from proxymask.core.errors import ProxymaskError

from .common import Lab, Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clusters(Settings):
    """Vary the number of clusters."""

    numbers: tuple[int, ...] = (5, 10, 25, 50, 100)
    """K."""


def run(args: Clusters) -> None:
    lab = Lab(args)
    if lab.bundle.segmenter is None:
        raise ProxymaskError(f"the bundle {args.bundle} has no segmenter, from which mappers learn")
    rows = []
    for number in map(int, lab.chosen([str(number) for number in args.numbers])):
        clusters = lab.clusters(number)
        net, _ = lab.rearranger(f"clusters-{number}", clusters)
        mapper = lab.mapper(f"clusters-{number}", clusters, net, lab.bundle.segmenter)
        name = f"clusters-{number}"
        place = lab.variant(name, clusters=clusters, rearranger=net, mappers={"mask": mapper})
        found = lab.evaluated(name, place, mapped=True)
        rows.append(lab.row("clusters", f"K = {number}", found, clusters=number, mapper_steps=args.mapper_steps))
        lab.write("clusters", rows, [f"K = {number}" for number in args.numbers])
    lab.sheet("clusters", [f"clusters-{number}" for number in args.numbers])


if __name__ == "__main__":
    run(tyro.cli(Clusters))
