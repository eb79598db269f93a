"""The generator of smaller pictures that another one was grown from by new blocks alone: that one without its last blocks.

    python benchmarks/smaller_generator.py --generator avatars --resolution 64 --out runs/g64

A skip generator adds what each block draws to the enlarged picture of the blocks before, so that those alone make the smaller picture.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from proxymask.core.errors import ProxymaskError
from proxymask.models.stylegan2 import Generator
from proxymask.training.parts import load_part


@dataclasses.dataclass(frozen=True)
class SmallerGenerator:
    """Write the first blocks of a generator."""

    generator: Path
    """Run folder, or name or folder of a bundle."""
    resolution: Annotated[int, tyro.conf.arg(help="Side of the smaller pictures.")]
    out: Path
    """Gets a folder ``generator``."""


def smaller_generator(larger: Generator, resolution: int) -> Generator:
    """The blocks of ``larger`` up to ``resolution``.

    Raises:
        ProxymaskError: ``larger`` has no block of that resolution, or it is the last one.
    """
    sides = larger.synthesis.block_resolutions[:-1]
    if resolution not in sides:
        raise ProxymaskError(f"--resolution {resolution}: the generator has blocks of {', '.join(map(str, sides))} before its last one")
    smaller = Generator(**larger.config | {"resolution": resolution})
    weights = larger.state_dict()
    smaller.load_state_dict({name: weights[name] for name in smaller.state_dict()})
    return smaller.train(larger.training)


def main() -> None:
    args = tyro.cli(SmallerGenerator)
    smaller_generator(load_part(args.generator, "generator", Generator), args.resolution).save_pretrained(args.out / "generator")


if __name__ == "__main__":
    main()
