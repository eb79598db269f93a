"""Time, memory and disk that a stage will take: measured on this machine by a few real steps of each kind."""

import copy
import shutil
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save

from ..core.config_model import ConfigModel
from ..core.device import to_device
from ..core.errors import ProxymaskError
from ..core.memory import peak_memory, reset_peak, used_memory
from ..core.sizes import Size
from ..data.prepare import prepare_folder
from ..models.proxy_clusters import ProxyClusters
from ..models.spherical_kmeans import INIT_SAMPLE, spherical_kmeans
from ..models.split_generator import SplitGenerator
from .adversarial import Pictures
from .auxiliary import BATCH, COUNTED, GeneratedImages
from .checkpoint import _collect
from .cost import Cost, schedule, times_due
from .detail import DetailStage
from .distillation import DistillationStage
from .distributed import agreed, is_main
from .generator import GeneratorStage
from .loop import LoopConfig, Run, Stage, _update_average, place
from .mapper import MapperStage
from .narrow_keys import narrow_keys
from .rearranger import RearrangerStage
from .stages.clusters import MAX_CACHED_FEATURES
from .stages.definition import BATCH as FORWARD_BATCH
from .stages.definition import TrainedStage
from .stages.detail import DetailDefinition
from .stages.mapper import AnyMapperDefinition
from .stages.rearranger import NARROW_SAMPLES, STATISTICS_SAMPLES, RearrangerDefinition
from .untrained import NoiseLabels

WHOLE = 5.0  # seconds that a step may take for the whole batch to be measured; else two smaller batches are
PART = 2.0  # seconds that a step of the larger one of these may take
ROUNDS = 5  # most rounds in which a step of each kind is measured
MEASURED = 0.1  # share of a training's steps after which no further round begins either
SPENT = 2.0  # seconds after which no further round begins
QUICK = 1.0  # seconds a step of one sample, above which grids are left out: they take next to nothing of such a training
RARE = 0.05  # share of the steps below which a kind is measured once
WRITTEN = 64 * 2**20  # bytes that are written to learn how fast the disk is
SAMPLE_PASSES, PASSES, FEW_PASSES = 55, 50, 2  # passes of k-means: over its sample; over all features; over these if the sample has all
PICTURES = 4  # generated ones that are made to learn how long all take
FILES = 32  # pictures that are prepared to learn how long all take
LOG_LINE = 1500  # bytes of a line of stats.jsonl with the same numbers for TensorBoard


def measure(definition: TrainedStage, folder: Path) -> Cost:
    """What a stage takes. Its networks and optimisers are made anew, so that ``definition`` can be run afterwards.

    Args:
        definition: the stage.
        folder: an existing folder on the disk that the run folder will be on.

    Raises:
        ProxymaskError: settings that do not fit each other.
    """
    began = time.perf_counter()
    stage, loop = definition.for_measuring().build(), definition.loop
    build = time.perf_counter() - began
    generated = _generated(stage, loop)
    if generated is not None:  # otherwise each measured step would make pictures, as only the first ones of a run do
        assert isinstance(definition, AnyMapperDefinition | DetailDefinition)
        assert definition.segmenter is not None
        size = generated[0].labeler.split.generator.picture_size
        _replace_generated(stage, NoiseLabels(size, 3, definition.segmenter.out.out_channels))
    kinds, firsts = schedule(stage, loop.steps)
    meter = _Meter(stage, loop, kinds, firsts)
    seconds, memory = meter.steps()
    grid, grid_bytes = meter.grid()
    memory = max(memory, _peak(meter.run.device))
    tensors = _collect(meter.run)
    checkpoint = _size(tensors)
    networks = sum(_size(module.state_dict()) for module in stage.modules.values() if isinstance(module, ConfigModel))
    rate = _seconds_a_byte(tensors, folder)
    build, kept = build + _unmeasured_statistics(definition, stage), 0
    if generated is not None:
        made, picture = generated[1], _seconds_a_picture(generated[0], meter.run)
        height, width = generated[0].labeler.split.generator.picture_size
        build, kept = build + made * picture, round(made * 4 * height * width)  # three colours and a label, uint8
    if memory and meter.run.device.type != "cuda":  # the pictures are in the memory of the process
        memory += kept + _mapped(stage, loop)
    count = times_due(loop.checkpoint_every, 0, loop.steps)
    grids = times_due(loop.grid_every, 0, loop.steps) * grid_bytes
    logs = times_due(loop.log_every, 0, loop.steps) * LOG_LINE
    cost = Cost(
        kinds,
        seconds,
        begin=build,
        end=_narrowing(definition, stage) + 2 * networks * rate,  # written, and read to be hashed
        regular=((loop.checkpoint_every, checkpoint * rate), (loop.grid_every, grid)),
        # a checkpoint is copied twice where it is written
        memory=max(memory, meter.idle_memory + 2 * checkpoint * (meter.run.device.type == "cpu")) if memory else 0,
        disk=min(count, loop.keep) * checkpoint + networks + grids + logs,
        spare_disk=checkpoint,
    )
    return agreed(cost)


