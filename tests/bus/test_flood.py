"""Clients that misbehave: nobody else notices."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from streamd.bus.connection import BusError, Connection, Message, Variant, connect_system_bus
from streamd.bus.control import FEW, NotFoundError
from streamd.bus.names import BUS_NAME
from streamd.bus.values import unpack
from streamd.plan.status import Statistics
from tests.bus.stage import MANAGER, ROOT, Stage, stage
from tests.bus.stage import output as an_output
from tests.bus.stage import route as a_route

OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
MANY_REPLIES = pytest.mark.parametrize("bus", [{"max_replies_per_connection": 5000}], indirect=True)


def call_without_waiting(connection: Connection, interface: str, member: str, *body: Any) -> None:
    message = Message(
        destination="org.streamd1",
        path=ROOT,
        interface=interface,
        member=member,
        signature="a{sv}" if body else "",
        body=list(body),
    )
    connection.send(message)


def fill(it: Stage, routes: int, outputs: int) -> None:
    it.publish_routes(
        *(a_route(f"r{n}", *(an_output(f"r{n}", f"o{m}") for m in range(outputs))) for n in range(routes))
    )


@MANY_REPLIES
async def test_a_thousand_calls_at_once_are_all_answered(bus: str) -> None:
    async with stage(bus) as it:
        replies = await asyncio.gather(*(it.manager("GetStatus", "a{sv}", {}) for _ in range(1000)))
        assert len(replies) == 1000
        replies = await asyncio.gather(
            *(it.manager("Reload", "a{sv}", {}) for _ in range(1000)), return_exceptions=True
        )
        assert all(isinstance(reply, dict | BusError) for reply in replies)
        await it.manager("Reload", "a{sv}", {})


@MANY_REPLIES
async def test_a_flood_delays_others_by_one_call(bus: str) -> None:
    async with stage(bus) as it:
        fill(it, 20, 10)
        flooder = await connect_system_bus(bus)
        for _ in range(500):
            call_without_waiting(flooder, OBJECT_MANAGER, "GetManagedObjects")
            call_without_waiting(flooder, MANAGER, "GetStatus", {})
        await flooder.drained()
        answered = 0

        def count(message: Message, size: int) -> None:
            nonlocal answered
            answered += 1

        flooder._bus._deliver = count
        await it.settle()
        await it.manager("GetStatus", "a{sv}", {})
        assert answered < 500, "the other client had to wait for the flood"
        await flooder.close()


@MANY_REPLIES
async def test_a_flood_for_counters_is_answered_from_few_looks_at_them(bus: str) -> None:
    async with stage(bus) as it:
        it.control.hold = asyncio.Event()
        flooder, other = await connect_system_bus(bus), await connect_system_bus(bus)
        arguments = (BUS_NAME, ROOT, MANAGER, "Statistics", "asa{sv}")
        of_all = [asyncio.ensure_future(flooder.call(*arguments, [[], {}])) for _ in range(16)]
        many = ["studio-a"] * (FEW + 1)
        of_some = [asyncio.ensure_future(flooder.call(*arguments, [many, {}])) for _ in range(16)]
        await it.control.reached.wait()
        await it.settle_by(flooder)
        assert len(it.control.asked) == 2, "one look at all and one at some, however many ask"
        mine = asyncio.ensure_future(other.call(*arguments, [[], {}]))
        await it.settle_by(other)
        it.control.hold.set()
        (found,) = await mine
        assert {unpack(each)["address"] for each in found} >= {"empty", "studio-a", "studio-a/youtube"}
        await asyncio.gather(*of_all, *of_some)
        assert it.control.asked.count(("statistics",)) == 1, "nobody else made it look again so soon"
        it.publish_routes(a_route("new"))
        await flooder.call(*arguments, [[], {}])
        assert it.control.asked.count(("statistics",)) == 2, "they are of other things now"
        await flooder.close()
        await other.close()


@MANY_REPLIES
async def test_calls_under_way_are_limited_for_each_client(bus: str) -> None:
    async with stage(bus) as it:
        it.control.hold = asyncio.Event()
        other = await connect_system_bus(bus)
        calls = [asyncio.ensure_future(it.manager("Reload", "a{sv}", {})) for _ in range(100)]
        done: set[asyncio.Future[None]] = set()
        while len(done) < 68:
            done = (await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED))[0]
            await it.settle_by(other)
        error = done.pop().exception()
        assert isinstance(error, BusError)
        assert error.name == "org.freedesktop.DBus.Error.LimitsExceeded"
        mine = asyncio.ensure_future(other.call("org.streamd1", ROOT, MANAGER, "Reload", "a{sv}", [{}]))
        while len(it.control.asked) < 33:
            await it.settle_by(other)
        it.control.hold.set()
        await mine
        await asyncio.gather(*calls, return_exceptions=True)
        assert len(it.control.asked) == 33
        await other.close()


LIMITS = {"max_replies_per_connection": 5000, "max_incoming_bytes": 8_000_000, "max_outgoing_bytes": 8_000_000}


@pytest.mark.parametrize("bus", [LIMITS], indirect=True)
async def test_a_client_that_does_not_read_hurts_nobody(bus: str) -> None:
    async with stage(bus) as it:
        fill(it, 20, 5)
        deaf = await connect_system_bus(bus)
        deaf._bus._loop.remove_reader(deaf._bus._fd)
        for _ in range(150):  # some 15 MB of replies
            call_without_waiting(deaf, OBJECT_MANAGER, "GetManagedObjects")
        await deaf.drained()
        caller = await held(it, deaf.unique_name)
        assert len(caller.queue) > 50
        for _ in range(50):
            await it.call(ROOT, OBJECT_MANAGER, "GetManagedObjects")
        assert it.server.backlog == 0

        # Once it reads, it is served again.
        read = asyncio.Event()
        count = 0

        def note(message: Message, size: int) -> None:
            nonlocal count
            count += 1
            if count == 150:
                read.set()

        deaf._bus._deliver = note
        deaf._bus._loop.add_reader(deaf._bus._fd, deaf._bus._message_reader)
        async with asyncio.timeout(25):
            await read.wait()
        await deaf.close()


@pytest.mark.parametrize("bus", [LIMITS], indirect=True)
async def test_a_deaf_client_that_leaves_is_forgotten(bus: str) -> None:
    async with stage(bus) as it:
        fill(it, 20, 5)
        deaf = await connect_system_bus(bus)
        deaf._bus._loop.remove_reader(deaf._bus._fd)
        for _ in range(150):
            call_without_waiting(deaf, OBJECT_MANAGER, "GetManagedObjects")
        await deaf.drained()
        await held(it, deaf.unique_name)
        turns = it.service._dispatcher._turns
        await deaf.close()
        async with asyncio.timeout(10):
            while deaf.unique_name in turns._callers:
                await it.settle()
        assert turns._queued == 0


async def held(it: Stage, name: str) -> Any:
    """Return the service's record of a client once it is held."""
    async with asyncio.timeout(10):
        while True:
            await it.settle()
            caller = it.service._dispatcher._turns._callers.get(name)
            if caller is not None and caller.held:
                return caller


