"""From what should be and what is to the status that everybody is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from streamd.plan.address import Address
from streamd.plan.allocation import Allocation
from streamd.plan.cause import Cause, Failure
from streamd.plan.desired import Absent, Desired, input_url
from streamd.plan.health import Verdict
from streamd.plan.observed import Details, Observed, ObservedUnit
from streamd.plan.status import NO_TROUBLE, OutputStatus, RouteStatus, State, Status, Trouble, UnitStatus
from streamd.route.diagnostic import Diagnostic
from streamd.route.mask import without_secrets
from streamd.route.model import (
    FileSource,
    Output,
    PublishSource,
    PullSource,
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
    details: Mapping[str, Details] = field(default_factory=dict)
    """By unit name."""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """By unit name: what was judged of those that are up; of one that is missing nothing is known."""
    endings: Mapping[str, Ended] = field(default_factory=dict)
    """By unit name: how it failed last."""
    next_tries: Mapping[str, int] = field(default_factory=dict)
    """By unit name: when the next try is, in µs since 1970, where systemd does not know."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """By unit name: why its last step failed."""
    diagnostics: tuple[Diagnostic, ...] = ()
    previous: Mapping[str, Condition] = field(default_factory=dict)
    """By unit name: as it was shown last."""
    now: int = 0
    """µs since 1970."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a unit failed last."""

    failure: Failure
    at: int
    """µs since 1970."""
    mended: bool = False
    """It has run since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What is the same for inputs and outputs."""

    state: State
    cause: str
    since: int
    unit: UnitStatus
    trouble: Trouble


def conditions(status: Status) -> dict[str, Condition]:
    """Return, by unit name, the condition of every input and output in a status."""
    return {
        thing.unit.unit: Condition(
            state=thing.state, cause=thing.cause, since=thing.since, unit=thing.unit, trouble=thing.trouble
        )
        for thing in status.things()
    }


def overview(scene: Scene) -> Status:
    """Return the status of everything."""
    return Status(
        version=scene.version,
        routes=tuple(_route(entry, scene) for entry in scene.entries),
        diagnostics=scene.diagnostics,
    )


def judge(
    unit: ObservedUnit | None,
    absent: Absent | None,
    problem: str,
    *,
    verdict: Verdict | None = None,
    failure: Failure | None = None,
) -> tuple[State, str]:
    """Return the state of a unit and its cause.

    Args:
        unit: as systemd lists it.
        absent: why it is not to run.
        problem: what its last step failed with.
        verdict: whether it does its work, for a unit that is up.
        failure: how its process ended, for one whose process has.
    """
    reason = absent.reason if absent else problem
    if unit is None or unit.active == "inactive":
        if absent:
            return absent.state, absent.reason
        return (State.FAILED, problem) if problem else (State.STARTING, "")
    if unit.active == "deactivating":
        return State.STOPPING, reason
    if unit.active == "failed":
        return State.FAILED, problem or (failure.sentence if failure else "its unit failed")
    if unit.is_waiting:
        if failure and failure.cause in _NOBODY_CALLED:
            return State.WAITING, failure.sentence
        return State.BACKOFF, failure.sentence if failure else "FFmpeg ended; it is started again"
    if unit.active == "activating":
        return State.STARTING, reason
    if verdict is None:
        return State.RUNNING, reason
    return verdict.state, reason or verdict.cause


_NOBODY_CALLED: Final = (Cause.CALLER_LEFT, Cause.NO_PUBLISHER)
"""Ends that are no failures: it waits."""


def calmed(observed: Observed, details: Mapping[str, Details], now: int) -> tuple[str, ...]:
    """Return the units that were restarted and have been up for a minute since: their backoff is to begin anew.

    Args:
        observed: all units.
        details: of those.
        now: µs since 1970.
    """
    return tuple(
        name
        for name, found in details.items()
        if found.status.restarts and name in observed.units
        if observed.units[name].active == "active" and found.since and now - found.since >= CALM_AFTER
    )


CALM_AFTER: Final = 60_000_000
"""µs."""


