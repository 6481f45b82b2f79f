"""Moves from one relay to the other: the new way is up first, and outputs go over one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Final

from streamd.plan.address import Address
from streamd.plan.desired import Desired
from streamd.plan.observed import Observed
from streamd.plan.step import Action, Step

CHANGED: Final = "its relay changed"


def moved(steps: Iterable[Step], desired: Desired, observed: Observed, unsettled: Collection[str]) -> list[Step]:
    """Return the steps with those put off whose turn has not come.

    Towards MediaMTX the ingest changes last: until then it feeds the direct relay, which the outputs leave. Away from
    it the ingest comes first, and MediaMTX keeps the path for as long as somebody reads there (streamd.plan.mediamtx).
    What an output's far end does is no matter: one that does not send in a while holds nobody up.

    Args:
        steps: as if all were done at once.
        desired: what should run.
        observed: what systemd has.
        unsettled: names of units that were started a moment ago and do not send yet.
    """
    found = list(steps)
    for route in sorted({step.address.route for step in found if _is_move(step, observed)}):
        found = _of_route(route, found, desired, observed, unsettled)
    return found


def _of_route(
    route: str, steps: list[Step], desired: Desired, observed: Observed, unsettled: Collection[str]
) -> list[Step]:
    moves = sorted(step.address for step in steps if step.address.route == route and _is_move(step, observed))
    ingest = next((step for step in steps if step.address == Address(route)), None)
    first = moves[0]
    waits_for = ""
    if ingest is not None and not desired.units[first.unit].is_by_mediamtx:
        is_new = ingest.action in (Action.KEEP, Action.ADJUST)
        waits_for = route if not is_new or ingest.address.unit in unsettled else ""
    if not waits_for:
        fresh = (
            address
            for address in (step.address for step in steps if step.address.route == route and step.address.output)
            if address not in moves and address.unit in unsettled
        )
        waits_for = next(map(str, fresh), "")
    result = []
    for step in steps:
        if step.address == first and not waits_for:
            result.append(replace(step, reason=CHANGED))
        elif step.address in moves:
            result.append(_put_off(step, f"moves to its new relay after {waits_for or first}"))
        elif step is ingest and desired.units[first.unit].is_by_mediamtx and step.action is Action.RESTART:
            result.append(_put_off(step, "feeds the old relay until all outputs have left it"))
        else:
            result.append(step)
    return result


def _put_off(step: Step, reason: str) -> Step:
    return replace(step, action=Action.KEEP, reason=reason, is_put_off=True)


def _is_move(step: Step, observed: Observed) -> bool:
    unit = observed.units.get(step.address.unit)
    if step.action is not Action.RESTART or step.unit is None or unit is None or not step.address.output:
        return False
    return unit.fingerprint is not None and unit.is_by_mediamtx is not step.unit.is_by_mediamtx
