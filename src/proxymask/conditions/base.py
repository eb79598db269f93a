"""``Condition``, the base class of all kinds of input, and their registry, to which one function adds a new kind.

Shapes: B pictures, C planes of the condition, H x W the size of the pictures.
"""

import importlib.util
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..core.checks import Range, checked, nearest
from ..core.config_model import ConfigModel
from ..core.errors import ProxymaskError
from ..core.hashing import file_hash, short_hash
from ..core.sizes import Size, as_size, centre_box, height_width, same_aspect_ratio, size_text
from ..imaging.labels import LabelSet
from ..imaging.reader import on_white, opacity, read_picture, read_with_alpha, source_name, to_rgba
from . import augmentations

Source = str | Path | np.ndarray | Image.Image
"""A file, an array or a picture that holds a condition."""
PictureFunction = Callable[[torch.Tensor], torch.Tensor]
"""Pictures (B, 3, H, W) in [-1, 1] -> planes (B, C, H, W) in [0, 1]."""


class Reading(NamedTuple):
    """A condition that was read from a source."""

    planes: torch.Tensor
    """(C, H, W) float32 in [0, 1], the mapper's input."""
    painted: torch.Tensor
    """(H, W) bool: where the source prescribes something; elsewhere the mapper is free."""
    notes: tuple[str, ...] = ()
    """Messages about how it was read, one phrase each."""


