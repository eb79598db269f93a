"""The WebSocket: render requests in, pictures out."""

import asyncio
import logging
import time
from typing import Any, NamedTuple

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from ...core.errors import ProxymaskError
from ...core.text import without_controls
from ...core.version import __version__
from ..errors import FieldError
from ..explain import is_same, why_unchanged
from ..protocol import (
    Attention,
    Cancel,
    Hello,
    Message,
    Ping,
    Render,
    check_canvas,
    decode_frame,
    encode_frame,
    read_message,
    request_digest,
)
from ..renderer import Rendered
from ..security import right_token
from ..sessions import Last, Session
from ..state import Studio, studio_of
from ..turns import Job, Pause, Work

log = logging.getLogger(__name__)
router = APIRouter()
HELLO_SECONDS = 10.0
MOST_UNSENT = 64  # frames that a page has not taken yet; with more it is not reading


@router.websocket("/ws")
async def socket(websocket: WebSocket) -> None:
    """One page."""
    studio = studio_of(websocket)
    await websocket.accept()
    connection = Connection(studio, websocket)
    try:
        await connection.run()
    except WebSocketDisconnect:
        pass
    finally:
        connection.end()


def picture_header(
    number: int,
    index: int = 0,
    ms: float = 0.0,
    queued_ms: float = 0.0,
    notes: list[str] | None = None,
    unchanged: bool = False,
    same_as: int | None = None,
    why: str | None = None,
) -> dict[str, Any]:
    """The header of a picture; ``same_as``: the request that was answered with the same one."""
    times = {"ms": ms, "queued_ms": queued_ms}
    seen = {"notes": notes or [], "unchanged": unchanged, "same_as": same_as, "why": why}
    return {"type": "picture", "id": number, "index": index, **times, "format": "png", **seen}


def error_header(number: int | None, error: ProxymaskError) -> dict[str, Any]:
    """The header that says what is wrong; ``number``: of the message it answers, where that had one."""
    text = " ".join(without_controls(error.message).split())
    return {"type": "error", "id": number, "error": text, "field": getattr(error, "field", None)}


def is_comparable(before: Render, after: Render) -> bool:
    """Whether two requests differ in nothing but what was painted, as far as their first style goes."""
    same = ("bundle", "condition", "truncation", "regions")
    return before.styles[0] == after.styles[0] and all(getattr(before, name) == getattr(after, name) for name in same)


def _take_result(sender: "asyncio.Task[None]") -> None:
    """A page that went away while it was sent something is no error."""
    error = None if sender.cancelled() else sender.exception()
    if error is not None and not isinstance(error, WebSocketDisconnect | RuntimeError):
        log.error("frames could not be sent", exc_info=error)


class Outgoing(NamedTuple):
    """A frame for the page."""

    header: dict[str, Any]
    payload: bytes = b""
    shown: Last | None = None
    """What the page shows once it has this frame."""
    complete: bool = False
    """Whether it then has all the pictures of that request."""


