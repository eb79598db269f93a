"""The one thread that runs networks, and whose turn it is.

Every owner (a session, or all HTTP requests together) has slots. A new job takes the place of the job in its slot: one that waits is
dropped, one that runs stops at its next step. Owners take turns, one rest-to-rest piece of work each, so nobody waits for the whole of what
another one wants.
"""

import asyncio
import enum
import logging
import threading
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from ..core.threads import one_thread
from .errors import BusyError

log = logging.getLogger(__name__)
Result = TypeVar("Result")
IDLE = "idle"
"""Owner whose turn comes only where nobody else waits."""
ENDING = "the server is ending: start it again"


class Pause(enum.Enum):
    """What a job may do between two steps."""

    STEP = 0
    """Go on, unless it was stopped."""
    REST = 1
    """Something was delivered: other owners go first."""


Work = Generator[Pause, None, None]


class Job:
    """Work in a slot.

    Args:
        owner, slot: whose, and what it replaces.
        work: the steps; it is run by the thread of :class:`Turns` alone.
        urgency: of an owner's jobs the one with the lowest number goes first.
        failed: told of an exception of ``work``, in the thread.

    Attributes:
        stopped: whether it was replaced or cancelled; what it finds is not wanted.
    """

    def __init__(self, owner: str, slot: str, work: Work, urgency: int, failed: Callable[[Exception], None]) -> None:
        self.owner, self.slot, self.work, self.urgency, self.failed = owner, slot, work, urgency, failed
        self.stopped = False


class Turns:
    """The thread and its queue. Every method may be called from any thread.

    Args:
        waiting: jobs of one owner that may wait at once.
    """

    def __init__(self, waiting: int = 256) -> None:
        self._changed = threading.Condition()
        self._jobs: dict[str, list[Job]] = {}  # in the order of the turns
        self._closing = False
        self._waiting = waiting
        self._thread = threading.Thread(target=self._run, name="proxymask-studio", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Stop every job at its next step and end the thread."""
        with self._changed:
            self._closing = True
            left = [job for jobs in self._jobs.values() for job in jobs]
            for owner in list(self._jobs):
                self._stop(owner)
            self._changed.notify_all()
        for job in left:
            job.failed(BusyError(ENDING))
        if self._thread.is_alive():
            self._thread.join(seconds)

    def put(self, job: Job) -> None:
        """Add a job; the one in its slot is stopped.

        Raises:
            BusyError: too many jobs of its owner wait already, or the server is ending.
        """
        with self._changed:
            if self._closing:
                raise BusyError(ENDING)
            self._stop(job.owner, job.slot)
            jobs = self._jobs.setdefault(job.owner, [])
            if len(jobs) >= self._waiting:
                raise BusyError("the server is busy: try again in a moment")
            jobs.append(job)
            self._changed.notify_all()

    def stop(self, owner: str, slot: str | None = None) -> None:
        """Stop an owner's jobs; of one slot only where it is given."""
        with self._changed:
            self._stop(owner, slot)

    def count(self, owner: str) -> int:
        """Jobs of an owner that wait or run."""
        with self._changed:
            return len(self._jobs.get(owner, ()))

    def _stop(self, owner: str, slot: str | None = None) -> None:
        left = []
        for job in self._jobs.get(owner, ()):
            if slot is None or job.slot == slot:
                job.stopped = True
            else:
                left.append(job)
        if left:
            self._jobs[owner] = left
        else:
            self._jobs.pop(owner, None)

    @one_thread()
    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                owner = next((name for name in self._jobs if name != IDLE), IDLE)
                job = min(self._jobs[owner], key=lambda job: job.urgency)
            done = self._turn(job)
            with self._changed:
                jobs = self._jobs.get(owner)
                if jobs is None:
                    continue
                if done and job in jobs:
                    jobs.remove(job)
                del self._jobs[owner]
                if jobs:
                    self._jobs[owner] = jobs  # behind the others

    def _turn(self, job: Job) -> bool:
        """Run a job up to its next rest; whether it has ended."""
        if job.stopped:
            return True
        try:
            for pause in job.work:
                if job.stopped:
                    job.work.close()
                    return True
                if pause is Pause.REST:
                    return False
        except Exception as error:  # the thread serves everybody and never ends
            try:
                job.failed(error)
            except Exception:  # as where whoever waited has gone with the event loop
                log.exception("the end of a job could not be told")
        return True


class Asking(Generic[Result]):
    """A result that a coroutine awaits while the thread computes it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Result] = self._loop.create_future()

    def answer(self, result: Result) -> None:
        """Called in the thread, with what was found."""
        self._loop.call_soon_threadsafe(self._settle, result, None)

    def fail(self, error: Exception) -> None:
        """Called in the thread, with what went wrong."""
        self._loop.call_soon_threadsafe(self._settle, None, error)

    def _settle(self, result: Any, error: Exception | None) -> None:
        if self._future.done():
            return
        if error is None:
            self._future.set_result(result)
        else:
            self._future.set_exception(error)

    async def wait(self) -> Result:
        """The result, or the exception of the work."""
        return await self._future


async def compute(turns: Turns, owner: str, work: Callable[[], Generator[Pause, None, Result]]) -> Result:
    """Run work in the thread, in its owner's turn, and await what it returns; it is stopped where nobody waits any more."""
    asking: Asking[Result] = Asking()

    def steps() -> Work:
        asking.answer((yield from work()))

    job = Job(owner, f"{id(asking)}", steps(), 10, asking.fail)
    turns.put(job)
    try:
        return await asking.wait()
    finally:
        turns.stop(owner, job.slot)
