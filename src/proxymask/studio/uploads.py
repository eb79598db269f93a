"""Files that a page sends: their size is checked before they are decoded, and they are read as the library reads files.

What is slow in it runs in a thread of its own, so that painters do not wait for it.
"""

import asyncio
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from ..conditions import Condition
from ..core.errors import ProxymaskError
from ..core.sizes import Size, height_width
from ..imaging.labels import LabelSet
from ..imaging.masks import read_mask_notes, resize_mask
from ..imaging.reader import open_picture, pixel_count
from .errors import FieldError

Result = TypeVar("Result")


class Upload(NamedTuple):
    """An index buffer (H, W) uint8 of the size of the canvas, and notes on how it was read."""

    values: np.ndarray
    notes: list[str]


class Reader:
    """Reads what was sent, one file at a time.

    Args:
        pixels: of a picture that is decoded at all.
    """

    def __init__(self, pixels: int) -> None:
        self._pixels = pixels
        self._thread = ThreadPoolExecutor(1, "proxymask-uploads")

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns, computed in the thread, one call after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def mask(self, data: bytes, name: str, labels: LabelSet, canvas: Size) -> Upload:
        """A mask in any form that :func:`read_mask_notes` takes, at the size of the canvas.

        Raises:
            ProxymaskError: it cannot be used, in the words of :func:`read_mask_notes`.
        """
        with self._file(data, name) as path:
            found = read_mask_notes(path, labels, canvas)
        return Upload(found.ids, [_named(note, path, name) for note in found.notes])

    def drawing(self, data: bytes, name: str, condition: Condition, size: Size, canvas: Size, from_photo: bool) -> Upload:
        """A drawing as its condition reads it, grey: scribbles as label ids with 255 for nothing, others with 255 for white.

        Args:
            condition: how it is read.
            size: at which it is read, see :meth:`Bundle.input_size`.
            canvas: of the result.
            from_photo: it is a photo, from which the drawing is extracted.

        Raises:
            ProxymaskError: it cannot be used, in the words of the condition.
        """
        with self._file(data, name) as path:
            reading = condition.read_photo(path, size) if from_photo else condition.read(path, size)
        planes = reading.planes
        if condition.needs_labels:
            values = np.where(planes.amax(dim=0).numpy() > 0.5, planes.argmax(dim=0).numpy(), 255).astype(np.uint8)
        elif len(planes) == 1:
            values = condition.show(planes[None])[0, :, :, 0]
        else:
            raise FieldError(f"condition: a {condition.name} is in colours, so it cannot be painted: use proxymask generate", "condition")
        large = Image.fromarray(values).resize(height_width(canvas)[::-1], Image.Resampling.NEAREST)
        return Upload(np.asarray(large), [_named(note, path, name) for note in reading.notes])

    def clusters(self, data: bytes, name: str, count: int, canvas: Size) -> Upload:
        """A map of clusters, a picture whose pixel values are their ids, at the size of the canvas.

        Args:
            count: of the clusters.
            canvas: of the result.

        Raises:
            ProxymaskError: a picture in colours, values that are no cluster, another shape.
        """
        with self._file(data, name) as path:
            notes: list[str] = []
            picture = open_picture(path, notes)
            if picture.mode not in ("L", "P"):
                raise ProxymaskError(f"{path} is in colours: a map of regions is a palette or grey picture whose values are their numbers")
            ids = np.asarray(picture)
            if int(ids.max()) >= count:
                raise ProxymaskError(f"{path} holds {int(ids.max())}, and the regions are 0 to {count - 1}: it is of another model")
            return Upload(resize_mask(ids, canvas, str(path)), [_named(note, path, name) for note in notes])

    @contextmanager
    def _file(self, data: bytes, name: str) -> Iterator[Path]:
        """The data as a file in a folder of its own; errors name it as the page did. Only the suffix of ``name`` is used."""
        if not data:
            raise ProxymaskError(f"{name} is empty: choose another file")
        suffix = re.search(r"\.[A-Za-z0-9]{1,8}$", name)
        with tempfile.TemporaryDirectory(prefix="proxymask-") as folder:
            path = Path(folder) / ("upload" + (suffix.group() if suffix else ""))
            path.write_bytes(data)
            images = annotated_images(data) if path.suffix.lower() == ".json" else []
            count = max(pixel_count(path), *images, 0)
            if count > self._pixels:
                raise ProxymaskError(f"{name} has {count:,} pixels, and the studio takes up to {self._pixels:,}: make it smaller")
            if len(images) > 1:
                raise ProxymaskError(f"{name} holds {len(images)} images, and one mask is needed: keep one image in the file")
            try:
                yield path
            except ProxymaskError as error:
                raise ProxymaskError(_named(error.message, path, name)) from None


def annotated_images(data: bytes) -> list[int]:
    """Pixels of each picture that annotations, JSON of labelme or COCO, say they are for; empty where they say none."""
    try:
        stored = json.loads(data)
        images = stored.get("images") or [{"width": stored.get("imageWidth", 0), "height": stored.get("imageHeight", 0)}]
        return [int(image["width"]) * int(image["height"]) for image in images]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):  # said when it is read
        return []


def display_name(name: str) -> str:
    """A file's name as a page gave it, safe to repeat: its last part, without other characters than usual ones."""
    last = re.split(r"[\\/]", name)[-1]
    return re.sub(r"[^\w .()+-]", "?", last)[:80].strip() or "the file"


def _named(text: str, path: Path, name: str) -> str:
    return text.replace(str(path), name)
