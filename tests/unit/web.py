"""streamd-web with a daemon that only remembers: the whole application, without a bus and without a socket."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

if missing := [name for name in ("fastapi", "uvicorn", "streamd.web") if importlib.util.find_spec(name) is None]:
    if os.environ.get("STREAMD_REQUIRE_LINTERS"):
        pytest.fail(f"{missing[0]} is not installed, and STREAMD_REQUIRE_LINTERS is set", pytrace=False)
    pytest.skip(f"{missing[0]} is not installed, so that streamd-web is NOT TESTED", allow_module_level=True)

import httpx

from streamd.bus.client import ClientError, NoSuchThingError, NotRunningError
from streamd.bus.notice import Altered, Everything, Left, Notice
from streamd.host.webkeys import KeyRing, Role, add_key
from streamd.web.app import make_app
from streamd.web.asgi import App, Message
from streamd.web.gateway import Gateway
from streamd.web.hub import Hub, Pace
from streamd.web.limiter import Limiter
from streamd.web.session import Sessions
from streamd.web.settings import Settings
from streamd.web.shield import Limits
from tests.unit.test_ctl_show import STUDIO, a_route, thing

QUICK = Pace(settle=0, pause=0, count=0.05, recent=0.5, retry=0.05, first=5, beat=0.05, check=0.02)
STATISTICS = [
    {"address": "studio-a", "restarts": 0, "bitrate": 5_000_000},
    {"address": "studio-a/venue", "restarts": 1, "bytes": 7},
]


@dataclass
class FakeDaemon:
    """Both the link and the client behind it. It remembers what it was asked for; `error` is raised instead."""

    answer: dict[str, Any] = field(default_factory=lambda: json.loads(json.dumps(STUDIO)))
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    error: ClientError | None = None
    running: bool = True
    closed: bool = False
    looks: int = 0
    counts: int = 0
    notices: asyncio.Queue[Notice | ClientError] = field(default_factory=asyncio.Queue)

    async def client(self) -> FakeDaemon:
        if not self.running:
            raise NotRunningError("streamd is not running; start it with: systemctl start streamd")
        return self

    async def watch(self) -> AsyncGenerator[Notice, None]:
        await self.client()
        yield Everything({})
        while True:
            notice = await self.notices.get()
            if isinstance(notice, ClientError):
                raise notice
            yield notice

    async def close(self) -> None:
        self.closed = True

    def alter(self) -> None:
        """Tell that something changed."""
        self.notices.put_nowait(Altered("/org/streamd1", "org.streamd1.Output", {}))

    def leave(self) -> None:
        """Go, as far as anybody can tell."""
        self.running = False
        self.notices.put_nowait(Left())
        self.notices.put_nowait(NotRunningError("it went"))

    def output(self, address: str) -> dict[str, Any]:
        route, _slash, output = address.partition("/")
        (found,) = [it for it in self.answer["routes"] if it["route"] == route]
        if not output:
            return found  # type: ignore[no-any-return]
        return next(it for it in found["outputs"] if it["output"] == output)  # type: ignore[no-any-return]

    async def _ask(self, *what: Any) -> None:
        self.asked.append(what)
        await asyncio.sleep(0)
        if self.error:
            raise self.error

    async def status(self, address: str | None = None) -> dict[str, Any]:
        assert address is None
        self.looks += 1
        await asyncio.sleep(0)
        return json.loads(json.dumps(self.answer))  # type: ignore[no-any-return]

    async def statistics(self, addresses: Sequence[str] = ()) -> list[dict[str, Any]]:
        assert not addresses
        self.counts += 1
        await asyncio.sleep(0)
        return [dict(each) for each in STATISTICS]

    async def plan(self) -> list[dict[str, Any]]:
        await self._ask("plan")
        return [{"action": "keep", "address": "studio-a", "unit": "u", "reason": "nothing changed"}]

    async def plan_change(self, verb: str, address: str, table: Mapping[str, Any]) -> list[dict[str, Any]]:
        await self._ask("plan_change", verb, address, dict(table))
        if verb != "add":
            self._known(address)
        elif "url" not in table.get("input", table):
            raise ClientError("url is missing", "InvalidConfiguration")
        return [{"action": "restart", "address": address, "unit": "u", "reason": "its definition changes"}]

    async def log(self, address: str, lines: int) -> list[dict[str, Any]]:
        await self._ask("log", address, lines)
        self._known(address)
        return [{"time": 1, "priority": 3, "text": "refused"}]

    async def act(self, verb: str, address: str, *, wait: bool) -> None:
        await self._ask("act", verb, address, wait)
        self._known(address)["state"] = "stopped" if verb == "stop" else "running"

    async def add_route(self, name: str, table: Mapping[str, Any]) -> None:
        await self._ask("add_route", name, dict(table))
        if "input" not in table:
            raise ClientError("[input] is missing", "InvalidConfiguration")
        self.answer["routes"].append(a_route(name, "starting"))

    async def add_output(self, address: str, table: Mapping[str, Any]) -> None:
        await self._ask("add_output", address, dict(table))
        if "url" not in table:
            raise ClientError("url is missing", "InvalidConfiguration")
        self._known(address.partition("/")[0])["outputs"].append(thing(address, "starting"))

    async def update(self, address: str, table: Mapping[str, Any]) -> None:
        await self._ask("update", address, dict(table))
        self._known(address)["description"] = table.get("description") or ""

    async def change(self, verb: str, address: str) -> None:
        await self._ask("change", verb, address)
        found = self._known(address)
        (self.output(address.partition("/")[0])["outputs"] if "/" in address else self.answer["routes"]).remove(found)

    async def set_credential(self, name: str, secret: str) -> None:
        await self._ask("set_credential", name, len(secret))

    async def viewers(self, routes: Sequence[str] = ()) -> dict[str, Any]:
        await self._ask("viewers", *routes)
        return {"mediamtx": "1.20.1", "problem": "", "paths": []}

    def _known(self, address: str) -> dict[str, Any]:
        try:
            return self.output(address)
        except (ValueError, StopIteration):
            raise NoSuchThingError(f'there is no output "{address}"', "NotFound") from None


@dataclass
class Place:
    """The application, what is behind it, and a client of it."""

    daemon: FakeDaemon
    gateway: Gateway
    app: App
    client: httpx.AsyncClient
    keys: dict[str, str]
    """Secrets by the name of their role."""
    path: Path
    """The file of keys."""

    def by(self, role: str) -> dict[str, str]:
        return {"x-api-key": self.keys[role]}

    async def ask(self, method: str, path: str, role: str | None = "admin", **more: Any) -> httpx.Response:
        headers = {**(self.by(role) if role else {}), **more.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **more)


@asynccontextmanager
async def place(
    path: Path, *, settings: Settings | None = None, limits: Limits | None = None, follow: bool = True
) -> AsyncIterator[Place]:
    """Make the application; `follow` is False where the server has the hub run."""
    daemon = FakeDaemon()
    file = path / "keys.toml"
    keys = {str(role): add_key(f"the-{role}", role, file) for role in Role}
    ring = KeyRing(file)
    gateway = Gateway(
        link=daemon,
        hub=Hub(daemon, "epoch", QUICK),
        ring=ring,
        sessions=Sessions(b"secret", ring.named),
        settings=settings or Settings(),
        limiter=Limiter(tries=3, seconds=10),
        limits=limits or Limits(),
    )
    app = make_app(gateway)
    running = asyncio.create_task(gateway.hub.run() if follow else asyncio.sleep(0))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=("192.0.2.1", 4000))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield Place(daemon, gateway, app, client, keys, file)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@dataclass
class Wire:
    """One request by hand, as the server passes it on: for what never ends, and for what no client would send."""

    app: App
    scope: dict[str, Any]
    incoming: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    outgoing: asyncio.Queue[Message] = field(default_factory=lambda: asyncio.Queue(1))
    task: asyncio.Task[None] = field(init=False)

    async def next(self) -> Message:
        async with asyncio.timeout(10):
            return await self.outgoing.get()


@asynccontextmanager
async def wire(app: App, kind: str, path: str, headers: Mapping[str, str], **more: Any) -> AsyncIterator[Wire]:
    raw, _mark, query = path.partition("?")
    scope: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws" if kind == "websocket" else "http",
        "path": raw,
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in {"host": "gateway", **headers}.items()],
        "client": ("192.0.2.1", 4000),
        "server": ("gateway", 80),
        **({"subprotocols": []} if kind == "websocket" else {"method": "GET"}),
        **more,
    }
    found = Wire(app, scope)
    found.task = asyncio.create_task(app(scope, found.incoming.get, found.outgoing.put))  # type: ignore[arg-type]
    if kind == "http":
        found.incoming.put_nowait({"type": "http.request", "body": b"", "more_body": "method" in more})
    try:
        yield found
    finally:
        found.task.cancel()
        await asyncio.gather(found.task, return_exceptions=True)
