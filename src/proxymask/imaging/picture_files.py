"""Picture files in folders: those that are read, those that are left out and why, and distinct names for what is made of them."""

import errno
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .reader import SUFFIXES

OURS = ("labels.json", "dataset.json", "index.json", "README.md", "README.txt")
"""Files that this package writes beside pictures, which are not listed."""
NAMED = 5  # files that are left out and named; of the others only the number is said


class Listing(NamedTuple):
    """The picture files of a folder."""

    files: list[Path]
    """Those with the suffix of a picture, by path."""
    broken: list[tuple[Path, str]]
    """Picture files and folders that cannot be opened, with the reason: links to nothing, folders without permission."""
    others: list[Path]
    """Files with other suffixes; hidden files are not listed."""


def list_pictures(folder: Path, below: bool = True, suffixes: Collection[str] = SUFFIXES) -> Listing:
    """The picture files in a folder and in all folders below it, except hidden ones, by path.

    Links to folders are followed, but no folder is read twice: neither by a link to a folder above (a loop), nor by a link to another
    folder that is read anyway.

    Args:
        below: also in the folders below.
        suffixes: suffixes of pictures, in lower case.
    """
    found = Listing([], [], [])
    _list(folder, os.path.realpath(folder), {os.path.realpath(folder)}, below, suffixes, found)
    for part in found:
        part.sort(key=lambda entry: _below(entry[0] if isinstance(entry, tuple) else entry, folder))
    return found


def _list(folder: Path, root: str, seen: set[str], below: bool, suffixes: Collection[str], found: Listing) -> None:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        found.broken.append((folder, f"is a folder that cannot be opened ({error.strerror})"))
        return
    for path in entries:
        if path.name.startswith(".") or path.name in OURS:
            continue
        if os.path.isdir(path):  # unlike the methods of Path, these functions do not fail where permissions are missing
            if below and enters(path, root, seen):
                _list(path, root, seen, below, suffixes, found)
        elif path.suffix.lower() not in suffixes:
            found.others.append(path)
        elif not os.path.isfile(path):
            found.broken.append((path, why_unreadable(path)))
        else:
            found.files.append(path)


def why_unreadable(path: Path) -> str:
    """Why a name in a folder is no file that can be read."""
    if os.path.isdir(path):
        return "is a folder that cannot be opened"
    if os.path.exists(path):
        return "is a pipe or a device, not a regular file"
    if not os.path.islink(path):
        return "cannot be opened"
    try:
        os.stat(path)
    except OSError as error:
        return "is a link to itself" if error.errno == errno.ELOOP else "is a link to a file that does not exist"
    return "cannot be opened"


def enters(folder: Path, root: str, seen: set[str]) -> bool:
    """Whether a walk below ``root``, a real path, goes on into ``folder``; its real path is added to ``seen``.

    It does not if the folder was seen, and not through a link to a folder above (a loop) or to one below ``root``, which is seen anyway.
    """
    real = os.path.realpath(folder)
    above = (root + os.sep).startswith(real + os.sep)
    again = os.path.islink(folder) and (real + os.sep).startswith(root + os.sep)
    if above or again or real in seen:
        return False
    seen.add(real)
    return True


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path != folder else ""


def others_text(others: Sequence[Path]) -> str:
    """How many files are left out because of their suffix, which few have; "" for none."""
    if not others:
        return ""
    if len(others) <= NAMED:
        listed = ", ".join(path.name for path in others)
    else:
        counts = Counter(path.suffix.lower() or "no suffix" for path in others).most_common(NAMED)
        listed = ", ".join(f"{count:,} {suffix}" for suffix, count in counts)
    left_out = "file is left out: it has" if len(others) == 1 else "files are left out: they have"
    return f"{len(others):,} {left_out} no suffix of a picture that is read ({listed})"


def reason(path: Path, message: str) -> str:
    """A message on a file without its path at the beginning, to go after its name: "is ...", "cannot ...", or after a colon."""
    if message.startswith(f"{path} "):
        return message.removeprefix(f"{path} ")
    return message if message.startswith("is ") else f": {message}"


def named(name: object, why: str) -> str:
    """A name with a :func:`reason`."""
    return f"{name}{why}" if why.startswith(":") else f"{name} {why}"


def skipped_lines(skipped: Sequence[tuple[Path, str]], most: int = NAMED) -> list[str]:
    """One line for each of up to ``most`` files that are left out, with the reason; then the number of the others."""
    lines = [f"skipped: {named(path, why)}" for path, why in skipped[:most]]
    if len(skipped) > most:
        lines.append(f"skipped: and {len(skipped) - most:,} more")
    return lines


def distinct_names(paths: Sequence[tuple[str, Path]]) -> list[str]:
    """Names of results, one for each (name, file): the name, or with the file's suffix where two differ in nothing else.

    Names that differ only in upper and lower case count as equal, because some disks do not tell them apart.
    """
    counts = Counter(name.lower() for name, _ in paths)
    names = [name if counts[name.lower()] == 1 else f"{name}{path.suffix.replace('.', '-')}" for name, path in paths]
    used: set[str] = set()
    for index, name in enumerate(names):
        number, candidate = 2, name
        while candidate.lower() in used or (candidate != name and candidate.lower() in counts):
            candidate, number = f"{name}-{number}", number + 1
        used.add(candidate.lower())
        names[index] = candidate
    return names


def picture_suffixes(extra: Iterable[str] = ()) -> str:
    """The suffixes that are looked for, for messages."""
    return ", ".join(sorted({*SUFFIXES, *extra}))
