"""Whether pictures of a generator have a frame: how much the outermost pixels differ from the next ones, against real pictures.

    python frame.py --generator ../src/proxymask/bundles/avatars/generator --data data/avatars128

A number is the mean absolute difference between two neighbouring rings of pixels, of 255: first the outermost and the next one, then these
and the ones inside of them, and so on. Real pictures have about the same difference everywhere.
"""

import dataclasses
from pathlib import Path

import torch
import tyro

from proxymask.data.dataset import ImageSet
from proxymask.models.stylegan2 import Generator

BATCH, FIRST_SEED = 16, 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """Compare the rings of generated and of real pictures."""

    generator: Path
    """Folder of the generator's config and weights."""
    data: Path | None = None
    """Real pictures, or a folder that proxymask data wrote."""
    count: int = 64
    """Pictures of each kind."""
    rings: int = 4


def ring_differences(pictures: torch.Tensor, rings: int) -> list[float]:
    """Mean absolute differences between neighbouring rings of pictures (B, C, H, W) in [-1, 1], of 255, the outermost first. Corners are
    left out."""
    found = []
    for ring in range(rings):
        sides = []
        for turned in (pictures, pictures.flip(2), pictures.transpose(2, 3), pictures.transpose(2, 3).flip(2)):
            inner = turned[..., rings:-rings]
            sides.append((inner[:, :, ring] - inner[:, :, ring + 1]).abs().mean())
        found.append(round(127.5 * float(torch.stack(sides).mean()), 2))
    return found


@torch.inference_mode()
def main() -> None:
    args = tyro.cli(Frame)
    generator = Generator.from_pretrained(args.generator).eval()
    seeds = range(FIRST_SEED, FIRST_SEED + args.count)
    pictures = [generator(generator.z(seeds[start : start + BATCH])) for start in range(0, args.count, BATCH)]
    print("generated:", *ring_differences(torch.cat(pictures).clamp(-1, 1), args.rings))
    if args.data is not None:
        real = ImageSet.open(args.data, generator.resolution)
        print("real:     ", *ring_differences(real.images(list(range(args.count))), args.rings))


if __name__ == "__main__":
    main()
