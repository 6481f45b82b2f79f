"""Who watches what, from what MediaMTX's API answers. Pure.

Fields were renamed over the versions, and the old names stay for a while: what is read here is there from 1.9 to 1.20.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

LISTS: Final[Mapping[str, str]] = {
    "rtspSession": "rtspsessions",
    "rtspsSession": "rtspssessions",
    "rtmpConn": "rtmpconns",
    "rtmpsConn": "rtmpsconns",
    "srtConn": "srtconns",
    "webRTCSession": "webrtcsessions",
    "hlsSession": "hlssessions",
}
"""What a path calls a reader of it, and the API's list that has more about him, and can kick him."""
_KINDS: Final[Mapping[str, str]] = {
    "rtspSession": "rtsp",
    "rtspsSession": "rtsps",
    "rtmpConn": "rtmp",
    "rtmpsConn": "rtmps",
    "srtConn": "srt",
    "webRTCSession": "webrtc",
    "hlsSession": "hls",
    "hlsMuxer": "hls",
}
LIST_OF: Final[Mapping[str, str]] = {_KINDS[name]: found for name, found in LISTS.items()}
"""The kind of a viewer, and the list that he is in."""
_HIDDEN: Final = "hidden"
"""A muxer of MediaMTX's own, which newer versions list beside those for whom it works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """One who watches, or an encoder that publishes; None is unknown."""

    id: str
    """For kicking him; empty for HLS before MediaMTX 1.18, which counts all of HLS as one."""
    kind: str
    """rtsp, rtmp, srt, hls, webrtc, …"""
    address: str = ""
    """Where he is: HOST:PORT."""
    since: int = 0
    """µs since 1970, 0 when unknown."""
    sent: int | None = None
    """Bytes; of an encoder, those that it sent."""
    rtt: float | None = None
    """Of SRT, in ms; so are the others."""
    lost: int | None = None
    """Packets that were lost on the way."""
    retransmitted: int | None = None
    """Packets that were sent again."""
    rate: float | None = None
    """bit/s sent."""
    capacity: float | None = None
    """bit/s that the way can take, as SRT estimates it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathView:
    """One route as MediaMTX has it."""

    route: str
    ready: bool
    """Whether it can be watched: its stream arrives, and its tracks are known."""
    since: int = 0
    """Since when, in µs since 1970, 0 when unknown."""
    tracks: tuple[str, ...] = ()
    received: int = 0
    sent: int = 0
    """Bytes."""
    viewers: tuple[Viewer, ...] = ()
    publisher: Viewer | None = None
    """The encoder that publishes it; None where MediaMTX takes it off the relay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaView:
    """All that MediaMTX tells, or why it tells nothing."""

    version: str = ""
    problem: str = ""
    """One clause, empty where it tells."""
    paths: tuple[PathView, ...] = ()
    hls: str = ""
    """Where it serves HLS, as HOST:PORT; empty where it does not."""
    webrtc: str = ""
    """Likewise."""

    def find(self, viewer: str) -> Viewer | None:
        """Return the viewer or the publisher with this id."""
        known = (found for path in self.paths for found in (*path.viewers, path.publisher) if found and found.id)
        return next((found for found in known if found.id == viewer), None)


def lists_wanted(paths: Iterable[Any]) -> list[str]:
    """Return which lists of the API say more about those who read these paths."""
    ends = [
        end for path in _objects(paths) for end in (*_objects(path.get("readers")), *_objects([path.get("source")]))
    ]
    kinds = {_text(end, "type") for end in ends}
    return sorted(LISTS[kind] for kind in kinds if kind in LISTS)


def view_paths(paths: Iterable[Any], lists: Mapping[str, Iterable[Any]]) -> tuple[PathView, ...]:
    """Return the routes, sorted by name.

    Args:
        paths: the items of paths/list.
        lists: the items of each further list by its name; somebody who left in between is in none.
    """
    more = {(name, _text(item, "id")): item for name, items in lists.items() for item in _objects(items)}
    found = []
    for path in _objects(paths):
        readers = [reader for reader in _objects(path.get("readers")) if _text(reader, "type") != _HIDDEN]
        found.append(
            PathView(
                route=_text(path, "name"),
                ready=bool(path.get("ready", path.get("available"))),
                since=_microseconds(_text(path, "readyTime") or _text(path, "availableTime")),
                tracks=_tracks(path.get("tracks")),
                received=_number(path, "bytesReceived", "inboundBytes") or 0,
                sent=_number(path, "bytesSent", "outboundBytes") or 0,
                viewers=tuple(_viewer(reader, more) for reader in readers),
                publisher=next(
                    (_publisher(end, more) for end in _objects([path.get("source")]) if _text(end, "type") in LISTS),
                    None,
                ),
            )
        )
    return tuple(sorted(found, key=lambda path: path.route))


def _viewer(reader: Mapping[str, Any], more: Mapping[tuple[str, str], Mapping[str, Any]]) -> Viewer:
    kind, name = _text(reader, "type"), _text(reader, "id")
    known = more.get((LISTS.get(kind, ""), name), {})
    rate, capacity = _fraction(known, "mbpsSendRate"), _fraction(known, "mbpsLinkCapacity")
    return Viewer(
        id=name,
        kind=_KINDS.get(kind, kind),
        address=_text(known, "remoteAddr"),
        since=_microseconds(_text(known, "created")),
        sent=_number(known, "bytesSent", "outboundBytes"),
        rtt=_fraction(known, "msRTT"),
        lost=_number(known, "packetsSendLoss"),
        retransmitted=_number(known, "packetsRetrans"),
        rate=None if rate is None else rate * 1e6,
        capacity=None if capacity is None else capacity * 1e6,
    )


def _publisher(source: Mapping[str, Any], more: Mapping[tuple[str, str], Mapping[str, Any]]) -> Viewer:
    known = more.get((LISTS[_text(source, "type")], _text(source, "id")), {})
    rate = _fraction(known, "mbpsReceiveRate")
    return replace(
        _viewer(source, more),
        sent=_number(known, "bytesReceived", "inboundBytes"),
        lost=_number(known, "packetsReceivedLoss"),
        retransmitted=_number(known, "packetsReceivedRetrans"),
        rate=None if rate is None else rate * 1e6,
    )


def _objects(value: Any) -> list[dict[str, Any]]:  # noqa: ANN401 (whatever JSON has)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list | tuple) else []


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""


def _number(item: Mapping[str, Any], *keys: str) -> int | None:
    values = (item.get(key) for key in keys)
    return next((value for value in values if isinstance(value, int) and 0 <= value < 1 << 64), None)


def _fraction(item: Mapping[str, Any], key: str) -> float | None:
    value = item.get(key)
    return float(value) if isinstance(value, int | float) else None


def _tracks(value: Any) -> tuple[str, ...]:  # noqa: ANN401
    return tuple(track for track in value if isinstance(track, str)) if isinstance(value, list) else ()


def _microseconds(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return 0
