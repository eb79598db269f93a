"""A kind of scenes, and the composer that renders them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from ...core.errors import ProxymaskError
from ...core.seeding import derive_seed
from ...imaging.labels import LabelSet
from ..drawing import ComposedPicture
from .render import Scene, embree, render

MAX_SIZE = 1024
_TERMS = {
    "authors": "made by proxymask: no art of others is in it",
    "terms": "free to use",
    "package": "proxymask (code: Apache-2.0), rendered with embreex",
}


@dataclass(frozen=True)
class SceneArt:
    """One kind of scenes: ``draw`` makes a random scene, and ``labels`` are its classes."""

    kind: str
    draw: Callable[[np.random.Generator], Scene]
    labels: LabelSet
    terms: dict[str, str] = field(default_factory=lambda: dict(_TERMS))

    @property
    def framings(self) -> Iterable[str]:
        """None: every scene has a camera of its own."""
        return ()

    def composer(self, size: int, framing: str | None) -> "SceneComposer":
        """A :class:`SceneComposer`; ``framing`` must be None."""
        if framing is not None:
            raise ProxymaskError(f"framing is {framing!r}, but {self.kind} have no framings: leave it out")
        return SceneComposer(self, size)


class SceneComposer:
    """Renders the pictures of one :class:`SceneArt`, deterministic in ``(seed, index)``; the scene is the same at every size.

    Raises:
        ProxymaskError: ``size`` is not 8 to 1024 pixels, or embreex is not installed.
    """

    def __init__(self, art: SceneArt, size: int) -> None:
        if not 8 <= size <= MAX_SIZE:
            raise ProxymaskError(f"--size must be 8 to {MAX_SIZE} pixels, got {size}")
        embree()
        self.art, self.size, self.labels = art, size, art.labels

    def compose(self, seed: int, index: int, with_depth: bool = False) -> ComposedPicture:
        """Picture number ``index`` of the set with ``seed``. ``with_depth`` adds its depth and does not change anything else.

        Depth is that of networks which estimate it: one over the distance along the viewing direction, times the distance of the nearest
        point of the picture. So 1 is that point, and 0 the sky.
        """
        scene = self.art.draw(np.random.default_rng(derive_seed(seed, self.art.kind, index)))
        done = render(scene, self.size)
        depth = done.nearness / max(float(done.nearness.max()), 1e-9) if with_depth else None
        return ComposedPicture(done.image, done.mask, scene.parts, depth)
