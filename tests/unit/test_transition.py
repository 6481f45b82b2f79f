"""What the journal and listeners are told of a change from one status to the next."""

from __future__ import annotations

from dataclasses import replace

from streamd.plan.status import State, Status, Trouble
from streamd.plan.transition import transitions
from tests.unit.test_bus_tree import a_status


def test_each_change_of_state_is_told_once_in_a_sentence() -> None:
    old, new = a_status(x=State.RUNNING, y=State.RUNNING), a_status(x=State.STALLED, y=State.RUNNING)
    (route,) = new.routes
    stalled = replace(
        route.outputs[0], cause="it sends nothing", trouble=Trouble(reason="stalled", advice="Look.", last_error="e")
    )
    new = replace(new, routes=(replace(route, outputs=(stalled, route.outputs[1])),))
    (found,) = transitions(old, new)
    assert str(found) == "a/x: running -> stalled, it sends nothing"
    assert (found.reason, found.advice, found.last_error, found.is_bad) == ("stalled", "Look.", "e", True)
    assert not list(transitions(new, new))
    (back,) = transitions(new, old)
    assert (str(back), back.is_bad) == ("a/x: stalled -> running", False)


def test_an_input_is_told_as_such() -> None:
    old = a_status()
    (route,) = old.routes
    new = replace(old, routes=(replace(route, state=State.STARVED, cause="nothing arrives"),))
    assert [str(found) for found in transitions(old, new)] == ["a (input): running -> starved, nothing arrives"]


def test_what_comes_and_goes_is_no_transition() -> None:
    assert not list(transitions(Status(version="1"), a_status(x=State.RUNNING)))
    assert not list(transitions(a_status(x=State.RUNNING), Status(version="1")))
    assert not list(transitions(a_status(x=State.RUNNING), a_status(y=State.FAILED)))


def test_another_cause_alone_is_no_transition() -> None:
    old = a_status(x=State.BACKOFF)
    (route,) = old.routes
    new = replace(old, routes=(replace(route, outputs=(replace(route.outputs[0], cause="other"),)),))
    assert not list(transitions(old, new))