@pytest.mark.parametrize(
    "change",
    [
        pytest.param((1, 9), id="unknown message type"),
        pytest.param((2, 0xF8), id="unknown flags"),
    ],
)
async def test_odd_messages_do_not_end_the_connection(bus: str, change: tuple[int, int]) -> None:
    async with stage(bus) as it:
        odd = await connect_system_bus(bus)
        message = Message(destination="org.streamd1", path=ROOT, interface=MANAGER, member="Plan", serial=77)
        data = bytearray(message._marshall())
        data[change[0]] = change[1]
        odd._bus.writer.put(bytes(data))
        await odd.drained()
        await it.settle()
        assert it.server.connected
        await odd.close()


async def test_deep_and_strange_arguments_are_only_errors(bus: str) -> None:
    nested = Variant("s", "x")
    for _ in range(30):
        nested = Variant("v", nested)
    async with stage(bus) as it:
        for name in ("", "\u202e", "x" * 10_000, "no-block\n", "a\ufffdb"):
            with pytest.raises(BusError) as caught:
                await it.manager("Reload", "a{sv}", {name: nested})
            assert caught.value.name == "org.freedesktop.DBus.Error.InvalidArgs"
            assert len(caught.value.text) < 300
        signatures = [Variant("(" + "i" * n + ")", [1] * n) for n in range(1, 200)]
        with pytest.raises(BusError):
            await it.manager("Reload", "a{sv}", {f"o{n}": value for n, value in enumerate(signatures)})
        await it.manager("Reload", "a{sv}", {})


