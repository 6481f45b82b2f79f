"""The `[mediamtx]` table of streamd.toml: what MediaMTX listens on. A key that is wrong leaves its default in place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from streamd.route.fields import Table
from streamd.route.model import Listen, MediaServer
from streamd.route.url import parse_address

DEFAULT: Final = MediaServer()
_OPTIONAL: Final = ("rtmp", "srt", "hls", "webrtc")
"""May be "off", and are so by default."""
_LOCAL: Final = ("api", "metrics")
"""Must not be reached from the network."""
_KEYS: Final = ("rtsp", *_OPTIONAL, "webrtc_media", *_LOCAL)
_UDP: Final = ("srt", "webrtc_media")
_NAME: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9][A-Za-z0-9-]{0,62})*")
_EXAMPLES: Final[Mapping[str, int]] = {"rtmp": 1935, "srt": 8890, "hls": 8888, "webrtc": 8889}


def parse_media_server(table: Table | None, taken: Mapping[int, str], inputs: tuple[int, int]) -> MediaServer:
    """Return what the table says.

    Args:
        table: the table, None where there is none.
        taken: UDP ports that streamd has for itself, with what for.
        inputs: the first and the last port of the range of inputs.
    """
    if table is None:
        return DEFAULT
    found = {key: _listen(table, key) for key in _KEYS}
    webrtc_host = _host(table, "webrtc_host")
    table.finish((*_KEYS, "webrtc_host"))
    _check_udp(table, found, taken, inputs)
    _check_apart(table, found)
    return MediaServer(
        rtsp=found["rtsp"] or DEFAULT.rtsp,
        rtmp=found["rtmp"],
        srt=found["srt"],
        hls=found["hls"],
        webrtc=found["webrtc"],
        webrtc_media=found["webrtc_media"] or DEFAULT.webrtc_media,
        webrtc_host=webrtc_host,
        api=found["api"] or DEFAULT.api,
        metrics=found["metrics"] or DEFAULT.metrics,
    )


def _listen(table: Table, key: str) -> Listen | None:
    default: Listen | None = getattr(DEFAULT, key)
    text = table.string(key)
    if text is None or (text == "off" and key in _OPTIONAL):
        return default
    example = default or Listen("0.0.0.0", _EXAMPLES[key])  # noqa: S104 - it is shown, not bound
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})", text)
    address = parse_address(match[1] or match[2]) if match else None
    if match is None or address is None or (address.version == 6) != bool(match[1]):
        more = ', or "off"' if key in _OPTIONAL else ""
        table.wrong(key, f'write an IP address of this host and a port, such as "{example}"{more}')
        return default
    port = int(match[3])
    if not 1024 <= port <= 65535:
        table.wrong(key, "must have a port from 1024 to 65535")
    elif address.is_multicast:
        table.wrong(key, "must not be a multicast group")
    elif key in _LOCAL and not address.is_loopback:
        table.wrong(key, f'must be an address of the loopback interface, such as "{example}"')
    else:
        return Listen(str(address), port)
    return default


def _host(table: Table, key: str) -> str:
    text = table.string(key)
    if text is None:
        return ""
    address = parse_address(text)
    if address is not None:
        if address.is_multicast or address.is_loopback or address.is_unspecified:
            table.wrong(key, 'must be an address that leads here from elsewhere, such as "203.0.113.7"')
            return ""
        return str(address)
    if not _NAME.fullmatch(text) or re.fullmatch(r"[0-9.]+", text):
        table.wrong(key, 'write one address or host name, such as "203.0.113.7" or "live.example.net"')
        return ""
    return text


def _check_udp(
    table: Table, found: dict[str, Listen | None], taken: Mapping[int, str], inputs: tuple[int, int]
) -> None:
    for key in _UDP:
        listen = found[key]
        if listen is None or not table.has(key):
            continue
        if inputs[0] <= listen.port <= inputs[1]:
            table.wrong(key, f"must have a port outside of {inputs[0]}-{inputs[1]}, the ports of inputs (input_ports)")
        elif listen.port in taken:
            table.wrong(key, f"must have another port than {listen.port}, {taken[listen.port]}")
        else:
            continue
        found[key] = getattr(DEFAULT, key)
    # What the file does not say can be in the way too, once it is used.
    media = found["webrtc_media"]
    if found["webrtc"] is None or media is None or media != DEFAULT.webrtc_media:
        return
    whose = taken.get(media.port, "")
    if inputs[0] <= media.port <= inputs[1]:
        whose = f"one of {inputs[0]}-{inputs[1]}, the ports of inputs (input_ports)"
    if whose:
        if not table.has("webrtc_media"):
            table.wrong("webrtc", f"its media would have port {media.port}, {whose}, set webrtc_media to another port")
        found["webrtc"] = None


def _check_apart(table: Table, found: dict[str, Listen | None]) -> None:
    """Refuse two listeners on one port; MediaMTX would not start at all."""
    for ports in (_UDP, tuple(key for key in _KEYS if key not in _UDP)):
        seen: dict[int, str] = {}
        # What the file does not say comes first, so that the complaint is about what it says.
        for key in sorted(ports, key=table.has):
            listen = found[key]
            if listen is None or (key == "webrtc_media" and found["webrtc"] is None):
                continue
            other = seen.setdefault(listen.port, key)
            if other != key:
                table.wrong(key, f"must have another port than {other}, which has {listen.port} too")
                found[key] = getattr(DEFAULT, key)
