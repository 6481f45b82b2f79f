"""Large replies wait for one another, and small ones for one of them at most."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice
from typing import cast

import pytest

pytest.importorskip("dbus_next")

from dbus_next import Message, MessageType

from streamd.bus.connection import Connection
from streamd.bus.turns import Caller, Turns

LARGE = 900_000


class Wire:
    """Stands for the connection: what is sent stays until the bus takes it."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.backlog = 0
        self.there: list[str] = []
        self.asked = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def send(self, message: Message) -> int:
        size = LARGE if message.body == ["large"] else 50
        self.sent.append(f"{message.destination} {message.body[0]}")
        self.backlog += size
        self._idle.clear()
        return size

    async def call(self, *arguments: str) -> list[list[str]]:
        assert arguments[-1] == "ListNames"
        self.asked += 1
        there = list(self.there)
        await asyncio.sleep(0)
        return [there]

    async def drained(self) -> None:
        await self._idle.wait()

    def take(self) -> None:
        self.backlog = 0
        self._idle.set()


class World:
    """Turns whose calls are answered at once with the size that they ask for."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.turns = Turns(cast("Connection", self.wire), self._answer)
        self.turns.open()
        self._serial = 0

    def _answer(self, caller: Caller, message: Message) -> None:
        reply = Message.new_method_return(message, "s", [message.member])
        self.turns.reply(caller, message, reply)

    def call(self, sender: str, member: str) -> None:
        self._serial += 1
        self.turns.receive(
            Message(
                message_type=MessageType.METHOD_CALL,
                path="/",
                member=member,
                sender=sender,
                serial=self._serial,
            ),
            100,
        )

    async def come(self, senders: Iterable[str]) -> None:
        """Let each of them call once, some at a time."""
        these = iter(senders)
        while some := tuple(islice(these, 25)):
            for sender in some:
                self.call(sender, "small")
            await self.settle()

    @property
    def remembered(self) -> set[str]:
        return set(self.turns._callers)

    async def settle(self) -> list[str]:
        """Return what was sent when nothing more goes by itself."""
        for _ in range(100):
            await asyncio.sleep(0)
        found, self.wire.sent = self.wire.sent, []
        return found


def test_one_large_reply_at_a_time_goes_out_and_small_ones_pass_the_next() -> None:
    async def run() -> None:
        world = World()
        for _ in range(3):
            world.call(":1.1", "large")
            world.call(":1.2", "large")
        assert await world.settle() == [":1.1 large", ":1.2 large"], "nobody knew yet what they would ask for"
        for _ in range(3):
            world.call(":1.3", "small")
        assert await world.settle() == [":1.3 small"] * 3
        world.wire.take()
        assert await world.settle() == [":1.1 large"]
        world.call(":1.3", "small")
        assert await world.settle() == [":1.3 small"]
        world.wire.take()
        assert await world.settle() == [":1.2 large"]
        world.wire.take()
        assert await world.settle() == [":1.1 large"]
        world.wire.take()
        assert await world.settle() == [":1.2 large"]
        world.wire.take()
        assert await world.settle() == []
        await world.turns.close()

    asyncio.run(run())


def test_who_was_sent_something_small_waits_for_nothing() -> None:
    async def run() -> None:
        world = World()
        world.call(":1.1", "large")
        world.call(":1.1", "small")
        assert await world.settle() == [":1.1 large"]
        world.wire.take()
        assert await world.settle() == [":1.1 small"]
        world.call(":1.2", "large")
        world.call(":1.1", "small")
        world.call(":1.1", "small")
        assert await world.settle() == [":1.2 large", ":1.1 small", ":1.1 small"]
        await world.turns.close()

    asyncio.run(run())


def test_clients_that_are_gone_are_forgotten_and_the_bus_is_asked_seldom() -> None:
    async def run() -> None:
        world = World()
        world.wire.there = [":1.1", "org.streamd1"]
        world.call(":1.1", "small")
        await world.come(f":2.{number}" for number in range(2000))
        assert len(world.remembered) <= 300
        assert ":1.1" in world.remembered, "it is still there"
        assert 5 <= world.wire.asked <= 8
        before = world.wire.asked
        staying = {f":3.{number}" for number in range(600)}
        world.wire.there += staying
        await world.come(staying)
        assert world.wire.asked - before <= 3
        assert staying <= world.remembered
        await world.turns.close()

    asyncio.run(run())


def test_a_client_that_comes_while_the_bus_is_asked_is_not_forgotten() -> None:
    async def run() -> None:
        world = World()
        await world.come(f":2.{number}" for number in range(256))
        world.call(":2.256", "small")
        await asyncio.sleep(0)  # the bus is being asked
        assert world.wire.asked == 1
        world.call(":4.1", "small")
        await world.settle()
        assert ":4.1" in world.remembered
        assert len(world.remembered) <= 2
        await world.turns.close()

    asyncio.run(run())
