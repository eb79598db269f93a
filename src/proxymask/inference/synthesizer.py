"""The Python interface: pictures from masks and other conditions.

>>> synth = Synthesizer.from_pretrained("avatars")
>>> picture = synth("mask.png", 3)  # a mask and a style: a seed, or what synth.make_style returns
>>> pictures = synth(["a.png", "b.png"], [3, 8])

Shapes: B pictures of H x W pixels; proxy masks have h x w positions; K clusters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..conditions import Reading
from ..core.checks import Seed, Truncation, checked
from ..core.device import resolve_device, resolve_precision
from ..core.errors import ProxymaskError
from ..core.sizes import Size, height_width, size_text
from ..core.threads import inference, one_thread
from ..imaging.grids import to_uint8
from ..imaging.labels import LabelSet
from ..imaging.pictures import from_pixels
from ..models.logits_to_proxy_mask import ProxyMaskMode
from .bundle import Bundle
from .conditions import ConditionSteps, Unpainted
from .detail_inputs import mask_inputs, reading_inputs
from .inputs import MaskLike, MasksLike, read_masks, read_single_mask
from .output import OutputType, Result, block_output, check_output_type, make_output
from .region_styles import RegionG2, assign_styles, attend_by_region, choose_by_region, shrink
from .style import (
    OneStyle,
    RegionStyles,
    Style,
    StyleCache,
    StyleLike,
    ThreadStyle,
    check_one_style,
    check_style,
    check_truncation,
    join_styles,
    style_list,
)

BLOCK_PIXELS, BLOCK_PICTURES = 2**20, 32  # computed at once on a GPU: 1 picture of 1024 x 1024, 16 of 256 x 256, at most 32


@dataclass(frozen=True)
class SynthesizerConfig:
    """What a synthesizer's bundle is."""

    name: str
    size: Size
    """Side of the pictures; (height, width) where they are not square."""
    cut: int
    """Resolution at which the generator is split."""
    num_clusters: int
    labels: tuple[str, ...]
    """Names of the labels, in the order of their ids; none without a label set."""
    mappers: tuple[str, ...]
    conditions: dict[str, str]
    """By mapper: what it reads ("mask", "sketch", ...)."""
    proxy_mask_mode: ProxyMaskMode


