"""Label sets, the samples to label, and trainings."""

from collections.abc import Generator
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from ...core.errors import ProxymaskError
from ...imaging.labels import LabelSet
from ...imaging.masks import resize_mask
from ..catalogue import MOST_PAINTED, Model, palette_picture
from ..errors import NotFoundError
from ..labelling.proposals import proposals, sample_choice
from ..protocol import decode_frame, encode_frame
from ..renderer import encode_png
from ..rle import decode_runs, encode_runs
from ..state import studio_of
from ..turns import Pause
from .answers import Seed, png

router = APIRouter(prefix="/api/labelling")
Identity = Annotated[str, Path(max_length=40)]
Name = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]+$")]


class OneLabel(BaseModel):
    """A label: its name, its colour, and the id that it had before."""

    model_config = ConfigDict(extra="forbid")
    name: Name
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
    was: Annotated[int, Field(ge=0, le=254)] | None = None


Labels = Annotated[list[OneLabel], Field(min_length=2, max_length=255)]


class NewSet(BaseModel):
    """A new label set."""

    model_config = ConfigDict(extra="forbid")
    name: Name
    bundle: Annotated[str, Field(max_length=100)]
    labels: Labels


class ChangedSet(BaseModel):
    """Another name or other labels."""

    model_config = ConfigDict(extra="forbid")
    name: Name | None = None
    labels: Labels | None = None
    version: Annotated[str, Field(max_length=64)] | None = None
    """Of the set that the labels were changed from."""


class MaskSize(BaseModel):
    """Header of a mask."""

    model_config = ConfigDict(extra="forbid")
    width: Annotated[int, Field(ge=1, le=8192, strict=True)]
    height: Annotated[int, Field(ge=1, le=8192, strict=True)]
    version: Annotated[str, Field(max_length=64)] | None = None
    """Of the set whose label ids it holds."""
    editor: Annotated[str, Field(max_length=64)] | None = None
    """A name for the work of one page on the sample, new whenever it opens it."""
    after: Annotated[str, Field(max_length=64)] | None = None
    """The ``editor`` of the mask that it began with."""


class NewJob(BaseModel):
    """A training to start."""

    model_config = ConfigDict(extra="forbid")
    name: Name
    steps_scale: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] = 1.0


def label_set(labels: list[OneLabel]) -> LabelSet:
    """Labels as the library has them; a :class:`~proxymask.core.errors.ProxymaskError` where a name or colour is there twice."""
    return LabelSet.of([(one.name.strip(), one.color.lower()) for one in labels])


@router.get("")
def everything(request: Request) -> dict[str, Any]:
    """All label sets and trainings."""
    studio = studio_of(request)
    return {
        "workspace": str(studio.workspace.root),
        "sets": [one.about() for one in studio.workspace.sets()],
        "jobs": studio.jobs.list(),
    }


@router.post("/sets", status_code=201)
async def create(body: NewSet, request: Request) -> dict[str, Any]:
    """Make a label set for samples of a bundle's generator."""
    studio, labels = studio_of(request), label_set(body.labels)
    generator = await studio.with_model(body.bundle, lambda model: model.generator)
    return studio.workspace.create(body.name, body.bundle, generator, labels).about()


@router.get("/sets/{identity}")
def one(identity: Identity, request: Request) -> dict[str, Any]:
    """A label set."""
    return studio_of(request).workspace.open(identity).about()


@router.patch("/sets/{identity}")
def change(identity: Identity, body: ChangedSet, request: Request) -> dict[str, Any]:
    """Rename a label set, or change its labels; masks follow (``was``)."""
    labels, former = None, None
    if body.labels is not None:
        labels, former = label_set(body.labels), [label.was for label in body.labels]
    return studio_of(request).workspace.change(identity, body.name, labels, former, body.version).about()


@router.delete("/sets/{identity}")
def remove(identity: Identity, request: Request) -> dict[str, Any]:
    """Put a label set aside; its files are kept under another name."""
    studio_of(request).workspace.remove(identity)
    return {"removed": identity}


@router.get("/sets/{identity}/proposals")
async def next_samples(identity: Identity, request: Request, count: Annotated[int, Query(ge=1, le=48)] = 12) -> list[dict[str, Any]]:
    """The samples to label next, each with the reason."""
    studio = studio_of(request)
    found = studio.workspace.open(identity)

    def choose(model: Model) -> Generator[Pause, None, Any]:
        found.check_model(model)
        if model.choice is None:
            model.choice = yield from sample_choice(model)
        return model.choice

    return proposals(await studio.with_steps(found.bundle, choose), found.samples(), count)


@router.get("/sets/{identity}/samples/{seed}/mask.png", response_class=Response)
def mask(identity: Identity, seed: Seed, request: Request) -> Response:
    """The mask of a labelled sample: a palette PNG whose indices are the label ids."""
    found = studio_of(request).workspace.open(identity)
    return png(encode_png(palette_picture(found.mask(seed), found.labels.colors)))


