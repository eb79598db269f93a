"""Styles: what a caller may give as one, what is computed of it once, and a bounded store of those made from seeds.

Shapes: B styles, K clusters, C channels, h x w positions at the split.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..core.checks import Seed, Truncation, check_value
from ..core.errors import ProxymaskError
from ..models.detail_network import Details
from ..models.rearranger import StyleKV
from ..models.split_generator import SplitState
from .fused import FusedG2

STYLE_CACHE = 8
"""Styles of seeds that a synthesizer keeps; at 256 pixels and more each takes some 30 MB."""


@dataclass(frozen=True, eq=False)
class Style:
    """A style with everything that depends on it alone; or several, one for each picture of a batch.

    :meth:`Synthesizer.make_style` makes one. It belongs to the bundle and the device of the synthesizer that made it.
    """

    w: torch.Tensor
    """Latents (B, w_dim), or (B, num_ws, w_dim) with one for each layer."""
    state: SplitState
    """The style samples at the split: features (B, C, h, w) and the RGB so far."""
    kv: StyleKV
    """Keys and values of the attention."""
    present: torch.Tensor
    """(B, K) bool: the clusters that each style has (:meth:`ProxyClusters.available`)."""
    prior: torch.Tensor
    """(B, K) float32: see :meth:`ProxyClusters.prior`."""
    fused_g2: FusedG2 | None = None
    """G2 with the style multiplied into its weights; of one style only."""
    by_label: torch.Tensor | None = None
    """(B, K, N) float32: positions of each cluster under each label in the style samples, as the segmenter reads them; None where no mapper
    of the bundle needed it when the style was made."""
    maker: str = ""
    """Which networks made it, see :attr:`SynthesisSteps.maker`."""

    def __len__(self) -> int:
        return len(self.w)

    def __repr__(self) -> str:
        return f"Style({len(self)} of w {tuple(self.w.shape[1:])}, {self.w.device})"

    def expanded(self, count: int) -> "Style":
        """One style for ``count`` pictures, without copying; ``count`` styles as they are.

        Raises:
            ProxymaskError: another number of styles.
        """
        if len(self) == count:
            return self
        if len(self) != 1:
            raise ProxymaskError(f"{len(self)} styles for {count} pictures: give one style, or one for each picture")

        def each(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            return [t.expand(count, *t.shape[1:]) for t in tensors]

        w, present, prior = each((self.w, self.present, self.prior))
        by_label = None if self.by_label is None else each((self.by_label,))[0]
        return Style(w, SplitState(*each(self.state)), StyleKV(*each(self.kv)), present, prior, self.fused_g2, by_label, self.maker)


@dataclass(frozen=True, eq=False)
class RegionStyles:
    """A style for each label, with everything that depends on the styles alone. :meth:`Synthesizer.make_region_styles` makes one."""

    styles: tuple[Style, ...]
    """The S different styles, single ones."""
    of_label: tuple[int, ...]
    """For each label id, which of the styles it has."""
    g2: Callable[[SplitState, torch.Tensor, Details | None], torch.Tensor]
    """G2 of all the styles, a :class:`~proxymask.inference.region_styles.RegionG2`."""

    def __repr__(self) -> str:
        return f"RegionStyles({len(self.styles)} styles for {len(self.of_label)} labels)"

    def weights(self, ids: torch.Tensor) -> torch.Tensor:
        """Label ids (H, W) -> the share of each style at each pixel, (S, H, W) float32, ones and zeros."""
        chosen = torch.tensor(self.of_label, device=ids.device)[ids.long()]
        return F.one_hot(chosen, len(self.styles)).permute(2, 0, 1).float()


OneStyle = int | Style
"""One style: an integer seed, or a :class:`Style`."""
StyleLike = OneStyle | RegionStyles | Mapping[Any, OneStyle]
"""A style as a caller gives it: an integer seed, a :class:`Style`, or a style for each label: a dict such as ``{"hair": 3, "skin": 8}``
(:func:`~proxymask.inference.region_styles.assign_styles`) or a :class:`RegionStyles`."""


def join_styles(styles: Sequence[Style]) -> Style:
    """Several single styles of one bundle as one :class:`Style` for a batch; without fused G2 unless all are the same object."""
    if all(style is styles[0] for style in styles):
        return styles[0].expanded(len(styles))

    def join(parts: Sequence[tuple[torch.Tensor, ...]]) -> list[torch.Tensor]:
        return [torch.cat(tensors) for tensors in zip(*parts, strict=True)]

    layers = max(style.w.shape[1] if style.w.ndim == 3 else 0 for style in styles)
    ws = [style.w if style.w.ndim == 3 or not layers else style.w[:, None].expand(-1, layers, -1) for style in styles]
    w, present, prior = join([(w, style.present, style.prior) for w, style in zip(ws, styles, strict=True)])
    counts = [style.by_label for style in styles if style.by_label is not None]
    by_label = torch.cat(counts) if len(counts) == len(styles) else None
    state, kv = SplitState(*join([style.state for style in styles])), StyleKV(*join([style.kv for style in styles]))
    return Style(w, state, kv, present, prior, None, by_label, styles[0].maker)


def check_seed(seed: object) -> int:
    """``seed`` as an int; a :class:`ProxymaskError` where it is no integer (True, "3" and 3.0 are none), or beyond 64 bits."""
    return int(check_value("seed", seed, Seed))


def check_style(style: object) -> StyleLike:
    """A style of the :data:`StyleLike` forms; a :class:`ProxymaskError` where it is none."""
    if isinstance(style, Mapping):
        return {key: check_one_style(each) for key, each in style.items()}
    return style if isinstance(style, RegionStyles) else check_one_style(style)


def check_one_style(style: object) -> OneStyle:
    """A seed or a single :class:`Style`; a :class:`ProxymaskError` where it is neither."""
    if isinstance(style, Style):
        if len(style) != 1:
            raise ProxymaskError(f"this Style holds {len(style)} styles: give one Style for each picture, as a list")
        return style
    if isinstance(style, int | np.integer) and not isinstance(style, bool):
        return int(check_value("style", style, Seed))
    raise ProxymaskError(f"a style is a seed (an integer) or a Style of synth.make_style, not {style!r} ({type(style).__name__})")


def check_truncation(truncation: object) -> float:
    """``truncation`` as a float; a :class:`ProxymaskError` where it is no number, or none with a meaning."""
    return float(check_value("truncation", truncation, Truncation))


def style_list(styles: object, count: int) -> list[StyleLike]:
    """One style for each of ``count`` pictures.

    Args:
        styles: a seed, a :class:`Style`, or a list, tuple, range or integer array (n,) of them; one for all pictures or ``count``.

    Raises:
        ProxymaskError: something else, or another number of styles.
    """
    if isinstance(styles, np.ndarray | torch.Tensor) and styles.ndim == 1:
        styles = styles.tolist()
    if not isinstance(styles, list | tuple | range):
        return [check_style(styles)] * count
    if len(styles) not in (1, count):
        raise ProxymaskError(f"{len(styles)} styles for {count} {'mask' if count == 1 else 'masks'}: give one style, or one for each mask")
    checked = [check_style(style) for style in styles]
    return checked * count if len(checked) == 1 else checked


class ThreadStyle:
    """The style that was set: the one that a thread set itself, else the one that another thread set last."""

    def __init__(self, style: Style | None = None) -> None:
        self._last, self._own = style, threading.local()

    def get(self) -> Style | None:
        """The calling thread's style."""
        found: Style | None = getattr(self._own, "style", self._last)
        return found

    def put(self, style: Style) -> None:
        """Set the calling thread's style."""
        self._own.style = self._last = style


class StyleCache:
    """The styles used last, by any hashable key; at most ``size`` of them. Threads may share it."""

    def __init__(self, size: int = STYLE_CACHE) -> None:
        self.size = size
        self._styles: OrderedDict[Any, Style] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._styles)

    def get(self, key: Any) -> Style | None:
        """The style of ``key``, None where it is not kept."""
        with self._lock:
            style = self._styles.get(key)
            if style is not None:
                self._styles.move_to_end(key)
            return style

    def put(self, key: Any, style: Style) -> None:
        """Keep a style; the one that was not used for longest makes room."""
        with self._lock:
            self._styles[key] = style
            self._styles.move_to_end(key)
            while len(self._styles) > self.size:
                self._styles.popitem(last=False)
