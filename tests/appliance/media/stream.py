"""The endless stream: datagram number i, for every i."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tests.appliance.media import ts
from tests.appliance.media.tsmux import BASE_RATE, PACKETS_IN_DATAGRAM

DATAGRAM = 7 * ts.PACKET
MAGIC = b"streamdT"
INDEX_AT = 18
"""Where the four bytes of the index stand in a datagram: after the headers and the magic word."""
TIME_AT = 22
"""Where the eight bytes of the time stand: nanoseconds of the monotonic clock, which all processes of a host share."""
TIME_END = TIME_AT + 8
_CACHED = 8192


class _Patch(NamedTuple):
    """A time in a template that goes on when the stream goes round."""

    is_pcr: bool
    at: int
    value: int


class Stream:
    """The stream in a file that make_stream wrote, going round for ever with counters and clocks that go on.

    Each datagram is one packet of the private PID, with the index and the time, and six of the file.
    """

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        if len(data) % (PACKETS_IN_DATAGRAM * ts.PACKET):
            raise ValueError(f"{path} is not from make_stream")
        size = PACKETS_IN_DATAGRAM * ts.PACKET
        self._templates = [data[at : at + size] for at in range(0, len(data), size)]
        self._patches = [list(_patches(template)) for template in self._templates]
        self._payloads: dict[int, int] = {}
        for at in range(0, len(data), ts.PACKET):
            if ts.has_payload(data, at):
                pid = ts.pid_of(data, at)
                self._payloads[pid] = self._payloads.get(pid, 0) + 1
        self._payloads[ts.NULL_PID] = 0
        self._round = len(data) * 8 * 27_000_000 // BASE_RATE // 300 * 300
        """Length of the file, in units of 27 MHz."""
        self._cache: dict[int, bytes] = {}

    @property
    def bitrate(self) -> float:
        """Return the bit/s of all datagrams."""
        return BASE_RATE * 7 / PACKETS_IN_DATAGRAM

    def __len__(self) -> int:
        """Return how many datagrams it has before it goes round."""
        return len(self._templates)

    def datagram(self, index: int, nanoseconds: int = 0) -> bytes:
        """Return a datagram's 1316 bytes."""
        whole = self._cache.get(index)
        if whole is None:
            whole = _own_packet(index) + self._six(index)
            self._cache[index] = whole
            if len(self._cache) > _CACHED:
                del self._cache[next(iter(self._cache))]
        if not nanoseconds:
            return whole
        return whole[:TIME_AT] + nanoseconds.to_bytes(8, "big") + whole[TIME_END:]

    def _six(self, index: int) -> bytes:
        rounds, number = divmod(index, len(self._templates))
        template = self._templates[number]
        if not rounds:
            return template
        data = bytearray(template)
        for at in range(0, len(data), ts.PACKET):
            moved = rounds * self._payloads.get(ts.pid_of(data, at), 0)
            data[at + 3] = data[at + 3] & 0xF0 | (data[at + 3] + moved) & 0x0F
        for patch in self._patches[number]:
            if patch.is_pcr:
                ts.write_pcr(data, patch.at, patch.value + rounds * self._round)
            else:
                ts.write_stamp(data, patch.at, patch.value + rounds * self._round // 300)
        return bytes(data)


def index_of(datagram: bytes) -> int | None:
    """Return the index that a datagram says it has."""
    if datagram[INDEX_AT - len(MAGIC) : INDEX_AT] != MAGIC:
        return None
    return int.from_bytes(datagram[INDEX_AT:TIME_AT], "big")


def time_of(datagram: bytes) -> int:
    """Return when the datagram was sent."""
    return int.from_bytes(datagram[TIME_AT:TIME_END], "big")


def same(one: bytes, other: bytes) -> bool:
    """Tell whether two datagrams are equal but for the time."""
    return one[TIME_END:] == other[TIME_END:] and one[:TIME_AT] == other[:TIME_AT]


def _own_packet(index: int) -> bytes:
    head = bytes([0x47, 0x40 | ts.PRIVATE_PID >> 8, ts.PRIVATE_PID & 0xFF, 0x10 | index & 0x0F])
    pes = b"\0\0\1\xbf" + (ts.PACKET - 10).to_bytes(2, "big")
    return (head + pes + MAGIC + index.to_bytes(4, "big") + bytes(8)).ljust(ts.PACKET, b"\xa5")


def _patches(template: bytes) -> list[_Patch]:
    found: list[_Patch] = []
    for at in range(0, len(template), ts.PACKET):
        pcr = ts.pcr_at(template, at)
        if pcr is not None:
            found.append(_Patch(True, pcr, ts.read_pcr(template, pcr)))
        found += [_Patch(False, where, ts.read_stamp(template, where)) for where in ts.stamps_at(template, at)]
    return found
