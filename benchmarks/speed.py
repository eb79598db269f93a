"""Time of one new mask to a picture with the style cached, as a ratio to the uncut generator's own time in the same run.

    python benchmarks/speed.py --bundle avatars            # the embedded size
    python benchmarks/speed.py --paper                     # 256 pixels, 512 channels at 64x64, random weights: time only
    python benchmarks/speed.py --preset ours-128           # the sizes of any preset, or of a JSON file, random weights: time only

Parts are timed one after the other in the same rounds, each after one call of itself, and medians are reported, so that a slow
moment of the machine falls on all of them.
"""

import dataclasses
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import output
import torch
import tyro

from proxymask.core.device import autocast
from proxymask.imaging.labels import LabelSet
from proxymask.inference.bundle import Bundle
from proxymask.inference.detail_inputs import mask_inputs
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.detail_network import DetailNetwork
from proxymask.models.layers import attention
from proxymask.models.oasis_mapper import OasisMapper
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.rearranger import Rearranger
from proxymask.models.stylegan2 import Generator
from proxymask.training.presets import PRESETS, load_preset
from proxymask.training.stages.generator import new_generator
from proxymask.training.stages.mapper import MapperDefinition
from proxymask.training.untrained import untrained_stage


@dataclasses.dataclass(frozen=True)
class Speed:
    """Time a bundle, or the paper's sizes."""

    bundle: str = "avatars"
    """Bundle to time."""
    mapper: str = "mask"
    """Mapper of masks to time."""
    paper: bool = False
    """Instead: networks of the paper's sizes with random weights, and the rearranger's queries and keys as ours-512 has them."""
    preset: str | None = None
    """Instead: networks of this preset's sizes with random weights."""
    hidden: int | None = None
    """With --paper: another width inside the rearranger's residual blocks, which the paper does not state."""
    key_channels: int | None = None
    """With --paper: another width of queries and keys than ours-512 narrows them to once they are trained; 0: as they are trained."""
    rounds: int = 30
    """Rounds; the median counts."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: str = "auto"
    """auto, fp32 or bf16."""
    clock: Literal["wall", "processor"] = "wall"
    """processor: processor time of all threads, for a machine that also does other work (with OMP_NUM_THREADS=1)."""
    out: Path | None = None
    """Also write the numbers here."""


def paper_bundle(hidden: int | None, key_channels: int | None) -> Bundle:
    """Networks of the paper's size, with random weights."""
    preset, ours = PRESETS["paper-256"], PRESETS["ours-512"].rearranger
    generator = Generator(resolution=256)
    clusters = ProxyClusters(num_clusters=25, channels=512, resolution=64)
    clusters.centroids.copy_(torch.nn.functional.normalize(torch.randn(25, 512), dim=1))
    rearranger = Rearranger(
        channels=512,
        resolution=64,
        num_clusters=25,
        position_channels=ours.position_channels,
        hidden=hidden or ours.hidden,
        key_channels=ours.narrow_channels if key_channels is None else key_channels,
    )
    rearranger.initialize(clusters.centroids, 1.0)
    labels = LabelSet.of([(f"class {i}", f"#{i * 9:02x}{255 - i * 9:02x}80") for i in range(19)])
    mapper = OasisMapper(19, 25, 64, widths=preset.mapper.widths, hidden=preset.mapper.hidden)
    return Bundle(generator, 64, clusters, rearranger, labels=labels, mappers={"mask": mapper}, name="paper-256 (random weights)")


def preset_bundle(name: str) -> Bundle:
    """Networks of a preset's sizes, with random weights, 19 labels and, if the preset has one, a detail network."""
    preset = load_preset(name)
    config = new_generator(preset.generator, preset.resolution, seed=0).config
    made = untrained_stage("mapper", preset, config, preset.cut, 19, 1, 0)
    assert isinstance(made, MapperDefinition)
    frozen, mapper = made.frozen, made.new_mask_mapper()
    rearranger = Rearranger(**{**frozen.rearranger.config, "key_channels": preset.rearranger.narrow_channels})
    rearranger.initialize(frozen.clusters.centroids, 1.0)
    generator = frozen.split.generator
    details = {}
    if preset.with_detail:
        channels = generator.synthesis.channels(2 * preset.cut)
        details["mask"] = DetailNetwork(19, channels, generator.resolution, preset.cut, preset.detail.width)
    parts = generator, preset.cut, frozen.clusters, rearranger
    return Bundle(*parts, labels=made.labels, mappers={"mask": mapper}, details=details, name=f"{name} (random weights)")


