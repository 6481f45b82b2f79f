"""Whose stop was it? An operator's only when neither the machine nor a slice stops."""

from __future__ import annotations

from dataclasses import replace

from streamd.plan.address import route_slice
from streamd.plan.observed import Observed, ObservedUnit, operator_stops
from streamd.plan.unit import ROOT_SLICE
from tests.unit.make import slices, unit_of

STARTED = {unit_of("a"), unit_of("a/x"), unit_of("a/y")}


def here(*addresses: str) -> dict[str, ObservedUnit]:
    return {unit_of(address): ObservedUnit(name=unit_of(address)) for address in addresses}


def test_what_is_gone_while_its_slice_stays_was_stopped_by_an_operator() -> None:
    observed = Observed(units=here("a", "a/y"), slices=slices("a"))
    assert operator_stops(STARTED, observed) == {unit_of("a/x")}


def test_a_shutdown_is_no_operators_stop() -> None:
    assert not operator_stops(STARTED, Observed(slices=slices("a"), system_stopping=True))


def test_a_fresh_boot_is_no_operators_stop() -> None:
    assert not operator_stops((), Observed())
    assert not operator_stops(STARTED, Observed())


def test_a_slice_that_stops_takes_its_units_along() -> None:
    for name in (ROOT_SLICE, route_slice("a")):
        stopping = {**slices("a"), name: ObservedUnit(name=name, sub="active", job="stop")}
        assert not operator_stops(STARTED, Observed(units=here("a"), slices=stopping))
        gone = {key: unit for key, unit in slices("a").items() if key != name}
        assert not operator_stops(STARTED, Observed(units=here("a"), slices=gone))


def test_a_stop_under_way_is_waited_for() -> None:
    units = here("a", "a/x", "a/y")
    leaving = replace(units[unit_of("a/x")], active="deactivating")
    assert not operator_stops(STARTED, Observed(units={**units, unit_of("a/x"): leaving}, slices=slices("a")))


def test_an_automatic_restart_is_no_stop() -> None:
    units = here("a", "a/x", "a/y")
    waiting = replace(units[unit_of("a/x")], active="activating", sub="auto-restart")
    assert not operator_stops(STARTED, Observed(units={**units, unit_of("a/x"): waiting}, slices=slices("a")))


def test_a_restart_by_systemctl_is_no_stop() -> None:
    """In the midst of it the unit is down, and only its job tells that it is to come back."""
    units = here("a", "a/x", "a/y")
    for job in ("start", "restart"):
        coming = replace(units[unit_of("a/x")], active="inactive", sub="dead", job=job)
        observed = Observed(units={**units, unit_of("a/x"): coming}, slices=slices("a"))
        assert not operator_stops(STARTED, observed)


def test_a_slice_on_its_way_back_was_down_with_its_units() -> None:
    coming = {name: replace(unit, active="inactive", sub="dead", job="start") for name, unit in slices("a").items()}
    assert not operator_stops(STARTED, Observed(units={}, slices=coming))
