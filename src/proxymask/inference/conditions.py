"""Conditions other than masks: reading them with a bundle, several of them in one picture, and what stands where nothing is painted.

Shapes: pictures of H x W pixels; proxy masks have h x w positions (cells), K clusters.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F

from ..conditions import Condition, Reading, get_condition
from ..conditions.depth import DepthCondition
from ..conditions.extractors import DEPTH_NET
from ..core.checks import checked
from ..core.errors import ProxymaskError
from ..core.sizes import Size, height_width
from ..core.threads import one_thread
from ..imaging.reader import stored_array
from ..models.unet_mapper import UNetMapper
from .bundle import Bundle
from .inputs import MaskLike, as_source
from .joining import cells, join_weights
from .steps import SynthesisSteps
from .style import Style

Unpainted = Literal["style", "mapper"]
"""What stands where nothing was painted: the style sample's own layout, or what the mapper predicts."""
CERTAIN_LOGIT = 30.0  # of a cluster that is certain


class ConditionSteps(SynthesisSteps):
    """The steps from inputs of a condition to the logits of a mapper."""

    @checked
    def condition(self, name: str, extractor: str | None = None, weights: Path | None = None, mapper: str | None = None) -> Condition:
        """:func:`condition_of_bundle` of this bundle."""
        return condition_of_bundle(self.bundle, name, extractor, weights, mapper)

    @checked
    @one_thread()
    def read_condition(
        self,
        source: MaskLike,
        condition: str | Condition,
        from_photo: bool = False,
        invert: bool = False,
        mapper: str | None = None,
    ) -> Reading:
        """An input as planes at picture size, read at the size of its mapper (:meth:`Bundle.input_size`).

        Args:
            source: path, PIL image, array or tensor, of any size and aspect ratio.
            condition: its kind.
            from_photo: ``source`` is a picture from which the condition is to be extracted first.
            invert: read it as white on black (or far as bright); otherwise that is detected.
            mapper: the mapper that is to read it; that of the bundle for this condition where None.

        Raises:
            ProxymaskError: the input cannot be used; the message says why and what to do.
        """
        kind = self.condition(condition) if isinstance(condition, str) else condition
        # pictures in tensors may have their channels first; the planes of masks have another meaning
        given = stored_array(source) if isinstance(source, torch.Tensor) and kind.name != "mask" else as_source(source)
        assert given is not None
        if mapper is not None:
            self._mapper(mapper)
        size = self.bundle.input_size(kind.name, mapper)
        if from_photo:
            if invert:
                raise ProxymaskError("a photo is not inverted: leave --invert or --from-photo out")
            return enlarged(kind.read_photo(given, size), self.size)
        typical = None
        if kind.uses_mean_condition:
            reader = self.bundle.mappers[mapper or self.bundle.mapper_for(kind.name)]
            typical = reader.typical if isinstance(reader, UNetMapper) and int(reader.seen) else None
        return enlarged(kind.read(given, size, invert, typical), self.size)

    @one_thread()
    def extract_condition(
        self,
        kind: Condition,
        pictures: torch.Tensor,
        labels: torch.Tensor | None = None,
        rng: torch.Generator | None = None,
        mapper: str | None = None,
    ) -> torch.Tensor:
        """A condition of pictures (B, 3, H, W) in [-1, 1], without augmentation, as planes (B, planes, height, width) at picture size.

        It is found at the size of its mapper (:meth:`Bundle.input_size`), to which pictures and labels are resized.

        Args:
            labels: ids (B, H, W), for conditions that are made of them.
            rng: draws what is random in a condition (scribbles); seed 0 where None.
            mapper: the mapper that is to read it; that of the bundle for this condition where None.

        Raises:
            ProxymaskError: the condition needs labels or an extractor that are not there.
        """
        size = height_width(self.bundle.input_size(kind.name, mapper))
        if pictures.shape[2:] != size:
            pictures = F.interpolate(pictures, size, mode="area")
        if labels is not None and labels.shape[1:] != size:
            labels = F.interpolate(labels[:, None].float(), size, mode="nearest-exact")[:, 0].long()
        planes = kind.extract(pictures.to(self.device), labels, rng or torch.Generator().manual_seed(0))
        return F.interpolate(planes, height_width(self.size), mode="nearest-exact")

    @checked
    @one_thread()
    def mixed_logits(
        self, readings: Sequence[Reading], mappers: Sequence[str], style: Style | None = None, unpainted: Unpainted = "mapper"
    ) -> torch.Tensor:
        """Logits (1, K, h, w) of one or several readings, each with its mapper, joined as :func:`join_logits` says; with
        ``unpainted="style"``, cells where nothing is painted keep the cluster that the style has there."""
        each = [self.map_planes(reading.planes[None], name).float() for reading, name in zip(readings, mappers, strict=True)]
        painted = [reading.painted for reading in readings]
        logits = each[0] if len(each) == 1 else join_logits(each, painted)
        if unpainted == "mapper":
            return logits
        if style is None:
            raise ProxymaskError('unpainted="style" keeps the layout of a style: give the style')
        clusters = self.bundle.clusters
        own = clusters.one_hot(clusters.assign(style.state.features)).to(logits)
        return keep_layout(logits, torch.stack(painted).any(dim=0), own)


