"""What a page does, for tests: a WebSocket with frames, and requests."""

import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from starlette.testclient import TestClient, WebSocketTestSession

from proxymask.studio.app import create_app
from proxymask.studio.config import StudioConfig
from proxymask.studio.protocol import Frame, decode_frame, encode_frame
from proxymask.studio.rle import encode_runs
from proxymask.studio.state import PAGES, Studio

ADDRESS = "http://127.0.0.1:8765"
SOCKET = "ws://127.0.0.1:8765/ws"


@contextmanager
def running(config: StudioConfig) -> Iterator[TestClient]:
    """A client of a studio that is started and ended."""
    with TestClient(create_app(config), base_url=ADDRESS, raise_server_exceptions=False) as client:
        while studio(client).turns.count(PAGES):  # the pictures that it makes by itself to warm up
            time.sleep(0.01)
        yield client


def studio(client: TestClient) -> Studio:
    """The parts of the server behind a client."""
    return client.app.state.studio  # type: ignore[attr-defined]


class Page:
    """One open page."""

    def __init__(self, socket: WebSocketTestSession, bundle: str) -> None:
        self.socket, self.bundle, self.number = socket, bundle, 0
        self.welcome: dict[str, Any] = {}

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        self.socket.send_bytes(encode_frame(header, payload))

    def receive(self) -> Frame:
        return decode_frame(self.socket.receive_bytes())

    def hello(self, **fields: Any) -> dict[str, Any]:
        self.send({"type": "hello", "session": None, **fields})
        self.welcome = self.receive().header
        return self.welcome

    def render(self, canvas: np.ndarray, *seeds: int, **fields: Any) -> int:
        """Ask for pictures; returns the id of the request."""
        self.number += 1
        self.send(render_header(self.bundle, canvas, *seeds, id=self.number, **fields), encode_runs(canvas))
        return self.number

    def drain(self) -> list[Frame]:
        """Every frame up to the answer of a ping that is sent now."""
        self.send({"type": "ping", "t": -1})
        frames = []
        while (frame := self.receive()).header["type"] != "pong":
            frames.append(frame)
        return frames


@contextmanager
def page(client: TestClient, **hello: Any) -> Iterator[Page]:
    """A page that is connected and has been welcomed."""
    with client.websocket_connect(SOCKET) as socket:
        made = Page(socket, studio(client).catalogue.default)
        made.hello(**hello)
        yield made


def render_header(bundle: str, canvas: np.ndarray, *seeds: int, **fields: Any) -> dict[str, Any]:
    height, width = canvas.shape
    styles = [{"seed": seed} for seed in seeds or (3,)]
    return {"type": "render", "bundle": bundle, "condition": "mask", "width": width, "height": height, "styles": styles, **fields}


def portrait(side: int = 256) -> np.ndarray:
    """A mask of avatars: a head with eyes, a mouth, hair and clothes."""
    canvas = np.zeros((side, side), np.uint8)
    y, x = np.mgrid[:side, :side] / side
    canvas[y > 0.8] = 5
    canvas[(x - 0.5) ** 2 + (y - 0.55) ** 2 < 0.06] = 1
    canvas[((x - 0.5) ** 2 + (y - 0.45) ** 2 < 0.08) & (y < 0.35)] = 7
    canvas[((abs(x - 0.5) - 0.09) ** 2 + (y - 0.5) ** 2) < 0.0008] = 2
    canvas[(abs(x - 0.5) < 0.06) & (abs(y - 0.66) < 0.015)] = 4
    return canvas


def resized_header(png: bytes, width: int, height: int) -> bytes:
    """A PNG whose header says that it is of another size than it is."""
    header = png[12:16] + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
