"""The steps from latents and masks to pictures, each for a batch.

    z --mapping--> w --G1--> state --assign--> proxy mask           of a sample
    label mask --mapper--> logits --proxy_mask--> proxy mask        of a mask
    proxy mask, style --rearrange--> state --G2--> picture
    what was painted, features of G2 --detail network--> change in G2 (where the bundle has one)

Shapes: B pictures of H x W pixels; proxy masks and features have h x w positions; K clusters, C channels, N labels. Pictures are
(B, 3, H, W) float32 in [-1, 1] (a generator may have another number of channels than 3).
"""

import dataclasses
import functools
import threading
from collections.abc import Iterable, Sequence
from typing import TypeGuard

import numpy as np
import torch

from ..core.checks import Seed, Truncation, check_value, checked, nearest
from ..core.device import autocast, resolve_device, resolve_precision, to_device
from ..core.errors import ProxymaskError
from ..core.hashing import short_hash
from ..core.sizes import Size, height_width, size_text
from ..core.threads import inference
from ..models.detail_network import DetailChange, DetailNetwork, Details
from ..models.label_prior import PICTURE_EXPONENT, clusters_by_label
from ..models.logits_to_proxy_mask import ProxyMaskMode, is_hard, logits_to_cluster_ids, logits_to_proxy_mask
from ..models.mappers import Mapper
from ..models.oasis_mapper import OasisMapper, has_label_prior
from ..models.rearranger import QueryTokens
from ..models.split_generator import SplitState
from .bundle import Bundle
from .detail_inputs import DetailInput
from .fused import FusedG2, MaskQuery, fused_copy
from .joining import join_weights
from .style import Style, check_seed, check_truncation

STYLES_READ = 8
"""Styles whose labels are read at once."""


