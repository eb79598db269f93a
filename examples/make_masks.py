"""Makes the example masks: palette PNGs of 256x256 whose indices are the label ids of the avatars.

    python examples/make_masks.py [FOLDER]

Half of them are exact masks of avatars with seeds that no training set uses (the drawings' outlines are by Pablo Stanley,
avataaars.com); those in ``free-form/`` are drawn here from plain shapes and look like nothing that the data holds.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from proxymask.data.avatars import AVATAR_LABELS, AvatarComposer
from proxymask.imaging.masks import write_mask

SIZE = 256
FROM_DATA = {"long-hair": 990001, "glasses": 990010, "beard": 990014, "short-hair": 990015}
ID = {label.name: label.id for label in AVATAR_LABELS.labels}


class Painter:
    """Shapes filled with a class, in the order in which they are drawn; (0, 0) is the upper left corner."""

    def __init__(self) -> None:
        self.picture = Image.new("L", (SIZE, SIZE), ID["background"])
        self.draw = ImageDraw.Draw(self.picture)

    def oval(self, name: str, x: float, y: float, rx: float, ry: float) -> None:
        """An ellipse about (x, y)."""
        self.draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=ID[name])

    def box(self, name: str, left: float, upper: float, right: float, lower: float, radius: float = 0) -> None:
        """A rectangle, with round corners where ``radius`` is given."""
        self.draw.rounded_rectangle((left, upper, right, lower), radius, fill=ID[name])

    def shape(self, name: str, *points: tuple[float, float]) -> None:
        """A polygon."""
        self.draw.polygon(points, fill=ID[name])

    def line(self, name: str, *points: tuple[float, float], width: int = 5) -> None:
        """A stroke."""
        self.draw.line(points, fill=ID[name], width=width, joint="curve")

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


def rectangular_head(p: Painter) -> None:
    """A head as square as a box, with flat hair."""
    p.body()
    p.box("skin", 66, 44, 190, 186)
    p.box("top", 58, 20, 198, 68)
    p.brows(95, 98, 158)
    p.eyes(111, 98, 158)
    p.box("mouth", 106, 150, 150, 161, 5)


def three_eyes(p: Painter) -> None:
    """A third eye in the forehead."""
    p.body()
    p.oval("top", 128, 80, 70, 70)
    p.oval("skin", 128, 114, 56, 74)
    p.brows(98, 101, 155)
    p.eyes(113, 101, 155)
    p.eyes(74, 128, radius=12)
    p.oval("mouth", 128, 158, 18, 8)


def giant_mouth(p: Painter) -> None:
    """A mouth that takes half of the face."""
    p.body()
    p.oval("top", 128, 70, 66, 54)
    p.oval("skin", 128, 118, 64, 78)
    p.brows(82, 102, 154)
    p.eyes(98, 102, 154)
    p.oval("mouth", 128, 154, 50, 32)


def half_off_canvas(p: Painter) -> None:
    """A head cut by the left edge: one eye, half a mouth."""
    p.body(x=14)
    p.oval("top", 12, 80, 70, 66)
    p.oval("skin", 12, 116, 58, 74)
    p.brows(98, 38)
    p.eyes(113, 38)
    p.oval("mouth", 8, 158, 22, 8)


def long_beard(p: Painter) -> None:
    """A beard down to the lower edge, under hair as high as the picture allows."""
    p.body()
    p.oval("top", 128, 66, 92, 66)
    p.oval("skin", 128, 110, 56, 70)
    p.shape("facial_hair", (70, 122), (88, 140), (168, 140), (186, 122), (182, 185), (160, 256), (96, 256), (74, 185))
    p.brows(97, 102, 154)
    p.eyes(112, 102, 154)
    p.oval("mouth", 128, 157, 20, 8)


FREE_FORM: tuple[Callable[[Painter], None], ...] = (rectangular_head, three_eyes, giant_mouth, half_off_canvas, long_beard)


def main(folder: Path) -> None:
    """Write every mask below ``folder``."""
    (folder / "free-form").mkdir(parents=True, exist_ok=True)
    composer = AvatarComposer(SIZE, "head")
    for name, seed in FROM_DATA.items():
        write_mask(folder / f"{name}.png", composer.compose(seed, 0).mask, AVATAR_LABELS)
    for draw in FREE_FORM:
        painter = Painter()
        draw(painter)
        write_mask(folder / "free-form" / f"{draw.__name__.replace('_', '-')}.png", np.asarray(painter.picture), AVATAR_LABELS)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "masks")
