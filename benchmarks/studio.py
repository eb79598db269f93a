"""How quickly the studio answers, measured through a headless Chromium; prints a table and writes JSON.

    python benchmarks/studio.py [--seconds 30] [--bundles avatars] [--out docs/results/studio.json]

For each embedded bundle a real server is started as a process, and painters paint without a pause: strokes of 0.7 seconds, each in another
label, the next one at once, with a mouse that is moved some 60 times a second. Measured are

* **stroke to picture**: from a pointer event to the frame that shows the first picture with its ink. Where a picture takes 50 ms or more,
  the page renders when a stroke ends, and the time counts from there. Beside it the **bare render**: ``synth(mask, style)`` with the style
  made before, in a process of its own, before and after the painting, while nobody paints;
* **four painters**: the same with four pages; the time counts for the last ink of each stroke;
* **with a training**: the same with one page, while ``proxymask train generator`` runs with one thread and normal priority;
* **frames**: the gaps between two frames of the page while somebody paints, with the server held to one thread (``OMP_NUM_THREADS=1``);
* **the page**: bytes of its own files, and the time from the start of a page load to the first picture, the first load after the server's
  start included.

Needs ``pip install 'proxymask[studio,browser]'`` and a Chromium. Numbers mean something on a machine that does nothing else: the load is
printed and kept.
"""

import argparse
import itertools
import math
import multiprocessing
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import output
import torch
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from proxymask.imaging.mask_files import example_masks
from proxymask.inference.find import list_bundles
from proxymask.inference.synthesizer import Synthesizer

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update")
RATE, STROKE = 60.0, 0.7  # pointer events a second, seconds of a stroke
BARE_SECONDS, LOADS, PAINTERS = 4.0, 5, 4
PAGE_BYTES, FIRST_PICTURE = 300_000, 3000.0

FIRST = """(() => {
  const look = () => window.studio?.renders.shown ? (window.firstPicture = performance.now()) : requestAnimationFrame(look);
  requestAnimationFrame(look);
})()"""
"""Notes the frame in which the first picture is there."""
PROBE = """() => {
  const { renders, socket } = window.studio;
  const probe = (window.probe = { times: [], strokes: [], ms: [], gaps: [], pictures: 0, live: 0, on: false });
  const sent = new Map(); // request -> the pointer events whose ink it was the first to have
  let fresh = [], inked = [], shown = 0, frame = 0, last = null;
  const note = (event) => {
    if (!probe.on || (event.type !== "pointerup" && !event.buttons)) return;
    const up = event.type === "pointerup";
    if (up && renders.live) { if (last) last.end = true; return; }
    if (!up && !renders.live) return;
    last = { at: event.timeStamp, end: up };
    fresh.push(last);
  };
  for (const kind of ["pointerdown", "pointermove", "pointerup"]) addEventListener(kind, note, true);
  const { drawn } = renders;
  renders.drawn = function (final) {
    inked.push(...fresh.splice(0));
    return drawn.call(this, final);
  };
  const { send } = socket;
  socket.send = function (header, payload) {
    const done = send.call(this, header, payload);
    if (done && header.type === "render") sent.set(header.id, inked.splice(0));
    return done;
  };
  renders.addEventListener("status", () => {
    const id = renders.shown?.request.id ?? 0;
    if (id <= shown) return;
    shown = id;
    probe.pictures += 1;
    probe.live += renders.live ? 1 : 0;
    probe.ms.push(renders.shown.ms);
    requestAnimationFrame(() => {
      const now = performance.now();
      for (const [request, events] of sent) {
        if (request > id) continue;
        sent.delete(request);
        for (const { at, end } of events) {
          probe.times.push(now - at);
          if (end) probe.strokes.push(now - at);
        }
      }
    });
  });
  const tick = (now) => {
    if (probe.on && frame) probe.gaps.push(now - frame);
    frame = probe.on ? now : 0;
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}"""
"""Notes when the ink of each pointer event is shown in a picture, from the page's own objects (``window.studio``)."""
SIZE = """[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter(({ name, entryType }) => entryType === "navigation" || name.includes("/web/"))
  .reduce((sum, one) => sum + one.decodedBodySize, 0)"""
