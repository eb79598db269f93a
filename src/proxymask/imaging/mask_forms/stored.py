"""Facts about a picture file that are lost when it is decoded: whether its compression is lossy, and how many bits its greys have."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..raw_values import MAXIMUM, SIXTEEN_BITS

HEAD = 1 << 16  # bytes in which the chunks of a WebP file are looked for


class Stored(NamedTuple):
    """``lossy``: the format ("JPEG", "WebP") if it changes values, else None.

    ``white``: the value in the file that is decoded as 255, or as 65535 in deep modes; 0 where values are decoded as they are stored.
    ``cut``: only the upper 8 of 16 bits were decoded.
    """

    lossy: str | None = None
    white: int = 0
    cut: bool = False

    def values(self, decoded: np.ndarray) -> np.ndarray:
        """Greys as they are in the file, integers (H, W)."""
        if not self.white:
            return decoded
        full = 255 if decoded.dtype == np.uint8 else 65535
        wide = decoded.astype(np.int64) * self.white
        wide += full // 2
        wide //= full
        return wide


def stored(source: object, picture: Image.Image) -> Stored:
    """What is known about a picture that was opened from ``source``, a path or a PIL picture."""
    path = source if isinstance(source, str | Path) else getattr(source, "filename", None)
    kind = getattr(source, "format", None) or picture.format
    white, cut = int(picture.info.get(MAXIMUM, 0)), bool(picture.info.get(SIXTEEN_BITS))
    if picture.info.get("compression") in ("jpeg", "webp") or kind in ("JPEG", "MPO"):
        return Stored("JPEG" if picture.info.get("compression") != "webp" else "WebP")
    plain = Stored(white=white, cut=cut)
    if not isinstance(path, str | Path) or not os.path.isfile(path):
        return plain
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return plain
    if head[:3] == b"\xff\xd8\xff":
        return Stored("JPEG")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Stored("WebP" if _is_lossy_webp(head) else None)
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[25:26] == b"\0":  # a PIL picture that was decoded before
        return Stored(white={2: 3, 4: 15}.get(head[24], 0))
    return plain


def _is_lossy_webp(head: bytes) -> bool:
    at = 12
    while at + 8 <= len(head):
        chunk, length = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if chunk in (b"VP8 ", b"VP8L"):
            return chunk == b"VP8 "
        at += 24 if chunk == b"ANMF" else 8 + length + length % 2  # a frame's chunks come after 16 bytes about it
    return False
