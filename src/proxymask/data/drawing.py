"""What every kind of drawn pictures has: an art, which makes composers, which make pictures with exact masks and depth.

Shapes: H x W = size x size.
"""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np

from ..imaging.labels import LabelSet


class ComposedPicture(NamedTuple):
    """``image`` uint8 (H, W, 3); its exact ``mask`` uint8 (H, W); ``layers``, what was chosen for each part of it; its exact ``depth``
    float32 (H, W), 0 farthest to 1 nearest, or None."""

    image: np.ndarray
    mask: np.ndarray
    layers: dict[str, str]
    depth: np.ndarray | None = None


class Composer(Protocol):
    """Makes the pictures of one art at one size."""

    @property
    def labels(self) -> LabelSet:
        """The classes of the masks."""

    def compose(self, seed: int, index: int, with_depth: bool = False) -> ComposedPicture:
        """Picture number ``index`` of the set with ``seed``; it depends on nothing else. ``with_depth`` adds its depth and changes nothing
        else."""


class Art(Protocol):
    """One kind of drawn pictures."""

    @property
    def kind(self) -> str:
        """Its name: that of ``proxymask data KIND``."""

    @property
    def labels(self) -> LabelSet:
        """The classes of its masks."""

    @property
    def framings(self) -> Iterable[str]:
        """The parts of a drawing that a picture can show, the default first; none where pictures are not cut out of drawings."""

    @property
    def terms(self) -> dict[str, str]:
        """Authors and terms of use; ``dataset.json`` repeats them."""

    def composer(self, size: int, framing: str | None) -> Composer:
        """A composer of pictures ``size`` pixels wide and high. ``framing`` is one of ``framings``; None is the default.

        Raises:
            ProxymaskError: an unknown framing, a size out of range, or a package that is missing.
        """
