"""Who may use the server, and how large a request may be: pure ASGI middleware around the whole app."""

import json
import logging
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .config import is_loopback

log = logging.getLogger(__name__)
TOKEN_HEADER = "x-proxymask-token"
POLICY = "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
ALWAYS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Refusal(Exception):
    """A request that is refused, with the HTTP status and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Guard:
    """Checks Host, Origin, token and size of every request, and adds the headers of every answer.

    Without a token, only the names of this machine are taken as Host, so that a foreign page cannot reach the server under a name of its
    own (DNS rebinding). With one, any Host is: the token is what others do not have. The page's own files need no token; WebSockets carry
    it in their first message.

    Args:
        app: what is guarded.
        token: the secret, None where none is needed.
        request_bytes: size of a request's body.
        requests_bytes: of the bodies of all requests that are being answered.
    """

    def __init__(self, app: ASGIApp, token: str | None, request_bytes: int, requests_bytes: int) -> None:
        self.app, self._token, self._request_bytes = app, token, request_bytes
        self._left = requests_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            check_host(headers, self._token is not None)
            check_origin(headers, self._token is not None, scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD"))
            if scope["type"] == "websocket":
                await self.app(scope, receive, send)
                return
            self._check_token(scope, headers)
            self._check_length(headers)
        except Refusal as refusal:
            await _refuse(scope, receive, send, refusal)
            return
        await self._guarded(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app, with its body counted and the headers added."""
        started, size = False, 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            part = len(message.get("body", b""))
            size += part
            self._left -= part
            if size > self._request_bytes:
                raise Refusal(413, _too_large(self._request_bytes))
            if self._left < 0:
                raise Refusal(503, "the server is taking in too much at once: try again in a moment")
            return message

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-cache")
            await send(message)

        try:
            await self.app(scope, counted, with_headers)
        except Refusal as refusal:
            if started:
                raise
            await _refuse(scope, receive, send, refusal)
        except Exception as error:
            log.error("a request failed", exc_info=error)
            if started:
                raise
            reason = f"the server failed on this request ({type(error).__name__}): its terminal says more"
            await _refuse(scope, receive, send, Refusal(500, reason))
        finally:
            self._left += size

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        if self._token is None or not scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/").startswith("api/"):
            return
        if not right_token(headers.get(TOKEN_HEADER), self._token):
            raise Refusal(401, "the token is missing or wrong: open the whole address that the server printed")

    def _check_length(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            raise Refusal(400, "Content-Length is no number")
        if len(length) > 15 or int(length) > self._request_bytes:
            raise Refusal(413, _too_large(self._request_bytes))


def right_token(given: str | None, token: str | None) -> bool:
    """Whether ``given`` is the token; compared in a time that does not depend on where they differ."""
    return token is None or (given is not None and secrets.compare_digest(given.encode(), token.encode()))


def check_host(headers: Headers, has_token: bool) -> None:
    """A :class:`Refusal` of a Host that is not this machine, unless a token is needed."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or _host(hosts[0]) is None:
        raise Refusal(400, "a request has one Host header, the name of this server")
    name = _host(hosts[0])
    assert name is not None
    if not has_token and not is_loopback(name):
        raise Refusal(403, "this server answers to localhost only; to reach it under another name, start it with --token")


def check_origin(headers: Headers, has_token: bool, changes: bool) -> None:
    """A :class:`Refusal` of a request that another site's page made.

    Args:
        has_token: the server is behind a token and maybe behind a proxy, whose X-Forwarded-Host then also counts.
        changes: a WebSocket, or a request that is no GET or HEAD: then Sec-Fetch-Site may not be another site's even for a navigation.
    """
    origins = headers.getlist("origin")
    own = {headers["host"].lower()}
    if has_token:
        own |= {host.strip().lower() for host in headers.get("x-forwarded-host", "").split(",") if host.strip()}
    for origin in origins:
        try:
            parts = urlsplit(origin)
        except ValueError:
            parts = urlsplit("")
        default = {"http": ":80", "https": ":443"}.get(parts.scheme)
        place = parts.netloc.lower()
        if default is None or not {place, place + default, place.removesuffix(default)} & own:
            raise Refusal(403, "this request comes from a page of another site, which may not use this server")
    site = headers.get("sec-fetch-site", "none")
    if site in ("cross-site", "same-site") and (changes or headers.get("sec-fetch-mode") != "navigate"):
        raise Refusal(403, "this request comes from a page of another site, which may not use this server")


def _host(value: str) -> str | None:
    """The name in a Host header; None where it is malformed."""
    try:
        parts = urlsplit(f"//{value}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == value and parts.username is None else None


def _too_large(most: int) -> str:
    return f"the request is larger than {most:,} bytes, which is the limit: send a smaller file"


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    headers += [(name.encode(), value.encode()) for name, value in ALWAYS.items()]
    body = json.dumps({"error": refusal.reason}).encode()
    prefix = "http.response"
    if scope["type"] == "websocket":
        await receive()  # the connect message
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.reason[:120]})
            return
        prefix = "websocket.http.response"
    await send({"type": f"{prefix}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})
