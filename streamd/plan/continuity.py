"""Whether a transport stream is whole: its continuity counters, its marks of damage and its sync bytes.

The rules are those of ISO/IEC 13818-1, 2.4.3.2 to 2.4.3.4. A packet is looked at by its first six bytes alone, and all
of them are the same few bytes of work while nothing is wrong: an HD stream has thousands of packets a second.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

PACKET: Final = 188
"""Bytes."""
_SYNC: Final = 0x47
_HEADERS: Final = struct.Struct(">IBB182x")
"""The header, and of an adaptation field, where there is one, the length and the flags."""

_SYNCHRONOUS: Final = 0xFF000000
_SYNC_BYTE: Final = _SYNC << 24
_DAMAGED: Final = 0x00800000
"""transport_error_indicator: a receiver on the way could not correct the packet."""
_PID: Final = 0x001FFF00
_NULL: Final = 0x001FFF00
_ADAPTATION: Final = 0x20
_PAYLOAD: Final = 0x10
_COUNTER: Final = 0x0F
_DISCONTINUITY: Final = 0x80
_NEXT: Final = _SYNCHRONOUS | _DAMAGED | _PID | _PAYLOAD | _COUNTER
"""What is known beforehand of a packet that has payload and follows its predecessor."""


_STREAM_AT_LEAST: Final = 20
"""One byte of so many is in a packet, in whatever can be called a transport stream; of noise it is about one of 170."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What was found in a stretch of a stream; tallies of several stretches add up."""

    packets: int = 0
    continuity_errors: int = 0
    """Packets whose counter was not the one due: some are missing, out of order, or there more than twice."""
    damaged: int = 0
    """Packets that are marked as damaged."""
    sync_losses: int = 0
    """Places where no packet began though the one before had ended."""
    stray: int = 0
    """Bytes that belong to no packet."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            packets=self.packets + other.packets,
            continuity_errors=self.continuity_errors + other.continuity_errors,
            damaged=self.damaged + other.damaged,
            sync_losses=self.sync_losses + other.sync_losses,
            stray=self.stray + other.stray,
        )

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing was wrong."""
        return not (self.continuity_errors or self.damaged or self.sync_losses)

    @property
    def is_garbage(self) -> bool:
        """Tell whether this is no transport stream; chance makes some packets out of noise, so a few prove nothing."""
        return self.packets * PACKET * _STREAM_AT_LEAST < self.stray


class Scan:
    """Looks at one stretch without gaps of its own, in pieces of any length."""

    def __init__(self) -> None:
        self._due: dict[int, int] = {}
        """By PID, shifted as it stands in a header: what `_NEXT` masks of the packet that is due."""
        self._single: set[int] = set()
        """PIDs whose last packet may not come a second time: it did already, or it had no payload."""
        self._rest = b""
        self._locked = False
        """It stands where a packet must begin."""
        self._joined = False
        """It has met a packet yet."""
        self._skipped = 0
        """Bytes since it is not locked."""
        self._packets = 0
        self._errors = 0
        self._damaged = 0
        self._losses = 0
        self._stray = 0

    @property
    def tally(self) -> Tally:
        """Return what was found up to now."""
        return Tally(
            packets=self._packets,
            continuity_errors=self._errors,
            damaged=self._damaged,
            sync_losses=self._losses,
            stray=self._stray,
        )

    def feed(self, data: bytes) -> None:
        """Look at the next bytes."""
        data = self._rest + data if self._rest else data
        at = 0
        while True:
            if not self._locked:
                at = self._hunt(data, at)
                if not self._locked:
                    break
            at = self._follow(data, at)
            if self._locked:
                break
        self._rest = data[at:]

    def _hunt(self, data: bytes, at: int) -> int:
        """Return where a packet seems to begin, with another after it, or from where to look on when there is more."""
        begin = at
        while True:
            at = data.find(_SYNC, at)
            if at < 0:
                at = len(data)
                break
            if at + PACKET >= len(data):
                break
            if data[at + PACKET] == _SYNC:
                self._locked = True
                break
            at += 1
        self._skip(at - begin)
        if self._locked:
            self._joined = True
            self._skipped = 0
        return at

    def _skip(self, count: int) -> None:
        # Whoever joins a stream in the midst of a packet finds the rest of it first, which is nothing wrong.
        before, self._skipped = self._skipped, self._skipped + count
        if self._joined:
            self._stray += count
        elif self._skipped >= PACKET:
            self._stray = self._skipped
            self._losses += before < PACKET

    def _follow(self, data: bytes, at: int) -> int:
        """Take packets, and return where there is none any more; unlocked, where there should be one."""
        whole = (len(data) - at) // PACKET * PACKET
        due, single = self._due, self._single
        # Without a copy where all of the data is packets, which is how datagrams come.
        view = data if whole == len(data) else memoryview(data)[at : at + whole]
        first = at
        for head, length, flags in _HEADERS.iter_unpack(view):
            pid = head & _PID
            if due.get(pid) == head & _NEXT:
                due[pid] = head & (_NEXT & ~_COUNTER) | (head + 1) & _COUNTER
                if single:
                    single.discard(pid)
            elif head & _SYNCHRONOUS != _SYNC_BYTE:
                self._locked = False
                self._losses += 1
                break
            elif pid != _NULL or head & _DAMAGED:
                self._look_closer(pid, head, length, flags)
            at += PACKET
        self._packets += (at - first) // PACKET
        return at

    def _look_closer(self, pid: int, head: int, length: int, flags: int) -> None:
        """Judge a packet that is not simply the next with payload."""
        if head & _DAMAGED:
            # Neither its counter nor its PID can be believed.
            self._damaged += 1
            self._due.pop(pid, None)
            return
        counter = head & _COUNTER
        has_payload = head & _PAYLOAD
        due = self._due.get(pid)
        if due is not None and not (head & _ADAPTATION and length and flags & _DISCONTINUITY):
            last = (due - 1) & _COUNTER
            if not has_payload:
                self._errors += counter != last
            elif counter == due & _COUNTER:
                pass
            elif counter == last and pid not in self._single:
                self._single.add(pid)
                return
            else:
                self._errors += 1
        self._due[pid] = _SYNC_BYTE | pid | _PAYLOAD | (counter + 1) & _COUNTER
        if has_payload:
            self._single.discard(pid)
        else:
            self._single.add(pid)
