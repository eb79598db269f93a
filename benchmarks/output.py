"""The result file of a measurement."""

from pathlib import Path
from typing import Any

from proxymask.core.files import write_json


def prepare(out: Path | None) -> None:
    """Make the folder of the file before anything is measured, so that nothing is lost at the end."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)


def write(out: Path | None, found: Any) -> None:
    """Write what was found as JSON, if a file is wanted."""
    if out is not None:
        write_json(out, found)
