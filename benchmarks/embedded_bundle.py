"""Put the stages of the embedded model together: generator, clusters, rearranger, segmenter, mappers and card.

    python benchmarks/embedded_bundle.py --generator runs/g64 --clusters runs/clusters --rearranger runs/rearranger \\
        --segmenter runs/segmenter16 --mapper mask=runs/mapper16 mask-1=runs/mapper1 --card benchmarks/avatars_card.md \\
        --out src/proxymask/bundles/avatars
"""

import dataclasses
from pathlib import Path

import tyro

from proxymask.bundle import Bundle
from proxymask.generators.stylegan2 import Generator
from proxymask.mappers.handover import Handover
from proxymask.mappers.oasis import OasisMapper
from proxymask.proxy.proxy_mask import ProxyClusters
from proxymask.rearranger import Rearranger
from proxymask.sampling import generator_hash, read_label_set
from proxymask.segmenter import FewShotSegmenter
from proxymask.stages import load_part
from proxymask.style_bank import StyleBank


@dataclasses.dataclass(frozen=True)
class Embed:
    """Assemble a bundle from stage folders."""

    generator: Path
    clusters: Path
    rearranger: Path
    segmenter: Path
    mapper: dict[str, Path]
    """Name and folder of each mapper."""
    out: Path
    card: Path | None = None
    """Text of the model card."""
    handover: Handover = "present"
    """What the mapper hands over."""
    style_bank: StyleBank = dataclasses.field(default_factory=StyleBank)
    """What is lent to a style."""
    name: str = "avatars"


def main() -> None:
    args = tyro.cli(Embed)
    generator = load_part(args.generator, "generator", Generator)
    clusters = load_part(args.clusters, "clusters", ProxyClusters)
    bundle = Bundle(
        generator=generator,
        cut=clusters.resolution,
        clusters=clusters,
        rearranger=load_part(args.rearranger, "rearranger", Rearranger),
        labels=read_label_set(args.segmenter),
        segmenter=load_part(args.segmenter, "segmenter", FewShotSegmenter),
        mappers={name: load_part(folder, "mapper", OasisMapper) for name, folder in args.mapper.items()},
        name=args.name,
        about={
            "handover": args.handover,
            "style_bank": dataclasses.asdict(args.style_bank),
            "generator": generator_hash(generator),
            "licence": "weights Apache-2.0; made from avatars by Pablo Stanley (avataaars.com, free for personal and commercial use)",
        },
    )
    bundle.save(args.out, card=args.card.read_text() if args.card else None)
    size = sum(p.stat().st_size for p in args.out.rglob("*") if p.is_file())
    print(f"{args.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