class Condition(ABC):
    """A kind of input: how it is extracted from a picture, augmented in training, read from a file, and shown.

    Args:
        name: its name on the command line and in bundles.
        channels: C.
        labels: the bundle's classes, for conditions that are painted in their colours.
    """

    needs_labels: ClassVar[bool] = False
    """Whether it is extracted from the few-shot segmenter's labels and not from the picture."""
    colour_invariant: ClassVar[bool] = False
    """Whether it does not depend on the colours of a picture, so that training may change them before extraction."""
    uses_mean_condition: ClassVar[bool] = False
    """Whether :meth:`read` uses the mean condition of a mapper's training."""

    def __init__(self, name: str, channels: int, labels: LabelSet | None = None) -> None:
        self.name, self.channels, self.labels = name, channels, labels

    def about(self) -> dict[str, Any]:
        """The JSON object that a bundle stores to read this condition again, see :func:`get_condition`."""
        return {"condition": self.name, "channels": self.channels}

    def terms(self) -> str | None:
        """Source and licence of the extractor, which stand on the card of a mapper that learned from it; None without an extractor."""
        return None

    def own_network(self) -> ConfigModel | None:
        """The extractor where it is a network of the user's own making, which a bundle then carries; None otherwise."""
        return None

    def network_hash(self) -> str | None:
        """A hash of the extractor's network where that is not a published one: of the user's own making, or the file that was given; else
        None. Runs that learned from different networks differ in it."""
        network = self.own_network()
        return None if network is None else short_hash(network)

    @abstractmethod
    def extract(self, pictures: torch.Tensor, labels: torch.Tensor | None, rng: torch.Generator) -> torch.Tensor:
        """Extract the condition from pictures, without augmentation.

        Args:
            pictures: (B, 3, H, W) in [-1, 1].
            labels: (B, H, W) ids, where the condition ``needs_labels``.
            rng: a CPU generator, the source of all randomness.

        Returns:
            (B, channels, H, W) float32 in [0, 1].

        Raises:
            ProxymaskError: a package or weights are missing.
        """

    def random_recolour(self, pictures: torch.Tensor, share: float, rng: torch.Generator) -> torch.Tensor:
        """Pictures (B, 3, H, W) -> input of :meth:`extract` in training; a ``share`` is recoloured if the condition is colour invariant."""
        if not self.colour_invariant or not share:
            return pictures
        return augmentations.recolour(pictures, augmentations.chance(rng, len(pictures), share), rng)

    def augment(self, planes: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Augment planes (B, C, H, W) in training, like a drawing by hand; the same shape. ``rng`` is a CPU generator."""
        return augmentations.jitter(planes, augmentations.uniform(rng, len(planes), 0, 1.0), rng)

    @abstractmethod
    def read(self, source: Source, size: Size, invert: bool = False, mean_condition: torch.Tensor | None = None) -> Reading:
        """Read a condition as planes of ``size``.

        Args:
            source: the condition, of any size and aspect ratio.
            size: of the pictures, the side of a square or (H, W).
            invert: swap black and white, or far and near.
            mean_condition: mean planes (C, s, s) of a mapper's training, by which an inverted input is recognised.

        Raises:
            ProxymaskError: not a picture, an empty one, or a photo where a drawing is expected.
        """

    def read_photo(self, source: Source, size: Size) -> Reading:
        """Extract the condition from a photo. Only its centre is used, cropped to the aspect ratio of ``size``."""
        if self.needs_labels:
            raise ProxymaskError(f"a {self.name} cannot be extracted from a photo, which has no labels: paint it; leave --from-photo out")
        said: list[str] = []
        picture, notes = centre_crop(read_picture(source, notes=said), size)
        pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        planes = self.extract(pixels, None, torch.Generator().manual_seed(0))[0].cpu().float()
        if not bool(planes.any()):
            raise ProxymaskError(f"{source_name(source)}: no {self.name} was found in it: give another picture or another --extractor")
        return Reading(planes, torch.ones(height_width(size), dtype=torch.bool), (*said, *notes))

    def show(self, planes: torch.Tensor) -> np.ndarray:
        """Planes (B, C, H, W) -> pictures, uint8 (B, H, W, 3), which :meth:`read` reads back."""
        shown = planes[:, :3] if planes.shape[1] >= 3 else planes[:, :1].expand(-1, 3, -1, -1)
        return (shown.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


class FunctionCondition(Condition):
    """A condition defined by one function from pictures to planes, grey (one plane) or in colours (three).

    ``function`` is None for a bundle whose function is not registered here. Its files can be read, but no picture be converted.
    """

    def __init__(self, name: str, channels: int, function: PictureFunction | None) -> None:
        super().__init__(name, channels)
        self.function = function

    def network_hash(self) -> str | None:
        """A hash of the file that holds the function, where it is the user's."""
        file = None if self.function is None else inspect.getsourcefile(self.function)
        if file is None or Path(file).is_relative_to(Path(__file__).parents[1]) or not Path(file).is_file():
            return None
        return file_hash(Path(file))[:16]

    def extract(self, pictures: torch.Tensor, labels: torch.Tensor | None, rng: torch.Generator) -> torch.Tensor:
        if self.function is None:
            raise ProxymaskError(f"the function of the condition {self.name!r} is not registered: give --condition FILE.py:{self.name}")
        with torch.autocast(pictures.device.type, enabled=False):
            planes = self.function(pictures.float())
        wanted = (len(pictures), self.channels, *pictures.shape[-2:])
        if not isinstance(planes, torch.Tensor) or tuple(planes.shape) != wanted:
            got = tuple(planes.shape) if isinstance(planes, torch.Tensor) else type(planes).__name__
            raise ProxymaskError(f"the function of the condition {self.name!r} must return shape {wanted}, it returned {got}")
        low, high = float(planes.min()), float(planes.max())
        if not (low >= -1e-3 and high <= 1 + 1e-3):
            raise ProxymaskError(f"the function of the condition {self.name!r} must return values from 0 to 1, got {low:.3g} to {high:.3g}")
        return planes.float().clamp(0, 1)

    def read(self, source: Source, size: Size, invert: bool = False, mean_condition: torch.Tensor | None = None) -> Reading:
        said: list[str] = []
        picture, notes = centre_crop(read_with_alpha(source, notes=said), size)
        hidden = opacity(picture)
        given = torch.ones(height_width(size), dtype=torch.bool) if hidden is None else torch.from_numpy(hidden > 127)
        pixels = np.asarray(on_white(picture).convert("L" if self.channels == 1 else "RGB"), dtype=np.float32) / 255
        planes = torch.from_numpy(pixels)[None] if self.channels == 1 else torch.from_numpy(pixels).permute(2, 0, 1)
        return Reading(((1 - planes if invert else planes) * given).contiguous(), given, (*said, *notes))


# ------------------------------------------------------------------------------------------------------------------ registry

Factory = Callable[[LabelSet | None, str | None, Path | None], Condition]
"""(labels, extractor, weights) -> condition; see :func:`get_condition` for the arguments."""
_FACTORIES: dict[str, Factory] = {}
_FUNCTIONS: dict[str, tuple[PictureFunction, int]] = {}


@checked
def register(name: str, channels: Annotated[int, Range(1, 3)] = 1) -> Callable[[PictureFunction], PictureFunction]:
    """Decorator that adds a condition: its function takes pictures and returns planes, see :data:`PictureFunction`.

    Args:
        name: its name, ``--condition name``.
        channels: planes that the function returns, 1 (grey) or 3 (colours).

    Raises:
        ProxymaskError: the name of a built-in condition, or another number of ``channels``.
    """
    if name in _FACTORIES:
        raise ProxymaskError(f"there is a condition {name!r} already: choose another name")
    if channels not in (1, 3):
        raise ProxymaskError(f"a condition has 1 plane (grey) or 3 (colours), got {channels}")

    def add(function: PictureFunction) -> PictureFunction:
        _FUNCTIONS[name] = (function, channels)
        return function

    return add


def add_factory(name: str, factory: Factory) -> None:
    """Add a built-in condition."""
    _FACTORIES[name] = factory


def condition_names() -> list[str]:
    """The names of all built-in and registered conditions."""
    return [*_FACTORIES, *_FUNCTIONS]


@checked
def get_condition(
    name: str,
    labels: LabelSet | None = None,
    extractor: str | None = None,
    weights: Path | None = None,
    about: dict[str, Any] | None = None,
) -> Condition:
    """Make the condition ``name``.

    Args:
        name: a name in :func:`condition_names`, or ``FILE.py:NAME`` for a condition that FILE.py registers. That file is executed; code
            from a bundle never is.
        labels: the bundle's classes, for masks and scribbles.
        extractor: a key of ``extractors.SPECS``; None: the default of the condition.
        weights: file or folder of the extractor's weights.
        about: the stored :meth:`Condition.about` of a bundle; with it, unknown conditions can still be read.

    Raises:
        ProxymaskError: unknown condition, missing labels, a file that cannot be executed.
    """
    if ".py:" in name:
        path, _, name = name.rpartition(":")
        before = _FUNCTIONS.pop(name, None)
        _run_file(Path(path))
        if name not in _FUNCTIONS:
            if before is not None:
                _FUNCTIONS[name] = before
            raise ProxymaskError(f"{path} registers no condition {name!r}: decorate its function with @register({name!r})")
    if name in _FUNCTIONS:
        if extractor is not None or weights is not None:
            raise ProxymaskError(f"the condition {name!r} is a function of its own: leave --extractor and --weights out")
        return FunctionCondition(name, _FUNCTIONS[name][1], _FUNCTIONS[name][0])
    if name in _FACTORIES:
        return _FACTORIES[name](labels, extractor or (about or {}).get("extractor"), weights)
    if about is not None:
        return FunctionCondition(name, int(about["channels"]), None)
    known = condition_names()
    raise ProxymaskError(f"unknown condition {name!r}: use one of {', '.join(known)}, or FILE.py:NAME{nearest(name, known)}")


def _run_file(path: Path) -> None:
    if not path.is_file():
        raise ProxymaskError(f"{path} does not exist: a condition of your own is FILE.py:NAME")
    spec = importlib.util.spec_from_file_location(f"proxymask_condition_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except ProxymaskError:
        raise
    except Exception as error:  # a file of the user can raise anything
        raise ProxymaskError(f"{path} cannot be run ({type(error).__name__}: {error})") from None


# ------------------------------------------------------------------------------------------------------------ reading pictures


def crop_notes(found: Sequence[int], size: Size) -> tuple[str, ...]:
    """The note that a picture of (height, width) ``found`` is cropped to the aspect ratio of ``size``; empty where it is not."""
    if same_aspect_ratio(found, size):
        return ()
    part = "centre square" if isinstance(as_size(size), int) else f"centre, in the shape of {size_text(size)},"
    return (f"it is {size_text(found)}: its {part} is used",)


def centre_crop(picture: Image.Image, size: Size) -> tuple[Image.Image, tuple[str, ...]]:
    """Crop the centre of a picture to the aspect ratio of ``size`` and resize it to that; with a note where something was cropped."""
    if min(picture.size) < 1:
        raise ProxymaskError("the input has no pixels")
    box, notes = centre_box(picture.height, picture.width, size), crop_notes((picture.height, picture.width), size)
    if picture.mode not in ("L", "RGB", "RGBA") or "transparency" in picture.info:
        picture = to_rgba(picture)
    height, width = height_width(size)
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box), notes


def pad_to_aspect_ratio(values: np.ndarray, size: Size) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pad (H, W) or (H, W, C) with zeros to the aspect ratio of ``size``; with a note where something was added."""
    height, width = values.shape[:2]
    to_height, to_width = height_width(size)
    down, across = max(height, -(-width * to_height // to_width)), max(width, -(-height * to_width // to_height))
    upper, left = (down - height) // 2, (across - width) // 2
    margins = [(upper, down - height - upper), (left, across - width - left)] + [(0, 0)] * (values.ndim - 2)
    shape = "make it square" if to_height == to_width else f"give it the shape of {size_text(size)}"
    note = () if same_aspect_ratio((height, width), size) else (f"it is {width}x{height}: blank margins {shape}",)
    return np.pad(values, margins), note


def area_resize(values: np.ndarray, size: Size) -> torch.Tensor:
    """Resize (H, W) or (H, W, C) to ``size`` -> (C, *size) float32 in [0, 1]: mean over each pixel, or bilinear where it is enlarged."""
    planes = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    planes = planes[None] if planes.ndim == 2 else planes.permute(2, 0, 1)
    height, width = height_width(size)
    if planes.shape[-2:] == (height, width):
        return planes.contiguous()
    smaller = planes.shape[-1] > width
    return F.interpolate(planes[None], size=(height, width), mode="bilinear", antialias=smaller)[0].clamp(0, 1)
