"""The reconciler: read the files, look at systemd, carry out the plan, tell how it went; again when something stirs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from streamd.bus.call import quoted
from streamd.bus.control import BusyError, ControlError, InvalidConfigurationError, NotFoundError
from streamd.complaints import Complaints
from streamd.host import notify
from streamd.host.confd import CREDENTIALS_DIRECTORY, NOTHING, Supposition
from streamd.host.credentials import drop_presets, set_credential
from streamd.host.draft import Desk, DraftError
from streamd.host.editor import Editor
from streamd.host.executor import RETRY, Executor
from streamd.host.logs import LogError, last_lines
from streamd.host.mediamtx import SERVICE, MediaMtx, api_password
from streamd.host.store import Store
from streamd.host.systemd import Systemd, SystemdError
from streamd.host.vitals import Ward
from streamd.plan.address import Address, route_slice
from streamd.plan.arrival import arrived, waiting
from streamd.plan.desired import Desired
from streamd.plan.observed import Observed
from streamd.plan.pace import Pace
from streamd.plan.plan import plan
from streamd.plan.status import LogLine, Moving, State, Statistics, Status, StepView
from streamd.plan.step import Action, Step
from streamd.plan.viewers import MediaView
from streamd.reporter import Reporter
from streamd.request import raise_problems, refuse_what_cannot_run, refused, resolve
from streamd.route.change import Change, Refusal
from streamd.route.diagnostic import Diagnostic
from streamd.route.model import NO_HOOKS, Hooks, Settings
from streamd.route.parse import parse_route
from streamd.stops import Stops
from streamd.survey import Survey

_LOG: Final = logging.getLogger(__name__)

_NONE: Final[Mapping[str, str]] = {}
_FAILED: Final = frozenset({State.BLOCKED, State.FAILED})
"""What may have become possible meanwhile, though nobody tells."""


class Reconciler:
    """Implements `Control`. One pass runs at a time; whatever stirs meanwhile leads to one more."""

    def __init__(self, systemd: Systemd, store: Store, ward: Ward, publish: Callable[[Status], None]) -> None:
        """Take the edges; `publish` is called with each new status."""
        self._systemd = systemd
        self._store = store
        self._stops = Stops(store)
        self._ward = ward
        self._reporter = Reporter(systemd, store, ward, publish)
        self._mediamtx = MediaMtx(api_password(store.digest_key()))
        self._complaints = Complaints()
        self._survey = Survey(systemd, store, self._stops, self._mediamtx, self._complaints)
        self._editor = Editor("/")
        self._desk = Desk()
        self._lock = asyncio.Lock()
        self._executor = Executor(systemd, store, Path("/") / CREDENTIALS_DIRECTORY)
        self._background: set[asyncio.Task[None]] = set()
        self._is_moving = False
        """Some unit waits for its turn to go over to another relay."""

    @property
    def status(self) -> Status:
        """Return the latest status."""
        return self._reporter.status

    @property
    def retry_after(self) -> float | None:
        """Return after how many seconds something that failed should be tried again, None where nothing did."""
        return RETRY if self._executor.problems else None

    def hooks(self, route: str) -> Hooks:
        """Return what is to be called for a route, also for one that has never had a good definition."""
        good = self._survey.good.get(route)
        return (good.hooks if good else NO_HOOKS).over((self._survey.settings or Settings()).hooks)

    async def adopt(self) -> None:
        """Read the files and find what runs, without changing anything. Raises: SystemdError."""
        async with self._lock:
            desired, observed, _allocation = await self._survey.look(remember=True)
            await self._show(desired, observed)

    async def reconcile(self, *, unless_current: bool = False) -> None:
        """Bring what is to what should be. Raises: SystemdError when systemd cannot be asked at all.

        Args:
            unless_current: do nothing where files and host are as they were, and all that should be up is.
        """
        async with self._lock:
            if unless_current and not self._is_unwell() and await self._survey.is_current():
                return
            await self._reconcile()
            await self._mend()

    def _is_unwell(self) -> bool:
        """Tell whether time alone may change what is to be done."""
        tried = bool(self._executor.problems) or self._reporter.has_restarted
        return tried or any(thing.state in _FAILED for thing in self.status.things())

    async def close(self, within: float) -> None:
        """Begin nothing more, and for that many seconds at most let what is being made anew come up again."""
        await self._executor.close(within)

    async def tick(self) -> None:
        """Look whether streams flow, tell where that changed, and restart what is stuck. To be called each second."""
        await self._reporter.tick()
        if self._ward.stuck() or any(self._ward.repaced()):
            async with self._lock:
                await self._mend()
        # A pass to tell it, too.
        if self._store.retry() or self._is_moving:
            async with self._lock:
                await self._reconcile()

    async def _mend(self) -> None:
        """Make anew what is stuck, and what waits for its next try for longer or shorter than it should."""
        forced = {}
        for address in self._ward.stuck():
            self._ward.note_stall(address)
            forced[address.unit] = "it is stalled"
        slow = set()
        for address, pace in self._ward.repaced():
            if pace is Pace.SLOW:
                slow.add(address.unit)
                forced[address.unit] = "its far end refuses it, so from now on it is tried less often"
            else:
                forced[address.unit] = "it had been well for long, so it is tried quickly again"
        for name in forced:
            self._reporter.count_restart(name)
        if forced:
            await self._reconcile(forced, slow)

    async def watch_losses(self) -> None:
        """Look for ever what is lost of the streams."""
        await self._reporter.losses.run()

    async def statistics(self, addresses: Collection[str] = ()) -> tuple[Statistics, ...]:
        """Return the moving counters of these, of all where none is named. Raises: NotFoundError."""
        return await self._reporter.statistics(addresses)

    def meter(self, address: str) -> Moving:
        """Return what moves of one, without asking anybody."""
        return self._reporter.meter(address)

    async def reload(self) -> Status:
        """Read all files again, carry out the plan, and return what came of it. Raises: ControlError."""
        notify.reloading()
        try:
            await self.reconcile()
        except SystemdError as error:
            raise BusyError(str(error)) from error
        finally:
            notify.ready(self.status.summary())
        return self.status

    async def plan(self) -> tuple[StepView, ...]:
        """Read all files again and return what a reload would do, without doing it."""
        async with self._lock:
            return await self._steps(NOTHING)

    async def plan_change(self, change: Change) -> tuple[StepView, ...]:
        """Read all files again and return what a change would do, without making it. Raises: ControlError."""
        async with self._lock:
            result = await asyncio.to_thread(self._editor.suppose, change, **self._survey.circumstances())
            if isinstance(result, Refusal):
                raise refused(result)
            return await self._steps(Supposition(routes={result.route: result.pieces}))

    async def plan_file(self, path: str, text: str) -> tuple[StepView, ...]:
        """Return what would follow if a file of the configuration said this. Raises: ControlError."""
        async with self._lock:
            try:
                supposed = await asyncio.to_thread(self._desk.suppose, Path(path), text.encode())
            except DraftError as error:
                raise NotFoundError(f"there can be no file of routes or settings at {quoted(path)}") from error
            return await self._steps(supposed)

    async def _steps(self, suppose: Supposition) -> tuple[StepView, ...]:
        """Return what would be done if this were so. Raises: BusyError."""
        try:
            desired, observed, _allocation = await self._survey.look(remember=False, suppose=suppose)
        except SystemdError as error:
            raise BusyError(str(error)) from error
        return tuple(step.view for step in plan(desired, observed))

    async def log(self, address: str, lines: int) -> tuple[LogLine, ...]:
        """Return the last lines of the log of an input or an output, the oldest first. Raises: ControlError."""
        route, _slash, output = address.partition("/")
        unit = Address(route, output).unit
        match = f"STREAMD_OUTPUT={address}" if output else f"STREAMD_ROUTE={address}"
        try:
            return await last_lines(match, unit, lines)
        except LogError as error:
            raise ControlError(str(error)) from error

    def check(self, path: str, text: str) -> tuple[Diagnostic, ...]:
        """Return what is wrong with the text of a route file by itself. Pure, so it may be called in a thread."""
        return parse_route(path, text, self._survey.settings or Settings()).diagnostics

    async def start(self, address: str, *, wait: bool) -> None:
        """Start what is stopped, and forget that an operator stopped it. Raises: ControlError."""
        addresses = resolve(self.status.routes, address)
        refuse_what_cannot_run(self.status.routes, addresses, explicit="/" in address)

        async def act() -> None:
            async with self._lock:
                self._stops.forget(addresses)
                self._executor.retry_now(addresses)
                await self._reconcile()
            raise_problems(self.status.routes, addresses, self._executor.problems)

        await self._run(act, wait=wait)

    async def stop(self, address: str, *, wait: bool) -> None:
        """Stop it, and remember over reboots that an operator stopped it. Raises: ControlError."""
        addresses = resolve(self.status.routes, address)

        async def act() -> None:
            async with self._lock:
                self._stops.add(addresses)
                # Asked by the operator, also where the file is broken and the plan would keep its hands off.
                await self._executor.carry_out(
                    [Step(Action.STOP, found, "asked for") for found in await self._up(addresses)]
                )
                await self._reconcile()
            raise_problems(self.status.routes, addresses, self._executor.problems)

        await self._run(act, wait=wait)

    async def restart(self, address: str, *, wait: bool) -> None:
        """Stop it and start it again. Raises: ControlError."""
        addresses = resolve(self.status.routes, address)
        refuse_what_cannot_run(self.status.routes, addresses, explicit="/" in address)

        async def act() -> None:
            async with self._lock:
                self._stops.forget(addresses)
                self._executor.retry_now(addresses)
                await self._reconcile(forced={found.unit: "asked for" for found in addresses})
            raise_problems(self.status.routes, addresses, self._executor.problems)

        await self._run(act, wait=wait)

    async def change(self, change: Change) -> None:
        """Change the configuration on disk and carry out what follows. Raises: ControlError."""
        async with self._lock:
            # It reads, writes and waits for the disk: nobody else is to notice.
            result = await asyncio.to_thread(self._editor.apply, change, **self._survey.circumstances())
        if isinstance(result, Refusal):
            raise refused(result)
        await self._carry_out()

    async def set_credential(self, name: str, secret: str) -> None:
        """Put a secret into the credential store, replacing one of that name. Raises: ControlError."""
        problem = await asyncio.to_thread(set_credential, Path("/") / CREDENTIALS_DIRECTORY, name, secret)
        if problem:
            raise InvalidConfigurationError(problem)
        _LOG.info('credential "%s" was set', name)
        await self._carry_out()

    async def _carry_out(self) -> None:
        """Carry out what has been written. Raises: ControlError."""
        try:
            await self.reload()
        except BusyError as error:
            # Not as "busy", which says that nothing was changed. The file watcher has it tried again.
            raise ControlError(f"it is written, and will be carried out as soon as systemd answers: {error}") from error

    async def viewers(self) -> MediaView:
        """Return who watches what, or why that cannot be told."""
        return await self._mediamtx.view()

    async def kick(self, viewer: str) -> None:
        """End a viewer's connection. Raises: ControlError."""
        if problem := await self._mediamtx.kick(viewer):
            raise ControlError(problem)

    async def tend(self) -> None:
        """Restart MediaMTX where it hangs. To be called every few seconds. Raises: SystemdError."""
        if self._mediamtx.has_returned:
            if await self._systemd.start_skipped(SERVICE):
                _LOG.info("started %s, whose configuration there is now", SERVICE)
            self._mediamtx.welcome()
        if await self._mediamtx.has_hung() and await self._systemd.restart_service(SERVICE):
            _LOG.warning("MediaMTX did not answer, so it was restarted")
            self._mediamtx.forgive()

    async def welcome(self) -> None:
        """Begin at once with what MediaMTX has by now; systemd alone would, but only with its next try.

        To be called each second: where nothing waits it asks nobody. Raises: SystemdError.
        """
        waits = waiting(self.status, time.time_ns() // 1000)
        if waits and (forced := arrived(waits, (await self._mediamtx.view()).paths)):
            async with self._lock:
                await self._reconcile(forced)

    async def _run(self, act: Callable[[], object], *, wait: bool) -> None:
        async def guarded() -> None:
            try:
                await act()  # type: ignore[misc]
            except SystemdError as error:
                raise BusyError(str(error)) from error

        if wait:
            await guarded()
            return
        task = asyncio.create_task(guarded())
        self._background.add(task)
        task.add_done_callback(self._background_ended)

    def _background_ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            _LOG.warning("a request that nobody waited for failed: %s", error)

    async def _up(self, addresses: Collection[Address]) -> list[Address]:
        observed = await self._systemd.observe()
        return [found for found in addresses if found.unit in observed.units and observed.units[found.unit].is_up]

    async def _reconcile(self, forced: Mapping[str, str] = _NONE, slow: Collection[str] = ()) -> None:
        desired, observed, allocation = await self._survey.look(remember=True)
        self._store.keep_allocation(allocation)
        steps = plan(desired, observed, forced=forced, unsettled=self._ward.unsettled())
        self._is_moving = any(step.is_put_off for step in steps)
        if any(step.action is not Action.KEEP for step in steps):
            if self._is_news(steps):
                # To start hundreds takes a while, in which somebody asks what has become of the file that he wrote.
                await self._show(desired, observed)
            await self._executor.carry_out(steps, slow)
            observed = await self._systemd.observe()
        await self._tidy(desired, observed)
        await self._show(desired, observed)

    def _is_news(self, steps: Collection[Step]) -> bool:
        """Tell whether something is to be started that nobody has been told of yet."""
        told = {thing.unit.unit for thing in self.status.things()}
        return any(step.action is Action.START and step.address.unit not in told for step in steps)

    async def _tidy(self, desired: Desired, observed: Observed) -> None:
        """Drop what belongs to nothing any more: secrets of units that are gone, slices of routes that are gone."""
        drop_presets(desired.units.keys() | observed.units.keys())
        used = {route_slice(address.route) for address in map(Address.of_unit, observed.units) if address}
        used |= {route_slice(file.name) for file in self._survey.configuration.files}
        for name, unit in observed.slices.items():
            if name.startswith("streamd-") and name not in used and unit.is_up:
                try:
                    await self._systemd.stop(name)
                except SystemdError as error:
                    _LOG.warning("cannot stop the empty slice %s: %s", name, error)

    async def _show(self, desired: Desired, observed: Observed) -> None:
        self._executor.forget_mended(desired, observed)
        self._complaints.tell_unkept(self._store.problems)
        await self._reporter.show(
            self._survey.configuration, self._survey.good, desired, observed, self._executor.problems
        )
