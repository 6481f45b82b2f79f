"""A service on a private bus with a control that only remembers, and statuses to show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from streamd.bus.connection import Connection, Variant, connect_system_bus
from streamd.bus.gate import Gate
from streamd.bus.names import BUS_NAME
from streamd.bus.service import Service
from streamd.bus.values import unpack
from streamd.plan.status import (
    LogLine,
    Moving,
    OutputStatus,
    RouteStatus,
    State,
    Statistics,
    Status,
    StepView,
    UnitStatus,
)
from streamd.plan.viewers import MediaView, PathView, Viewer
from streamd.route.change import Change
from streamd.route.diagnostic import Diagnostic, Span

__all__ = ["MANAGER", "ROOT", "FakeControl", "Stage", "State", "Variant", "output", "route", "stage", "unpack"]

ROOT = "/org/streamd1"
MANAGER = "org.streamd1.Manager"
PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"


def output(route: str, name: str, state: State = State.RUNNING, **more: Any) -> OutputStatus:
    unit = UnitStatus(unit=f"streamd-output@{route}:{name}.service", pid=4711, restarts=2, invocation="ab" * 16)
    values: dict[str, Any] = {
        "kind": "udp",
        "url": "udp://192.0.2.1:5004",
        "enabled": True,
        "cause": "",
        "since": 1_795_418_000_000_000,
        "unit": unit,
    }
    return OutputStatus(route=route, name=name, state=state, **{**values, **more})


def route(name: str, *outputs: OutputStatus, **more: Any) -> RouteStatus:
    values: dict[str, Any] = {
        "path": f"/etc/streamd/conf.d/{name}.toml",
        "enabled": True,
        "relay": "direct",
        "input_kind": "udp",
        "input_url": "udp://0.0.0.0:5000",
        "group": "239.255.0.1:20000",
        "broken": False,
        "state": State.RUNNING,
        "cause": "",
        "since": 1_795_418_000_000_000,
        "unit": UnitStatus(unit=f"streamd-ingest@{name}.service", pid=4700),
    }
    return RouteStatus(name=name, outputs=outputs, **{**values, **more})


DIAGNOSTIC = Diagnostic(
    path="/etc/streamd/conf.d/b.toml", span=Span(3, 5, 4), key="input.url", message="is wrong", line_text="url = 1"
)
STATUS = Status(
    version="1.2.3",
    routes=(
        route(
            "studio-a", output("studio-a", "youtube"), output("studio-a", "1st_rack", State.BACKOFF, cause="refused")
        ),
        route("empty"),
    ),
    diagnostics=(DIAGNOSTIC,),
)


VIEW = MediaView(
    version="1.20.1",
    paths=(
        PathView(route="empty", ready=False),
        PathView(
            route="studio-a",
            ready=True,
            tracks=("H264", "MPEG-4 Audio"),
            received=5000,
            sent=1000,
            viewers=(
                Viewer(id="1b", kind="srt", address="192.0.2.7:4000", since=1_795_418_000_000_000, sent=900, rtt=12.5),
                Viewer(id="", kind="hls"),
            ),
        ),
    ),
)


@dataclass
class FakeControl:
    """Remembers what it was asked for; `error` is raised by every request, `hold` makes them wait."""

    status: Status = STATUS
    lines: tuple[LogLine, ...] = (LogLine(time=1, priority=3, text="refused"),)
    steps: tuple[StepView, ...] = (StepView(action="keep", address="studio-a", unit="u", reason="nothing changed"),)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    meters: dict[str, Statistics] = field(default_factory=dict)
    moving: Callable[[str], Moving] | None = None
    """What moves, where it is not to be taken out of `meters`."""
    view: MediaView = VIEW
    error: Exception | None = None
    hold: asyncio.Event | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def _ask(self, *what: Any) -> None:
        self.asked.append(what)
        self.reached.set()
        if self.hold:
            await self.hold.wait()
        if self.error:
            raise self.error

    async def reload(self) -> Status:
        await self._ask("reload")
        return self.status

    async def plan(self) -> tuple[StepView, ...]:
        await self._ask("plan")
        return self.steps

    async def plan_file(self, path: str, text: str) -> tuple[StepView, ...]:
        await self._ask("plan_file", path, text)
        return self.steps

    async def plan_change(self, change: Change) -> tuple[StepView, ...]:
        await self._ask("plan_change", change)
        return self.steps

    async def log(self, address: str, lines: int) -> tuple[LogLine, ...]:
        await self._ask("log", address, lines)
        return self.lines

    async def statistics(self, addresses: Collection[str] = ()) -> tuple[Statistics, ...]:
        await self._ask("statistics", *addresses)
        known = [route.name for route in self.status.routes]
        known += [output.address for route in self.status.routes for output in route.outputs]
        return tuple(self._counters(address) for address in addresses or known)

    def meter(self, address: str) -> Moving:
        return self.moving(address) if self.moving else self._counters(address).moving

    def _counters(self, address: str) -> Statistics:
        return self.meters.get(address, Statistics(address=address))

    async def start(self, address: str, *, wait: bool) -> None:
        await self._ask("start", address, wait)

    async def stop(self, address: str, *, wait: bool) -> None:
        await self._ask("stop", address, wait)

    async def restart(self, address: str, *, wait: bool) -> None:
        await self._ask("restart", address, wait)

    async def change(self, change: Change) -> None:
        await self._ask("change", change)

    async def viewers(self) -> MediaView:
        await self._ask("viewers")
        return self.view

    async def kick(self, viewer: str) -> None:
        await self._ask("kick", viewer)

    async def set_credential(self, name: str, secret: str) -> None:
        await self._ask("set_credential", name, len(secret))


@dataclass
class Stage:
    """The service, its control, and a client."""

    address: str
    control: FakeControl
    server: Connection
    service: Service
    client: Connection

    async def call(self, path: str, interface: str, member: str, signature: str = "", *body: Any, **more: Any) -> Any:
        """Call the service; return its reply without variants: nothing, a value, or a list of values."""
        reply = unpack(await self.client.call(BUS_NAME, path, interface, member, signature, body, **more))
        return reply[0] if len(reply) == 1 else reply or None

    async def manager(self, member: str, signature: str = "", *body: Any, **more: Any) -> Any:
        return await self.call(ROOT, MANAGER, member, signature, *body, **more)

    async def settle(self) -> None:
        """Return when all signals that the service sent until now have arrived."""
        await self.settle_by(self.client)

    async def settle_by(self, client: Connection) -> None:
        await client.call(BUS_NAME, ROOT, "org.freedesktop.DBus.Peer", "Ping", within=5)

    def publish(self, status: Status) -> None:
        self.control.status = status
        self.service.publish(status)

    def publish_routes(self, *routes: RouteStatus) -> None:
        self.publish(replace(STATUS, routes=routes))


@asynccontextmanager
async def stage(
    address: str,
    *,
    client_address: str | None = None,
    quick: float = 20.0,
    patient: float = 60.0,
    control: FakeControl | None = None,
) -> AsyncIterator[Stage]:
    server = await connect_system_bus(address)
    control = control or FakeControl()
    service = Service(server, control, gate=Gate(server, quick=quick, patient=patient))
    await service.open()
    client = await connect_system_bus(client_address or address)
    try:
        yield Stage(address, control, server, service, client)
    finally:
        await client.close()
        await service.close()
        await server.close()
