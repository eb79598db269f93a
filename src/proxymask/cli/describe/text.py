"""Lines of text that several descriptions need."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from ...core.errors import ProxymaskError
from ...core.text import without_controls
from ...imaging.labels import LabelSet


class Description(NamedTuple):
    """What a file or folder holds, and what is wrong with it (one phrase for each problem)."""

    text: str
    problems: list[str]


def plain(text: str) -> Description:
    """A description without problems."""
    return Description(text, [])


def label_lines(labels: LabelSet) -> list[str]:
    """A line with id, name and colour for every class."""
    return [f"  {label.id:3d}  {label.name:<16} {label.hex}" for label in labels.labels]


def json_lines(values: Mapping[str, Any], indent: str = "") -> list[str]:
    """A JSON object as indented lines; a nested object or list has a line for each of its entries."""
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}:", *json_lines(value, indent + "  ")]
        elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
            lines.append(f"{indent}{key}:")
            for item in value:
                inner = json_lines(item, indent + "  ") if isinstance(item, Mapping) else [f"{indent}  {item}"]
                lines += [f"{indent}- {inner[0].strip()}", *inner[1:]] if inner else []
        else:
            lines.append(f"{indent}{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    return [without_controls(line, len(line)) for line in lines]


def count_tensors(path: Path) -> tuple[int, int]:
    """Number of tensors in a safetensors file, and of the values in them.

    Only the header is read; that is enough to find a truncated file.

    Raises:
        ProxymaskError: missing, damaged or truncated.
    """
    if not path.is_file():
        raise ProxymaskError(f"{path} is missing")
    try:
        with safe_open(path, framework="np") as opened:
            names = list(opened.keys())
            return len(names), sum(math.prod(opened.get_slice(name).get_shape()) for name in names)
    except (SafetensorError, OSError) as error:
        raise ProxymaskError(f"{path} is damaged or truncated ({error})") from None
