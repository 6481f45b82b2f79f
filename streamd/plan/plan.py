"""The plan: what leads from what is to what should be, one step a unit, each with its reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from streamd.plan.address import Address
from streamd.plan.desired import Desired
from streamd.plan.moves import moved
from streamd.plan.observed import Observed, ObservedUnit
from streamd.plan.status import State
from streamd.plan.step import Action, Step
from streamd.plan.unit import DesiredUnit

_NONE: Final[Mapping[str, str]] = {}


def plan(
    desired: Desired,
    observed: Observed,
    *,
    forced: Mapping[str, str] = _NONE,
    unsettled: Collection[str] = (),
) -> tuple[Step, ...]:
    """Return the steps from observed to desired, every unit of either side named once, stops first.

    Args:
        desired: what should run.
        observed: what systemd has.
        forced: by name, units that are to be restarted even if nothing changed, and why.
        unsettled: names of units that were started a moment ago and do not send yet.
    """
    steps = [_wanted(unit, observed, forced.get(name, "")) for name, unit in desired.units.items()]
    for name, unit in observed.units.items():
        address = Address.of_unit(name)
        if address is not None and name not in desired.units and (unit.is_up or unit.is_leaving):
            steps.append(_unwanted(address, unit, desired))
    steps = moved(steps, desired, observed, unsettled)
    order = list(Action)
    return tuple(sorted(steps, key=lambda step: (order.index(step.action), step.address)))


def _wanted(unit: DesiredUnit, everything: Observed, forced: str) -> Step:
    observed = everything.units.get(unit.name)
    if observed is None or observed.active in ("inactive", "failed"):
        if everything.slice_is_leaving(unit.address.route):
            return Step(Action.KEEP, unit.address, "its slice is stopping just now")
        if observed is not None and observed.is_coming:
            return Step(Action.KEEP, unit.address, "is starting just now")
        return Step(Action.START, unit.address, "not running", unit)
    if observed.is_leaving:
        return Step(Action.KEEP, unit.address, "is stopping just now")
    if forced:
        return Step(Action.RESTART, unit.address, forced, unit)
    is_, should = observed.fingerprint, unit.fingerprint
    if is_ is None:
        return Step(Action.RESTART, unit.address, "was not started by streamd", unit)
    if is_.command != should.command:
        return Step(Action.RESTART, unit.address, "its definition changed", unit)
    if is_.secrets != should.secrets:
        return Step(Action.RESTART, unit.address, "a credential of it changed", unit)
    if is_.live != should.live:
        return Step(Action.ADJUST, unit.address, "its limits or its title changed", unit)
    return Step(Action.KEEP, unit.address, "unchanged", unit)


def _unwanted(address: Address, observed: ObservedUnit, desired: Desired) -> Step:
    absent = desired.absent.get(address.unit)
    if observed.is_leaving:
        return Step(Action.KEEP, address, "is stopping just now")
    if address.route in desired.held:
        return Step(Action.KEEP, address, "its file is broken")
    if absent is None:
        return Step(Action.STOP, address, "no file asks for it")
    if absent.state is State.BLOCKED:
        return Step(Action.KEEP, address, f"as it was: {absent.reason}")
    return Step(Action.STOP, address, absent.reason)