class _Meter:
    """Runs steps of each kind of a stage.

    Args:
        stage: is trained a little.
        loop: of the whole training.
        kinds, firsts: of :func:`.cost.schedule`.
    """

    def __init__(self, stage: Stage, loop: LoopConfig, kinds: bytes, firsts: list[int]) -> None:
        self.stage, self.loop, self.firsts = stage, loop, firsts
        self.run = Run(loop, stage)
        place(stage, self.run.device)
        self.run.averages = {name: copy.deepcopy(stage.modules[name]).requires_grad_(False).eval() for name in stage.averaged}
        self.unit = self.run.world * loop.accumulate
        shares, self.count = Counter(kinds), len(kinds)
        self.order = [kind for kind, _ in shares.most_common()]  # the most frequent kind first
        self.rare = {kind for kind in self.order if shares[kind] < RARE * len(kinds)}
        self.alone = 0.0
        """Seconds of a step of one sample."""
        self.idle_memory = 0
        """Bytes between two steps."""
        if loop.tensorboard:
            import torch.utils.tensorboard  # noqa: F401  its import takes seconds, which the loop then does not

    def steps(self) -> tuple[tuple[float, ...], int]:
        """Seconds of a step of each kind, and the peak of memory."""
        one = self._part(self.unit)
        self.alone = self._step(one, self.order[0])
        if agreed(self.alone < WHOLE):  # the first step also allocates and compiles
            self.alone = self._step(one, self.order[0])
        parts = agreed(self._batches())
        found = [self._measured(size) for size in parts]
        if len(found) == 1:
            (seconds, memory), scale = found[0], 1.0
            return tuple(seconds[kind] for kind in range(len(self.firsts))), memory
        (few, few_memory), (more, more_memory) = found
        scale = (self.loop.batch - parts[1]) / (parts[1] - parts[0])
        whole = self.loop.batch / parts[1]
        line = [min(more[kind] + scale * max(0.0, more[kind] - few[kind]), more[kind] * whole) for kind in range(len(self.firsts))]
        return tuple(line), round(more_memory + scale * max(0, more_memory - few_memory))

    def _batches(self) -> list[int]:
        """Batches that are measured: the whole one, or two from which a straight line is drawn."""
        units = self.loop.batch // self.unit
        if units == 1 or self.alone * units <= WHOLE:
            return [self.loop.batch]
        larger = 2
        while larger * 2 < units and self.alone * larger * 2 <= PART:
            larger *= 2
        return [self.unit, larger * self.unit] if larger < units else [self.unit, self.loop.batch]

    def _measured(self, batch: int) -> tuple[list[float], int]:
        """Seconds of a step of each kind with ``batch`` samples, and the peak of memory."""
        run, times = self._part(batch), {kind: [] for kind in self.order}  # type: ignore[var-annotated]
        _reset(run.device)
        for kind in self.order:
            warm = self._step(run, kind)
            if agreed(warm > WHOLE):  # what is compiled in the first one is little of it
                times[kind].append(warm)
        began = time.perf_counter()
        for _ in range(max(1, min(ROUNDS, round(MEASURED * self.count / len(self.order))))):
            for kind in self.order:
                if not times[kind] or not (kind in self.rare or self.alone > WHOLE):
                    times[kind].append(self._step(run, kind))
            if agreed(time.perf_counter() - began > SPENT or self.alone > WHOLE):
                break
        self.idle_memory = _current(run.device)
        return [sum(times[kind]) / len(times[kind]) for kind in range(len(self.firsts))], _peak(run.device)

    def _part(self, batch: int) -> Run:
        part = Run(replace(self.loop, batch=batch), self.stage)
        part.averages = self.run.averages
        return part

    def _step(self, run: Run, kind: int) -> float:
        run.index = self.firsts[kind]
        began = time.perf_counter()
        self.stage.step(run)
        _update_average(run)
        if run.device.type == "cuda":
            torch.cuda.synchronize()
        return agreed(time.perf_counter() - began)

    def grid(self) -> tuple[float, int]:
        """Seconds and bytes of a grid; 0 where it is not worth measuring."""
        if not self.loop.grid_every or self.alone > QUICK or not is_main():
            return 0.0, 0
        began = time.perf_counter()
        with torch.no_grad():
            picture = self.stage.grid(self.run)
        if picture is None:
            return 0.0, 0
        with tempfile.TemporaryFile() as file:
            picture.save(file, "png")
            return time.perf_counter() - began, file.tell()


