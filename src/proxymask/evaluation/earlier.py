"""Earlier results in the folder of an evaluation: a run that measures less, or something else, does not overwrite them."""

import json
import os
from pathlib import Path
from typing import Any

from ..core.errors import ProxymaskError
from ..core.files import read_json
from .results import Evaluation

SAME = ("bundle_sha256", "mapper", "proxy_mask_mode", "protocol", "seed", "data", "masks", "judge", "backend", "precision")
"""Entries of ``about`` that are equal in two measurements of the same thing."""
FILES = ("metrics.json", "report.html")


def keep_earlier(out: Path, result: Evaluation) -> str | None:
    """Rename the results in ``out`` where ``result`` is of something else, lacks numbers of them, or has them of fewer pictures.

    Returns:
        A note that says so; None where there was nothing to keep.
    """
    try:
        earlier = read_json(out / FILES[0])
        about, numbers = dict(earlier["about"]), _counts(earlier["numbers"])
        judges = _judges(about)
    except (ProxymaskError, KeyError, TypeError, ValueError):  # none, or damaged
        return None
    now = json.loads(json.dumps(result.about))
    other = any(about.get(key) != now.get(key) for key in SAME) or about.get("details", now["details"]) != now["details"]
    other = other or any(_judges(now).get(name, digest) != digest for name, digest in judges.items())
    fewer = any(count > _counts(result.numbers).get(name, 0) for name, count in numbers.items())
    if not other and not fewer:
        return None
    number = next(number for number in range(1, 10_000) if not any((out / _numbered(name, number)).exists() for name in FILES))
    for name in FILES:
        if (out / name).is_file():
            os.replace(out / name, out / _numbered(name, number))
    why = "of something else" if other else "of more"
    return f"the earlier results in {out}, {why}, are kept as {' and '.join(_numbered(name, number) for name in FILES)}"


def _counts(numbers: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """Pictures of each number that is defined, by its key and what it was measured on."""
    return {(str(row["key"]), str(row["of"])): int(row["count"]) for row in numbers if row["value"] is not None}


def _judges(about: dict[str, Any]) -> dict[str, str]:
    """Digest of each judge by its name; the files of versions that knew one judge only have ``judge`` alone, which is compared already."""
    return {str(judge["name"]): str(judge["sha256"]) for judge in about.get("judges", [])}


def _numbered(name: str, number: int) -> str:
    stem, suffix = name.split(".")
    return f"{stem}-{number}.{suffix}"
