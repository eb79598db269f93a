"""The API people use: a style set once, then a picture for every mask or drawing.

>>> synth = Synthesizer.from_pretrained("avatars")
>>> synth.set_style(seed=3)
>>> picture = synth("mask.png")

What depends on the style alone (features at the cut, keys, values) is computed by :meth:`Synthesizer.set_style`; a new
mask costs the mapper, the query, the attention and G2.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ..conditions import Condition, Reading, get_condition
from ..core.device import autocast, resolve_device, resolve_precision
from ..core.errors import ProxymaskError
from ..core.sizes import Size, height_width
from ..imaging.masks import read_mask
from ..imaging.pictures import from_pixels
from ..models.layers import fused_copy
from ..models.logits_to_proxy_mask import ProxyMaskMode, is_hard, logits_to_cluster_ids, logits_to_proxy_mask
from ..models.mappers import Mapper
from ..models.rearranger import QueryTokens, StyleKV
from ..models.split_generator import FusedG2, SplitState
from ..models.unet_mapper import UNetMapper
from .bundle import Bundle
from .mask_query import MaskQuery

MaskLike = str | Path | np.ndarray | Image.Image
Unpainted = Literal["style", "mapper"]
"""What stands where nothing was painted: the style sample's own layout, or what the mapper believes."""
JOIN_REACH = 2.0  # cells of the proxy mask over which one condition gives way to another
SURE = 30.0  # logit of a cluster that is certain


@dataclasses.dataclass(frozen=True)
class Style:
    """A style with everything that depends on it alone; or several, one for each picture of a batch."""

    w: torch.Tensor
    """(1, w_dim) or (1, num_ws, w_dim); several: as many as pictures."""
    state: SplitState
    keys: StyleKV
    tail: FusedG2 | None
    """G2 with the style in its weights; of one style only."""
    present: torch.Tensor
    """(1, K) bool: the clusters that the style has (:meth:`ProxyClusters.available`)."""
    prior: torch.Tensor
    """(1, K): see :meth:`ProxyClusters.prior`."""


@dataclasses.dataclass(frozen=True)
class Result:
    """One picture and how it came about."""

    picture: Image.Image
    proxy_mask: np.ndarray
    """Clusters (h, w) uint8, the most likely where the mapper gave probabilities."""
    mask: np.ndarray | None
    """The mask as it was understood, ids (H, W) uint8; None for a transfer and for other conditions."""
    notes: tuple[str, ...] = ()
    """What was noticed while the input was read."""