def main() -> None:
    args = tyro.cli(Speed)
    output.prepare(args.out)
    if args.preset is not None:
        bundle = preset_bundle(args.preset)
    else:
        bundle = paper_bundle(args.hidden, args.key_channels) if args.paper else Bundle.load(args.bundle)
    synth = Synthesizer(bundle, args.device, args.precision)
    style = synth.make_style(seed=1)
    side = synth.bundle.resolution
    ids = np.zeros((1, side, side), np.uint8)
    ids[:, side // 4 : -side // 4, side // 4 : -side // 4] = 1
    rearranger = synth.rearranger
    logits = synth.map(ids, args.mapper)
    painted = mask_inputs(ids, args.mapper)
    proxy = synth.proxy_mask(logits, style, painted)
    with torch.inference_mode():
        tokens = synth.query_tokens(proxy)
        moved = synth.rearrange(proxy, style)

    fused_g2 = style.fused_g2
    assert fused_g2 is not None

    def whole() -> None:
        synth.render(synth.proxy_mask(synth.map(ids, args.mapper), style, painted), style)

    def detailed() -> None:
        synth.render(synth.proxy_mask(synth.map(ids, args.mapper), style, painted), style, painted)

    def timed(job: Callable[[], object], dtype: torch.dtype) -> Callable[[], object]:
        def run() -> None:
            with torch.inference_mode(), autocast(synth.device, dtype):
                job()

        return run

    def cast(job: Callable[[], object]) -> Callable[[], object]:
        return timed(job, synth.dtype)

    def ready(job: Callable[[], object]) -> Callable[[], object]:
        return timed(job, torch.float32)  # no autocast: weights and inputs have their type

    jobs: dict[str, Callable[[], object]] = {
        "generator, uncut": cast(lambda: bundle.generator.synthesis(bundle.generator.broadcast(style.w))),
        "mask to picture": whole,
        **({"mask to picture, detail network": detailed} if args.mapper in bundle.details else {}),
        "  mapper": lambda: synth.map(ids, args.mapper),
        "  logits to proxy mask": lambda: synth.proxy_mask(logits, style, painted),
        "  query": cast(lambda: synth.query_tokens(proxy)),
        "  attention": ready(lambda: attention(tokens.query, style.kv.key, style.kv.value)),
        "  attention and block behind": ready(lambda: rearranger.attend(tokens, style.kv)),
        "  G2": ready(lambda: fused_g2(moved)),
        "a new style": lambda: synth.make_style(seed=2),
    }
    clock = time.perf_counter if args.clock == "wall" else time.process_time
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for index in range(args.rounds + 2):
        for name, job in jobs.items():
            job()  # not timed: what ran before it took the caches
            began = clock()
            job()
            if synth.device.type == "cuda":
                torch.cuda.synchronize()
            if index >= 2:
                times[name].append(clock() - began)
    middle = {name: statistics.median(values) for name, values in times.items()}
    base = middle["generator, uncut"]
    print(
        f"{bundle.name}: {synth.size} pixels, cut at {bundle.cut}, {synth.device}, "
        f"{synth.dtype}, {torch.get_num_threads()} threads, {args.rounds} rounds, {args.clock} time"
    )
    for name, value in middle.items():
        print(f"{name:33s} {value * 1000:9.2f} ms   {value / base:5.2f} x")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process  {peak:9.0f} MiB")
    if args.out is not None:
        result = {
            "bundle": bundle.name,
            "resolution": synth.size,
            "cut": bundle.cut,
            "device": str(synth.device),
            "dtype": str(synth.dtype),
            "processor": output.processor(),
            "clock": args.clock,
            "threads": torch.get_num_threads(),
            "keys": style.kv.key.shape[1],
        }
        numbers = {name.strip(): {"ms": round(v * 1000, 3), "ratio": round(v / base, 3)} for name, v in middle.items()}
        output.write(args.out, result | {"rounds": args.rounds, "peak_mib": round(peak), "times": numbers})


if __name__ == "__main__":
    main()
