"""Depth maps: one plane, 0 farthest to 1 nearest in each picture."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ..core.errors import ProxymaskError
from ..core.sizes import Size, centre_box, height_width
from ..imaging.arrays import split_masked
from ..imaging.labels import LabelSet
from ..imaging.raw_values import MAXIMUM, SIXTEEN_BITS
from ..imaging.reader import as_picture, opacity, source_name, stored_array, to_rgba
from ..models.depth_net import DepthNet
from . import augmentations
from .base import Condition, Reading, Source, crop_notes
from .extractors import DEPTH_NET, Extractor, check_extractor, get_extractor, given_weights_hash, terms_of

MIN_METRES = 1.5  # a floating-point map with a larger maximum is in metres
MAX_MILLIMETRES = 20_000  # a 16-bit map with a maximum up to this is in millimetres (20 m); above, it is relative depth
MIN_RANGE = 0.02  # of the whole range of an 8-bit map; a map with less is flat
SATURATED = 3  # times the next largest value: a repeated maximum above that is no measurement
SATURATED_CODES = {65535.0: 2.0, 65534.0: 2.0, 65.535: 2.0}  # values that many sensors write for "no measurement", with lower factors
REPEATED = 1e-4  # share of the pixels above which a maximum is repeated
HOLE_GAP, HOLE_SHARE = 0.1, 1e-3  # zeros are holes where no value is between 0 and this share of the maximum, and they have this share
LONGEST = 2048  # pixels of the longer side; of larger maps every second, third, ... pixel is read
RELATIVE = "read as relative depth, near is bright"
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
        check_extractor(extractor, "depth")
        self.extractor, self.weights = extractor, weights
        self._open: Extractor | None = None

    def about(self) -> dict[str, Any]:
        return {**super().about(), "extractor": self.extractor}

    def terms(self) -> str:
        return terms_of(self.extractor, self.weights)

    def network_hash(self) -> str | None:
        return super().network_hash() or given_weights_hash(self.weights)

    def use(self, network: DepthNet) -> None:
        """Extract with a copy of ``network``, which stays where it is, and not with weights from files."""
        self._open = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def own_network(self) -> DepthNet | None:
        """As :meth:`Condition.own_network`."""
        if self.extractor != DEPTH_NET:
            return None
        network = self._opened()
        assert isinstance(network, DepthNet)
        return network

    def _opened(self) -> Extractor:
        if self._open is None:
            self._open = get_extractor(self.extractor, "depth", self.weights)
        return self._open

    def extract(self, pictures: torch.Tensor, labels: torch.Tensor | None, rng: torch.Generator) -> torch.Tensor:
        extractor = self._opened()
        if isinstance(extractor, torch.nn.Module):
            extractor.to(pictures.device)
        with torch.no_grad(), torch.autocast(pictures.device.type, enabled=False):
            return stretch_range(extractor(pictures.float()).float())

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
        found = read_depth(source)
        left, upper, right, lower = centre_box(found.near.shape[0], found.near.shape[1], size)
        near, known, holes = (part[upper:lower, left:right] for part in (found.near, found.known, found.holes))
        notes = found.notes + crop_notes(found.size, size)
        name = source_name(source)
        others = tuple(note for note in notes if note != RELATIVE)
        planes, given = _planes(near, known & ~holes if invert else known, size, name, found.farthest)
        if invert:
            return Reading((1 - planes) * given, given, (*others, "read as inverted: near is dark"))
        if mean_condition is not None:
            judged = _planes(near, known & ~holes, size, name, found.farthest) if holes.any() else (planes, given)
            if _correlation(*judged, mean_condition) < INVERTED_CORRELATION:
                planes, given = 1 - judged[0], judged[1]
                notes = (*others, "near seems to be dark in it: read as inverted")
        return Reading(planes * given, given, notes)


def _planes(near: np.ndarray, known: np.ndarray, size: Size, name: str, farthest: float | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Nearness (H, W) in any unit, where ``known`` -> planes (1, *size), 0 farthest to 1 nearest, and where they are measured (*size).

    The 1st and 99th percentile become 0 and 1, or ``farthest`` and the 99th percentile.
    """
    weight = _resized(known.astype(np.float32), size)
    planes = _resized(np.where(known, near, 0), size) / weight.clamp(min=1e-3)
    given = weight[0] > 0.5
    if not bool(given.any()):
        raise ProxymaskError(f"{name} is empty: it has no measurement")
    inside = planes[0][given]
    low, high = torch.quantile(inside, 0.01), torch.quantile(inside, 0.99)
    low = low if farthest is None else torch.tensor(farthest)
    if float(high - low) < 1e-6:
        raise ProxymaskError(f"{name} is empty: it has one depth all over")
    return ((planes - low) / (high - low)).clamp(0, 1), given


