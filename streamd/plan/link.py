"""What srt-live-transmit tells of its connection: one line of JSON for so many packets sent, on its standard output."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

_OVERHEAD: Final = 44
"""Bytes of headers (IPv4, UDP, SRT) that libsrt adds to the size of each packet in its counts of bytes."""
_LARGEST: Final = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An SRT connection, seen from the side that sends; what is counted is counted since it was made."""

    rtt: int
    """Round-trip time, smoothed, in µs."""
    bandwidth: int
    """What libsrt takes the path to carry, in bit/s."""
    packets: int
    """Sent, those that were sent again included."""
    lost: int
    """Packets that the receiver reported as missing."""
    retransmitted: int
    """Packets sent again."""
    dropped: int
    """Packets that were not sent since it was too late for them."""
    wire: int
    """Bytes sent, headers and what was sent again included."""
    media: int
    """Bytes of the stream sent."""


def parse_link(datagram: bytes) -> Link | None:
    """Return what a line of srt-live-transmit's statistics says, None where it is none."""
    try:
        told = json.loads(datagram)
        link, sent = told["link"], told["send"]
        packets = _whole(sent["packetsUnique"])
        return Link(
            rtt=_whole(link["rtt"] * 1000),
            bandwidth=_whole(link["bandwidth"] * 1_000_000),
            packets=_whole(sent["packets"]),
            lost=_whole(sent["packetsLost"]),
            retransmitted=_whole(sent["packetsRetransmitted"]),
            dropped=_whole(sent["packetsDropped"]),
            wire=_whole(sent["bytes"]),
            media=max(0, _whole(sent["bytesUnique"]) - packets * _OVERHEAD),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _whole(value: Any) -> int:  # noqa: ANN401  whatever JSON has
    """Return a number of JSON as a count. Raises: TypeError, ValueError, OverflowError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    found = round(value)
    if not 0 <= found < _LARGEST:
        raise ValueError
    return found
