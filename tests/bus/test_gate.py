"""The gate: root passes, others need a yes from polkit; one that is absent or hangs is a no for its caller alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamd.bus.connection import Connection, Message, connect_system_bus
from streamd.bus.names import CONFIGURE, CONTROL
from streamd.bus.schema import Access, interfaces
from tests.bus.caller import call_as_nobody
from tests.bus.stage import stage, unpack

POLKIT = "org.freedesktop.PolicyKit1"


class FakePolkit:
    """Answers CheckAuthorization with whatever `decide` says, or never when that is None."""

    def __init__(self, connection: Connection, decide: Callable[[str], tuple[bool, bool] | None]) -> None:
        self.connection = connection
        self.decide = decide
        self.asked: list[tuple[str, dict[str, Any], str, int]] = []
        self.cancelled: list[str] = []
        self.reached = asyncio.Event()
        connection.on_call = self.on_call

    def on_call(self, message: Message, size: int) -> None:
        del size
        body = unpack(message.body)
        if message.member == "CancelCheckAuthorization":
            self.cancelled.append(body[0])
            return
        (kind, details), action, _details, flags, _id = body
        self.asked.append((kind, details, action, flags))
        self.reached.set()
        answer = self.decide(action)
        if answer is not None:
            self.connection.send(Message.new_method_return(message, "(bba{ss})", [[*answer, {}]]))


@asynccontextmanager
async def polkit(bus: str, decide: Callable[[str], tuple[bool, bool] | None]) -> AsyncIterator[FakePolkit]:
    connection = await connect_system_bus(bus)
    fake = FakePolkit(connection, decide)
    await connection.request_name(POLKIT)
    try:
        yield fake
    finally:
        await connection.close()


async def test_root_needs_no_polkit(bus: str) -> None:
    async with stage(bus) as it:
        await it.manager("Reload", "a{sv}", {})
        assert it.control.asked == [("reload",)]


async def test_nobody_reads_everything_without_polkit_and_changes_nothing(bus: str) -> None:
    async with stage(bus) as it:
        for member in ("GetStatus", "Plan", "Check", "GetManagedObjects"):
            assert (await call_as_nobody(bus, member))[0] == "ok"
        it.control.asked.clear()
        for member in ("Reload", "StartOutput", "StopRoute", "Set", "Log", "PlanChange", "PlanFile"):
            for interactive in (False, True):
                name, text = await call_as_nobody(bus, member, interactive=interactive)
                assert name == "AccessDenied"
                assert "root" in text
        assert not it.control.asked


async def test_polkit_allows(bus: str) -> None:
    async with stage(bus) as it, polkit(bus, lambda action: (action == CONTROL, False)) as fake:
        assert (await call_as_nobody(bus, "StartOutput"))[0] == "ok"
        assert it.control.asked == [("start", "studio-a/youtube", True)]
        (kind, details, action, flags) = fake.asked[0]
        assert (kind, action, flags) == ("system-bus-name", CONTROL, 0)
        assert details["name"].startswith(":")
        assert (await call_as_nobody(bus, "Set"))[0] == "AccessDenied"
        assert fake.asked[1][2] == CONFIGURE
        assert (await call_as_nobody(bus, "Reload", interactive=True))[0] == "ok"
        assert fake.asked[2][3] == 1


async def test_polkit_denies(bus: str) -> None:
    async with stage(bus) as it, polkit(bus, lambda _action: (False, False)):
        assert await call_as_nobody(bus, "Reload") == ("AccessDenied", f"you are not authorised ({CONTROL})")
        assert not it.control.asked


async def test_polkit_would_ask_somebody(bus: str) -> None:
    async with stage(bus) as it, polkit(bus, lambda _action: (False, True)):
        assert (await call_as_nobody(bus, "Reload"))[0] == "InteractiveAuthorizationRequired"
        assert (await call_as_nobody(bus, "Reload", interactive=True))[0] == "AccessDenied"
        assert not it.control.asked


async def test_a_hanging_polkit_delays_its_caller_alone(bus: str) -> None:
    async with stage(bus, quick=0.3, patient=30) as it, polkit(bus, lambda _action: None) as fake:
        denied = asyncio.ensure_future(call_as_nobody(bus, "Reload"))
        await fake.reached.wait()
        await it.manager("Reload", "a{sv}", {})
        await it.manager("GetStatus", "a{sv}", {})
        assert it.control.asked == [("reload",)]
        name, text = await denied
        assert name == "AccessDenied"
        assert "did not answer" in text
        assert it.control.asked == [("reload",)]
        await fake.connection.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus.Peer", "Ping")
        assert len(fake.cancelled) == 1


async def test_a_polkit_that_answers_nonsense_is_a_no(bus: str) -> None:
    async with stage(bus) as it, polkit(bus, lambda _action: None) as fake:

        def nonsense(message: Message, size: int) -> None:
            del size
            fake.connection.send(Message.new_method_return(message, "s", ["yes"]))

        fake.connection.on_call = nonsense
        assert (await call_as_nobody(bus, "Reload"))[0] == "AccessDenied"
        fake.connection.on_call = lambda message, _size: (
            fake.connection.send(Message.new_error(message, "org.freedesktop.PolicyKit1.Error.Failed", "no")) and None
        )
        assert (await call_as_nobody(bus, "Reload"))[0] == "AccessDenied"
        assert not it.control.asked


@pytest.mark.parametrize("name", [name for name in interfaces() if name.startswith("org.streamd1.")])
def test_every_method_says_who_may_call_it(name: str) -> None:
    access = dict.fromkeys(("Plan", "GetStatus", "Statistics", "Check", "Viewers"), Access.READ)
    verbs = ("Add", "Remove", "Update", "Enable", "Disable")
    changing = [f"{verb}{noun}" for verb in verbs for noun in ("Route", "Output", "")]
    access |= dict.fromkeys((*changing, "SetCredential", "PlanChange", "PlanFile"), Access.CONFIGURE)
    for method in interfaces()[name].methods.values():
        assert f'<method name="{method.name}">' in interfaces()[name].xml
        assert method.access is access.get(method.name, Access.CONTROL)
