"""The gateway, the machine and the daemon as a whole over REST."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from streamd.bus.client import ClientError
from streamd.bus.metrics import CONTENT_TYPE, exposition, families
from streamd.host.webkeys import Role
from streamd.route.name import NAME_PATTERN
from streamd.web.body import take_text
from streamd.web.openapi import answer, answers, takes
from streamd.web.problem import Problem
from streamd.web.replies import caller_of, done, gateway_of, needs, object_of, reply, view_of

_LOG: Final = logging.getLogger(__name__)
_OBSERVER: Final = [Depends(needs(Role.OBSERVER))]
_ADMIN: Final = [Depends(needs(Role.ADMIN))]
_LONGEST_SECRET: Final = 1024

router = APIRouter(tags=["system"])


@router.get(
    "/api/health",
    summary="Tell whether the gateway answers, and whether it reaches the daemon; no key is needed",
    responses={200: answer("Health", "The gateway answers.")},
    openapi_extra={"security": []},
)
async def health(request: Request) -> Response:
    """Return how it is; nothing is asked for it, so that anybody may ask."""
    running = (await gateway_of(request).hub.current()).running
    return reply({"status": "ok" if running else "degraded", "daemon": running})


@router.get(
    "/api/system/status",
    dependencies=_OBSERVER,
    summary="Show processor, memory, disk, network, and counts",
    responses={200: answer("System", "How they are."), **answers(503)},
)
async def system_status(request: Request) -> Response:
    """Return how the machine is, how much there is, and what is wrong with the files."""
    view = await view_of(request)
    outputs = [thing for address, thing in view.things.items() if "/" in address]
    counts = {
        "inputs": len(view.things) - len(outputs),
        "outputs": len(outputs),
        "states": dict(Counter(output["state"] for output in outputs)),
    }
    found = {"version": view.version, **gateway_of(request).machine.document(), "counts": counts}
    return reply({**found, "diagnostics": list(view.diagnostics)})


@router.get(
    "/api/system/mediamtx/status",
    dependencies=_OBSERVER,
    summary="Show MediaMTX's version, and who watches which input",
    responses={200: answer("MediaMTX", "What it tells, or why it cannot be asked."), **answers(502, 503, 504)},
)
async def mediamtx_status(request: Request) -> Response:
    """Return who watches what."""
    gateway = gateway_of(request)
    async with gateway.questions.viewers:
        return reply(await (await gateway.link.client()).viewers())


@router.get(
    "/api/plan",
    dependencies=_OBSERVER,
    summary="Show what a reload of the files would do",
    responses={200: answer("Plan", "The steps."), **answers(502, 503, 504)},
)
async def plan(request: Request) -> Response:
    """Return what a reload would do."""
    gateway = gateway_of(request)
    async with gateway.questions.plan:
        return reply({"steps": await (await gateway.link.client()).plan()})


@router.put(
    "/api/credentials/{name}",
    status_code=204,
    response_class=Response,
    dependencies=_ADMIN,
    summary="Put a secret into the credential store; it cannot be read again",
    responses=answers(400, 403, 404, 408, 413, 415, 422, 502, 503, 504),
    openapi_extra=takes("Secret"),
)
async def set_credential(request: Request, name: str) -> Response:
    """Put a secret where outputs find it by its name."""
    if not all(NAME_PATTERN.fullmatch(part) for part in name.split(".")) or len(name) > 128:
        raise Problem(404, "not-found", "that is no name of a credential")
    secret = take_text(await object_of(request), "secret", _LONGEST_SECRET)
    if "\n" in secret or "\r" in secret:
        raise Problem(422, "invalid-configuration", "a secret is one line of text")
    await (await gateway_of(request).link.client()).set_credential(name, secret)
    caller = caller_of(request)
    where = caller.address or "a socket"
    _LOG.info("%s (%s, from %s) set the credential %s", caller.key.name, caller.key.role, where, name)
    return done()


@router.get(
    "/metrics",
    dependencies=_OBSERVER,
    summary="Show the metrics for Prometheus",
    response_class=Response,
    responses={200: {"description": "As streamctl metrics prints them.", "content": {"text/plain": {}}}, **answers()},
)
async def metrics(request: Request) -> Response:
    """Return the metrics; where the daemon does not run, the one that says so."""
    gateway = gateway_of(request)
    view = await gateway.hub.current()
    text = b""
    if view.running:
        try:
            text = gateway.rendered.metrics(view, await gateway.hub.statistics())
        except ClientError as error:
            _LOG.info("there are no metrics: %s", error)
    text = text or exposition(families(None)).encode()
    # Not as a media type, to which the framework would add a character set once more.
    return Response(text, headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"})
