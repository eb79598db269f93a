"""The figures of the supplement, made with any bundle; docs/gallery.md has those of the embedded ones.

    python benchmarks/gallery.py proxy --bundle avatars --out proxy.jpg                                         (S10 to S12)
    python benchmarks/gallery.py condition --condition sketch --bundle avatars --data fresh --out sketch.jpg    (S7 to S9)
    python benchmarks/gallery.py eyes --bundle avatars --data fresh --out eyes.jpg                              (S13)
    python benchmarks/gallery.py rectangle --bundle runs/churches --data churches-fresh64 --out rectangle.jpg   (S13)
    python benchmarks/gallery.py failures --bundle avatars --data fresh --out failures.jpg                      (S6)
    python benchmarks/gallery.py random --bundle churches --data churches-fresh64 --columns 10 --out random.jpg

Nothing is chosen by hand. Styles are the seeds from ``--seed`` on. Inputs are the first of ``--data``, a data set of pictures, for all
figures but ``condition`` with masks; without ``--data`` they are the generator's samples of the seeds from ``--seed`` + 1000 on, with the
labels that the bundle's segmenter reads. The first row has the styles, the first column the inputs.

* ``proxy``: samples of the generator in the first column, their proxy masks in the second, and these masks in every style.
* ``condition``: what the extractor of ``--condition`` finds in the pictures. Where the data set has a folder of that name (``depth``), its
  files are read instead.
* ``eyes``: masks with a third eye, see :func:`third_eye`.
* ``rectangle``: masks with a rectangle, one row in the sky, the next beside the tower, see :func:`rectangle_in_sky`,
  :func:`rectangle_beside_tower`.
* ``failures``: of the first ``--count`` masks, each in a style of its own, those whose pictures a judge reads worst (mean IoU over the
  classes that are in the mask or read). A column for each: mask, style, picture, the judge's reading. The red box, a quarter of the
  picture wide, is where most pixels are read as another class.
* ``random``: inputs and styles drawn at random by ``--seed``, a column for each pair; the same inputs for every condition of the bundle,
  and proxy masks of random samples. The first row has the styles; two rows for each kind: inputs and pictures.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from proxymask.conditions.base import Condition
from proxymask.core.errors import ProxymaskError
from proxymask.core.sizes import height_width
from proxymask.data.dataset import ImageSet
from proxymask.evaluation.judge import Judge, shipped_judges
from proxymask.imaging.grids import tile, to_uint8
from proxymask.imaging.labels import LabelSet
from proxymask.imaging.masks import colorize
from proxymask.inference.detail_inputs import DetailInput, mask_inputs
from proxymask.inference.style import Style
from proxymask.inference.synthesizer import Synthesizer
from proxymask.metrics.segmentation import SegmentationScore

FIRST_INPUT = 1000  # added to the seed of the first style: seed of the first sample that is an input
SAMPLES = 10_000  # inputs where there is no data set
BATCH = 8
SHOWN = 128  # pixels of a picture in a figure, at least
BUILDING = ("wall", "roof", "tower", "spire", "windows", "door")  # classes of churches
Edit = Callable[[np.ndarray, LabelSet], np.ndarray | None]
"""Mask (H, W) of label ids -> the edited mask, or None where it has no place for the edit."""


# --------------------------------------------------------------------------------------------------------------------- edits


def third_eye(mask: np.ndarray, labels: LabelSet) -> np.ndarray | None:
    """A mask with a copy of the left eye on the forehead.

    It is above the middle of both eyes, half-way up the places where all of it, and a pixel around it, is skin. Only for left eyes that
    have 1/400 of the picture and fill 0.6 of their box (no crosses, no tears).
    """
    eyes, skin = labels.by_name("eyes").id, labels.by_name("skin").id
    columns = np.flatnonzero((mask == eyes).any(axis=0))
    if not len(columns):
        return None
    middle = (columns[0] + columns[-1] + 1) / 2
    left, right = columns[columns < middle], columns[columns >= middle]
    if not len(right) or left[-1] + 1 >= right[0]:  # one eye, or two that touch
        return None
    rows = np.flatnonzero((mask[:, left[0] : left[-1] + 1] == eyes).any(axis=1))
    eye = mask[rows[0] : rows[-1] + 1, left[0] : left[-1] + 1] == eyes
    if eye.mean() < 0.6 or eye.sum() < mask.size / 400:
        return None
    height, width = eye.shape
    x = round(middle - width / 2)
    tops = range(1, rows[0] - height)
    places = [y for y in tops if (mask[y - 1 : y + height + 1, x - 1 : x + width + 1] == skin).all()]
    if not places:
        return None
    y, out = places[len(places) // 2], mask.copy()
    out[y : y + height, x : x + width][eye] = eyes
    return out


def rectangle_in_sky(mask: np.ndarray, labels: LabelSet) -> np.ndarray | None:
    """A mask with a rectangle of the class tower, a sixth of the picture wide and a quarter high, where the sky around it is widest."""
    sky, size = mask == labels.by_name("sky").id, mask.shape[0]
    height, width = size // 4, size // 6
    for margin in range(size // 2, 1, -1):
        window = (height + 2 * margin, width + 2 * margin)
        if window[0] > size or window[1] > mask.shape[1]:
            continue
        free = np.lib.stride_tricks.sliding_window_view(sky, window).all(axis=(2, 3))
        if free.any():
            y, x = np.argwhere(free)[0] + margin
            out = mask.copy()
            out[y : y + height, x : x + width] = labels.by_name("tower").id
            return out
    return None


def rectangle_beside_tower(mask: np.ndarray, labels: LabelSet) -> np.ndarray | None:
    """A mask with a rectangle of the class tower, as wide as the tower and half as high, beside its foot, at the nearest place that touches
    no part of a building."""
    building = np.isin(mask, [labels.by_name(name).id for name in BUILDING])
    tower = labels.by_name("tower").id
    rows, columns = np.nonzero(mask == tower)
    if len(rows) < mask.size / 100:
        return None
    top, bottom, left, right = (rows.min() + rows.max()) // 2, rows.max() + 1, columns.min(), columns.max() + 1
    width = right - left
    starts = [x for x in range(1, mask.shape[1] - width) if not building[top - 1 : bottom + 1, x - 1 : x + width + 1].any()]
    if not starts:
        return None
    x, out = min(starts, key=lambda start: abs(start - left)), mask.copy()
    out[top:bottom, x : x + width] = tower
    return out


# -------------------------------------------------------------------------------------------------------------------- inputs


class Inputs:
    """Pictures and masks, of a data set, or without one of the generator's samples.

    Args:
        synth: the bundle.
        data: the data set.
        seed: of the first sample.
    """

    def __init__(self, synth: Synthesizer, data: Path | None, seed: int) -> None:
        self.synth, self.data, self.seed = synth, data, seed
        self.set = None if data is None else ImageSet.open(data, synth.size)

    @property
    def labels(self) -> LabelSet:
        """The bundle's classes."""
        if self.synth.bundle.labels is None:
            raise ProxymaskError(f"--bundle {self.synth.bundle.name} has no labels: this figure needs masks")
        return self.synth.bundle.labels

    def __len__(self) -> int:
        return SAMPLES if self.set is None else len(self.set)

    def picture(self, index: int) -> torch.Tensor:
        """(1, 3, H, W) in [-1, 1]."""
        return self.set.images([index]) if self.set is not None else self._sample(index)[0]

    def mask(self, index: int) -> np.ndarray:
        """Ids of the bundle's labels, uint8 (H, W)."""
        if self.set is not None and self.set.labels is not None and self.set.labels.names != self.labels.names:
            raise ProxymaskError(f"--data {self.data} has other classes than --bundle {self.synth.bundle.name}: give a set of its classes")
        ids = self.set.masks([index]) if self.set is not None else self._sample(index)[1]
        if ids is None:
            raise ProxymaskError(f"--bundle {self.synth.bundle.name} has no segmenter: give --data, a data set with masks")
        return ids[0].cpu().numpy().astype(np.uint8)

    def file(self, folder: str, index: int) -> Path | None:
        """The file of a picture in a folder of the data set beside its pictures; None where there is none."""
        if self.set is None or self.data is None or not (self.data / folder).is_dir():
            return None
        return self.data / folder / Path(self.set.names[index]).name

    def __iter__(self) -> Iterator[np.ndarray]:
        """The masks in order."""
        return map(self.mask, range(len(self)))

    def _sample(self, index: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        picture, _, labels = self.synth.sample(self.synth.w([self.seed + index]))
        return picture, labels


def shown(picture: torch.Tensor) -> np.ndarray:
    """(1, 3, H, W) in [-1, 1] -> uint8 (H, W, 3)."""
    return to_uint8(picture)[0]


# ------------------------------------------------------------------------------------------------------------------- figures


class Styles:
    """The styles of a figure, the seeds from ``seed`` on, and their samples, uint8 (H, W, 3)."""

    def __init__(self, synth: Synthesizer, seed: int, count: int) -> None:
        self.synth = synth
        seeds = range(seed, seed + count)
        self.samples = [shown(synth.sample(synth.w([one]))[0]) for one in seeds]
        self.styles: list[Style] = [synth.make_style(one) for one in seeds]

    def row(self, logits: torch.Tensor, painted: Sequence[DetailInput]) -> list[np.ndarray]:
        """The pictures of a mapper's logits (1, K, h, w) in every style."""
        return [shown(self.synth.render(self.synth.proxy_mask(logits, style, painted), style, painted)) for style in self.styles]

    def sheet(self, rows: Sequence[tuple[Sequence[np.ndarray], Sequence[np.ndarray]]], scale: int) -> Image.Image:
        """The grid of rows of (inputs, pictures), below the samples of the styles."""
        corner = [np.full_like(self.samples[0], 255)] * len(rows[0][0])
        return tile([np.stack([*left, *right]) for left, right in [(corner, self.samples), *rows]], scale, gap=1)


def proxy_masks(styles: Styles, inputs: Inputs, rows: int, scale: int) -> Image.Image:
    """Figure ``proxy``."""
    synth, found = styles.synth, []
    height, width = height_width(synth.size)
    for number in range(inputs.seed, inputs.seed + rows):
        picture, ids, _ = synth.sample(synth.w([number]))
        colors = Image.fromarray(synth.bundle.clusters.colorize(ids[0])).resize((width, height), Image.Resampling.NEAREST)
        made = [shown(synth.render(synth.substitute(ids, style), style)) for style in styles.styles]
        found.append(([shown(picture), np.asarray(colors)], made))
    return styles.sheet(found, scale)


def conditions(styles: Styles, inputs: Inputs, rows: int, scale: int, name: str, weights: Path | None) -> Image.Image:
    """Figure ``condition``."""
    synth, found = styles.synth, []
    kind = synth.condition(name, weights=weights)
    if kind.needs_labels:
        raise ProxymaskError(f"--condition {name} is made of labels: give one that is found in pictures (sketch, edges, hed, depth ...)")
    for index in range(min(rows, len(inputs))):
        picture, logits, painted = from_condition(inputs, kind, index)
        found.append(([picture], styles.row(logits, painted)))
    return styles.sheet(found, scale)


def from_condition(inputs: Inputs, kind: Condition, index: int) -> tuple[np.ndarray, torch.Tensor, tuple[DetailInput, ...]]:
    """One input, by a condition: its picture (H, W, 3), the mapper's logits (1, K, h, w), the input of the detail network."""
    synth = inputs.synth
    if kind.name == "mask":
        mask = inputs.mask(index)
        return colorize(mask, inputs.labels), synth.map(mask[None]), mask_inputs(mask[None])
    mapper, file = synth.bundle.mapper_for(kind.name), inputs.file(kind.name, index)
    if file is not None:
        planes = synth.read_condition(file, kind).planes[None]
    else:
        labels = torch.from_numpy(inputs.mask(index)[None]).long() if kind.needs_labels else None
        planes = synth.extract_condition(kind, inputs.picture(index), labels, torch.Generator().manual_seed(index), mapper).cpu()
    return kind.show(planes)[0], synth.map_planes(planes, mapper), (DetailInput(mapper, planes),)


def random_cases(inputs: Inputs, seed: int, columns: int, scale: int) -> Image.Image:
    """Figure ``random``."""
    synth, draw = inputs.synth, np.random.default_rng(seed)
    chosen = draw.choice(len(inputs), min(columns, len(inputs)), replace=False).tolist()
    seeds = draw.integers(10_000, 100_000, len(chosen)).tolist()
    styles = [synth.make_style(one) for one in seeds]
    rows = [[shown(synth.sample(synth.w([one]))[0]) for one in seeds]]
    for name in sorted({synth.bundle.condition_of(mapper)["condition"] for mapper in synth.bundle.mappers}):
        kind, shows, made = synth.condition(name), [], []
        for index, style in zip(chosen, styles, strict=True):
            picture, logits, painted = from_condition(inputs, kind, index)
            shows.append(picture)
            made.append(shown(synth.render(synth.proxy_mask(logits, style, painted), style, painted)))
        rows += [shows, made]
    shapes = [synth.sample(synth.w([inputs.seed + index]))[:2] for index in chosen]
    rows.append([shown(picture) for picture, _ in shapes])
    rows.append([shown(synth.render(synth.substitute(ids, style), style)) for (_, ids), style in zip(shapes, styles, strict=True)])
    return tile([np.stack(row) for row in rows], scale, gap=1)


def edited_masks(styles: Styles, inputs: Inputs, rows: int, scale: int, edits: Sequence[Edit]) -> Image.Image:
    """Figures ``eyes`` and ``rectangle``: the first masks that every edit has a place in, a row for each edit."""
    synth, labels = styles.synth, inputs.labels
    edited = ([edit(mask, labels) for edit in edits] for mask in inputs)
    fitting = (masks for masks in edited if all(mask is not None for mask in masks))
    found = []
    for mask in islice((mask for masks in fitting for mask in masks if mask is not None), rows):
        found.append(([colorize(mask, labels)], styles.row(synth.map(mask[None]), mask_inputs(mask[None]))))
    if not found:
        raise ProxymaskError("--data has no mask with a place for this figure's edit: give another data set")
    return styles.sheet(found, scale)


def enlarged(picture: np.ndarray, scale: int, wrong: np.ndarray | None = None) -> np.ndarray:
    """A picture (H, W, 3), enlarged; with a red box around the window, a quarter of the picture wide, that has most pixels of ``wrong``
    (H, W)."""
    canvas = Image.fromarray(picture).resize((picture.shape[1] * scale, picture.shape[0] * scale), Image.Resampling.NEAREST)
    if wrong is not None:
        side = wrong.shape[0] // 4
        counts = F.avg_pool2d(torch.from_numpy(wrong)[None, None].float(), side, stride=1)[0, 0].numpy()
        top, left = (scale * int(edge) for edge in np.unravel_index(counts.argmax(), counts.shape))
        corner = (left + scale * side - 1, top + scale * side - 1)
        ImageDraw.Draw(canvas).rectangle((left, top, *corner), outline=(255, 0, 0), width=2)
    return np.asarray(canvas)


def failures(synth: Synthesizer, inputs: Inputs, judge: Judge, seed: int, count: int, columns: int, scale: int) -> Image.Image:
    """Figure ``failures``."""
    labels = inputs.labels
    masks = list(islice(inputs, count))
    score, pictures, readings = SegmentationScore(labels.names), [], []
    for start in range(0, len(masks), BATCH):
        part = masks[start : start + BATCH]
        made = synth(part, list(range(seed + start, seed + start + len(part))), output_type="tensor")
        read, _ = judge.predict(made)
        score.update(read, judge.resized_masks(torch.from_numpy(np.stack(part)).long()))
        pictures += list(to_uint8(made))
        readings += list(F.interpolate(read[:, None].float(), size=made.shape[2:], mode="nearest-exact")[:, 0].numpy().astype(np.uint8))
    each = score.per_picture()
    worst = each.argsort(stable=True)[:columns].tolist()
    of_worst = ", ".join(f"{float(each[number]):.3f}" for number in worst)
    print(f"mean IoU of {len(masks)} pictures: median {float(each.median()):.3f}; of those in the figure: {of_worst}")
    rows = []
    for number in worst:
        wrong = readings[number] != masks[number]
        style = shown(synth.sample(synth.w([seed + number]))[0])
        cells = [colorize(masks[number], labels), pictures[number], colorize(readings[number], labels)]
        mask, picture, reading = (enlarged(cell, scale, wrong) for cell in cells)
        rows.append([mask, enlarged(style, scale), picture, reading])
    return tile([np.stack(column) for column in zip(*rows, strict=True)], gap=scale)


def main() -> None:
    """Make one figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=("proxy", "condition", "eyes", "rectangle", "failures", "random"))
    parser.add_argument("--bundle", default="avatars")
    parser.add_argument("--data", type=Path, help="a data set; without it, the generator's samples")
    parser.add_argument("--out", type=Path, required=True, help="PNG or JPEG")
    parser.add_argument("--seed", type=int, default=1, help="of the first style")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--columns", type=int, default=6, help="styles, failures, or pairs of input and style")
    parser.add_argument("--scale", type=int, help="enlargement; by default pictures are shown at 128 pixels or their own size")
    parser.add_argument("--condition", default="sketch")
    parser.add_argument("--weights", type=Path, help="of the condition's extractor")
    parser.add_argument("--judge", type=Path, help="a judge's folder; by default the first shipped one with these classes")
    parser.add_argument("--count", type=int, default=500, help="masks among which failures are looked for")
    args = parser.parse_args()
    try:
        picture = draw(args)
    except ProxymaskError as error:
        parser.error(error.message)
    picture.save(args.out, quality=90, subsampling=0, optimize=True)
    print(f"{args.out}: {picture.width} x {picture.height}, {args.out.stat().st_size / 1000:.0f} kB")


def draw(args: argparse.Namespace) -> Image.Image:
    """The figure that the arguments describe."""
    synth = Synthesizer.from_pretrained(args.bundle)
    inputs = Inputs(synth, args.data, args.seed + FIRST_INPUT)
    scale = args.scale or max(1, SHOWN // height_width(synth.size)[0])
    if args.figure == "failures":
        folders = [args.judge] if args.judge else shipped_judges(inputs.labels)
        if not folders:
            raise ProxymaskError(f"no judge has the classes of {args.bundle}: give one with --judge (proxymask train judge)")
        return failures(synth, inputs, Judge.load(folders[0]), args.seed, args.count, args.columns, scale)
    if args.figure == "random":
        return random_cases(inputs, args.seed, args.columns, scale)
    styles = Styles(synth, args.seed, args.columns)
    if args.figure == "proxy":
        return proxy_masks(styles, inputs, args.rows, scale)
    if args.figure == "condition":
        return conditions(styles, inputs, args.rows, scale, args.condition, args.weights)
    edits: list[Edit] = [third_eye] if args.figure == "eyes" else [rectangle_in_sky, rectangle_beside_tower]
    return edited_masks(styles, inputs, args.rows, scale, edits)


if __name__ == "__main__":
    main()
