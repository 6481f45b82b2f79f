"""What systemd has: units and slices as it lists them, and what can be told from that."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from streamd.plan.address import Address, route_slice
from streamd.plan.status import UnitStatus
from streamd.plan.unit import BY_MEDIAMTX, ROOT_SLICE, Fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedUnit:
    """One line of systemd's ListUnitsByPatterns."""

    name: str
    description: str = ""
    active: str = "active"
    """ActiveState: active, activating, reloading, deactivating, inactive or failed."""
    sub: str = "running"
    """SubState: running, auto-restart, start-pre, stop-sigterm, dead, …"""
    job: str = ""
    """The type of the job that is queued for it: start, stop, restart, …; empty when none is."""

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Return the fingerprint kept in its description."""
        return Fingerprint.of_description(self.description)

    @property
    def is_by_mediamtx(self) -> bool:
        """Tell whether it reads from MediaMTX, by its description."""
        return self.description.rpartition(" [")[0].endswith(BY_MEDIAMTX)

    @property
    def is_waiting(self) -> bool:
        """Tell whether it ended and waits for its next try; start-pre is the wait of systemd before 254."""
        return self.sub in ("auto-restart", "auto-restart-queued", "start-pre")

    @property
    def is_up(self) -> bool:
        """Tell whether it runs or is about to, waiting for an automatic restart included."""
        return self.is_coming or (self.active in ("active", "activating", "reloading") and self.job != "stop")

    @property
    def is_coming(self) -> bool:
        """Tell whether it is down and systemd is about to start it, as in the midst of a restart."""
        return self.active in ("inactive", "failed") and self.job in ("start", "restart")

    @property
    def is_leaving(self) -> bool:
        """Tell whether it is on its way down; what comes next is decided when it has got there."""
        return self.active == "deactivating" or self.job == "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What systemd tells of one unit when it is asked for it alone."""

    status: UnitStatus
    sub: str = ""
    """SubState, of one that waits or failed; read together with the invocation, of which a list says nothing."""
    since: int = 0
    """When its state changed last: µs since 1970, 0 when unknown."""
    active_since: int = 0
    """When it became active: µs of the monotonic clock, 0 when unknown."""
    result: str = ""
    """Result: success, exit-code, signal, oom-kill, …; of its last process where that has ended."""
    exit_code: int = 0
    """ExecMainCode: CLD_EXITED (1), CLD_KILLED (2) or CLD_DUMPED (3); 0 while the process runs."""
    exit_status: int = 0
    """ExecMainStatus: the exit status, or the number of the signal."""
    ran: int = 0
    """For how long its last process had been up when it ended, in µs; 0 when unknown."""
    next_try: int = 0
    """When a unit that waits for its restart is started: µs since 1970, 0 when unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All of streamd's units at one moment."""

    units: Mapping[str, ObservedUnit] = field(default_factory=dict)
    slices: Mapping[str, ObservedUnit] = field(default_factory=dict)
    system_stopping: bool = False
    """The machine is shutting down."""

    def slice_is_leaving(self, route: str) -> bool:
        """Tell whether the slice of a route, or that of all routes, is on its way down: nothing can start in it."""
        slices = (self.slices.get(name) for name in (ROOT_SLICE, route_slice(route)))
        return any(unit is not None and unit.is_leaving for unit in slices)


def operator_stops(started: Collection[str], observed: Observed) -> frozenset[str]:
    """Return which of the units that were started are gone because an operator stopped them.

    Our units restart for ever, so one that is gone was stopped; streamd takes its mark off before it stops one itself.
    A shutdown and a stop of a slice (which a removal of the package is) stop many at once and mean none in particular.
    """
    if observed.system_stopping or not _stays(observed.slices.get(ROOT_SLICE)):
        return frozenset()
    gone = set()
    for name in started:
        unit = observed.units.get(name)
        address = Address.of_unit(name)
        if address is None or (unit and (unit.is_up or unit.is_leaving)):
            continue
        if _stays(observed.slices.get(route_slice(address.route))):
            gone.add(name)
    return frozenset(gone)


def _stays(slice_unit: ObservedUnit | None) -> bool:
    # One that is coming has been down, with all that was in it.
    return slice_unit is not None and slice_unit.is_up and not slice_unit.is_coming
