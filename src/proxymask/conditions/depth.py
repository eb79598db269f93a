"""Depth: one plane, 0 the farthest to 1 the nearest of each picture."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..core.errors import ProxymaskError
from ..core.sizes import Size, centre_box, height_width
from ..imaging.labels import LabelSet
from . import disturb
from .base import Condition, Reading, Source, as_picture, centre_notes, named
from .extractors import SPECS, Extractor, get_extractor

METRES = 1.5  # a largest value above this, in floating point, is a measurement in metres
MILLIMETRES = 20_000  # a largest 16-bit value up to this is a measurement in millimetres (20 m); above, a relative depth
LEAST_RANGE = 0.02  # of the whole range of an 8-bit map; less is flat
UNLIKE = -0.15  # correlation with what the mapper has seen, below which a map is inverted


class DepthCondition(Condition):
    """Relative depth, near is bright.

    Args:
        extractor: one of ``extractors.SPECS`` that gives depth.
        weights: of the extractor.
    """

    remembers = True

    def __init__(self, extractor: str, weights: Path | None = None) -> None:
        super().__init__("depth", 1)
        if extractor not in SPECS or SPECS[extractor].gives != "depth":
            able = ", ".join(spec.name for spec in SPECS.values() if spec.gives == "depth")
            raise ProxymaskError(f"{extractor!r} is no extractor of depth: there are {able}")
        self.extractor, self.weights = extractor, weights
        self._open: Extractor | None = None

    def about(self) -> dict[str, Any]:
        return {**super().about(), "extractor": self.extractor}

    def extract(self, pictures: torch.Tensor, labels: torch.Tensor | None, rng: torch.Generator) -> torch.Tensor:
        if self._open is None:
            self._open = get_extractor(self.extractor, "depth", self.weights)
            if isinstance(self._open, torch.nn.Module):
                self._open.to(pictures.device)
        with torch.no_grad(), torch.autocast(pictures.device.type, enabled=False):
            return stretched(self._open(pictures.float()).float())

    def augment(self, planes: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Another scale (inverse depth against depth is a bend of it), blur, noise, coarse steps, holes."""
        b = len(planes)
        bend = torch.exp(disturb.uniform(rng, b, -0.9, 0.9)).to(planes)
        planes = planes.clamp(0, 1) ** bend
        planes = disturb.jitter(planes, disturb.uniform(rng, b, -0.5, 1.0).clamp(min=0), rng)
        planes = disturb.soften(planes, disturb.uniform(rng, b, -1.0, 1.0).clamp(min=0))
        noise = torch.randn(planes.shape, generator=rng) * disturb.uniform(rng, b, -0.03, 0.02).clamp(min=0)
        planes = (planes + noise.to(planes)).clamp(0, 1)
        steps = disturb.uniform(rng, b, 16, 64).round().to(planes)
        planes = torch.where(disturb.chance(rng, b, 0.2).to(planes) > 0, (planes * steps).round() / steps, planes)
        return disturb.remove(planes, 0.1 * disturb.chance(rng, b, 0.1), rng)

    def read(self, source: Source, size: Size, invert: bool = False, typical: torch.Tensor | None = None) -> Reading:
        near, known, notes = read_depth(source)
        left, upper, right, lower = centre_box(near.shape[0], near.shape[1], size)
        notes += centre_notes(near.shape, size)
        near, known = near[upper:lower, left:right], known[upper:lower, left:right]
        weight = _resized(known.astype(np.float32), size)
        planes = _resized(np.where(known, near, 0), size) / weight.clamp(min=1e-3)
        given = weight[0] > 0.5
        if not bool(given.any()):
            raise ProxymaskError(f"{named(source)} is empty: it has no measurement")
        inside = planes[0][given]
        low, high = torch.quantile(inside, 0.01), torch.quantile(inside, 0.99)
        if float(high - low) < 1e-6:
            raise ProxymaskError(f"{named(source)} is empty: it has one depth all over")
        planes = ((planes - low) / (high - low)).clamp(0, 1)
        if invert:
            planes = 1 - planes
        elif typical is not None and _likeness(planes, typical) < UNLIKE:
            planes = 1 - planes
            notes += ("near seems to be dark in it: read as inverted",)
        return Reading(planes * given, given, notes)


