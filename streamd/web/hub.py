"""The gateway's picture of the daemon: fetched once for everybody, whenever something has changed.

An event carries no data: a notice says that something changed, and what there is then is fetched as a whole. That is at
most a few times a second, however much changes and however many follow.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from streamd.bus.client import ClientError
from streamd.bus.document import Document
from streamd.bus.notice import Left
from streamd.web.link import Link
from streamd.web.mirror import History, View, changes

_LOG: Final = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often what is done; all in seconds."""

    settle: float = 0.1
    """What changes within that time is fetched together."""
    pause: float = 0.3
    """Between two looks at everything; at least four times as long as one takes."""
    count: float = 2.0
    """Between two looks at the counters, while somebody follows."""
    recent: float = 1.0
    """For how long counters are good."""
    retry: float = 2.0
    """Between two tries while there is no daemon."""
    first: float = 5.0
    """How long a request waits for the first look."""
    beat: float = 15.0
    """After that long without anything a follower is told that the connection stands."""
    check: float = 2.0
    """How often it is seen to that a follower's key is still one."""


@dataclass(frozen=True, slots=True)
class Told:
    """One event for a follower. `id` is empty where it is nothing to come back to."""

    event: str
    text: str
    """JSON."""
    id: str = ""


def encode(data: object) -> str:
    """Return a value as JSON in one line."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


class Hub:
    """Follows the daemon while `run` runs."""

    def __init__(self, link: Link, epoch: str, pace: Pace | None = None) -> None:
        """Take the way to the daemon, and what tells the events of this process from those of another."""
        self._link = link
        self._pace = pace or Pace()
        self.view = View()
        self.history = History(epoch)
        self._known = asyncio.Event()
        self._dirty = asyncio.Event()
        self._wake = asyncio.Event()
        self._followers = 0
        self._wanted = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._counting: asyncio.Task[Mapping[str, Document]] | None = None
        self._counted: Mapping[str, Document] = {}
        self._counted_at = -1e9
        self._counts = 0
        self._closed = False

    @property
    def followers(self) -> int:
        """Return how many follow."""
        return self._followers

    async def run(self) -> None:
        """Follow the daemon until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_daemon())
                tasks.create_task(self._keep_looking())
                tasks.create_task(self._keep_counting())
        finally:
            under_way = [task for task in (self._looking, self._counting) if task is not None]
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    def close(self) -> None:
        """Let all followers go, and take no more."""
        self._closed = True
        self._stir()

    async def current(self) -> View:
        """Return what is known; right after the start, wait for the first look."""
        try:
            async with asyncio.timeout(self._pace.first):
                await self._known.wait()
        except TimeoutError:
            pass  # what is known says that the daemon does not run
        return self.view

    async def look(self) -> None:
        """See what there is now, so that whoever made a change finds it. Raises: ClientError."""
        if self._looking is not None:  # that one may have begun before the change
            await asyncio.wait([self._looking])
        if self._looking is None or self._looking.done():
            self._looking = _started(self._look())
        await asyncio.shield(self._looking)

    async def statistics(self) -> Mapping[str, Document]:
        """Return the counters by address, of a second ago at the most. Raises: ClientError."""
        if time.monotonic() - self._counted_at < self._pace.recent:
            return self._counted
        if self._counting is None or self._counting.done():
            self._counting = _started(self._count())
        return await asyncio.shield(self._counting)

    async def follow(self, since: str, allowed: Callable[[], bool]) -> AsyncGenerator[Told, None]:
        """Yield what there is and what changes, until it is not allowed any more.

        Args:
            since: the id of the last event that the follower has seen; empty for a new one.
            allowed: tells whether it may still follow.
        """
        number = self.history.number(since) if since else None
        counts = 0
        told_at = time.monotonic()
        self._followers += 1
        self._wanted.set()
        try:
            while allowed() and not self._closed:
                wake = self._wake
                missed = None if number is None else self.history.since(number)
                told: list[Told] = []
                if missed is None:
                    number = self.history.last
                    told.append(Told("snapshot", _snapshot(self.view), self.history.name(number)))
                else:
                    for number, change in missed:
                        told.append(Told(change.event, encode(change.data), self.history.name(number)))
                if counts != self._counts:
                    counts = self._counts
                    told.append(Told("statistics", encode(list(self._counted.values()))))
                if not told and time.monotonic() - told_at >= self._pace.beat:
                    told.append(Told("beat", "{}"))
                for each in told:
                    yield each
                    told_at = time.monotonic()
                if not told:
                    await _within(wake.wait(), self._pace.check)
        finally:
            self._followers -= 1
            if not self._followers:
                self._wanted.clear()

    async def _follow_daemon(self) -> None:
        reason = ""
        while True:
            try:
                async with aclosing(self._link.watch()) as notices:
                    async for notice in notices:
                        reason = ""
                        if isinstance(notice, Left):
                            self._show(replace(self.view, running=False))
                        else:
                            self._dirty.set()
            except ClientError as error:
                if str(error) != reason:
                    reason = str(error)
                    _LOG.info("%s", reason)
            self._show(replace(self.view, running=False))
            await asyncio.sleep(self._pace.retry)

    async def _keep_looking(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(self._pace.settle)
            self._dirty.clear()
            began = time.monotonic()
            try:
                await self.look()
            except ClientError as error:
                _LOG.debug("a look failed: %s", error)
                if self.view.running:  # it is not gone, so nobody else says that it is time to look again
                    self._dirty.set()
            await asyncio.sleep(max(self._pace.pause, 4 * (time.monotonic() - began)))

    async def _keep_counting(self) -> None:
        while True:
            await self._wanted.wait()
            if self.view.running:
                try:
                    await self.statistics()
                except ClientError as error:
                    _LOG.debug("counting failed: %s", error)
            await asyncio.sleep(self._pace.count)

    async def _look(self) -> None:
        client = await self._link.client()
        self._show(View.of(await client.status()))

    async def _count(self) -> Mapping[str, Document]:
        client = await self._link.client()
        found = await client.statistics()
        self._counted = {each["address"]: each for each in found}
        self._counted_at = time.monotonic()
        self._counts += 1
        self._stir()
        return self._counted

    def _show(self, view: View) -> None:
        self._known.set()
        told = list(changes(self.view, view))
        self.view = view
        for change in told:
            self.history.add(change)
        if told:
            self._stir()

    def _stir(self) -> None:
        wake, self._wake = self._wake, asyncio.Event()
        wake.set()


def _snapshot(view: View) -> str:
    found: dict[str, Any] = {
        "running": view.running,
        "version": view.version,
        "things": list(view.things.values()),
        "diagnostics": list(view.diagnostics),
    }
    return encode(found)


def _started(work: Coroutine[None, None, T]) -> asyncio.Task[T]:
    """Start what several may wait for; where nobody does any more, its error is nobody's."""
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


async def _within(work: Awaitable[T], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        pass