@router.get("/sets/{identity}/samples/{seed}", response_class=Response)
async def sample(identity: Identity, seed: Seed, request: Request) -> Response:
    """What is needed to label a sample: a frame. The header names the parts and their sizes; the payload has each as runs.

    ``mask``: its labels, where it is labelled; ``clusters``: the proxy mask; ``model``: what the bundle's own segmenter reads, where the
    bundle has the labels of the set. The header's ``editor``: who labelled it last, for ``after`` of :class:`MaskSize`.
    """
    studio = studio_of(request)
    found = studio.workspace.open(identity)

    def work(model: Model) -> dict[str, np.ndarray]:
        found.check_model(model)
        made = model.sample(seed, 1.0)
        parts = {"clusters": fewer_clusters(made.clusters)}
        if made.labels is not None and model.labels is not None and model.labels.names == found.labels.names:
            parts["model"] = resize_mask(made.labels, model.buffer)
        return parts

    parts = await studio.with_model(found.bundle, work)
    editor = None
    if seed in found.samples():
        parts["mask"], editor = found.mask(seed), found.editor(seed)
    payloads = {name: encode_runs(ids) for name, ids in parts.items()}
    header = {name: {"height": ids.shape[0], "width": ids.shape[1], "bytes": len(payloads[name])} for name, ids in parts.items()}
    return Response(
        encode_frame({"seed": seed, "editor": editor, "parts": header}, b"".join(payloads.values())), media_type="application/octet-stream"
    )


def fewer_clusters(ids: np.ndarray) -> np.ndarray:
    """Clusters (h, w) as uint8. Larger ids are numbered anew, the most frequent first; those after the 255th share a number."""
    if ids.max() < MOST_PAINTED:
        return ids.astype(np.uint8)
    _, kinds, counts = np.unique(ids, return_inverse=True, return_counts=True)
    ranks = np.argsort(np.argsort(-counts, kind="stable"))
    return np.minimum(ranks, MOST_PAINTED - 1).astype(np.uint8)[kinds].reshape(ids.shape)


@router.put("/sets/{identity}/samples/{seed}/mask")
async def write(identity: Identity, seed: Seed, request: Request) -> dict[str, Any]:
    """Keep the mask of a sample: a frame with the header :class:`MaskSize` and runs."""
    studio = studio_of(request)
    found = studio.workspace.open(identity)
    frame = decode_frame(await request.body())
    size = MaskSize.model_validate(frame.header)
    if size.width * size.height > studio.config.limits.pixels:
        raise ProxymaskError(f"the mask is {size.width}x{size.height}: at most {studio.config.limits.pixels:,} pixels")
    ids = decode_runs(frame.payload, size.width, size.height)
    about = (size.version, size.editor, size.after)
    await studio.with_model(found.bundle, lambda model: studio.workspace.write_mask(identity, seed, ids, model, *about))
    return studio.workspace.open(identity).about()


@router.delete("/sets/{identity}/samples/{seed}")
def unlabel(identity: Identity, seed: Seed, request: Request) -> dict[str, Any]:
    """Put the mask of a sample aside."""
    studio = studio_of(request)
    studio.workspace.remove_mask(identity, seed)
    return studio.workspace.open(identity).about()


@router.post("/sets/{identity}/train", status_code=201)
async def train(identity: Identity, body: NewJob, request: Request) -> dict[str, Any]:
    """Train a segmenter, a mapper and a detail network on a label set, in the background."""
    studio = studio_of(request)
    found = studio.workspace.open(identity)
    source = str(studio.catalogue.source(found.bundle))
    if body.name in studio.catalogue.names():
        raise ProxymaskError(f"name: there is a bundle {body.name} already: give another name")
    await studio.with_model(found.bundle, found.check_model)
    return studio.jobs.add(found, body.name, source, body.steps_scale)


@router.get("/jobs")
async def jobs(request: Request) -> list[dict[str, Any]]:
    """All trainings, the newest first."""
    return studio_of(request).jobs.list()


@router.post("/jobs/{identity}/stop")
def stop(identity: Identity, request: Request) -> dict[str, Any]:
    """Stop a training; it can be resumed."""
    return studio_of(request).jobs.stop(identity)


@router.post("/jobs/{identity}/resume")
async def resume(identity: Identity, request: Request) -> dict[str, Any]:
    """Go on with a training that was stopped or failed."""
    return studio_of(request).jobs.resume(identity)


@router.get("/jobs/{identity}/preview.png", response_class=Response)
async def preview(identity: Identity, request: Request) -> Response:
    """The newest picture of a training."""
    found = studio_of(request).jobs.preview(identity)
    if found is None:
        raise NotFoundError("this training has no picture yet")
    return FileResponse(found, media_type="image/png", headers={"Cache-Control": "no-store"})
