"""Running the studio: the port, the browser, the end."""

import secrets
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from os import environ
from types import FrameType

import uvicorn

from ..core.errors import ProxymaskError
from .app import create_app
from .config import DEFAULT_PORT, StudioConfig


def make_token() -> str:
    """A new secret."""
    return secrets.token_urlsafe(24)


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens on ``port``; where it is None, on the default port, or on a free one if that is in use.

    Raises:
        ProxymaskError: the port is in use, or the address is not this machine's.
    """
    for candidate in (DEFAULT_PORT, 0) if port is None else (port,):
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            made = socket.socket(family, kind, protocol)
        except OSError as error:
            raise ProxymaskError(f"--host {host}: no address of this machine ({error.strerror or error})") from None
        try:
            if sys.platform != "win32":
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(128)
            return made
        except OSError as error:
            made.close()
            failure = error
    if port is None:
        raise ProxymaskError(f"--host {host}: cannot listen there ({failure.strerror})")
    raise ProxymaskError(f"--port {port}: cannot listen there ({failure.strerror}): choose another, or leave --port out to get a free one")


def address(config: StudioConfig, listening: socket.socket) -> str:
    """What to open in a browser; the token is in the fragment, which browsers do not send."""
    port = listening.getsockname()[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(config.host, config.host)
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{host}:{port}/" + (f"#token={config.token}" if config.token else "")


def serve(config: StudioConfig, listening: socket.socket, started: Callable[[], None]) -> None:
    """Serve until Ctrl-C; ``started`` is called once, when requests are answered."""
    limits, app = config.limits, create_app(config)
    app.state.studio.catalogue.model(app.state.studio.catalogue.default)  # what is wrong with it is said before anybody connects
    settings = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws_max_size=limits.frame_bytes,
        ws_per_message_deflate=False,
        limit_concurrency=512,
        timeout_graceful_shutdown=3,
    )
    server = _Server(settings)

    def watch() -> None:
        while not server.started and not server.should_exit:
            time.sleep(0.02)
        if server.started:
            started()

    threading.Thread(target=watch, daemon=True).start()
    server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """Ends in good order, however often Ctrl-C is pressed, and does not raise the signal again afterwards."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True


def open_browser(url: str) -> bool:
    """Open a browser window; False where there is none, as on a machine without a display."""
    if sys.platform.startswith("linux") and not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False
