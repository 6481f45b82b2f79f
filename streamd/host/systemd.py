"""systemd over D-Bus: start, stop and change transient units, list them, and be told when one changes.

Facts about versions and traps that shaped this module stand where they are used; the calls are those of
org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Final

from streamd.bus.connection import BusError, Connection, Message, Variant
from streamd.host import jobs
from streamd.plan.address import Address
from streamd.plan.known import Known, View
from streamd.plan.observed import Details, Observed, ObservedUnit
from streamd.plan.status import UnitStatus
from streamd.plan.unit import RESTART_STEPS_SINCE, UNIT_PATTERNS, Property, unit_name, unit_path

_LOG: Final = logging.getLogger(__name__)
_NAME: Final = "org.freedesktop.systemd1"
_PATH: Final = "/org/freedesktop/systemd1"
_MANAGER: Final = f"{_NAME}.Manager"
_UNIT: Final = f"{_NAME}.Unit"
_SERVICE: Final = f"{_NAME}.Service"
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"

_CALL_SECONDS: Final = 90.0
"""A daemon-reload with thousands of units keeps systemd silent for 10 s and more."""
_PARALLEL: Final = 16
"""Calls under way at once; the bus allows 128 pending replies a connection."""
_STARTS: Final = max(8, 2 * (os.cpu_count() or 1))
"""Units that are being started at once, up to the end of their jobs. Each sets up its sandbox in a process of its own:
of hundreds at a time, on few processors, the last took longer than systemd waits for it, and failed."""
_STOPS: Final = 50
"""Units that are being stopped at once: Linux 6.18 hung for good when some thousand sandboxed processes ended together,
each with its socket filters to free."""
_NUDGE_SECONDS: Final = 1.0
"""An FFmpeg blocked in a call ignores one SIGTERM and ends at the second."""
_LOOKS: Final = 128
"""Units whose ending is being looked at; of one more the next pass tells, if it still waits then."""
_ASKED_AGAIN: Final = 256
_ASKING_SECONDS: Final = 1.0
"""How many units that changed are asked for in one pass, and for how long."""
_ATTEMPTS: Final = 3
_WAITS: Final = "auto-restart"
"""The SubState of a unit that waits for its restart."""
_OUR_PATH: Final = re.compile(r"/org/freedesktop/systemd1/unit/streamd(?:_2d(?:output|ingest)_40|_2eslice|_2d)")

Variants = list[list[Any]]
Wanted = Callable[[], bool]
"""Asked when the turn of a unit has come: a thousand wait for it."""


class SystemdError(Exception):
    """systemd refused, or a job of it failed; the text is a sentence for a person."""


class Systemd:
    """The system's systemd, as far as streamd needs it."""

    def __init__(self, connection: Connection, on_change: Callable[[], None]) -> None:
        """Take a connection to the system bus; `on_change` is called whenever a unit of ours changes."""
        self._connection = connection
        self._on_change = on_change
        self._slots = asyncio.Semaphore(_PARALLEL)
        self._starts = asyncio.Semaphore(_STARTS)
        self._stops = asyncio.Semaphore(_STOPS)
        self._jobs = jobs.Jobs()
        self._nudges: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloading = False
        self._known = Known()
        self._endings: dict[str, Details] = {}
        self._looking: set[str] = set()
        self.version = 0
        """systemd's version, such as 257."""

    async def open(self) -> None:
        """Subscribe to systemd's signals and learn its version. Raises: SystemdError."""
        for rule in (
            # Never a match for each unit: the bus allows 512 in all.
            *(
                f"type='signal',sender='{_NAME}',interface='{_MANAGER}',member='{member}',path='{_PATH}'"
                for member in ("JobRemoved", "UnitRemoved", "Reloading")
            ),
            f"type='signal',sender='{_NAME}',interface='{_PROPERTIES}',member='PropertiesChanged',arg0='{_UNIT}'",
        ):
            await self._connection.subscribe(rule, self._on_signal)
        await self._call("Subscribe")
        version = await self._get(_PATH, _MANAGER, "Version")
        found = re.match(r"\d+", str(version))
        self.version = int(found[0]) if found else 0

    async def observe(self) -> Observed:
        """Return all of our units. Raises: SystemdError."""
        (rows,) = await self._call("ListUnitsByPatterns", "asas", [[], list(UNIT_PATTERNS)])
        units = {row[0]: _observed(row) for row in rows if row[2] != "not-found"}
        state = await self._get(_PATH, _MANAGER, "SystemState")
        return Observed(
            units={name: unit for name, unit in units.items() if name.endswith(".service")},
            slices={name: unit for name, unit in units.items() if name.endswith(".slice")},
            system_stopping=state == "stopping",
        )

    async def start(self, name: str, properties: Sequence[Property], wanted: Wanted | None = None) -> bool:
        """Start a transient unit and wait for its job, if it is still wanted at its turn. Raises: SystemdError."""
        packed: Variants = [[key, Variant(signature, value)] for key, signature, value in properties]
        async with self._starts:
            if is_wanted := wanted is None or wanted():
                await self._start(name, packed)
            return is_wanted

    async def _start(self, name: str, packed: Variants) -> None:
        for last_try in (False, False, True):
            try:
                await self._job(name, "StartTransientUnit", "ssa(sv)a(sa(sv))", [name, "fail", packed, []])
            except SystemdError as error:
                # A unit that failed may linger for a moment under its name, and on systemd 257 a reset races the start.
                if last_try or not _is_lingering(error):
                    raise
                await self.reset_failed(name)
                await self._settle(name)
            else:
                return

    async def start_installed(self, name: str, *, wait: bool) -> None:
        """Start a unit that has a file, and wait for its job if asked to. Raises: SystemdError."""
        if wait:
            await self._job(name, "StartUnit", "ss", [name, "replace"])
        else:
            await self._call("StartUnit", "ss", [name, "replace"])

    async def start_skipped(self, name: str) -> bool:
        """Start a unit whose last start was skipped for a condition; tell whether it was. Raises: SystemdError."""
        path = unit_path(name)
        if not await self._get(path, _UNIT, "ConditionTimestamp") or await self._get(path, _UNIT, "ConditionResult"):
            return False
        await self.start_installed(name, wait=False)
        return True

    async def stop(self, name: str, wanted: Wanted | None = None) -> bool:
        """Stop a unit, see to it that a blocked FFmpeg ends, and wait for the job, likewise. Raises: SystemdError."""
        async with self._stops:
            if is_wanted := wanted is None or wanted():
                await self._job(name, "StopUnit", "ss", [name, "replace"])
            return is_wanted

    async def restart_service(self, name: str) -> bool:
        """Restart a service that is active and wait for the job; tell whether it was. Raises: SystemdError."""
        if await self._get(unit_path(name), _UNIT, "ActiveState") != "active":
            return False
        await self._job(name, "RestartUnit", "ss", [name, "replace"])
        return True

    async def set_properties(self, name: str, properties: Sequence[Property]) -> None:
        """Change a running unit until it stops. Raises: SystemdError."""
        packed: Variants = [[key, Variant(signature, value)] for key, signature, value in properties]
        await self._call("SetUnitProperties", "sba(sv)", [name, True, packed])

    async def reset_failed(self, name: str) -> None:
        """Forget a unit's failure; that there is none is no error."""
        try:
            await self._call("ResetFailedUnit", "s", [name])
        except SystemdError as error:
            _LOG.debug("%s: %s", name, error)
        self._known.changed(name)

    async def details(self, units: Collection[ObservedUnit]) -> dict[str, View]:
        """Return what systemd tells of each unit. Only units that changed since the last call are asked for.

        In a storm of restarts that are all of them, and systemd is slow to answer: some are left as they were seen
        last, and asked for in the next pass. Others wait for this one to end.
        """
        must, may = self._known.missing(units)
        found = dict(zip((unit.name for unit in must), await asyncio.gather(*map(self._detail, must)), strict=True))
        until = time.monotonic() + _ASKING_SECONDS
        for first in range(0, len(may), _PARALLEL):
            if first >= _ASKED_AGAIN or time.monotonic() > until:
                self._on_change()
                break
            some = may[first : first + _PARALLEL]
            found.update(zip((unit.name for unit in some), await asyncio.gather(*map(self._detail, some)), strict=True))
        return self._known.learn(found)

    def take_endings(self) -> dict[str, Details]:
        """Return the details of units at the moment when their processes had ended, since the last call.

        They are asked for as soon as systemd tells: half a second later it has started the unit again, and forgotten.
        """
        found, self._endings = self._endings, {}
        return found

    def _look_soon(self, name: str) -> None:
        # Where hundreds end again and again, the questions would grow in number faster than they are answered.
        if name not in self._looking and len(self._looking) < _LOOKS:
            self._looking.add(name)
            self._run(self._look_at_ending(name))

    async def _look_at_ending(self, name: str) -> None:
        try:
            detail = await self._detail(ObservedUnit(name=name, active="activating", sub=_WAITS))
            if detail is not None and detail.sub == _WAITS:
                self._endings[name] = detail
        finally:
            self._looking.discard(name)

    async def _detail(self, unit: ObservedUnit) -> Details | None:
        """Return what systemd tells of a unit, None where it does not, as of one that is gone."""
        path = unit_path(unit.name)

        async def service(name: str) -> Any:  # noqa: ANN401
            return await self._get(path, _SERVICE, name)

        try:
            is_active = unit.active == "active"
            if is_active:
                # Of most, and all are asked for when the daemon starts: each question less is a seventh of its start.
                sub, invocation = "", await self._invocation(path)
            else:
                sub, invocation = await self._sub_and_invocation(path)
            status = UnitStatus(
                unit=unit.name,
                pid=await service("MainPID"),
                restarts=await service("NRestarts"),
                invocation=invocation,
            )
            since = await self._get(path, _UNIT, "StateChangeTimestamp")
            if is_active:
                active_since = await self._get(path, _UNIT, "ActiveEnterTimestampMonotonic")
                return Details(status=status, since=since, active_since=active_since)
            if not unit.is_waiting and unit.active != "failed":
                return Details(status=status, since=since)
            return Details(
                status=status,
                sub=sub,
                since=since,
                result=await service("Result"),
                exit_code=await service("ExecMainCode"),
                exit_status=await service("ExecMainStatus"),
                ran=await self._ran(path),
                next_try=since + await self._next_wait(path) if sub == _WAITS else 0,
            )
        except SystemdError as error:
            _LOG.debug("%s: %s", unit.name, error)
            return None

    async def _sub_and_invocation(self, path: str) -> tuple[str, str]:
        """Return both of the same moment: before systemd 254 a unit that waits goes from one invocation to the next."""
        sub = str(await self._get(path, _UNIT, "SubState"))
        for _ in range(_ATTEMPTS):
            before, invocation = sub, await self._invocation(path)
            sub = str(await self._get(path, _UNIT, "SubState"))
            if sub == before:
                break
        return sub, invocation

    async def _invocation(self, path: str) -> str:
        return bytes(await self._get(path, _UNIT, "InvocationID")).hex()

    async def _ran(self, path: str) -> int:
        """Return for how long a unit that is no longer active was, in µs."""
        entered = await self._get(path, _UNIT, "ActiveEnterTimestampMonotonic")
        left = await self._get(path, _UNIT, "ActiveExitTimestampMonotonic")
        return max(0, int(left) - int(entered)) if entered else 0

    async def _next_wait(self, path: str) -> int:
        """Return for how long a unit waits for its restart, in µs."""
        name = "RestartUSecNext" if self.version >= RESTART_STEPS_SINCE else "RestartUSec"
        return int(await self._get(path, _SERVICE, name))

    async def _job(self, name: str, member: str, signature: str, body: list[Any]) -> None:
        async def ask() -> str:
            (job,) = await self._call(member, signature, body)
            return str(job)

        try:
            result = await self._jobs.result(ask())
        except TimeoutError:
            raise SystemdError(f"{name}: systemd's job did not end within {jobs.SECONDS:.0f} s") from None
        if result not in ("done", "skipped"):
            raise SystemdError(f"{name}: systemd's job ended with: {result}")

    async def _settle(self, name: str) -> None:
        """Wait until a unit that is on its way out has gone, for five seconds at the longest."""
        gone = asyncio.Event()

        def look(message: Message) -> None:
            if message.member == "UnitRemoved" and message.body[0] == name:
                gone.set()

        rule = f"type='signal',sender='{_NAME}',interface='{_MANAGER}',member='UnitRemoved',arg0='{name}'"
        await self._connection.subscribe(rule, look)
        try:
            listed = await self._call("ListUnitsByNames", "as", [[name]])
            if listed[0] and listed[0][0][2] != "not-found":
                await asyncio.wait_for(gone.wait(), 5)
        except TimeoutError:
            _LOG.warning("%s: still there five seconds after it ended", name)
        finally:
            await self._connection.unsubscribe(rule, look)

    async def _call(self, member: str, signature: str = "", body: Sequence[Any] = ()) -> list[Any]:
        return await self._ask(_PATH, _MANAGER, member, signature, body)

    async def _get(self, path: str, interface: str, name: str) -> Any:  # noqa: ANN401
        (variant,) = await self._ask(path, _PROPERTIES, "Get", "ss", [interface, name])
        return variant.value

    async def _ask(self, path: str, interface: str, member: str, signature: str, body: Sequence[Any]) -> list[Any]:
        try:
            async with self._slots:
                return await self._connection.call(
                    _NAME, path, interface, member, signature, body, within=_CALL_SECONDS
                )
        except BusError as error:
            raise SystemdError(f"systemd: {error.text or error.name} ({member})") from error

    def _on_signal(self, message: Message) -> None:
        if message.interface == _MANAGER:
            self._on_manager_signal(message)
        elif message.interface == _PROPERTIES and _OUR_PATH.match(message.path):
            name = unit_name(message.path)
            self._known.changed(name)
            active, sub = message.body[1].get("ActiveState"), message.body[1].get("SubState")
            if active is not None:
                self._watch_stop(name, str(active.value))
            if sub is not None and sub.value == _WAITS and not self._reloading and Address.of_unit(name):
                self._look_soon(name)
            if not self._reloading:
                self._on_change()

    def _on_manager_signal(self, message: Message) -> None:
        if message.member == "JobRemoved":
            _id, job, _unit, result = message.body
            self._jobs.removed(job, result)
        elif message.member == "Reloading":
            # A daemon-reload removes and adds every unit: wait until it is through, then look once.
            self._reloading = bool(message.body[0])
            if not self._reloading:
                self._on_change()
        elif message.member == "UnitRemoved" and not self._reloading and str(message.body[0]).startswith("streamd"):
            self._known.changed(message.body[0])
            self._watch_stop(message.body[0], "inactive")
            self._on_change()

    def _watch_stop(self, name: str, active: str) -> None:
        """Send a second SIGTERM to what is still stopping after a second, whoever stopped it."""
        if Address.of_unit(name) is None:
            return
        timer = self._nudges.pop(name, None)
        if timer is not None:
            timer.cancel()
        if active == "deactivating":
            loop = asyncio.get_running_loop()
            self._nudges[name] = loop.call_later(_NUDGE_SECONDS, self._start_nudge, name)

    def _start_nudge(self, name: str) -> None:
        self._nudges.pop(name, None)
        self._run(self._nudge(name))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _nudge(self, name: str) -> None:
        try:
            if await self._get(unit_path(name), _UNIT, "ActiveState") == "deactivating":
                await self._call("KillUnit", "ssi", [name, "main", 15])
        except SystemdError as error:
            _LOG.debug("%s had ended before its second SIGTERM: %s", name, error)


def _observed(row: Sequence[Any]) -> ObservedUnit:
    name, description, _load, active, sub, _following, _path, _job, job_type, _job_path = row
    return ObservedUnit(name=name, description=description, active=active, sub=sub, job=job_type)


def _is_lingering(error: SystemdError) -> bool:
    cause = error.__cause__
    return isinstance(cause, BusError) and cause.name == f"{_NAME}.UnitExists"