def condition_of_bundle(
    bundle: Bundle, name: str, extractor: str | None = None, weights: Path | None = None, mapper: str | None = None
) -> Condition:
    """The condition ``name`` (or ``FILE.py:NAME``) as a mapper of the bundle takes it.

    Args:
        bundle: with or without a mapper for it.
        name, extractor, weights: as in :func:`~proxymask.conditions.get_condition`. Without them, the extractor is that of the mapper;
            its network is the one in the bundle, where there is one.
        mapper: which; the bundle's for this condition where None, or where it reads something else.

    Raises:
        ProxymaskError: no such condition, no labels where they are needed, an extractor of something else.
    """
    plain = name.rpartition(":")[2]
    able = [one for one in bundle.mappers if bundle.condition_of(one)["condition"] == plain]
    chosen = mapper if mapper in able else bundle.mapper_for(plain) if able else ""
    kind = get_condition(name, bundle.labels, extractor, weights, bundle.conditions.get(chosen))
    network = bundle.extractors.get(chosen)
    if network is not None and weights is None and isinstance(kind, DepthCondition) and kind.extractor == DEPTH_NET:
        kind.use(network)
    return kind


def enlarged(reading: Reading, size: Size) -> Reading:
    """A reading at ``size``, each of its pixels repeated; a mapper that reduces the planes by area gets back what was read."""
    to = height_width(size)
    if reading.planes.shape[-2:] == to:
        return reading
    planes = F.interpolate(reading.planes[None], to, mode="nearest-exact")[0]
    painted = F.interpolate(reading.painted[None, None].float(), to, mode="nearest-exact")[0, 0] > 0
    return reading._replace(planes=planes, painted=painted)


def join_logits(logits: Sequence[torch.Tensor], painted: Sequence[torch.Tensor]) -> torch.Tensor:
    """Several conditions' logits (1, K, h, w) as one.

    At every cell the log probabilities are averaged by :func:`~proxymask.inference.joining.join_weights`.

    Args:
        logits: one for each condition.
        painted: where each is painted, bool (H, W).
    """
    size = logits[0].shape[-2:]
    weights = join_weights(painted, size).to(logits[0].device)
    return torch.stack([w * x.float().log_softmax(dim=1) for w, x in zip(weights, logits, strict=True)]).sum(dim=0)


def keep_layout(logits: torch.Tensor, painted: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Logits (1, K, h, w) where ``painted`` (H, W) bool says so; elsewhere the one-hot proxy mask ``own`` (1, K, h, w) of the style."""
    return torch.where(cells(painted, logits.shape[-2:]).to(logits.device), logits, CERTAIN_LOGIT * own)
