"""What the routes of one app share."""

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from starlette.requests import HTTPConnection

from .catalogue import CLUSTERS, Catalogue, Model
from .config import StudioConfig
from .errors import BusyError
from .labelling.jobs import Jobs
from .labelling.workspace import Workspace
from .protocol import Drawn, StyleSpec
from .renderer import Renderer
from .rle import encode_runs
from .sessions import Sessions
from .turns import IDLE, Job, Pause, Turns, Work, compute
from .uploads import Reader

log = logging.getLogger(__name__)
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
    reader: Reader
    workspace: Workspace
    jobs: Jobs

    @classmethod
    def of(cls, config: StudioConfig) -> "Studio":
        """The parts for a config; the thread is not started yet."""
        limits = config.limits
        catalogue, workspace = Catalogue(config), Workspace(config.workspace)
        for folder in workspace.bundles():
            catalogue.add(folder)
        return cls(
            config,
            catalogue,
            Turns(limits.waiting_requests),
            Renderer(catalogue),
            Sessions(limits.sessions, limits.idle_seconds),
            Reader(limits.pixels),
            workspace,
            Jobs(workspace, config.preset, config.device, catalogue.add),
        )

    def start(self) -> None:
        """Start the thread; its first work is a picture that nobody sees, because the first one takes longer."""
        self.turns.start()
        self.jobs.start()
        self.turns.put(Job(PAGES, "warm up", self._warm_up(), 20, _log_failure))

    def close(self) -> None:
        """End the threads."""
        self.turns.close()
        self.jobs.close()
        self.reader.close()

    def _warm_up(self) -> Work:
        model = self.catalogue.model(self.catalogue.default)
        yield Pause.STEP
        kinds = [model.synth.bundle.condition_of(name)["condition"] for name in model.synth.bundle.mappers]
        masks = model.labels is not None and "mask" in kinds
        if masks or model.has_clusters:
            height, width = model.buffer
            condition = "mask" if masks else CLUSTERS
            request = Drawn(bundle=model.name, condition=condition, width=width, height=height, styles=(StyleSpec(seed=0),))
            runs = encode_runs(np.zeros((height, width), np.uint8))
            for _ in range(2):  # of the second one the time is known
                yield from self.renderer.steps(request, runs, lambda rendered: None)
        self._count_labels(model)

    def _count_labels(self, model: Model) -> None:
        """Count the labels of a bundle's samples while nothing else is to be done."""
        self.turns.put(Job(IDLE, f"census of {model.name}", model.census(), 0, _log_failure))

    async def opened(self, bundle: str) -> str:
        """The name of a bundle, which is opened first where it is not, in a thread that nobody waits for.

        Raises:
            ProxymaskError: there is no such bundle, or it is damaged.
        """
        if not self.catalogue.is_open(self.catalogue.check(bundle)):
            model = await self.reader.run(lambda: self.catalogue.model(bundle))
            self._count_labels(model)
        return bundle

    async def with_model(self, bundle: str, work: Callable[[Model], Result]) -> Result:
        """What ``work`` finds with an opened bundle, in the thread that may use it."""

        def one_step(model: Model) -> Generator[Pause, None, Result]:
            yield Pause.STEP
            return work(model)

        return await self.with_steps(bundle, one_step)

    async def with_steps(self, bundle: str, work: Callable[[Model], Generator[Pause, None, Result]]) -> Result:
        """As :meth:`with_model`, for work of several steps."""
        name = await self.opened(bundle)

        def steps() -> Generator[Pause, None, Result]:
            return (yield from work(self.catalogue.model(name)))

        return await compute(self.turns, PAGES, steps)


def _log_failure(error: Exception) -> None:
    if not isinstance(error, BusyError):  # the server is ending
        log.error("work that nobody waits for has failed", exc_info=error)


def studio_of(connection: HTTPConnection) -> Studio:
    """The parts of the server that a request or WebSocket came to."""
    found = connection.app.state.studio
    assert isinstance(found, Studio)
    return found
