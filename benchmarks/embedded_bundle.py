"""Put the stages of the embedded model together: generator, clusters, rearranger, segmenter, mappers and card.

    python benchmarks/embedded_bundle.py --generator runs/g64 --clusters runs/clusters --rearranger runs/rearranger \\
        --segmenter runs/segmenter16 --card benchmarks/avatars_card.md --out src/proxymask/bundles/avatars \\
        --mapper mask runs/mapper16 mask-1 runs/mapper1 scribble runs/scribble sketch runs/sketch
"""

import dataclasses
from pathlib import Path
from typing import Any

import tyro

from proxymask.core.files import read_json
from proxymask.core.hashing import weights_hash
from proxymask.inference.bundle import Bundle
from proxymask.inference.samples import read_label_set
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.logits_to_proxy_mask import ProxyMaskMode
from proxymask.models.mappers import load_mapper
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.rearranger import Rearranger
from proxymask.models.stylegan2 import Generator
from proxymask.training.parts import find_part, load_extractor, load_part


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
    proxy_mask_mode: ProxyMaskMode = "style-prior"
    """What the mapper hands over."""
    name: str = "avatars"


def condition_of(folder: Path) -> dict[str, Any]:
    """What a mapper's run says of the condition that it reads."""
    about = dict(read_json(folder / "condition.json"))
    about.pop("proxy_mask_mode", None)
    return about


def main() -> None:
    args = tyro.cli(Embed)
    generator = load_part(args.generator, "generator", Generator)
    clusters = load_part(args.clusters, "clusters", ProxyClusters)
    extractors = {name: load_extractor(folder) for name, folder in args.mapper.items()}
    bundle = Bundle(
        generator=generator,
        cut=clusters.resolution,
        clusters=clusters,
        rearranger=load_part(args.rearranger, "rearranger", Rearranger),
        labels=read_label_set(args.segmenter),
        segmenter=load_part(args.segmenter, "segmenter", FewShotSegmenter),
        mappers={name: load_mapper(find_part(folder, "mapper")) for name, folder in args.mapper.items()},
        conditions={name: condition_of(folder) for name, folder in args.mapper.items() if (folder / "condition.json").is_file()},
        extractors={name: network for name, network in extractors.items() if network is not None},
        name=args.name,
        about={
            "proxy_mask_mode": args.proxy_mask_mode,
            "generator": weights_hash(generator),
            "licence": "weights Apache-2.0; made from avatars by Pablo Stanley (avataaars.com, free for personal and commercial use)",
        },
    )
    bundle.save(args.out, card=args.card.read_text() if args.card else None)
    size = sum(p.stat().st_size for p in args.out.rglob("*") if p.is_file())
    print(f"{args.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
