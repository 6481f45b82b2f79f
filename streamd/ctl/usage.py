"""How much of a processor things use: the difference of two looks at what they used. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Meter:
    """Remembers the look before."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int]] = {}
        """By address the processor time used in µs, and the monotonic time of that look in ns."""

    def measure(self, counted: Iterable[Mapping[str, Any]], clock: int) -> dict[str, float]:
        """Return per cent of one processor by address, of those of which that is known.

        Args:
            counted: what Statistics tells.
            clock: the monotonic time in ns.
        """
        last = self._last
        self._last = {each["address"]: (each["cpu"], clock) for each in counted if "cpu" in each}
        found = {}
        for address, (used, _clock) in self._last.items():
            before = last.get(address)
            if before is not None and clock > before[1]:
                # Less than before means that the unit was started anew meanwhile.
                found[address] = max(0, used - before[0]) * 1000 / (clock - before[1]) * 100
        return found
