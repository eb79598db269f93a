"""Pictures with exact masks, composed from layered drawings (used by ``avatars.py`` and ``cats.py``).

Every layer is a transparent drawing on a common canvas. A picture is a random choice of drawings, one for each layer, under one random
similarity transform. Its mask is, at every pixel, the class of the last layer that covers it. Picture and mask are made from the same
resampled layers, so they match exactly.

Shapes: H x W = size x size.
"""

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from ..core.checks import nearest
from ..core.errors import ProxymaskError
from ..core.seeding import derive_seed
from ..imaging.labels import LabelSet
from ..imaging.reader import open_picture, to_rgba
from .drawing import ComposedPicture

CANVAS = 1024  # side of the drawings of both sets
SUPERSAMPLE = 2  # layers are resampled at twice the size of the picture and averaged, for smooth edges
BLEED = 128  # canvas pixels by which a drawing that ends at the lower edge is continued, so that a shift leaves no gap
MAX_ROTATION, MAX_SCALE, MAX_SHIFT = 6.0, 0.05, 0.03  # degrees; fraction; fraction of the side


@dataclass(frozen=True)
class LayerSpec:
    """One layer.

    Args:
        folder: of its drawings, in the set.
        label: its class.
        chance: probability that a picture has it.
        threshold: of its alpha (0..1), above which a pixel belongs to it.
        thick, floor, relief: its depth (0 background, about 1 nearest). Its surface is ``thick`` nearer than what it covers, at ``floor``
            or nearer, and up to ``relief`` nearer towards its middle.
    """

    folder: str
    label: str
    chance: float = 1.0
    threshold: float = 0.5
    thick: float = 0.03
    floor: float = 0.0
    relief: float = 0.05


@dataclass(frozen=True)
class LayerArt:
    """One set of drawings: its folder, its layers in drawing order, its classes, its framings, and the terms of its licence.

    ``framings`` maps a name to the part of the canvas that a picture shows, a square (x, y, side).
    """

    kind: str
    folder: str
    layers: tuple[LayerSpec, ...]
    labels: LabelSet
    framings: dict[str, tuple[int, int, int]]
    terms: dict[str, str]

    def composer(self, size: int, framing: str | None = None) -> "LayerComposer":
        """A :class:`LayerComposer` of these drawings; ``framing`` None is the first."""
        return LayerComposer(self, size, framing or next(iter(self.framings)))


class _Drawing(NamedTuple):
    """A drawing at working scale (size * SUPERSAMPLE), premultiplied (mode RGBa), cropped to its bounding box, which starts at (x, y)."""

    picture: Image.Image
    x: int
    y: int


