"""A look at all units lets others have their turns, and what it finds is never of units that are there no longer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection
from typing import Any, cast

import pytest

from streamd.host.progress import ProgressChannel
from streamd.host.vitals import Ward
from streamd.plan.address import Address
from streamd.plan.observed import Details, Observed, ObservedUnit
from streamd.plan.patient import Patient
from streamd.plan.status import State, UnitStatus

MANY = 250


class Channel:
    """Everybody reports whenever it is asked, each time with more bytes."""

    opened_at = 1

    def __init__(self) -> None:
        self.channels: Collection[str] = ()
        self._total = 0

    def read(self) -> dict[bytes, bytes]:
        self._total += 1000
        report = f"total_size={self._total}\nout_time_us=0\nprogress=continue\n".encode()
        return {socket.inet_aton(channel): report for channel in self.channels}


class Journal:
    """No lines; whoever asks for those of an invocation waits until he may go on."""

    on_line: Any = None

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()

    def lines(self, unit: str, invocation: str) -> tuple[str, ...]:
        return ()

    def last_invocation(self, unit: str, *, but: str) -> str:
        return ""

    async def recall(self, invocation: str) -> tuple[str, ...]:
        self.asked.set()
        await self.go_on.wait()
        return ()

    def forget(self, others_than: Collection[str]) -> None:
        pass


class World:
    """A ward with an ingest and outputs that are up."""

    def __init__(self) -> None:
        self.channel = Channel()
        self.journal = Journal()
        self.ward = Ward(cast("ProgressChannel", self.channel), self.journal)

    async def admit(self, addresses: Collection[Address], failed: Collection[Address] = ()) -> None:
        known = {address: f"127.64.{number // 250}.{number % 250}" for number, address in enumerate(addresses)}
        self.channel.channels = known.values()
        units = [ObservedUnit(name=it.unit, active="failed" if it in failed else "active") for it in addresses]
        await self.ward.admit(
            [
                Patient(address=address, channel=channel, kind="udp", is_listener=False, stall_timeout=0)
                for address, channel in known.items()
            ],
            Observed(units={unit.name: unit for unit in units}),
            {it.unit: Details(status=UnitStatus(unit=it.unit, invocation="1"), active_since=1) for it in addresses},
            (),
            {},
        )


ALL = [Address("a"), *(Address("a", f"x{number}") for number in range(MANY))]


def test_others_have_their_turns_while_many_are_looked_at() -> None:
    async def run() -> None:
        world = World()
        await world.admit(ALL)
        look = asyncio.ensure_future(world.ward.tick())
        turns = 0
        while not look.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns >= 2 * MANY // 100
        assert await look, "they began to run"
        assert {verdict.state for verdict in world.ward.verdicts.values()} == {State.RUNNING}
        assert len(world.ward.verdicts) == len(ALL)
        assert not await world.ward.tick(), "nothing has changed since"

    asyncio.run(run())


def test_a_look_at_once_lets_nobody_in_between() -> None:
    async def run() -> None:
        world = World()
        await world.admit(ALL)
        with pytest.raises(StopIteration) as end:
            world.ward.tick(at_once=True).send(None)  # it would return where it waits
        assert end.value.value
        assert len(world.ward.verdicts) == len(ALL)

    asyncio.run(run())


def test_a_look_that_is_overtaken_says_nothing() -> None:
    async def run() -> None:
        world = World()
        await world.admit(ALL)
        look = asyncio.ensure_future(world.ward.tick())
        await asyncio.sleep(0)
        few = ALL[:3]
        await world.admit(few)
        assert await world.ward.tick(at_once=True)
        assert not await look
        assert world.ward.verdicts.keys() == {address.unit for address in few}

    asyncio.run(run())


def test_a_unit_that_is_no_longer_watched_may_be_up_while_one_that_failed_is_looked_at() -> None:
    async def run() -> None:
        world = World()
        await world.admit(ALL[:3])
        admission = asyncio.ensure_future(world.admit([ALL[0], ALL[2]], failed=[ALL[2]]))
        await world.journal.asked.wait()
        await world.ward.tick()
        assert ALL[1].unit not in world.ward.verdicts
        world.journal.go_on.set()
        await admission

    asyncio.run(run())
