"""Sessions: one for each open page, a bounded number of them, with what each sent last."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from .errors import BusyError
from .explain import Painted
from .protocol import Render


@dataclass
class Last:
    """What a session rendered last, for its first style."""

    request: Render
    digest: bytes
    """See :func:`request_digest`."""
    painted: Painted
    planes: torch.Tensor
    """See :attr:`Rendered.planes`."""


@dataclass
class Session:
    """The state of one page."""

    id: str
    connected: bool = True
    seen: float = 0.0
    """Time of the last message, of the clock of :class:`Sessions`."""
    newest: int = -1
    """Highest id of a render request; answers to lower ones are not sent."""
    last: Last | None = field(default=None, repr=False)
    """Of the picture that the page shows."""
    done: Last | None = field(default=None, repr=False)
    """The same, once the request is answered for all its styles, so that it need not be answered again."""


class Sessions:
    """Sessions by id.

    Args:
        most: sessions at once.
        idle_seconds: after which a session without a connection is forgotten.
        clock: seconds.
    """

    def __init__(self, most: int, idle_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._idle, self._clock = most, idle_seconds, clock
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def connect(self, known: str | None) -> tuple[Session, bool]:
        """The session of a page that connects, and whether it is one from before.

        A page whose id is unknown, or connected already (a duplicated tab), gets a new session: it has all it needs to send its work again.

        Raises:
            BusyError: as many pages as are allowed are connected.
        """
        self.expire()
        session = self._sessions.get(known or "")
        if session is not None and not session.connected:
            session.connected, session.newest, session.done = True, -1, None  # a page that was reloaded shows nothing yet
            self.touch(session)
            return session, True
        if len(self._sessions) >= self._most:
            waiting = [one for one in self._sessions.values() if not one.connected]
            if not waiting:
                raise BusyError(f"{self._most} pages are open on this server, which is its limit: close one and reload")
            del self._sessions[min(waiting, key=lambda one: one.seen).id]
        session = Session(secrets.token_urlsafe(16))
        self._sessions[session.id] = session
        self.touch(session)
        return session, False

    def touch(self, session: Session) -> None:
        """Note that a session is in use."""
        session.seen = self._clock()

    def disconnect(self, session: Session) -> None:
        """Note that the connection of a session has ended."""
        session.connected = False
        self.touch(session)

    def expire(self) -> None:
        """Forget the sessions that nobody came back to."""
        now = self._clock()
        for session in list(self._sessions.values()):
            if not session.connected and now - session.seen > self._idle:
                del self._sessions[session.id]