def stretch_range(depth: torch.Tensor) -> torch.Tensor:
    """(B, 1, H, W) with the 1st to 99th percentile of each picture scaled to [0, 1], as in :meth:`DepthCondition.read`."""
    flat = depth.flatten(1)
    low, high = torch.quantile(flat, 0.01, dim=1), torch.quantile(flat, 0.99, dim=1)
    low, span = low.view(-1, 1, 1, 1), (high - low).clamp(min=1e-6).view(-1, 1, 1, 1)
    return ((depth - low) / span).clamp(0, 1)


class DepthMap(NamedTuple):
    """A depth map as it was read; (H, W) each."""

    near: np.ndarray
    """Nearness, float32, larger is nearer, in any unit."""
    known: np.ndarray
    """Where it was measured, bool."""
    holes: np.ndarray
    """Where a relative map is 0 and nothing else is near 0, bool: the farthest points; no measurement if bright turns out to be far."""
    size: tuple[int, int]
    """(height, width) of the source."""
    notes: tuple[str, ...]
    farthest: float | None = None
    """Nearness of what is beyond the range of the sensor (infinite distances); None: nothing is."""


def read_depth(source: Source) -> DepthMap:
    """Read a depth map from any picture, array or ``.npy`` file.

    Unmeasured are transparent and non-finite values, masked ones of masked arrays, one repeated negative value, and a saturated value: a
    repeated maximum far above all others, as 65535. They are set aside first; the unit is that of the other values. Floating point is in
    metres where it exceeds 1.5 or has unmeasured values (or zeros with nothing near them), integers of 256 to 20,000 are millimetres;
    both become inverse distances, in which 0 is unmeasured too. All other maps are relative depth, near is bright. A note says what was
    assumed.

    Raises:
        ProxymaskError: a colour picture, negative depths, or an empty map.
    """
    name = source_name(source)
    values, visible, integer, size = _values(source, name)
    known = np.isfinite(values) & visible
    marked = not integer and not bool(np.isfinite(values).all())
    if not known.any():
        raise ProxymaskError(f"{name} is empty: it has no measurement")
    notes: tuple[str, ...] = ()
    negative = known & (values < 0)
    if negative.any():
        if len(np.unique(values[negative])) > 1:
            raise ProxymaskError(f"{name} has negative depths: shift it to 0 and above, or set what is no measurement to NaN")
        known, marked = known & ~negative, True
        notes += (f"its {float(values[negative][0]):g} is no measurement",)
    while (saturated := _saturated(values, known, integer)) is not None:
        known, marked = known & (values != saturated), True
        notes += (f"its maximum, {saturated:g}, is no measurement",)
    if not known.any():
        raise ProxymaskError(f"{name} is empty: it has no measurement")
    top, holes = float(values[known].max()), _zero_holes(values, known)
    in_metres = top > MIN_METRES or marked or (bool(holes.any()) and top != 1)
    metric = 255 < top <= MAX_MILLIMETRES if integer else in_metres
    if metric:
        known &= values > 0
        if not known.any():
            raise ProxymaskError(f"{name} is empty: it has no measurement")
        near = np.where(known, 1 / np.maximum(np.where(known, values, 1), 1e-6), 0).astype(np.float32)
        share = 1 - float(known.mean())
        missing = (f"{share:.0%} of it is unmeasured",) if share >= 0.005 else ()
        notes += (f"read as distances in {'millimetres' if integer else 'metres'}, near is small", *missing)
        near /= near.max()
        # infinite: farther than all that was measured, here by a factor of two
        farthest = float(near[known].min()) / 2 if visible[np.isposinf(values)].any() else None
        return DepthMap(near, known, np.zeros_like(known), size, notes, farthest)
    scale = (65535 if top > 255 else 255) if integer else max(top, 1e-6)
    near = np.where(known, values / scale, 0).astype(np.float32)
    spread = np.quantile(near[known], 0.99) - np.quantile(near[known], 0.01)
    if spread < (MIN_RANGE if integer and top <= 255 else 1e-6):
        raise ProxymaskError(f"{name} is empty: it has one depth all over")
    return DepthMap(near, known, holes, size, (*notes, RELATIVE))


