"""What the routes of one app share."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import HTTPConnection

from .catalogue import Catalogue, Model
from .config import StudioConfig
from .renderer import Renderer
from .sessions import Sessions
from .turns import Pause, Turns, compute

PAGES = "pages"
"""Owner of all HTTP requests in :class:`Turns`."""
Result = TypeVar("Result")


@dataclass
class Studio:
    """The parts of a running server."""

    config: StudioConfig
    catalogue: Catalogue
    turns: Turns
    renderer: Renderer
    sessions: Sessions

    @classmethod
    def of(cls, config: StudioConfig) -> "Studio":
        """The parts for a config; the thread is not started yet."""
        limits = config.limits
        catalogue = Catalogue(config)
        return cls(
            config,
            catalogue,
            Turns(limits.waiting_requests),
            Renderer(catalogue, limits.style_bytes),
            Sessions(limits.sessions, limits.idle_seconds),
        )

    async def with_model(self, bundle: str, work: Callable[[Model], Result]) -> Result:
        """What ``work`` finds with an opened bundle, in the thread that may use it."""
        name = self.catalogue.check(bundle)

        def steps() -> Generator[Pause, None, Result]:
            model = self.catalogue.model(name)
            yield Pause.STEP
            return work(model)

        return await compute(self.turns, PAGES, steps)


def studio_of(connection: HTTPConnection) -> Studio:
    """The parts of the server that a request or WebSocket came to."""
    found = connection.app.state.studio
    assert isinstance(found, Studio)
    return found
