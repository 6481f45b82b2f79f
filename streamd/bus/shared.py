"""What takes long to find out and many may ask for: made once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

_RECENT: Final = 1.0
"""Seconds for which counters are kept: FFmpeg reports them once a second."""
_AHEAD: Final = 0.75
"""Seconds after which the next ones are made for those who are about to ask again."""
_KEEN: Final = 2.5
"""Seconds between two askings that make a third likely."""

T = TypeVar("T")


class Shared(Generic[T]):
    """What takes long and everybody may ask for: it is made once at a time, however many ask."""

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make_one = make
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[T] | None = None
        self._tasks: set[asyncio.Task[T]] = set()

    async def next(self) -> T:
        """Return one whose making began after this was called. Raises: ControlError."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._make())
            self._tasks.add(self._next)
            self._next.add_done_callback(self._tasks.discard)
        return await asyncio.shield(self._next)

    async def _make(self) -> T:
        async with self._lock:
            self._next = None
            return await self._make_one()

    async def close(self) -> None:
        """End what is under way."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Making(Generic[T]):
    task: asyncio.Task[T]
    began: float
    """On the loop's clock."""


class Recent(Generic[T]):
    """What changes once a second: it is kept for so long, and never made twice at a time.

    While it is asked for again and again, the next is made before the last is too old, so that nobody waits for it.
    """

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        """Take what makes one."""
        self._make = make
        self._latest: _Making[T] | None = None
        self._next: _Making[T] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._asked = -_KEEN
        self._is_keen = False
        self._tasks: set[asyncio.Task[T]] = set()

    async def get(self) -> T:
        """Return one whose making began less than a second ago. Raises: ControlError."""
        now = asyncio.get_running_loop().time()
        self._is_keen = now - self._asked <= _KEEN
        self._asked = now
        if self._latest is None or now - self._latest.began > _RECENT:
            self._latest, self._next = self._next or self._begin(), None
        self._look_ahead()
        return await asyncio.shield(self._latest.task)

    def _begin(self) -> _Making[T]:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._made())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return _Making(task, loop.time())

    async def _made(self) -> T:
        return await self._make()

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        failed = task.cancelled() or task.exception() is not None
        if self._next is not None and self._next.task is task:
            if not failed:
                self._latest = self._next
                self._look_ahead()
            # Otherwise whoever asks when the last is too old is told why there is no other.
            self._next = None
        elif failed and self._latest is not None and self._latest.task is task:
            self.forget()

    def _look_ahead(self) -> None:
        """Have the next made in time, if somebody is likely to ask for it."""
        if self._is_keen and self._timer is None and self._latest is not None:
            self._timer = asyncio.get_running_loop().call_at(self._latest.began + _AHEAD, self._make_next)

    def _make_next(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        if self._latest is None or now - self._asked > _KEEN:
            return
        if self._latest.task.done() and self._next is None:
            self._next = self._begin()

    def forget(self) -> None:
        """Keep none, since what it tells of is another."""
        self._latest = self._next = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def close(self) -> None:
        """End what is under way."""
        self.forget()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
