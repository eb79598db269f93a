"""A contact sheet of the extractors on pictures, for inspection by eye: a row a picture, a column an extractor.

    python benchmarks/extractors_sheet.py --pictures PHOTOS PORTRAITS --out sheet.png \\
        --weights pidinet table5_pidinet.pth ldc 16_model.pth

Extractors whose weights or packages are missing are named and left out.
"""

import dataclasses
import time
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image, ImageDraw

from proxymask.conditions.extractors import SPECS, Extractor, get_extractor
from proxymask.core.errors import ProxymaskError
from proxymask.imaging.pictures import INK, PAPER, font, write_picture
from proxymask.imaging.reader import SUFFIXES, read_picture

TITLE = 26


@dataclasses.dataclass(frozen=True)
class Sheet:
    """Extractors on pictures."""

    pictures: list[Path]
    """Pictures, or folders of them (looked through below)."""
    out: Path = Path("extractors.png")
    """The sheet."""
    weights: dict[str, Path] = dataclasses.field(default_factory=dict)
    """Extractor and the file of its weights."""
    only: tuple[str, ...] = tuple(SPECS)
    """Which extractors."""
    count: int = 4
    """Pictures of each folder."""
    cell: int = 160
    """Side of a cell in pixels."""
    seed: int = 0
    """Which pictures of a folder."""


def chosen(args: Sheet) -> list[Path]:
    out = []
    for place in args.pictures:
        files = sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES) if place.is_dir() else [place]
        picked = np.random.default_rng(args.seed).permutation(len(files))[: args.count]
        out += [files[i] for i in picked]
    return out


def square(path: Path, side: int) -> Image.Image:
    picture = read_picture(path).convert("RGB")
    edge = min(picture.size)
    left, upper = (picture.width - edge) // 2, (picture.height - edge) // 2
    return picture.resize((side, side), Image.Resampling.LANCZOS, box=(left, upper, left + edge, upper + edge))


def main() -> None:
    args = tyro.cli(Sheet)
    files, extractors = chosen(args), {}
    for name in args.only:
        try:
            extractors[name] = get_extractor(name, SPECS[name].output, args.weights.get(name))
        except ProxymaskError as error:
            print(f"left out: {name}: {error}")
    pictures = [square(path, 256) for path in files]
    sheet = Image.new("RGB", ((1 + len(extractors)) * args.cell, TITLE + len(files) * args.cell), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, picture in enumerate(pictures):
        sheet.paste(picture.resize((args.cell, args.cell), Image.Resampling.LANCZOS), (0, TITLE + row * args.cell))
    for column, (name, extractor) in enumerate(extractors.items(), start=1):
        draw.text((column * args.cell + args.cell / 2, TITLE / 2), name, INK, font(14), anchor="mm")
        seconds = paint(sheet, pictures, extractor, column, args.cell, SPECS[name].output == "lines")
        print(f"{name}: {1000 * seconds / len(pictures):.0f} ms a picture of 256x256")
    print(f"wrote {write_picture(args.out, sheet)}")


def paint(sheet: Image.Image, pictures: list[Image.Image], extractor: Extractor, column: int, cell: int, ink: bool) -> float:
    """One column; returns the seconds that the extractor took."""
    seconds = 0.0
    for row, picture in enumerate(pictures):
        x = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        began = time.perf_counter()
        found = extractor(x)[0, 0]
        seconds += time.perf_counter() - began
        grey = ((1 - found if ink else found) * 255).round().to(torch.uint8).numpy()
        sheet.paste(Image.fromarray(grey).resize((cell, cell), Image.Resampling.LANCZOS), (column * cell, TITLE + row * cell))
    return seconds


if __name__ == "__main__":
    main()
