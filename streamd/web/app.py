"""The application: the endpoints, what becomes of errors, and the layers around them."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from streamd import __version__
from streamd.bus.client import ClientError
from streamd.host.webkeys import Role
from streamd.web import inputs, live, login, pages, system
from streamd.web.access import Access, may_be_asked_for_its_head
from streamd.web.asgi import App
from streamd.web.gateway import Gateway
from streamd.web.hub import encode
from streamd.web.openapi import complete
from streamd.web.problem import MEDIA_TYPE, Problem, problem_of
from streamd.web.replies import needs, reply
from streamd.web.shield import Shield

_DESCRIPTION: Final = (
    "Live streams as streamd distributes them. An input is a route, ids are names, and documents have the keys that "
    "streamctl prints as JSON. Problems are RFC 9457 documents."
)


def make_app(gateway: Gateway) -> App:
    """Return the whole application."""
    return Shield(Access(make_endpoints(gateway), gateway), gateway.limits)


def make_endpoints(gateway: Gateway) -> FastAPI:
    """Return the endpoints alone, without what keeps anybody out."""
    # No pages of the framework's: they load scripts from elsewhere, and say more than they need to.
    app = FastAPI(
        title="streamd",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.router.redirect_slashes = False
    app.state.gateway = gateway
    app.state.files = pages.Files()
    for router in (inputs.router, system.router, login.router, live.router, pages.router):
        app.include_router(router)
    app.add_api_route(
        "/api/openapi.json", _openapi, dependencies=[Depends(needs(Role.OBSERVER))], include_in_schema=False
    )
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(ClientError, _on_client_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_failure)
    return app


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the description of the API."""
    if app.openapi_schema is None:
        app.openapi_schema = complete(app.openapi())
    return app.openapi_schema


async def _openapi(request: Request) -> Response:
    return reply(describe(request.app))


def _answer(problem: Problem) -> Response:
    body = encode(problem.document()).encode()
    headers = {"cache-control": "no-store", **problem.headers}
    return Response(body, problem.status, headers, MEDIA_TYPE)


async def _on_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 (for the type checker)
    return _answer(error)


async def _on_client_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ClientError)  # noqa: S101 (for the type checker)
    return _answer(problem_of(error))


async def _on_invalid(_request: Request, error: Exception) -> Response:
    del error  # its texts differ between the releases of the framework
    return _answer(
        Problem(
            422,
            "malformed",
            "a parameter behind the ? is not right: wait and dry-run are true or false, lines is from 1 to 1000",
        )
    )


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 (for the type checker)
    if error.status_code == 405:
        # The framework names the methods of one endpoint of the path, and leaves out those of the others.
        allowed = {method for route in request.app.routes for method in _methods(route, request)}
        if "GET" in allowed and may_be_asked_for_its_head(request.scope["path"]):
            allowed.add("HEAD")
        text = f"the method is not allowed here; these are: {', '.join(sorted(allowed))}"
        return _answer(Problem(405, "method", text, headers={"allow": ", ".join(sorted(allowed))}))
    if error.status_code == 404:
        return _answer(Problem(404, "not-found", "there is no such endpoint"))
    return _answer(Problem(error.status_code, "malformed", str(error.detail)))


def _methods(route: BaseRoute, request: Request) -> set[str]:
    matches, _scope = route.matches(request.scope)
    return set(getattr(route, "methods", None) or ()) if matches is not Match.NONE else set()


async def _on_failure(_request: Request, _error: Exception) -> Response:
    return _answer(Problem(500, "internal", "the gateway failed on this request; its journal tells why"))
