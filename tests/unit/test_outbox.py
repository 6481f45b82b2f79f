"""What is put aside: bounded, in order, in batches, and never lost over one that fails."""

from __future__ import annotations

import asyncio
import logging

import pytest

from streamd.host.outbox import Outbox


class Carrier:
    """Carries when it is let."""

    def __init__(self, *, at_once: int = 1, batch: int = 1, longest: int = 5) -> None:
        self.batches: list[list[int]] = []
        self.busy = 0
        self.most = 0
        self.full = 0
        self.gate = asyncio.Event()
        self.fail = False
        self.box = Outbox(self.carry, self.on_full, longest=longest, at_once=at_once, batch=batch)

    def on_full(self) -> None:
        self.full += 1

    async def carry(self, things: list[int]) -> None:
        self.batches.append(things)
        self.busy += 1
        self.most = max(self.most, self.busy)
        await self.gate.wait()
        self.busy -= 1
        if self.fail:
            raise RuntimeError("no")

    async def settle(self) -> None:
        for _ in range(100):
            await asyncio.sleep(0)


def test_the_oldest_are_dropped_and_that_is_told_once() -> None:
    async def run() -> Carrier:
        carrier = Carrier()
        carrier.box.put(0)
        await carrier.settle()
        for number in range(1, 21):
            carrier.box.put(number)
        carrier.gate.set()
        await carrier.settle()
        return carrier

    carrier = asyncio.run(run())
    assert carrier.batches == [[0], [16], [17], [18], [19], [20]]
    assert carrier.full == 1


def test_it_is_told_again_after_it_was_empty() -> None:
    async def run() -> Carrier:
        carrier = Carrier(longest=1)
        for _ in range(2):
            carrier.gate.clear()
            for number in range(4):
                carrier.box.put(number)
            carrier.gate.set()
            await carrier.settle()
        return carrier

    assert asyncio.run(run()).full == 2


def test_some_are_carried_at_once_in_batches() -> None:
    async def run() -> Carrier:
        carrier = Carrier(at_once=2, batch=3, longest=50)
        for number in range(12):
            carrier.box.put(number)
        await carrier.settle()
        carrier.gate.set()
        await carrier.settle()
        return carrier

    carrier = asyncio.run(run())
    assert carrier.most == 2
    assert carrier.batches == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]


def test_one_that_fails_keeps_nobody_from_his_turn(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> Carrier:
        carrier = Carrier()
        carrier.fail = True
        carrier.gate.set()
        for number in range(3):
            carrier.box.put(number)
        await carrier.settle()
        return carrier

    assert asyncio.run(run()).batches == [[0], [1], [2]]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3


def test_at_the_end_nothing_is_under_way() -> None:
    async def run() -> Carrier:
        carrier = Carrier()
        carrier.box.put(1)
        carrier.box.put(2)
        await carrier.settle()
        await carrier.box.close()
        assert len(asyncio.all_tasks()) == 1
        return carrier

    assert asyncio.run(run()).batches == [[1]]
