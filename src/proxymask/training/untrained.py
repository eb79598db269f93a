"""Stages of random networks and inputs of the right sizes: a step takes equally long whatever its result.

So a stage can be measured before those that it builds on are done.
"""

from collections.abc import Sequence
from typing import Any

import torch

from ..core.seeding import derive_rng
from ..core.sizes import Size, as_size, height_width
from ..imaging.labels import LabelSet
from ..models.proxy_clusters import ProxyClusters
from ..models.split_generator import SplitGenerator
from ..models.stylegan2 import Generator
from .parts import Frozen
from .presets import Preset, StageName
from .stages.definition import TrainedStage
from .stages.detail import DetailDefinition
from .stages.generator import GeneratorDefinition
from .stages.mapper import MapperDefinition
from .stages.rearranger import RearrangerDefinition
from .stages.segmenter import SegmenterDefinition


class NoisePictures:
    """Pictures of noise, in place of real ones.

    Args:
        size: of the pictures.
        channels: of the pictures.
        count: how many there are.
    """

    def __init__(self, size: Size, channels: int, count: int = 2**20) -> None:
        self.shape, self.count = (channels, *height_width(size)), count

    def __len__(self) -> int:
        return self.count

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> pictures (B, C, H, W) in [-1, 1]."""
        return torch.rand(len(indices), *self.shape) * 2 - 1


class NoiseLabels(NoisePictures):
    """Pictures of noise with random label ids, in place of labelled ones (:class:`.segmentation.LabeledImages`)."""

    def __init__(self, size: Size, channels: int, num_labels: int) -> None:
        super().__init__(size, channels)
        self.num_labels = num_labels

    def images(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """As :meth:`NoisePictures.images`."""
        return super().images(torch.as_tensor(indices))

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Nothing: noise is drawn on the CPU. (:meth:`.auxiliary.GeneratedImages.to`)"""

    def masks(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> label ids (B, H, W)."""
        return torch.randint(self.num_labels, (len(indices), *self.shape[1:]))


def untrained_stage(
    name: StageName, preset: Preset, generator: dict[str, object], cut: int, num_labels: int, labelled: int, pictures: int
) -> TrainedStage:
    """A stage with random networks.

    Args:
        name: the stage.
        preset: settings of all stages.
        generator: the generator's config.
        cut: side of the features at the cut.
        num_labels: classes, for the segmenter, the mapper and the detail network.
        labelled: labelled samples, for the segmenter.
        pictures: real pictures for L_adv; 0: samples of the generator.

    Raises:
        ProxymaskError: settings that do not fit each other.
    """
    network = Generator(**generator)  # type: ignore[arg-type]
    split = SplitGenerator(network, cut)
    real = NoisePictures(network.picture_size, network.img_channels, pictures) if pictures else None
    if name == "generator":
        assert real is not None
        size = as_size(network.picture_size)
        return GeneratorDefinition(config=preset.generator, loop=preset.generator_loop, pictures=real, size=size)
    clusters = ProxyClusters(preset.num_clusters, split.channels, cut, start=split.start)
    rows = torch.randn(preset.num_clusters, split.channels, generator=derive_rng(0, "estimate"))
    clusters.centroids.copy_(rows / rows.norm(dim=1, keepdim=True))
    rearranging = RearrangerDefinition(
        config=preset.rearranger, loop=preset.rearranger_loop, split=split, clusters=clusters, pictures=real, rms=(1.0, 1.0)
    )
    if name == "rearranger":
        return rearranging
    rearranger = rearranging.build().rearranger
    labels = LabelSet.of((f"class {i}", f"#{i:06x}") for i in range(num_labels))
    segmenting = SegmenterDefinition(
        config=preset.segmenter,
        loop=preset.segmenter_loop,
        split=split,
        labels=labels,
        ws=torch.randn(labelled, network.w_dim),
        masks=torch.zeros(labelled, *network.picture_size, dtype=torch.long),
        clusters=clusters,
        rearranger=rearranger,
    )
    if name == "segmenter":
        return segmenting
    frozen, segmenter = Frozen(split, clusters, rearranger), segmenting.build().segmenter
    shared: dict[str, Any] = {"frozen": frozen, "segmenter": segmenter, "labels": labels}
    mapping = MapperDefinition(config=preset.mapper, loop=preset.mapper_loop, pictures=real, **shared)
    if name == "mapper":
        return mapping
    mapper, mode = mapping.build().mapper, preset.mapper.proxy_mask_mode
    return DetailDefinition(config=preset.detail, loop=preset.detail_loop, mapper=mapper, mode=mode, level=1.0, **shared)
