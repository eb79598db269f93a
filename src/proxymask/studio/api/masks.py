"""Uploads: masks and drawings."""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from PIL import Image

from ...conditions import Condition
from ...core.sizes import Size
from ...imaging.labels import LabelSet
from ..catalogue import CLUSTERS, Model
from ..errors import FieldError
from ..renderer import encode_png
from ..rle import encode_runs
from ..state import studio_of
from ..uploads import display_name
from .answers import BODY, png

router = APIRouter(prefix="/api")
FileName = Annotated[str, Query(alias="name", max_length=300)]


@router.post("/bundles/{bundle}/mask", openapi_extra=BODY)
async def mask(bundle: str, request: Request, name: FileName = "the mask") -> dict[str, Any]:
    """A mask in any form that the library reads, as runs for the canvas."""
    studio = studio_of(request)

    def needed(model: Model) -> tuple[LabelSet, tuple[int, int]]:
        if model.labels is None:
            raise FieldError(f"{model.name} has no labels, so no mask fits it", "bundle")
        return model.labels, model.buffer

    labels, canvas = await studio.with_model(bundle, needed)
    data = await request.body()
    found = await studio.reader.run(lambda: studio.reader.mask(data, display_name(name), labels, canvas))
    height, width = found.values.shape
    return {"width": width, "height": height, "rle": base64.b64encode(encode_runs(found.values)).decode(), "notes": found.notes}


@router.post("/bundles/{bundle}/drawing", openapi_extra=BODY, response_class=Response)
async def drawing(
    bundle: str,
    request: Request,
    condition: Annotated[str, Query(max_length=200)],
    name: FileName = "the drawing",
    from_photo: bool = False,
) -> Response:
    """A drawing, or with ``from_photo`` a photo, as the grey picture that the canvas of a condition holds; or a map of clusters."""
    studio = studio_of(request)

    def needed(model: Model) -> tuple[Condition | int, Size, tuple[int, int]]:
        kind = model.reads(condition)
        if kind == CLUSTERS:
            return model.synth.bundle.clusters.num_clusters, model.synth.size, model.buffer
        mapper = model.mapper(condition)
        return model.synth.condition(kind, mapper=mapper), model.synth.bundle.input_size(kind, mapper), model.buffer

    reads, size, canvas = await studio.with_model(bundle, needed)
    data, shown = await request.body(), display_name(name)
    if isinstance(reads, Condition):
        found = await studio.reader.run(lambda: studio.reader.drawing(data, shown, reads, size, canvas, from_photo))
    elif from_photo:
        raise FieldError("from_photo: a map of regions is not made from a photo: start from a sample", "from_photo")
    else:
        found = await studio.reader.run(lambda: studio.reader.clusters(data, shown, reads, canvas))
    return png(encode_png(Image.fromarray(found.values)))
