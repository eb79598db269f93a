"""What the studio is started with, and its bounds."""

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from ..core.errors import ProxymaskError
from ..training.presets import DEFAULT_PRESET, load_preset

DEFAULT_PORT = 8765
WEB = Path(__file__).parent / "web"
"""Folder of the page's own files."""


@dataclass(frozen=True)
class Limits:
    """Bounds of what one server takes and keeps."""

    sessions: int = 32
    """Sessions at once; one for each open page."""
    idle_seconds: float = 1800.0
    """Time after which a session without a connection is forgotten."""
    request_bytes: int = 16 * 2**20
    """Size of one HTTP request."""
    requests_bytes: int = 128 * 2**20
    """Size of all HTTP requests that are being answered."""
    frame_bytes: int = 4 * 2**20
    """Size of one WebSocket frame of a page."""
    pixels: int = 16 * 2**20
    """Pixels of one picture or mask that comes in, checked before it is decoded."""
    canvas_pixels: int = 4 * 2**20
    """Pixels of a canvas."""
    waiting_requests: int = 256
    """HTTP requests that wait for the networks at once."""
    bundles: int = 4
    """Bundles that are open at once."""
    style_bytes: int = 768 * 2**20
    """Memory of the kept styles; at 256 pixels a style takes some 30 MB."""


@dataclass(frozen=True)
class StudioConfig:
    """How the studio is started.

    Raises:
        ProxymaskError: a port that is none, a host other than this machine without a token, a token of other characters, or a preset
            that is none.
    """

    bundle: str = "avatars"
    """Name of an embedded bundle, a folder, or a name on the hub."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int | None = None
    """TCP port; None: :data:`DEFAULT_PORT`, or another one where that is in use."""
    token: str | None = None
    """Secret that every request must carry; None: no token is needed."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    workspace: Path = Path("proxymask-studio")
    """Folder for labels, trained bundles and trainings; made when the first label set is."""
    preset: str = DEFAULT_PRESET
    """Settings of the trainings: a name or a JSON file, as :func:`~proxymask.training.presets.load_preset` reads it."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.port is not None and not 0 < self.port < 65536:
            raise ProxymaskError(f"--port {self.port}: a port is a number from 1 to 65535")
        load_preset(self.preset)  # a wrong one is an error at once
        if self.token is not None and not re.fullmatch(r"[A-Za-z0-9_-]{16,128}", self.token):
            raise ProxymaskError("--token: a token is 16 to 128 letters, digits, - or _; leave it out and one is made")
        if self.token is None and not is_loopback(self.host):
            raise ProxymaskError(f"--host {self.host}: other machines can reach this address, so a token is needed: give --token")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is that of this machine, reached by nobody else."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
