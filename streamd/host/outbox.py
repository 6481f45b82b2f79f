"""A queue of bounded length that is emptied at leisure, so that what is put into it waits for nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

_LOG: Final = logging.getLogger(__name__)
_T = TypeVar("_T")


class Outbox(Generic[_T]):
    """A queue whose oldest things are dropped when it is full, and some tasks that empty it, a batch at a time."""

    def __init__(
        self,
        carry: Callable[[list[_T]], Awaitable[None]],
        on_full: Callable[[], None],
        *,
        longest: int,
        at_once: int,
        batch: int,
    ) -> None:
        """Make an empty one.

        Args:
            carry: carries things out.
            on_full: is called when things begin to be dropped, and not again before the queue was empty.
            longest: things that may wait.
            at_once: tasks that carry.
            batch: things that one of them takes at most.
        """
        self._carry = carry
        self._on_full = on_full
        self._at_once = at_once
        self._batch = batch
        self._queue: deque[_T] = deque(maxlen=longest)
        self._tasks: set[asyncio.Task[None]] = set()
        self._overflows = False

    def put(self, thing: _T) -> None:
        """Add something, and see to it that it is carried out."""
        if len(self._queue) == self._queue.maxlen and not self._overflows:
            self._overflows = True
            self._on_full()
        self._queue.append(thing)
        if len(self._tasks) < self._at_once:
            task = asyncio.get_running_loop().create_task(self._empty())
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _empty(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
            try:
                await self._carry(batch)
            except Exception as error:  # noqa: BLE001 (what failed must not keep the rest from its turn)
                _LOG.error("what was put aside could not be done: %s", error, exc_info=error)
        self._overflows = False

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)

    async def close(self) -> None:
        """End what is under way, and forget what waits."""
        self._queue.clear()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