class SynthesisSteps:
    """The networks of a bundle, ready for inference on one device in one precision, and the steps that they take.

    No method stores a result, so that threads can share an object; :meth:`prepare` alone changes it. The weights are read when it is made.

    Args:
        bundle: an opened bundle; it is moved to the device, not copied.
        device: "auto", "cpu", "cuda" or "mps", or a ``torch.device``.
        precision: "auto", "fp32" or "bf16", or ``torch.float32`` or ``torch.bfloat16``.

    Raises:
        ProxymaskError: an unknown device or precision, or a device that is not there.
    """

    @checked
    def __init__(self, bundle: Bundle, device: str | torch.device = "auto", precision: str | torch.dtype = "auto") -> None:
        self.bundle = bundle
        self.proxy_mask_mode = bundle.about.get("proxy_mask_mode", "soft")
        self.use_details = True
        self._lock = threading.Lock()
        place = resolve_device(device)
        self.prepare(place, resolve_precision(precision, place))

    def prepare(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the bundle to ``device`` and make the fused networks for ``dtype``."""
        self.device, self.dtype = device, dtype
        for part in self.bundle.to(device).parts().values():
            to_device(part.eval().requires_grad_(False), device)
        self.split = self.bundle.split_generator()
        # fused networks hold their weights in dtype already and run without autocast, which would inspect every operand again
        self._mappers: dict[str, tuple[Mapper, Mapper]] = {}
        self._details: dict[str, tuple[DetailNetwork, DetailNetwork]] = {}
        self.rearranger = fused_copy(self.bundle.rearranger, dtype)
        self._mask_query = MaskQuery(self.bundle.rearranger, dtype)

    @property
    def proxy_mask_mode(self) -> ProxyMaskMode:
        """How a mapper's logits become a proxy mask, see :data:`ProxyMaskMode`; may be set."""
        return self._mode

    @proxy_mask_mode.setter
    def proxy_mask_mode(self, mode: ProxyMaskMode) -> None:
        self._mode: ProxyMaskMode = check_value("proxy_mask_mode", mode, ProxyMaskMode)

    @property
    def use_details(self) -> bool:
        """Whether masks change the first block after the split through the detail network of their mapper, if it has one; may be set."""
        return self._use_details

    @use_details.setter
    def use_details(self, on: bool) -> None:
        self._use_details: bool = check_value("use_details", on, bool)

    @functools.cached_property
    def maker(self) -> str:
        """Hashes of the networks that a style is made with: styles of another bundle differ in them."""
        return " ".join(short_hash(part) for part in (self.bundle.generator, self.bundle.clusters, self.bundle.rearranger))

    @property
    def size(self) -> Size:
        """Side of the pictures; (height, width) where they are not square."""
        return self.bundle.size

    # ------------------------------------------------------------------------------------------------------------ samples

    @checked
    @inference
    def w(self, seeds: Sequence[Seed], truncation: Truncation = 1.0) -> torch.Tensor:
        """Latents w (B, w_dim) of integer seeds.

        Raises:
            ProxymaskError: a seed that is no integer, a truncation that is no number.
        """
        if not isinstance(seeds, Iterable) or not len(list(seeds)):
            raise ProxymaskError(f"seeds must be a list of whole numbers, not {seeds!r}")
        z = self.bundle.generator.z([check_seed(seed) for seed in seeds]).to(self.device)
        # on a CPU one by one: in another batch the last bits of a w differ
        parts = z.split(1 if self.device.type == "cpu" else max(1, len(z)))
        return torch.cat([self.split.w(part, check_truncation(truncation)) for part in parts])

    @checked
    @inference
    def state(self, w: torch.Tensor) -> SplitState:
        """G1: latents (B, w_dim) or (B, num_ws, w_dim) -> the samples at the split.

        Raises:
            ProxymaskError: latents of another shape, or ones that are not finite.
        """
        self._check_latents(w)
        with autocast(self.device, self.dtype):
            return self.split.features(w.to(self.device))

    def _check_latents(self, w: torch.Tensor) -> None:
        wide, layers = self.bundle.generator.w_dim, self.bundle.generator.num_ws
        if not len(w) or tuple(w.shape[1:]) not in ((wide,), (layers, wide)):
            raise ProxymaskError(f"w is a tensor (B, {wide}) or (B, {layers}, {wide}), got {tuple(w.shape)}")
        if not w.is_floating_point() or not bool(torch.isfinite(w).all()):
            raise ProxymaskError("w holds values that are not finite, or whole numbers: take latents of synth.w(seeds)")

    @checked
    @inference
    def layout(self, w: torch.Tensor) -> tuple[torch.Tensor, SplitState]:
        """Proxy masks (B, h, w) int64 of the samples of latents w, and the samples at the split."""
        state = self.state(w)
        return self.bundle.clusters.assign(state.features), state

    @checked
    @inference
    def sample(self, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """The generator's own pictures of latents w (B, 3, H, W), their proxy masks (B, h, w), and labels (B, H, W) where there is a
        segmenter."""
        self._check_latents(w)
        w = w.to(self.device)
        with autocast(self.device, self.dtype):
            levels, picture = self.split.feature_pyramid(w)
            proxy = self.bundle.clusters.assign(self.split.features_at_split(levels))
            labels = None if self.bundle.segmenter is None else self.bundle.segmenter.predict(levels)
        return picture.float().clamp(-1, 1), proxy, labels

    # ------------------------------------------------------------------------------------------------------------- styles

    @checked
    @inference
    def encode_styles(self, w: torch.Tensor) -> Style:
        """The styles of latents w (B, w_dim) or (B, num_ws, w_dim), for a batch: without the fused G2."""
        w = w.to(self.device)
        needed = any(self._needs_label_prior(mapper) for mapper in self.bundle.mappers.values())
        state, labels = self._read_styles(w) if needed else (self.state(w), None)
        ids = self.bundle.clusters.assign(state.features)
        with autocast(self.device, self.dtype):
            kv = self.rearranger.encode_style(state, ids)
        # what all keys have in common adds a constant to the logits of a query: without it the softmax is the same, the rounding smaller
        key = kv.key.float() - kv.key.float().mean(dim=1, keepdim=True)
        kv = kv._replace(key=key.to(self.dtype), value=kv.value.to(self.dtype))
        clusters = self.bundle.clusters
        by_label = None if labels is None else self._by_label(ids, labels)
        return Style(w, state, kv, clusters.available(kv.counts), clusters.prior(kv.counts), None, by_label, self.maker)

    def _needs_label_prior(self, mapper: Mapper | None) -> TypeGuard[OasisMapper]:
        """Whether it is a mapper with a label prior that can be used: the segmenter reads its labels in styles."""
        segmenter = self.bundle.segmenter
        if self.proxy_mask_mode != "style-prior" or segmenter is None or mapper is None:
            return False
        return has_label_prior(mapper) and mapper.num_labels == segmenter.out.out_channels

    def _read_styles(self, w: torch.Tensor) -> tuple[SplitState, torch.Tensor]:
        """The samples of latents at the split, and the labels (B, H, W) that the segmenter reads in them: the generator runs once."""
        self._check_latents(w)
        segmenter = self.bundle.segmenter
        assert segmenter is not None
        states, labels = [], []
        with autocast(self.device, self.dtype):
            for some in w.split(STYLES_READ):
                levels, _ = self.split.feature_pyramid(some)
                states.append(self.split.state_at_split(levels, some))
                labels.append(segmenter.predict(levels))
        return SplitState(*map(torch.cat, zip(*states, strict=True))), torch.cat(labels)

    def _by_label(self, proxy: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """:attr:`Style.by_label` of proxy masks, and of the labels that the segmenter read."""
        segmenter = self.bundle.segmenter
        assert segmenter is not None
        return clusters_by_label(proxy, labels, self.bundle.clusters.num_clusters, segmenter.out.out_channels)

    @checked
    @inference
    def fuse(self, style: Style) -> Style:
        """A single style with the fused G2, which makes pictures of it faster."""
        with autocast(self.device, self.dtype):
            fused = FusedG2(self.split, style.w, self.dtype)
        return dataclasses.replace(style, fused_g2=fused)

    @checked
    def substitute(self, ids: torch.Tensor, style: Style) -> torch.Tensor:
        """Proxy masks (B, h, w) of other samples for these styles: clusters that a style lacks are replaced by similar ones it has, as far
        as the rearranger needs that (:attr:`Rearranger.substitute_threshold`)."""
        return self.bundle.clusters.substitute(ids, style.present, self.bundle.rearranger.substitute_threshold)

    # -------------------------------------------------------------------------------------------------------------- masks

    @checked
    @inference
    def map(self, masks: np.ndarray | torch.Tensor, mapper: str | None = None) -> torch.Tensor:
        """Label ids (B, H, W) -> logits (B, K, h, w) of a mapper, all that depends on the mask alone; by default of the one for masks.

        Raises:
            ProxymaskError: the bundle has no such mapper, or it reads another condition than masks.
        """
        mapper = mapper or self.bundle.mapper_for("mask")
        network, reads = self._mapper(mapper), self.bundle.condition_of(mapper)["condition"]
        if reads != "mask":
            raise ProxymaskError(f"the mapper {mapper!r} reads {reads}, not masks: synth.generate(input, style, condition={reads!r})")
        ids = masks if isinstance(masks, torch.Tensor) else torch.tensor(masks)  # copies, as arrays of pictures are read-only
        self._check_ids(ids)
        return network(ids.to(self.device, torch.long))

    def _check_ids(self, ids: torch.Tensor) -> None:
        """A GPU that meets an id which is no class is of no use any more until the process ends."""
        if ids.ndim != 3 or not ids.numel() or ids.is_floating_point() or ids.is_complex():
            raise ProxymaskError(f"masks are label ids (B, H, W), got {ids.dtype} of shape {tuple(ids.shape)}: synth.read_mask makes them")
        classes = 0 if self.bundle.labels is None else len(self.bundle.labels)
        least, most = int(ids.amin()), int(ids.amax())
        if classes and not 0 <= least <= most < classes:
            raise ProxymaskError(f"the masks hold id {most if least >= 0 else least}: ids are 0 to {classes - 1}")

    @checked
    @inference
    def map_planes(self, planes: torch.Tensor, mapper: str) -> torch.Tensor:
        """Planes (B, planes, H, W) of a condition, 0 to 1, -> logits (B, K, h, w) of the mapper of that name.

        Raises:
            ProxymaskError: the bundle has no such mapper.
        """
        return self._mapper(mapper)(planes.to(self.device, self.dtype))

    def _mapper(self, name: str) -> Mapper:
        """The fused form of the bundle's mapper of that name; the bundle may get others at any time."""
        mapper = self.bundle.mappers.get(name)
        if mapper is None:
            have = ", ".join(sorted(self.bundle.mappers)) or "none"
            near = nearest(name, self.bundle.mappers)
            raise ProxymaskError(f"the bundle {self.bundle.name} has no mapper {name!r} (it has: {have}){near}")
        with self._lock:
            known = self._mappers.get(name)
            if known is None or known[0] is not mapper:
                known = self._mappers[name] = mapper, fused_copy(mapper, self.dtype)
            return known[1]

    @checked
    @inference
    def proxy_mask(self, logits: torch.Tensor, style: Style, painted: Sequence[DetailInput] | None = ()) -> torch.Tensor:
        """A mapper's logits (B, K, h, w), or one for all styles, -> proxy masks for the styles: ids (B, h, w) int64 where the bundle takes
        one cluster a position (:data:`ProxyMaskMode`), else probabilities (B, K, h, w).

        ``painted``: what the logits were made of. Of a mask, the style prior is then that of its labels
        (:mod:`~proxymask.models.label_prior`); of other inputs, and without it, that of :meth:`ProxyClusters.prior`. Of several inputs,
        each has its own, joined as their logits are (:func:`~proxymask.inference.joining.join_weights`).
        """
        if len(logits) != len(style) and 1 not in (len(logits), len(style)):
            raise ProxymaskError(f"logits of {len(logits)} inputs do not go with {len(style)} styles: give one of either, or as many")
        logits = logits.expand(max(len(logits), len(style)), -1, -1, -1)
        convert = logits_to_cluster_ids if is_hard(self.proxy_mask_mode) else logits_to_proxy_mask
        return convert(logits, self.proxy_mask_mode, self._prior(style, painted or ()))

    def _prior(self, style: Style, painted: Sequence[DetailInput]) -> torch.Tensor:
        """The style prior, (B, K) or (B, K, h, w)."""
        if not any(self._needs_label_prior(self.bundle.mappers.get(one.mapper)) for one in painted):
            return style.prior
        parts = [self._prior_of(style, one) for one in painted]
        if len(parts) == 1:
            return parts[0]
        where = [torch.ones(one.given.shape[-2:]) if one.where is None else one.where for one in painted]
        weights = join_weights([one.cpu() > 0 for one in where], self.bundle.clusters.size).to(style.prior.device)
        return torch.stack([weight * part for weight, part in zip(weights, parts, strict=True)]).sum(dim=0)

    def _prior_of(self, style: Style, one: DetailInput) -> torch.Tensor:
        """The style prior of one input, (B, K, 1, 1) or (B, K, h, w); where no label is painted, that of inputs without labels."""
        mapper, coarse = self.bundle.mappers.get(one.mapper), style.prior[:, :, None, None]
        if not self._needs_label_prior(mapper):
            return coarse
        counts = style.by_label
        if counts is None:  # the style is older than the mapper
            counts = self._by_label(self.bundle.clusters.assign(style.state.features), self._read_styles(style.w)[1])
        given = one.given.to(self.device)
        prior = mapper.style_prior(counts, given, PICTURE_EXPONENT)
        return prior if given.ndim == 3 else prior + coarse * (1 - mapper.label_shares(given).sum(dim=1, keepdim=True))

    # ----------------------------------------------------------------------------------------------------------- pictures

    @checked
    def query_tokens(self, proxy: torch.Tensor) -> QueryTokens:
        """Query tokens of proxy masks, ids (B, h, w) or planes (B, K, h, w).

        Raises:
            ProxymaskError: another size, or a mapper's logits instead of a proxy mask.
        """
        with autocast(self.device, self.dtype):
            if proxy.ndim == 3:
                return self._mask_query(proxy)
            if float(proxy.amin()) < 0:
                raise ProxymaskError("a proxy mask is not negative; a mapper's logits go through synth.proxy_mask(logits, style) first")
            return self.rearranger.encode_mask(proxy)

    @checked
    @inference
    def rearrange(self, proxy: torch.Tensor, style: Style) -> SplitState:
        """The rearranger: features of the styles, one for all or one each, in the layout of proxy masks, ids (B, h, w) or one-hot or soft
        planes (B, K, h, w)."""
        tokens = self.query_tokens(proxy)
        return self.rearranger.attend(tokens, style.expanded(len(proxy)).kv)

    @checked
    @inference
    def render_state(self, state: SplitState, w: torch.Tensor, details: Details | None = None) -> torch.Tensor:
        """G2: states at the split, with latents w of as many styles, and :meth:`details` -> pictures."""
        with autocast(self.device, self.dtype):
            return self.split.render(state, w, details=details).float().clamp_(-1, 1)

    @checked
    @inference
    def render(self, proxy: torch.Tensor, style: Style, painted: Sequence[DetailInput] | None = ()) -> torch.Tensor:
        """Proxy masks, ids (B, h, w) or planes (B, K, h, w), in a style or in one each -> pictures.

        ``painted``: what they were made of, for the detail networks; without it, or without such a network, G2 is not changed.
        """
        state = self.rearrange(proxy, style)
        return self.render_rearranged(state, style, self.details(painted or ()))

    @inference
    def render_rearranged(self, state: SplitState, style: Style, details: Details | None = None) -> torch.Tensor:
        """G2: what :meth:`rearrange` made for a style, or for one each, and :meth:`details` -> pictures."""
        if style.fused_g2 is not None:
            return style.fused_g2(state, details).clamp_(-1, 1)
        return self.render_state(state, style.expanded(len(state.features)).w, details)

    @inference
    def details(self, painted: Sequence[DetailInput]) -> Details | None:
        """What the detail networks change in G2; None where nothing is changed.

        Args:
            painted: inputs, each for all pictures or for one; of several, each acts where it was painted.

        Raises:
            ProxymaskError: label ids of another size than the pictures.
        """
        parts = []
        for one in painted if self.use_details else ():
            network = self._detail(one.mapper)
            if network is not None:
                if one.given.ndim == 3 and tuple(one.given.shape[1:]) != height_width(self.bundle.size):
                    have, wanted = size_text(tuple(one.given.shape[1:])), size_text(self.bundle.size)
                    raise ProxymaskError(f"masks of {have} for pictures of {wanted}: synth.read_mask brings a mask to this size")
                with torch.autocast(self.device.type, enabled=False):
                    parts.append((network, network.encode(one.given.to(self.device)), one.where))
        if not parts:
            return None

        def details(features: torch.Tensor) -> DetailChange:
            with torch.autocast(self.device.type, enabled=False):
                changes = [(network(mask, features), where) for network, mask, where in parts]
            return functools.reduce(DetailChange.plus, (one if where is None else one.scaled(where) for one, where in changes))

        return details

    def _detail(self, mapper: str) -> DetailNetwork | None:
        """The fused form of the detail network for what a mapper reads."""
        network = self.bundle.details.get(mapper)
        if network is None:
            return None
        with self._lock:
            known = self._details.get(mapper)
            if known is None or known[0] is not network:
                known = self._details[mapper] = network, fused_copy(network, self.dtype)
            return known[1]
