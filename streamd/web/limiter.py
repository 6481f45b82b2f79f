"""How often an address may fail: tries that come back with time. Pure; time is seconds of a clock that never steps.

An address of IPv6 counts by its /64, because whoever has one has all of it.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import Final

TRIES: Final = 10
"""Failures in a row before an address has to wait."""
SECONDS: Final = 6.0
"""After that long there is one try more."""
_MOST: Final = 10_000
"""Addresses that are remembered; the one that failed the longest ago is forgotten first."""


class Limiter:
    """Remembers failures by address, in bounded memory."""

    def __init__(self, tries: int = TRIES, seconds: float = SECONDS, most: int = _MOST) -> None:
        self._tries = tries
        self._seconds = seconds
        self._most = most
        self._empty_until: OrderedDict[str, float] = OrderedDict()
        """When all tries of an address will be there again."""

    def wait(self, address: str, now: float) -> float:
        """Return for how many seconds an address has no try left; 0 when it has one."""
        full = self._empty_until.get(_bucket(address), 0.0)
        return max(0.0, full - now - (self._tries - 1) * self._seconds)

    def fail(self, address: str, now: float) -> bool:
        """Count a failure, and tell whether it was the address's last try."""
        bucket = _bucket(address)
        full = max(self._empty_until.pop(bucket, 0.0), now) + self._seconds
        self._empty_until[bucket] = full
        while len(self._empty_until) > self._most:
            self._empty_until.popitem(last=False)
        return self.wait(address, now) > 0


def _bucket(address: str) -> str:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or IPv6Address(int(found) >> 64 << 64))
    return str(found)
