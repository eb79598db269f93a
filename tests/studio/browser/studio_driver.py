"""Starts a studio, and works its page as a person does."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

SOURCES = Path(__file__).parents[3] / "src"
READ = "() => { let text = ''; for (const id of studio.state.canvas.ids) text += String.fromCharCode(id); return btoa(text); }"
SETTLED = """() => document.body.dataset.ready && studio.state.bundle && studio.socket.open
  && !studio.renders.waiting && !studio.state.canvas.busy
  && (!studio.renders.behind || studio.renders.error || studio.renders.empty)"""
STRIP_DONE = "() => document.querySelectorAll('.thumb.stale').length === 0"
STATE = """() => ({ open: studio.socket.open, waiting: studio.renders.waiting?.id, shown: studio.renders.shown?.request.id,
  behind: studio.renders.behind, error: studio.renders.error, work: studio.state.work })"""
START_SECONDS, WAIT_SECONDS = 300.0, 120.0  # of a busy machine; an idle one takes a few


def missing(reason: str) -> NoReturn:
    """Skip, or fail where a browser is required."""
    message = f"no browser test was run: {reason}; `make test-browser` installs what they need"
    if os.environ.get("BROWSER_TESTS") == "required":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where two pictures (H, W, 3) differ visibly, bool (H, W)."""
    return np.abs(before.astype(int) - after).max(axis=2) > 24


