"""What many ask for is made once, and before those who ask again and again would have to wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

pytest.importorskip("dbus_next")

from streamd.bus.shared import Recent


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock goes only when it is told to."""

    now = 100.0

    def time(self) -> float:
        return self.now

    async def go(self, seconds: float) -> None:
        """Let time pass, and all that is then due be done."""
        for _ in range(round(seconds * 100)):
            self.now += 0.01
            for _ in range(5):
                await asyncio.sleep(0)


class Maker:
    """Makes numbers, each of which takes a while."""

    def __init__(self, loop: Loop) -> None:
        self.made = 0
        self.began: list[float] = []
        self.error: Exception | None = None
        self._loop = loop

    async def make(self) -> int:
        self.began.append(self._loop.now)
        await asyncio.sleep(0.1)
        if self.error:
            raise self.error
        self.made += 1
        return self.made


def in_time(test: Callable[[Loop, Maker, Recent[int]], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        loop = Loop()

        async def whole() -> None:
            maker = Maker(loop)
            recent = Recent(maker.make)
            await test(loop, maker, recent)
            await recent.close()
            began = len(maker.began)
            await loop.go(5)
            assert len(maker.began) == began, "it is closed"

        try:
            loop.run_until_complete(whole())
        finally:
            loop.close()

    return run


async def ask(loop: Loop, recent: Recent[int], seconds: float = 0.0) -> int:
    """Ask, and let so much time pass until the answer."""
    task = loop.create_task(recent.get())
    await loop.go(seconds)
    if not task.done():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert task.done(), "it had to wait"
    return task.result()


@in_time
async def test_who_asks_once_has_one_made(loop: Loop, maker: Maker, recent: Recent[int]) -> None:
    assert await ask(loop, recent, 0.2) == 1
    await loop.go(10)
    assert await ask(loop, recent, 0.2) == 2
    await loop.go(10)
    assert len(maker.began) == 2


@in_time
async def test_who_asks_each_second_waits_at_the_first_time_alone(
    loop: Loop, maker: Maker, recent: Recent[int]
) -> None:
    await ask(loop, recent, 0.2)
    await loop.go(0.7)
    for _ in range(20):
        before = len(maker.began)
        await ask(loop, recent)
        assert loop.now - maker.began[maker.made - 1] <= 1.0, "it is of the last second"
        await loop.go(1.0)
        assert len(maker.began) - before <= 2
    await loop.go(5)
    began = len(maker.began)
    await loop.go(10)
    assert len(maker.began) == began, "nobody asks any more"


@in_time
async def test_one_that_fails_is_not_kept_and_not_tried_without_end(
    loop: Loop, maker: Maker, recent: Recent[int]
) -> None:
    await ask(loop, recent, 0.2)
    await ask(loop, recent)
    maker.error = ValueError("no")
    await loop.go(0.9)
    assert len(maker.began) == 2
    with pytest.raises(ValueError, match="no"):
        await ask(loop, recent, 0.2)
    assert len(maker.began) == 3
    maker.error = None
    assert await ask(loop, recent, 0.2) == 2


@in_time
async def test_what_is_of_another_moment_is_not_told(loop: Loop, maker: Maker, recent: Recent[int]) -> None:
    await ask(loop, recent, 0.2)
    await ask(loop, recent)
    await loop.go(0.6)
    assert len(maker.began) == 2, "the next is being made"
    recent.forget()
    await loop.go(0.2)
    assert await ask(loop, recent, 0.2) == 3
