"""Frames between page and server, and what their headers may say.

A frame is u32 little-endian N, N bytes of UTF-8 JSON (the header, an object with "type"), then the payload.
"""

import hashlib
import json
import struct
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..core.text import without_controls
from .errors import FieldError

MAX_HEADER = 64 * 1024  # bytes
MAX_STYLES = 12
MAX_SEED = 2**32 - 1


class Frame(NamedTuple):
    """A header as it came, and its payload."""

    header: dict[str, Any]
    payload: bytes


def encode_frame(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """A header and a payload as one frame."""
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    return struct.pack("<I", len(text)) + text + payload


def decode_frame(data: bytes) -> Frame:
    """A frame as header and payload.

    Raises:
        FieldError: cut off, a header that is too long, or one that is no JSON object.
    """
    if len(data) < 4:
        raise FieldError(f"a frame is at least 4 bytes, this one is {len(data)}")
    (length,) = struct.unpack_from("<I", data)
    if length > MAX_HEADER:
        raise FieldError(f"the header of a frame is at most {MAX_HEADER} bytes, this one says {length}")
    if len(data) < 4 + length:
        raise FieldError(f"the header should be {length} bytes and only {len(data) - 4} came")
    return Frame(parse_object(data[4 : 4 + length], "the header of a frame"), data[4 + length :])


def parse_object(data: bytes | str, what: str) -> dict[str, Any]:
    """JSON text as an object; a :class:`FieldError` where it is something else. ``what``: its name in messages."""
    try:
        value = json.loads(data)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # finds infinite numbers and halves of characters
    except (ValueError, RecursionError):  # ValueError: also of UTF-8, and of numbers of thousands of digits
        raise FieldError(f"{what} is not valid JSON") from None
    if not isinstance(value, dict):
        raise FieldError(f"{what} is a JSON object, not {type(value).__name__}")
    return value


# -------------------------------------------------------------------------------------------------------------------- headers


class Header(BaseModel):
    """Base of what a page sends: no other fields, no numbers as text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


H = TypeVar("H", bound=Header)


class StyleSpec(Header):
    """A style: the seed of a sample."""

    seed: int = Field(ge=0, le=MAX_SEED)


Id = Annotated[int, Field(ge=0, le=2**53)]
Truncation = Annotated[float, Field(ge=-2, le=2)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Hello(Header):
    """The first message of a connection."""

    type: Literal["hello"]
    session: Annotated[str, Field(max_length=100)] | None = None
    token: Annotated[str, Field(max_length=200)] | None = None


Regions = Annotated[dict[Annotated[str, Field(pattern=r"^[0-9]{1,3}$")], StyleSpec] | None, Field(max_length=255)]
"""Styles of labels, by their ids as text."""


class Drawn(Header):
    """What was painted, and in which styles; the payload has the runs of the canvas."""

    bundle: Name
    condition: Name = "mask"
    """A mapper of the bundle, or what one reads."""
    width: int = Field(ge=1, le=8192)
    height: int = Field(ge=1, le=8192)
    styles: tuple[StyleSpec, ...] = Field(min_length=1, max_length=MAX_STYLES, strict=False)
    """The first is the main one."""
    truncation: Truncation = 1.0
    regions: Regions = None


class Render(Drawn):
    """Pictures are wanted of what was painted."""

    type: Literal["render"]
    id: Id
    want: tuple[Literal["picture", "proxy"], ...] = Field(default=("picture",), max_length=2, strict=False)


class Attention(Header):
    """Where in the style sample a point of the last picture comes from; ``x`` and ``y`` from 0 (left, top) to 1."""

    type: Literal["attention"]
    id: Id
    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)


class Cancel(Header):
    """Nothing more is wanted of what was sent before."""

    type: Literal["cancel"]


class Ping(Header):
    """To be answered at once, with the same ``t``."""

    type: Literal["ping"]
    t: float | int


Message = Hello | Render | Attention | Cancel | Ping
_MESSAGES: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def read_message(header: dict[str, Any]) -> Message:
    """The message of a header.

    Raises:
        FieldError: an unknown type, a missing or unknown field, a value out of range.
    """
    try:
        return _MESSAGES.validate_python(header)
    except ValidationError as error:
        raise in_words(error) from None


def read_header(kind: type[H], header: dict[str, Any]) -> H:
    """A header of one kind.

    Raises:
        FieldError: a missing or unknown field, a value out of range.
    """
    try:
        return kind.model_validate(header)
    except ValidationError as error:
        raise in_words(error) from None


def check_canvas(width: int, height: int, pixels: int) -> None:
    """A :class:`FieldError` where a canvas is larger than ``pixels``."""
    if width * height > pixels:
        raise FieldError(f"width: {width}x{height} is more than {pixels:,} pixels: use a smaller canvas", "width")


def in_words(error: ValidationError) -> FieldError:
    """The first problem that pydantic found, as one line."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = [str(part) for part in first["loc"] if part not in _KINDS]
    field = ".".join(place) or ("type" if first["type"].startswith("union_tag") else None)
    message = without_controls(first["msg"], 200)
    return FieldError(f"{without_controls(field, 80)}: {message}" if field else message, field)


_KINDS = ("hello", "render", "attention", "cancel", "ping")


def request_digest(request: Render, payload: bytes) -> bytes:
    """SHA-256 of all that decides the answer to a request: everything but its id."""
    text = request.model_dump_json(exclude={"id"})
    return hashlib.sha256(len(text).to_bytes(4, "little") + text.encode() + payload).digest()
