"""From facts to states and to what is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamd.plan.allocation import Allocation
from streamd.plan.cause import Cause, Ending, Failure, classify
from streamd.plan.desired import Absent
from streamd.plan.health import RUNS, Verdict
from streamd.plan.observed import Details, Observed, ObservedUnit
from streamd.plan.overview import CALM_AFTER, Ended, RouteEntry, Scene, calmed, conditions, judge, overview
from streamd.plan.status import State, Status, Trouble, UnitStatus
from streamd.route.model import Route
from tests.unit.make import SETTINGS, desired, route, running, udp_output, unit_of

STOPPED = Absent(State.STOPPED, "stopped by an operator")
BLOCKED = Absent(State.BLOCKED, "a credential is missing")


def unit(active: str, sub: str) -> ObservedUnit:
    return ObservedUnit(name="u", active=active, sub=sub)


@pytest.mark.parametrize(
    ("observed", "absent", "problem", "state", "cause"),
    [
        (None, None, "", State.STARTING, ""),
        (None, None, "refused", State.FAILED, "refused"),
        (None, STOPPED, "", State.STOPPED, "stopped by an operator"),
        (None, BLOCKED, "", State.BLOCKED, "a credential is missing"),
        (unit("inactive", "dead"), STOPPED, "", State.STOPPED, "stopped by an operator"),
        (unit("active", "running"), None, "", State.RUNNING, ""),
        (unit("active", "running"), BLOCKED, "", State.RUNNING, "a credential is missing"),
        (unit("activating", "start"), None, "", State.STARTING, ""),
        (unit("activating", "auto-restart"), None, "", State.BACKOFF, "FFmpeg ended; it is started again"),
        (unit("activating", "start-pre"), None, "", State.BACKOFF, "FFmpeg ended; it is started again"),
        (unit("deactivating", "stop-sigterm"), STOPPED, "", State.STOPPING, "stopped by an operator"),
        (unit("failed", "failed"), None, "", State.FAILED, "its unit failed"),
    ],
)
def test_states(observed: ObservedUnit | None, absent: Absent | None, problem: str, state: State, cause: str) -> None:
    assert judge(observed, absent, problem) == (state, cause)


LOST = classify(Ending(code=1, status=1, lines=("[error] x: Connection refused",), kind="rtmp"))
LEFT = classify(Ending(code=1, status=1, kind="srt", listener=True))
STUCK = Verdict(state=State.STALLED, cause="it sends nothing, and its input gives", restart=True)


@pytest.mark.parametrize(
    ("observed", "verdict", "failure", "state", "cause"),
    [
        (unit("active", "running"), STUCK, None, State.STALLED, STUCK.cause),
        (unit("active", "running"), Verdict(state=State.WAITING, cause="w"), LOST, State.WAITING, "w"),
        (unit("activating", "auto-restart"), STUCK, LOST, State.BACKOFF, "nobody listens at the destination's port"),
        (unit("activating", "start-pre"), None, LEFT, State.WAITING, "its caller left, it listens again"),
        (unit("failed", "failed"), None, LOST, State.FAILED, "nobody listens at the destination's port"),
        (unit("deactivating", "stop-sigterm"), STUCK, LOST, State.STOPPING, ""),
        (None, STUCK, LOST, State.STARTING, ""),
    ],
)
def test_what_moves_and_how_it_ended_count(
    observed: ObservedUnit | None, verdict: Verdict | None, failure: Failure | None, state: State, cause: str
) -> None:
    assert judge(observed, None, "", verdict=verdict, failure=failure) == (state, cause)


def trouble(state: State, *, mended: bool = False) -> Trouble:
    sub = "running" if state is State.RUNNING else "auto-restart"
    active = "active" if state is State.RUNNING else "activating"
    name = unit_of("a/x")
    wanted = desired(route("a", udp_output("x")))
    observed = Observed(units={name: ObservedUnit(name=name, active=active, sub=sub)})
    seen = replace(
        scene(route("a", udp_output("x")), observed=observed),
        desired=wanted,
        endings={name: Ended(LOST, 5, mended=mended)},
        next_tries={name: 99},
    )
    return overview(seen).routes[0].outputs[0].trouble


def test_trouble_that_is_over_leaves_its_last_error_and_nothing_else() -> None:
    present, past = trouble(State.BACKOFF), trouble(State.RUNNING, mended=True)
    assert (present.reason, present.next_try, bool(present.advice)) == ("refused", 99, True)
    assert (past.reason, past.next_try, past.advice) == ("", 0, "")
    told = "nobody listens at the destination's port: x: Connection refused"
    assert (present.last_error, present.last_error_at) == (past.last_error, past.last_error_at) == (told, 5)


def test_what_waits_for_a_caller_waits_on_while_it_looks_again() -> None:
    name = unit_of("a/x")
    first = scene(route("a", udp_output("x")))
    left = Ended(Failure(cause=Cause.CALLER_LEFT, sentence="its caller left, it listens again", advice="", line=""), 5)

    def told(now: int, before: Status | None, sub: str, verdict: Verdict | None = None) -> Status:
        active = "active" if verdict else "activating"
        seen = replace(
            first,
            observed=Observed(units={name: ObservedUnit(name=name, active=active, sub=sub)}),
            # Each try is an invocation of its own.
            details={name: Details(status=UnitStatus(unit=name, invocation=str(now)), since=now)},
            verdicts={name: verdict} if verdict else {},
            endings={name: replace(left, mended=verdict is RUNS)},
            previous=conditions(before) if before else {},
            now=now,
        )
        return overview(seen)

    waits = told(10, None, "auto-restart")
    begins = told(20, waits, "start")
    looks = told(30, begins, "running", Verdict(state=State.STARTING))
    again = told(40, looks, "auto-restart")
    runs = told(50, again, "running", RUNS)
    shown = [it.routes[0].outputs[0] for it in (waits, begins, looks, again, runs)]
    assert [it.state for it in shown] == [State.WAITING] * 4 + [State.RUNNING]
    assert [it.since for it in shown] == [10, 10, 10, 10, 50]
    assert {it.cause for it in shown[:4]} == {"its caller left, it listens again"}
    # Once it has run, it starts as anything does.
    mended = replace(first, observed=Observed(units={name: ObservedUnit(name=name, active="activating", sub="start")}))
    found = overview(replace(mended, endings={name: replace(left, mended=True)}))
    assert found.routes[0].outputs[0].state is State.STARTING


def test_a_state_that_systemd_does_not_know_of_counts_from_when_it_was_seen() -> None:
    name = unit_of("a/x")
    first = scene(route("a", udp_output("x")))
    details = {name: Details(status=UnitStatus(unit=name, invocation="i"), since=10)}

    def later(verdict: Verdict, now: int, before: Status | None) -> Status:
        previous = conditions(before) if before else {}
        return overview(replace(first, details=details, verdicts={name: verdict}, previous=previous, now=now))

    starts = later(Verdict(state=State.RUNNING), 20, None)
    stalls = later(STUCK, 30, starts)
    still = later(STUCK, 40, stalls)
    assert [it.routes[0].outputs[0].since for it in (starts, stalls, still)] == [10, 30, 30]


def scene(*routes: Route, observed: Observed | None = None, broken: str = "") -> Scene:
    wanted = desired(*routes, held=(broken,) if broken else ())
    entries = [RouteEntry(name=it.name, path=f"/etc/{it.name}.toml", route=it) for it in routes]
    if broken:
        entries.append(RouteEntry(name=broken, path=f"/etc/{broken}.toml", route=None, broken=True))
    return Scene(
        version="1",
        entries=tuple(entries),
        settings=SETTINGS,
        allocation=Allocation(groups={"a": "239.255.0.1"}, ports={"a": 5042}),
        desired=wanted,
        observed=observed or running(wanted),
    )


def test_an_automatic_port_is_shown_as_the_one_allocated() -> None:
    found = overview(scene(route("a", port=None))).routes[0]
    assert (found.input_url, found.group) == ("udp://0.0.0.0:5042", "239.255.0.1:20000")


def test_a_broken_file_without_a_definition_shows_what_runs() -> None:
    observed = Observed(units={unit_of(name): ObservedUnit(name=unit_of(name)) for name in ("b", "b/x")})
    found = overview(scene(observed=observed, broken="b")).routes[0]
    assert (found.broken, found.state, [it.address for it in found.outputs]) == (True, State.RUNNING, ["b/x"])


def test_a_broken_file_of_which_nothing_runs_has_failed() -> None:
    assert overview(scene(broken="b")).routes[0].state is State.FAILED


def test_the_summary_counts() -> None:
    found = overview(scene(route("a", udp_output("x"), udp_output("y"))))
    assert found.summary() == "1 route, 2 outputs"


@pytest.mark.parametrize(
    ("restarts", "active", "since", "expected"),
    [(0, "active", 1, False), (3, "active", 1, True), (3, "active", 9, False), (3, "activating", 1, False)],
)
def test_a_healthy_minute_ends_the_backoff(restarts: int, active: str, since: int, expected: bool) -> None:
    observed = Observed(units={"u": unit(active, "running")})
    details = {"u": Details(status=UnitStatus(unit="u", restarts=restarts), since=since)}
    assert calmed(observed, details, CALM_AFTER + 5) == (("u",) if expected else ())
