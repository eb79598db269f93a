"""How long a stage will take, and what it needs: measured on this machine by a few real steps on networks of the right size.

The weights of these networks are random: a step costs the same whatever it computes, so a stage can be measured before
those that it builds on are there.
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
from ..core.sizes import Size, height_width
from ..imaging.labels import LabelSet
from ..imaging.reader import read_picture
from ..models.proxy_clusters import ProxyClusters
from ..models.split_generator import SplitGenerator
from ..models.stylegan2 import Generator
from .distributed import agreed
from .generator import GeneratorStage
from .loop import LoopConfig, Run, Stage, all_parameters_bytes
from .mapper import MapperStage
from .presets import Preset, StageName
from .rearranger import RearrangerStage
from .stages import (
    build_generator,
    build_mapper,
    build_rearranger,
    build_segmenter,
    cluster_features,
)

PATIENCE = 1.0  # seconds that one measured step may take; longer ones are measured on part of the batch
SLOW = 5.0  # seconds; a step that takes longer is not repeated
PASSES = 25  # over the features until k-means has settled, typically


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a stage takes. ``memory``: bytes in use at the peak, on the GPU where that computes; 0 where it cannot be told."""

    seconds_per_step: float
    memory: int = 0
    checkpoint: int = 0
    """Bytes of a checkpoint."""


class _Noise:
    """Pictures of noise."""

    def __init__(self, size: Size, channels: int) -> None:
        self.shape = (channels, *height_width(size))

    def __len__(self) -> int:
        return 2**20

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        return torch.rand(len(indices), *self.shape) * 2 - 1


def measure_stage(
    name: StageName, preset: Preset, generator: dict[str, object], cut: int, num_labels: int, adversary: bool, device: torch.device
) -> Cost:
    """Measure a step of a stage.

    Args:
        generator: the generator's config.
        cut: side of the features at the cut.
        num_labels: classes, for the segmenter and the mapper.
        adversary: real pictures are given, so that none need be generated.

    Raises:
        ProxymaskError: settings that do not fit each other, which is better known now than after hours.
    """
    loop, steps, seed = preset.loop(name), preset.loop(name).steps, 0
    network = Generator(**generator)  # type: ignore[arg-type]
    cutting = SplitGenerator(network, cut)
    noise = _Noise(network.picture_size, network.img_channels)
    pictures = noise if adversary else None
    clusters = ProxyClusters(preset.num_clusters, cutting.channels, cut, start=cutting.start)
    rows = torch.randn(preset.num_clusters, cutting.channels, generator=derive_rng(seed, "estimate"))
    clusters.centroids.copy_(rows / rows.norm(dim=1, keepdim=True))
    stage: Stage
    if name == "generator":
        stage = build_generator(preset.generator, network, None, noise, seed)
    elif name == "rearranger":
        stage = build_rearranger(preset.rearranger, cutting, clusters, None, pictures, steps, seed, device, rms=(1.0, 1.0))
    else:
        moving = build_rearranger(preset.rearranger, cutting, clusters, None, pictures, 1, seed, device, rms=(1.0, 1.0)).rearranger
        ws, masks = torch.randn(1, network.w_dim), torch.zeros(1, *network.picture_size, dtype=torch.long)
        # a schedule of one step: the kind of step that takes longest
        stage = segmenting = build_segmenter(preset.segmenter, cutting, ws, masks, num_labels, 1, seed, device, clusters, moving)
        if name == "mapper":
            labels = LabelSet.of((f"class {i}", f"#{i:06x}") for i in range(num_labels))
            parts = cutting, clusters, moving, segmenting.segmenter, labels, None
            stage = build_mapper(preset.mapper, *parts, pictures, steps, seed, device)
    return _measure(stage, loop)


def _measure(stage: Stage, loop: LoopConfig) -> Cost:
    run = Run(loop, stage)
    for module in stage.modules.values():
        module.to(run.device)
        if run.device.type != "mps":
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
    batch = unit * max(1, min(int(PATIENCE / alone), loop.batch // unit))
    scale = loop.batch / batch
    costs = {index: alone if batch == unit and index == first else timed(batch, index, 0.1) for index in kinds}
    seconds = sum(share * costs[index] for index, share in kinds.items()) * scale
    peak = _memory(run.device)
    memory = round(before + (peak - before) * scale) if peak else 0
    averaged = sum(t.numel() * t.element_size() for name in stage.averaged for t in stage.modules[name].state_dict().values())
    trained = sum(p.numel() * 4 for o in stage.optimizers.values() for group in o.param_groups for p in group["params"])
    return Cost(seconds, memory, all_parameters_bytes(stage) + averaged + 2 * trained)  # Adam keeps two numbers a weight


def step_kinds(stage: Stage, steps: int) -> dict[int, float]:
    """The kinds of steps that a schedule has (some add a regulariser or a loss): one step of each, and its share of all."""

    def kind(i: int) -> Hashable:
        if isinstance(stage, GeneratorStage):
            c = stage.config
            alone = i < c.discriminator_first
            return alone, not alone and c.path_weight > 0 and i % stage.path_every == 0, i % stage.r1_every == 0
        if isinstance(stage, RearrangerStage):
            return stage.adversarial_due(i) and (True, stage.r1_due(i))
        if isinstance(stage, MapperStage):
            since = stage.adversarial_from
            return i >= stage.label_from, i >= since, i >= since and (i - since) % stage.r1_every == 0
        return True

    counts: Counter[Hashable] = Counter()
    firsts: dict[Hashable, int] = {}
    for index in range(steps):
        what = kind(index)
        counts[what] += 1
        firsts.setdefault(what, index)
    return {firsts[what]: count / steps for what, count in counts.most_common()}


def measure_clusters(preset: Preset, generator: dict[str, object], cut: int, device: torch.device) -> float:
    """Seconds that clustering will take, from a few samples."""
    cutting = SplitGenerator(Generator(**generator), cut).to(device).eval().requires_grad_(False)  # type: ignore[arg-type]
    began = time.perf_counter()
    cutting.features(torch.randn(1, cutting.generator.w_dim, device=device))
    alone = time.perf_counter() - began
    samples = max(1, min(preset.cluster_samples, int(PATIENCE / alone), 16))
    needed = -(-preset.num_clusters // (cutting.size[0] * cutting.size[1]))  # rows for K clusters
    samples = max(samples, needed)
    began = time.perf_counter()
    cluster_features(cutting, preset.num_clusters, samples, 0, device, max_iterations=2)
    # two passes over the sample, two of Lloyd and one to draw the start
    return agreed((time.perf_counter() - began) / 5 * PASSES * preset.cluster_samples / samples)


def measure_pictures(files: list[Path], size: Size, workers: int) -> float:
    """Seconds that preparing will take, from some of the files."""
    some = files[:: max(1, len(files) // 8)][:8]
    began = time.perf_counter()
    for file in some:
        try:
            picture = read_picture(file)
        except ProxymaskError:  # named and left out when it is prepared
            continue
        picture.resize(height_width(size)[::-1], Image.Resampling.LANCZOS)
    return (time.perf_counter() - began) / max(1, len(some)) * len(files) / workers


def _memory(device: torch.device, reset: bool = False) -> int:
    """Peak bytes so far: of the GPU where that computes, of the process otherwise; 0 where the system does not tell."""
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
