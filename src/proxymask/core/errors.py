"""The exception for problems that the user can solve."""

import errno
import re

COMMAND = re.compile(r"((?:proxymask [a-z]|pip install )[^();:,]*)")
"""A whole command in a message, of this program or of pip."""
FLAG = re.compile(r"(?P<adds>\badd )?(?<![\w-])--(?P<name>[a-z][a-z0-9]*(?:-[a-z0-9]+)*)(?P<value> [A-Z]|=)?")
"""A flag in a message."""
ARGUMENTS = {"class": "class_index"}
"""Arguments of Python that are called otherwise than their flags, by flag."""


class ProxymaskError(Exception):
    """A problem that the user can solve: one line that names the problem and what to do.

    Messages are written with flags of the command line (``--from-photo``). The command line prints :attr:`message` without a traceback and
    exits with status 2. ``str(error)``, which Python shows, names the arguments instead (``from_photo``); whole commands stay as they are.
    """

    @property
    def message(self) -> str:
        """The line with flags of the command line. Text that is made of another error's takes this."""
        return super().__str__()

    def __str__(self) -> str:
        return with_arguments(self.message)


def with_arguments(text: str) -> str:
    """A message with arguments of Python in place of flags of the command line; whole commands stay as they are."""
    return "".join(part if COMMAND.fullmatch(part) else FLAG.sub(_argument, part) for part in COMMAND.split(text))


def _argument(found: re.Match[str]) -> str:
    """The argument of Python in place of a flag: ``from_photo``; ``add from_photo=True`` where a flag without a value is advised."""
    name = ARGUMENTS.get(found["name"], found["name"].replace("-", "_"))
    value = "=True" if found["adds"] and not found["value"] else found["value"] or ""
    return f"{found['adds'] or ''}{name}{value}"


def cannot_write(what: object, error: OSError, other: str) -> "ProxymaskError":
    """The error for results that cannot be written: why, and what to do.

    ``other``: what to give in place of the path.
    """
    remedy = f"make room or choose {other}" if error.errno in (errno.ENOSPC, errno.EDQUOT) else f"choose {other}"
    return ProxymaskError(f"cannot write {what} ({os_reason(error)}): {remedy}")


def os_reason(error: OSError) -> str:
    """Why a file cannot be written, in words."""
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "a part of the path is a file, not a folder"
    return error.strerror or str(error)
