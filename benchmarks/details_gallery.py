"""Pictures of supplement D's failures, without and with the detail network: mouths of several lengths, stray hair, rims of glasses.

    python benchmarks/details_gallery.py --bundle avatars --masks fresh --out docs/images/details.png [--count 4]

``--masks`` is a data set of avatars with exact masks. Its first faces without glasses and beard are painted on: each gives a mouth half and
twice as long, a strand of hair one pixel wide, and rims one pixel wide around the eyes. Columns of the picture: mask, picture
without, picture with the detail network; one row of columns a kind. Styles are seeds 1, 2, and so on.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from proxymask.data.dataset import ImageSet
from proxymask.imaging.masks import colorize
from proxymask.inference.synthesizer import Synthesizer

GAP = 4
Ids = dict[str, int]


def box(mask: np.ndarray, label: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a label, inclusive."""
    rows, columns = np.nonzero(mask == label)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def mouth(times: float) -> Callable[[np.ndarray, Ids], np.ndarray]:
    """A mouth of ``times`` its length, a bar of at least three pixels' height, on skin."""

    def paint(mask: np.ndarray, ids: Ids) -> np.ndarray:
        left, top, right, bottom = box(mask, ids["mouth"])
        out = np.where(mask == ids["mouth"], ids["skin"], mask)
        half, middle, height = times * (right - left + 1) / 2, (left + right + 1) / 2, max(3, (bottom - top + 1) // 2)
        area = np.zeros_like(mask, dtype=bool)
        area[(top + bottom - height) // 2 : (top + bottom + height) // 2, round(middle - half) : round(middle + half)] = True
        return np.where(area & np.isin(out, (ids["skin"],)), ids["mouth"], out)

    return paint


def strand(mask: np.ndarray, ids: Ids) -> np.ndarray:
    """A line of hair from the top of the head to the side, one pixel wide."""
    left, top, _, _ = box(mask, ids["top"])
    canvas = Image.fromarray(mask.astype(np.uint8))
    size = mask.shape[0]
    ends = [(left + size // 8, top + size // 12), (left - size // 16, top - size // 32), (max(0, left - size // 7), top + size // 5)]
    ImageDraw.Draw(canvas).line(ends, fill=ids["top"], width=1)
    return np.array(canvas).astype(mask.dtype)


def rims(mask: np.ndarray, ids: Ids) -> np.ndarray:
    """Glasses whose rims and bridge are one pixel wide."""
    canvas = Image.fromarray(mask.astype(np.uint8))
    draw, size = ImageDraw.Draw(canvas), mask.shape[0]
    left, top, right, bottom = box(mask, ids["eyes"])
    middle, y, r = (left + right) / 2, (top + bottom) / 2, size / 10
    for x in ((left + middle) / 2 - size / 32, (right + middle) / 2 + size / 32):
        draw.ellipse((x - r, y - r, x + r, y + r), outline=ids["accessories"])
    draw.line((middle - size / 24, y, middle + size / 24, y), fill=ids["accessories"])
    return np.array(canvas).astype(mask.dtype)


KINDS: dict[str, Callable[[np.ndarray, Ids], np.ndarray]] = {
    "a mouth half as long": mouth(0.5),
    "twice as long": mouth(2.0),
    "a strand of hair": strand,
    "rims": rims,
}


def faces(data: ImageSet, ids: Ids) -> Iterator[np.ndarray]:
    """Masks with hair, two eyes and a mouth, without glasses and beard."""
    for index in range(len(data)):
        mask = data.masks([index])[0].numpy()
        counts = np.bincount(mask.ravel(), minlength=len(ids))
        bare = not counts[ids["accessories"]] and not counts[ids["facial_hair"]]
        if bare and counts[ids["mouth"]] and counts[ids["top"]] and counts[ids["eyes"]] >= mask.size // 400:
            yield mask


def main() -> None:
    """Paint, make the pictures, write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="avatars")
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=4)
    args = parser.parse_args()
    synth = Synthesizer.from_pretrained(args.bundle)
    labels, size = synth.bundle.labels, synth.bundle.resolution
    assert labels is not None
    ids = {name: index for index, name in enumerate(labels.names)}
    scale = max(1, 128 // size)
    rows = []
    for paint in KINDS.values():
        columns = []
        for number, face in zip(range(args.count), faces(ImageSet.open(args.masks, size), ids), strict=False):
            mask = paint(face, ids).astype(np.uint8)
            style = synth.make_style(number + 1)
            cells = [colorize(mask, labels)]
            for synth.use_details in (False, True):
                cells.append(np.asarray(synth(mask, style)))
            columns.append(np.concatenate(cells, axis=1))
        rows.append(columns)
    wide = [np.concatenate([c for cell in row for c in (cell, np.full((size, GAP, 3), 255, np.uint8))][:-1], axis=1) for row in rows]
    gap = np.full((GAP, wide[0].shape[1], 3), 255, np.uint8)
    page = np.concatenate([part for row in wide for part in (row, gap)][:-1], axis=0)
    Image.fromarray(page).resize((page.shape[1] * scale, page.shape[0] * scale), Image.Resampling.NEAREST).save(args.out)
    print(f"{args.out}: rows are {', '.join(KINDS)}; columns are mask, without, with")


if __name__ == "__main__":
    main()
