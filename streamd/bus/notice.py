"""What a listener is told of the daemon's objects. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Interfaces = Mapping[str, Mapping[str, Any]]
"""Properties by interface, without variants."""


@dataclass(frozen=True, slots=True)
class Everything:
    """All objects of one moment by path, the root with its Manager included. Comes again when the daemon does."""

    objects: Mapping[str, Interfaces]


@dataclass(frozen=True, slots=True)
class Came:
    """An object came."""

    path: str
    interfaces: Interfaces


@dataclass(frozen=True, slots=True)
class Went:
    """An object went."""

    path: str


@dataclass(frozen=True, slots=True)
class Altered:
    """Properties of an object have new values."""

    path: str
    interface: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Left:
    """The daemon left the bus. Everything comes when it is back."""


Notice = Everything | Came | Went | Altered | Left
