"""``LabelSet``: the classes of a semantic mask (id, name, colour) and their file, ``labels.json``."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..core.checks import nearest
from ..core.errors import ProxymaskError
from ..core.files import read_json, write_json

MAX_LABELS = 255  # ids are uint8; 255 often means "no class"
SIDES = re.compile(r"left|right|(?<![a-z])[lr](?![a-z])")
OTHER_SIDE = {"left": "right", "right": "left", "l": "r", "r": "l"}


@dataclass(frozen=True)
class Label:
    """One class: ``id`` in masks, ``name``, ``color`` (r, g, b) in 0..255."""

    id: int
    name: str
    color: tuple[int, int, int]

    @property
    def hex(self) -> str:
        """The colour as ``#rrggbb``."""
        return "#{:02x}{:02x}{:02x}".format(*self.color)


@dataclass(frozen=True)
class LabelSet:
    """The classes of a mask, in the order of their ids 0..N-1.

    Raises:
        ProxymaskError: no class or more than 255, ids that are not 0..N-1 in order, a duplicate name or colour, a colour out of range.
    """

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.labels) <= MAX_LABELS:
            raise ProxymaskError(f"a label set has 1 to {MAX_LABELS} classes, this one has {len(self.labels)}")
        ids = [label.id for label in self.labels]
        if ids != list(range(len(ids))):
            raise ProxymaskError(f"label ids must be 0, 1, 2, ... in order, got {ids[:12]}: renumber them without gaps")
        for label in self.labels:
            if not label.name.strip():
                raise ProxymaskError(f"label {label.id} has an empty name")
            if not label.name.isprintable():
                raise ProxymaskError(f"the name of label {label.id} has characters that cannot be printed: {label.name!r}; rename it")
            if len(label.color) != 3 or not all(0 <= channel <= 255 for channel in label.color):
                raise ProxymaskError(f"the colour of label {label.name!r} must be three numbers in 0..255, got {label.color}")
        for what, values in (("name", self.names), ("colour", [label.hex for label in self.labels])):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ProxymaskError(f"label {what} used twice: {', '.join(twice)}")

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> "LabelSet":
        """Build from ``(name, "#rrggbb")`` pairs; the ids are their positions."""
        return cls(tuple(Label(i, name, parse_color(color)) for i, (name, color) in enumerate(pairs)))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> list[str]:
        """The names, in the order of the ids."""
        return [label.name for label in self.labels]

    @cached_property
    def colors(self) -> np.ndarray:
        """The colours, uint8 (N, 3), in the order of the ids."""
        return np.array([label.color for label in self.labels], dtype=np.uint8)

    @cached_property
    def mirrored(self) -> np.ndarray | None:
        """What each id becomes in a mirrored picture, uint8 (256,): ``left_eye`` becomes ``right_eye``, ``l_ear`` ``r_ear``; None where no
        class has a side."""
        ids = np.arange(256, dtype=np.uint8)
        by_name = {_plain(label.name): label.id for label in self.labels}
        for name, number in by_name.items():
            ids[number] = by_name.get(SIDES.sub(lambda found: OTHER_SIDE[found[0]], name), number)
        return ids if (ids != np.arange(256)).any() else None

    def palette(self) -> list[int]:
        """The 768 numbers of a PIL palette; entries without a class are black."""
        flat = [int(channel) for channel in self.colors.reshape(-1)]
        return flat + [0] * (768 - len(flat))

    def by_name(self, name: str) -> Label:
        """The class ``name``; a :class:`ProxymaskError` lists all names if there is none."""
        for label in self.labels:
            if label.name == name:
                return label
        raise ProxymaskError(f"unknown class {name!r}: use one of {', '.join(self.names)}{nearest(name, self.names)}")

    def find(self, name: str) -> Label | None:
        """The class of a file or a layer called ``name``: its id, or its name, where case, spaces, ``_`` and ``-`` do not count."""
        for label in self.labels:
            if name == label.name:
                return label
        plain = [label for label in self.labels if _plain(label.name) == _plain(name)]
        if plain:
            return plain[0] if len(plain) == 1 else None
        text = name.strip()
        return self.labels[int(text)] if text.isascii() and text.isdigit() and len(text) < 4 and int(text) < len(self) else None

    def save(self, path: str | Path) -> None:
        """Write ``labels.json``."""
        write_json(Path(path), {"labels": [{"id": label.id, "name": label.name, "color": label.hex} for label in self.labels]})

    @classmethod
    def load(cls, path: str | Path) -> "LabelSet":
        """Read ``labels.json``; a :class:`ProxymaskError` names the file and the faulty entry."""
        path = Path(path)
        stored = read_json(path)
        entries = stored.get("labels") if isinstance(stored, dict) else None
        if not isinstance(entries, list):
            example = '{"labels": [{"id": 0, "name": "background", "color": "#000000"}, ...]}'
            raise ProxymaskError(f"{path} holds no labels: it must read {example}")
        labels = []
        for position, entry in enumerate(entries):
            if not isinstance(entry, dict) or type(entry.get("id")) is not int or not isinstance(entry.get("name"), str):
                raise ProxymaskError(f"{path}: entry {position} needs an integer id, a name and a colour like #a0b1c2, got {entry!r}")
            try:
                labels.append(Label(entry["id"], entry["name"], parse_color(entry.get("color"))))
            except ProxymaskError as error:
                raise ProxymaskError(f"{path}: entry {position}: {error.message}") from None
        try:
            return cls(tuple(labels))
        except ProxymaskError as error:
            raise ProxymaskError(f"{path}: {error.message}") from None


def _plain(name: str) -> str:
    """A name without what people write differently: ``Facial Hair`` and ``facial_hair`` are one."""
    return re.sub(r"[\s_-]+", "_", unicodedata.normalize("NFC", name).strip().casefold())


def parse_color(text: object) -> tuple[int, int, int]:
    """``#rrggbb`` -> (r, g, b) in 0..255; a :class:`ProxymaskError` for anything else."""
    if not isinstance(text, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ProxymaskError(f"a colour is written #rrggbb, got {text!r}")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def labels_file_near(file: str | Path) -> Path | None:
    """``labels.json`` of the data set that a file lies in, in its folder or one above; None where there is none."""
    folder = Path(file).absolute().parent
    return next((near for near in (folder / "labels.json", folder.parent / "labels.json") if near.is_file()), None)
