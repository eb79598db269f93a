"""The state of a ``fit``: networks and data as far as they are there, and the definition of each stage made of them."""

import dataclasses
import os
from functools import cached_property
from typing import Any, TypeVar

import torch

from ...core.device import resolve_device, resolve_precision
from ...core.errors import ProxymaskError
from ...core.hashing import weights_hash
from ...core.sizes import Size, as_size
from ...data.dataset import ImageSet
from ...imaging.labels import LabelSet
from ...inference.bundle import Bundle
from ...models.detail_network import DetailNetwork
from ...models.discriminator import Discriminator
from ...models.few_shot_segmenter import FewShotSegmenter
from ...models.oasis_mapper import OasisMapper
from ...models.proxy_clusters import ProxyClusters
from ...models.rearranger import Rearranger
from ...models.split_generator import SplitGenerator
from ...models.stylegan2 import Generator
from ..cost import Cost
from ..parts import Frozen
from ..presets import Preset, load_preset
from ..stages.clusters import ClustersDefinition
from ..stages.definition import StageDefinition
from ..stages.detail import DetailDefinition
from ..stages.generator import GeneratorDefinition
from ..stages.mapper import MapperDefinition
from ..stages.rearranger import RearrangerDefinition
from ..stages.segmenter import SegmenterDefinition
from .config import FitConfig, Report

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Labelled samples."""

    labels: LabelSet
    ws: torch.Tensor
    """Latents (n, w_dim) or (n, num_ws, w_dim)."""
    masks: torch.Tensor
    """(n, H, W), int64."""
    names: list[str]


class FitState:
    """Networks and data, None as long as they are missing."""

    def __init__(self, config: FitConfig, report: Report) -> None:
        self.config, self.report = config, report
        self.device = resolve_device(config.device)
        self.dtype = resolve_precision(config.precision, self.device)
        if config.out.name in ("", ".."):
            raise ProxymaskError(f"--out {config.out}: name a folder, which will be made")
        self.out = config.out
        self.work = config.out.with_name(config.out.name + ".work")
        self.preset = _preset(config, None)
        self.resolution = self.cut = 0
        self.generator: Generator | None = None
        self.discriminator: Discriminator | None = None
        self.clusters: ProxyClusters | None = None
        self.rearranger: Rearranger | None = None
        self.segmenter: FewShotSegmenter | None = None
        self.mapper: OasisMapper | None = None
        self.detail: DetailNetwork | None = None
        self.pictures: ImageSet | None = None
        self.labelled: Labelled | None = None
        self.num_labels, self.num_labelled = 10, 1  # as long as the labelled samples are unknown
        self.costs: dict[str, Cost] = {}
        """What each stage takes, once it is measured."""
        self.source: Bundle | None = None
        """The bundle of --bundle."""
        self.origin: dict[str, Any] = {}
        """What is known of the source of an imported generator."""
        self._definitions: dict[str, StageDefinition] = {}

    def set_resolution(self, resolution: int) -> None:
        """Set the side of the pictures, and with it the settings of the preset "auto"."""
        self.resolution, self.preset = resolution, _preset(self.config, resolution)

    @property
    def in_place(self) -> bool:
        """Whether --out is the folder of --bundle."""
        return self.source is not None and os.path.realpath(self.out) == os.path.realpath(needed(self.source.folder))

    @property
    def with_detail(self) -> bool:
        """Whether a detail network is trained: where the preset has one, and there is something between the cut and the picture."""
        return self.preset.with_detail and self.resolution >= 2 * self.cut

    @property
    def size(self) -> Size:
        """Size of the pictures."""
        return self.resolution if self.generator is None else as_size(self.generator.picture_size)

    @cached_property
    def generator_hash(self) -> str:
        """:func:`~proxymask.core.hashing.weights_hash` of the generator, which samples are marked with."""
        return weights_hash(needed(self.generator))

    def split(self) -> SplitGenerator:
        """The generator, frozen and split at the cut."""
        return SplitGenerator(needed(self.generator), self.cut).eval().requires_grad_(False)

    def definition(self, stage: str) -> StageDefinition:
        """The definition of a stage whose inputs are all there; always the same one, so that networks are hashed once."""
        if stage not in self._definitions:
            self._definitions[stage] = getattr(self, f"_define_{stage}")()
        return self._definitions[stage]

    def _define_generator(self) -> StageDefinition:
        loop = self.preset.generator_loop
        return GeneratorDefinition(config=self.preset.generator, loop=loop, pictures=needed(self.pictures), size=self.resolution)

    def _define_clusters(self) -> StageDefinition:
        numbers = {"num_clusters": self.preset.num_clusters, "samples": self.preset.cluster_samples, "seed": self.config.seed}
        return ClustersDefinition(split=self.split(), device=self.device, **numbers)

    def _define_rearranger(self) -> StageDefinition:
        return RearrangerDefinition(
            config=self.preset.rearranger,
            loop=self.preset.rearranger_loop,
            split=self.split(),
            clusters=needed(self.clusters),
            discriminator=self.discriminator,
            pictures=self.pictures,
        )

    def _define_segmenter(self) -> StageDefinition:
        labelled = needed(self.labelled)
        return SegmenterDefinition(
            config=self.preset.segmenter,
            loop=self.preset.segmenter_loop,
            split=self.split(),
            labels=labelled.labels,
            ws=labelled.ws,
            masks=labelled.masks,
            clusters=self.clusters,
            rearranger=self.rearranger,
        )

    def _define_mapper(self) -> StageDefinition:
        return MapperDefinition(
            config=self.preset.mapper,
            loop=self.preset.mapper_loop,
            frozen=Frozen(self.split(), needed(self.clusters), needed(self.rearranger)),
            segmenter=needed(self.segmenter),
            labels=needed(self.labelled).labels,
            discriminator=self.discriminator,
            pictures=self.pictures,
        )

    def _define_detail(self) -> StageDefinition:
        return DetailDefinition(
            config=self.preset.detail,
            loop=self.preset.detail_loop,
            frozen=Frozen(self.split(), needed(self.clusters), needed(self.rearranger)),
            segmenter=needed(self.segmenter),
            mapper=needed(self.mapper),
            labels=needed(self.labelled).labels,
            discriminator=self.discriminator,
            mode=self.preset.mapper.proxy_mask_mode,
        )

    def load(self, stage: str) -> bool:
        """Load the networks of a finished stage, unless they are there; returns whether they are."""
        if getattr(self, stage) is not None:
            return True
        folder = self.work / stage
        if not self.definition(stage).is_done(folder):
            return False
        if stage == "generator":
            self.generator = Generator.from_pretrained(folder / "generator")
        elif stage == "clusters":
            self.clusters = ProxyClusters.from_pretrained(folder / "clusters")
        elif stage == "rearranger":
            self.rearranger = Rearranger.from_pretrained(folder / "rearranger")
        elif stage == "segmenter":
            self.segmenter = FewShotSegmenter.from_pretrained(folder / "segmenter")
        elif stage == "mapper":
            self.mapper = OasisMapper.from_pretrained(folder / "mapper")
        else:
            self.detail = DetailNetwork.from_pretrained(folder / "detail")
        if stage in ("generator", "rearranger"):  # each is trained with a discriminator, which the next stage's L_adv starts from
            self.discriminator = Discriminator.from_pretrained(folder / "discriminator")
        return True


def _preset(config: FitConfig, resolution: int | None) -> Preset:
    preset = load_preset(config.preset, resolution).scaled(config.steps_scale)
    return preset.with_loops(device=config.device, precision=config.precision, seed=config.seed)


def needed(value: T | None) -> T:
    """A value that an earlier stage has made."""
    assert value is not None
    return value
