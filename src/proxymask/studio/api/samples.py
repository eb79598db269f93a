"""Samples of the generator: their pictures, masks and clusters; the example masks of the library."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from ...imaging.mask_files import examples_with
from ...imaging.pictures import from_pixels
from ..catalogue import MOST_PAINTED, Model, palette_picture
from ..errors import NotFoundError
from ..renderer import encode_png
from ..state import Studio, studio_of
from .answers import Psi, Seed, png

router = APIRouter(prefix="/api")


@router.get("/bundles/{name}/samples/{seed}.mask.png", response_class=Response)
async def mask(name: str, seed: Seed, request: Request, truncation: Psi = 1.0) -> Response:
    """Its mask by the bundle's segmenter, at the size of the canvas."""

    def work(model: Model) -> bytes:
        sample = model.sample(seed, truncation)
        if sample.labels is None or model.labels is None:
            raise NotFoundError(f"{model.name} has no segmenter, so its samples have no masks: start from another mask")
        return encode_png(palette_picture(sample.labels, model.labels.colors, model.buffer))

    return png(await studio_of(request).with_model(name, work))


@router.get("/bundles/{name}/samples/{seed}.clusters.png", response_class=Response)
async def clusters(name: str, seed: Seed, request: Request, truncation: Psi = 1.0) -> Response:
    """Its proxy mask, as large as the grid."""

    def work(model: Model) -> bytes:
        found = model.synth.bundle.clusters
        if found.num_clusters > MOST_PAINTED:
            raise NotFoundError(f"{name} has {found.num_clusters} clusters, and a palette has {MOST_PAINTED} colours at most")
        return encode_png(palette_picture(model.sample(seed, truncation).clusters, found.colors()))

    return png(await studio_of(request).with_model(name, work))


@router.get("/bundles/{name}/samples/{seed}.png", response_class=Response)
async def picture(name: str, seed: Seed, request: Request, truncation: Psi = 1.0) -> Response:
    """The generator's own picture."""
    work = studio_of(request).with_model(name, lambda model: encode_png(from_pixels(model.sample(seed, truncation).picture)))
    return png(await work)


@router.get("/bundles/{name}/examples")
async def examples(name: str, request: Request) -> list[dict[str, Any]]:
    """The example masks of the library with the classes of the bundle; none for other classes."""
    found = await _examples(studio_of(request), name)
    base = f"api/bundles/{quote(name, safe='')}/examples"
    return [{"name": example, "url": f"{base}/{example}.png"} for example in found]


@router.get("/bundles/{name}/examples/{example:path}.png", response_class=Response)
async def example(name: str, example: str, request: Request) -> Response:
    """One of them."""
    found = await _examples(studio_of(request), name)
    if example not in found:
        raise NotFoundError(f"no example {example[:80]!r}: there are {', '.join(found) or 'none'}")
    return png(found[example].read_bytes())


async def _examples(studio: Studio, name: str) -> dict[str, Path]:
    """The files of the examples by name; they are read without waiting for pictures that are rendered."""
    labels = studio.catalogue.model(await studio.opened(name)).labels
    folder = None if labels is None else examples_with(labels)
    if folder is None:
        return {}
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.png"))}
