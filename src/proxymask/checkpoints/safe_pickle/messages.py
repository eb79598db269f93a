"""Text for people: sizes, strings out of a file made safe to print, and the file's name in front of an error."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ...core.errors import ProxymaskError

DAMAGED = "the file is damaged, get it again"
MALICIOUS = "the file is damaged or malicious, get it again from a source that you trust"
BROKEN_DOWNLOAD = "a broken download: get it again"


def megabytes(count: int) -> str:
    """``count`` bytes as ``12.3 MB``."""
    return f"{count / 1e6:,.1f} MB"


def printable(text: str, longest: int = 80) -> str:
    """Text out of a file, safe to print: printable ASCII only (others become ``?``), at most ``longest`` characters."""
    safe = re.sub(r"[^\x20-\x7e]", "?", text[: longest + 1])
    return safe if len(safe) <= longest else safe[: longest - 3] + "..."


@contextmanager
def prefix_errors(path: object) -> Iterator[None]:
    """Put ``path`` in front of the message of every :class:`ProxymaskError` that is raised inside."""
    try:
        yield
    except ProxymaskError as error:
        raise ProxymaskError(f"{path}: {error}") from None
