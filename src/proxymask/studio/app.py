"""The app: routes, the page's own files, and what guards them."""

import contextlib
import mimetypes
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from ..core.errors import ProxymaskError
from ..core.text import without_controls
from ..core.version import __version__
from .api import bundles, labelling, masks, pictures, projects, samples, socket
from .config import WEB, StudioConfig
from .security import Guard
from .state import Studio

# FastAPI sends measurements where the environment says so; versions without that ignore the argument
SILENT: dict[str, Any] = {"telemetry": {"auto_configure": False, "tracing": False, "metrics": False, "logs": False}}
mimetypes.add_type("text/javascript", ".js")  # some machines say otherwise, and browsers then refuse the page's modules


def create_app(config: StudioConfig | None = None) -> FastAPI:
    """The studio as an ASGI app.

    Raises:
        ProxymaskError: there is no such bundle.
    """
    config = config or StudioConfig()
    studio = Studio.of(config)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        studio.start()
        try:
            yield
        finally:
            studio.close()

    # no pages of the interface, which load scripts from elsewhere
    app = FastAPI(
        title="proxymask studio", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None, **SILENT
    )
    app.state.studio = studio
    for module in (bundles, samples, masks, pictures, projects, labelling, socket):
        app.include_router(module.router)
    limits = config.limits
    app.add_middleware(Guard, token=config.token, request_bytes=limits.request_bytes, requests_bytes=limits.requests_bytes)
    app.add_exception_handler(ProxymaskError, _in_words)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> Response:
        index = WEB / "index.html"
        if not index.is_file():
            return _error(404, f"the page is missing: {index} is not there; install proxymask again")
        return FileResponse(index)

    if WEB.is_dir():
        app.mount("/web", StaticFiles(directory=WEB))
    return app


def _error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": " ".join(without_controls(text, 1000).split())}, status_code=status)


async def _in_words(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProxymaskError)
    return _error(getattr(error, "status", 422), error.message)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError | ValidationError)
    first = error.errors()[0]
    where = first["loc"][1:] if isinstance(error, RequestValidationError) else first["loc"]
    return _error(422, f"{'.'.join(str(part) for part in where)}: {first['msg']}")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "there is nothing at this address", 405: "this address is not used in that way"}
    answer = _error(error.status_code, words.get(error.status_code, str(error.detail)))
    answer.headers.update(error.headers or {})
    return answer