class Synthesizer:
    """Pictures from masks with a bundle.

    Args:
        bundle: an opened bundle.
        device: auto, cpu, cuda or mps.
        precision: auto, fp32 or bf16.
    """

    def __init__(self, bundle: Bundle, device: str = "auto", precision: str = "auto") -> None:
        self.device = resolve_device(device)
        self.dtype = resolve_precision(precision, self.device)
        self.bundle = bundle.to(self.device)
        self.cut = bundle.split_generator().to(self.device)
        for part in bundle.parts().values():
            part.eval().requires_grad_(False)
            if self.device.type != "mps":
                part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # what every call would convert or multiply again is done once, so that what is ready needs no autocast, which would look at every
        # operand once more; the bundle itself stays what it is
        self._mappers: dict[str, tuple[Mapper, Mapper]] = {}
        self.rearranger = fused_copy(bundle.rearranger, self.dtype)
        self.query = MaskQuery(bundle.rearranger, self.dtype)
        self.proxy_mask_mode: ProxyMaskMode = bundle.about.get("proxy_mask_mode", "soft")
        self._style: Style | None = None

    @classmethod
    def from_pretrained(cls, source: str | Path = "avatars", device: str = "auto", precision: str = "auto") -> "Synthesizer":
        """Open a bundle by folder, embedded name or hub name."""
        return cls(Bundle.load(source), device, precision)

    @property
    def size(self) -> Size:
        """Side of the pictures; (height, width) where they are not square."""
        return self.bundle.size

    @torch.inference_mode()
    def w(self, seeds: Sequence[int], truncation: float = 1.0) -> torch.Tensor:
        """w (N, w_dim) of integer seeds."""
        return self.cut.w(self.bundle.generator.z(seeds).to(self.device), truncation)

    @torch.inference_mode()
    def make_style(self, seed: int | None = None, w: torch.Tensor | None = None, truncation: float = 1.0) -> Style:
        """A style from a seed or from w, with its keys and values."""
        if (seed is None) == (w is None):
            raise ProxymaskError("a style comes from a seed or from a w: give one of the two")
        latent = self.w([seed], truncation) if seed is not None else w
        assert latent is not None
        latent = latent.to(self.device)
        with autocast(self.device, self.dtype):
            state = self.cut.features(latent)
            tail = self.cut.fuse_g2(latent, self.dtype) if len(latent) == 1 else None
        keys, clusters = self.keys(state), self.bundle.clusters
        return Style(latent, state, keys, tail, clusters.available(keys.counts), clusters.prior(keys.counts))

    @torch.inference_mode()
    def keys(self, state: SplitState) -> StyleKV:
        """What the attention needs of styles, from their states at the cut (B samples)."""
        with autocast(self.device, self.dtype):
            keys = self.rearranger.encode_style(state, self.bundle.clusters.assign(state.features))
        # what all keys have in common adds the same to all logits of a question, which changes nothing but the rounding of those logits
        key = keys.key.float() - keys.key.float().mean(dim=1, keepdim=True)
        return keys._replace(key=key.to(self.dtype), value=keys.value.to(self.dtype))

    def set_style(self, seed: int | None = None, w: torch.Tensor | None = None, truncation: float = 1.0) -> Style:
        """Choose the style of the pictures to come; its part of the work is done here, once."""
        self._style = self.make_style(seed, w, truncation)
        return self._style

    def read_mask(self, mask: MaskLike) -> np.ndarray:
        """Check a mask against the bundle's labels and bring it to picture size: ids (H, W) uint8."""
        if self.bundle.labels is None:
            how = "proxymask fit --bundle ... --labels ..."
            raise ProxymaskError(f"the bundle {self.bundle.name} has no labels yet: train its mapper first ({how})")
        return read_mask(mask, self.bundle.labels, self.size)

    @torch.inference_mode()
    def map(self, masks: np.ndarray, mapper: str = "mask") -> torch.Tensor:
        """Label ids (B, H, W) -> the mapper's logits (B, K, h, w): all that depends on the mask alone."""
        if mapper not in self.bundle.mappers:
            have = ", ".join(sorted(self.bundle.mappers)) or "none"
            raise ProxymaskError(f"the bundle {self.bundle.name} has no mapper {mapper!r} (it has: {have})")
        return self._mapper(mapper)(torch.tensor(masks, dtype=torch.long, device=self.device))

    def _mapper(self, name: str) -> Mapper:
        """The bundle's mapper of that name, made ready; the bundle may get others at any time."""
        mapper = self.bundle.mappers[name]
        known = self._mappers.get(name)
        if known is None or known[0] is not mapper:
            known = self._mappers[name] = mapper, fused_copy(mapper, self.dtype)
        return known[1]

    @torch.inference_mode()
    def proxy(self, logits: torch.Tensor, style: Style | None = None) -> torch.Tensor:
        """The mapper's logits and a style -> the proxy mask that the rearranger takes (B, K, h, w)."""
        style = self._chosen(style)
        return logits_to_proxy_mask(logits, self.proxy_mask_mode, style.prior)

    @torch.inference_mode()
    def asked(self, logits: torch.Tensor, style: Style | None = None) -> torch.Tensor:
        """The same as :meth:`proxy`, but as ids (B, h, w) where the bundle hands over one cluster a position: what :meth:`render` is
        fastest with."""
        style = self._chosen(style)
        if not is_hard(self.proxy_mask_mode):
            return self.proxy(logits, style)
        return logits_to_cluster_ids(logits, self.proxy_mask_mode, style.prior)

    def substituted(self, ids: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Proxy masks of other samples (B, h, w) as a transfer asks styles for them that have the clusters ``present`` (B, K)."""
        return self.bundle.clusters.substitute(ids, present, self.bundle.rearranger.substitute_threshold)

    def _chosen(self, style: Style | None) -> Style:
        style = style or self._style
        if style is None:
            raise ProxymaskError("choose a style first: synth.set_style(seed=3)")
        return style

    @torch.inference_mode()
    def render(self, proxy: torch.Tensor, style: Style | None = None) -> torch.Tensor:
        """Proxy masks, as ids (B, h, w) or planes (B, K, h, w), one-hot or soft, in a style -> pictures (B, 3, H, W) in [-1, 1],
        float32."""
        style = self._chosen(style)
        b = proxy.shape[0]
        with autocast(self.device, self.dtype):
            asked = self.ask(proxy)
        keys = StyleKV(*(t.expand(b, *t.shape[1:]) for t in style.keys))
        moved = self.rearranger.attend(asked, keys)
        if style.tail is not None:
            return style.tail(moved).clamp_(-1, 1)
        with autocast(self.device, self.dtype):
            return self.cut.render(moved, style.w).float().clamp_(-1, 1)

    def ask(self, proxy: torch.Tensor) -> QueryTokens:
        """What the rearranger is asked of proxy masks, as ids (B, h, w) or planes (B, K, h, w)."""
        if proxy.ndim == 3:
            return self.query(proxy)
        if float(proxy.amin()) < 0:
            raise ProxymaskError("render takes proxy masks, which are not negative; the mapper's logits go through synth.proxy first")
        return self.rearranger.encode_mask(proxy)

    def condition(self, name: str, extractor: str | None = None, weights: Path | None = None) -> Condition:
        """The condition ``name`` (or ``FILE.py:NAME``) as this bundle's mapper for it takes it.

        Raises:
            ProxymaskError: no such condition, no labels where they are needed, an extractor that gives something else.
        """
        plain = name.rpartition(":")[2]
        known = [about for mapper, about in self.bundle.conditions.items() if about["condition"] == plain and mapper in self.bundle.mappers]
        return get_condition(name, self.bundle.labels, extractor, weights, known[0] if known else None)

    def read_condition(self, source: MaskLike, condition: str | Condition, from_photo: bool = False, invert: bool = False) -> Reading:
        """A person's input as what the mapper sees.

        Args:
            source: path, array or PIL picture, of any size and aspect ratio.
            condition: its kind.
            from_photo: ``source`` is a picture from which the condition is to be extracted first.
            invert: white on black, or far is bright, whatever it looks like.

        Raises:
            ProxymaskError: the input cannot be used; the message says why and what to do.
        """
        kind = self.condition(condition) if isinstance(condition, str) else condition
        if from_photo:
            if invert:
                raise ProxymaskError("a photo is not inverted: leave --invert or --from-photo out")
            return kind.read_photo(source, self.size)
        typical = None
        if kind.uses_mean_condition:
            mapper = self.bundle.mappers[self.bundle.mapper_for(kind.name)]
            typical = mapper.typical if isinstance(mapper, UNetMapper) and int(mapper.seen) else None
        return kind.read(source, self.size, invert, typical)

    @torch.inference_mode()
    def map_planes(self, planes: torch.Tensor, mapper: str) -> torch.Tensor:
        """Planes (B, C, H, W) of a condition -> the logits (B, K, h, w) of the mapper of that name."""
        if mapper not in self.bundle.mappers:
            self.bundle.mapper_for(mapper)  # says what there is
        return self._mapper(mapper)(planes.to(self.device, self.dtype))

    @torch.inference_mode()
    def map_reading(self, reading: Reading, mapper: str, style: Style | None = None, unpainted: Unpainted = "mapper") -> torch.Tensor:
        """Logits (1, K, h, w) of one reading; with ``unpainted="style"``, cells where nothing is painted keep the style's own cluster."""
        logits = self.map_planes(reading.planes[None], mapper).float()
        if unpainted == "mapper":
            return logits
        return self._keep_style(logits, reading.painted, style)

    def _keep_style(self, logits: torch.Tensor, painted: torch.Tensor, style: Style | None) -> torch.Tensor:
        own = self.bundle.clusters.one_hot(self.bundle.clusters.assign(self._chosen(style).state.features)).to(logits)
        return torch.where(cells(painted, logits.shape[-2:]).to(logits.device), logits, SURE * own)

    @torch.inference_mode()
    def join(self, logits: Sequence[torch.Tensor], painted: Sequence[torch.Tensor]) -> torch.Tensor:
        """Several conditions' logits (1, K, h, w), with where each is painted (H, W), as one.

        The rule: at every cell the log probabilities are averaged, each condition with a weight that falls off with the distance to what
        is painted in it, ``exp(-distance / 2 cells)``. So each decides alone where it is painted and the others are not, they share
        what lies between, and where two are painted both count alike.
        """
        size = logits[0].shape[-2:]
        far = torch.stack([distance_to(cells(where, size)) for where in painted]).to(logits[0].device)  # (N, h, w)
        weights = (-far / JOIN_REACH).softmax(dim=0)
        return torch.stack([w * x.float().log_softmax(dim=1) for w, x in zip(weights, logits, strict=True)]).sum(dim=0)

    def generate(
        self,
        mask: MaskLike,
        style: Style | None = None,
        mapper: str | None = None,
        *,
        condition: str = "mask",
        from_photo: bool = False,
        invert: bool = False,
        unpainted: Unpainted = "mapper",
    ) -> Result:
        """A mask, or another condition (path, PIL picture or array), to a picture, with its proxy mask.

        Args:
            mask: the mask (array of ids too), drawing, edge map, depth map ...
            style: the one that was set where None.
            mapper: which of the bundle's; the one for ``condition`` where None.
            condition: what ``mask`` is.
            from_photo, invert: see :meth:`read_condition`.
            unpainted: what stands where nothing was painted.

        Raises:
            ProxymaskError: an input that cannot be used, or a bundle without a mapper for it.
        """
        if condition == "mask" and unpainted == "mapper" and not from_photo and not invert:
            ids = self.read_mask(mask)
            proxy = self.asked(self.map(ids[None], mapper or "mask"), style)
            return self._result(self.render(proxy, style), proxy, ids)
        kind = self.condition(condition)
        chosen = mapper or self.bundle.mapper_for(kind.name)
        reading = self.read_condition(mask, kind, from_photo, invert)
        proxy = self.asked(self.map_reading(reading, chosen, style, unpainted), style)
        return dataclasses.replace(self._result(self.render(proxy, style), proxy, None), notes=reading.notes)

    def generate_mixed(
        self, inputs: Sequence[tuple[str, MaskLike]], style: Style | None = None, *, unpainted: Unpainted = "mapper"
    ) -> Result:
        """Several conditions at once, as (condition, input) pairs: a scribble for the hair, a sketch for the rest; see :meth:`join`.

        Raises:
            ProxymaskError: as :meth:`generate`; no inputs.
        """
        if not inputs:
            raise ProxymaskError("there is nothing to paint from: give at least one (condition, input)")
        kinds = [self.condition(name) for name, _ in inputs]
        readings = [self.read_condition(source, kind) for kind, (_, source) in zip(kinds, inputs, strict=True)]
        logits = self.mixed_logits(readings, [self.bundle.mapper_for(kind.name) for kind in kinds], style, unpainted)
        proxy = self.asked(logits, style)
        notes = tuple(f"{kind.name}: {note}" for kind, reading in zip(kinds, readings, strict=True) for note in reading.notes)
        return dataclasses.replace(self._result(self.render(proxy, style), proxy, None), notes=notes)

    def mixed_logits(
        self, readings: Sequence[Reading], mappers: Sequence[str], style: Style | None = None, unpainted: Unpainted = "mapper"
    ) -> torch.Tensor:
        """Logits (1, K, h, w) of one or several readings, each with its mapper, joined as :meth:`join` says."""
        if len(readings) == 1:
            return self.map_reading(readings[0], mappers[0], style, unpainted)
        each = [self.map_reading(reading, name) for reading, name in zip(readings, mappers, strict=True)]
        painted = [reading.painted for reading in readings]
        joined = self.join(each, painted)
        return joined if unpainted == "mapper" else self._keep_style(joined, torch.stack(painted).any(dim=0), style)

    def __call__(self, mask: MaskLike) -> Image.Image:
        """The picture of a mask in the style that was set."""
        return self.generate(mask).picture

    @torch.inference_mode()
    def transfer(self, shape_seed: int, style_seed: int, truncation: float = 1.0) -> Result:
        """Shape of one sample, style of another, no mapper (supplement, section F)."""
        with autocast(self.device, self.dtype):
            features = self.cut.features(self.w([shape_seed], truncation)).features
        style = self.make_style(style_seed, truncation=truncation)
        proxy = self.substituted(self.bundle.clusters.assign(features), style.present)
        return self._result(self.render(proxy, style), proxy, None)

    @torch.inference_mode()
    def sample(self, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Unconditional pictures (B, 3, H, W), their proxy masks (B, h, w), and labels (B, H, W) where there is a segmenter."""
        w = w.to(self.device)
        with autocast(self.device, self.dtype):
            levels, picture = self.cut.feature_pyramid(w)
            features_at_split = levels[self.cut.generator.synthesis.block_resolutions.index(self.cut.resolution)]
            proxy = self.bundle.clusters.assign(features_at_split)
            labels = None
            if self.bundle.segmenter is not None:
                labels = self.bundle.segmenter([level.float() for level in levels]).float().argmax(dim=1)
        return picture.float().clamp(-1, 1), proxy, labels

    def _result(self, picture: torch.Tensor, proxy: torch.Tensor, mask: np.ndarray | None) -> Result:
        pixels = picture[0].add(1).mul(127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        ids = proxy if proxy.ndim == 3 else proxy.argmax(dim=1)
        return Result(from_pixels(pixels), ids[0].to(torch.uint8).cpu().numpy(), mask)


def cells(painted: torch.Tensor, size: int | Sequence[int]) -> torch.Tensor:
    """Painted pixels (H, W) as cells (h, w) of ``size`` bool: a cell is painted where a pixel of it is."""
    return F.adaptive_max_pool2d(painted[None, None].float(), height_width(size))[0, 0] > 0


def distance_to(marks: torch.Tensor) -> torch.Tensor:
    """Distance in cells to the nearest mark (h, w) bool, 0 on one; half the longer side everywhere where there is none."""
    height, width = marks.shape
    at = torch.nonzero(marks).float()
    if not len(at):
        return torch.full(marks.shape, max(height, width) / 2)
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.cdist(torch.stack([ys, xs], dim=-1).reshape(-1, 2).float(), at.cpu()).amin(dim=1).view(height, width)
