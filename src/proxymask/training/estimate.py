"""Time, memory and disk that a stage will take: measured on this machine by a few real steps on networks of the right size.

The networks have random weights, as a step takes equally long whatever its result. So a stage can be measured before those that it builds
on are done.
"""

import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Hashable
from pathlib import Path

import torch
from PIL import Image

from ..core.errors import ProxymaskError
from ..core.seeding import derive_rng
from ..core.sizes import Size, as_size, height_width
from ..imaging.labels import LabelSet
from ..imaging.reader import read_picture
from ..models.proxy_clusters import ProxyClusters
from ..models.split_generator import SplitGenerator
from ..models.stylegan2 import Generator
from .distributed import agreed
from .loop import LoopConfig, Run, Stage, place
from .parts import Frozen
from .presets import Preset, StageName
from .stages.clusters import cluster_features
from .stages.definition import TrainedStage
from .stages.generator import GeneratorDefinition
from .stages.mapper import MapperDefinition
from .stages.rearranger import RearrangerDefinition
from .stages.segmenter import SegmenterDefinition

MEASURED_SECONDS = 1.0  # most that one measured step may take; longer ones are measured on part of the batch
SLOW = 5.0  # seconds; a step that takes longer is not repeated
PASSES = 25  # typical number of passes of k-means over the features


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a stage takes."""

    seconds_per_step: float
    memory: int = 0
    """Peak in bytes, of the GPU if there is one, else of the process; 0 where it cannot be measured."""
    checkpoint: int = 0
    """Bytes of a checkpoint."""


class NoisePictures:
    """Pictures of noise, in place of real ones."""

    def __init__(self, size: Size, channels: int) -> None:
        self.shape = (channels, *height_width(size))

    def __len__(self) -> int:
        return 2**20

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        """Indices (B,) -> pictures (B, C, H, W) in [-1, 1]."""
        return torch.rand(len(indices), *self.shape) * 2 - 1


def measure_stage(name: StageName, preset: Preset, generator: dict[str, object], cut: int, num_labels: int, real_pictures: bool) -> Cost:
    """Measure a step of a stage.

    Args:
        name: the stage.
        preset: settings of all stages.
        generator: the generator's config.
        cut: side of the features at the cut.
        num_labels: classes, for the segmenter and the mapper.
        real_pictures: L_adv has real pictures, so that none need be generated.

    Raises:
        ProxymaskError: settings that do not fit each other.
    """
    return _measure(_untrained(name, preset, generator, cut, num_labels, real_pictures).build(), preset.loop(name))


def _untrained(
    name: StageName, preset: Preset, generator: dict[str, object], cut: int, num_labels: int, real_pictures: bool
) -> TrainedStage:
    """The stage with random inputs of the right sizes."""
    network = Generator(**generator)  # type: ignore[arg-type]
    split = SplitGenerator(network, cut)
    noise = NoisePictures(network.picture_size, network.img_channels)
    if name == "generator":
        size = as_size(network.picture_size)
        return GeneratorDefinition(config=preset.generator, loop=preset.generator_loop, pictures=noise, size=size, start=network)
    pictures = noise if real_pictures else None
    clusters = ProxyClusters(preset.num_clusters, split.channels, cut, start=split.start)
    rows = torch.randn(preset.num_clusters, split.channels, generator=derive_rng(0, "estimate"))
    clusters.centroids.copy_(rows / rows.norm(dim=1, keepdim=True))
    rearranging = RearrangerDefinition(
        config=preset.rearranger, loop=preset.rearranger_loop, cut=split, clusters=clusters, pictures=pictures, rms=(1.0, 1.0)
    )
    if name == "rearranger":
        return rearranging
    rearranger = rearranging.build().rearranger
    labels = LabelSet.of((f"class {i}", f"#{i:06x}") for i in range(num_labels))
    segmenting = SegmenterDefinition(
        config=preset.segmenter,
        loop=dataclasses.replace(preset.segmenter_loop, steps=1),  # of a schedule of one step, this is the kind that takes longest
        cut=split,
        labels=labels,
        ws=torch.randn(1, network.w_dim),
        masks=torch.zeros(1, *network.picture_size, dtype=torch.long),
        clusters=clusters,
        rearranger=rearranger,
    )
    if name == "segmenter":
        return segmenting
    frozen, segmenter = Frozen(split, clusters, rearranger), segmenting.build().segmenter
    return MapperDefinition(
        config=preset.mapper, loop=preset.mapper_loop, frozen=frozen, segmenter=segmenter, labels=labels, pictures=pictures
    )


def _measure(stage: Stage, loop: LoopConfig) -> Cost:
    run = Run(loop, stage)
    place(stage, run.device)
    unit = run.world * loop.accumulate
    before = _memory(run.device, reset=True)

    def timed(batch: int, index: int, least: float) -> float:
        part = Run(dataclasses.replace(loop, batch=batch), stage)
        began, repeats = time.perf_counter(), 0
        while True:
            part.index = index
            stage.step(part)
            if part.device.type == "cuda":
                torch.cuda.synchronize()
            repeats += 1
            spent = time.perf_counter() - began
            if agreed(spent >= least or repeats == 5):  # process 0 decides, or the others would wait for ever
                return agreed(spent / repeats)

    kinds = step_kinds(stage, loop.steps)
    first = next(iter(kinds))
    alone = timed(unit, first, 0.0)
    if alone < SLOW:  # the first step also allocates, which matters where steps are short
        alone = timed(unit, first, 0.0)
    batch = unit * max(1, min(int(MEASURED_SECONDS / alone), loop.batch // unit))
    scale = loop.batch / batch
    costs = {index: alone if batch == unit and index == first else timed(batch, index, 0.1) for index in kinds}
    seconds = sum(share * costs[index] for index, share in kinds.items()) * scale
    peak = _memory(run.device)
    memory = round(before + (peak - before) * scale) if peak else 0
    return Cost(seconds, memory, _checkpoint_bytes(stage))


def _checkpoint_bytes(stage: Stage) -> int:
    """Bytes of the weights, of the averaged weights, and of Adam's two numbers a weight."""

    def size(name: str) -> int:
        return sum(t.numel() * t.element_size() for t in stage.modules[name].state_dict().values())

    trained = sum(p.numel() * 4 for o in stage.optimizers.values() for group in o.param_groups for p in group["params"])
    return sum(map(size, stage.modules)) + sum(map(size, stage.averaged)) + 2 * trained


