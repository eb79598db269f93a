"""The steps from what a page painted to a picture, run by the thread of :class:`Turns`."""

import io
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..core.threads import inference
from ..imaging.grids import to_uint8
from ..imaging.masks import resize_mask
from ..imaging.pictures import from_pixels
from ..inference.detail_inputs import mask_inputs, reading_inputs
from ..inference.region_styles import attend_by_region, choose_by_region, shrink
from ..inference.style import RegionStyles, Style
from ..models.rearranger import QueryTokens
from .catalogue import CLUSTERS, Catalogue, Model
from .errors import FieldError
from .explain import Painted, cluster_notes, mask_notes, style_notes, substitute_notes
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
    """Pictures of requests, with the bundles of a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def steps(self, request: Drawn, payload: bytes, found: Callable[[Rendered], None]) -> Generator[Pause, None, None]:
        """Render the styles of a request one after the other; ``found`` is given each, and others may go first after each.

        Raises:
            ProxymaskError: what was painted cannot be used.
        """
        begun = time.perf_counter()
        model = self.catalogue.model(request.bundle)
        yield Pause.STEP
        layout, painted, notes = self.layout(model, request, payload)
        yield Pause.STEP
        for index, spec in enumerate(request.styles):
            style = self.style(model, request, spec)
            yield Pause.STEP
            proxy, pixels = yield from self._synthesis(model, layout, painted, style)
            ids = proxy if proxy.ndim == 3 else proxy.argmax(dim=1)
            png = encode_png(from_pixels(pixels))
            ms = round(1e3 * (time.perf_counter() - begun), 1)
            if index == 0:
                model.render_ms = ms
            yield Pause.STEP
            said = [*notes]
            if painted.kind == "mask":
                said += style_notes(model, painted.small, seeds_of_labels(model, request, spec), request.truncation)
            if painted.kind == CLUSTERS:
                said += substitute_notes(painted.small, ids[0].cpu().numpy())
            what = Painted(painted.kind, painted.canvas, painted.small, ids[0].int().cpu().numpy(), pixels)
            found(Rendered(index, png, what, proxy, ms, said))
            yield Pause.REST
            begun = time.perf_counter()

    def _synthesis(
        self, model: Model, layout: torch.Tensor, painted: Painted, style: Style | RegionStyles
    ) -> Generator[Pause, None, tuple[torch.Tensor, np.ndarray]]:
        """The proxy mask, see :attr:`Rendered.planes`, and the picture, uint8 (H, W, C): :meth:`Synthesizer.paint` in its steps."""
        synth = model.synth
        if isinstance(style, Style):
            with torch.inference_mode():
                proxy = synth.substitute(layout, style) if painted.kind == CLUSTERS else synth.proxy_mask(layout, style, painted.inputs)
            yield Pause.STEP
            state = synth.rearrange(proxy, style)
            yield Pause.STEP
            details = synth.details(painted.inputs)
            return proxy, to_uint8(synth.render_rearranged(state, style, details))[0]
        with torch.inference_mode():
            shares = style.weights(torch.from_numpy(painted.small.copy()).to(synth.device))
            grid = shrink(shares, layout.shape[2:])
            proxy = choose_by_region([synth.proxy_mask(layout, one, painted.inputs) for one in style.styles], grid)
        yield Pause.STEP
        with torch.inference_mode():
            state = attend_by_region(synth.rearranger, synth.query_tokens(proxy), style.styles, grid)
        yield Pause.STEP
        with torch.inference_mode():
            details = synth.details(painted.inputs)
            return proxy, to_uint8(style.g2(state, shares, details))[0]

    def layout(self, model: Model, request: Drawn, payload: bytes) -> tuple[torch.Tensor, Painted, list[str]]:
        """The mapper's logits (1, K, h, w) of what was painted, of clusters their ids (1, h, w); what was painted, with nothing rendered
        yet; notes on how it was read.

        Raises:
            ProxymaskError: what was painted cannot be used; the message says why.
        """
        canvas = decode_runs(payload, request.width, request.height)
        kind = model.reads(request.condition)
        nothing = np.zeros((0, 0), np.uint8)
        if kind != "mask" and request.regions:
            raise FieldError("regions: a style for each label needs a mask, which says where the labels are", "regions")
        if kind == CLUSTERS:
            check_clusters(model, canvas)
            small = resize_mask(canvas, model.grid)
            ids = torch.from_numpy(small.astype(np.int64))[None].to(model.synth.device)
            return ids, Painted(kind, canvas, small, nothing, nothing), cluster_notes(canvas, small)
        mapper = model.mapper(request.condition)
        if kind != "mask":
            reading = model.synth.read_condition(canvas, kind, mapper=mapper)
            painted = Painted(kind, canvas, canvas, nothing, nothing, reading_inputs([reading], [mapper]))
            return model.synth.mixed_logits([reading], [mapper]), painted, list(reading.notes)
        labels = model.labels
        if labels is None:
            raise FieldError(f"bundle: {model.name} has no labels, so no mask can be painted for it", "bundle")
        largest = int(canvas.max())
        if largest >= len(labels):
            raise FieldError(f"the mask holds {largest}, and the labels of {model.name} are 0 to {len(labels) - 1}")
        unknown = [int(label) for label in request.regions or {} if int(label) >= len(labels)]
        if unknown:
            raise FieldError(f"regions: {unknown[0]} is no label of {model.name}, which has 0 to {len(labels) - 1}", "regions")
        small = resize_mask(canvas, model.synth.size)
        painted = Painted(kind, canvas, small, nothing, nothing, mask_inputs(small[None], mapper))
        return model.synth.map(small[None], mapper), painted, mask_notes(model, canvas, small)

    def style(self, model: Model, request: Drawn, spec: StyleSpec) -> Style | RegionStyles:
        """The style ``spec``, or with ``regions`` the styles of the labels, where it is that of all others; kept for the next time."""
        main = model.style(spec.seed, request.truncation)
        if not request.regions:
            return main
        seeds = tuple(seeds_of_labels(model, request, spec))
        return model.region_styles(seeds, request.truncation)

    @inference
    def attention(self, request: Drawn, painted: Painted, planes: torch.Tensor, x: float, y: float) -> tuple[np.ndarray, int]:
        """Where the rearranger takes a position of a picture from: its attention over the style sample, uint8 (h, w), 255 at the most; and
        the seed of that sample.

        Args:
            request: that of the picture; its first style counts, and that of the label at the position where it has one.
            painted, planes: see :class:`Rendered`.
            x, y: the position, 0 (left, top) to 1.
        """
        model = self.catalogue.model(request.bundle)
        height, width = model.grid
        cell = min(int(y * height), height - 1) * width + min(int(x * width), width - 1)
        spec = request.styles[0]
        if request.regions:
            rows, columns = painted.small.shape
            label = painted.small[min(int(y * rows), rows - 1), min(int(x * columns), columns - 1)]
            spec = request.regions.get(str(label), spec)
        style = model.style(spec.seed, request.truncation)
        query = model.synth.query_tokens(planes).query[:, cell : cell + 1]
        weights = model.synth.rearranger.attention_map(QueryTokens(query, None), style.kv)[0, 0]
        return (weights / weights.max() * 255).round().to(torch.uint8).cpu().numpy().reshape(height, width), spec.seed


def check_clusters(model: Model, canvas: np.ndarray) -> None:
    """A :class:`FieldError` where a canvas holds ids that are no clusters."""
    largest, count = int(canvas.max()), model.synth.bundle.clusters.num_clusters
    if largest >= count:
        raise FieldError(f"the canvas holds {largest}, and the regions of {model.name} are 0 to {count - 1}")


def seeds_of_labels(model: Model, request: Drawn, spec: StyleSpec) -> list[int]:
    """The seed of the style of each label id, where ``spec`` is that of all labels without one of their own."""
    count = 0 if model.labels is None else len(model.labels)
    regions = {int(label): style.seed for label, style in (request.regions or {}).items()}
    return [regions.get(label, spec.seed) for label in range(count)]


def encode_png(picture: Image.Image, **options: Any) -> bytes:
    """A picture as PNG, quickly written rather than small."""
    out = io.BytesIO()
    picture.save(out, format="PNG", compress_level=1, **options)
    return out.getvalue()
