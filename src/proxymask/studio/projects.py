"""Project files: one JSON file with what was painted, the styles, and the bundle they are for. It holds no paths, and opens none.

Shapes: H x W the size of the canvas.
"""

import base64
import binascii
import contextlib
import io
import json
import struct
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field, JsonValue

from ..core.errors import ProxymaskError
from ..core.version import __version__
from ..imaging.reader import open_picture
from .catalogue import Catalogue
from .errors import FieldError
from .protocol import MAX_HEADER, MAX_STYLES, Drawn, Header, Name, Regions, StyleSpec, Truncation, check_canvas, parse_object, read_header
from .rle import decode_runs, encode_runs

FORMAT: Literal["proxymask-project"] = "proxymask-project"
VERSION: Literal[1] = 1
PNG = b"\x89PNG\r\n\x1a\n"
MAX_SETTINGS = MAX_HEADER // 2  # bytes of JSON


class Kept(Drawn):
    """A request to keep what was painted: the fields of a render request, and the page's own ``settings``, any JSON."""

    type: Literal["render", "project"] = "render"
    id: int = 0
    want: tuple[str, ...] = Field(default=(), max_length=2, strict=False)
    settings: dict[str, JsonValue] = Field(default_factory=dict)


class StoredBundle(Header):
    """Which bundle a project is for."""

    name: Name
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")


class ProjectFile(Header):
    """What a project file holds."""

    format: Literal["proxymask-project"]
    version: Literal[1]
    proxymask: str = Field(max_length=100)
    bundle: StoredBundle
    condition: Name
    width: int = Field(ge=1, le=8192)
    height: int = Field(ge=1, le=8192)
    mask: str
    """PNG (H, W), grey: the label ids, or the drawing; base64."""
    styles: tuple[StyleSpec, ...] = Field(min_length=1, max_length=MAX_STYLES, strict=False)
    truncation: Truncation
    regions: Regions = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)


def save_project(header: dict[str, Any], payload: bytes, catalogue: Catalogue, pixels: int) -> str:
    """A project as the text of its file.

    Args:
        header, payload: those of a render request; ``settings`` may be in the header too.
        pixels: of the largest canvas.

    Raises:
        ProxymaskError: a header that cannot be used, runs that do not fit it, no such bundle.
    """
    project = read_header(Kept, header)
    check_canvas(project.width, project.height, pixels)
    out = io.BytesIO()
    Image.fromarray(decode_runs(payload, project.width, project.height)).save(out, format="PNG", optimize=True)
    stored = ProjectFile(
        format=FORMAT,
        version=VERSION,
        proxymask=__version__,
        bundle=StoredBundle(name=project.bundle, hash=catalogue.digest(project.bundle)),
        mask=base64.b64encode(out.getvalue()).decode(),
        **{name: getattr(project, name) for name in ("condition", "width", "height", "styles", "truncation", "regions", "settings")},
    )
    return stored.model_dump_json(indent=1)


def open_project(data: bytes, catalogue: Catalogue, pixels: int) -> tuple[dict[str, Any], bytes]:
    """The state that a project file holds, as header and payload of a frame.

    Raises:
        ProxymaskError: no project file, a later version, values out of range, a mask that is none, no such bundle.
    """
    stored = parse_object(data, "a project file")
    if stored.get("format") != FORMAT:
        raise FieldError("this is no project file of the studio: open it as a mask, or choose another file", "format")
    if stored.get("version") != VERSION:
        made = stored.get("proxymask") if isinstance(stored.get("proxymask"), str) else "another version"
        raise FieldError(f"version: this project was saved by proxymask {str(made)[:40]}, which is newer: update proxymask", "version")
    file = read_header(ProjectFile, stored)
    if len(json.dumps(file.settings)) > MAX_SETTINGS:
        raise FieldError(f"settings: they are larger than {MAX_SETTINGS} bytes: the file was changed", "settings")
    check_canvas(file.width, file.height, pixels)
    name, notes = find_bundle_of(file.bundle, catalogue)
    header = {
        "type": "project",
        "bundle": name,
        "condition": file.condition,
        "width": file.width,
        "height": file.height,
        "styles": [style.model_dump(exclude_none=True) for style in file.styles],
        "truncation": file.truncation,
        "regions": None if file.regions is None else {label: style.model_dump(exclude_none=True) for label, style in file.regions.items()},
        "settings": file.settings,
        "notes": notes,
    }
    return header, encode_runs(decode_mask(file))


def find_bundle_of(wanted: StoredBundle, catalogue: Catalogue) -> tuple[str, list[str]]:
    """The bundle of a project by its hash, under whatever name; else the one of the same name, with a note that pictures may differ.

    Raises:
        FieldError: neither is there.
    """
    names = catalogue.names()
    same = []
    for name in names:
        with contextlib.suppress(ProxymaskError, OSError):  # one that was removed meanwhile
            if catalogue.digest(name) == wanted.hash:
                same.append(name)
    if same:
        return wanted.name if wanted.name in same else same[0], []
    if wanted.name in names:
        return wanted.name, [f"the project was made with another version of {wanted.name}: its pictures may differ"]
    raise FieldError(f"bundle: this project is for {wanted.name}, which is not here: start the studio with --bundle FOLDER", "bundle")


def decode_mask(file: ProjectFile) -> np.ndarray:
    """The canvas (H, W) uint8 of a project file; a :class:`FieldError` where it is no grey PNG of that size, by its header."""
    try:
        data = base64.b64decode(file.mask, validate=True)
    except (binascii.Error, ValueError):
        raise FieldError("mask: it is not base64: the file was changed or cut off", "mask") from None
    if len(data) < 24 or data[:8] != PNG or struct.unpack(">II", data[16:24]) != (file.width, file.height):
        raise FieldError(f"mask: it is no PNG of {file.width}x{file.height}: the file was changed", "mask")
    try:
        picture = open_picture(io.BytesIO(data), notes=[], name="mask")
    except ProxymaskError as error:
        raise FieldError(error.message, "mask") from None
    if picture.mode not in ("L", "P") or picture.size != (file.width, file.height):
        raise FieldError(f"mask: its PNG is not a grey one of {file.width}x{file.height}: the file was changed", "mask")
    return np.asarray(picture)
