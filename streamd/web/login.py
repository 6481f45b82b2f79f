"""Logging in: a browser gives its key once, and holds a cookie that no page can read."""

from __future__ import annotations

import logging
from typing import Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from streamd.host.webkeys import Role
from streamd.web.access import check_secret
from streamd.web.body import take_text
from streamd.web.openapi import answer, answers, takes
from streamd.web.replies import caller_of, done, gateway_of, needs, object_of, reply
from streamd.web.session import COOKIE

_LOG: Final = logging.getLogger(__name__)
_OBSERVER: Final = [Depends(needs(Role.OBSERVER))]

router = APIRouter(tags=["session"])


@router.get(
    "/api/session",
    dependencies=_OBSERVER,
    summary="Show whose key it is and what it is good for",
    responses={200: answer("Who", "It."), **answers()},
)
async def who(request: Request) -> Response:
    """Return who asks."""
    key = caller_of(request).key
    return reply({"name": key.name, "role": str(key.role)})


@router.post(
    "/api/session",
    summary="Begin a session with a key; for browsers",
    responses={200: answer("Who", "The answer sets a cookie."), **answers(400, 403, 408, 413, 415, 422)},
    openapi_extra={**takes("Key"), "security": []},
)
async def log_in(request: Request) -> Response:
    """Begin a session."""
    gateway = gateway_of(request)
    secret = take_text(await object_of(request), "key", 256).strip()
    key = check_secret(gateway, secret, request.scope["address"])
    _LOG.info("%s (%s) logged in from %s", key.name, key.role, request.scope["address"] or "a socket")
    found = reply({"name": key.name, "role": str(key.role)})
    found.set_cookie(
        COOKIE,
        gateway.sessions.begin(key, gateway.clock()),
        max_age=gateway.sessions.lasts,
        path="/",
        secure=request.scope["secure"],
        httponly=True,
        samesite="strict",
    )
    return found


@router.delete(
    "/api/session",
    status_code=204,
    response_class=Response,
    dependencies=_OBSERVER,
    summary="End the session",
    responses=answers(403),
)
async def log_out(request: Request) -> Response:
    """End a session; its cookie is good for nothing from then on."""
    gateway = gateway_of(request)
    session = caller_of(request).session
    if session is not None:
        gateway.sessions.end(session, gateway.clock())
    found = done()
    found.delete_cookie(COOKIE, path="/", secure=request.scope["secure"], httponly=True, samesite="strict")
    return found
