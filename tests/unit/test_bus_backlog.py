"""What is much is told in turns, in order, and what is little at once."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

pytest.importorskip("dbus_next")

from streamd.bus.backlog import Backlog


def test_others_get_their_turns_and_the_order_is_kept() -> None:
    told: list[object] = []

    async def check() -> None:
        backlog = Backlog()
        backlog.do(partial(told.append, number) for number in range(20))
        assert told == list(range(20)), "it is told at once"
        backlog.do(partial(told.append, number) for number in range(20, 220))
        assert told == list(range(70))
        asyncio.get_running_loop().call_soon(told.append, "another")
        backlog.do([partial(told.append, 220)])
        while 220 not in told:  # noqa: ASYNC110 (turns of the loop are what this is about)
            await asyncio.sleep(0)
        backlog.do([partial(told.append, 221)])

    asyncio.run(check())
    assert [it for it in told if it != "another"] == list(range(222))
    assert told.index("another") < 200


def test_what_is_dropped_is_not_told() -> None:
    told: list[int] = []

    async def check() -> None:
        backlog = Backlog()
        backlog.do(partial(told.append, number) for number in range(200))
        backlog.drop()
        await asyncio.sleep(0)
        backlog.do([partial(told.append, 200)])

    asyncio.run(check())
    assert told == [*range(50), 200]
