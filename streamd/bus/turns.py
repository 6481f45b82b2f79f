"""Whose call is next: every client has a queue, and the queues take turns.

So a client that asks a thousand times, or asks for everything all the time, delays the others by one call at most. And
by one large reply at most: those go over the same wire as all others, so the next one is made only when the bus has
taken the last.
What is held for one client has a limit, and so has what the bus holds for one that does not read its replies: the bus
counts those bytes as ours, and at 127 MB it would stop listening to us altogether.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Final

from streamd.bus.connection import BusError, Connection, Message, MessageFlag
from streamd.bus.names import DBUS, DBUS_ERROR, DBUS_PATH

_LOG: Final = logging.getLogger(__name__)
_STATS: Final = f"{DBUS}.Debug.Stats"
_QUEUED_CALLS: Final = 4096
_QUEUED_BYTES: Final = 4 << 20
"""Of one client's calls that wait for their turn."""
_QUEUED_BYTES_ALL: Final = 64 << 20
_UNDER_WAY: Final = 32
"""Calls of one client that may be in a task of their own."""
_UNREAD: Final = 4 << 20
"""Bytes sent to a client before the bus is asked whether it reads them."""
_BACKLOG: Final = 8 << 20
"""Bytes that the bus does not take from us before nobody gets an answer any more."""
_LARGE: Final = 64 << 10
"""Bytes of a reply that take the bus more than a moment. Who got one will likely get another."""
_CALLERS: Final = 256
"""Clients that are remembered before the bus is asked which of them are gone: each streamctl is one, and goes."""
_CALLERS_MOST: Final = 4096
_LOOK_FIRST: Final = 0.05
"""Seconds until the bus is asked again whether a client reads; doubles up to the next."""
_LOOK_LAST: Final = 5.0


@dataclass(slots=True, eq=False)
class Caller:
    """One client."""

    name: str
    queue: deque[tuple[Message, int]] = field(default_factory=deque)
    queued: int = 0
    """Bytes in the queue."""
    under_way: int = 0
    """Calls in a task of their own."""
    unread: int = 0
    """Bytes sent to it since it was last known to have read everything."""
    large: bool = False
    """Whether the last reply sent to it was."""
    held: bool = False
    """Whether it must first read what it was sent."""

    @property
    def busy(self) -> bool:
        """Return whether it has too many calls under way."""
        return self.under_way >= _UNDER_WAY

    @property
    def idle(self) -> bool:
        """Return whether nothing of it is to be done."""
        return not (self.queue or self.under_way or self.held)


