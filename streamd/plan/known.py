"""What systemd told of each unit in detail, kept for as long as it holds: to ask for it anew takes many calls."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from streamd.plan.observed import Details, ObservedUnit
from streamd.plan.status import UnitStatus


class View(NamedTuple):
    """A unit as it was seen at one moment: its line in the list, and what was told of it then."""

    unit: ObservedUnit
    details: Details


class Known:
    """The units as they were seen last. One question at a time, `missing` and `learn`; `changed` comes at any time."""

    def __init__(self) -> None:
        """Know nothing."""
        self._told: dict[str, View] = {}
        """What holds."""
        self._past: dict[str, View] = {}
        """What has held, of units that are to be asked for; the first to change comes first."""
        self._asked: dict[str, ObservedUnit] = {}
        self._changed: set[str] = set()

    def changed(self, name: str) -> None:
        """Take note that a unit is not what it was, also while it is being asked for."""
        if view := self._told.pop(name, None):
            self._past[name] = view
        self._changed.add(name)

    def missing(self, units: Collection[ObservedUnit]) -> tuple[list[ObservedUnit], list[ObservedUnit]]:
        """Return those of all units, as they are listed now, that are to be asked for; the others' details stay.

        First those that must be, since they have never been seen; then those that may be left out for this once, the
        one that is waiting for the longest first.

        A unit that is listed in another state than it was asked for in is asked for again: a list is older than the
        answers that follow it, and one that has been restarted meanwhile was asked for as what it no longer was.
        """
        self._changed.clear()
        listed = {unit.name: unit for unit in units}
        for name, view in list(self._told.items()):
            unit = listed.get(name)
            if unit is None:
                del self._told[name]
            elif (unit.active, unit.sub) == (view.unit.active, view.unit.sub):
                self._told[name] = View(unit, view.details)
            else:
                self._past[name] = self._told.pop(name)
        self._past = {name: view for name, view in self._past.items() if name in listed}
        self._asked = {name: unit for name, unit in listed.items() if name not in self._told}
        must = [unit for name, unit in self._asked.items() if name not in self._past]
        return must, [listed[name] for name in self._past]

    def learn(self, found: Mapping[str, Details | None]) -> dict[str, View]:
        """Take what was found of those that were missing, None where systemd did not tell, and return all units.

        Kept is what did not change while it was asked for; the rest is good for this once. One that was left out is
        returned as it was seen last, in whatever state it was then.
        """
        result = dict(self._told)
        for name, unit in self._asked.items():
            if name not in found and name in self._past:
                result[name] = self._past[name]
                continue
            details = found.get(name)
            result[name] = View(unit, details or Details(status=UnitStatus(unit=name)))
            if details is None:
                continue
            self._past.pop(name, None)
            if name in self._changed:
                self._past[name] = result[name]
            else:
                self._told[name] = result[name]
        self._asked = {}
        return result
