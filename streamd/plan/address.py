"""What streamd calls a unit, and what systemd calls it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_UNIT: Final = re.compile(r"streamd-(?:ingest@(?P<ingest>[^:]+)|output@(?P<route>[^:]+):(?P<output>[^:]+))\.service")


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A unit in streamd's own words: ROUTE is its ingest, ROUTE/OUTPUT an output."""

    route: str
    output: str = ""

    def __str__(self) -> str:
        return f"{self.route}/{self.output}" if self.output else self.route

    @property
    def unit(self) -> str:
        """Return the name of the unit."""
        if self.output:
            return f"streamd-output@{self.route}:{self.output}.service"
        return f"streamd-ingest@{self.route}.service"

    @classmethod
    def of_unit(cls, name: str) -> Address | None:
        """Return the address that belongs to a unit's name, None when it is not one of ours."""
        found = _UNIT.fullmatch(name)
        if not found:
            return None
        return cls(found["ingest"] or found["route"], found["output"] or "")


def route_slice(route: str) -> str:
    """Return the slice of a route; systemd reads a bare dash in a slice's name as one more level."""
    return f"streamd-{route.replace('-', chr(92) + 'x2d')}.slice"
