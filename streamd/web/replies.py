"""What the endpoints have in common: bodies that come, documents that go, and what a key is good for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from streamd.host.webkeys import Role
from streamd.route.name import NAME_PATTERN
from streamd.web.access import require
from streamd.web.body import parse_object
from streamd.web.caller import Caller
from streamd.web.gateway import Gateway
from streamd.web.hub import encode
from streamd.web.mirror import View
from streamd.web.problem import Problem


def gateway_of(request: Request) -> Gateway:
    """Return what all endpoints share."""
    found: Gateway = request.app.state.gateway
    return found


def caller_of(request: Request) -> Caller:
    """Return who asks. Raises: Problem, where nobody was let in."""
    caller = request.scope.get("caller")
    if not isinstance(caller, Caller):
        raise Problem(401, "no-key", "a key is needed")
    return caller


def needs(role: Role) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that refuses whoever's key is not good for it, and what would change something by mistake."""

    # A plain function would be called in a thread, one for each request at a time: the unit may not have that many.
    async def check(request: Request) -> None:
        require(caller_of(request), role)
        if request.method not in {"GET", "HEAD"}:
            refuse_unknown(request)

    return check


def refuse_unknown(request: Request) -> None:
    """Refuse parameters that the endpoint does not have: who misspells dry-run does not mean the change to be made."""
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    if unknown := sorted(request.query_params.keys() - known):
        has = f"this has {', '.join(sorted(known))}" if known else "this has none"
        raise Problem(422, "malformed", f"there is no parameter {unknown[0]!r} behind the ?; {has}")


def reply_text(text: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON as an answer."""
    more = {"cache-control": "no-store", **(headers or {})}
    return Response(text, status, more, "application/json")


def reply(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a document as an answer."""
    return reply_text(encode(data).encode(), status, headers)


def done() -> Response:
    """Return an answer that has nothing to say."""
    return Response(status_code=204, headers={"cache-control": "no-store"})


async def object_of(request: Request) -> dict[str, Any]:
    """Return the JSON object that came. Raises: Problem."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in {"application/json", "application/merge-patch+json"}:
        raise Problem(415, "media-type", "send the body as application/json")
    return parse_object(await request.body())


def checked(name: str, what: str) -> str:
    """Return a name out of a path. Raises: Problem."""
    if not NAME_PATTERN.fullmatch(name):
        raise Problem(404, "not-found", f"there is no {what} of that name")
    return name


async def view_of(request: Request) -> View:
    """Return what is known of the daemon. Raises: Problem, while it does not run."""
    view = await gateway_of(request).hub.current()
    if not view.running:
        text = "streamd is not running; start it with: systemctl start streamd"
        raise Problem(503, "not-running", text, headers={"Retry-After": "5"})
    return view
