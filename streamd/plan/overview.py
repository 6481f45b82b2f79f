"""From what should be and what is to the status that everybody is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from streamd.plan.allocation import Allocation
from streamd.plan.desired import Absent, Desired, input_url, without_password
from streamd.plan.observed import Observed, ObservedUnit
from streamd.plan.status import OutputStatus, RouteStatus, State, Status, UnitStatus
from streamd.plan.unit import Address
from streamd.route.diagnostic import Diagnostic
from streamd.route.model import (
    FileSource,
    Output,
    Route,
    RtmpTarget,
    RtspTarget,
    Settings,
    Source,
    SrtSource,
    SrtTarget,
    TestSource,
    UdpSource,
)

Details = Mapping[str, tuple[UnitStatus, int]]
"""By unit name: what systemd tells of it, and when its state changed last, in µs since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteEntry:
    """One route as its file stands: the good definition, if there is one, and whether the file is broken now."""

    name: str
    path: str
    route: Route | None
    broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that a status is made from."""

    version: str
    entries: tuple[RouteEntry, ...]
    settings: Settings
    allocation: Allocation
    desired: Desired
    observed: Observed
    details: Details = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    """By unit name: why its last step failed."""
    diagnostics: tuple[Diagnostic, ...] = ()


def overview(scene: Scene) -> Status:
    """Return the status of everything."""
    return Status(
        version=scene.version,
        routes=tuple(_route(entry, scene) for entry in scene.entries),
        diagnostics=scene.diagnostics,
    )


def judge(unit: ObservedUnit | None, absent: Absent | None, problem: str) -> tuple[State, str]:
    """Return the state of a unit and its cause.

    Args:
        unit: as systemd lists it.
        absent: why it is not to run.
        problem: what its last step failed with.
    """
    reason = absent.reason if absent else problem
    if unit is None or unit.active == "inactive":
        if absent:
            return absent.state, absent.reason
        return (State.FAILED, problem) if problem else (State.STARTING, "")
    if unit.active == "deactivating":
        return State.STOPPING, reason
    if unit.active == "failed":
        return State.FAILED, problem or "its unit failed"
    if unit.sub in _BACKOFF:
        return State.BACKOFF, "FFmpeg ended; it is started again"
    if unit.active == "activating":
        return State.STARTING, reason
    return State.RUNNING, reason


def calmed(observed: Observed, details: Details, now: int) -> tuple[str, ...]:
    """Return the units that were restarted and have been up for a minute since: their backoff is to begin anew.

    Args:
        observed: all units.
        details: of those.
        now: µs since 1970.
    """
    return tuple(
        name
        for name, (status, since) in details.items()
        if status.restarts and name in observed.units
        if observed.units[name].active == "active" and since and now - since >= CALM_AFTER
    )


CALM_AFTER: Final = 60_000_000
"""µs."""
_BACKOFF: Final = ("auto-restart", "auto-restart-queued", "start-pre")
"""Sub-states in which a unit waits for its next try; start-pre is the wait of systemd before 254."""


def _judge(address: Address, scene: Scene) -> tuple[State, str, int, UnitStatus]:
    name = address.unit
    state, cause = judge(scene.observed.units.get(name), scene.desired.absent.get(name), scene.problems.get(name, ""))
    unit, since = scene.details.get(name, (UnitStatus(unit=name), 0))
    return state, cause, since, unit


def _route(entry: RouteEntry, scene: Scene) -> RouteStatus:
    state, cause, since, unit = _judge(Address(entry.name), scene)
    route = entry.route
    if route is None:
        known = entry.name in {address.route for address in map(Address.of_unit, scene.observed.units) if address}
        return RouteStatus(
            name=entry.name,
            path=entry.path,
            enabled=True,
            relay="",
            input_kind="",
            input_url="",
            group="",
            broken=True,
            state=state if known else State.FAILED,
            cause="its file is broken" + (", what ran is left running" if known else ""),
            since=since,
            unit=unit,
            outputs=_running_outputs(entry.name, scene),
        )
    group = scene.allocation.groups.get(entry.name, "")
    return RouteStatus(
        name=entry.name,
        path=entry.path,
        description=route.description,
        enabled=route.enabled,
        relay=route.relay.value,
        input_kind=_source_kind(route.input.source),
        input_url=without_password(input_url(route, scene.allocation.ports.get(entry.name))),
        group=f"{group}:{scene.settings.relay_port}" if group else "",
        broken=entry.broken,
        state=state,
        cause=cause or ("its file is broken, this is its last good definition" if entry.broken else ""),
        since=since,
        unit=unit,
        outputs=tuple(_output(entry.name, output, scene) for output in route.outputs),
    )


def _output(route: str, output: Output, scene: Scene) -> OutputStatus:
    state, cause, since, unit = _judge(Address(route, output.name), scene)
    target = output.target
    return OutputStatus(
        route=route,
        name=output.name,
        kind=_target_kind(output),
        mode=target.mode.value if isinstance(target, SrtTarget) else "",
        url=without_password(output.url),
        description=output.description,
        enabled=output.enabled,
        state=state,
        cause=cause,
        since=since,
        unit=unit,
    )


def _running_outputs(route: str, scene: Scene) -> tuple[OutputStatus, ...]:
    """Return what runs of a route of which no good definition is known."""
    addresses = sorted(
        address for address in map(Address.of_unit, scene.observed.units) if address and address.route == route
    )
    found = []
    for address in addresses:
        if not address.output:
            continue
        state, cause, since, unit = _judge(address, scene)
        found.append(
            OutputStatus(
                route=route,
                name=address.output,
                kind="",
                url="",
                enabled=True,
                state=state,
                cause=cause,
                since=since,
                unit=unit,
            )
        )
    return tuple(found)


def _source_kind(source: Source) -> str:
    match source:
        case UdpSource():
            return "udp"
        case SrtSource():
            return "srt"
        case TestSource():
            return "test"
        case FileSource():
            return "file"


def _target_kind(output: Output) -> str:
    match output.target:
        case SrtTarget():
            return "srt"
        case RtmpTarget():
            return "rtmp"
        case RtspTarget():
            return "rtsp"
        case _:
            return "udp"