def step_kinds(stage: Stage, steps: int) -> dict[int, float]:
    """The kinds of steps in a schedule: the index of the first step of each, and its share of all steps; the most frequent kind first."""
    counts: Counter[Hashable] = Counter()
    firsts: dict[Hashable, int] = {}
    for index in range(steps):
        kind = stage.step_kind(index)
        counts[kind] += 1
        firsts.setdefault(kind, index)
    return {firsts[kind]: count / steps for kind, count in counts.most_common()}


def measure_clusters(preset: Preset, generator: dict[str, object], cut: int, device: torch.device) -> float:
    """Seconds that clustering will take, measured with a few samples."""
    split = SplitGenerator(Generator(**generator), cut).to(device).eval().requires_grad_(False)  # type: ignore[arg-type]
    began = time.perf_counter()
    split.features(torch.randn(1, split.generator.w_dim, device=device))
    alone = time.perf_counter() - began
    samples = max(1, min(preset.cluster_samples, int(MEASURED_SECONDS / alone), 16))
    needed = -(-preset.num_clusters // (split.size[0] * split.size[1]))  # samples with at least K positions
    samples = max(samples, needed)
    began = time.perf_counter()
    cluster_features(split, preset.num_clusters, samples, 0, device, max_iterations=2)
    # five passes: two over the samples, two of Lloyd's iteration, and one to choose the initial centroids
    return agreed((time.perf_counter() - began) / 5 * PASSES * preset.cluster_samples / samples)


def measure_pictures(files: list[Path], size: Size, workers: int) -> float:
    """Seconds that preparing ``files`` will take, measured with some of them."""
    some = files[:: max(1, len(files) // 8)][:8]
    began = time.perf_counter()
    for file in some:
        try:
            picture = read_picture(file, notes=[])
        except ProxymaskError:  # reported and left out when it is prepared
            continue
        picture.resize(height_width(size)[::-1], Image.Resampling.LANCZOS)
    return (time.perf_counter() - began) / max(1, len(some)) * len(files) / workers


def _memory(device: torch.device, reset: bool = False) -> int:
    """Peak bytes so far, of the GPU if it is used, else of the process; 0 where the system does not report it."""
    if device.type == "cuda":
        if reset:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
