"""Project files: saving and opening."""

from fastapi import APIRouter, Request, Response

from ..projects import open_project, save_project
from ..protocol import decode_frame, encode_frame
from ..state import studio_of
from .answers import BODY, FRAME

router = APIRouter(prefix="/api/projects")


@router.post("/save", openapi_extra=FRAME, response_class=Response)
async def save(request: Request) -> Response:
    """A frame of a render request, with the page's ``settings``, as a project file."""
    studio, frame = studio_of(request), decode_frame(await request.body())
    text = await studio.reader.run(lambda: save_project(frame.header, frame.payload, studio.catalogue, studio.config.limits.canvas_pixels))
    return Response(text, media_type="application/json", headers={"content-disposition": 'attachment; filename="project.json"'})


@router.post("/open", openapi_extra=BODY, response_class=Response)
async def open_file(request: Request) -> Response:
    """A project file as the frame of the state that it holds."""
    studio, data = studio_of(request), await request.body()
    header, runs = await studio.reader.run(lambda: open_project(data, studio.catalogue, studio.config.limits.canvas_pixels))
    return Response(encode_frame(header, runs), media_type="application/octet-stream")