STRANGE = ("", "/", "//", "a/b/c", "\u202e", "studio-a/", "../etc", "x" * 100_000, "studio-a\n", "a\ufffdb", "%s" * 99)


@pytest.mark.parametrize("member", ["Statistics", "GetStatus", "StopRoute", "StopOutput", "RemoveRoute", "AddOutput"])
async def test_malformed_names_are_only_errors(bus: str, member: str) -> None:
    async with stage(bus) as it:
        for name in STRANGE:
            arguments: tuple[Any, ...] = (name, {})
            signature = "sa{sv}"
            if member == "Statistics":
                signature, arguments = "asa{sv}", ([name, "studio-a"], {})
            elif member == "GetStatus":
                signature, arguments = "a{sv}", ({"address": Variant("s", name)},)
            elif member == "AddOutput":
                signature, arguments = "sa{sv}a{sv}", (name, {}, {})
            if member in {"RemoveRoute", "AddOutput"}:  # what a name may be is for the editor to say, behind the gate
                it.control.error = NotFoundError("there is none")
            with pytest.raises(BusError) as caught:
                await it.manager(member, signature, *arguments)
            assert len(caught.value.text) < 300, caught.value.text[:400]
        assert [found for found in it.control.asked if found[0] not in {"change", "statistics"}] == []


async def test_huge_arguments_are_only_errors(bus: str) -> None:
    async with stage(bus) as it:
        for addresses in (["x" * 300_000], ["studio-a"] * 100_000, ["x"] * 20_000):
            with pytest.raises(BusError) as caught:
                await it.manager("Statistics", "asa{sv}", addresses, {})
            assert len(caught.value.text) < 300
        found = await it.manager("Statistics", "asa{sv}", ["studio-a"] * 2000, {})
        assert found
        for size in (300_000, 70_000):
            with pytest.raises(BusError) as caught:
                await it.manager("Check", "sa{sv}", "x" * size, {})
            assert caught.value.name == "org.freedesktop.DBus.Error.LimitsExceeded"
        with pytest.raises(BusError):
            await it.manager("AddRoute", "sa{sv}a{sv}", "n", {"description": Variant("s", "x" * 300_000)}, {})
        assert it.control.asked == [("statistics", *["studio-a"] * 2000)]


@pytest.mark.parametrize("bus", [LIMITS], indirect=True)
async def test_a_client_that_reads_no_counters_hurts_nobody(bus: str) -> None:
    async with stage(bus) as it:
        fill(it, 20, 5)
        it.control.meters = {f"r{n}": Statistics(address=f"r{n}", bitrate=n) for n in range(20)}
        deaf = await connect_system_bus(bus)
        deaf._bus._loop.remove_reader(deaf._bus._fd)
        names = [f"r{n}" for n in range(20)]
        for _ in range(60):
            message = Message(
                destination="org.streamd1",
                path=ROOT,
                interface=MANAGER,
                member="Statistics",
                signature="asa{sv}",
                body=[names * 100, {}],
            )
            deaf.send(message)
        await deaf.drained()
        await it.settle()
        found = await it.manager("Statistics", "asa{sv}", names, {})
        assert [each["address"] for each in found] == names
        assert it.server.connected
        await deaf.close()


async def test_a_lost_bus_ends_every_call(bus: str) -> None:
    async with stage(bus) as it:
        it.control.hold = asyncio.Event()
        call = asyncio.ensure_future(it.manager("Reload", "a{sv}", {}))
        await it.control.reached.wait()
        it.server._bus._sock.shutdown(socket.SHUT_RDWR)
        assert "lost" in await it.server.wait_closed()
        with pytest.raises(BusError):
            await call
        with pytest.raises(BusError):
            await it.server.call("org.freedesktop.DBus", "/", "org.freedesktop.DBus.Peer", "Ping")
