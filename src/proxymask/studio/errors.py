"""Errors that have a status of their own in HTTP; every other :class:`ProxymaskError` is 422."""

from ..core.errors import ProxymaskError


class NotFoundError(ProxymaskError):
    """There is no such thing on this server."""

    status = 404


class ConflictError(ProxymaskError):
    """What is to be changed was changed by somebody else since it was read."""

    status = 409


class BusyError(ProxymaskError):
    """The server has too much to do, or is ending."""

    status = 503


class FieldError(ProxymaskError):
    """A header that cannot be used; ``field`` is the part of it that is wrong, None for the whole."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
