"""The reporter: makes the status of what is wanted, what systemd has and what FFmpeg reports, and tells of changes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Final

from streamd import __version__
from streamd.bus.control import FEW, NotFoundError
from streamd.host import journal
from streamd.host.accounting import Usage, usage
from streamd.host.confd import Configuration
from streamd.host.losses import LossWatch
from streamd.host.store import Store
from streamd.host.systemd import Systemd
from streamd.host.vitals import Ward
from streamd.plan.address import Address
from streamd.plan.desired import Desired
from streamd.plan.losses import Losses
from streamd.plan.observed import Details, Observed
from streamd.plan.overview import RouteEntry, Scene, calmed, conditions, overview
from streamd.plan.patient import patients
from streamd.plan.progress import Report
from streamd.plan.status import Moving, Statistics, Status
from streamd.plan.transition import transitions
from streamd.plan.unit import RESTART_STEPS_SINCE
from streamd.route.model import Route

_LOG: Final = logging.getLogger(__name__)
_IN_ONE_GO: Final = 100
"""Counters that are put together before others get a turn."""
_NOTHING_USED: Final = Usage()
_NOTHING_LOST: Final = Losses()
_NOTHING_REPORTED: Final = Report()
_STILL: Final = Moving()


class Reporter:
    """Holds the latest status; `publish` is called with each new one."""

    def __init__(self, systemd: Systemd, store: Store, ward: Ward, publish: Callable[[Status], None]) -> None:
        """Take the edges."""
        self._systemd = systemd
        self._store = store
        self._ward = ward
        self._publish = publish
        self._scene: Scene | None = None
        self.has_restarted = False
        """systemd counts restarts of some unit; of one that is up again it is to forget them after a while."""
        self.status = Status(version=__version__)
        self._known: tuple[Status, dict[str, Address]] = (self.status, {})
        self.losses = LossWatch(lambda: self.status)

    async def show(
        self,
        configuration: Configuration,
        good: Mapping[str, Route],
        desired: Desired,
        observed: Observed,
        problems: Mapping[str, str],
    ) -> None:
        """Make the status anew from all that is known. Raises: SystemdError.

        Args:
            configuration: the files.
            good: the good definition of each route that has one.
            desired: what should run.
            observed: what systemd has.
            problems: by unit name, why its last step failed.
        """
        observed, details = await self._details(observed)
        self._ward.listen(configuration.settings.progress_port)
        watched = patients(good.values(), self._store.allocation.channels, configuration.settings)
        endings = self._systemd.take_endings()
        await self._ward.admit(watched, observed, details, self._store.slow, endings)
        await self._ward.tick(at_once=True)
        self._scene = Scene(
            version=__version__,
            entries=tuple(
                RouteEntry(name=file.name, path=file.path, route=good.get(file.name), broken=file.route is None)
                for file in configuration.files
            ),
            settings=configuration.settings,
            allocation=self._store.allocation,
            desired=desired,
            observed=observed,
            details=details,
            problems=dict(problems),
            diagnostics=configuration.diagnostics + self._store.problems,
        )
        self._tell(self._scene)

    async def tick(self) -> None:
        """Look at what FFmpeg reported since the last time, and tell if that changes a state."""
        warned = self.losses.tick()
        self._ward.garbage = self.losses.garbage
        if (await self._ward.tick() or warned) and self._scene is not None:
            self._tell(self._scene)

    def _tell(self, scene: Scene) -> None:
        status = overview(
            replace(
                scene,
                verdicts=self.losses.warn(self._ward.verdicts),
                endings=dict(self._ward.endings.latest),
                next_tries=dict(self._ward.endings.next_tries),
                previous=conditions(self.status),
                now=time.time_ns() // 1000,
            )
        )
        if status == self.status:
            return
        old, self.status = self.status, status
        for found in transitions(old, status):
            _LOG.log(
                logging.WARNING if found.is_bad else logging.INFO,
                "%s",
                found,
                extra=journal.transition_fields(found),
            )
        self._publish(status)

    async def _details(self, observed: Observed) -> tuple[Observed, dict[str, Details]]:
        """Return our units and their details, with restarts that systemd was told to forget counted in.

        Both are of the same moment for each unit: where many change at once, it may have passed.
        """
        ours = [unit for name, unit in observed.units.items() if Address.of_unit(name)]
        views = await self._systemd.details(ours)
        details = {name: view.details for name, view in views.items()}
        units = {name: views[name].unit if name in views else unit for name, unit in observed.units.items()}
        observed = replace(observed, units=units)
        restarts = {name: count for name, count in self._store.restarts.items() if name in details}
        if self._systemd.version >= RESTART_STEPS_SINCE:
            # systemd's growing delay never shrinks by itself, and what shrinks it also forgets the count.
            for name in calmed(observed, details, time.time_ns() // 1000):
                found = details[name]
                restarts[name] = restarts.get(name, 0) + found.status.restarts
                await self._systemd.reset_failed(name)
                details[name] = replace(found, status=replace(found.status, restarts=0))
        self._store.keep_restarts(restarts)
        self.has_restarted = any(found.status.restarts for found in details.values())
        return observed, {
            name: replace(found, status=replace(found.status, restarts=found.status.restarts + restarts.get(name, 0)))
            for name, found in details.items()
        }

    def count_restart(self, unit: str) -> None:
        """Count a restart that systemd does not, since the unit is made anew."""
        before = self._store.restarts
        shown = next((thing.unit.restarts for thing in self.status.things() if thing.unit.unit == unit), 0)
        self._store.keep_restarts({**before, unit: shown + 1})

    async def statistics(self, addresses: Collection[str] = ()) -> tuple[Statistics, ...]:
        """Return the moving counters of these, of all where none is named. Raises: NotFoundError."""
        known = self._addresses()
        for address in addresses:
            if address not in known:
                raise NotFoundError(f'there is no {"output" if "/" in address else "route"} "{address}"')
        wanted = [known[address] for address in dict.fromkeys(addresses)] if addresses else list(known.values())
        units = [address.unit for address in wanted]
        # Some files to read for each of them.
        used = usage(units) if len(units) <= FEW else await asyncio.to_thread(usage, units)
        found = []
        for number, each in enumerate(wanted, 1):
            found.append(self._counters(each, used.get(each.unit, _NOTHING_USED), self.losses.counted(each.unit)))
            if number % _IN_ONE_GO == 0:
                await asyncio.sleep(0)
        return tuple(found)

    def meter(self, address: str) -> Moving:
        """Return what moves of one, without asking anybody."""
        known = self._addresses().get(address)
        meter, active_since = self._ward.meter(known.unit) if known else (None, 0)
        if not active_since:
            return _STILL
        now = time.monotonic_ns() // 1000
        uptime = max(0, now - active_since)
        return Moving(meter.bitrate(now), meter.report.total, uptime) if meter else Moving(uptime=uptime)

    def _counters(self, address: Address, used: Usage, lost: Losses) -> Statistics:
        """Put the counters of one together: in one go, since it is done a thousand times in a row."""
        now = time.monotonic_ns() // 1000
        unit = address.unit
        meter, active_since = self._ward.meter(unit)
        details = self._scene.details.get(unit) if self._scene else None
        if not active_since:
            meter, lost = None, _NOTHING_LOST
        report = meter.report if meter else _NOTHING_REPORTED
        return Statistics(
            address=str(address),
            bitrate=meter.bitrate(now) if meter else None,
            bytes=report.total,
            uptime=max(0, now - active_since) if active_since else None,
            fps=report.fps,
            speed=meter.speed(now) if meter else None,
            media_time=report.media or None,
            dropped=report.dropped if report.media else None,
            duplicated=report.duplicated if report.media else None,
            send_rate=meter.send_rate(now) if meter else None,
            link=report.link,
            drops=lost.drops,
            sampled=lost.total.packets if lost.total else None,
            continuity_errors=lost.total.continuity_errors if lost.total else None,
            ts_errors=lost.total.damaged + lost.total.sync_losses if lost.total else None,
            cpu=used.cpu,
            memory=used.memory,
            tasks=used.tasks,
            restarts=details.status.restarts if details else 0,
        )

    def _addresses(self) -> dict[str, Address]:
        """Return all that there is, by its address as text; it is found once for each status."""
        status, known = self._known
        if status is not self.status:
            known = {str(address): address for address in _addresses_of(self.status)}
            self._known = (self.status, known)
        return known


def _addresses_of(status: Status) -> Iterator[Address]:
    for route in status.routes:
        yield Address(route.name)
        for output in route.outputs:
            yield Address(route.name, output.name)
