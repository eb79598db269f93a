"""What is worth saying about a mask that was read, and the words in which classes and colours are listed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core.errors import ProxymaskError
from ..labels import LabelSet


class Notes:
    """Collects what a user should know about how a mask was read.

    ``name``: of the mask in messages. ``strict``: a guess is an error instead of a note. ``stored_labels``: the classes of the data set
    that the mask lies in, and their file, where there is one.
    """

    def __init__(self, name: str, strict: bool = False, stored_labels: tuple[LabelSet, Path] | None = None) -> None:
        self.name, self.strict, self.stored_labels = name, strict, stored_labels
        self.texts: list[str] = []

    def say(self, text: str) -> None:
        """Note what was decided by a rule."""
        self.texts.append(text)

    def guess(self, text: str) -> None:
        """Note what was guessed; with ``strict`` it is a :class:`ProxymaskError`."""
        if self.strict:
            raise ProxymaskError(f"{self.name}: {text}; this is refused with --strict: repair the mask, or leave --strict out")
        self.texts.append(text)


def other_classes(name: str, file: Path, names: Sequence[str], labels: LabelSet) -> ProxymaskError:
    """The error for the mask ``name`` of another set of classes: by ``file``, the labels.json of its data set, it holds ``names``."""
    return ProxymaskError(
        f"{name} has other classes: by {file} it holds {listed(names, 4)}; the model knows {listed(labels.names, 4)}: use the model "
        "of its classes, or, if that file is of another set, move one of them"
    )


def described(labels: LabelSet, i: int) -> str:
    """A class with its id, name and colour."""
    label = labels.labels[int(i)]
    return f"{label.id} {label.name} {label.hex}"


def hex_color(color: Sequence[int] | np.ndarray) -> str:
    """A colour as ``#rrggbb``."""
    return "#{:02x}{:02x}{:02x}".format(*(int(channel) for channel in color))


def listed(items: Sequence[str], most: int = 6) -> str:
    """The first items, and how many more there are."""
    return "; ".join(items[:most]) + (f"; and {len(items) - most} more" if len(items) > most else "")


def percent(count: int, of: int) -> str:
    """A share for people: ``3.1 %``, never 0 where there is something."""
    share = 100 * count / of
    return "less than 0.1 %" if 0 < share < 0.1 else f"{share:.1f} %"


def pixels(count: int) -> str:
    """``1 pixel``, ``2,031 pixels``."""
    return f"{count:,} pixel" + ("s" if count != 1 else "")
