"""Text for people: sizes, and the errors that a file causes, each as one line that is safe to print."""

from collections.abc import Iterator
from contextlib import contextmanager

from ...core.errors import ProxymaskError
from ...core.text import printable, without_controls

__all__ = ["BROKEN_DOWNLOAD", "DAMAGED", "MALICIOUS", "file_errors", "megabytes", "printable"]

DAMAGED = "the file is damaged, get it again"
MALICIOUS = "the file is damaged or malicious, get it again from a source that you trust"
BROKEN_DOWNLOAD = "a broken download: get it again"
_LONGEST = 600


def megabytes(count: int) -> str:
    """``count`` bytes as ``12.3 MB``."""
    return f"{count / 1e6:,.1f} MB"


@contextmanager
def file_errors(path: object = None) -> Iterator[None]:
    """The one place where what a file causes becomes an error for people: whatever is raised inside leaves as a :class:`ProxymaskError`.

    Code inside need not expect every value that a damaged file can hold: an exception that it did not mean to raise says that the file is
    damaged. The exception itself is kept as ``__cause__``.

    Args:
        path: of the file, put in front of the message; None where it is there already.
    """
    prefix = "" if path is None else f"{without_controls(str(path))}: "
    try:
        yield
    except ProxymaskError as error:
        raise ProxymaskError(prefix + printable(error.message, _LONGEST)) from error.__cause__
    except MemoryError as error:
        raise ProxymaskError(f"{prefix}there is not enough memory to read it: close other programs") from error
    except OSError as error:
        raise ProxymaskError(f"{prefix}cannot be read ({printable(error.strerror or str(error))})") from error
    except Exception as error:
        raise ProxymaskError(f"{prefix}it holds values that do not fit together ({type(error).__name__}): {DAMAGED}") from error