class StudioServer:
    """``proxymask studio`` as a process. It can be killed and started again at the same address.

    Args:
        arguments: more of the command line.
    """

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}/"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, wait: bool = True) -> None:
        """Start it; with ``wait``, until it answers."""
        command = [sys.executable, "-m", "proxymask", "studio", "--no-browser", "--port", str(self.port), *self._arguments]
        environment = {**os.environ, "PYTHONPATH": str(SOURCES), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.monotonic() + START_SECONDS
        while wait and not self._answers():
            if self._process.poll() is not None:
                assert self._process.stderr is not None
                raise AssertionError(f"the studio ended: {self._process.stderr.read().decode()}")
            assert time.monotonic() < end, f"the studio did not answer within {START_SECONDS:.0f} seconds"
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}api/info", timeout=2):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class StudioPage:
    """The studio's page. Positions are pixels of the canvas's buffer, (x, y); shares are 0 to 1 of the picture."""

    def __init__(self, page, server: StudioServer) -> None:
        self.page = page
        page.goto(server.address)
        self.ready()

    def ready(self) -> None:
        """Wait until the first picture is there."""
        self.settle()

    def settle(self, strip: bool = False) -> None:
        """Wait until the picture is that of what is painted; with ``strip``, those of the other styles too."""
        self.page.wait_for_timeout(30)
        self.wait(SETTLED)
        if strip:
            self.wait(STRIP_DONE)

    def wait(self, expression: str) -> None:
        """Wait until an expression of JavaScript is true. (Playwright's own waiting needs eval, which the page does not allow.)"""
        end = time.monotonic() + WAIT_SECONDS
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"not within {WAIT_SECONDS:.0f} seconds: {expression}; {self.get(STATE)}"
            self.page.wait_for_timeout(30)

    def get(self, expression: str):
        return self.page.evaluate(expression)

    def ids(self) -> np.ndarray:
        """What is painted, (H, W) uint8."""
        height, width = self.get("studio.state.bundle.buffer")
        return np.frombuffer(base64.b64decode(self.page.evaluate(READ)), np.uint8).reshape(height, width)

    def picture(self) -> np.ndarray:
        """The shown picture, (H, W, 3) uint8."""
        url = self.get("document.querySelector('#picture-frame canvas').toDataURL()")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place in the window of a position of the buffer."""
        point = self.page.evaluate("([x, y]) => studio.state.canvas.toClient(x, y)", [x, y])
        return point["x"], point["y"]

    def down(self, *points: tuple[float, float]) -> None:
        """A stroke through these positions, that is not ended."""
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=8)

    def stroke(self, *points: tuple[float, float]) -> None:
        """A stroke of the mouse."""
        self.down(*points)
        self.page.mouse.up()

    def press(self, keys: str) -> None:
        """A key press with the focus on the page."""
        self.page.keyboard.press(keys)

    def open_start(self) -> None:
        """Open the dialog of what to start from."""
        self.page.get_by_role("button", name="Start from").click()

    def start_from(self, name: str) -> None:
        """Start from an example or a sample by its name in the dialog."""
        self.open_start()
        self.page.locator("#start").get_by_role("button", name=name, exact=True).click()
        self.page.wait_for_selector("#start", state="hidden")
        self.settle()

    def keep(self, item: str) -> bytes:
        """What is handed out by an item of the menu of what to keep: "picture", "mask" or "project"."""
        self.page.locator("#keep-button").click()
        with self.page.expect_download() as download:
            self.page.locator(f"[data-item={item}]").click()
        return Path(download.value.path()).read_bytes()

    def drop(self, name: str, data: bytes, kind: str) -> None:
        """Drop a file on the page."""
        self.page.evaluate(
            """([name, text, kind]) => {
              const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
              const files = new DataTransfer();
              files.items.add(new File([bytes], name, { type: kind }));
              for (const type of ['dragenter', 'dragover', 'drop']) {
                document.dispatchEvent(new DragEvent(type, { dataTransfer: files, bubbles: true, cancelable: true }));
              }
            }""",
            [name, base64.b64encode(data).decode(), kind],
        )


class LabelMode:
    """The mode "Label" of a page, which it enters. Positions are pixels of the canvas's buffer, (x, y)."""

    CANVAS = ".label-canvas .frame"
    FORM = ".label-welcome form"

    def __init__(self, studio: StudioPage) -> None:
        self.studio, self.page = studio, studio.page
        self.page.get_by_role("radio", name="Label", exact=True).click()
        studio.wait(f"() => document.querySelector('{self.FORM}, {self.CANVAS}')")

    def create(self, name: str) -> None:
        """A new label set, with the labels that are proposed, and its first sample on the canvas."""
        if not self.page.locator(self.FORM).is_visible():
            self.page.get_by_role("button", name="New label set").click()
        before = self.studio.get("studio.labelling.set?.id ?? null")
        self.page.get_by_label("Name of the label set").fill(name)
        self.page.get_by_role("button", name="Begin to label").click()
        self.opened(f"studio.labelling.set && studio.labelling.set.id !== {json.dumps(before)} && studio.labelling.set.name === {name!r}")

    def opened(self, condition: str = "true") -> None:
        """Wait until a sample is on the canvas."""
        self.studio.wait(
            f"() => {condition} && document.querySelector('{self.CANVAS}') && studio.labelling.canvas && !studio.labelling.opening"
        )

    def kept(self) -> None:
        """Wait until the server has what was painted."""
        self.studio.wait("() => !studio.labelling.dirty && document.querySelector('.label-kept').textContent.startsWith('Saved')")

    @property
    def seed(self) -> int:
        """Of the sample on the canvas."""
        return self.studio.get("studio.labelling.seed")

    @property
    def samples(self) -> list[int]:
        """Seeds of the labelled samples."""
        return self.studio.get("studio.labelling.set.samples")

    def ids(self) -> np.ndarray:
        """The labels on the canvas, (H, W) uint8."""
        height, width = self.studio.get("studio.state.bundle.buffer")
        text = self.page.evaluate(READ.replace("state.canvas", "labelling.canvas"))
        return np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width)

    def clusters(self) -> np.ndarray:
        """The clusters of the sample, at the size of the canvas (H, W) uint8."""
        found = self.studio.get("(({ width, height, ids }) => ({ width, height, ids: [...ids] }))(studio.labelling.clusters)")
        small = np.array(found["ids"], np.uint8).reshape(found["height"], found["width"])
        height, width = self.studio.get("studio.state.bundle.buffer")
        return small.repeat(height // found["height"], axis=0).repeat(width // found["width"], axis=1)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place in the window of a position of the buffer."""
        point = self.page.evaluate("([x, y]) => studio.labelling.canvas.toClient(x, y)", [x, y])
        return point["x"], point["y"]

    def click(self, x: float, y: float) -> None:
        """A click of the mouse."""
        self.page.mouse.click(*self.at(x, y))

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int) -> None:
        """A stroke of the mouse, with so many moves."""
        self.page.mouse.move(*self.at(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*end), steps=steps)
        self.page.mouse.up()

    def tool(self, name: str) -> None:
        """Choose a tool."""
        self.page.locator(".label-tools").get_by_role("radio", name=name, exact=True).click()

    def job(self, name: str):
        """The box of a training."""
        return self.page.locator(".job").filter(has=self.page.get_by_text(name, exact=True))

    def wait_for_job(self, name: str, *states: str, seconds: float = 900.0) -> None:
        """Wait until a training is in one of these states."""
        end = time.monotonic() + seconds
        while (state := self.job(name).get_attribute("data-state")) not in states:
            assert time.monotonic() < end, f"{name} is still {state}: {self.job(name).inner_text()}"
            self.page.wait_for_timeout(200)
