"""Facts about a picture file that are lost when it is decoded: whether its compression is lossy, and how many bits its greys have."""

import os
from pathlib import Path
from typing import NamedTuple

from PIL import Image

HEAD = 1 << 16  # bytes in which the chunks of a WebP file are looked for


class Stored(NamedTuple):
    """``lossy``: the format ("JPEG", "WebP") if it changes values, else None. ``step``: greys are decoded as multiples of this."""

    lossy: str | None = None
    step: int = 1


def stored(source: object, picture: Image.Image) -> Stored:
    """What is known about a picture that was opened from ``source``, a path or a PIL picture."""
    path = source if isinstance(source, str | Path) else getattr(source, "filename", None)
    kind = getattr(source, "format", None) or picture.format
    if picture.info.get("compression") in ("jpeg", "webp") or kind in ("JPEG", "MPO"):
        return Stored("JPEG" if picture.info.get("compression") != "webp" else "WebP")
    if not isinstance(path, str | Path) or not os.path.isfile(path):
        return Stored()
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return Stored()
    if head[:3] == b"\xff\xd8\xff":
        return Stored("JPEG")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Stored("WebP" if _is_lossy_webp(head) else None)
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[25:26] == b"\0":  # grey, which Pillow stretches to 0 to 255
        return Stored(step={2: 85, 4: 17}.get(head[24], 1))
    return Stored()


def _is_lossy_webp(head: bytes) -> bool:
    at = 12
    while at + 8 <= len(head):
        chunk, length = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if chunk in (b"VP8 ", b"VP8L"):
            return chunk == b"VP8 "
        at += 24 if chunk == b"ANMF" else 8 + length + length % 2  # a frame's chunks come after 16 bytes about it
    return False