def _judge(address: Address, scene: Scene) -> Condition:
    name = address.unit
    observed = scene.observed.units.get(name)
    verdict = scene.verdicts.get(name)
    ended = scene.endings.get(name)
    state, cause = judge(
        observed,
        scene.desired.absent.get(name),
        scene.problems.get(name, ""),
        verdict=verdict,
        failure=ended.failure if ended else None,
    )
    if state is State.STARTING and ended and not ended.mended and ended.failure.cause in _NOBODY_CALLED:
        # It looks again, as it does every few seconds for as long as nobody calls: that is no news.
        state, cause = State.WAITING, ended.failure.sentence
    details = scene.details.get(name, Details(status=UnitStatus(unit=name)))
    return Condition(
        state=state,
        cause=cause,
        since=_since(state, details, scene.previous.get(name), scene.now),
        unit=details.status,
        trouble=_trouble(state, ended, details.next_try or scene.next_tries.get(name, 0)),
    )


def _since(state: State, details: Details, previous: Condition | None, now: int) -> int:
    """Return when the state was entered: what systemd does not know of is timed from when it was seen."""
    if state is State.WAITING and previous is not None and previous.state is state:
        return previous.since
    if state not in _JUDGED or previous is None or previous.unit.invocation != details.status.invocation:
        return details.since
    return previous.since if previous.state is state else now


_JUDGED: Final = (State.RUNNING, State.STALLED, State.STARVED, State.WAITING)


def _trouble(state: State, ended: Ended | None, next_try: int) -> Trouble:
    if ended is None:
        return NO_TROUBLE
    failure = ended.failure
    is_present = not ended.mended and state in (State.BACKOFF, State.FAILED, State.STALLED, State.STARTING)
    return Trouble(
        reason=failure.cause.value if is_present else "",
        advice=failure.advice if is_present else "",
        next_try=next_try if state is State.BACKOFF else 0,
        last_error=f"{failure.sentence}: {failure.line}" if failure.line else failure.sentence,
        last_error_at=ended.at,
    )


def _route(entry: RouteEntry, scene: Scene) -> RouteStatus:
    found = _judge(Address(entry.name), scene)
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
            state=found.state if known else State.FAILED,
            cause="its file is broken" + (", what ran is left running" if known else ""),
            since=found.since,
            unit=found.unit,
            trouble=found.trouble,
            outputs=_running_outputs(entry.name, scene),
        )
    group = "" if route.comes_by_mediamtx else scene.allocation.groups.get(entry.name, "")
    return RouteStatus(
        name=entry.name,
        path=entry.path,
        description=route.description,
        enabled=route.enabled,
        relay=route.relay.value,
        input_kind=source_kind(route.input.source),
        input_url=without_secrets(input_url(route, scene.allocation.ports.get(entry.name))),
        group=f"{group}:{scene.settings.relay_port}" if group else "",
        broken=entry.broken,
        state=found.state,
        cause=found.cause or ("its file is broken, this is its last good definition" if entry.broken else ""),
        since=found.since,
        unit=found.unit,
        trouble=found.trouble,
        outputs=tuple(_output(entry.name, output, scene) for output in route.outputs),
    )


def _output(route: str, output: Output, scene: Scene) -> OutputStatus:
    found = _judge(Address(route, output.name), scene)
    target = output.target
    return OutputStatus(
        route=route,
        name=output.name,
        kind=target_kind(output),
        mode=target.mode.value if isinstance(target, SrtTarget) else "",
        engine=output.engine.value,
        url=without_secrets(output.url),
        description=output.description,
        enabled=output.enabled,
        state=found.state,
        cause=found.cause,
        since=found.since,
        unit=found.unit,
        trouble=found.trouble,
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
        condition = _judge(address, scene)
        found.append(
            OutputStatus(
                route=route,
                name=address.output,
                kind="",
                url="",
                enabled=True,
                state=condition.state,
                cause=condition.cause,
                since=condition.since,
                unit=condition.unit,
                trouble=condition.trouble,
            )
        )
    return tuple(found)


def source_kind(source: Source) -> str:
    """Return the word for a kind of input."""
    match source:
        case UdpSource():
            return "udp"
        case SrtSource():
            return "srt"
        case PullSource():
            return source.kind
        case PublishSource():
            return "publish"
        case TestSource():
            return "test"
        case FileSource():
            return "file"


def target_kind(output: Output) -> str:
    """Return the word for a kind of output."""
    match output.target:
        case SrtTarget():
            return "srt"
        case RtmpTarget():
            return "rtmp"
        case RtspTarget():
            return "rtsp"
        case _:
            return "udp"
