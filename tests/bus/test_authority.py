"""The gate against two polkits: our own, and dbusmock's where that is installed. Allow, deny, hang, absent."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import pytest

from streamd.bus.connection import Connection, Message, connect_system_bus
from streamd.bus.names import CONFIGURE, CONTROL
from tests.bus.caller import call_as_nobody
from tests.bus.stage import stage
from tests.bus.test_gate import POLKIT, polkit

AUTHORITY = "/org/freedesktop/PolicyKit1/Authority"
MOCK = "org.freedesktop.DBus.Mock"


class Authority(Protocol):
    """A polkit that does as it is told; at first it denies everything."""

    async def allow(self, *actions: str) -> None: ...

    async def hang(self, *actions: str) -> None: ...

    async def asked_of_what_hangs(self) -> bool: ...


class Ours:
    """The fake of test_gate."""

    def __init__(self) -> None:
        self._allowed: tuple[str, ...] = ()
        self._hanging: tuple[str, ...] = ()
        self._asked = False

    def decide(self, action: str) -> tuple[bool, bool] | None:
        if action in self._hanging:
            self._asked = True
            return None
        return action in self._allowed, False

    async def allow(self, *actions: str) -> None:
        self._allowed = actions

    async def hang(self, *actions: str) -> None:
        self._hanging = actions

    async def asked_of_what_hangs(self) -> bool:
        return self._asked


class Dbusmock:
    """dbusmock's polkitd, a process of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def _tell(self, member: str, signature: str = "", *body: Any) -> list[Any]:
        return await self._connection.call(POLKIT, AUTHORITY, MOCK, member, signature, body, within=10)

    async def allow(self, *actions: str) -> None:
        await self._tell("SetAllowed", "as", list(actions))

    async def hang(self, *actions: str) -> None:
        await self._tell("SimulateHangActions", "as", list(actions))

    async def asked_of_what_hangs(self) -> bool:
        return bool((await self._tell("HaveHangingCalls"))[0])


@asynccontextmanager
async def ours(bus: str) -> AsyncIterator[Authority]:
    fake = Ours()
    async with polkit(bus, fake.decide):
        yield fake


@asynccontextmanager
async def dbusmock(bus: str) -> AsyncIterator[Authority]:
    connection = await connect_system_bus(bus)
    there, gone = asyncio.Event(), asyncio.Event()

    def note(message: Message) -> None:
        if message.member == "NameOwnerChanged" and message.body[0] == POLKIT:
            (there if message.body[2] else gone).set()

    dbus = "org.freedesktop.DBus"
    await connection.subscribe(f"type='signal',sender='{dbus}',member='NameOwnerChanged',arg0='{POLKIT}'", note)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dbusmock", "--system", "--template", "polkitd"),
        env={**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus},
        stdout=subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(20):
            await there.wait()
        yield Dbusmock(connection)
    finally:
        process.terminate()
        await process.wait()
        await gone.wait()
        await connection.close()


Start = Callable[[str], AbstractAsyncContextManager[Authority]]


@pytest.fixture(params=["ours", "dbusmock"])
def authority(request: pytest.FixtureRequest) -> Start:
    if request.param == "dbusmock":
        if importlib.util.find_spec("dbusmock") is None:
            pytest.skip("python3-dbusmock is not installed")
        return dbusmock
    return ours


async def test_what_is_allowed_and_nothing_else(bus: str, authority: Start) -> None:
    async with stage(bus) as it, authority(bus) as polkitd:
        await polkitd.allow(CONTROL)
        assert (await call_as_nobody(bus, "StartOutput"))[0] == "ok"
        assert await call_as_nobody(bus, "Set") == ("AccessDenied", f"you are not authorised ({CONFIGURE})")
        await polkitd.allow(CONFIGURE)
        assert await call_as_nobody(bus, "StopRoute") == ("AccessDenied", f"you are not authorised ({CONTROL})")
        assert (await call_as_nobody(bus, "Set"))[0] == "PropertyReadOnly"
        assert it.control.asked == [("start", "studio-a/youtube", True)]


async def test_at_first_nothing_is_allowed(bus: str, authority: Start) -> None:
    async with stage(bus) as it, authority(bus):
        for member in ("Reload", "StartOutput", "StopRoute", "Set"):
            for interactive in (False, True):
                assert (await call_as_nobody(bus, member, interactive=interactive))[0] == "AccessDenied"
        for member in ("GetStatus", "Plan", "Check", "GetManagedObjects"):
            assert (await call_as_nobody(bus, member))[0] == "ok"
        assert it.control.asked == [("plan",)]


async def test_one_that_hangs_delays_its_caller_alone(bus: str, authority: Start) -> None:
    async with stage(bus, quick=1.0) as it, authority(bus) as polkitd:
        await polkitd.allow(CONFIGURE)
        await polkitd.hang(CONTROL)
        waiting = asyncio.ensure_future(call_as_nobody(bus, "Reload"))
        while not await polkitd.asked_of_what_hangs():
            await it.settle()
        assert (await call_as_nobody(bus, "GetStatus"))[0] == "ok"
        await it.manager("Reload", "a{sv}", {})
        assert it.control.asked == [("reload",)]
        assert await waiting == ("AccessDenied", "polkit did not answer in time")
        assert it.control.asked == [("reload",)]
        await polkitd.hang()
        await polkitd.allow(CONTROL)
        assert (await call_as_nobody(bus, "Reload"))[0] == "ok"


async def test_one_that_goes_and_comes_back(bus: str, authority: Start) -> None:
    async with stage(bus) as it:
        for _ in range(2):
            name, text = await call_as_nobody(bus, "Reload")
            assert name == "AccessDenied"
            assert "root" in text
            async with authority(bus) as polkitd:
                await polkitd.allow(CONTROL)
                assert (await call_as_nobody(bus, "Reload"))[0] == "ok"
        await it.manager("Reload", "a{sv}", {})
        assert len(it.control.asked) == 3
