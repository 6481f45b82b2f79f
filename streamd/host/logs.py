"""The last lines that each of our units wrote to the journal, kept at hand for when one fails.

Following costs something for each line and nothing while all is well; asking the journal at every failure would cost
most in a storm, when there is least time for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Final

from systemd import journal

from streamd.plan.cause import is_noise
from streamd.plan.status import LogLine
from streamd.route.model import Engine

_LOG: Final = logging.getLogger(__name__)
_KEPT: Final = 20
"""Lines of a unit."""
_BATCH: Final = 200
"""Lines that are read before others get their turn."""
_MATCHES: Final = tuple(f"STREAMD_ENGINE={engine}" for engine in Engine)
_LONGEST: Final = 500
"""Characters of a line."""
_RECALL_SECONDS: Final = 5.0


class LogError(Exception):
    """The journal tells nothing; the text is one sentence for a person."""


class Logs:
    """Follows the journal. Without a journal, or when reading fails, it knows nothing, and says so once."""

    def __init__(self) -> None:
        self._reader: Any = None
        self._stands = False
        """The reader has met a line of ours."""
        self._lines: dict[str, deque[tuple[str, str]]] = {}
        """By unit: invocation and text, the oldest first."""
        self.on_line: Callable[[str, str, str], None] = lambda _unit, _invocation, _text: None
        """Called with unit, invocation and text of each new line, noise included."""

    def open(self) -> None:
        """Follow from now on, in the running event loop."""
        try:
            reader = journal.Reader(journal.SYSTEM)
            for match in _MATCHES:
                reader.add_match(match)
            descriptor = reader.fileno()
            reader.seek_tail()
            # Behind the tail nothing is ever next: stand on the last line, where there is one.
            self._stands = bool(reader.get_previous())
            self._reader = reader
            asyncio.get_running_loop().add_reader(descriptor, self._wake)
        except OSError as error:
            _LOG.warning("cannot follow the journal, so causes of failures are told by exit status alone: %s", error)
            self.close()

    def close(self) -> None:
        """Follow no more."""
        if self._reader is not None:
            asyncio.get_running_loop().remove_reader(self._reader.fileno())
            self._reader.close()
        self._reader = None

    def _wake(self) -> None:
        if self._reader is None:
            return
        try:
            self._reader.process()
            self._read()
        except OSError as error:
            _LOG.warning("cannot read the journal, beginning anew: %s", error)
            self.close()
            self.open()

    def _read(self) -> None:
        if not self._stands:
            # A reader that has come to the end without a match never finds the first one by itself.
            self._reader.seek_head()
        for _ in range(_BATCH):
            entry = self._reader.get_next()
            if not entry:
                return
            self._stands = True
            self._take(entry)
        asyncio.get_running_loop().call_soon(self._wake)

    def _take(self, entry: dict[str, Any]) -> None:
        unit, invocation, text = _parts(entry)
        if not unit:
            return
        self.on_line(unit, invocation, text)
        if is_noise(text):
            return
        lines = self._lines.get(unit)
        if lines is None:
            lines = self._lines[unit] = deque(maxlen=_KEPT)
        lines.append((invocation, text))

    def lines(self, unit: str, invocation: str) -> tuple[str, ...]:
        """Return the last lines of one invocation that were seen, the oldest first."""
        return tuple(text for found, text in self._lines.get(unit, ()) if found == invocation)

    def last_invocation(self, unit: str, *, but: str) -> str:
        """Return the invocation that a unit's latest line is of, but for one; empty where none is known."""
        return next((found for found, _ in reversed(self._lines.get(unit, ())) if found != but), "")

    def forget(self, others_than: Collection[str]) -> None:
        """Drop the lines of all units but these."""
        for gone in self._lines.keys() - set(others_than):
            del self._lines[gone]

    async def recall(self, invocation: str) -> tuple[str, ...]:
        """Ask the journal for the last lines of an invocation, from before they were followed."""
        if not invocation:
            return ()
        try:
            async with asyncio.timeout(_RECALL_SECONDS):
                return await asyncio.to_thread(_recall, invocation)
        except (OSError, TimeoutError) as error:
            _LOG.debug("cannot read the journal of invocation %s: %s", invocation, error)
            return ()


def _recall(invocation: str) -> tuple[str, ...]:
    reader = journal.Reader(journal.SYSTEM)
    try:
        reader.add_match(_SYSTEMD_INVOCATION_ID=invocation)
        reader.seek_tail()
        found: list[str] = []
        while len(found) < _KEPT and (entry := reader.get_previous()):
            text = _parts(entry)[2]
            found += [] if is_noise(text) else [text]
        return tuple(reversed(found))
    finally:
        reader.close()


async def last_lines(match: str, unit: str, count: int) -> tuple[LogLine, ...]:
    """Return the last lines that a unit wrote, and that systemd wrote about it, the oldest first.

    Args:
        match: what stands in each line of the unit's own, such as STREAMD_OUTPUT=studio-a/venue.
        unit: its name.
        count: how many lines at most.

    Raises:
        LogError: the journal cannot be read.
    """
    try:
        async with asyncio.timeout(_RECALL_SECONDS):
            return await asyncio.to_thread(_last_lines, match, unit, count)
    except TimeoutError as error:
        raise LogError(f"the journal did not answer within {_RECALL_SECONDS:g} s") from error
    except OSError as error:
        raise LogError(f"the journal cannot be read: {error.strerror or error}") from error


def _last_lines(match: str, unit: str, count: int) -> tuple[LogLine, ...]:
    reader = journal.Reader(journal.SYSTEM)
    try:
        reader.add_match(match)
        reader.add_disjunction()
        # systemd's own lines about a unit, such as "Started", have none of our fields on systemd 252.
        reader.add_match(UNIT=unit)
        reader.seek_tail()
        found: list[LogLine] = []
        while len(found) < count and (entry := reader.get_previous()):
            moment = entry["__REALTIME_TIMESTAMP"]
            time = int(moment.timestamp() * 1_000_000)
            found.append(LogLine(time=time, priority=int(entry.get("PRIORITY", 6)), text=_parts(entry)[2]))
        return tuple(reversed(found))
    finally:
        reader.close()


def _parts(entry: dict[str, Any]) -> tuple[str, str, str]:
    """Return unit, invocation and text of a journal entry."""
    invocation = entry.get("_SYSTEMD_INVOCATION_ID", "")
    message = entry.get("MESSAGE", "")
    text = message if isinstance(message, str) else bytes(message).decode(errors="replace")
    return (
        str(entry.get("_SYSTEMD_UNIT", "")),
        invocation.hex if hasattr(invocation, "hex") and not callable(invocation.hex) else str(invocation),
        text[:_LONGEST],
    )
