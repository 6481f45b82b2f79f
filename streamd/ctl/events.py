"""`monitor`: what became of the objects, as events with an address. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from streamd.bus.names import MANAGER, OUTPUT, ROUTE
from streamd.bus.notice import Altered, Came, Everything, Interfaces, Left, Notice, Went
from streamd.ctl.properties import text
from streamd.ctl.style import Style, count, plain

_INCIDENTAL: Final = frozenset(
    {
        *("State", "Cause", "Reason", "Advice", "Since", "NextTry", "LastError", "LastErrorAt", "Overall"),
        *("Unit", "PID", "Restarts", "Invocation", "Outputs"),
    }
)
"""Properties of which a line says more than their values, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change."""

    kind: str
    """added, removed, state, restarted, changed, diagnostics, gone or back."""
    address: str = ""
    """Empty where it is about the daemon."""
    before: str = ""
    """The state until then."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """All of the object, as they are now."""
    changed: Mapping[str, Any] = field(default_factory=dict)
    """Those that changed."""


class Follower:
    """Knows the objects of the moment, and tells what a notice changes."""

    def __init__(self) -> None:
        self._objects: dict[str, Interfaces] = {}
        self.there = False
        """Whether the daemon is on the bus, so that what is known is true."""

    def things(self) -> dict[str, Mapping[str, Any]]:
        """Return the properties of all routes and outputs, by address."""
        return dict(sorted(found for found in map(_thing, self._objects.values()) if found is not None))

    def manager(self) -> Mapping[str, Any]:
        """Return the properties of the daemon."""
        found = (interfaces[MANAGER] for interfaces in self._objects.values() if MANAGER in interfaces)
        return next(found, {})

    def apply(self, notice: Notice) -> Iterator[Event]:
        """Take a notice and yield what it changes; nothing for the first of all objects."""
        match notice:
            case Left():
                self.there = False
                yield Event(kind="gone")
            case Everything(objects):
                old, self._objects = self._objects, dict(objects)
                self.there = True
                if old:
                    yield Event(kind="back")
                    yield from self._compare(old)
            case Came(path, interfaces):
                self._objects[path] = interfaces
                yield from _compare(None, interfaces)
            case Went(path):
                yield from _compare(self._objects.pop(path, None), None)
            case Altered(path, interface, values):
                before = self._objects.get(path, {})
                self._objects[path] = {**before, interface: {**before.get(interface, {}), **values}}
                yield from _compare(before, self._objects[path])

    def _compare(self, old: Mapping[str, Interfaces]) -> Iterator[Event]:
        for path in {**old, **self._objects}:
            yield from _compare(old.get(path), self._objects.get(path))


def _thing(interfaces: Interfaces) -> tuple[str, Mapping[str, Any]] | None:
    if OUTPUT in interfaces:
        return str(interfaces[OUTPUT].get("Address", "")), interfaces[OUTPUT]
    if ROUTE in interfaces:
        return str(interfaces[ROUTE].get("Name", "")), interfaces[ROUTE]
    return None


def _compare(old: Interfaces | None, new: Interfaces | None) -> Iterator[Event]:
    """Yield the one event, or none, that leads from one object to another."""
    if old is not None and new is not None and MANAGER in new:
        found = new[MANAGER].get("Diagnostics", [])
        if found != old.get(MANAGER, {}).get("Diagnostics", []):
            yield Event(kind="diagnostics", changed={"Diagnostics": found})
        return
    was, now = (_thing(one) if one is not None else None for one in (old, new))
    if now is None:
        if was is not None:
            yield Event(kind="removed", address=was[0], before=was[1].get("State", ""))
        return
    address, properties = now
    if was is None:
        yield Event(kind="added", address=address, properties=properties)
        return
    before = was[1]
    changed = {name: value for name, value in properties.items() if before.get(name) != value}
    kind = _kind(before, changed)
    if kind:
        yield Event(kind=kind, address=address, before=before.get("State", ""), properties=properties, changed=changed)


def _kind(before: Mapping[str, Any], changed: Mapping[str, Any]) -> str:
    if not changed.keys().isdisjoint({"State", "Cause", "Reason"}):
        return "state"
    if changed.get("Restarts", 0) > before.get("Restarts", 0) or (
        changed.get("Invocation") and before.get("Invocation")
    ):
        return "restarted"
    return "changed" if changed.keys() - _INCIDENTAL else ""


def event_document(event: Event, time: int) -> dict[str, Any]:
    """Return what `monitor --json` prints; `time` in µs since 1970."""
    document: dict[str, Any] = {"time": time, "event": event.kind, "address": event.address}
    if event.address:
        document["before"] = event.before
        document["state"] = event.properties.get("State", "")
        document["cause"] = event.properties.get("Cause", "")
        document["reason"] = event.properties.get("Reason", "")
    return {**document, "changed": dict(event.changed)}


def event_line(event: Event, time: int, style: Style) -> str:
    """Return what `monitor` prints; `time` in µs since 1970."""
    moment = datetime.fromtimestamp(time / 1_000_000, UTC).astimezone()
    address = style.paint(plain(event.address or "streamd"), "bold")
    return f"{moment:%Y-%m-%d %H:%M:%S} {address}: {_told(event, style)}"


def _told(event: Event, style: Style) -> str:
    state = str(event.properties.get("State", ""))
    shown = style.paint(plain(state), state)
    cause = f": {plain(event.properties['Cause'])}" if event.properties.get("Cause") else ""
    cause += f" ({plain(event.properties['Reason'])})" if event.properties.get("Reason") else ""
    match event.kind:
        case "added":
            return f"added, {shown}{cause}"
        case "removed":
            return "removed"
        case "state":
            return f"{plain(event.before)} -> {shown}{cause}" if event.before != state else f"{shown}{cause}"
        case "restarted":
            times = event.properties.get("Restarts", 0)
            again = f", {count(times, 'time')} by systemd so far" if times else ""
            return f"{shown}, restarted{again}"
        case "diagnostics":
            found = event.changed["Diagnostics"]
            return (
                f"{count(len(found), 'error')} in the files, see: streamctl check"
                if found
                else "no errors in the files"
            )
        case "gone":
            return "it left the bus; outputs go on"
        case "back":
            return "it is back"
    told = {name: value for name, value in event.changed.items() if name not in _INCIDENTAL}
    return ", ".join(f"{name}={_short(value)}" for name, value in told.items())


def _short(value: Any) -> str:  # noqa: ANN401
    return json.dumps(value) if isinstance(value, str) and " " in value else text(value)
