"""Masks from COCO's JSON (instances): the polygons and run-length codes of one of its images."""

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import ProxymaskError
from ..labels import LabelSet
from .annotations import MAX_SHAPES, Canvas, Names, short, whole
from .notes import Notes, listed

SEPARATOR = "#"  # annotations.json#NAME is one image of a file


def is_coco(stored: Any) -> bool:
    """Whether JSON holds the annotations of images."""
    return isinstance(stored, dict) and all(isinstance(stored.get(key), list) for key in ("images", "annotations"))


def image_names(stored: dict[str, Any], name: str) -> list[str]:
    """The file names of the images, or their ids where they have none, in the order of the file.

    Raises:
        ProxymaskError: damaged entries, or two images of one name.
    """
    names = []
    for number, image in enumerate(stored["images"]):
        if not isinstance(image, dict) or not isinstance(image.get("id"), int | str):
            raise ProxymaskError(f"{name}: image {number} has no id")
        names.append(str(image.get("file_name") or image["id"]))
        if not names[-1].isprintable():
            raise ProxymaskError(f"{name}: the name of image {number} has characters that cannot be printed: rename it")
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise ProxymaskError(f"{name} has two images called {short(twice)}: rename one")
    return names


def from_coco(stored: dict[str, Any], image: str | None, labels: LabelSet, notes: Notes) -> np.ndarray:
    """Ids, uint8 (H, W), of an image; class 0 where no annotation is. Later annotations cover earlier ones.

    Args:
        stored: the JSON.
        image: file name, its stem, or id of the image; None: the only one.
        labels: the classes, matched with the names of the categories.
        notes: hold the name of the file.

    Raises:
        ProxymaskError: no such image, categories of no class, damaged annotations, a panoptic file.
    """
    about = _choose(stored, image, notes.name)
    if any(isinstance(one, dict) and "segments_info" in one for one in stored["annotations"][:1]):
        raise ProxymaskError(f"{notes.name} is a panoptic COCO file, whose masks are PNGs of their own: give the instances file")
    if not isinstance(stored.get("categories"), list):
        raise ProxymaskError(f"{notes.name} has no categories: it is no COCO instances file")
    categories = {
        one["id"]: one.get("name") for one in stored["categories"] if isinstance(one, dict) and isinstance(one.get("id"), int | str)
    }
    mine = [one for one in stored["annotations"] if isinstance(one, dict) and one.get("image_id") == about["id"]]
    if len(mine) > MAX_SHAPES:
        raise ProxymaskError(f"{notes.name} has {len(mine):,} annotations for one image: up to {MAX_SHAPES:,} are read")
    names, canvas = Names(labels, {}), Canvas(about.get("width"), about.get("height"), notes.name)
    chosen = []
    for one in mine:
        category = one.get("category_id")
        known = isinstance(category, int | str) and category in categories
        chosen.append(names.find(categories[category] if known else f"category {short(category)}"))
    names.check(notes.name, "categories")
    boxes = 0
    for label, one in zip(chosen, mine, strict=True):
        what = f"annotation {short(one.get('id'))}"
        if not one.get("segmentation"):
            boxes += 1
        elif label is not None:
            _put(one["segmentation"], label, canvas, what)
    if boxes:
        notes.say(f"{boxes} of its {len(mine)} annotations have a box but no outline and were left out")
    canvas.say(notes)
    return canvas.ids


def _choose(stored: dict[str, Any], image: str | None, name: str) -> dict[str, Any]:
    names = image_names(stored, name)
    if not names:
        raise ProxymaskError(f"{name} lists no images")
    if image is None:
        if len(names) > 1:
            raise ProxymaskError(f"{name} holds {len(names)} images: name one, as in {Path(name).name}{SEPARATOR}{short(names[0])[1:-1]}")
        return stored["images"][0]
    ids = [str(one["id"]) for one in stored["images"]]
    for known in (names, ids, [Path(one).name for one in names], [Path(one).stem for one in names]):
        if known.count(image) == 1:
            return stored["images"][known.index(image)]
    raise ProxymaskError(f"{name} has no image {short(image)}: it has {listed([short(one)[1:-1] for one in names])}")


def _put(segmentation: Any, label: int, canvas: Canvas, what: str) -> None:
    """Draw an annotation."""
    if isinstance(segmentation, dict):
        canvas.put(label, run_lengths(segmentation, canvas.ids.shape, f"{canvas.name}: {what}"))
        return
    if not isinstance(segmentation, list) or not all(isinstance(one, list) for one in segmentation):
        raise ProxymaskError(f"{canvas.name}: {what} has a segmentation that is no list of polygons and no run-length code")
    polygons = []
    for flat in segmentation:
        if len(flat) % 2:
            raise ProxymaskError(f"{canvas.name}: {what} has a polygon of {len(flat)} numbers: x and y come in pairs")
        points = canvas.coordinates([flat[i : i + 2] for i in range(0, len(flat), 2)], f"{what}, a polygon,", 3)
        polygons.append(points - 0.5)  # COCO counts from the corner of a pixel, Pillow from its centre
    canvas.polygons(label, polygons)


def run_lengths(code: dict[str, Any], shape: tuple[int, ...], what: str) -> np.ndarray:
    """Decode COCO's run lengths, plain or compressed: bool (H, W).

    They alternate between off and on, begin with off, and go down the columns.
    """
    height, width = shape
    counts, size = code.get("counts"), code.get("size")
    if size != [height, width]:
        raise ProxymaskError(f"{what} has a run-length code of size {short(size)}, its image {[height, width]}")
    if isinstance(counts, str):
        counts = _uncompressed(counts, what)
    if not isinstance(counts, list) or not whole(counts) or sum(counts) != height * width:
        raise ProxymaskError(f"{what} has a run-length code that does not fill its {width}x{height} pixels")
    values = (np.arange(len(counts)) % 2).astype(bool)
    return np.repeat(values, np.array(counts, dtype=np.int64)).reshape(width, height).T


def _uncompressed(text: str, what: str) -> list[int]:
    """The run lengths in COCO's text: 5 bits a character, lowest first; from the fourth on, less the one before the last."""
    counts: list[int] = []
    at = 0
    while at < len(text):
        value, bits, more = 0, 0, True
        while more:
            piece = ord(text[at]) - 48 if at < len(text) else -1
            if not 0 <= piece < 64 or bits > 50:
                raise ProxymaskError(f"{what} has a run-length code with damaged text")
            value |= (piece & 31) << bits
            more = bool(piece & 32)
            at, bits = at + 1, bits + 5
            if not more and piece & 16:
                value -= 1 << bits
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts
