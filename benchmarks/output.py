"""The result file of a measurement, and the machine that it ran on."""

import platform
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


def processor() -> str:
    """Name of the processor, as Linux or Python states it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
