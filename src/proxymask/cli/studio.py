"""The verb ``studio``."""

import importlib.util
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import tyro

from ..core.checks import Checked, Range
from ..core.errors import ProxymaskError
from ..training.presets import DEFAULT_PRESET
from .options import BundleName, CommonDevice, Devices, OptionalName

Preset = Annotated[
    str,
    tyro.conf.arg(
        help="Settings of the trainings: auto (ours at the size of the pictures), demo, ours-SIZE, or a JSON file that changes one."
    ),
]
NEEDED = ("fastapi", "uvicorn", "websockets")


@dataclass(frozen=True)
class Studio(Checked):
    """Paint masks and see the pictures, in the browser.

    Starts a web server on this machine and opens it. Ctrl-C ends it. Nothing is sent anywhere else.

    Examples:
      proxymask studio
      proxymask studio --bundle my-bundle --port 9000 --no-browser
    """

    bundle: BundleName = "avatars"
    port: Annotated[Annotated[int, Range(1, 65535)] | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(optional)")] = None
    """Port of the server; without it 8765, or a free one where that is in use."""
    host: str = "127.0.0.1"
    """Address to listen on. Any but that of this machine needs a token; one is made where none is given."""
    token: OptionalName = None
    """Secret that a browser must know: 16 to 128 letters, digits, - or _; it is part of the address that is printed."""
    workspace: Path = Path("proxymask-studio")
    """Folder for labels, and for the models that are trained on them; created with the first label set."""
    preset: Preset = DEFAULT_PRESET
    no_browser: bool = False
    """Do not open a browser."""
    common: CommonDevice = field(default_factory=Devices)

    def run(self) -> None:
        """Serve until Ctrl-C."""
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise ProxymaskError(f"the studio needs {', '.join(missing)}: pip install 'proxymask[studio]'")
        from ..studio import server
        from ..studio.config import DEFAULT_PORT, StudioConfig, is_loopback

        token = self.token or (None if is_loopback(self.host) else server.make_token())
        common = self.common
        config = StudioConfig(self.bundle, self.host, self.port, token, common.device, common.precision, self.workspace, self.preset)
        listening = server.listen(config.host, config.port)
        port = listening.getsockname()[1]
        if self.port is None and port != DEFAULT_PORT:
            print(f"note: port {DEFAULT_PORT} is in use, so it is {port}")
        url = server.address(config, listening)

        def started() -> None:
            print(f"The studio is at  {url}", flush=True)
            if self.host in ("0.0.0.0", "::"):
                local = urlsplit(url).hostname
                print(f"From other machines, put {socket.gethostname()} or this machine's IP address in place of {local}.")
            print("Ctrl-C ends it.", flush=True)
            if not self.no_browser:
                server.open_browser(url)

        server.serve(config, listening, started)
        print("the studio has ended")
