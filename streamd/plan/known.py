"""What systemd told of each unit in detail, kept for as long as it holds: to ask for it anew takes many calls."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from streamd.plan.observed import Details, ObservedUnit
from streamd.plan.status import UnitStatus


class _Told(NamedTuple):
    listed: tuple[str, str]
    """ActiveState and SubState as they stood in the list by which it was asked for."""
    details: Details


class Known:
    """The details of units. One question at a time: `missing`, then `learn`; `changed` may come at any time."""

    def __init__(self) -> None:
        """Know nothing."""
        self._told: dict[str, _Told] = {}
        self._asked: dict[str, tuple[str, str]] = {}
        self._changed: set[str] = set()

    def changed(self, name: str) -> None:
        """Take note that a unit is not what it was, also while it is being asked for."""
        self._told.pop(name, None)
        self._changed.add(name)

    def missing(self, units: Collection[ObservedUnit]) -> list[ObservedUnit]:
        """Return those of all units, as they are listed now, that are to be asked for; the others' details stay.

        A unit that is listed in another state than it was asked for in is asked for again: a list is older than the
        answers that follow it, and one that has been restarted meanwhile was asked for as what it no longer was.
        """
        self._changed.clear()
        listed = {unit.name: (unit.active, unit.sub) for unit in units}
        self._told = {name: told for name, told in self._told.items() if listed.get(name) == told.listed}
        self._asked = {name: state for name, state in listed.items() if name not in self._told}
        return [unit for unit in units if unit.name in self._asked]

    def learn(self, found: Mapping[str, Details | None]) -> dict[str, Details]:
        """Take what was found of those that were missing, None where systemd did not tell, and return all details.

        Kept is what did not change while it was asked for; the rest is good for this once.
        """
        result = {name: told.details for name, told in self._told.items()}
        for name, state in self._asked.items():
            details = found.get(name)
            result[name] = details or Details(status=UnitStatus(unit=name))
            if details is not None and name not in self._changed:
                self._told[name] = _Told(state, details)
        self._asked = {}
        return result
