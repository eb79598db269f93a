"""A mask as a folder of black-and-white files, one for each class, named after it.

Shapes: H x W the size of the mask.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ...core.errors import ProxymaskError
from ..labels import LabelSet
from ..reader import DEEP_MODES, SUFFIXES, opacity, open_picture, to_rgba
from .coded import HALF
from .notes import Notes, percent

INK = 32  # range of each channel up to which visible pixels are ink of one colour


def is_mask_file(file: Path) -> bool:
    """Whether a file in a folder is taken as a picture: by its suffix, hidden ones left out."""
    return not file.name.startswith(".") and file.suffix.lower() in SUFFIXES and not os.path.isdir(file)


def from_folder(folder: Path, labels: LabelSet, notes: Notes) -> np.ndarray:
    """Ids, uint8 (H, W). Files that are no pictures are left out. Where classes overlap, the higher id is used, with a note.

    Raises:
        ProxymaskError: no picture, one that is named after no class, two for one class, or pictures of different sizes.
    """
    files: dict[int, Path] = {}
    for file in sorted(entry for entry in folder.iterdir() if is_mask_file(entry)):
        label = labels.find(file.stem)
        if label is None:
            raise ProxymaskError(f"{file} is named after no class: use {', '.join(labels.names)} or their ids")
        if label.id in files:
            raise ProxymaskError(f"{folder} has two files for {label.name}, {files[label.id].name} and {file.name}: keep one")
        files[label.id] = file
    if not files:
        raise ProxymaskError(f"{folder} holds no mask files: one black-and-white PNG a class, named after it")
    read: dict[int, OneClass] = {}
    for i, file in sorted(files.items()):
        own = Notes(str(file), notes.strict)
        read[i] = read_class(open_picture(file, own.texts), own)
        notes.texts += [f"{file.name}: {text}" for text in own.texts]
        first = next(iter(read.values())).shape
        if read[i].shape != first:
            raise ProxymaskError(f"{file} is {read[i].shape[1]}x{read[i].shape[0]}, the others {first[1]}x{first[0]}")
    return _joined(read, files, labels, notes)


class OneClass(NamedTuple):
    """Where a class is: ``bits``, packed; ``shape`` (H, W); ``low``, ``top``: smallest and largest value, of ``full`` in its format."""

    bits: np.ndarray
    shape: tuple[int, ...]
    low: int
    top: int
    full: int

    @property
    def ones(self) -> bool:
        """Whether the file holds 0 and 1 only, where larger values could be."""
        return self.top == 1 and self.full > 1


def _joined(read: dict[int, OneClass], files: dict[int, Path], labels: LabelSet, notes: Notes) -> np.ndarray:
    shape = next(iter(read.values())).shape
    mask, painted = np.zeros(shape, dtype=np.uint8), np.zeros(shape, dtype=bool)
    ones = [i for i, one in read.items() if one.ones]
    bright = [i for i, one in read.items() if one.top > 1]
    dark = [i for i in ones if bright and read[i].low == 1]  # an absent class, stored as nearly black
    if dark:
        top = max(read[i].top for i in bright)
        notes.say(f"{_names(files, dark)}: all values are 1, and those of other files go up to {top}: off all over")
    if set(ones) - set(dark):
        notes.say(f"{_names(files, [i for i in ones if i not in dark])}: values are 0 and 1 only, read as off and on")
    overlap, found = 0, False
    for i, one in read.items():
        if i in dark:
            continue
        inside = np.unpackbits(one.bits, count=mask.size).reshape(shape).astype(bool)
        overlap += int(np.count_nonzero(painted & inside))
        found = found or bool(inside.any())
        painted |= inside
        mask[inside] = i
    if overlap:
        notes.say(
            f"its files overlap in {percent(overlap, mask.size)} of the pixels ({overlap:,}): the class with the higher id is used there"
        )
    if not found:
        notes.say(f"none of its files has a bright or painted part: it is class 0 ({labels.names[0]}) all over")
    return mask


def _names(files: dict[int, Path], which: list[int]) -> str:
    return ", ".join(files[i].name for i in which)


def read_class(picture: Image.Image, notes: Notes) -> OneClass:
    """Where a black-and-white picture is on: at least half of the range of its format; with no value above 1, at 1.

    Drawn in ink of one colour on a transparent ground, it is on where it is painted, whatever the colour.
    """
    alpha = opacity(picture)
    painted = None if alpha is None else alpha >= HALF
    values, full = _brightness(picture, notes.name)
    if painted is not None and painted.any() and _is_ink(picture, painted):
        if int(values[painted].max(initial=0)) < full / 2:
            notes.say("it is dark ink on a transparent ground: on where it is painted")
        return OneClass(np.packbits(painted), painted.shape, 0, full, full)
    if painted is not None:
        values = np.where(painted, values, 0)
    top = int(values.max())
    if full > 255 and 128 <= top <= 255:
        notes.say(f"it has 16 bits but its largest value is {top}: read as 0 to 255")
        full = 255
    inside = values == 1 if top == 1 else values > full / 2
    if top > 1 and not inside.any():
        notes.say(f"its largest value is {top} of {full}, less than half: off all over")
    return OneClass(np.packbits(inside), inside.shape, int(values.min()), top, full)


def is_two_valued(picture: Image.Image) -> bool:
    """Whether a picture may be one class, black and white: few pixels lie between its darkest and its brightest value."""
    if picture.mode == "F":
        return False
    values, full = _brightness(picture, "")
    top = int(values.max())
    between = np.count_nonzero((values > top / 8) & (values < top * 7 / 8)) if top > 1 else 0
    return bool(between <= 0.02 * values.size and (top <= 1 or top > full / 2))


def _brightness(picture: Image.Image, name: str) -> tuple[np.ndarray, int]:
    """The brightest channel of each pixel (H, W), and the largest value of the format."""
    if picture.mode == "F":
        raise ProxymaskError(f"{name} holds numbers with fractions (mode F): a file of a class is black and white")
    if picture.mode == "1":
        return np.asarray(picture).astype(np.uint8), 1
    if picture.mode in DEEP_MODES:
        return np.asarray(picture), 65535
    if picture.mode == "L":
        return np.asarray(picture), 255
    rgba = to_rgba(picture)
    values = np.asarray(rgba.getchannel(0))
    for channel in (1, 2):
        values = np.maximum(values, np.asarray(rgba.getchannel(channel)))
    return values, 255


def _is_ink(picture: Image.Image, painted: np.ndarray) -> bool:
    """Whether the painted pixels are nearly of one colour."""
    rgba = to_rgba(picture)
    for channel in range(3):
        values = np.asarray(rgba.getchannel(channel))[painted]
        if int(values.max()) - int(values.min()) > INK:
            return False
    return True
