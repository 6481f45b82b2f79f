"""Watches for losses: takes samples of the inputs in turn, and reads the kernel's counts of what it threw away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from streamd.host.accounting import group_numbers
from streamd.host.sampler import SECONDS, sample
from streamd.host.sockets import dropped
from streamd.plan.health import Verdict
from streamd.plan.losses import Losses
from streamd.plan.status import RouteStatus, State, Status

_LOG: Final = logging.getLogger(__name__)
_ROUND: Final = 5.0
"""Seconds between two samples of the same input, where there is time for all in that."""
_COUNT_PERIOD: Final = 10.0
"""Seconds between two looks at the kernel's counts."""
_NONE: Final = Losses()


class LossWatch:
    """What was lost of each unit that is up. Time is µs of the monotonic clock unless said."""

    def __init__(self, status: Callable[[], Status]) -> None:
        """Take what tells the latest status, whose running inputs are looked at."""
        self._status = status
        self._known: dict[str, tuple[str, Losses]] = {}
        """By unit: its invocation, and what was lost of that."""
        self._warnings: dict[str, str] = {}
        """By unit."""
        self._last = ""
        """The route of the latest sample."""
        self._complaints: set[str] = set()
        """What was logged already."""

    async def run(self) -> None:
        """Watch for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sample_for_ever())
            tasks.create_task(self._count_for_ever())

    def tick(self) -> bool:
        """Forget what is gone, and tell whether a warning differs from the last."""
        now = _now()
        up = {thing.unit.unit: thing.unit.invocation for thing in self._status().things()}
        self._known = {name: known for name, known in self._known.items() if up.get(name) == known[0]}
        warnings = {name: text for name, (_, losses) in self._known.items() if (text := losses.warning(now))}
        changed = warnings != self._warnings
        self._warnings = warnings
        return changed

    @property
    def garbage(self) -> frozenset[str]:
        """Return the units of the inputs that bring something else than a transport stream."""
        return frozenset(name for name, (_, losses) in self._known.items() if losses.is_garbage)

    def warn(self, verdicts: Mapping[str, Verdict]) -> Mapping[str, Verdict]:
        """Return the verdicts with a warning as the cause of what runs and loses."""
        return {
            name: replace(verdict, cause=text)
            if verdict.state is State.RUNNING and (text := self._warnings.get(name))
            else verdict
            for name, verdict in verdicts.items()
        }

    def counted(self, unit: str) -> Losses:
        """Return what was lost of a unit; nothing is known of one that is not up."""
        known = self._known.get(unit)
        return known[1] if known else _NONE

    async def _sample_for_ever(self) -> None:
        while True:
            began = time.monotonic()
            routes = [route for route in self._status().routes if self._is_heard(route)]
            if routes:
                await self._sample(self._next(routes))
            # One at a time, and each as long as a sample may last: the cost is that of one, however many there are.
            pause = max(SECONDS, _ROUND / max(1, len(routes)))
            await asyncio.sleep(max(0.0, began + pause - time.monotonic()))

    def _is_heard(self, route: RouteStatus) -> bool:
        # One that brings garbage is listened to until it does not any more.
        return bool(route.group) and (route.state is State.RUNNING or route.unit.unit in self.garbage)

    def _next(self, routes: list[RouteStatus]) -> RouteStatus:
        """Return the route that comes after the last, by name."""
        by_name = {route.name: route for route in routes}
        name = min((name for name in by_name if name > self._last), default=min(by_name))
        self._last = name
        return by_name[name]

    async def _sample(self, route: RouteStatus) -> None:
        group, _, port = route.group.partition(":")
        try:
            tally = await sample(group, int(port))
        except OSError as error:
            self._complain(f"cannot look at samples of {route.name}'s stream on {route.group}: {error.strerror}")
            return
        key = (route.unit.unit, route.unit.invocation)
        if tally is not None and key in self._invocations():
            self._known[key[0]] = (key[1], self._losses(*key).after_sample(tally, _now()))

    async def _count_for_ever(self) -> None:
        while True:
            await self._count()
            await asyncio.sleep(_COUNT_PERIOD)

    async def _count(self) -> None:
        invocations = dict(self._invocations())
        try:
            # Some milliseconds where there are thousands of units.
            counts = await asyncio.to_thread(_drops, list(invocations))
        except OSError as error:
            self._complain(f"how many datagrams the kernel throws away is not known: {error}")
            return
        still = set(self._invocations())
        for name, count in counts.items():
            key = (name, invocations[name])
            if key in still:
                self._known[name] = (key[1], self._losses(*key).after_count(count, _now()))

    def _invocations(self) -> Iterator[tuple[str, str]]:
        """Yield each unit that is up, with its invocation."""
        for thing in self._status().things():
            if thing.unit.pid:
                yield thing.unit.unit, thing.unit.invocation

    def _losses(self, name: str, invocation: str) -> Losses:
        known, losses = self._known.get(name, ("", Losses()))
        return losses if known == invocation else Losses()

    def _complain(self, text: str) -> None:
        """Log it once."""
        if text not in self._complaints:
            self._complaints.add(text)
            _LOG.warning("%s; streams run, but their losses are not shown", text)


def _now() -> int:
    return time.monotonic_ns() // 1000


def _drops(units: list[str]) -> dict[str, int]:
    """Return by unit how many datagrams its sockets lost."""
    numbers = group_numbers(units)
    return {numbers[number]: count for number, count in dropped().items() if number in numbers}
