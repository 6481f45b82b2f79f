"""What can be asked of routes: changes as values, and the reasons why one is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, time
from enum import StrEnum
from typing import Any, Final

from streamd.route.diagnostic import Diagnostic
from streamd.route.merge import REMOVED
from streamd.route.name import NAME_PATTERN
from streamd.route.parse import NAME_RULE

_MAX_DEPTH: Final = 8
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Make a route that is not there yet; the table is what its file says."""

    name: str
    table: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RemoveRoute:
    """Take a route away with all of its outputs."""

    name: str


@dataclass(frozen=True, slots=True)
class UpdateRoute:
    """Set keys of a route; None removes a key, and whatever is not in the table stays.

    `input` is a table of keys that are set or removed in the same way.
    """

    name: str
    table: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EnableRoute:
    """Let a route run, with those of its outputs that are not disabled themselves."""

    name: str


@dataclass(frozen=True, slots=True)
class DisableRoute:
    """Keep a route and all its outputs from running, and keep its definition."""

    name: str


@dataclass(frozen=True, slots=True)
class AddOutput:
    """Add an output that is not there yet; the table is what stands below [output.NAME]."""

    route: str
    name: str
    table: dict[str, Any]


@dataclass(frozen=True, slots=True)
class UpdateOutput:
    """Set keys of an output; None removes a key, and whatever is not in the table stays."""

    route: str
    name: str
    table: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RemoveOutput:
    """Take an output away."""

    route: str
    name: str


@dataclass(frozen=True, slots=True)
class EnableOutput:
    """Let an output run."""

    route: str
    name: str


@dataclass(frozen=True, slots=True)
class DisableOutput:
    """Keep an output from running, and keep its definition."""

    route: str
    name: str


OutputChange = AddOutput | UpdateOutput | RemoveOutput | EnableOutput | DisableOutput
RouteUpdate = UpdateRoute | EnableRoute | DisableRoute
RouteChange = AddRoute | RemoveRoute | RouteUpdate
Change = RouteChange | OutputChange


class Kind(StrEnum):
    """Why a change is refused."""

    NOT_FOUND = "not-found"
    EXISTS = "exists"
    INVALID = "invalid"
    """The result would not be valid, or what is there is not."""
    BY_HAND = "by-hand"
    """A person's file stands in the way; the message says which."""
    BUSY = "busy"
    FAILED = "failed"
    """The files could not be read or written."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A change that is not made, and why: one sentence for a person, no full stop."""

    kind: Kind
    message: str
    diagnostics: tuple[Diagnostic, ...] = ()


def route_of(change: Change) -> str:
    """Return the name of the route that a change is about."""
    return change.name if isinstance(change, RouteChange) else change.route


def check_change(change: Change) -> Refusal | None:
    """Return what is wrong with a change in itself: a name, or a value that no TOML can have.

    Whoever makes a path of a route's name must ask this first.
    """
    if not NAME_PATTERN.fullmatch(route_of(change)):
        return Refusal(Kind.INVALID, f"the name of a route must be {NAME_RULE}")
    if not isinstance(change, RouteChange):
        if not NAME_PATTERN.fullmatch(change.name):
            return Refusal(Kind.INVALID, f"the name of an output must be {NAME_RULE}")
        if isinstance(change, AddOutput | UpdateOutput) and REMOVED in change.table:
            return Refusal(Kind.INVALID, f"{REMOVED} is for drop-ins that a person writes")
    if "hooks" in getattr(change, "table", ()):
        # They start any unit as root, which is more than whoever may configure routes is trusted with.
        return Refusal(Kind.INVALID, "hooks start units, so they stand in files that root writes, not in a request")
    if isinstance(change, UpdateRoute) and not change.table.keys().isdisjoint({"output", REMOVED}):
        return Refusal(Kind.INVALID, "an output is changed by itself, as ROUTE/OUTPUT")
    if isinstance(change, UpdateOutput | UpdateRoute):
        fault = _fault(_without_none(change.table))
    else:
        fault = _fault(change.table) if isinstance(change, AddRoute | AddOutput) else ""
    return Refusal(Kind.INVALID, fault) if fault else None


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of an update with something in place of those that are removed."""
    return {
        key: _without_none(value) if key == "input" and isinstance(value, dict) else "" if value is None else value
        for key, value in table.items()
    }


def _fault(value: object, depth: int = 0) -> str:
    """Return why a value cannot stand in a TOML file, or nothing."""
    if depth > _MAX_DEPTH:
        return f"tables and arrays may be nested {_MAX_DEPTH} deep at most"
    below: list[object] = []
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return "a key must be a string"
        below = [*value, *value.values()]
    elif isinstance(value, list):
        below = list(value)
    elif isinstance(value, str):
        return "the text contains half of a character (a surrogate)" if _SURROGATE.search(value) else ""
    elif not isinstance(value, bool | int | float | date | time):
        return "there is a value that TOML does not have"
    return next((fault for inner in below if (fault := _fault(inner, depth + 1))), "")
