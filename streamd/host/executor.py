"""The executor: carries out the steps of a plan, in an order in which hardly anybody finds his port taken."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from streamd.host import journal
from streamd.host.credentials import write_preset
from streamd.host.store import Store
from streamd.host.systemd import Systemd, SystemdError
from streamd.plan.address import Address
from streamd.plan.desired import Desired
from streamd.plan.observed import Observed, ObservedUnit
from streamd.plan.pace import Pace
from streamd.plan.step import Action, Step
from streamd.plan.unit import DesiredUnit

_LOG: Final = logging.getLogger(__name__)
RETRY: Final = 5.0
"""Seconds until a step that failed is tried again."""
_TURNS: Final = 16
"""Restarts under way at once. systemd stops many more in a second than it starts: if all were stopped first, each of
hundreds would be down until it has started the others."""


class Executor:
    """Carries out steps and remembers which of them failed."""

    def __init__(self, systemd: Systemd, store: Store, credentials: Path) -> None:
        """Take the edges; `credentials` is the directory of the secrets."""
        self._systemd = systemd
        self._store = store
        self._credentials = credentials
        self._problems: dict[str, str] = {}
        self._retry_at: dict[str, float] = {}
        self._turns = asyncio.Semaphore(_TURNS)
        self._spared: set[str] = set()
        self._is_closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def problems(self) -> Mapping[str, str]:
        """Return by unit name why its last step failed."""
        return self._problems

    def retry_now(self, addresses: Iterable[Address]) -> None:
        """Let the next pass try again what failed, whenever that was: an operator asks."""
        for address in addresses:
            self._retry_at.pop(address.unit, None)

    def forget_mended(self, desired: Desired, observed: Observed) -> None:
        """Forget the problems of units that are now as they should be, or that nobody wants any more."""
        for name in list(self._problems):
            if not _still_wrong(desired.units.get(name), observed.units.get(name)):
                self._forget(name)

    async def close(self, within: float) -> None:
        """Begin nothing more, and wait for what has begun: what was stopped to be made anew is to run again.

        Otherwise it would be missing until the next daemon, which after `systemctl stop streamd` may not come for long.

        Args:
            within: seconds after which it is left as it is.
        """
        self._is_closed = True
        try:
            await asyncio.wait_for(self._idle.wait(), within)
        except TimeoutError:
            _LOG.warning("not all that was to be made anew has been started within %.0f s; the end comes first", within)

    async def carry_out(self, steps: Iterable[Step], slow: Collection[str] = ()) -> None:
        """Carry out the steps: all at once, but in turns whatever is restarted and binds no port.

        Whoever binds one starts when all that is not in turns has stopped.

        Only one call at a time.

        Args:
            steps: what to do.
            slow: names of units that systemd is to restart slowly when they end; whatever else is started, quickly.
        """
        self._idle.clear()
        try:
            await self._carry_out(steps, slow)
        finally:
            self._idle.set()

    async def _carry_out(self, steps: Iterable[Step], slow: Collection[str]) -> None:
        now = asyncio.get_running_loop().time()
        steps = [step for step in steps if step.action is not Action.KEEP]
        # A start that failed stirs systemd's signals, and so would try itself again at once and for ever.
        due = [step for step in steps if step.action is not Action.START or self._is_due(step, now)]
        ready = [step for step in due if self._prepare(step)]
        stopping = {step.address.unit for step in ready if step.action in (Action.STOP, Action.RESTART)}
        # Taken off first: were the daemon killed in between, a stop of ours would look like an operator's.
        marked = self._store.started & stopping
        self._store.keep_started(self._store.started - stopping)
        # Who binds a port may have it from one of its own route that gives it up.
        claimed = {step.address.route for step in ready if step.unit is not None and step.unit.has_claim}
        rolling = sorted(filter(_rolls, ready), key=lambda step: step.address.route not in claimed)
        others = [step for step in ready if not _rolls(step)]
        stops = {
            step.address.unit: asyncio.create_task(self._stop(step)) for step in others if step.address.unit in stopping
        }
        begun = await asyncio.gather(
            *(self._begin(step, stops, slow) for step in others), *(self._roll(step, slow) for step in rolling)
        )
        started = frozenset(name for name in begun if name)
        self._store.keep_started(self._store.started | started | (marked & self._spared))
        self._store.keep_slow((self._store.slow - started) | (started & frozenset(slow)))

    def _is_open(self) -> bool:
        return not self._is_closed

    def _is_due(self, step: Step, now: float) -> bool:
        return self._retry_at.get(step.address.unit, 0) <= now

    def _prepare(self, step: Step) -> bool:
        """Write the unit's secrets; where that fails, what runs keeps running."""
        if step.unit is None or not step.unit.command.preset or step.action is Action.ADJUST:
            return True
        problem = write_preset(step.unit, self._credentials)
        if problem:
            self._fail(step, problem)
        return not problem

    async def _stop(self, step: Step) -> bool:
        try:
            if not await self._systemd.stop(step.address.unit, self._is_open):
                self._spare(step)
                return False
        except SystemdError as error:
            self._fail(step, str(error))
            return False
        if step.action is Action.STOP:
            self._tell("stopped", step)
        return True

    async def _roll(self, step: Step, slow: Collection[str]) -> str:
        """Restart a unit that binds no port, in its turn; return its name if it was started.

        One that bound a port until now leaves it in its turn too: who is to have it may find it taken until then, and
        is tried again by systemd.
        """
        async with self._turns:
            return await self._start(step, slow) if await self._stop(step) else ""

    async def _begin(self, step: Step, stops: Mapping[str, asyncio.Task[bool]], slow: Collection[str]) -> str:
        """Start or change a unit when its turn has come; return its name if it was started."""
        own = stops.get(step.address.unit)
        if own is not None and not await own:
            return ""
        if step.unit is not None and step.unit.has_claim and step.action is not Action.ADJUST:
            await asyncio.gather(*stops.values())
        return await self._start(step, slow)

    async def _start(self, step: Step, slow: Collection[str]) -> str:
        unit = step.unit
        if unit is None:
            return ""
        if step.action is Action.ADJUST:
            await self._adjust(step, unit)
            return ""
        pace = Pace.SLOW if unit.name in slow else Pace.QUICK
        properties = unit.properties(self._systemd.version, pace, made=time.time_ns() // 1000)
        # What has been stopped for it is started whatever comes.
        wanted = None if step.action is Action.RESTART else self._is_open
        try:
            if not await self._systemd.start(unit.name, properties, wanted):
                self._spare(step)
                return ""
        except SystemdError as error:
            self._fail(step, str(error))
            return ""
        self._tell("restarted" if step.action is Action.RESTART else "started", step)
        return unit.name

    async def _adjust(self, step: Step, unit: DesiredUnit) -> None:
        try:
            await self._systemd.set_properties(unit.name, unit.live_properties())
        except SystemdError as error:
            self._fail(step, str(error))
        else:
            self._tell("adjusted", step)

    def _spare(self, step: Step) -> None:
        """Leave a step to the next daemon; whoever waits for it is told."""
        self._problems[step.address.unit] = "streamd is being stopped"
        self._spared.add(step.address.unit)

    def _fail(self, step: Step, problem: str) -> None:
        name = step.address.unit
        self._retry_at[name] = asyncio.get_running_loop().time() + RETRY
        if self._problems.get(name) != problem:
            self._problems[name] = problem
            _LOG.error("%s: %s", step.address, problem, extra=journal.fields(journal.UNIT_REFUSED, step.address))

    def _tell(self, what: str, step: Step) -> None:
        self._forget(step.address.unit)
        extra = journal.fields(journal.UNIT_PLANNED, step.address)
        _LOG.info("%s %s: %s", what, step.address, step.reason, extra=extra)

    def _forget(self, name: str) -> None:
        self._problems.pop(name, None)
        self._retry_at.pop(name, None)


def _rolls(step: Step) -> bool:
    return step.action is Action.RESTART and step.unit is not None and not step.unit.has_claim


def _still_wrong(desired: DesiredUnit | None, observed: ObservedUnit | None) -> bool:
    """Tell whether a unit whose step failed is still not as it should be."""
    if desired is None:
        return False
    return observed is None or observed.active != "active" or observed.fingerprint != desired.fingerprint
