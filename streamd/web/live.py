"""Live updates: server-sent events for curl, a WebSocket for programs and the dashboard. Both tell the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketState

from streamd.host.webkeys import Role
from streamd.web.caller import Caller
from streamd.web.gateway import Gateway
from streamd.web.hub import Told, encode
from streamd.web.openapi import answers
from streamd.web.problem import Problem
from streamd.web.replies import caller_of, gateway_of, needs

_LOG: Final = logging.getLogger(__name__)
_OBSERVER: Final = [Depends(needs(Role.OBSERVER))]
_MOST: Final = 200
"""Followers at a time."""
_TRY_LATER: Final = 1013
_NO_LONGER: Final = 1008

router = APIRouter(tags=["live"])


def still(gateway: Gateway, caller: Caller) -> Callable[[], bool]:
    """Return what tells whether somebody who was let in still would be."""

    def allowed() -> bool:
        key = gateway.ring.named(caller.key.name)
        if key != caller.key:
            return False
        session = caller.session
        return session is None or gateway.sessions.stands(session, gateway.clock())

    return allowed


@router.get(
    "/api/events",
    dependencies=_OBSERVER,
    response_class=Response,
    summary="Follow everything, as server-sent events",
    description="At first a snapshot, then changed, removed, diagnostics, daemon and statistics, each with JSON as its "
    "data. Last-Event-ID goes on behind that event.",
    responses={200: {"description": "Events without end.", "content": {"text/event-stream": {}}}, **answers(503)},
)
async def events(request: Request) -> Response:
    """Send events until the client goes."""
    gateway, caller = gateway_of(request), caller_of(request)
    if gateway.hub.followers >= _MOST:
        raise Problem(503, "busy", f"{_MOST} follow already", headers={"Retry-After": "30"})
    await gateway.hub.current()
    since = request.headers.get("last-event-id") or request.query_params.get("since") or ""
    told = gateway.hub.follow(since, still(gateway, caller))
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_written(told), headers=headers, media_type="text/event-stream")


async def _written(told: AsyncGenerator[Told, None]) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    async with aclosing(told) as events:
        async for each in events:
            name = f"id: {each.id}\n" if each.id else ""
            yield f"{name}event: {each.event}\ndata: {each.text}\n\n".encode()


@router.websocket("/api/live")
async def live(websocket: WebSocket) -> None:
    """Send the same as messages; ?since= goes on behind an event. What a client says is not listened to."""
    gateway: Gateway = websocket.app.state.gateway
    caller: Caller = websocket.scope["caller"]
    await websocket.accept()
    if gateway.hub.followers >= _MOST:
        await websocket.close(_TRY_LATER)
        return
    await gateway.hub.current()
    gone = asyncio.get_running_loop().create_task(_until_gone(websocket))
    sending = asyncio.get_running_loop().create_task(_send(websocket, gateway, caller))
    try:
        await asyncio.wait([gone, sending], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (gone, sending):
            task.cancel()
        results = await asyncio.gather(gone, sending, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def _send(websocket: WebSocket, gateway: Gateway, caller: Caller) -> None:
    since = websocket.query_params.get("since") or ""
    async with aclosing(gateway.hub.follow(since, still(gateway, caller))) as told:
        async for each in told:
            # The text is JSON already.
            text = f'{{"event":{encode(each.event)},"id":{encode(each.id)},"data":{each.text}}}'
            try:
                await websocket.send_text(text)
            except Exception as error:  # noqa: BLE001 (what a lost client raises differs between the servers' releases)
                _LOG.debug("a follower is lost: %r", error)
                return
    await websocket.close(_NO_LONGER)


async def _until_gone(websocket: WebSocket) -> None:
    while websocket.client_state is WebSocketState.CONNECTED:
        await websocket.receive()
