"""The steps from what a page painted to a picture, run by the thread of :class:`Turns`."""

import io
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..imaging.grids import to_uint8
from ..imaging.masks import resize_mask
from ..imaging.pictures import from_pixels
from ..inference.style import Style
from .catalogue import Catalogue, Model
from .protocol import FieldError, Render
from .rle import decode_runs
from .turns import Pause


@dataclass
class Rendered:
    """A picture with what it was made of."""

    index: int
    """Of its style in the request."""
    png: bytes
    pixels: np.ndarray
    """uint8 (H, W, C)."""
    proxy: np.ndarray
    """Clusters (h, w) uint8."""
    ms: float
    """Time of computing, waiting left out; what is shared by all styles counts for the first."""
    notes: tuple[str, ...]


class Clock:
    """Adds up the time between :meth:`go` and :meth:`halt`, in milliseconds."""

    def __init__(self) -> None:
        self.ms, self._since = 0.0, time.perf_counter()

    def go(self) -> None:
        self._since = time.perf_counter()

    def halt(self) -> None:
        self.ms += 1e3 * (time.perf_counter() - self._since)


class Renderer:
    """Pictures of requests.

    Args:
        catalogue: the bundles.
        style_bytes: memory of the kept styles of a bundle.
    """

    def __init__(self, catalogue: Catalogue, style_bytes: int) -> None:
        self.catalogue, self._style_bytes = catalogue, style_bytes

    def steps(self, request: Render, payload: bytes, found: Callable[[Rendered], None]) -> Generator[Pause, None, None]:
        """Render the styles of a request one after the other; ``found`` is given each, and others may go first after each.

        Raises:
            ProxymaskError: what was painted cannot be used.
        """
        clock = Clock()

        def pause(kind: Pause = Pause.STEP) -> Generator[Pause, None, None]:
            clock.halt()
            yield kind
            clock.go()

        model = self.catalogue.model(request.bundle)
        yield from pause()
        logits, notes = self.logits(model, request, payload)
        yield from pause()
        for index, spec in enumerate(request.styles):
            style = self.style(model, spec.seed, request.truncation)
            yield from pause()
            proxy = model.synth.proxy_mask(logits, style)
            yield from pause()
            state = model.synth.rearrange(proxy, style)
            yield from pause()
            pixels = to_uint8(model.synth.render_rearranged(state, style))[0]
            ids = proxy if proxy.ndim == 3 else proxy.argmax(dim=1)
            png = encode_png(from_pixels(pixels))
            clock.halt()
            if index == 0:
                model.render_ms = round(clock.ms, 1)
            found(Rendered(index, png, pixels, ids[0].to(torch.uint8).cpu().numpy(), round(clock.ms, 1), notes))
            yield Pause.REST
            clock = Clock()

    def logits(self, model: Model, request: Render, payload: bytes) -> tuple[torch.Tensor, tuple[str, ...]]:
        """The mapper's logits (1, K, h, w) of what was painted, and notes on how it was read.

        Raises:
            ProxymaskError: what was painted cannot be used; the message says why.
        """
        if request.regions:
            raise FieldError("regions: a style for each label is not there yet: leave regions out", "regions")
        painted = decode_runs(payload, request.width, request.height)
        mapper = model.mapper(request.condition)
        kind = str(model.synth.bundle.condition_of(mapper)["condition"])
        if kind == "mask":
            labels = model.labels
            if labels is None:
                raise FieldError(f"bundle: {model.name} has no labels, so no mask can be painted for it", "bundle")
            largest = int(painted.max())
            if largest >= len(labels):
                raise FieldError(f"the mask holds {largest}, and the labels of {model.name} are 0 to {len(labels) - 1}")
            return model.synth.map(resize_mask(painted, model.synth.size)[None], mapper), ()
        reading = model.synth.read_condition(painted, kind)
        return model.synth.mixed_logits([reading], [mapper]), reading.notes

    def style(self, model: Model, seed: int, truncation: float) -> Style:
        """A style, kept for the next time."""
        return model.style(seed, truncation, self._style_bytes)


def encode_png(picture: Image.Image, **options: Any) -> bytes:
    """A picture as PNG, quickly written rather than small."""
    out = io.BytesIO()
    picture.save(out, format="PNG", compress_level=1, **options)
    return out.getvalue()


def check_frame_size(request: Render, pixels: int) -> None:
    """A :class:`FieldError` where the buffer of a request is larger than ``pixels``."""
    if request.width * request.height > pixels:
        raise FieldError(f"width: {request.width}x{request.height} is more than {pixels} pixels: paint on a smaller canvas", "width")
