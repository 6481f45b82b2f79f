"""What a receiver saw, counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tests.appliance.media.stream import Stream, index_of, same, time_of

RESTART_DISTANCE = 2000
"""An index that is lower by more than this comes from a sender that began again."""
MOST_GAPS = 20


@dataclass
class Count:
    """Of one port, since it was opened or since the last reset; a reset forgets no index, so a gap over it is seen."""

    packets: int = 0
    """Datagrams that were what they should be."""
    corrupt: int = 0
    """Datagrams with other bytes than they should have, or of another size."""
    missing: int = 0
    repeated: int = 0
    """Datagrams that came twice, or too late."""
    restarts: int = 0
    """How often a sender began again at a lower index; what lies between is not counted as missing."""
    first: int | None = None
    """Index of the first datagram."""
    last: int | None = None
    gaps: list[list[int]] = field(default_factory=list)
    """The first twenty holes: index before, index after."""
    first_age: float = 0.0
    """Seconds between the sending and the arrival of the first datagram."""
    age: float = 0.0
    """The same of the last one."""
    max_age: float = 0.0
    first_at: float = 0.0
    """When the first datagram came: time.monotonic()."""
    last_at: float = 0.0
    longest_silence: float = 0.0
    """Seconds: the longest time between two datagrams."""
    source_port: int = 0
    """The sender's UDP port, which changes with its process; 0 for SRT."""

    @property
    def intact(self) -> bool:
        """Tell whether datagrams came, all of them, each once and in order, with the right bytes."""
        return self.packets > 0 and not (self.missing or self.corrupt or self.repeated)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Count:
        return cls(**data)


class Checker:
    """Compares datagrams with what they should be."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._last: int | None = None
        self._last_at = 0.0
        self.count = Count()

    def reset(self) -> None:
        """Count from zero."""
        self.count = Count(source_port=self.count.source_port)

    def take(self, datagram: bytes, now: float) -> None:
        """Count one datagram that came at `now`, of time.monotonic()."""
        count = self.count
        index = index_of(datagram)
        if index is None or not same(datagram, self._stream.datagram(index)):
            count.corrupt += 1
            return
        last = self._last
        if last is not None and index != last + 1:
            if index > last:
                count.missing += index - last - 1
                if len(count.gaps) < MOST_GAPS:
                    count.gaps.append([last, index])
            elif index < last - RESTART_DISTANCE or index == 0:
                count.restarts += 1
            else:
                count.repeated += 1
                return
        age = now - time_of(datagram) / 1e9
        if count.first is None:
            count.first, count.first_age, count.first_at = index, age, now
        if self._last_at:
            count.longest_silence = max(count.longest_silence, now - self._last_at)
        count.packets += 1
        count.last = self._last = index
        count.age = age
        count.max_age = max(count.max_age, age)
        count.last_at = self._last_at = now
