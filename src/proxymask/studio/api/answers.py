"""Answers that several routes give."""

from typing import Annotated

from fastapi import Path, Query, Response
from PIL import Image

from ..protocol import MAX_SEED
from ..renderer import encode_png

Seed = Annotated[int, Path(ge=0, le=MAX_SEED)]
Psi = Annotated[float, Query(ge=-2, le=2, allow_inf_nan=False)]


def png(picture: Image.Image) -> Response:
    """A picture as the body of an answer."""
    return Response(encode_png(picture), media_type="image/png")