READY = "() => document.body.dataset.ready && window.studio.renders.shown && !window.studio.renders.waiting"


# ------------------------------------------------------------------------------------------------------------------------ processes


@contextmanager
def server(bundle: str, **environment: str) -> Iterator[str]:
    """A studio as a process; its address."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [sys.executable, "-m", "proxymask", "studio", "--no-browser", "--bundle", bundle, "--port", str(port)]
        process = subprocess.Popen(
            [*command, "--workspace", f"{folder}/work"], env={**os.environ, **environment}, stdout=subprocess.DEVNULL
        )
        address = f"http://127.0.0.1:{port}/"
        try:
            while not answers(address):
                if process.poll() is not None:
                    sys.exit(f"the studio with {bundle} has ended with status {process.returncode}")
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            process.wait()


def answers(address: str) -> bool:
    """Whether a server is there."""
    try:
        with urllib.request.urlopen(f"{address}api/info", timeout=5):
            return True
    except OSError:
        return False


class BareRender:
    """``synth(mask, style)`` in a process of its own, which does nothing but while it measures."""

    def __init__(self, bundle: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=answer_times, args=(bundle, there), daemon=True)
        self._process.start()
        self.ms: list[float] = []
        self._here.recv()

    def measure(self) -> None:
        """Render for ``BARE_SECONDS``."""
        self._here.send(BARE_SECONDS)
        self.ms += self._here.recv()

    def close(self) -> None:
        """End the process."""
        self._here.send(None)
        self._process.join()


def answer_times(bundle: str, pipe: Connection) -> None:
    """The process of :class:`BareRender`: for a number of seconds the times of renders in ms."""
    synth = Synthesizer.from_pretrained(bundle)
    style = synth.make_style(2)
    masks = itertools.cycle([synth.read_mask(path) for path in sorted(example_masks().rglob("*.png"))])

    def render() -> float:
        mask = next(masks)
        begun = time.perf_counter()
        synth(mask, style)
        return 1e3 * (time.perf_counter() - begun)

    for _ in range(3):
        render()
    pipe.send(None)
    while (seconds := pipe.recv()) is not None:
        end, times = time.monotonic() + seconds, []
        while time.monotonic() < end:
            times.append(render())
        pipe.send(times)


@contextmanager
def training() -> Iterator[None]:
    """A small training of a generator that is under way, with one thread."""
    with tempfile.TemporaryDirectory() as folder:
        pictures, out = Path(folder) / "pictures", Path(folder) / "out"
        pictures.mkdir()
        rng = np.random.default_rng(0)
        for number in range(64):
            coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
            coarse.resize((64, 64), Image.Resampling.BICUBIC).save(pictures / f"{number}.png")
        command = [
            sys.executable,
            "-m",
            "proxymask",
            "train",
            "generator",
            "--images",
            str(pictures),
            "--out",
            str(out),
            "--steps",
            "1000000",
        ]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=quiet, stderr=quiet)
        try:
            end = time.monotonic() + 300
            while not list(out.rglob("stats.jsonl")) and time.monotonic() < end:
                if process.poll() is not None:
                    sys.exit(f"the training has ended with status {process.returncode}")
                time.sleep(0.5)
            yield
            if process.poll() is not None:
                sys.exit("the training ended while it was measured")
        finally:
            process.terminate()
            process.wait()


# ------------------------------------------------------------------------------------------------------------------------ painters


class Painter:
    """A page on which somebody paints without a pause."""

    def __init__(self, browser: Browser, address: str, number: int) -> None:
        self.page: Page = browser.new_page(viewport={"width": 1280, "height": 800})
        self.page.add_init_script(FIRST)
        self.page.goto(address)
        wait_until(self.page, READY)
        self.page.evaluate(PROBE)
        self._labels = self.page.evaluate("studio.state.bundle.labels.length")
        self._corner, self._scale = self.page.evaluate("[studio.state.canvas.toClient(0, 0), studio.state.canvas.getView().scale]")
        self._side = self.page.evaluate("studio.state.canvas.width")
        self._number, self._stroke, self._down = number, -1, False

    def advance(self, seconds: float) -> None:
        """Move to where the pointer is after that time; a stroke ends and the next begins."""
        stroke, t = int(seconds / STROKE), seconds + 1.7 * self._number
        x = self._side * (0.5 + 0.4 * math.sin(1.9 * t))
        y = self._side * (0.5 + 0.4 * math.sin(2.7 * t + self._number))
        mouse = self.page.mouse
        if stroke != self._stroke:
            self.lift()
            self._stroke = stroke
            self.page.evaluate(f"studio.state.canvas.setLabel({(stroke + 3 * self._number) % self._labels})")
            mouse.move(self._corner["x"] + x * self._scale, self._corner["y"] + y * self._scale)
            mouse.down()
            self._down = True
        else:
            mouse.move(self._corner["x"] + x * self._scale, self._corner["y"] + y * self._scale)

    def lift(self) -> None:
        """End the stroke."""
        if self._down:
            self.page.mouse.up()
        self._down = False

    def result(self) -> dict[str, Any]:
        """What the probe found."""
        found: dict[str, Any] = self.page.evaluate("window.probe")
        return found


def wait_until(page: Page, condition: str, seconds: float = 120.0) -> None:
    """Wait until JavaScript says true. (Playwright's own waiting needs eval, which the page does not allow.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        if time.monotonic() > end:
            sys.exit(f"not within {seconds:.0f} seconds: {condition}")
        page.wait_for_timeout(50)


def paint(browser: Browser, address: str, count: int, seconds: float) -> list[dict[str, Any]]:
    """Paint with ``count`` pages at once; what the probes found."""
    painters = [Painter(browser, address, number) for number in range(count)]
    for painter in painters:
        painter.page.evaluate("window.probe.on = true")
    begun = time.monotonic()
    while (now := time.monotonic() - begun) < seconds:
        for painter in painters:
            painter.advance(time.monotonic() - begun)
        left = 1 / RATE - (time.monotonic() - begun - now)
        if left > 0:
            painters[0].page.wait_for_timeout(1e3 * left)
    for painter in painters:
        painter.lift()
    for painter in painters:
        painter.page.wait_for_timeout(300)
        wait_until(painter.page, READY)
        painter.page.evaluate("window.probe.on = false")
    found = [painter.result() for painter in painters]
    for painter in painters:
        painter.page.close()
    return found


def load_page(browser: Browser, address: str) -> tuple[float, int]:
    """Milliseconds from the start of a page load in a new browser session to the first picture, and bytes of the page's own files."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(FIRST)
    page.goto(address)
    wait_until(page, "() => window.firstPicture")
    size = page.evaluate(SIZE)
    first = page.evaluate("window.firstPicture")
    context.close()
    return first, size


# ------------------------------------------------------------------------------------------------------------------------ numbers


def spread(values: list[float]) -> dict[str, float]:
    """Count, median, 95th percentile and maximum."""
    if not values:
        sys.exit("nothing was measured: no picture came while somebody painted")
    return {
        "count": len(values),
        "median": round(float(np.median(values)), 1),
        "p95": round(float(np.percentile(values, 95)), 1),
        "max": round(max(values), 1),
    }


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The probes of several pages as numbers, times in ms."""
    joined = {key: [value for one in found for value in one[key]] for key in ("times", "strokes", "ms", "gaps")}
    pictures = sum(one["pictures"] for one in found)
    return {
        "stroke_to_picture": spread(joined["times"]),
        "end_of_stroke": spread(joined["strokes"]),
        "server": spread(joined["ms"]),
        "frame_gaps": spread(joined["gaps"]),
        "frames_under_33": round(float(np.mean(np.array(joined["gaps"]) < 33)), 4),
        "pictures": pictures,
        "while_painting": round(sum(one["live"] for one in found) / max(1, pictures), 3),
    }


def measure(browser: Browser, bundle: str, seconds: float) -> dict[str, Any]:
    """All measurements of a bundle."""
    result: dict[str, Any] = {}
    with ExitStack() as stack:
        address = stack.enter_context(server(bundle))
        loads = [load_page(browser, address) for _ in range(LOADS)]
        result["page"] = {"bytes": loads[0][1], "first_picture": [round(first) for first, _ in loads]}
        say(f"{bundle}: first pictures {result['page']['first_picture']} ms")
        bare = BareRender(bundle)
        stack.callback(bare.close)
        bare.measure()
        result["one_painter"] = summary(paint(browser, address, 1, seconds))
        bare.measure()
        result["bare"] = spread(bare.ms)
        say(f"{bundle}: one painter {result['one_painter']['stroke_to_picture']}, bare {result['bare']}")
        result["four_painters"] = summary(paint(browser, address, PAINTERS, seconds))
        say(f"{bundle}: four painters {result['four_painters']['end_of_stroke']}")
        with training():
            result["with_training"] = summary(paint(browser, address, 1, seconds))
        say(f"{bundle}: with a training {result['with_training']['stroke_to_picture']}")
    with server(bundle, OMP_NUM_THREADS="1") as address:
        result["one_thread"] = summary(paint(browser, address, 1, seconds))
    say(f"{bundle}: frame gaps {result['one_thread']['frame_gaps']}")
    return result


def table(bundle: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of what was aimed at: value, aim, whether it is reached."""
    bare, one = found["bare"]["median"], found["one_painter"]["stroke_to_picture"]
    rows = [
        ("bare render, median", bare, None, "ms"),
        ("stroke to picture, median", one["median"], bare + 30, "ms"),
        ("stroke to picture, 95th percentile", one["p95"], 2 * bare + 60, "ms"),
        ("four painters, slowest stroke", found["four_painters"]["end_of_stroke"]["max"], 1000, "ms"),
        ("with a training, 95th percentile", found["with_training"]["stroke_to_picture"]["p95"], 300, "ms"),
        ("frame gap, one thread, 95th percentile", found["one_thread"]["frame_gaps"]["p95"], 33, "ms"),
        ("page load to first picture, slowest", max(found["page"]["first_picture"]), FIRST_PICTURE, "ms"),
        ("the page's own files", found["page"]["bytes"], PAGE_BYTES, "bytes"),
    ]
    return [
        {"bundle": bundle, "what": what, "value": value, "aim": aim, "unit": unit, "reached": None if aim is None else bool(value <= aim)}
        for what, value, aim, unit in rows
    ]


def machine(browser: Browser) -> dict[str, Any]:
    """What it was measured on."""
    versions = {"python": platform.python_version(), "torch": torch.__version__, "chromium": browser.version}
    return {"processor": output.processor(), "cores": os.cpu_count(), **versions, "load_before": load()}


def load() -> list[float]:
    """Processes that ran or waited, on average over 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def say(text: str) -> None:
    """Print how far it is."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="of painting, for each measurement")
    parser.add_argument("--bundles", nargs="*", default=list_bundles(), help="embedded bundles; all of them")
    parser.add_argument("--out", type=Path, help="JSON file")
    given = parser.parse_args()
    output.prepare(given.out)
    executable = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if executable is None:
        sys.exit(f"there is no Chromium: none of {', '.join(CHROMIUM)} is on the path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        result: dict[str, Any] = {"machine": machine(browser), "seconds": given.seconds, "bundles": {}, "rows": []}
        say(f"load before: {result['machine']['load_before']} on {os.cpu_count()} cores")
        for bundle in given.bundles:
            result["bundles"][bundle] = measure(browser, bundle, given.seconds)
            result["rows"] += table(bundle, result["bundles"][bundle])
        browser.close()
    result["machine"]["load_after"] = load()
    print(f"load {result['machine']['load_before']} before, {result['machine']['load_after']} after; {os.cpu_count()} cores\n")
    print(f"{'bundle':12} {'':42} {'value':>12} {'aim':>12}  reached")
    for row in result["rows"]:
        aim = "" if row["aim"] is None else f"{row['aim']:,.0f}"
        reached = {None: "", True: "yes", False: "NO"}[row["reached"]]
        print(f"{row['bundle']:12} {row['what']:42} {row['value']:12,.1f} {aim:>12}  {reached}")
    output.write(given.out, result)


if __name__ == "__main__":
    main()
