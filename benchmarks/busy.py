"""Time of a picture on a busy machine: without other work, with one busy process, and with one on each core.

    python benchmarks/busy.py --out docs/results/busy.json

A busy process trains a generator of the preset demo with one thread. Every number is taken in each of --rounds rounds, and the median is
reported, as a ratio to the same thing without other work in the same run. A machine that also does other work makes the ratios smaller.

* python: ``synth(mask, style)`` in a script.
* server: the same in a thread of a server, asked over HTTP.
* command: a picture in a new style by ``proxymask generate``, without the start of Python and of the model.
* training: a step of the generator of the preset demo, as ``proxymask train`` takes it.

The same with ``OMP_NUM_THREADS`` set to all cores shows what PyTorch does by itself.
"""

import contextlib
import dataclasses
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from PIL import Image

from proxymask.cli import main as cli
from proxymask.core.files import write_json
from proxymask.core.threads import available_cpus
from proxymask.inference.synthesizer import Synthesizer
from proxymask.training.distributed import processes
from proxymask.training.loop import Run, place
from proxymask.training.presets import PRESETS
from proxymask.training.stages.generator import GeneratorDefinition
from proxymask.training.untrained import NoisePictures

Place = Literal["python", "server", "command", "training"]
PLACES: tuple[Place, ...] = ("python", "server", "command", "training")
STYLES = 20  # that one command makes more than the other; the difference of their times counts


@dataclasses.dataclass(frozen=True)
class Busy:
    """Time pictures and trainings beside busy processes."""

    bundle: str = "avatars"
    """Bundle that makes the pictures."""
    seconds: float = 4.0
    """Seconds a measurement."""
    rounds: int = 3
    """Rounds; the median counts."""
    places: tuple[Place, ...] = PLACES
    """What is measured."""
    every_core: bool = True
    """Also measure with a thread a core, as PyTorch does by itself."""
    out: Path | None = None
    """Also write the numbers here."""
    worker: Literal["", "python", "server", "command", "training", "load"] = ""
    """Used by the script itself: be one of its processes."""


def training_step() -> Callable[[], None]:
    """A step of the demo preset's generator on pictures of noise."""
    preset = PRESETS["demo"].with_loops(device="cpu")
    pictures = NoisePictures(preset.resolution, 3)
    stage = GeneratorDefinition(config=preset.generator, loop=preset.generator_loop, pictures=pictures, size=preset.resolution).build()
    run = Run(preset.generator_loop, stage)
    place(stage, run.device)
    run.index = 1  # no R1

    return lambda: stage.step(run)


def timed(job: Callable[[], object], seconds: float) -> float:
    """Median milliseconds of ``job``."""
    for _ in range(2):
        job()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 2:
        began = time.perf_counter()
        job()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def picture(bundle: str) -> Callable[[], object]:
    """A picture of a mask in a style that is kept."""
    synth = Synthesizer.from_pretrained(bundle, "cpu")
    return lambda: synth(mask(), 1)


def mask() -> np.ndarray:
    """A mask of two labels, (64, 64)."""
    ids = np.zeros((64, 64), np.uint8)
    ids[16:48, 16:48] = 1
    return ids


def from_server(bundle: str, seconds: float) -> float:
    """Median milliseconds of a request that a thread of a server answers with a picture."""
    make = picture(bundle)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pixels = np.asarray(make()).tobytes()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(pixels)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        return timed(lambda: urllib.request.urlopen(address).read(), seconds)
    finally:
        server.shutdown()


def from_command(bundle: str, seconds: float) -> float:
    """Median milliseconds of a picture in a new style by ``proxymask generate``."""
    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(mask()).save(f"{folder}/mask.png")

        def spent(styles: int) -> float:
            began = time.perf_counter()
            words = ["generate", "--bundle", bundle, "--mask", f"{folder}/mask.png", "--count", str(styles), "--device", "cpu"]
            with contextlib.redirect_stdout(io.StringIO()):
                assert cli([*words, "--out", f"{folder}/{styles}"]) == 0
            return 1000 * (time.perf_counter() - began)

        spent(2)
        times: list[float] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 3:
            times.append((spent(STYLES + 2) - spent(2)) / STYLES)
        return statistics.median(times)


def work(args: Busy) -> None:
    """Be a process of the script: a busy one, or one that prints a time."""
    if args.worker == "load":
        torch.set_num_threads(1)
        step = training_step()
        print("ready", flush=True)
        while True:
            step()
    elif args.worker == "server":
        print(from_server(args.bundle, args.seconds))
    elif args.worker == "python":
        print(timed(picture(args.bundle), args.seconds))
    elif args.worker == "command":
        print(from_command(args.bundle, args.seconds))
    else:
        with processes("cpu"):
            print(timed(training_step(), args.seconds))


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many busy processes while the body runs."""
    others = [start("load", dict(os.environ)) for _ in range(count)]
    try:
        for other in others:
            assert other.stdout is not None
            other.stdout.readline()
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def start(worker: str, environment: dict[str, str], *more: str) -> "subprocess.Popen[str]":
    """A process of this script."""
    return subprocess.Popen([sys.executable, __file__, "--worker", worker, *more], env=environment, stdout=subprocess.PIPE, text=True)


def measure(place: Place, args: Busy, environment: dict[str, str]) -> float:
    """Milliseconds of a picture, or of a step."""
    process = start(place, environment, "--bundle", args.bundle, "--seconds", str(args.seconds))
    found, _ = process.communicate()
    return float(found)


def main() -> None:
    args = tyro.cli(Busy)
    if args.worker:
        work(args)
        return
    plain = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    cpus = available_cpus()
    ways = {"as it is": plain}
    if args.every_core:
        ways[f"{cpus} threads"] = plain | {"OMP_NUM_THREADS": str(cpus)}
    times: dict[tuple[str, Place, int], list[float]] = {}
    for _ in range(args.rounds):
        for count in (0, 1, cpus):
            with busy_processes(count):
                for way, environment in ways.items():
                    for place in args.places:
                        times.setdefault((way, place, count), []).append(measure(place, args, environment))
                        print(f"{way:12s} {place:9s} {count} busy {times[way, place, count][-1]:9.1f} ms", file=sys.stderr, flush=True)
    rows = []
    for way in ways:
        for place in args.places:
            base = statistics.median(times[way, place, 0])
            middle = {count: statistics.median(times[way, place, count]) for count in (0, 1, cpus)}
            rows.append({"threads": way, "place": place, "ms": {str(count): round(value, 2) for count, value in middle.items()}})
            text = "".join(f"{count} busy {value:8.1f} ms {value / base:6.2f} x   " for count, value in middle.items())
            print(f"{way:12s} {place:9s} {text}")
    if args.out is not None:
        write_json(args.out, {"bundle": args.bundle, "cpus": cpus, "rounds": args.rounds, "rows": json.loads(json.dumps(rows))})


if __name__ == "__main__":
    main()
