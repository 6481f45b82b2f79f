"""How soon a unit that ended is tried again: quickly when the network may be back any moment, else slowly.

systemd does the waiting, so it goes on without the daemon; but its delays are fixed when a unit is made. So a unit
whose cause asks for another pace is made anew, which is a try at once, and from then on systemd waits as it should.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from streamd.plan.cause import Cause, is_slow

HEALTHY: Final = 60_000_000
"""µs of running after which whatever was before is forgiven."""
_JITTER: Final = 20
"""Per cent that a delay may be longer or shorter."""


class Pace(StrEnum):
    """The two paces."""

    QUICK = "quick"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Delays:
    """The wait before the first automatic restart and the longest one, between which it grows; in ms."""

    first: int
    longest: int


_DELAYS: Final = {Pace.QUICK: Delays(500, 30_000), Pace.SLOW: Delays(15_000, 300_000)}
LISTENER_LONGEST: Final = 2_000
"""ms; FFmpeg ends when a caller leaves its listener, which is no failure: the next caller is not to wait for long."""


def next_pace(pace: Pace, cause: Cause, ran: int) -> Pace:
    """Return the pace after one more ending.

    Args:
        pace: the pace until now.
        cause: why the process ended.
        ran: for how long it had been up, in µs; 0 when unknown.

    It gets quick again only after a healthy minute: a server that answers now with a rejection, now with a broken
    connection, would otherwise be tried at once each time.
    """
    if is_slow(cause):
        return Pace.SLOW
    return Pace.QUICK if ran >= HEALTHY else pace


def delays(pace: Pace, unit: str, *, listener: bool = False) -> Delays:
    """Return the delays of a unit, spread by its name, so that units that ended together do not start together.

    systemd has no jitter of its own; one that is the same at each start keeps them apart as well, and keeps this pure.
    """
    found = _DELAYS[pace]
    if listener and pace is Pace.QUICK:
        found = Delays(found.first, LISTENER_LONGEST)
    spread = int.from_bytes(hashlib.sha256(unit.encode()).digest()[:4], "big") % (2 * _JITTER + 1)
    return Delays(*(delay * (100 - _JITTER + spread) // 100 for delay in (found.first, found.longest)))


_SAID: Final = re.compile(r"the next try is in (\d{1,9}) ms")


def next_try(line: str) -> int | None:
    """Return the wait in ms that /usr/libexec/streamd/backoff says is to come, None for any other line."""
    found = _SAID.fullmatch(line)
    return int(found[1]) if found else None
