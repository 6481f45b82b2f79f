"""The keys of inputs and outputs as JSON Schema, from the same rules by which files are read. Pure.

The schema tells each key and what it may have. Which keys go with which url, which credentials and ports there are,
and what other routes have taken is for streamd to say, which answers with diagnostics.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from streamd.route.fields import CONTROL, CREDENTIAL_PATTERN, DURATION, LONGEST_TEXT, PERCENT, SIZE, TASKS_RANGE
from streamd.route.model import Engine, Relay, RtspTransport, SrtMode
from streamd.route.publish import USER_PATTERN
from streamd.route.source import INTERFACE_PATTERN, LATENCY_RANGE, MAX_STREAMID
from streamd.route.target import STALL_RANGE, TTL_RANGE

Schema = dict[str, Any]

_NO_NUL: Final = "^[^\u0000]*$"


def _text(description: str, pattern: str = _NO_NUL, **more: object) -> Schema:
    return {"type": "string", "pattern": pattern, "description": description, **more}


def _flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def _number(description: str, lowest: int, highest: int) -> Schema:
    return {"type": "integer", "minimum": lowest, "maximum": highest, "description": description}


def _choice(description: str, words: type[StrEnum]) -> Schema:
    return {"type": "string", "enum": [str(word) for word in words], "description": description}


def _duration(description: str, lowest: int, highest: int) -> Schema:
    return _text(f"{description} From {lowest} to {highest} ms.", f"^{DURATION.pattern}$", examples=["200ms"])


def _credential(description: str) -> Schema:
    name = {"type": "string", "pattern": f"^{CREDENTIAL_PATTERN.pattern}$"}
    return _table({"credential": name}, f"{description} By the name of a credential.", required=("credential",))


def _table(properties: Mapping[str, Schema], description: str, *, required: tuple[str, ...] = ()) -> Schema:
    found: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return found | {"description": description} | ({"required": list(required)} if required else {})


_LIMITS: Final = _table(
    {
        "memory": _text("Of all its processes; K is 1024.", f"^{SIZE.pattern}$", examples=["150M"]),
        "cpu": _text("Of one processor; it may exceed 100%.", f"^{PERCENT.pattern}$", examples=["30%"]),
        "tasks": _number("Processes and threads.", *TASKS_RANGE),
    },
    "What its unit may take.",
)
_INTERFACE: Final = _text("Of a multicast group: the network interface.", f"^{INTERFACE_PATTERN.pattern}$")
_STREAMID: Final = _text("Of an SRT caller: the stream id that it sends.", maxLength=MAX_STREAMID)
_SRT: Final[Mapping[str, Schema]] = {
    "mode": _choice("Of SRT: who calls whom; caller unless said.", SrtMode),
    "latency": _duration("Of SRT: for how long lost packets may be sent again.", *LATENCY_RANGE),
    "passphrase": _credential("Of SRT: what encrypts the stream."),
}
_VISIBLE: Final = _flag("Whether users of the host may see a password that can be passed on as an argument alone.")
_TLS_VERIFY: Final = _flag("Of rtmps and https: whether the server's certificate is verified; true unless said.")
_TRANSPORT: Final = _choice("Of RTSP: how media is carried; tcp unless said.", RtspTransport)

INPUT: Final[Mapping[str, Schema]] = {
    "url": _text(
        "udp://, srt://, rtsp://, rtsps://, rtmp://, rtmps://, http:// or https:// of an HLS playlist, file:///, "
        "publish: or test:"
    ),
    "limits": _LIMITS,
    "interface": _INTERFACE,
    "source": _text("Of a multicast group: the address of its one sender."),
    **_SRT,
    "streamid": _STREAMID,
    "transport": _TRANSPORT,
    "allow_visible_password": _VISIBLE,
    "tls_verify": _TLS_VERIFY,
    "user": _text("Of publish: who may publish; the route's name unless said.", f"^{USER_PATTERN.pattern}$"),
    "password": _credential("Of publish: with what."),
}
"""What stands below [input]."""

OUTPUT: Final[Mapping[str, Schema]] = {
    "url": _text("udp://, srt://, rtmp://, rtmps://, rtsp:// or rtsps://"),
    "description": _text("For people.", f"^[^{CONTROL}]*$", maxLength=LONGEST_TEXT),
    "enabled": _flag("Whether it is to run; true unless said."),
    "limits": _LIMITS,
    "stall_timeout": _text(
        "For how long it may send nothing while its input gives, before it is restarted; off is for ever. "
        f"From {STALL_RANGE[0]} to {STALL_RANGE[1]} ms.",
        f"^({DURATION.pattern}|off)$",
        examples=["30s"],
    ),
    "ttl": _number("Of a multicast group: how many routers may pass it on.", *TTL_RANGE),
    "interface": _INTERFACE,
    **_SRT,
    "streamid": {"anyOf": [_STREAMID, _credential("The same, where it is a secret.")]},
    "engine": _choice("Of SRT: the program that sends; ffmpeg unless said.", Engine),
    "key": _credential("Of RTMP: the stream key."),
    "tls_verify": _TLS_VERIFY,
    "transport": _TRANSPORT,
    "allow_visible_password": _VISIBLE,
}
"""What stands below [output.NAME]."""

ROUTE: Final[Mapping[str, Schema]] = {
    "description": OUTPUT["description"],
    "enabled": _flag("Whether it and its outputs are to run; true unless said."),
    "relay": _choice("What stands between the input and its outputs; as the input asks for unless said.", Relay),
}
"""What stands at the top of a route's file, but for its input, its outputs and hooks, which stand in files alone."""


def or_null(keys: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return keys that may be taken away by null as well."""
    return {key: {"anyOf": [schema, {"enum": [None]}]} for key, schema in keys.items()}
