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
from ..models.rearranger import QueryTokens
from .catalogue import Catalogue, Model
from .errors import FieldError
from .explain import Painted, mask_notes, style_notes
from .protocol import Drawn, StyleSpec
from .rle import decode_runs
from .turns import Pause


@dataclass
class Rendered:
    """A picture with what it was made of."""

    index: int
    """Of its style in the request."""
    png: bytes
    painted: Painted
    planes: torch.Tensor
    """The proxy mask as the rearranger takes it, ids (1, h, w) or planes (1, K, h, w)."""
    ms: float
    """Time of computing, waiting left out; what all styles share counts for the first."""
    notes: list[str]


class Renderer:
    """Pictures of requests.

    Args:
        catalogue: the bundles.
        style_bytes: memory of the kept styles of a bundle.
    """

    def __init__(self, catalogue: Catalogue, style_bytes: int) -> None:
        self.catalogue, self._style_bytes = catalogue, style_bytes

    def steps(self, request: Drawn, payload: bytes, found: Callable[[Rendered], None]) -> Generator[Pause, None, None]:
        """Render the styles of a request one after the other; ``found`` is given each, and others may go first after each.

        Raises:
            ProxymaskError: what was painted cannot be used.
        """
        begun = time.perf_counter()
        model = self.catalogue.model(request.bundle)
        yield Pause.STEP
        logits, painted, notes = self.logits(model, request, payload)
        yield Pause.STEP
        for index, spec in enumerate(request.styles):
            style = self.style(model, spec, request.truncation)
            yield Pause.STEP
            proxy = model.synth.proxy_mask(logits, style)
            yield Pause.STEP
            state = model.synth.rearrange(proxy, style)
            yield Pause.STEP
            pixels = to_uint8(model.synth.render_rearranged(state, style))[0]
            ids = proxy if proxy.ndim == 3 else proxy.argmax(dim=1)
            png = encode_png(from_pixels(pixels))
            ms = round(1e3 * (time.perf_counter() - begun), 1)
            if index == 0:
                model.render_ms = ms
            yield Pause.STEP
            said = [*notes]
            if painted.kind == "mask":
                said += style_notes(model, painted.small, spec.seed, request.truncation)
            what = Painted(painted.kind, painted.canvas, painted.small, ids[0].to(torch.uint8).cpu().numpy(), pixels)
            found(Rendered(index, png, what, proxy, ms, said))
            yield Pause.REST
            begun = time.perf_counter()

    def logits(self, model: Model, request: Drawn, payload: bytes) -> tuple[torch.Tensor, Painted, list[str]]:
        """The mapper's logits (1, K, h, w) of what was painted; that, with nothing rendered yet; notes on how it was read.

        Raises:
            ProxymaskError: what was painted cannot be used; the message says why.
        """
        if request.regions:
            raise FieldError("regions: a style for each label is not there yet: leave regions out", "regions")
        canvas = decode_runs(payload, request.width, request.height)
        mapper = model.mapper(request.condition)
        kind = str(model.synth.bundle.condition_of(mapper)["condition"])
        nothing = np.zeros((0, 0), np.uint8)
        if kind != "mask":
            reading = model.synth.read_condition(canvas, kind)
            return model.synth.mixed_logits([reading], [mapper]), Painted(kind, canvas, canvas, nothing, nothing), list(reading.notes)
        labels = model.labels
        if labels is None:
            raise FieldError(f"bundle: {model.name} has no labels, so no mask can be painted for it", "bundle")
        largest = int(canvas.max())
        if largest >= len(labels):
            raise FieldError(f"the mask holds {largest}, and the labels of {model.name} are 0 to {len(labels) - 1}")
        small = resize_mask(canvas, model.synth.size)
        return model.synth.map(small[None], mapper), Painted(kind, canvas, small, nothing, nothing), mask_notes(model, canvas, small)

    def style(self, model: Model, spec: StyleSpec, truncation: float) -> Style:
        """A style, kept for the next time."""
        return model.style(spec.seed, truncation, self._style_bytes)

    @torch.inference_mode()
    def attention(self, request: Drawn, planes: torch.Tensor, x: float, y: float) -> np.ndarray:
        """Where the rearranger takes a position of a picture from: its attention over the style sample, uint8 (h, w), 255 at the most.

        Args:
            request: that of the picture; its first style counts.
            planes: see :attr:`Rendered.planes`.
            x, y: the position, 0 (left, top) to 1.
        """
        model = self.catalogue.model(request.bundle)
        height, width = model.grid
        cell = min(int(y * height), height - 1) * width + min(int(x * width), width - 1)
        query = model.synth.query_tokens(planes).query[:, cell : cell + 1]
        style = self.style(model, request.styles[0], request.truncation)
        weights = model.synth.rearranger.attention_map(QueryTokens(query, None), style.kv)[0, 0]
        return (weights / weights.max() * 255).round().to(torch.uint8).cpu().numpy().reshape(height, width)


def encode_png(picture: Image.Image, **options: Any) -> bytes:
    """A picture as PNG, quickly written rather than small."""
    out = io.BytesIO()
    picture.save(out, format="PNG", compress_level=1, **options)
    return out.getvalue()
