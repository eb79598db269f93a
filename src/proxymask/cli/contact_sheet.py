"""The contact sheet of the demonstration: inputs, proxy masks and pictures in a table."""

import dataclasses
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from PIL import Image, ImageDraw

from ..imaging.labels import LabelSet
from ..imaging.pictures import FAINT, INK, PAPER, enlarged, font, legend

CELL, GAP, MARGIN, CAPTION, TITLE = 192, 8, 24, 22, 44  # pixels
STEP = CELL + GAP


@dataclasses.dataclass(frozen=True)
class Row:
    """A mask or another condition, and its pictures."""

    section: str
    """Heading; rows of one section follow each other."""
    name: str
    shown: np.ndarray
    """The mask in its label colours, or the condition as a picture, uint8 (H, W, 3)."""
    proxy: np.ndarray
    """The proxy mask in the clusters' colours, uint8 (h, w, 3)."""
    pictures: list[np.ndarray]
    """One for each style, uint8 (H, W, 3)."""


def contact_sheet(rows: Sequence[Row], seeds: Sequence[int], samples: Sequence[np.ndarray], labels: LabelSet, title: str) -> Image.Image:
    """The sheet: a row for every input (input, proxy mask, a picture for each style) below a row of the styles' own samples, and a legend.

    Args:
        rows: the inputs and their pictures.
        seeds: of the styles.
        samples: the sample of each style, uint8 (H, W, 3).
        labels: classes of the legend.
        title: first line.
    """
    sections = [(name, list(members)) for name, members in groupby(rows, key=lambda row: row.section)]
    width = 2 * MARGIN + (2 + len(seeds)) * STEP - GAP
    key = legend(labels, width - 2 * MARGIN)
    height = 2 * MARGIN + TITLE + (len(rows) + 1) * (STEP + CAPTION) + len(sections) * TITLE + key.height
    sheet = _Sheet(width, height)
    sheet.line(title)
    sheet.samples(seeds, samples)
    for name, members in sections:
        sheet.heading(name)
        for row in members:
            sheet.row(row)
    sheet.picture.paste(key, (MARGIN, sheet.y))
    return sheet.picture


class _Sheet:
    """A sheet that is filled from top to bottom; ``y`` is the first free line of pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.picture = Image.new("RGB", (width, height), PAPER)
        self.draw, self.small, self.large = ImageDraw.Draw(self.picture), font(15), font(22)
        self.y = MARGIN

    def line(self, text: str) -> None:
        self.draw.text((MARGIN, self.y), text, INK, self.large)
        self.y += TITLE

    def heading(self, text: str) -> None:
        self.draw.line((MARGIN, self.y + 2, self.picture.width - MARGIN, self.y + 2), FAINT)
        self.draw.text((MARGIN, self.y + TITLE / 2), text, INK, self.large, anchor="lm")
        self.y += TITLE

    def samples(self, seeds: Sequence[int], samples: Sequence[np.ndarray]) -> None:
        """The titles of the first two columns, and the samples of the styles in the others."""
        for column, text in enumerate(("input", "proxy mask")):
            self.draw.text((MARGIN + column * STEP + CELL / 2, self.y + CELL), text, INK, self.large, anchor="md")
        for column, (seed, sample) in enumerate(zip(seeds, samples, strict=True), start=2):
            self._cell(enlarged(sample, CELL, smooth=True), column, f"style {seed}, its own sample")
        self.y += STEP + CAPTION

    def row(self, row: Row) -> None:
        self._cell(enlarged(row.shown, CELL, smooth=False), 0, row.name)
        self._cell(enlarged(row.proxy, CELL, smooth=False), 1)
        for column, pixels in enumerate(row.pictures, start=2):
            self._cell(enlarged(pixels, CELL, smooth=True), column)
        self.y += STEP + CAPTION

    def _cell(self, picture: Image.Image, column: int, caption: str = "") -> None:
        x = MARGIN + column * STEP
        self.picture.paste(picture, (x, self.y))
        while caption and self.small.getlength(caption) > CELL:
            caption = caption[:-2] + "…"
        self.draw.text((x + CELL / 2, self.y + CELL + CAPTION / 2), caption, FAINT, self.small, anchor="mm")
