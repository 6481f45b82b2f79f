"""The objects on the bus as immutable values, made from a status, and what changed from one to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from streamd.bus.document import diagnostics_document
from streamd.bus.names import MANAGER, OUTPUT, ROOT, ROUTE, output_path, route_path
from streamd.plan.status import FAILING, Moving, OutputStatus, RouteStatus, State, Status

Properties = Mapping[str, Any]
"""Values by property name, not yet packed."""
Interfaces = Mapping[str, Properties]
Tree = Mapping[str, Interfaces]
"""Interfaces by object path. Only interfaces of our own; each object has the standard ones besides."""


@dataclass(frozen=True, slots=True)
class Added:
    """An object came."""

    path: str


@dataclass(frozen=True, slots=True)
class Removed:
    """An object went."""

    path: str
    interfaces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    """Properties of one interface of an object have other values than before."""

    path: str
    interface: str
    properties: tuple[str, ...]


Change = Added | Removed | Changed


def build(status: Status) -> Tree:
    """Return all objects, the root first, each route before its outputs."""
    return Builder().build(status)


class Builder:
    """Makes one tree after the other; what did not change is the very object that it was in the last one."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[RouteStatus | OutputStatus, Interfaces]] = {}

    def build(self, status: Status) -> Tree:
        """Return all objects, the root first, each route before its outputs."""
        made: dict[str, tuple[RouteStatus | OutputStatus, Interfaces]] = {}
        for route in status.routes:
            path = route_path(route.name)
            known = self._last.get(path)
            made[path] = known if known and known[0] == route else (route, {ROUTE: route_properties(route)})
            for output in route.outputs:
                path = output_path(output.route, output.name)
                known = self._last.get(path)
                made[path] = known if known and known[0] == output else (output, {OUTPUT: output_properties(output)})
        self._last = made
        return {ROOT: {MANAGER: manager_properties(status)}} | {path: found for path, (_, found) in made.items()}


def changes(old: Tree, new: Tree) -> Iterator[Change]:
    """Yield what leads from one tree to the other: what went, then what came, then what changed.

    The root comes last of all, so that whoever sees a new count finds the objects.
    """
    for path, interfaces in old.items():
        if path not in new:
            yield Removed(path, tuple(interfaces))
    for path in new:
        if path not in old:
            yield Added(path)
    for path in sorted((path for path in new if path in old), key=lambda path: path == ROOT):
        if new[path] is old[path]:
            continue
        for interface, properties in new[path].items():
            before = old[path].get(interface, {})
            if properties != before:
                names = tuple(name for name, value in properties.items() if before.get(name, ...) != value)
                yield Changed(path, interface, names)


def addresses(status: Status) -> dict[str, str]:
    """Return the address that each object stands for, by path."""
    found = {}
    for route in status.routes:
        found[route_path(route.name)] = route.name
        for output in route.outputs:
            found[output_path(output.route, output.name)] = output.address
    return found


def manager_properties(status: Status) -> Properties:
    """Return the properties of org.streamd1.Manager."""
    return {
        "Version": status.version,
        "Routes": len(status.routes),
        "Outputs": status.output_count,
        "Running": sum(output.state is State.RUNNING for route in status.routes for output in route.outputs),
        "Failing": sum(output.state in FAILING for route in status.routes for output in route.outputs),
        "Relays": sorted({route.relay for route in status.routes if route.relay}),
        "Diagnostics": diagnostics_document(status.diagnostics),
    }


def route_properties(route: RouteStatus) -> Properties:
    """Return the properties of org.streamd1.Route."""
    return {
        "Name": route.name,
        "Path": route.path,
        "Description": route.description,
        "Enabled": route.enabled,
        "Relay": route.relay,
        "Input": route.input_kind,
        "URL": route.input_url,
        "Group": route.group,
        "Broken": route.broken,
        "Overall": str(route.overall),
        "Outputs": [output_path(output.route, output.name) for output in route.outputs],
        **_state_properties(route),
    }


def output_properties(output: OutputStatus) -> Properties:
    """Return the properties of org.streamd1.Output."""
    return {
        "Name": output.name,
        "Route": output.route,
        "Address": output.address,
        "Kind": output.kind,
        "Mode": output.mode,
        "URL": output.url,
        "Description": output.description,
        "Enabled": output.enabled,
        **_state_properties(output),
    }


def _state_properties(thing: RouteStatus | OutputStatus) -> Properties:
    return {
        "State": str(thing.state),
        "Cause": thing.cause,
        "Since": thing.since,
        "Unit": thing.unit.unit,
        "PID": thing.unit.pid,
        "Restarts": thing.unit.restarts,
        "Invocation": thing.unit.invocation,
        "Reason": thing.trouble.reason,
        "Advice": thing.trouble.advice,
        "NextTry": thing.trouble.next_try,
        "LastError": thing.trouble.last_error,
        "LastErrorAt": thing.trouble.last_error_at,
    }


MOVING: Final = ("Bitrate", "Bytes", "Uptime")
"""Properties that are not part of the tree, since they change all the time."""


def moving_properties(moving: Moving) -> dict[str, int]:
    """Return the moving properties of a Route or an Output; what is unknown is 0."""
    return {"Bitrate": moving.bitrate or 0, "Bytes": moving.bytes or 0, "Uptime": moving.uptime or 0}
