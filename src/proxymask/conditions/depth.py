"""Depth maps: one plane, 0 farthest to 1 nearest in each picture."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..core.errors import ProxymaskError
from ..core.sizes import Size, centre_box, height_width
from ..imaging.labels import LabelSet
from . import augmentations
from .base import Condition, Reading, Source, as_picture, crop_notes, source_name
from .extractors import SPECS, Extractor, get_extractor

MIN_METRES = 1.5  # a floating-point map with a larger maximum is in metres
MAX_MILLIMETRES = 20_000  # a 16-bit map with a maximum up to this is in millimetres (20 m); above, it is relative depth
MIN_RANGE = 0.02  # of the whole range of an 8-bit map; a map with less is flat
INVERTED_CORRELATION = -0.15  # with the mean condition of training; a map with less is inverted


class DepthCondition(Condition):
    """Relative depth, near is bright.

    Args:
        extractor: a key of ``extractors.SPECS`` whose output is depth.
        weights: file or folder of the extractor's weights.
    """

    uses_mean_condition = True

    def __init__(self, extractor: str, weights: Path | None = None) -> None:
        super().__init__("depth", 1)
        if extractor not in SPECS or SPECS[extractor].output != "depth":
            able = ", ".join(spec.name for spec in SPECS.values() if spec.output == "depth")
            raise ProxymaskError(f"--extractor {extractor}: not an extractor of depth; use one of {able}")
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
            return stretch_range(self._open(pictures.float()).float())

    def augment(self, planes: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """Random gamma (inverse depth is about a gamma of depth), displacement, blur, noise, coarse steps, holes."""
        b = len(planes)
        gamma = torch.exp(augmentations.uniform(rng, b, -0.9, 0.9)).to(planes)
        planes = planes.clamp(0, 1) ** gamma
        planes = augmentations.jitter(planes, augmentations.uniform(rng, b, -0.5, 1.0).clamp(min=0), rng)
        planes = augmentations.soften(planes, augmentations.uniform(rng, b, -1.0, 1.0).clamp(min=0))
        noise = torch.randn(planes.shape, generator=rng) * augmentations.uniform(rng, b, -0.03, 0.02).clamp(min=0)
        planes = (planes + noise.to(planes)).clamp(0, 1)
        steps = augmentations.uniform(rng, b, 16, 64).round().to(planes)
        planes = torch.where(augmentations.chance(rng, b, 0.2).to(planes) > 0, (planes * steps).round() / steps, planes)
        return augmentations.remove(planes, 0.1 * augmentations.chance(rng, b, 0.1), rng)

    def read(self, source: Source, size: Size, invert: bool = False, mean_condition: torch.Tensor | None = None) -> Reading:
        near, known, notes = read_depth(source)
        left, upper, right, lower = centre_box(near.shape[0], near.shape[1], size)
        notes += crop_notes(near.shape, size)
        near, known = near[upper:lower, left:right], known[upper:lower, left:right]
        weight = _resized(known.astype(np.float32), size)
        planes = _resized(np.where(known, near, 0), size) / weight.clamp(min=1e-3)
        given = weight[0] > 0.5
        if not bool(given.any()):
            raise ProxymaskError(f"{source_name(source)} is empty: it has no measurement")
        inside = planes[0][given]
        low, high = torch.quantile(inside, 0.01), torch.quantile(inside, 0.99)
        if float(high - low) < 1e-6:
            raise ProxymaskError(f"{source_name(source)} is empty: it has one depth all over")
        planes = ((planes - low) / (high - low)).clamp(0, 1)
        if invert:
            planes = 1 - planes
        elif mean_condition is not None and _correlation(planes, mean_condition) < INVERTED_CORRELATION:
            planes = 1 - planes
            notes += ("near seems to be dark in it: read as inverted",)
        return Reading(planes * given, given, notes)


def stretch_range(depth: torch.Tensor) -> torch.Tensor:
    """(B, 1, H, W) with the 1st to 99th percentile of each picture scaled to [0, 1], as in :meth:`DepthCondition.read`."""
    flat = depth.flatten(1)
    low, high = torch.quantile(flat, 0.01, dim=1), torch.quantile(flat, 0.99, dim=1)
    low, span = low.view(-1, 1, 1, 1), (high - low).clamp(min=1e-6).view(-1, 1, 1, 1)
    return ((depth - low) / span).clamp(0, 1)


def read_depth(source: Source) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Read a depth map -> nearness (H, W) float32, larger is nearer, in any unit; validity (H, W) bool; notes.

    8-bit maps and 16-bit maps of full range are relative depth, near is bright. Floating point above 1.5 is in metres, 16-bit integers up
    to 20,000 are in millimetres; both become inverse distances, in which 0 and non-finite values are missing measurements. Files: any
    picture that Pillow reads, or ``.npy``.

    Raises:
        ProxymaskError: a colour picture, negative depths, or an empty map.
    """
    name = source_name(source)
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
    metric = (not integer and top > MIN_METRES) or (integer and 255 < top <= MAX_MILLIMETRES)
    if metric:
        known = finite & (values > 0)
        if not known.any():
            raise ProxymaskError(f"{name} is empty: it has no measurement")
        near = np.where(known, 1 / np.maximum(values, 1e-6), 0).astype(np.float32)
        return near / near.max(), known, (f"read as distances in {'millimetres' if integer else 'metres'}, near is small",)
    scale = (65535 if top > 255 else 255) if integer else max(top, 1e-6)
    near = np.where(finite, values / scale, 0).astype(np.float32)
    spread = np.quantile(near[finite], 0.99) - np.quantile(near[finite], 0.01)
    if spread < (MIN_RANGE if integer and top <= 255 else 1e-6):
        raise ProxymaskError(f"{name} is empty: it has one depth all over")
    return near, finite, ()


def _array(picture: Any, name: str) -> tuple[np.ndarray, bool]:
    """Values (H, W) float32, and whether they were stored as integers."""
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
    """(H, W) -> (1, *size)."""
    x = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None, None]
    if x.shape[-2:] == height_width(size):
        return x[0]
    return F.interpolate(x, size=height_width(size), mode="bilinear", antialias=True)[0]


def _correlation(planes: torch.Tensor, mean_condition: torch.Tensor) -> float:
    """Correlation of planes (1, H, W) with the mean condition (1, s, s) of a mapper's training."""
    a = F.adaptive_avg_pool2d(planes, mean_condition.shape[-1]).flatten()
    b = mean_condition.float().cpu().flatten()
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-6))


def depth(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> DepthCondition:
    """A depth map; the default extractor is MiDaS, as in the paper (supplement E)."""
    return DepthCondition(extractor or "midas", weights)
