"""The API people use: a style set once, then a picture for every mask.

>>> synth = Synthesizer.from_pretrained("avatars")
>>> synth.set_style(seed=3)
>>> picture = synth("mask.png")

What depends on the style alone (features at the cut, keys, values) is computed by :meth:`Synthesizer.set_style`; a new
mask costs the mapper, the query, the attention and G2.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .bundle import Bundle
from .device import autocast, resolve_device, resolve_precision
from .errors import ProxymaskError
from .generators.cut import CutState
from .mappers.handover import Handover, handover
from .masks import read_mask
from .pictures import from_pixels
from .rearranger import StyleKeys
from .style_bank import StyleBank

MaskLike = str | Path | np.ndarray | Image.Image


@dataclasses.dataclass(frozen=True)
class Style:
    """A style with everything that depends on it alone."""

    w: torch.Tensor
    """(1, w_dim) or (1, num_ws, w_dim)."""
    state: CutState
    keys: StyleKeys


@dataclasses.dataclass(frozen=True)
class Result:
    """One picture and how it came about."""

    picture: Image.Image
    proxy_mask: np.ndarray
    """Clusters (r, r) uint8, the most likely where the mapper gave probabilities."""
    mask: np.ndarray | None
    """The mask as it was understood, ids (R, R) uint8; None for a transfer."""


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
        self.cut = bundle.cut_generator().to(self.device)
        for part in bundle.parts().values():
            part.eval().requires_grad_(False)
            if self.device.type != "mps":
                part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.handover: Handover = bundle.about.get("handover", "soft")
        self.bank = StyleBank(**bundle.about.get("style_bank", {"samples": 0}))
        self._style: Style | None = None

    @classmethod
    def from_pretrained(cls, source: str | Path = "avatars", device: str = "auto", precision: str = "auto") -> "Synthesizer":
        """Open a bundle by folder, embedded name or hub name."""
        return cls(Bundle.load(source), device, precision)

    @property
    def size(self) -> int:
        """Side of the pictures."""
        return self.bundle.resolution

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
        return Style(latent, state, self.keys(latent, state, truncation))

    @torch.inference_mode()
    def keys(self, w: torch.Tensor, state: CutState, truncation: float = 1.0) -> StyleKeys:
        """What the attention needs of styles: w (B, w_dim) or (B, num_ws, w_dim) with their states, and what is lent to them."""
        with autocast(self.device, self.dtype):
            own = self.bundle.rearranger.encode_style(state)
            return self.bank.lend(self.cut, self.bundle.clusters, self.bundle.rearranger, w, own, truncation)

    def set_style(self, seed: int | None = None, w: torch.Tensor | None = None, truncation: float = 1.0) -> Style:
        """Choose the style of the pictures to come; its part of the work is done here, once."""
        self._style = self.make_style(seed, w, truncation)
        return self._style

    def read_mask(self, mask: MaskLike) -> np.ndarray:
        """Check a mask against the bundle's labels and bring it to picture size: ids (R, R) uint8."""
        if self.bundle.labels is None:
            how = "proxymask fit --bundle ... --labels ..."
            raise ProxymaskError(f"the bundle {self.bundle.name} has no labels yet: train its mapper first ({how})")
        return read_mask(mask, self.bundle.labels, self.size)

    @torch.inference_mode()
    def map(self, masks: np.ndarray, mapper: str = "mask") -> torch.Tensor:
        """Label ids (B, R, R) -> the mapper's logits (B, K, r, r): all that depends on the mask alone."""
        if mapper not in self.bundle.mappers:
            have = ", ".join(sorted(self.bundle.mappers)) or "none"
            raise ProxymaskError(f"the bundle {self.bundle.name} has no mapper {mapper!r} (it has: {have})")
        ids = torch.tensor(masks, dtype=torch.long, device=self.device)
        with autocast(self.device, self.dtype):
            return self.bundle.mappers[mapper](ids)

    @torch.inference_mode()
    def proxy(self, logits: torch.Tensor, style: Style | None = None) -> torch.Tensor:
        """The mapper's logits and a style -> the proxy mask that the rearranger takes (B, K, r, r)."""
        return handover(logits, self.handover, self.bundle.clusters.available(self._chosen(style).keys.counts))

    def _chosen(self, style: Style | None) -> Style:
        style = style or self._style
        if style is None:
            raise ProxymaskError("choose a style first: synth.set_style(seed=3)")
        return style

    @torch.inference_mode()
    def render(self, proxy: torch.Tensor, style: Style | None = None) -> torch.Tensor:
        """Proxy masks (B, K, r, r), one-hot or soft, in a style -> pictures (B, 3, R, R) in [-1, 1], float32."""
        style = self._chosen(style)
        if float(proxy.amin()) < 0:
            raise ProxymaskError("render takes proxy masks, which are not negative; the mapper's logits go through synth.proxy first")
        b = proxy.shape[0]
        keys = StyleKeys(*(t.expand(b, *t.shape[1:]) for t in style.keys))
        with autocast(self.device, self.dtype):
            state = self.bundle.rearranger.attend(self.bundle.rearranger.encode_mask(proxy), keys)
            return self.cut.render(state, style.w.expand(b, *style.w.shape[1:])).float().clamp(-1, 1)

    def generate(self, mask: MaskLike, style: Style | None = None, mapper: str = "mask") -> Result:
        """A mask (path, PIL picture or array of ids) to a picture, with its proxy mask."""
        ids = self.read_mask(mask)
        proxy = self.proxy(self.map(ids[None], mapper), style)
        return self._result(self.render(proxy, style), proxy, ids)

    def __call__(self, mask: MaskLike) -> Image.Image:
        """The picture of a mask in the style that was set."""
        return self.generate(mask).picture

    @torch.inference_mode()
    def transfer(self, shape_seed: int, style_seed: int, truncation: float = 1.0) -> Result:
        """Shape of one sample, style of another, no mapper (supplement, section F)."""
        with autocast(self.device, self.dtype):
            features = self.cut.features(self.w([shape_seed], truncation)).features
        style, clusters = self.make_style(style_seed, truncation=truncation), self.bundle.clusters
        proxy = clusters.one_hot(clusters.substitute(clusters.assign(features), clusters.available(style.keys.counts)))
        return self._result(self.render(proxy, style), proxy, None)

    @torch.inference_mode()
    def sample(self, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Unconditional pictures (B, 3, R, R), their proxy masks (B, r, r), and labels (B, R, R) where there is a segmenter."""
        w = w.to(self.device)
        with autocast(self.device, self.dtype):
            levels, picture = self.cut.pyramid(w)
            at_cut = levels[self.cut.generator.synthesis.block_resolutions.index(self.cut.resolution)]
            proxy = self.bundle.clusters.assign(at_cut)
            labels = None
            if self.bundle.segmenter is not None:
                labels = self.bundle.segmenter([level.float() for level in levels]).float().argmax(dim=1)
        return picture.float().clamp(-1, 1), proxy, labels

    def _result(self, picture: torch.Tensor, proxy: torch.Tensor, mask: np.ndarray | None) -> Result:
        pixels = picture[0].add(1).mul(127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        return Result(from_pixels(pixels), proxy[0].argmax(dim=0).to(torch.uint8).cpu().numpy(), mask)
