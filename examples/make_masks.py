"""Makes the example masks: palette PNGs of 256x256 whose indices are the label ids of the avatars and of the churches.

    python examples/make_masks.py [FOLDER]

Half of them are exact masks of pictures with seeds that no training set uses (the outlines of the avatars are by Pablo Stanley,
avataaars.com); those in ``free-form/`` are drawn here from plain shapes and look like nothing that the data holds.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from proxymask.data.drawn_dataset import find_art
from proxymask.imaging.labels import LabelSet
from proxymask.imaging.masks import write_mask

SIZE = 256
FROM_DATA = {
    "avatars": {"long-hair": 990001, "glasses": 990010, "beard": 990014, "short-hair": 990015},
    "churches": {"two-towers": 990004, "long-nave": 990007, "broad-tower": 990009, "chapel": 990011},
}


class Painter:
    """Shapes filled with a class, in the order in which they are drawn; (0, 0) is the upper left corner."""

    def __init__(self, labels: LabelSet) -> None:
        self.picture = Image.new("L", (SIZE, SIZE), 0)
        self.draw = ImageDraw.Draw(self.picture)
        self.ids = {label.name: label.id for label in labels.labels}

    def oval(self, name: str, x: float, y: float, rx: float, ry: float) -> None:
        """An ellipse about (x, y)."""
        self.draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=self.ids[name])

    def box(self, name: str, left: float, upper: float, right: float, lower: float, radius: float = 0) -> None:
        """A rectangle, with round corners where ``radius`` is given."""
        self.draw.rounded_rectangle((left, upper, right, lower), radius, fill=self.ids[name])

    def shape(self, name: str, *points: tuple[float, float]) -> None:
        """A polygon."""
        self.draw.polygon(points, fill=self.ids[name])

    def line(self, name: str, *points: tuple[float, float], width: int = 5) -> None:
        """A stroke."""
        self.draw.line(points, fill=self.ids[name], width=width, joint="curve")


class FacePainter(Painter):
    """Parts of an avatar."""

    def body(self, x: float = 128) -> None:
        """Shoulders in a shirt, and a neck."""
        self.oval("clothes", x, 282, 98, 72)
        self.box("skin", x - 27, 150, x + 27, 232, 24)

    def brows(self, y: float, *centres: float) -> None:
        """An eyebrow over each eye."""
        for x in centres:
            self.line("eyebrows", (x - 15, y + 3), (x, y - 3), (x + 15, y + 2))

    def eyes(self, y: float, *centres: float, radius: float = 9) -> None:
        """Round eyes."""
        for x in centres:
            self.oval("eyes", x, y, radius, radius * 0.85)


class ChurchPainter(Painter):
    """Parts of a church, on grass under the sky."""

    def __init__(self, labels: LabelSet) -> None:
        super().__init__(labels)
        self.box("grass", 0, 176, SIZE, SIZE)

    def tower(self, x: float, top: float, ground: float = 208, width: float = 36, spire: float = 44) -> None:
        """A tower with a spire and two windows, its middle at ``x``."""
        half = width / 2
        self.box("tower", x - half, top, x + half, ground)
        self.shape("spire", (x - half - 5, top), (x + half + 5, top), (x, top - spire))
        for y in (top + 16, top + 46):
            self.box("windows", x - 5, y, x + 5, y + 18, 4)

    def tree(self, x: float, y: float, radius: float = 22) -> None:
        """A round tree."""
        self.oval("trees", x, y, radius, radius)

    def door(self, x: float, ground: float = 208) -> None:
        """A door with a path in front of it."""
        self.shape("path", (x - 14, ground), (x + 14, ground), (x + 40, SIZE), (x - 40, SIZE))
        self.box("door", x - 11, ground - 34, x + 11, ground, 6)


def rectangular_head(p: FacePainter) -> None:
    """A head as square as a box, with flat hair."""
    p.body()
    p.box("skin", 66, 44, 190, 186)
    p.box("top", 58, 20, 198, 68)
    p.brows(95, 98, 158)
    p.eyes(111, 98, 158)
    p.box("mouth", 106, 150, 150, 161, 5)


def three_eyes(p: FacePainter) -> None:
    """A third eye in the forehead."""
    p.body()
    p.oval("top", 128, 80, 70, 70)
    p.oval("skin", 128, 114, 56, 74)
    p.brows(98, 101, 155)
    p.eyes(113, 101, 155)
    p.eyes(74, 128, radius=12)
    p.oval("mouth", 128, 158, 18, 8)


def giant_mouth(p: FacePainter) -> None:
    """A mouth that takes half of the face."""
    p.body()
    p.oval("top", 128, 70, 66, 54)
    p.oval("skin", 128, 118, 64, 78)
    p.brows(82, 102, 154)
    p.eyes(98, 102, 154)
    p.oval("mouth", 128, 154, 50, 32)


def half_off_canvas(p: FacePainter) -> None:
    """A head cut by the left edge: one eye, half a mouth."""
    p.body(x=14)
    p.oval("top", 12, 80, 70, 66)
    p.oval("skin", 12, 116, 58, 74)
    p.brows(98, 38)
    p.eyes(113, 38)
    p.oval("mouth", 8, 158, 22, 8)


def long_beard(p: FacePainter) -> None:
    """A beard down to the lower edge, under hair as high as the picture allows."""
    p.body()
    p.oval("top", 128, 66, 92, 66)
    p.oval("skin", 128, 110, 56, 70)
    p.shape("facial_hair", (70, 122), (88, 140), (168, 140), (186, 122), (182, 185), (160, 256), (96, 256), (74, 185))
    p.brows(97, 102, 154)
    p.eyes(112, 102, 154)
    p.oval("mouth", 128, 157, 20, 8)


def rectangle(p: ChurchPainter) -> None:
    """A church as plain as a box."""
    p.tree(26, 168, 24)
    p.box("wall", 62, 92, 194, 208)
    for x in (82, 158):
        p.box("windows", x, 116, x + 16, 150)
    p.door(128)


def three_towers(p: ChurchPainter) -> None:
    """Three towers in front of a wall."""
    p.box("wall", 44, 140, 212, 208)
    for x, top in ((56, 92), (128, 64), (200, 92)):
        p.tower(x, top)
    p.door(128)


def slender_tower(p: ChurchPainter) -> None:
    """A tower without a church, as high as the picture allows."""
    p.oval("hills", 60, 190, 110, 34)
    p.box("grass", 0, 182, SIZE, SIZE)
    p.tower(150, 52, width=28, spire=46)
    p.tree(70, 178, 26)
    p.door(150)


def row_of_trees(p: ChurchPainter) -> None:
    """A small church at the left edge, and trees that grow to the right."""
    p.box("wall", 18, 160, 84, 208)
    p.shape("roof", (10, 160), (92, 160), (51, 120))
    p.door(50)
    for x, radius in ((112, 14), (146, 20), (186, 26), (232, 34)):
        p.tree(x, 206 - radius, radius)


def half_off_the_picture(p: ChurchPainter) -> None:
    """A church cut by the right edge."""
    p.oval("hills", 40, 186, 120, 40)
    p.box("grass", 0, 180, SIZE, SIZE)
    p.box("wall", 170, 128, SIZE, 208)
    p.shape("roof", (158, 130), (196, 84), (SIZE, 84), (SIZE, 130))
    p.tower(166, 84)
    p.tree(60, 176, 20)
    p.door(226)


FREE_FORM: dict[str, tuple[type[Painter], tuple[Callable, ...]]] = {
    "avatars": (FacePainter, (rectangular_head, three_eyes, giant_mouth, half_off_canvas, long_beard)),
    "churches": (ChurchPainter, (rectangle, three_towers, slender_tower, row_of_trees, half_off_the_picture)),
}


def main(folder: Path) -> None:
    """Write every mask below ``folder``."""
    for kind, seeds in FROM_DATA.items():
        art = find_art(kind)
        (folder / kind / "free-form").mkdir(parents=True, exist_ok=True)
        composer = art.composer(SIZE, next(iter(art.framings), None))
        for name, seed in seeds.items():
            write_mask(folder / kind / f"{name}.png", composer.compose(seed, 0).mask, art.labels)
        painter, drawings = FREE_FORM[kind]
        for draw in drawings:
            done = painter(art.labels)
            draw(done)
            write_mask(folder / kind / "free-form" / f"{draw.__name__.replace('_', '-')}.png", np.asarray(done.picture), art.labels)
        art.labels.save(folder / kind / "labels.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "masks")