class Synthesizer(ConditionSteps):
    """Pictures from masks and other conditions with a bundle.

    A style, an integer seed or a :class:`Style`, is an argument of every call, so that threads can share a synthesizer. The styles of the
    last ``STYLE_CACHE`` seeds are kept. Only :meth:`to` and the attributes that may be set change the object for all: do that before
    threads use it. A style that a thread sets (:meth:`set_style`) is that thread's.

    It can be pickled and deep-copied; the copy carries the weights.

    Attributes:
        bundle: the opened bundle; moved to the device, not copied.
        device, dtype: where and in what precision (float32 or bfloat16) the networks run.
        proxy_mask_mode: see :data:`ProxyMaskMode`; may be set.
        use_details: whether masks are drawn by the detail network of their mapper, if it has one; may be set.
        batch_size: pictures that :meth:`__call__` computes at once; may be set. 1 on a CPU: a picture is then the same to the last bit
            whatever else is in the call. In a larger batch it is the same up to rounding, and takes less time: as many pictures as
            ``BLOCK_PIXELS`` hold on a GPU; on a CPU, 8 take a third to a half less at 64 pixels.
    """

    batch_size: int
    _cache: StyleCache

    def __init__(self, bundle: Bundle, device: str | torch.device = "auto", precision: str | torch.dtype = "auto") -> None:
        self._set = ThreadStyle()
        super().__init__(bundle, device, precision)

    @classmethod
    @checked
    def from_pretrained(
        cls,
        source: str | Path = "avatars",
        device: str | torch.device = "auto",
        precision: str | torch.dtype = "auto",
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
    ) -> "Synthesizer":
        """Open a bundle.

        Args:
            source: the name of an embedded bundle (``proxymask.list_bundles()``), a folder, or a name on the hub ("user/model").
            device: "auto", "cpu", "cuda" or "mps", or a ``torch.device``.
            precision: "auto", "fp32" or "bf16", or ``torch.float32`` or ``torch.bfloat16``.
            revision, token, cache_dir: handed on to ``huggingface_hub.snapshot_download`` for names on the hub.

        Raises:
            ProxymaskError: no such bundle or device, a damaged bundle, one of another version.
        """
        return cls(Bundle.from_pretrained(source, revision=revision, token=token, cache_dir=cache_dir), device, precision)

    def prepare(self, device: torch.device, dtype: torch.dtype) -> None:
        """See :meth:`SynthesisSteps.prepare`; the kept styles are dropped."""
        super().prepare(device, dtype)
        height, width = height_width(self.size)
        at_once = min(BLOCK_PICTURES, max(1, BLOCK_PIXELS // (height * width)))
        self.batch_size, self._cache = 1 if device.type == "cpu" else at_once, StyleCache()

    @checked
    def to(self, device: str | torch.device | None = None, dtype: str | torch.dtype | None = None) -> "Synthesizer":
        """Move to another device or precision; returns the synthesizer itself.

        Styles made before belong to the old device. None leaves a thing as it is.

        Raises:
            ProxymaskError: an unknown device or precision, or a device that is not there.
        """
        place, before, batch_size = self.device if device is None else resolve_device(device), self.device, self.batch_size
        self.prepare(place, self.dtype if dtype is None else resolve_precision(dtype, place))
        if place.type == before.type:
            self.batch_size = batch_size
        style = self._set.get()
        self._set = ThreadStyle() if style is None else ThreadStyle(self.make_style(w=style.w))
        return self

    @property
    def labels(self) -> LabelSet | None:
        """The classes of the masks; None for a bundle without labels."""
        return self.bundle.labels

    @property
    def config(self) -> SynthesizerConfig:
        """Description of the bundle and the current settings."""
        bundle, mappers = self.bundle, tuple(sorted(self.bundle.mappers))
        return SynthesizerConfig(
            name=bundle.name,
            size=bundle.size,
            cut=bundle.cut,
            num_clusters=bundle.clusters.num_clusters,
            labels=() if bundle.labels is None else tuple(bundle.labels.names),
            mappers=mappers,
            conditions={name: str(bundle.condition_of(name)["condition"]) for name in mappers},
            proxy_mask_mode=self.proxy_mask_mode,
        )

    def __repr__(self) -> str:
        config = self.config
        return (
            f"Synthesizer({config.name!r}: {size_text(config.size)} pictures, split at {config.cut}, {config.num_clusters} clusters, "
            f"{len(config.labels)} labels, mappers: {self.bundle.mappers_text()}; detail networks: {self.bundle.details_text()}; "
            f"{self.device}, {str(self.dtype).removeprefix('torch.')})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        style = self._set.get()
        w = None if style is None else style.w.cpu()
        return _reopen, (self.bundle, str(self.device), self.dtype, self.proxy_mask_mode, self.batch_size, w, self.use_details)

    # ------------------------------------------------------------------------------------------------------------- styles

    @checked
    def make_style(self, seed: Seed | None = None, w: torch.Tensor | None = None, truncation: Truncation = 1.0) -> Style:
        """A style with all that depends on it alone: features, keys, values and the weights of G2.

        Args:
            seed: an integer.
            w: instead of a seed, a latent (1, w_dim), or (1, num_ws, w_dim) with one for each layer.
            truncation: psi, of a seed: 1 takes the style as it comes, smaller ones are nearer to the average.

        Raises:
            ProxymaskError: a seed that is no integer, a w of another shape, both or neither.
        """
        if (seed is None) == (w is None):
            raise ProxymaskError("a style comes from a seed or from a w: give one of the two")
        if w is None:
            assert seed is not None
            return self.fuse(self.encode_styles(self.w([seed], truncation)))
        shapes = [(1, self.bundle.generator.w_dim), (1, self.bundle.generator.num_ws, self.bundle.generator.w_dim)]
        if not isinstance(w, torch.Tensor) or tuple(w.shape) not in shapes:
            got = tuple(w.shape) if isinstance(w, torch.Tensor) else type(w).__name__
            raise ProxymaskError(f"w is a tensor {shapes[0]} or {shapes[1]}, got {got}; several styles: synth.encode_styles(w)")
        return self.fuse(self.encode_styles(w))

    @checked
    def set_style(self, seed: Seed | None = None, w: torch.Tensor | None = None, truncation: Truncation = 1.0) -> Style:
        """Set the style of this thread's calls that name none; see :meth:`make_style`. Threads that set none take the one set last."""
        style = self.make_style(seed, w, truncation)
        self._set.put(style)
        return style

    @checked
    def make_region_styles(self, styles: Mapping[Any, OneStyle], truncation: float = 1.0) -> RegionStyles:
        """A style for each label: the regions of a mask are painted in styles of their own.

        Args:
            styles: a seed or a :class:`Style` by name or id of a label. ``None`` is the key of all other labels; without it they take the
                style that is named first.
            truncation: psi of seeds.

        Raises:
            ProxymaskError: no labels, a key that is no label, a style that cannot be used.
        """
        each = assign_styles(styles, self._needed_labels())
        kinds = list(dict.fromkeys(each))
        made = tuple(self._resolve_one(self._checked_one(check_one_style(kind)), truncation) for kind in kinds)
        with one_thread(), torch.inference_mode():
            g2 = RegionG2(self.split, [style.w for style in made], self.dtype)
        return RegionStyles(made, tuple(kinds.index(one) for one in each), g2)

    def _resolve(self, style: StyleLike | None, truncation: float) -> Style | RegionStyles:
        """The :class:`Style` or :class:`RegionStyles` of what a caller gave."""
        style = self._checked(style)
        if isinstance(style, Mapping):
            return self.make_region_styles(style, truncation)
        return style if isinstance(style, RegionStyles) else self._resolve_one(style, truncation)

    def _resolve_one(self, style: OneStyle, truncation: float) -> Style:
        """The :class:`Style` of a seed, which is looked up first, or of itself."""
        if isinstance(style, Style):
            return style
        generator = self.bundle.generator
        key = (style, check_truncation(truncation), generator.seed_style, int(generator.mapping.class_index) if generator.c_dim else None)
        cache = self._cache
        made = cache.get(key)
        if made is None:
            made = self.make_style(style, truncation=truncation)
            cache.put(key, made)
        return made

    def _checked(self, style: StyleLike | None) -> StyleLike:
        if style is None:
            style = self._set.get()
        if style is None:
            raise ProxymaskError("give a style, a seed or a Style: synth(mask, 3)")
        style = check_style(style)
        if isinstance(style, Style | RegionStyles):
            for each in style.styles if isinstance(style, RegionStyles) else (style,):
                self._checked_one(each)
        return style

    def _checked_one(self, style: OneStyle) -> OneStyle:
        if isinstance(style, Style):
            clusters = self.bundle.clusters
            if style.w.device != clusters.centroids.device:
                raise ProxymaskError(f"this Style is on {style.w.device}, the synthesizer on {self.device}: make it again")
            if style.maker != self.maker:
                raise ProxymaskError("this Style was made with another bundle: make it with this synthesizer (synth.make_style)")
        return style

    # -------------------------------------------------------------------------------------------------------------- masks

    @checked
    @one_thread()
    def __call__(
        self,
        masks: MasksLike,
        styles: StyleLike | Sequence[StyleLike] | None = None,
        *,
        mapper: str | None = None,
        output_type: OutputType = "pil",
        truncation: Truncation = 1.0,
    ) -> Any:
        """Pictures of one or many masks.

        Args:
            masks: one mask, a path, a PIL image, ids (H, W), one-hot planes (N, H, W) or colours (H, W, 3) or (3, H, W); or many: a list
                of these, ids (B, H, W), one-hot planes (B, N, H, W) or colours. Arrays are numpy's or tensors on any device.
            styles: a seed or a :class:`Style`, or a list of them: one for all masks, or one for each. Without it, that of
                :meth:`set_style`.
            mapper: which of the bundle's mappers for masks; without it that called mask, else the first.
            output_type: see :data:`OutputType`.
            truncation: psi of seeds; a :class:`Style` has its own.

        Returns:
            One picture for one mask; for many as many: a list of PIL images, uint8 (B, H, W, 3), or float32 (B, 3, H, W) in [-1, 1].

        Raises:
            ProxymaskError: a mask, style or mapper that cannot be used; the message says why and what to do.
        """
        check_output_type(output_type)
        ids, single = read_masks(masks, self._needed_labels(), self.size)
        mapper = mapper or self.bundle.mapper_for("mask")
        chosen = style_list(self._checked(None) if styles is None else styles, len(ids))
        blocks = []
        if type(self.batch_size) is not int or self.batch_size < 1:
            raise ProxymaskError(f"batch_size is {self.batch_size!r}: set a whole number of 1 or more")
        for start in range(0, len(ids), self.batch_size):
            part = slice(start, start + self.batch_size)
            styles_of_part = [self._resolve(one, truncation) for one in chosen[part]]
            logits = self.map(np.stack(ids[part]), mapper)
            single_styles = [style for style in styles_of_part if isinstance(style, Style)]
            if len(single_styles) == len(styles_of_part):
                style, painted = join_styles(single_styles), mask_inputs(np.stack(ids[part]), mapper)
                blocks.append(block_output(self.render(self.proxy_mask(logits, style, painted), style, painted), output_type))
                continue
            for row, mask, style_of_one in zip(logits, ids[part], styles_of_part, strict=True):
                blocks.append(block_output(self.paint(row[None], mask, style_of_one, mapper)[0], output_type))
        return make_output(blocks, output_type, single)

    @checked
    def read_mask(self, mask: MaskLike, strict: bool = False) -> np.ndarray:
        """Check one mask against the bundle's labels and bring it to picture size: ids (H, W) uint8.

        ``strict`` refuses guesses: see :func:`~proxymask.imaging.masks.read_mask`.

        Raises:
            ProxymaskError: the mask cannot be used, or the bundle has no labels.
        """
        return read_single_mask(mask, self._needed_labels(), self.size, strict)

    def _needed_labels(self) -> LabelSet:
        if self.bundle.labels is None:
            how = "proxymask fit --bundle ... --labels ..."
            raise ProxymaskError(f"the bundle {self.bundle.name} has no labels yet: train its mapper first ({how})")
        return self.bundle.labels

    @checked
    @one_thread()
    def generate(
        self,
        mask: MaskLike,
        style: StyleLike | None = None,
        mapper: str | None = None,
        *,
        truncation: Truncation = 1.0,
        condition: str = "mask",
        from_photo: bool = False,
        invert: bool = False,
        unpainted: Unpainted = "mapper",
    ) -> Result:
        """A picture of one mask or other condition, with its proxy mask.

        Args:
            mask: the mask, as in :meth:`__call__`; or a drawing, edge map, depth map ... of any size: a path, PIL image, array or tensor.
            style: a seed or a :class:`Style`; without it, that of :meth:`set_style`.
            mapper: which of the bundle's; the one for ``condition`` where None.
            truncation: psi of a seed.
            condition: what ``mask`` is.
            from_photo, invert: see :meth:`read_condition`.
            unpainted: what stands where nothing was painted, see :data:`Unpainted`.

        Raises:
            ProxymaskError: an input or style that cannot be used, or a bundle without a mapper for it.
        """
        if condition == "mask" and unpainted == "mapper" and not from_photo and not invert:
            ids = self.read_mask(mask)
            chosen = mapper or self.bundle.mapper_for("mask")
            pictures, proxy = self.paint(self.map(ids[None], chosen), ids, self._resolve(style, truncation), chosen)
            return self._as_result(pictures, proxy, ids)
        kind = self.condition(condition, mapper=mapper)
        chosen = mapper or self.bundle.mapper_for(kind.name)
        self._mapper(chosen)
        reads = self.bundle.condition_of(chosen)["condition"]
        if reads != kind.name:
            raise ProxymaskError(f"the mapper {chosen!r} reads {reads}, not {kind.name}: leave mapper out")
        reading, made = self.read_condition(mask, kind, from_photo, invert, chosen), self._whole(style, truncation)
        return self._of_readings([reading], [chosen], made, unpainted, reading.notes)

    def _of_readings(
        self, readings: Sequence[Reading], mappers: Sequence[str], style: Style, unpainted: Unpainted, notes: tuple[str, ...]
    ) -> Result:
        painted = reading_inputs(readings, mappers)
        proxy = self.proxy_mask(self.mixed_logits(readings, mappers, style, unpainted), style, painted)
        return self._as_result(self.render(proxy, style, painted), proxy, notes=notes)

    def paint(
        self, logits: torch.Tensor, mask: np.ndarray, style: Style | RegionStyles, mapper: str | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A mapper's logits of one mask (1, K, h, w) -> picture (1, C, H, W) and proxy mask, ids (1, h, w) or planes (1, K, h, w).

        Args:
            mask: its ids (H, W) at picture size; they say where the regions of :class:`RegionStyles` are.
            style: one for the whole picture, or one for each label.
            mapper: which made the logits; without it as for :meth:`__call__`.
        """
        painted = mask_inputs(np.array(mask)[None], mapper or self.bundle.mapper_for("mask"))
        if isinstance(style, Style):
            proxy = self.proxy_mask(logits, style, painted)
            return self.render(proxy, style, painted), proxy
        with one_thread(), torch.inference_mode():
            shares = style.weights(torch.from_numpy(np.array(mask)).to(self.device))
            grid = shrink(shares, logits.shape[2:])
            proxy = choose_by_region([self.proxy_mask(logits, one, painted) for one in style.styles], grid)
            state = attend_by_region(self.rearranger, self.query_tokens(proxy), style.styles, grid)
            return style.g2(state, shares, self.details(painted)).clamp_(-1, 1), proxy

    def _whole(self, style: StyleLike | None, truncation: float) -> Style:
        """As :meth:`_resolve`, where a style for each label cannot be used."""
        made = self._resolve(style, truncation)
        if isinstance(made, RegionStyles):
            raise ProxymaskError("a style for each label needs a mask, which says where the labels are: give a mask, or one style")
        return made

    def _as_result(
        self, pictures: torch.Tensor, proxy: torch.Tensor, mask: np.ndarray | None = None, notes: tuple[str, ...] = ()
    ) -> Result:
        pixels = to_uint8(pictures)[0]
        ids = proxy if proxy.ndim == 3 else proxy.argmax(dim=1)
        dtype = torch.uint8 if self.bundle.clusters.num_clusters <= 256 else torch.int32
        return Result(from_pixels(pixels), ids[0].to(dtype).cpu().numpy(), mask, notes)

    @checked
    @inference
    def transfer(self, shape_seed: StyleLike, style_seed: StyleLike, truncation: Truncation = 1.0) -> Result:
        """The layout of one sample in the style of another, without a mapper (supplement, section F).

        Args:
            shape_seed: the sample whose layout is taken, a seed or a :class:`Style`.
            style_seed: the style, a seed or a :class:`Style`.
            truncation: psi of seeds.
        """
        shape, style = self._checked_one(check_one_style(shape_seed)), self._whole(style_seed, truncation)
        if isinstance(shape, Style):
            ids = self.bundle.clusters.assign(shape.state.features)
        else:
            ids, _ = self.layout(self.w([shape], truncation))
        proxy = self.substitute(ids, style)
        return self._as_result(self.render(proxy, style), proxy)

    @checked
    @one_thread()
    def generate_mixed(
        self,
        inputs: Sequence[tuple[str, MaskLike]],
        style: StyleLike | None = None,
        *,
        truncation: Truncation = 1.0,
        unpainted: Unpainted = "mapper",
    ) -> Result:
        """A picture of several conditions at once, as (condition, input) pairs: a scribble for the hair, a sketch for the rest; see
        :func:`join_logits`.

        Raises:
            ProxymaskError: as :meth:`generate`; no inputs.
        """
        if not isinstance(inputs, list | tuple) or not inputs:
            raise ProxymaskError("there is nothing to paint from: give at least one (condition, input)")
        if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in inputs):
            raise ProxymaskError(
                'generate_mixed takes pairs of a condition and an input, as [("sketch", "lines.png"), ("scribble", "hair.png")]'
            )
        kinds = [self.condition(name) for name, _ in inputs]
        readings = [self.read_condition(source, kind) for kind, (_, source) in zip(kinds, inputs, strict=True)]
        made, mappers = self._whole(style, truncation), [self.bundle.mapper_for(kind.name) for kind in kinds]
        notes = tuple(f"{kind.name}: {note}" for kind, reading in zip(kinds, readings, strict=True) for note in reading.notes)
        return self._of_readings(readings, mappers, made, unpainted, notes)


def _reopen(
    bundle: Bundle,
    device: str,
    dtype: torch.dtype,
    proxy_mask_mode: ProxyMaskMode,
    batch_size: int,
    w: torch.Tensor | None,
    use_details: bool,
) -> Synthesizer:
    """A synthesizer from what a pickle or a copy carries; ``w``: of the style that was set."""
    synth = Synthesizer(bundle, device, dtype)
    synth.proxy_mask_mode, synth.batch_size, synth.use_details = proxy_mask_mode, batch_size, use_details
    if w is not None:
        synth.set_style(w=w)
    return synth
