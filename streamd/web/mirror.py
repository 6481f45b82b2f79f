"""What live updates are made of: the things of a status by address, what changed between two, and the latest changes.

Pure. A follower needs no queue of its own: it remembers how far it has read. Who has not read what is forgotten by now
is told everything anew, so that a slow one costs nothing but its connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from streamd.bus.document import Document

KEPT: Final = 2048
"""Changes that somebody who comes back is told one by one."""


@dataclass(frozen=True, slots=True)
class View:
    """What is known of the daemon at one moment."""

    running: bool = False
    """Whether the daemon can be asked; where it cannot, the rest is as it was when it could."""
    version: str = ""
    things: Mapping[str, Document] = field(default_factory=dict)
    """Routes, without their outputs, and outputs, by address, each route before its outputs."""
    diagnostics: tuple[Document, ...] = ()

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> View:
        """Return the view of what GetStatus tells."""
        things: dict[str, Document] = {}
        for route in status["routes"]:
            things[route["address"]] = {key: value for key, value in route.items() if key != "outputs"}
            things.update((output["address"], output) for output in route["outputs"])
        return cls(running=True, version=status["version"], things=things, diagnostics=tuple(status["diagnostics"]))


@dataclass(frozen=True, slots=True)
class Change:
    """One event that a follower is told."""

    event: str
    """changed, removed, diagnostics or daemon."""
    data: Any


def changes(old: View, new: View) -> Iterator[Change]:
    """Yield what leads from one view to another."""
    if (old.running, old.version) != (new.running, new.version):
        yield Change("daemon", {"running": new.running, "version": new.version})
    for address in old.things:
        if address not in new.things:
            yield Change("removed", {"address": address})
    for address, thing in new.things.items():
        if old.things.get(address) != thing:
            yield Change("changed", thing)
    if old.diagnostics != new.diagnostics:
        yield Change("diagnostics", list(new.diagnostics))


class History:
    """The latest changes, numbered; `epoch` tells those of one process from those of another."""

    def __init__(self, epoch: str, kept: int = KEPT) -> None:
        self._epoch = epoch
        self._changes: deque[Change] = deque(maxlen=kept)
        self.last = 0
        """The number of the latest change; 0 when there was none."""

    def add(self, change: Change) -> None:
        """Remember a change."""
        self.last += 1
        self._changes.append(change)

    def since(self, number: int) -> list[tuple[int, Change]] | None:
        """Return the changes after one, with their numbers; None when they are not all there any more."""
        missing = self.last - number
        if not 0 <= missing <= len(self._changes):
            return None
        first = self.last - len(self._changes) + 1
        return [(at, change) for at, change in enumerate(self._changes, first) if at > number]

    def name(self, number: int) -> str:
        """Return what a follower shows when it comes back."""
        return f"{self._epoch}-{number}"

    def number(self, name: str) -> int | None:
        """Return the number of a name; None when it is none of this history's."""
        epoch, dash, text = name.rpartition("-")
        known = dash and epoch == self._epoch and len(text) < 16 and text.isascii() and text.isdigit()
        return int(text) if known and int(text) <= self.last else None
