"""GetManagedObjects' reply: one piece of bytes that is kept, and of which only what is new is made anew. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final
from zlib import crc32

from streamd.bus.wire import Counters, dictionary, joined

_BEFORE_ENTRIES: Final = len(dictionary(b""))
_MOVING_SECONDS: Final = 1.0
"""How old the counters may be: FFmpeg reports them once a second."""
_PARTS: Final = 16
"""Into which the objects are divided, so that not all of them get new counters in one go."""


class ManagedObjects:
    """The entries of all objects, one after the other, with the counters of the last second in them.

    With 1,000 outputs it is a megabyte, and whoever calls waits while it is made. So new counters are put into the
    entries where they are, and when an object comes, goes or changes, all other entries are taken over as they are.
    """

    def __init__(
        self, counters: Counters, entry: Callable[[str], bytes], moving: Callable[[str], Mapping[str, int] | None]
    ) -> None:
        """Take what makes the entry of an object, by its path, and what there is to put in.

        Args:
            counters: the entries of counters with which that of an object ends which has them.
            entry: returns the entry of an object.
            moving: returns the counters of an object, None where it has none.
        """
        self._counters = counters
        self._entry = entry
        self._moving = moving
        self._body = bytearray(dictionary(b""))
        self._places: dict[str, tuple[int, int]] = {}
        """Where the entry of each object begins and ends that is as it should be, but for its counters."""
        self._parts: tuple[list[tuple[str, int]], ...] = tuple([] for _ in range(_PARTS))
        """All objects, divided, with where each ends."""
        self._counted_at = [-_MOVING_SECONDS] * _PARTS
        self._is_whole = True
        self._reply: bytes | None = None

    def change(self, path: str) -> None:
        """Note that an object came, went or is another."""
        self._places.pop(path, None)
        self._is_whole = False

    def reply(self, paths: Collection[str], now: float) -> bytes:
        """Return the reply with the objects at these paths, of which all that are new were told by `change`."""
        is_counted = self._count_anew(now)
        if not self._is_whole:
            self._lay_out(paths)
        if is_counted or self._reply is None:
            self._reply = bytes(self._body)
        return self._reply

    def _lay_out(self, paths: Collection[str]) -> None:
        """Put the entries of all objects together."""
        kept = memoryview(self._body)
        found: list[bytes | memoryview] = []
        for path in paths:
            place = self._places.get(path)
            found.append(kept[place[0] : place[1]] if place else self._entry(path))
        self._body = bytearray(dictionary(joined(found)))
        self._places = {}
        self._parts = tuple([] for _ in range(_PARTS))
        end = _BEFORE_ENTRIES
        for path, entry in zip(paths, found, strict=True):
            begin = end + (-end & 7)
            end = begin + len(entry)
            self._places[path] = (begin, end)
            self._parts[crc32(path.encode()) % _PARTS].append((path, end))
        self._is_whole = True
        self._reply = None

    def _count_anew(self, now: float) -> bool:
        """Put new counters in where they are older than a second, and tell whether there were any."""
        due = [part for part, counted_at in enumerate(self._counted_at) if now - counted_at > _MOVING_SECONDS]
        for part in due:
            # Where all are due at once, as after a pause, it is made so that they are not the next time.
            early = _MOVING_SECONDS * part / _PARTS if len(due) == _PARTS else 0
            self._counted_at[part] = now - early
            for path, end in self._parts[part]:
                values = self._moving(path)
                if values is not None:
                    self._counters.put(self._body, values, end)
        return bool(due)
