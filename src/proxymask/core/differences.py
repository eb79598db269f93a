"""What makes two runs, or two data sets, different, in words."""

from collections.abc import Mapping
from typing import Any

from .checks import flag

MOST = 4  # differences that are named
HASHED = {
    "pictures": "the pictures",
    "data": "the data set",
    "labels": "the labelled samples",
    "generator": "the generator",
    "clusters": "the clusters",
    "rearranger": "the rearranger",
    "segmenter": "the segmenter",
    "discriminator": "the discriminator",
    "start": "the network to start from",
    "grown_from": "the generator to grow",
    "picture_mapper": "the mapper of pictures",
    "teacher": "the teachers",
    "typical": "the mean condition",
}
"""Entries of an identity that are hashes, which say nothing to people."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The settings and inputs in which two identities differ: ``the pictures are others; --batch was 8 and is 4``."""
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    others = [HASHED[key] for key in changed if key in HASHED]
    settings = [key for key in changed if key not in HASHED]
    one = len(others) == 1 and not others[0].endswith("s")
    said = [f"{' and '.join(others)} {'is another' if one else 'are others'}"] if others else []
    for key in settings[:MOST]:
        name = key.removeprefix("config.").removeprefix("unet.")
        was, now = (_value(side.get(key)) for side in (old, new))
        said.append(f"{flag(name)} was {was} and is {now}")
    if len(settings) > MOST:
        said.append(f"{len(settings) - MOST} more settings differ")
    return "; ".join(said)


def _value(value: Any) -> str:
    if value is None:
        return "not set"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
