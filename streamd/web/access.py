"""The layer that lets somebody in: by a key, or by the session that a key began. Whatever is not known needs one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from streamd.host.webkeys import Key, Role
from streamd.web.address import peer_of
from streamd.web.asgi import App, Message, Receive, Scope, Send, send_problem, send_start
from streamd.web.caller import SAFE, Caller, address_of, cookie_of, headers_of, is_our_page, is_secure, secret_of
from streamd.web.gateway import Gateway
from streamd.web.problem import Problem
from streamd.web.session import COOKIE

_LOG: Final = logging.getLogger(__name__)
HEALTH: Final = "/api/health"
SESSION: Final = "/api/session"
EVENTS: Final = "/api/events"
_PAGE: Final = ("/static/", "/bootstrap/")
_MOST_SECRET: Final = 256


class Access:
    """Wraps the application. An endpoint finds its caller in scope["caller"]."""

    def __init__(self, app: App, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope["headers"])
        peer = peer_of(scope.get("client"), scope.get("server"))
        scope["address"] = address_of(peer, headers, self._gateway.settings.proxies)
        scope["secure"] = is_secure(scope.get("scheme", "http"), peer, headers, self._gateway.settings.proxies)
        cross = self._cross_origin(headers)
        if cross and scope["type"] == "http":
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await _answer_preflight(send, headers["origin"])
                return
            send = _Crossing(send, headers["origin"]).send
        try:
            self._let_in(scope, headers)
        except Problem as problem:
            await send_problem(scope, receive, send, problem)
            return
        if scope.get("method") == "HEAD" and may_be_asked_for_its_head(scope["path"]):
            # The server leaves out the body, since in its own scope it is what it was.
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)

    def _let_in(self, scope: Scope, headers: Mapping[str, str]) -> None:
        """Put the caller into the scope. Raises: Problem."""
        method = scope.get("method", "GET")
        is_open = _is_open(scope["type"], method, scope["path"])
        # What needs no key looks at none, so that nobody is refused it for a wrong one.
        caller = None if is_open else self._caller(scope, headers)
        if caller is not None:
            scope["caller"] = caller
        elif not is_open:
            text = "send a key as X-API-Key or as a bearer token; one is made with: streamctl web key add"
            raise Problem(401, "no-key", text, headers={"www-authenticate": "Bearer"})
        # Over a WebSocket a page of another origin would be sent everything, and could read it.
        by_cookie = caller is not None and caller.session is not None
        is_login = scope["path"] == SESSION
        changes = method not in SAFE or scope["type"] == "websocket"
        if changes and (by_cookie or (is_login and _is_of_browser(headers))) and not is_our_page(headers):
            raise Problem(403, "other-page", "a session is for this server's own pages; other programs send a key")
        if caller is not None and method not in SAFE and not is_login:
            require(caller, Role.OPERATOR)

    def _caller(self, scope: Scope, headers: Mapping[str, str]) -> Caller | None:
        """Return who asks; None where neither key nor session came. Raises: Problem, for a wrong key."""
        address = scope["address"]
        secret = secret_of(headers)
        if secret is not None:
            return Caller(check_secret(self._gateway, secret, address), address)
        cookie = cookie_of(headers, COOKIE)
        session = self._gateway.sessions.read(cookie, self._gateway.clock()) if cookie else None
        return Caller(session.key, address, session) if session else None

    def _cross_origin(self, headers: Mapping[str, str]) -> bool:
        return headers.get("origin", "").lower() in self._gateway.settings.origins


def may_be_asked_for_its_head(path: str) -> bool:
    """Return whether HEAD is answered as GET is, without the body: not by what never ends."""
    return path != EVENTS


def check_secret(gateway: Gateway, secret: str, address: str) -> Key:
    """Return the key that a secret is; who fails too often has to wait. Raises: Problem."""
    now = gateway.steady()
    wait = gateway.limiter.wait(address, now)
    if wait:
        text = f"too many wrong keys came from {address or 'there'}; wait {wait:.0f} s"
        raise Problem(429, "too-many-tries", text, headers={"retry-after": str(int(wait) + 1)})
    key = gateway.ring.find(secret) if len(secret) <= _MOST_SECRET else None
    if key is None:
        last = gateway.limiter.fail(address, now)
        _LOG.warning("a wrong key came from %s%s", address or "a socket", "; it has to wait now" if last else "")
        raise Problem(401, "wrong-key", "there is no such key", headers={"www-authenticate": "Bearer"})
    return key


def require(caller: Caller, role: Role) -> None:
    """Refuse whose key is not good for it. Raises: Problem."""
    if caller.key.role < role:
        raise Problem(
            403, "forbidden", f"the key {caller.key.name} is for the role {caller.key.role}, this needs {role}"
        )


def _is_open(kind: str, method: str, path: str) -> bool:
    """Return whether a request is answered without a key: health, the page that asks for one, and that question."""
    if kind != "http":
        return False
    if path == SESSION:
        return method == "POST"
    return method in {"GET", "HEAD"} and (path in {HEALTH, "/", "/favicon.ico"} or path.startswith(_PAGE))


def _is_of_browser(headers: Mapping[str, str]) -> bool:
    return "origin" in headers or "sec-fetch-site" in headers


async def _answer_preflight(send: Send, origin: str) -> None:
    headers = {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": "GET, HEAD, POST, PATCH, PUT, DELETE",
        "access-control-allow-headers": "Authorization, Content-Type, X-API-Key, Last-Event-ID",
        "access-control-max-age": "600",
        "vary": "Origin",
    }
    await send_start(send, 204, headers.items())
    await send({"type": "http.response.body", "body": b""})


class _Crossing:
    """Lets a page of a listed origin read the answer. Its cookies are not taken: it has a key of its own."""

    def __init__(self, send: Send, origin: str) -> None:
        self._send = send
        self._origin = origin

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            more = [(b"access-control-allow-origin", self._origin.encode("latin-1")), (b"vary", b"Origin")]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await self._send(message)
