"""The types of ASGI as far as they are needed, and answers that come from no endpoint."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from streamd.web.problem import MEDIA_TYPE, Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


async def send_problem(scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
    """Answer with a problem; a WebSocket is refused, which its client sees as 403."""
    if scope["type"] == "websocket":
        await receive()  # the connect; an answer before it is none
        await send({"type": "websocket.close", "code": 1008, "reason": str(problem)[:100]})
        return
    body = json.dumps(problem.document()).encode()
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers}
    await send_start(send, problem.status, headers.items())
    await send({"type": "http.response.body", "body": body})


async def send_start(send: Send, status: int, headers: Iterable[tuple[str, str]]) -> None:
    """Begin an answer."""
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
