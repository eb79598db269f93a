"""What every kind of condition has in common, and the list of them, which a person extends with one function."""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..core.errors import ProxymaskError
from ..core.sizes import Size, as_size, centre_box, height_width, same_shape, size_text
from ..imaging.labels import LabelSet
from ..imaging.reader import open_picture
from . import disturb

Source = str | Path | np.ndarray | Image.Image
PictureFunction = Callable[[torch.Tensor], torch.Tensor]
"""Pictures (B, 3, H, W) in [-1, 1] -> planes (B, C, H, W) in [0, 1]."""


class Reading(NamedTuple):
    """A condition as it was understood."""

    planes: torch.Tensor
    """(C, H, W) float32 in [0, 1]: what the mapper sees."""
    painted: torch.Tensor
    """(H, W) bool: where the person said something."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it was read, one phrase each."""


class Condition(ABC):
    """A kind of input: how it is made of a picture, disturbed in training, read from a person's file, and shown.

    Args:
        name: what it is called by.
        channels: planes that the mapper sees.
        labels: the bundle's classes, for conditions that are painted in their colours.
    """

    needs_labels: ClassVar[bool] = False
    """Whether it is made of the few-shot segmenter's labels and not of the picture."""
    colourless: ClassVar[bool] = False
    """Whether its extractor should find the same in a picture of other colours, so that training may change them first."""
    remembers: ClassVar[bool] = False
    """Whether :meth:`read` can use the mean condition of a mapper's training."""

    def __init__(self, name: str, channels: int, labels: LabelSet | None = None) -> None:
        self.name, self.channels, self.labels = name, channels, labels

    def about(self) -> dict[str, Any]:
        """What a bundle must keep to read this condition again."""
        return {"condition": self.name, "channels": self.channels}

    @abstractmethod
    def extract(self, pictures: torch.Tensor, labels: torch.Tensor | None, rng: torch.Generator) -> torch.Tensor:
        """Make the condition of pictures, undisturbed.

        Args:
            pictures: (B, 3, H, W) in [-1, 1].
            labels: (B, H, W) ids, where the condition ``needs_labels``.
            rng: a CPU generator: all that is random comes from it.

        Returns:
            (B, channels, H, W) float32 in [0, 1].

        Raises:
            ProxymaskError: a package or weights are missing.
        """

    def recoloured(self, pictures: torch.Tensor, share: float, rng: torch.Generator) -> torch.Tensor:
        """Pictures (B, 3, H, W) for :meth:`extract` in training, a ``share`` of them in other colours where the condition has none."""
        if not self.colourless or not share:
            return pictures
        return disturb.recolour(pictures, disturb.chance(rng, len(pictures), share), rng)

    def augment(self, planes: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Disturb planes (B, channels, H, W) as a hand would; the same shape. Numbers come from ``rng`` (CPU)."""
        return disturb.jitter(planes, _uniform(rng, len(planes), 0, 1.0), rng)

    @abstractmethod
    def read(self, source: Source, size: Size, invert: bool = False, typical: torch.Tensor | None = None) -> Reading:
        """A person's file (or array, or picture) as planes of ``size``.

        Args:
            source: the condition itself, of any size and aspect ratio.
            size: of the pictures: the side of a square, or (H, W).
            invert: black stands for white, or far for near.
            typical: the mean planes (channels, s, s) of a mapper's training, which tell an inverted input.

        Raises:
            ProxymaskError: no picture, an empty one, a photo where a drawing is expected.
        """

    def read_photo(self, source: Source, size: Size) -> Reading:
        """A picture as ``source``, from which the condition is extracted; what counts is its centre, in the shape of ``size``."""
        if self.needs_labels:
            raise ProxymaskError(f"a {self.name} is made of labels, which a photo has not: paint it, and leave --from-photo out")
        picture, notes = photo_centre(as_picture(source), size)
        pixels = torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        planes = self.extract(pixels, None, torch.Generator().manual_seed(0))[0].cpu().float()
        if not bool(planes.any()):
            raise ProxymaskError(f"{named(source)}: no {self.name} was found in it, it is flat: give another picture or --extractor")
        return Reading(planes, torch.ones(height_width(size), dtype=torch.bool), notes)

    def show(self, planes: torch.Tensor) -> np.ndarray:
        """Planes (B, channels, H, W) as pictures for people, uint8 (B, H, W, 3), which :meth:`read` reads back."""
        shown = planes[:, :3] if planes.shape[1] >= 3 else planes[:, :1].expand(-1, 3, -1, -1)
        return (shown.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


class FunctionCondition(Condition):
    """A condition that a person made of one function; grey (one plane) or in colours (three).

    Where the function is not at hand (a bundle of somebody else), files are still read: only pictures cannot be turned into it.
    """

    def __init__(self, name: str, channels: int, function: PictureFunction | None) -> None:
        super().__init__(name, channels)
        self.function = function

    def extract(self, pictures: torch.Tensor, labels: torch.Tensor | None, rng: torch.Generator) -> torch.Tensor:
        if self.function is None:
            raise ProxymaskError(f"how to make {self.name!r} of a picture is not known here: give --condition FILE.py:{self.name}")
        with torch.autocast(pictures.device.type, enabled=False):
            planes = self.function(pictures.float())
        wanted = (len(pictures), self.channels, *pictures.shape[-2:])
        if not isinstance(planes, torch.Tensor) or tuple(planes.shape) != wanted:
            got = tuple(planes.shape) if isinstance(planes, torch.Tensor) else type(planes).__name__
            raise ProxymaskError(f"the function of the condition {self.name!r} must return {wanted}, it returned {got}")
        low, high = float(planes.min()), float(planes.max())
        if not (low >= -1e-3 and high <= 1 + 1e-3):
            raise ProxymaskError(f"the function of the condition {self.name!r} must return values from 0 to 1, got {low:.3g} to {high:.3g}")
        return planes.float().clamp(0, 1)

    def read(self, source: Source, size: Size, invert: bool = False, typical: torch.Tensor | None = None) -> Reading:
        picture, notes = photo_centre(as_picture(source), size)
        alpha = np.asarray(picture.convert("RGBA"))[..., 3] > 127
        pixels = np.asarray(picture.convert("L" if self.channels == 1 else "RGB"), dtype=np.float32) / 255
        planes = torch.from_numpy(pixels)[None] if self.channels == 1 else torch.from_numpy(pixels).permute(2, 0, 1)
        return Reading((1 - planes if invert else planes).contiguous(), torch.from_numpy(alpha.copy()), notes)


# ------------------------------------------------------------------------------------------------------------------ the list

Factory = Callable[[LabelSet | None, str | None, Path | None], Condition]
_FACTORIES: dict[str, Factory] = {}
_FUNCTIONS: dict[str, tuple[PictureFunction, int]] = {}


def register(name: str, channels: int = 1) -> Callable[[PictureFunction], PictureFunction]:
    """Add a condition made of one function from pictures to planes (see :data:`PictureFunction`); use as a decorator.

    Args:
        name: what it is called by, ``--condition name``.
        channels: planes that the function returns, 1 (grey) or 3 (colours).

    Raises:
        ProxymaskError: the name is one of the built-in conditions', or ``channels`` is another number.
    """
    if name in _FACTORIES:
        raise ProxymaskError(f"there is a condition {name!r} already: choose another name")
    if channels not in (1, 3):
        raise ProxymaskError(f"a condition has 1 plane (grey) or 3 (colours), got {channels}")

    def keep(function: PictureFunction) -> PictureFunction:
        _FUNCTIONS[name] = (function, channels)
        return function

    return keep


def add_factory(name: str, factory: Factory) -> None:
    """Add a built-in condition."""
    _FACTORIES[name] = factory


def condition_names() -> list[str]:
    """The names of all conditions there are."""
    return [*_FACTORIES, *_FUNCTIONS]


def get_condition(
    name: str,
    labels: LabelSet | None = None,
    extractor: str | None = None,
    weights: Path | None = None,
    about: dict[str, Any] | None = None,
) -> Condition:
    """The condition ``name``, or the one that a file defines (``FILE.py:NAME``).

    Args:
        name: a name in :func:`condition_names`, or ``FILE.py:NAME``. Only a file that a person names is ever run, none from a bundle.
        labels: the bundle's classes, for masks and scribbles.
        extractor: one of ``extractors.SPECS`` instead of the condition's own.
        weights: of the extractor.
        about: what a bundle kept of the condition; with it, conditions that are not known here can still be read.

    Raises:
        ProxymaskError: no such condition, no labels where they are needed, a file that cannot be run.
    """
    if ".py:" in name:
        path, _, name = name.rpartition(":")
        _run_file(Path(path))
        if name not in _FUNCTIONS:
            raise ProxymaskError(f"{path} registers no condition {name!r}: decorate its function with @register({name!r})")
    if name in _FUNCTIONS:
        if extractor is not None or weights is not None:
            raise ProxymaskError(f"the condition {name!r} is its own function: leave --extractor and --weights out")
        return FunctionCondition(name, _FUNCTIONS[name][1], _FUNCTIONS[name][0])
    if name in _FACTORIES:
        return _FACTORIES[name](labels, extractor or (about or {}).get("extractor"), weights)
    if about is not None:
        return FunctionCondition(name, int(about["channels"]), None)
    raise ProxymaskError(f"no condition {name!r}: there are {', '.join(condition_names())}, or give FILE.py:NAME")


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
    except Exception as error:  # whatever a person's own file raises is theirs to read
        raise ProxymaskError(f"{path} cannot be run ({type(error).__name__}: {error})") from None


# ------------------------------------------------------------------------------------------------------------ reading pictures


def named(source: Source) -> str:
    """How messages call a source."""
    return str(source) if isinstance(source, str | Path) else "the input"


def as_picture(source: Source) -> Image.Image:
    """A file, array (H, W), (H, W, 3) or (H, W, 4) or PIL picture as a PIL picture; a :class:`ProxymaskError` where it is none."""
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, np.ndarray):
        array = source.astype(np.uint8) * 255 if source.dtype == bool else source
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
        if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
            raise ProxymaskError(f"an input is an array (H, W), (H, W, 3) or (H, W, 4), got {source.shape}")
        if array.dtype == np.uint8:
            return Image.fromarray(array)
        if array.ndim == 2 and (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
            return Image.fromarray(array.astype(np.float32))
        raise ProxymaskError(f"an input in colours is an array of uint8, got {source.dtype}")
    path = Path(source)
    if path.suffix.lower() != ".npy":
        return open_picture(path)
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ProxymaskError(f"{path} does not exist") from None
    except (OSError, ValueError, EOFError) as error:
        raise ProxymaskError(f"{path} cannot be read ({error}): it is truncated or damaged") from None
    return as_picture(array)


def centre_notes(found: Sequence[int], size: Size) -> tuple[str, ...]:
    """What to say where something of a picture (height, width) is cut off to give it the shape of ``size``."""
    if same_shape(found, size):
        return ()
    part = "centre square" if isinstance(as_size(size), int) else f"centre, in the shape of {size_text(size)},"
    return (f"it is {size_text(found)}: its {part} is used",)


def photo_centre(picture: Image.Image, size: Size) -> tuple[Image.Image, tuple[str, ...]]:
    """The centre of a picture, in the shape of ``size`` and that large, and a note where something was cut off."""
    if min(picture.size) < 1:
        raise ProxymaskError("the input has no pixels")
    box, notes = centre_box(picture.height, picture.width, size), centre_notes((picture.height, picture.width), size)
    if picture.mode == "P":
        picture = picture.convert("RGBA")
    height, width = height_width(size)
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box), notes


def padded(values: np.ndarray, size: Size, fill: float = 0.0) -> tuple[np.ndarray, tuple[str, ...]]:
    """(H, W) or (H, W, C) with blank margins (``fill``) that give it the shape of ``size``, and a note where they were added."""
    height, width = values.shape[:2]
    to_height, to_width = height_width(size)
    down, across = max(height, -(-width * to_height // to_width)), max(width, -(-height * to_width // to_height))
    upper, left = (down - height) // 2, (across - width) // 2
    margins = [(upper, down - height - upper), (left, across - width - left)] + [(0, 0)] * (values.ndim - 2)
    shape = "make it square" if to_height == to_width else f"give it the shape of {size_text(size)}"
    note = () if same_shape((height, width), size) else (f"it is {width}x{height}: blank margins {shape}",)
    return np.pad(values, margins, constant_values=fill), note


def area_resize(values: np.ndarray, size: Size) -> torch.Tensor:
    """(H, W) or (H, W, C) float at ``size``: the mean of what covers a pixel, or bilinear where it is enlarged. (C, *size)."""
    planes = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    planes = planes[None] if planes.ndim == 2 else planes.permute(2, 0, 1)
    height, width = height_width(size)
    if planes.shape[-2:] == (height, width):
        return planes.contiguous()
    smaller = planes.shape[-1] > width
    return F.interpolate(planes[None], size=(height, width), mode="bilinear", antialias=smaller)[0].clamp(0, 1)


def _uniform(rng: torch.Generator, count: int, low: float, high: float) -> torch.Tensor:
    """(count, 1, 1, 1) uniform numbers."""
    return torch.rand(count, 1, 1, 1, generator=rng) * (high - low) + low