# ------------------------------------------------------------------------------------------------------- parts of some stages


def _generated(stage: Stage, loop: LoopConfig) -> tuple[GeneratedImages, float] | None:
    """The generated pictures that a stage keeps in memory, and how many it makes in all."""
    if isinstance(stage, MapperStage | DetailStage) and stage.auxiliary is not None:
        data, steps = stage.auxiliary.generated, stage.auxiliary.steps
        return data, data.expected(BATCH * steps, COUNTED) if steps else 0.0
    if isinstance(stage, DistillationStage):
        return stage.dataset, stage.dataset.expected(2 * loop.batch * loop.steps)
    return None


def _replace_generated(stage: Stage, noise: NoiseLabels) -> None:
    if isinstance(stage, MapperStage | DetailStage) and stage.auxiliary is not None:
        stage.auxiliary.dataset = noise
    elif isinstance(stage, DistillationStage):
        stage.dataset = noise  # type: ignore[assignment]


@torch.no_grad()
def _seconds_a_picture(data: GeneratedImages, run: Run) -> float:
    """Seconds to make a picture with its labels."""
    split = data.labeler.split

    def spent() -> float:
        began = time.perf_counter()
        with run.autocast():
            data.labeler.labels_and_pictures(split.w(torch.randn(PICTURES, split.generator.z_dim, device=run.device)))
        return time.perf_counter() - began

    first = spent()
    return (spent() if first < PART else first) / PICTURES


def _mapped(stage: Stage, loop: LoopConfig) -> int:
    """Bytes of the real pictures that will have been read from a prepared set, which stay in memory."""
    pictures: Pictures | None = getattr(stage, "pictures", None)
    if pictures is None or not isinstance(stage, GeneratorStage | RearrangerStage | MapperStage):
        return 0
    return min(len(pictures), loop.steps * loop.batch) * pictures.images(torch.zeros(1, dtype=torch.long)).numel()


def _unmeasured_statistics(definition: TrainedStage, stage: Stage) -> float:
    """Seconds that the statistics of the features take, where a rearranger's definition was given some."""
    if not isinstance(definition, RearrangerDefinition) or not isinstance(stage, RearrangerStage) or definition.rms is None:
        return 0.0
    return STATISTICS_SAMPLES * seconds_a_sample(stage.split, next(stage.split.parameters()).device)


def _narrowing(definition: TrainedStage, stage: Stage) -> float:
    """Seconds that narrower queries and keys take after the training of a rearranger."""
    if not isinstance(stage, RearrangerStage) or not isinstance(definition, RearrangerDefinition):
        return 0.0
    width = definition.config.narrow_channels
    if not width or stage.rearranger.key_dim <= width:
        return 0.0

    def spent(samples: int) -> float:
        z = torch.randn(samples, stage.split.generator.z_dim)
        began = time.perf_counter()
        with torch.no_grad():
            narrow_keys(stage.rearranger, stage.split, stage.clusters, width, z)
        return time.perf_counter() - began

    spent(1)
    one, more = spent(1), spent(FORWARD_BATCH)
    slope = max(0.0, more - one) / (FORWARD_BATCH - 1)
    return more + (NARROW_SAMPLES - FORWARD_BATCH) * slope


