"""Inputs and outputs over REST. An input is a route; ids are names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from streamd.bus.client import ClientError
from streamd.bus.document import Document
from streamd.host.webkeys import Role
from streamd.web.body import check_table, take_id
from streamd.web.link import Asked
from streamd.web.mirror import View
from streamd.web.openapi import answer, answers, either, takes
from streamd.web.problem import Problem
from streamd.web.rendering import Counted, input_document, thing_document
from streamd.web.replies import (
    caller_of,
    checked,
    done,
    gateway_of,
    needs,
    object_of,
    reply,
    reply_text,
    view_of,
)

_LOG: Final = logging.getLogger(__name__)
_OBSERVER: Final = [Depends(needs(Role.OBSERVER))]
_OPERATOR: Final = [Depends(needs(Role.OPERATOR))]
_ADMIN: Final = [Depends(needs(Role.ADMIN))]
_ASKING: Final = (502, 503, 504)
_CHANGING: Final = (400, 403, 404, 408, 409, 413, 415, 422, *_ASKING)
_ACTING: Final = (403, 404, 409, 422, *_ASKING)
_VERBS: Final = ("start", "stop", "restart")

_DRY: Final = "dry-run=true makes no change, and tells what it would do (200, a Plan)"
_PLANNED: Final[dict[int | str, dict[str, Any]]] = {200: answer("Plan", "With dry-run=true: what it would do.")}
# As defaults: Debian 12's FastAPI passes over what stands in Annotated.
_DRY_RUN: Final[Any] = Query(default=False, alias="dry-run")
_LINES: Final[Any] = Query(default=20, ge=1, le=1000)

router = APIRouter(tags=["inputs"])


@router.get(
    "/api/inputs",
    dependencies=_OBSERVER,
    summary="List all inputs with their outputs",
    responses={200: answer("Inputs", "All of them."), **answers(*_ASKING)},
)
async def list_inputs(request: Request) -> Response:
    """Return all routes with their outputs and counters."""
    return reply_text(gateway_of(request).rendered.inputs(*await _known(request)))


@router.post(
    "/api/inputs",
    status_code=201,
    dependencies=_ADMIN,
    summary="Add an input, with its outputs if you like",
    description=_DRY,
    responses={201: answer("Input", "It is there."), **_PLANNED, **answers(*_CHANGING)},
    openapi_extra=takes("NewInput"),
)
async def add_input(request: Request, dry_run: bool = _DRY_RUN) -> Response:
    """Make a route."""
    table = check_table(await object_of(request))
    name = take_id(table, "an input")
    if dry_run:
        return await _planned(request, "add", name, table)
    await (await _daemon(request)).add_route(name, table)
    _note(request, "added", name)
    return await _found(request, name, status=201)


@router.get(
    "/api/inputs/{input_id}",
    dependencies=_OBSERVER,
    summary="Show an input with its outputs",
    responses={200: answer("Input", "It."), **answers(404, *_ASKING)},
)
async def show_input(request: Request, input_id: str) -> Response:
    """Return one route."""
    return reply(await _thing(request, checked(input_id, "input")))


@router.patch(
    "/api/inputs/{input_id}",
    dependencies=_ADMIN,
    summary="Set keys of an input, or take them away with null",
    description=_DRY,
    responses={200: either("Input", "Plan", "As it is now, or what would change."), **answers(*_CHANGING)},
    openapi_extra=takes("InputPatch"),
)
async def change_input(request: Request, input_id: str, dry_run: bool = _DRY_RUN) -> Response:
    """Set keys of a route."""
    return await _update(request, checked(input_id, "input"), dry_run=dry_run)


@router.delete(
    "/api/inputs/{input_id}",
    status_code=204,
    response_class=Response,
    dependencies=_ADMIN,
    summary="Remove an input with all its outputs, which stop",
    description=_DRY,
    responses={**_PLANNED, **answers(*_ACTING)},
)
async def remove_input(request: Request, input_id: str, dry_run: bool = _DRY_RUN) -> Response:
    """Remove a route."""
    return await _remove(request, checked(input_id, "input"), dry_run=dry_run)


@router.get(
    "/api/inputs/{input_id}/outputs",
    dependencies=_OBSERVER,
    summary="List the outputs of an input",
    responses={200: answer("Outputs", "All of them."), **answers(404, *_ASKING)},
)
async def list_outputs(request: Request, input_id: str) -> Response:
    """Return the outputs of a route."""
    return reply({"outputs": (await _thing(request, checked(input_id, "input")))["outputs"]})


@router.post(
    "/api/inputs/{input_id}/outputs",
    status_code=201,
    dependencies=_ADMIN,
    summary="Add an output",
    description=_DRY,
    responses={201: answer("Output", "It is there."), **_PLANNED, **answers(*_CHANGING)},
    openapi_extra=takes("NewOutput"),
)
async def add_output(request: Request, input_id: str, dry_run: bool = _DRY_RUN) -> Response:
    """Make an output."""
    checked(input_id, "input")
    table = check_table(await object_of(request))
    address = f"{input_id}/{take_id(table, 'an output')}"
    if dry_run:
        return await _planned(request, "add", address, table)
    await (await _daemon(request)).add_output(address, table)
    _note(request, "added", address)
    return await _found(request, address, status=201)


@router.get(
    "/api/inputs/{input_id}/outputs/{output_id}",
    dependencies=_OBSERVER,
    summary="Show an output",
    responses={200: answer("Output", "It."), **answers(404, *_ASKING)},
)
async def show_output(request: Request, input_id: str, output_id: str) -> Response:
    """Return one output."""
    return reply(await _thing(request, _address(input_id, output_id)))


@router.patch(
    "/api/inputs/{input_id}/outputs/{output_id}",
    dependencies=_ADMIN,
    summary="Set keys of an output, or take them away with null",
    description=_DRY,
    responses={200: either("Output", "Plan", "As it is now, or what would change."), **answers(*_CHANGING)},
    openapi_extra=takes("OutputPatch"),
)
async def change_output(request: Request, input_id: str, output_id: str, dry_run: bool = _DRY_RUN) -> Response:
    """Set keys of an output."""
    return await _update(request, _address(input_id, output_id), dry_run=dry_run)


@router.delete(
    "/api/inputs/{input_id}/outputs/{output_id}",
    status_code=204,
    response_class=Response,
    dependencies=_ADMIN,
    summary="Remove an output, which stops",
    description=_DRY,
    responses={**_PLANNED, **answers(*_ACTING)},
)
async def remove_output(request: Request, input_id: str, output_id: str, dry_run: bool = _DRY_RUN) -> Response:
    """Remove an output."""
    return await _remove(request, _address(input_id, output_id), dry_run=dry_run)


@router.get(
    "/api/inputs/{input_id}/log",
    dependencies=_OBSERVER,
    summary="Show the last lines of the log of an input and its outputs",
    responses={200: answer("Log", "The oldest first."), **answers(404, 422, *_ASKING)},
)
async def input_log(request: Request, input_id: str, lines: int = _LINES) -> Response:
    """Return lines of the log of a route."""
    return await _log(request, checked(input_id, "input"), lines)


@router.get(
    "/api/inputs/{input_id}/outputs/{output_id}/log",
    dependencies=_OBSERVER,
    summary="Show the last lines of the log of an output",
    responses={200: answer("Log", "The oldest first."), **answers(404, 422, *_ASKING)},
)
async def output_log(request: Request, input_id: str, output_id: str, lines: int = _LINES) -> Response:
    """Return lines of the log of an output."""
    return await _log(request, _address(input_id, output_id), lines)


def _declare_verb(verb: str) -> None:
    does = {"start": "Start", "stop": "Stop", "restart": "Stop and start"}[verb]

    async def act_on_input(request: Request, input_id: str, wait: bool = True) -> Response:
        return await _act(request, verb, checked(input_id, "input"), wait=wait)

    async def act_on_output(request: Request, input_id: str, output_id: str, wait: bool = True) -> Response:
        return await _act(request, verb, _address(input_id, output_id), wait=wait)

    for path, what, endpoint in (
        (f"/api/inputs/{{input_id}}/{verb}", "Input", act_on_input),
        (f"/api/inputs/{{input_id}}/outputs/{{output_id}}/{verb}", "Output", act_on_output),
    ):
        thing = "an input with all its outputs" if what == "Input" else "an output"
        router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            name=f"{verb}_{what.lower()}",
            dependencies=_OPERATOR,
            summary=f"{does} {thing}; wait=false returns when that is asked for",
            description="",
            responses={200: answer(what, "As it is then."), **answers(*_ACTING)},
        )


for _verb in _VERBS:
    _declare_verb(_verb)


async def _daemon(request: Request) -> Asked:
    return await gateway_of(request).link.client()


async def _act(request: Request, verb: str, address: str, *, wait: bool) -> Response:
    await (await _daemon(request)).act(verb, address, wait=wait)
    _note(request, {"start": "started", "stop": "stopped", "restart": "restarted"}[verb], address)
    return await _found(request, address)


async def _planned(request: Request, verb: str, address: str, table: Mapping[str, Any]) -> Response:
    """Return what a change would do."""
    async with gateway_of(request).questions.change:
        return reply({"steps": await (await _daemon(request)).plan_change(verb, address, table)})


async def _log(request: Request, address: str, lines: int) -> Response:
    async with gateway_of(request).questions.log:
        return reply({"lines": await (await _daemon(request)).log(address, lines)})


async def _update(request: Request, address: str, *, dry_run: bool) -> Response:
    table = check_table(await object_of(request), may_remove=True)
    if not table:
        raise Problem(422, "invalid-configuration", "there is nothing to set")
    if dry_run:
        return await _planned(request, "update", address, table)
    await (await _daemon(request)).update(address, table)
    _note(request, "changed", address)
    return await _found(request, address)


async def _remove(request: Request, address: str, *, dry_run: bool) -> Response:
    if dry_run:
        return await _planned(request, "remove", address, {})
    await (await _daemon(request)).change("rm", address)
    _note(request, "removed", address)
    await _look(request)
    return done()


async def _found(request: Request, address: str, *, status: int = 200) -> Response:
    """Return a thing as it is after a change."""
    await _look(request)
    found = await _thing(request, address)
    route, slash, output = address.partition("/")
    where = f"/api/inputs/{route}/outputs/{output}" if slash else f"/api/inputs/{route}"
    return reply(found, status, {"location": where} if status == 201 else {})


async def _look(request: Request) -> None:
    """See what there is now; that this fails is no reason to say that the change did."""
    try:
        await gateway_of(request).hub.look()
    except ClientError as error:
        _LOG.info("it was done, but cannot be looked at: %s", error)


async def _known(request: Request) -> tuple[View, Counted]:
    """Return what there is, and what is counted of it."""
    view = await view_of(request)
    try:
        return view, await gateway_of(request).hub.statistics()
    except ClientError:
        return view, {}  # what there is can be told all the same


async def _thing(request: Request, address: str) -> Document:
    """Return a route with its outputs, or an output. Raises: Problem."""
    view, counted = await _known(request)
    is_output = "/" in address
    found = thing_document(view, counted, address) if is_output else input_document(view, counted, address)
    if found is None:
        raise Problem(404, "not-found", f'there is no {"output" if is_output else "input"} "{address}"')
    return found


def _address(input_id: str, output_id: str) -> str:
    return f"{checked(input_id, 'input')}/{checked(output_id, 'output')}"


def _note(request: Request, done_to: str, address: str) -> None:
    """Tell the journal who did it: the daemon sees the gateway alone."""
    caller = caller_of(request)
    _LOG.info(
        "%s (%s, from %s) %s %s", caller.key.name, caller.key.role, caller.address or "a socket", done_to, address
    )