def _saturated(values: np.ndarray, known: np.ndarray, integer: bool) -> float | None:
    """The maximum of the known values if it is no measurement, see :func:`read_depth`.

    It is one in 8-bit maps and in floating point up to 1.5, where it is the nearest part of a relative map, and in maps of two levels.
    """
    top = float(values[known].max()) if known.any() else 0.0
    if top <= (255 if integer else MIN_METRES):
        return None
    at = known & (values == top)
    rest = values[known & ~at]
    if at.mean() <= REPEATED or not rest.size:
        return None
    factor = next((factor for code, factor in SATURATED_CODES.items() if abs(top - code) < 1e-3), float(SATURATED))
    below, least = float(rest.max()), rest[rest > 0]
    return top if below > 0 and top >= factor * below and float(least.min()) < below else None


def _zero_holes(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Zeros that are apart from all other known values, (H, W) bool."""
    zeros = known & (values == 0)
    positive = values[known & (values > 0)]
    apart = positive.size and zeros.mean() >= HOLE_SHARE and float(positive.min()) >= HOLE_GAP * float(positive.max())
    return zeros if apart else np.zeros_like(zeros)


def _values(source: Source, name: str) -> tuple[np.ndarray, np.ndarray, bool, tuple[int, int]]:
    """Values (H, W) float32, where they are opaque, whether they were stored as integers, and the size of the source."""
    stored = stored_array(source)
    if stored is not None and stored.ndim == 2 and stored.size and stored.dtype not in (bool, np.uint8):
        if not np.issubdtype(stored.dtype, np.integer) and not np.issubdtype(stored.dtype, np.floating):
            raise ProxymaskError(f"{name} has numbers of type {stored.dtype}: depth is integers or floating point")
        numbers, masked = split_masked(stored)
        values = _every(numbers).astype(np.float32)
        visible = np.ones(values.shape, bool) if masked is None else ~_every(masked)
        return values, visible, bool(np.issubdtype(stored.dtype, np.integer)), stored.shape
    picture = as_picture(source if stored is None else stored)
    opaque = opacity(picture)
    if picture.mode in ("L", "F", "I", "1") or picture.mode.startswith("I;16"):
        values = _every(np.asarray(picture)).astype(np.float32)
        values = values * 255 if picture.mode == "1" else values
        if picture.mode == "I" and MAXIMUM in picture.info:
            values = (values * (picture.info[MAXIMUM] / 65535)).round()
    else:
        pixels = _every(np.asarray(to_rgba(picture)))
        seen = pixels[pixels[..., 3] > 127][:, :3].astype(np.float32)
        if seen.size and float(np.abs(seen - seen.mean(axis=-1, keepdims=True)).mean()) > 3:
            raise ProxymaskError(
                f"{name} has colours, and depth is grey: add --from-photo to measure the depth of a photo; a map in false colours must be "
                "saved in grey"
            )
        values = pixels[..., :3].astype(np.float32).mean(axis=-1)
        if picture.info.get(SIXTEEN_BITS) and seen.size and float(seen.max()) <= MAX_MILLIMETRES >> 8:
            raise ProxymaskError(
                f"{name} has colours or alpha with 16 bits, of which 8 are read, and may be in millimetres: save it as 16-bit grey"
            )
    known = np.ones(values.shape, bool) if opaque is None else _every(opaque) > 127
    return values, known, picture.mode != "F", (picture.height, picture.width)


def _every(values: np.ndarray) -> np.ndarray:
    """Every k-th row and column, so that at most ``LONGEST`` are left: means would mix measured and unmeasured values."""
    step = -(-max(values.shape[:2]) // LONGEST)
    return values[step // 2 :: step, step // 2 :: step]


def _resized(values: np.ndarray, size: Size) -> torch.Tensor:
    """(H, W) -> (1, *size)."""
    x = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None, None]
    if x.shape[-2:] == height_width(size):
        return x[0]
    return F.interpolate(x, size=height_width(size), mode="bilinear", antialias=True)[0]


def _correlation(planes: torch.Tensor, given: torch.Tensor, mean_condition: torch.Tensor) -> float:
    """Correlation of planes (1, H, W), where ``given``, with the mean condition (1, s, s) of a mapper's training."""
    side = mean_condition.shape[-1]
    weight = F.adaptive_avg_pool2d(given[None].float(), side).flatten()
    a = F.adaptive_avg_pool2d(planes * given, side).flatten() / weight.clamp(min=1e-6)
    b = mean_condition.float().cpu().flatten()
    inside = weight > 0.5
    if int(inside.sum()) < 2:
        return 0.0
    a, b = a[inside], b[inside]
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-6))


def depth(labels: LabelSet | None, extractor: str | None, weights: Path | None) -> DepthCondition:
    """A depth map; the default extractor is MiDaS, as in the paper (supplement E)."""
    return DepthCondition(extractor or "midas", weights)