class Connection:
    """What one page sends, and what it is answered."""

    def __init__(self, studio: Studio, websocket: WebSocket) -> None:
        self._studio, self._websocket = studio, websocket
        self._session: Session | None = None
        self._loop = asyncio.get_running_loop()
        self._unsent: asyncio.Queue[Outgoing] = asyncio.Queue(MOST_UNSENT)

    async def run(self) -> None:
        """Read messages until the page goes."""
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                welcome = self._hello(await self._receive())
        except TimeoutError:
            await self._close(FieldError("the first message must be hello, and none came", "type"))
            return
        except ProxymaskError as error:
            await self._close(error)
            return
        await self._websocket.send_bytes(encode_frame(welcome))
        sender = asyncio.create_task(self._send_all())
        sender.add_done_callback(_take_result)
        try:
            while True:
                await self._read()
        finally:
            sender.cancel()

    def end(self) -> None:
        """Stop what the page wanted."""
        if self._session is not None:
            self._studio.turns.stop(self._session.id)
            self._studio.sessions.disconnect(self._session)

    async def _close(self, error: ProxymaskError) -> None:
        await self._websocket.send_bytes(encode_frame(error_header(None, error)))
        await self._websocket.close(1008)

    async def _receive(self) -> bytes:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        data = message.get("bytes")
        if data is None:
            raise FieldError("a message is a binary frame, not text")
        most = self._studio.config.limits.frame_bytes
        if len(data) > most:
            raise FieldError(f"a frame is at most {most:,} bytes, this one is {len(data):,}: paint on a smaller canvas")
        return data

    def _hello(self, data: bytes) -> dict[str, Any]:
        message = read_message(decode_frame(data).header)
        if not isinstance(message, Hello):
            raise FieldError("the first message must be hello", "type")
        if not right_token(message.token, self._studio.config.token):
            raise FieldError("the token is missing or wrong: open the whole address that the server printed", "token")
        self._session, restored = self._studio.sessions.connect(message.session)
        catalogue = self._studio.catalogue
        return {
            "type": "welcome",
            "session": self._session.id,
            "restored": restored,
            "bundles": catalogue.names(),
            "bundle": catalogue.default,
            "version": __version__,
        }

    async def _read(self) -> None:
        """Read and carry out one message; what is wrong with it is answered, and the connection stays open."""
        number = None
        try:
            data = await self._receive()
            frame = decode_frame(data)
            found = frame.header.get("id")
            number = found if type(found) is int and 0 <= found <= 2**53 else None
            await self._carry_out(read_message(frame.header), frame.payload)
        except ProxymaskError as error:
            self._answer(error_header(number, error))

    async def _carry_out(self, message: Message, payload: bytes) -> None:
        session = self._session
        assert session is not None
        self._studio.sessions.touch(session)
        if isinstance(message, Render):
            check_canvas(message.width, message.height, self._studio.config.limits.canvas_pixels)
            await self._studio.opened(message.bundle)
            self._render(session, message, payload)
        elif isinstance(message, Attention):
            self._attention(session, message)
        elif isinstance(message, Cancel):
            self._studio.turns.stop(session.id)
        elif isinstance(message, Ping):
            self._answer({"type": "pong", "t": message.t})
        else:
            raise FieldError("hello comes once, at the start", "type")

    def _render(self, session: Session, request: Render, payload: bytes) -> None:
        if request.id <= session.newest:
            raise FieldError(f"id: {request.id} is not above {session.newest}, that of an earlier request", "id")
        session.newest = request.id
        digest = request_digest(request, payload)
        if session.done is not None and session.done.digest == digest:
            self._studio.turns.stop(session.id, "render")
            self._answer(picture_header(request.id, unchanged=True, same_as=session.done.request.id))
            return
        work = self._steps(session, request, payload, digest, time.perf_counter())
        self._studio.turns.put(Job(session.id, "render", work, 0, lambda error: self._failed(request.id, error)))

    def _steps(self, session: Session, request: Render, payload: bytes, digest: bytes, made: float) -> Work:
        queued, first = round(1e3 * (time.perf_counter() - made), 1), None

        def found(rendered: Rendered) -> None:
            nonlocal first
            header = picture_header(request.id, rendered.index, rendered.ms, queued, rendered.notes)
            if rendered.index == 0:
                header |= self._compared(session.last, request, rendered)
                first = Last(request, digest, rendered.painted, rendered.planes)
            complete = rendered.index == len(request.styles) - 1
            self._hand_over(Outgoing(header, rendered.png if "picture" in request.want else b"", first, complete))
            if rendered.index == 0 and "proxy" in request.want:
                height, width = rendered.painted.proxy.shape
                proxy = {"type": "proxy", "id": request.id, "width": width, "height": height}
                ids = rendered.painted.proxy
                self._hand_over(Outgoing(proxy, ids.astype("u1" if ids.max() < 256 else "<u2").tobytes()))

        yield from self._studio.renderer.steps(request, payload, found)

    def _compared(self, before: Last | None, request: Render, after: Rendered) -> dict[str, Any]:
        """What the header of a picture says about the one that the page shows."""
        if before is None or not is_comparable(before.request, request) or not is_same(before.painted.pixels, after.painted.pixels):
            return {}
        return {"unchanged": True, "why": why_unchanged(self._studio.catalogue.model(request.bundle), before.painted, after.painted)}

    def _attention(self, session: Session, message: Attention) -> None:
        last = session.last
        if last is None:
            raise FieldError("there is no picture yet to point at: render one first", "id")
        renderer = self._studio.renderer

        def steps() -> Work:
            grid, seed = renderer.attention(last.request, last.painted, last.planes, message.x, message.y)
            height, width = grid.shape
            header = {"type": "attention", "id": message.id, "width": width, "height": height, "seed": seed}
            self._hand_over(Outgoing(header, grid.tobytes()))
            yield Pause.REST

        self._studio.turns.put(Job(session.id, "attention", steps(), 1, lambda error: self._failed(message.id, error)))

    def _failed(self, number: int, error: Exception) -> None:
        if not isinstance(error, ProxymaskError):
            log.error("a picture could not be computed", exc_info=error)
            error = ProxymaskError(f"the picture could not be computed ({type(error).__name__}): the server's terminal says more")
        self._hand_over(Outgoing(error_header(number, error)))

    def _hand_over(self, outgoing: Outgoing) -> None:
        """From the thread that renders to the event loop."""
        self._loop.call_soon_threadsafe(self._put, outgoing)

    def _answer(self, header: dict[str, Any]) -> None:
        self._put(Outgoing(header))

    def _put(self, outgoing: Outgoing) -> None:
        """Put a frame in line; a page that does not read loses the oldest."""
        if self._unsent.full():
            self._unsent.get_nowait()
        self._unsent.put_nowait(outgoing)

    async def _send_all(self) -> None:
        session = self._session
        assert session is not None
        while True:
            header, payload, shown, complete = await self._unsent.get()
            if header["type"] in ("picture", "proxy") and header["id"] < session.newest:
                continue
            if shown is not None:
                session.last, session.done = shown, shown if complete else None
            if self._websocket.client_state is WebSocketState.CONNECTED:
                await self._websocket.send_bytes(encode_frame(header, payload))
