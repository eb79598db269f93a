"""Parameters and answers of several routes."""

from typing import Annotated

from fastapi import Path, Query, Response

from ..protocol import MAX_SEED

Seed = Annotated[int, Path(ge=0, le=MAX_SEED)]
Psi = Annotated[float, Query(ge=-2, le=2, allow_inf_nan=False)]
BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}
"""A file, in OpenAPI."""
FRAME = BODY
"""A frame, see ``protocol.py``."""


def png(data: bytes) -> Response:
    """A PNG as the body of an answer."""
    return Response(data, media_type="image/png")