def stretched(depth: torch.Tensor) -> torch.Tensor:
    """(B, 1, H, W) with every picture's range brought to 0..1, as :meth:`DepthCondition.read` does."""
    flat = depth.flatten(1)
    low, high = torch.quantile(flat, 0.01, dim=1), torch.quantile(flat, 0.99, dim=1)
    low, span = low.view(-1, 1, 1, 1), (high - low).clamp(min=1e-6).view(-1, 1, 1, 1)
    return ((depth - low) / span).clamp(0, 1)


def read_depth(source: Source) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Nearness (H, W) float32, on some scale that grows towards the viewer; where it is known (H, W) bool; notes.

    8-bit and full-range 16-bit maps are relative, near is bright. Floating point above 1.5 is metres, 16-bit integers up to 20,000
    are millimetres: both turn into their inverse, on which metres and millimetres are the same; 0 and what is not finite there is
    no measurement. Files: any picture that Pillow reads, or ``.npy``.

    Raises:
        ProxymaskError: a colour picture, or nothing in it.
    """
    name = named(source)
    if isinstance(source, str | Path) and Path(source).suffix.lower() == ".npy":
        values, integer = _array(as_picture(source), name)
        stored = np.load(source, mmap_mode="r", allow_pickle=False)
        integer = bool(np.issubdtype(stored.dtype, np.integer))
    else:
        values, integer = _array(as_picture(source), name)
        if isinstance(source, np.ndarray):
            integer = bool(np.issubdtype(source.dtype, np.integer))
    finite = np.isfinite(values)
    if not finite.any():
        raise ProxymaskError(f"{name} is empty: it has no measurement")
    top = float(values[finite].max())
    if float(values[finite].min()) < 0:
        raise ProxymaskError(f"{name} has negative depths: shift it to 0 and above")
    metric = (not integer and top > METRES) or (integer and 255 < top <= MILLIMETRES)
    if metric:
        known = finite & (values > 0)
        if not known.any():
            raise ProxymaskError(f"{name} is empty: it has no measurement")
        near = np.where(known, 1 / np.maximum(values, 1e-6), 0).astype(np.float32)
        return near / near.max(), known, (f"read as distances in {'millimetres' if integer else 'metres'}, near is small",)
    scale = (65535 if top > 255 else 255) if integer else max(top, 1e-6)
    near = np.where(finite, values / scale, 0).astype(np.float32)
    spread = np.quantile(near[finite], 0.99) - np.quantile(near[finite], 0.01)
    if spread < (LEAST_RANGE if integer and top <= 255 else 1e-6):
        raise ProxymaskError(f"{name} is empty: it has one depth all over")
    return near, finite, ()


def _array(picture: Any, name: str) -> tuple[np.ndarray, bool]:
    """(H, W) float32 and whether it was stored in integers."""
    if picture.mode in ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
        pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
        if float(np.abs(pixels - pixels.mean(axis=-1, keepdims=True)).mean()) > 3:
            raise ProxymaskError(
                f"{name} has colours, and depth is grey: add --from-photo to measure the depth of a photo; a map in false colours must be "
                "saved in grey"
            )
        return pixels.mean(axis=-1), True
    if picture.mode in ("LA", "La"):
        picture = picture.convert("L")
    values = np.asarray(picture)
    return values.astype(np.float32), picture.mode != "F"


def _resized(values: np.ndarray, size: Size) -> torch.Tensor:
    x = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None, None]
    if x.shape[-2:] == height_width(size):
        return x[0]
    return F.interpolate(x, size=height_width(size), mode="bilinear", antialias=True)[0]


def _likeness(planes: torch.Tensor, typical: torch.Tensor) -> float:
    """Correlation of planes (1, H, W) with the mean of a mapper's training (1, s, s)."""
    a = F.adaptive_avg_pool2d(planes, typical.shape[-1]).flatten()
    b = typical.float().cpu().flatten()
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-6))


def depth(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> DepthCondition:
    """A depth map; by MiDaS, as in the paper (supplement E), unless another extractor is named."""
    return DepthCondition(extractor or "midas", weights)
