"""What it costs to open a published size of checkpoint and to draw pictures with it, compared with the convolutions alone.

    OMP_NUM_THREADS=2 python benchmarks/import_speed.py --out docs/results/import-config-f.json

A file of G, D and G_ema of config-F at 1024 pixels (30 M parameters each), in NVIDIA's layout and with random weights, is written,
then imported by the command line in a process of its own, whose time and peak memory count. Then pictures of 256, 512 and 1024
pixels are drawn one at a time, and the same convolutions (same shapes, nothing else) are timed for comparison. "overhead" is what
modulation, filters, noise, bias and activation add. The error of bfloat16 is that of features and picture against float32, relative
L2, with the clamp of NVIDIA's half precision at 256.
"""

import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import output
import torch
import torch.nn.functional as F
import tyro

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "checkpoints"))
import families  # writes files in others' layouts

from proxymask.models.stylegan2 import Generator

CHILD = (
    "import resource, sys; from proxymask.cli import main; code = main(sys.argv[1:]);"
    "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024); sys.exit(code)"
)


@dataclasses.dataclass(frozen=True)
class ImportSpeed:
    """Time and memory of an import, time of pictures, error of bfloat16."""

    resolutions: tuple[int, ...] = (256, 512, 1024)
    """Sizes to draw."""
    rounds: int = 5
    """Pictures a size; the median counts."""
    folder: Path | None = None
    """Where the file of about 360 MB goes; a temporary folder where not given."""
    out: Path | None = None
    """Also write the numbers here."""


def write_file(folder: Path) -> Path:
    """The checkpoint, written by a process of its own, so that its memory is not ours."""
    path = folder / "config-f.pkl"
    code = (
        f"import sys; sys.path.insert(0, {str(Path(families.__file__).parent)!r}); import families; from pathlib import Path;"
        "shape = families.Shape(resolution=1024, base=32768, top=512, z=512, w=512, depth=8, clamp=256.0);"
        f"families.nvidia_file(Path({str(path)!r}), shape)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    return path


def measure_import(path: Path, out: Path) -> dict[str, Any]:
    """Seconds and peak MiB of ``proxymask import``, and whether the two limits hold."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", CHILD, "import", str(path), "--out", str(out)], capture_output=True, text=True, check=True)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computing = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    _, peak = done.stdout.strip().splitlines()[-1].split()
    return {
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "seconds": round(wall, 2),
        "cpu_seconds": round(computing, 2),
        "peak_mib": round(float(peak)),
        "under_20_s_and_2_gb": wall < 20 and float(peak) * 2**20 < 2e9,
    }


def bare(generator: Generator) -> Callable[[], None]:
    """The generator's convolutions alone: one picture's worth, on inputs of the right shapes."""
    jobs = []
    for res in generator.synthesis.block_resolutions:
        block = generator.synthesis.block(res)
        if block.in_channels:
            jobs.append((True, torch.randn(1, block.in_channels, res // 2, res // 2), block.conv0.weight))
        jobs.append((False, torch.randn(1, block.conv1.weight.shape[1], res, res), block.conv1.weight))
        jobs.append((False, torch.randn(1, block.torgb.weight.shape[1], res, res), block.torgb.weight))

    def run() -> None:
        for up, x, weight in jobs:
            if up:
                F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            else:
                F.conv2d(x, weight, padding=weight.shape[-1] // 2)

    return run


CLOCK = time.process_time if torch.get_num_threads() == 1 else time.perf_counter  # the former does not count what others compute


def seconds(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of each, in the same rounds, so that a slow moment of the machine falls on all; the first round does not count."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for index in range(rounds + 1):
        for name, job in jobs.items():
            began = CLOCK()
            job()
            if index:
                times[name].append(CLOCK() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def distance(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """Relative L2."""
    return float((got.float() - wanted).norm() / wanted.norm())


@torch.inference_mode()
def measure_pictures(resolution: int, rounds: int) -> dict[str, float]:
    """Times of one picture and of its convolutions, and the error of bfloat16."""
    torch.manual_seed(0)
    generator = Generator(resolution=resolution, conv_clamp=256.0).eval().requires_grad_(False)
    for name, value in generator.named_parameters():
        if name.endswith("noise_strength"):
            value.fill_(0.1)
    ws = generator.ws(generator.z([0]))
    synthesis, cut = generator.synthesis, 64

    def features() -> torch.Tensor:
        x = None
        for res in [r for r in synthesis.block_resolutions if r <= cut]:
            x = synthesis.block(res).convs(x, synthesis.block_ws(ws, res), "const")
        assert x is not None
        return x

    exact, exact_features = synthesis(ws), features()
    convolutions = bare(generator)

    def low(job: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return job()

        return run

    jobs: dict[str, Callable[[], object]] = {"picture": lambda: synthesis(ws), "convolutions": convolutions}
    times = seconds(jobs | {f"bf16_{name}": low(job) for name, job in jobs.items()}, rounds)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half_picture, half_features = synthesis(ws), features()
    return {f"{name}_s": round(value, 3) for name, value in times.items()} | {
        "overhead": round(times["picture"] / times["convolutions"], 2),
        "bf16_overhead": round(times["bf16_picture"] / times["bf16_convolutions"], 2),
        "bf16_error_of_features": round(distance(half_features, exact_features), 5),
        "bf16_error_of_picture": round(distance(half_picture, exact), 5),
    }


def main() -> None:
    args = tyro.cli(ImportSpeed)
    output.prepare(args.out)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        result: dict[str, Any] = {
            "threads": torch.get_num_threads(),
            "clock": "CPU seconds of one thread" if CLOCK is time.process_time else "seconds",
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "import": measure_import(write_file(folder), folder / "out"),
        }
    print(json.dumps(result, indent=2))
    for resolution in args.resolutions:
        result[str(resolution)] = measure_pictures(resolution, args.rounds)
        print(resolution, json.dumps(result[str(resolution)], indent=2))
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")
    output.write(args.out, result)


if __name__ == "__main__":
    main()