@torch.no_grad()
def seconds_a_sample(split: SplitGenerator, device: torch.device) -> float:
    """Seconds that G1 takes for a sample, in float32."""

    def spent(samples: int) -> float:
        began = time.perf_counter()
        split.features(split.w(torch.randn(samples, split.generator.z_dim, device=device)))
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    spent(1)
    one = spent(1)
    if one > PART / FORWARD_BATCH:
        return one
    spent(FORWARD_BATCH)
    return spent(FORWARD_BATCH) / FORWARD_BATCH


# --------------------------------------------------------------------------------------------------------------- other stages


def measure_clusters(split: SplitGenerator, num_clusters: int, samples: int, device: torch.device) -> Cost:
    """What clustering takes, measured with a few samples. How many passes k-means needs is not known before: it is taken from others."""
    to_device(split, device).eval().requires_grad_(False)
    _reset(device)
    sample = seconds_a_sample(split, device)
    height, width = split.size
    one = torch.randn(FORWARD_BATCH, split.channels, height, width, device=device)
    chunks = [one.clone() for _ in range(max(4, -(-num_clusters // (FORWARD_BATCH * height * width))))]  # at least K positions

    def spent() -> float:
        began = time.perf_counter()
        rows = (chunk.permute(0, 2, 3, 1).reshape(-1, split.channels) for chunk in chunks)
        spherical_kmeans(lambda: rows, num_clusters, seed=0, init=start, max_iterations=1)
        return time.perf_counter() - began

    start = torch.randn(num_clusters, split.channels, device=device)
    spent()
    a_row = spent() / (len(chunks) * FORWARD_BATCH * height * width)
    found = samples * height * width
    passes = (FEW_PASSES if found <= INIT_SAMPLE else PASSES) + 2  # one to draw the sample, one to count at the end
    held = found * split.channels * 4
    cached = held <= MAX_CACHED_FEATURES
    seconds = samples * sample * (1 if cached else passes)
    seconds += a_row * (min(found, INIT_SAMPLE) * SAMPLE_PASSES + found * passes)
    memory = _peak(device)
    if memory and device.type == "cpu":
        memory += (held if cached else 0) + min(found, INIT_SAMPLE) * split.channels * 4
    networks = _size(ProxyClusters(num_clusters, split.channels, split.resolution, start=split.start).state_dict())
    return agreed(Cost(begin=seconds, memory=memory, disk=networks))


def measure_pictures(images: Path, files: list[Path], size: Size) -> float:
    """Seconds that preparing ``files`` will take, measured with some of them."""
    some = files[:: max(1, len(files) // FILES)][:FILES]
    masks = images / "masks" if (images / "labels.json").is_file() else None

    def spent(count: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "pictures"
            for place_ in (source / "images", source / "masks"):
                place_.mkdir(parents=True)
            for number, file in enumerate(some[:count]):
                shutil.copyfile(file, source / "images" / f"{number}{file.suffix}")
                if masks is not None and (masks / f"{file.stem}.png").is_file():
                    shutil.copyfile(masks / f"{file.stem}.png", source / "masks" / f"{number}.png")
                    shutil.copyfile(images / "labels.json", source / "labels.json")
            began = time.perf_counter()
            with suppress(ProxymaskError):  # none of these can be read; what can be is reported when all are prepared
                prepare_folder(source, Path(folder) / "prepared", size)
            return time.perf_counter() - began

    few, more = spent(2), spent(len(some))
    return few + max(0.0, more - few) / max(1, len(some) - 2) * max(0, len(files) - 2)


# ------------------------------------------------------------------------------------------------------------ memory and disk


def _size(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _seconds_a_byte(tensors: dict[str, torch.Tensor], folder: Path) -> float:
    """Seconds to write a byte of a checkpoint in ``folder``; 0 where nothing can be written there."""
    some: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if not some or _size(some) < WRITTEN:
            some[name] = tensor
    try:
        with tempfile.TemporaryFile(dir=folder) as file:  # without a name where the system knows such: a kill leaves nothing
            began = time.perf_counter()
            file.write(save({name: tensor.detach().cpu().contiguous() for name, tensor in some.items()}))
            file.flush()
            return (time.perf_counter() - began) / max(1, _size(some))
    except OSError:
        return 0.0


def _reset(device: torch.device) -> None:
    reset_peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_memory()


def _current(device: torch.device) -> int:
    return torch.cuda.memory_allocated() if device.type == "cuda" else used_memory()
