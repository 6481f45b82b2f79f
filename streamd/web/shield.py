"""The outermost layer: what is too large or too slow is refused, and every answer tells browsers to be careful."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Final

from streamd.web.asgi import App, Message, Receive, Scope, Send, send_problem
from streamd.web.caller import headers_of
from streamd.web.problem import Problem

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HOST: Final = re.compile(r"([A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?")
"""Of what a Host header may be, what a policy can name: it knows no address of IPv6."""
HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Of every answer, besides the policy."""


def policy(host: str) -> str:
    """Return the Content-Security-Policy for whoever came by this Host header.

    MediaMTX shows a route on another port of the same host: that may be framed, and nothing else.
    """
    found = _HOST.fullmatch(host)
    framed = f"http://{found[1]}:*" if found else "'none'"
    return f"{_POLICY}; frame-src {framed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much and how long."""

    head: int = 1 << 14
    """Bytes of path, query and headers."""
    body: int = 1 << 16
    """Bytes; no definition of a route is larger."""
    arrival: float = 10.0
    """Seconds that a whole body may take to arrive."""


class Shield:
    """Wraps the application."""

    def __init__(self, app: App, limits: Limits | None = None) -> None:
        self._app = app
        self._limits = limits or Limits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        sender = _Sender(send, policy(headers_of(scope["headers"]).get("host", "")))
        try:
            self._check_head(scope)
            if scope["type"] == "http":
                self._check_length(scope)
                receiver = _Receiver(receive, self._limits)
                await self._app(scope, receiver.receive, sender.send)
            else:
                await self._app(scope, receive, sender.send)
        except Problem as problem:
            if not sender.begun:
                await send_problem(scope, receive, sender.send, problem)

    def _check_head(self, scope: Scope) -> None:
        # The server bounds what it keeps of an incomplete head, not what arrives at once.
        size = sum(len(name) + len(value) for name, value in scope["headers"]) + len(scope.get("query_string", b""))
        if size + len(scope["path"]) > self._limits.head:
            text = f"the head of a request has at most {self._limits.head} bytes"
            raise Problem(431, "too-large", text, headers={"connection": "close"})

    def _check_length(self, scope: Scope) -> None:
        length = headers_of(scope["headers"]).get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise Problem(400, "malformed", "Content-Length is no number", headers={"connection": "close"})
        if len(length) > 15 or int(length) > self._limits.body:
            raise _too_large(self._limits.body)


def _too_large(most: int) -> Problem:
    return Problem(413, "too-large", f"a body has at most {most} bytes", headers={"connection": "close"})


class _Receiver:
    """Counts what arrives, until the body is there."""

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._size = 0
        self._whole = False
        self._until = asyncio.get_running_loop().time() + limits.arrival

    async def receive(self) -> Message:
        """Return what arrives next. Raises: Problem."""
        if self._whole:  # what is left to come is that the client goes
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError as error:
            text = f"the body did not arrive within {self._limits.arrival:g} s"
            raise Problem(408, "slow", text, headers={"connection": "close"}) from error
        self._size += len(message.get("body", b""))
        if self._size > self._limits.body:
            raise _too_large(self._limits.body)
        self._whole = not message.get("more_body", False)
        return message


class _Sender:
    """Adds headers."""

    def __init__(self, send: Send, policy_text: str) -> None:
        self._send = send
        self._headers = ((b"content-security-policy", policy_text.encode()), *HEADERS)
        self.begun = False

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] in {"http.response.start", "websocket.accept"}:
            message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
        self.begun = True
        await self._send(message)