class Turns:
    """Receives all method calls and hands them on, one a turn."""

    def __init__(
        self, connection: Connection, begin: Callable[[Caller, Message], None], *, unread: int = _UNREAD
    ) -> None:
        """Take what begins a call: a plain function that must not block, and that answers through `reply`."""
        self._connection = connection
        self._begin = begin
        self._limit = unread
        self._callers: OrderedDict[str, Caller] = OrderedDict()
        self._look_at = _CALLERS
        """How many there are when the bus is asked next; 0 while it is."""
        self._ready: deque[Caller] = deque()
        self._put_off: deque[Caller] = deque()
        """Those whose turn comes when the bus has taken what was sent."""
        self._wake = asyncio.Event()
        self._queued = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._bus_tells = True

    def open(self) -> None:
        """Begin to take calls."""
        self._start(self._serve())
        self._connection.on_call = self.receive

    async def close(self) -> None:
        """Stop; calls in the queues get no answer."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def receive(self, message: Message, size: int) -> None:
        """Put a call into its caller's queue."""
        caller = self._caller(message.sender or "")
        if (
            len(caller.queue) >= _QUEUED_CALLS
            or caller.queued + size > _QUEUED_BYTES
            or self._queued + size > _QUEUED_BYTES_ALL
        ):
            if not caller.held:
                text = "too many calls at once; wait for some replies"
                self.reply(caller, message, Message.new_error(message, f"{DBUS_ERROR}.LimitsExceeded", text))
            return
        caller.queue.append((message, size))
        caller.queued += size
        self._queued += size
        if len(caller.queue) == 1 and not caller.held:
            self._make_ready(caller)

    def reply(self, caller: Caller, message: Message, reply: Message) -> None:
        """Send a reply, unless the caller wants none."""
        if not message.flags & MessageFlag.NO_REPLY_EXPECTED:
            size = self._connection.send(reply)
            caller.unread += size
            caller.large = size > _LARGE

    def _caller(self, name: str) -> Caller:
        caller = self._callers.get(name)
        if caller is None:
            caller = self._callers[name] = Caller(name)
            if self._look_at and len(self._callers) > self._look_at:
                self._look_at = 0
                self._start(self._forget_gone())
            self._forget_some()
        self._callers.move_to_end(name)
        return caller

    async def _forget_gone(self) -> None:
        asked = tuple(self._callers.values())  # who comes meanwhile may not be in the answer
        try:
            (names,) = await self._connection.call(DBUS, DBUS_PATH, DBUS, "ListNames")
        except BusError as error:
            _LOG.debug("the bus does not tell who is there: %s", error)
        else:
            there = frozenset(names)
            for caller in asked:
                if caller.name not in there and caller.idle:
                    self._callers.pop(caller.name, None)
        self._look_at = max(_CALLERS, 2 * len(self._callers))

    def _forget_some(self) -> None:
        excess = len(self._callers) - _CALLERS_MOST
        if excess > 0:
            idle = [caller.name for caller in self._callers.values() if caller.idle]
            for name in idle[:excess]:
                del self._callers[name]

    def _make_ready(self, caller: Caller) -> None:
        self._ready.append(caller)
        self._wake.set()

    async def _serve(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._ready:
                if self._connection.backlog > _BACKLOG:
                    await self._connection.drained()
                try:
                    self._turn(self._ready.popleft())
                except Exception:  # noqa: BLE001 (a call that cannot even be refused must not end all the others)
                    _LOG.exception("a call was left without an answer")
                await asyncio.sleep(0)  # what arrived meanwhile gets its place in the round

    def _turn(self, caller: Caller) -> None:
        if not caller.queue:
            return
        if self._bus_tells and caller.unread > self._limit:
            caller.held = True
            self._start(self._wait_until_read(caller))
            return
        if caller.large and self._connection.backlog > _LARGE:
            if not self._put_off:
                self._start(self._wait_until_taken())
            self._put_off.append(caller)
            return
        message, size = caller.queue.popleft()
        caller.queued -= size
        self._queued -= size
        self._begin(caller, message)
        if caller.queue:
            self._ready.append(caller)

    async def _wait_until_taken(self) -> None:
        await self._connection.drained()
        self._ready.extendleft(reversed(self._put_off))
        self._put_off.clear()
        self._wake.set()

    async def _wait_until_read(self, caller: Caller) -> None:
        pause = _LOOK_FIRST
        while (waiting := await self._waiting_for(caller)) > self._limit // 2:
            if pause == _LOOK_FIRST:
                _LOG.debug("%s does not read its replies; %d bytes wait for it", caller.name, waiting)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LOOK_LAST)
        caller.unread = waiting
        caller.held = False
        if caller.queue:
            self._make_ready(caller)

    async def _waiting_for(self, caller: Caller) -> int:
        """Return how many bytes the bus holds for a client; for one that is gone, forget it and return 0."""
        try:
            (stats,) = await self._connection.call(DBUS, DBUS_PATH, _STATS, "GetConnectionStats", "s", [caller.name])
            return int(stats["OutgoingBytes"].value)
        except BusError as error:
            if error.name == f"{DBUS_ERROR}.NameHasNoOwner":
                self._drop(caller)
            elif error.name.startswith(f"{DBUS_ERROR}.Unknown") or error.name == f"{DBUS_ERROR}.AccessDenied":
                # A bus of another make; it has limits of its own for each client.
                self._bus_tells = False
            return 0
        except (KeyError, AttributeError, TypeError, ValueError):
            self._bus_tells = False
            return 0

    def _drop(self, caller: Caller) -> None:
        self._queued -= caller.queued
        caller.queued = 0
        caller.queue.clear()
        self._callers.pop(caller.name, None)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
