"""A headless Chromium, and a small server for the page's own files. All tests here skip, with the reason, where there is no browser.

``BROWSER_TESTS=required`` in the environment makes a missing browser an error. Screenshots of the main states are kept in
``screenshots/``, or in the folder ``$SCREENSHOTS``.
"""

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from studio_driver import WAIT_SECONDS, StudioPage, StudioServer, missing

ROOT = Path(__file__).parents[3]
WEB = ROOT / "src" / "proxymask" / "studio" / "web"
SCREENSHOTS = ROOT / "screenshots"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOST_PAGE = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Canvas</title><link rel="icon" href="data:,">
<style>
  body { margin: 0; height: 3000px; background: #d7dade }
  #canvas { margin: 20px 0 0 20px; width: 560px; height: 480px; background: #b9bec4 }
</style>
<div id="canvas"></div>"""


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Playwright's Browser. One for each module: Playwright's event loop would be in the way of asyncio in other tests."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("the package playwright is not installed")
    executable = next((path for name in NAMES if (path := shutil.which(name))), None)
    if executable is None:
        missing(f"none of {', '.join(NAMES)} is on the path")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


class _Files(http.server.SimpleHTTPRequestHandler):
    """The files of ``web/``, and ``/`` as an empty page with one element."""

    def guess_type(self, path: str) -> str:
        return "text/javascript" if path.endswith(".js") else super().guess_type(path)

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Security-Policy", "default-src 'self'; style-src 'unsafe-inline'; img-src 'self' blob: data:")
        self.end_headers()
        self.wfile.write(HOST_PAGE)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def static_site() -> Iterator[str]:
    """Address of a server of the files under ``web/``; it knows nothing of the studio."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Files, directory=str(WEB)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def open_page(browser, static_site) -> Iterator[Callable]:
    """``open_page(address="/", **context options)`` -> a page in its own context. An error in the page's scripts fails the test."""
    contexts, errors = [], []

    def opened(address: str = "/", **options):
        context = browser.new_context(viewport={"width": 640, "height": 540}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * WAIT_SECONDS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(static_site + address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not errors, errors


@pytest.fixture
def keep_screenshot() -> Callable:
    """``keep_screenshot(page, name)`` writes ``screenshots/name.png``, in the folder ``$SCREENSHOTS`` where that is set."""

    def keep(page, name: str) -> None:
        folder = Path(os.environ.get("SCREENSHOTS") or SCREENSHOTS)
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(folder / f"{name}.png"))

    return keep


@pytest.fixture(scope="session")
def studio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StudioServer]:
    """A studio with the embedded bundle, in a process of its own."""
    server = StudioServer("--workspace", str(tmp_path_factory.mktemp("studio") / "work"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def open_studio(browser, studio_server) -> Iterator[Callable]:
    """``open_studio(server=None, **context options)`` -> a :class:`StudioPage` in a context of its own.

    What the browser's console reports as an error fails the test, except that a server does not answer.
    """
    contexts, errors = [], []

    def opened(server: StudioServer = studio_server, context=None, **options) -> StudioPage:
        if context is None:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", **options})
            contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * WAIT_SECONDS)
        page.on("pageerror", lambda error: errors.append(f"{error} {error.stack}"))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        return StudioPage(page, server)

    yield opened
    for context in contexts:
        context.close()
    expected = ("WebSocket connection to", "Failed to load")  # a server that is away; an upload that is refused
    assert not [error for error in errors if not any(part in error for part in expected)], errors
