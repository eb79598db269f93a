"""Keeping pictures and masks as PNG files that say what they were made from."""

from collections.abc import Generator

from fastapi import APIRouter, Request, Response
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...core.text import without_controls
from ...core.version import __version__
from ..catalogue import CLUSTERS, Model, licence, palette_picture
from ..errors import FieldError
from ..projects import Kept
from ..protocol import check_canvas, decode_frame, read_header
from ..renderer import Rendered, check_clusters, encode_png
from ..rle import decode_runs
from ..state import PAGES, Studio, studio_of
from ..turns import Pause, compute
from .answers import FRAME, png

router = APIRouter(prefix="/api/keep")


@router.post("/picture", openapi_extra=FRAME, response_class=Response)
async def picture(request: Request) -> Response:
    """The picture of a render request in its first style; the text fields name bundle, seeds, licence and version."""
    studio = studio_of(request)
    kept, payload = await _kept(studio, request)
    first = kept.model_copy(update={"styles": kept.styles[:1]})
    found: list[Rendered] = []

    def steps() -> Generator[Pause, None, bytes]:
        yield from studio.renderer.steps(first, payload, found.append)
        model = studio.catalogue.model(kept.bundle)
        yield Pause.STEP
        return encode_png(Image.fromarray(found[0].painted.pixels.squeeze()), pnginfo=text_fields(model, first))

    return png(await compute(studio.turns, PAGES, steps))


@router.post("/mask", openapi_extra=FRAME, response_class=Response)
async def mask(request: Request) -> Response:
    """What was painted, as a palette PNG whose indices are the ids of labels or clusters; a drawing is a grey PNG."""
    studio = studio_of(request)
    kept, payload = await _kept(studio, request)

    def work(model: Model) -> bytes:
        canvas = decode_runs(payload, kept.width, kept.height)
        kind, fields = model.reads(kept.condition), text_fields(model, kept)
        if kind == CLUSTERS:
            check_clusters(model, canvas)
            return encode_png(palette_picture(canvas, model.synth.bundle.clusters.colors()), pnginfo=fields)
        if kind not in ("mask", "scribble") or model.labels is None:
            return encode_png(Image.fromarray(canvas), pnginfo=fields)
        unknown = canvas[(canvas >= len(model.labels)) & ((canvas != 255) | (kind == "mask"))]
        if unknown.size:
            raise FieldError(f"the mask holds {int(unknown[0])}, and the labels of {model.name} are 0 to {len(model.labels) - 1}")
        return encode_png(palette_picture(canvas, model.labels.colors), pnginfo=fields)

    return png(await studio.with_model(kept.bundle, work))


async def _kept(studio: Studio, request: Request) -> tuple[Kept, bytes]:
    frame = decode_frame(await request.body())
    kept = read_header(Kept, frame.header)
    check_canvas(kept.width, kept.height, studio.config.limits.canvas_pixels)
    await studio.opened(kept.bundle)
    return kept, frame.payload


def text_fields(model: Model, kept: Kept) -> PngInfo:
    """The text fields of a PNG: what it was made with, and under which licence the weights are."""
    fields = PngInfo()
    said = {
        "Software": f"proxymask {__version__}",
        "Bundle": f"{model.name} (SHA-256 of bundle.json: {model.digest})",
        "Condition": kept.condition,
        "Seeds": ", ".join(str(style.seed) for style in kept.styles),
        "Truncation": str(kept.truncation),
        "Licence": licence(model.synth.bundle.about),
    }
    if kept.regions:
        names = [] if model.labels is None else model.labels.names
        each = sorted((int(label), style.seed) for label, style in kept.regions.items())
        said["Seeds of labels"] = ", ".join(f"{names[label] if label < len(names) else label}: {seed}" for label, seed in each)
    for name, text in said.items():
        fields.add_text(name, without_controls(text))
    return fields