class LayerComposer:
    """Composes the pictures of one :class:`LayerArt`, deterministic in ``(seed, index)``.

    Args:
        art: the drawings.
        size: side of the picture in pixels, 8 to 1024.
        framing: a key of ``art.framings``.

    Raises:
        ProxymaskError: unknown framing, size out of range, or the drawings are not installed.
    """

    def __init__(self, art: LayerArt, size: int, framing: str) -> None:
        if framing not in art.framings:
            near = nearest(framing, art.framings)
            raise ProxymaskError(f"--framing {framing} is unknown for {art.kind}: use one of {', '.join(art.framings)}{near}")
        if not 8 <= size <= CANVAS:
            raise ProxymaskError(f"--size must be 8 to {CANVAS} pixels, got {size}")
        self.art, self.size, self.framing = art, size, framing
        self.labels = art.labels
        root = _art_folder(art.folder)
        self._choices: list[list[Path]] = []
        for spec in art.layers:
            files = sorted((root / spec.folder).glob("*.png"))
            # `chance` alone decides whether an optional layer is there, not a blank drawing.
            files = [file for file in files if spec.chance == 1.0 or file.stem != "Blank"]
            if not files:
                raise ProxymaskError(f"{root / spec.folder} holds no drawings: reinstall with pip install --force-reinstall robohash==2.0")
            self._choices.append(files)
        self._cache: dict[Path, _Drawing | None] = {}

    def compose(self, seed: int, index: int, with_depth: bool = False) -> ComposedPicture:
        """Picture number ``index`` of the set with ``seed``. ``with_depth`` adds its depth and does not change anything else.

        Depth follows the drawing order. A layer is nearer than what it covers and bulges smoothly towards its middle, so that depth is
        not a function of the mask.
        """
        rng = np.random.default_rng(derive_seed(seed, self.art.kind, index))
        background = rng.integers(90, 246, size=3)
        affine = self._random_affine(rng)
        picture = Image.new("RGBA", (self.size, self.size), (*(int(v) for v in background), 255))
        mask = np.zeros((self.size, self.size), dtype=np.uint8)
        depth = np.zeros((self.size, self.size), dtype=np.float32) if with_depth else None
        chosen: dict[str, str] = {}
        for spec, files in zip(self.art.layers, self._choices, strict=True):
            # Both numbers are drawn for every layer, so that the choice of a layer does not depend on the others.
            present, number = rng.random() < spec.chance, int(rng.integers(len(files)))
            drawing = self._drawing(files[number]) if present else None
            if drawing is not None:
                chosen[spec.label] = files[number].stem
                self._add_layer(picture, mask, depth, drawing, affine, spec)
        return ComposedPicture(np.asarray(picture.convert("RGB")), mask, chosen, None if depth is None else depth.clip(0, 1))

    def _random_affine(self, rng: np.random.Generator) -> tuple[float, ...]:
        """(a, b, c, d, e, f) from pixels of the picture to pixels of the drawings, at working scale: rotate, scale, mirror and shift."""
        angle = math.radians(rng.uniform(-MAX_ROTATION, MAX_ROTATION))
        scale = 1 + rng.uniform(-MAX_SCALE, MAX_SCALE)
        shift = rng.uniform(-MAX_SHIFT, MAX_SHIFT, size=2)
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        x0, y0, side = self.art.framings[self.framing]
        fine = self.size * SUPERSAMPLE
        a, b = mirror * math.cos(angle) / scale, mirror * math.sin(angle) / scale
        d, e = -math.sin(angle) / scale, math.cos(angle) / scale
        centre = fine / 2
        c = centre + x0 * fine / side - (a + b) * centre + shift[0] * fine
        f = centre + y0 * fine / side - (d + e) * centre + shift[1] * fine
        return a, b, c, d, e, f

    def _add_layer(
        self,
        picture: Image.Image,
        mask: np.ndarray,
        depth: np.ndarray | None,
        drawing: _Drawing,
        affine: tuple[float, ...],
        spec: LayerSpec,
    ) -> None:
        """Paint a drawing onto the picture, its mask and its depth, in place."""
        left, upper, right, lower = _covered_box(drawing, affine, self.size)
        if left >= right or upper >= lower:
            return
        a, b, c, d, e, f = affine
        x, y = left * SUPERSAMPLE, upper * SUPERSAMPLE
        matrix = (a, b, c + a * x + b * y - drawing.x, d, e, f + d * x + e * y - drawing.y)
        extent = ((right - left) * SUPERSAMPLE, (lower - upper) * SUPERSAMPLE)
        layer = drawing.picture.transform(extent, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR).reduce(SUPERSAMPLE)
        region = mask[upper:lower, left:right]
        region[np.asarray(layer.getchannel("a")) > 255 * spec.threshold] = self.labels.by_name(spec.label).id
        if depth is not None:
            alpha = Image.new("L", (self.size, self.size))  # of the whole picture, so that the bulge is not clipped at the box
            alpha.paste(layer.getchannel("a"), (left, upper))
            _add_depth(depth, alpha, spec)
        picture.alpha_composite(layer.convert("RGBA"), (left, upper))

    def _drawing(self, file: Path) -> _Drawing | None:
        """The drawing at working scale, read once; None if it is blank."""
        if file not in self._cache:
            self._cache[file] = self._read(file)
        return self._cache[file]

    def _read(self, file: Path) -> _Drawing | None:
        scale = self.size * SUPERSAMPLE / self.art.framings[self.framing][2]
        try:
            picture = to_rgba(open_picture(file)).convert("RGBa")
        except ProxymaskError as error:
            raise ProxymaskError(f"{error.message}; pip install --force-reinstall robohash==2.0") from None
        covered = picture.getbbox()
        if covered is None:
            return None
        # Pixel k at working scale covers the canvas from k / scale to (k + 1) / scale. The result has the pixels that the drawing touches
        # and a margin around them, because resampling gives hard edges at the border of a picture.
        left, upper = (math.floor(v * scale) - 2 for v in covered[:2])
        right = math.ceil(covered[2] * scale) + 2
        bottom = CANVAS + BLEED if covered[3] == CANVAS else covered[3]
        lower = math.ceil(bottom * scale) + 2
        margin = math.ceil(2 / scale) + 2  # support of the filter
        x, y = math.floor(left / scale) - margin, math.floor(upper / scale) - margin
        cut = picture.crop((x, y, math.ceil(right / scale) + margin, math.ceil(lower / scale) + margin))
        if bottom > CANVAS:
            last = picture.crop((x, CANVAS - 1, x + cut.width, CANVAS))
            cut.paste(last.resize((cut.width, BLEED), Image.Resampling.NEAREST), (0, CANVAS - y))
        box = (left / scale - x, upper / scale - y, right / scale - x, lower / scale - y)
        return _Drawing(cut.resize((right - left, lower - upper), Image.Resampling.HAMMING, box=box), left, upper)


def _add_depth(depth: np.ndarray, alpha: Image.Image, spec: LayerSpec) -> None:
    """Add a layer to ``depth`` (H, W), in place; ``alpha`` is that of the layer, at the size of the picture."""
    bulge = np.asarray(alpha.filter(ImageFilter.GaussianBlur(alpha.width / 12)), dtype=np.float32) / 255
    inside = np.asarray(alpha) > 255 * spec.threshold
    if inside.any():
        surface = np.maximum(depth, spec.floor) + spec.thick + spec.relief * bulge / bulge[inside].max()
        depth[inside] = surface[inside]


def _covered_box(drawing: _Drawing, affine: tuple[float, ...], size: int) -> tuple[int, int, int, int]:
    """The box (left, upper, right, lower) of the picture that a drawing can cover; only this part is resampled."""
    a, b, c, d, e, f = affine
    determinant = a * e - b * d
    u = np.array([drawing.x, drawing.x + drawing.picture.width]) - c
    v = np.array([drawing.y, drawing.y + drawing.picture.height]) - f
    u, v = np.meshgrid(u, v)
    x = (e * u - b * v) / determinant / SUPERSAMPLE
    y = (a * v - d * u) / determinant / SUPERSAMPLE
    left, upper = max(0, math.floor(x.min())), max(0, math.floor(y.min()))
    return left, upper, min(size, math.ceil(x.max())), min(size, math.ceil(y.max()))


def _art_folder(name: str) -> Path:
    """The folder of a set inside the package ``robohash``, which is located without importing it."""
    spec = importlib.util.find_spec("robohash")
    if spec is None or not spec.submodule_search_locations:
        raise ProxymaskError("the drawings come with the package robohash, which is not installed: pip install 'proxymask[data]'")
    folder = Path(next(iter(spec.submodule_search_locations))) / "sets" / name
    if not folder.is_dir():
        raise ProxymaskError(f"{folder} is missing: pip install --force-reinstall robohash==2.0")
    return folder
