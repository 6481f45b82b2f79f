"""The description of the API: the schemas with their examples, and what every operation may answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from streamd.plan.status import State
from streamd.web.keys import INPUT, OUTPUT, ROUTE, or_null
from streamd.web.problem import MEDIA_TYPE, TITLES

_TIME: Final = {"type": "integer", "description": "µs since 1970; 0 where there is none."}
_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "integer"}
_STATE: Final = {"type": "string", "enum": [str(state) for state in State]}

DIAGNOSTIC_EXAMPLE: Final = {
    "path": "/etc/streamd/conf.d/studio-a.toml",
    "line": 9,
    "column": 11,
    "length": 5,
    "key": "output.venue.latency",
    "message": 'write a time with its unit, such as "200ms"',
    "text": 'latency = "200"',
}
_COMMON_EXAMPLE: Final = {
    "url": "srt://venue.example.net:9000",
    "description": "",
    "enabled": True,
    "state": "running",
    "cause": "",
    "since": 1795418000000000,
    "unit": "streamd-output@studio-a:venue.service",
    "pid": 4711,
    "restarts": 0,
    "invocation": "6f0e7ad2a1b24b0f9f8e1f6a2f0c9d11",
    "reason": "",
    "advice": "",
    "next-try": 0,
    "last-error": "",
    "last-error-at": 0,
}
OUTPUT_EXAMPLE: Final = {
    "id": "venue",
    "route": "studio-a",
    "output": "venue",
    "address": "studio-a/venue",
    "kind": "srt",
    "mode": "caller",
    **_COMMON_EXAMPLE,
    "statistics": {"bitrate": 5240000, "bytes": 81264000, "uptime": 124000000},
}
INPUT_EXAMPLE: Final = {
    "id": "studio-a",
    "route": "studio-a",
    "address": "studio-a",
    "path": "/etc/streamd/conf.d/studio-a.toml",
    "relay": "direct",
    "input": "udp",
    "group": "239.255.0.1:20000",
    "broken": False,
    "overall": "running",
    **_COMMON_EXAMPLE,
    "description": "Studio A programme",
    "url": "udp://0.0.0.0:5000",
    "unit": "streamd-ingest@studio-a.service",
    "statistics": {"bitrate": 5240000, "bytes": 81270000, "uptime": 125000000},
    "outputs": [OUTPUT_EXAMPLE],
}
NEW_INPUT_EXAMPLE: Final = {
    "id": "studio-a",
    "description": "Studio A programme",
    "input": {"url": "udp://0.0.0.0:auto"},
    "output": {"rack": {"url": "udp://239.10.0.1:5004", "ttl": 4}},
}
NEW_OUTPUT_EXAMPLE: Final = {
    "id": "venue",
    "url": "srt://venue.example.net:9000",
    "latency": "200ms",
    "passphrase": {"credential": "venue"},
}
PROBLEM_EXAMPLE: Final = {
    "type": "urn:streamd:problem:invalid-configuration",
    "title": TITLES["invalid-configuration"],
    "status": 422,
    "detail": "route studio-a would not be valid",
    "diagnostics": [DIAGNOSTIC_EXAMPLE],
}


def _object(properties: Mapping[str, Any], example: object, *, required: tuple[str, ...] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": dict(properties), "example": example}
    return found | ({"required": list(required)} if required else {})


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _closed(properties: Mapping[str, Any], example: object, *, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return an object that has no other keys than these."""
    return _object(properties, example, required=required) | {"additionalProperties": False}


def _patch(properties: Mapping[str, Any], example: object) -> dict[str, Any]:
    text = "Keys with their new values; null takes a key away (RFC 7396). Those that are not named stay."
    return _closed(properties, example) | {"minProperties": 1, "description": text}


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}


_COMMON: Final = {
    "id": _TEXT,
    "route": _TEXT,
    "address": {"type": "string", "description": "ROUTE, or ROUTE/OUTPUT."},
    "url": _TEXT,
    "description": _TEXT,
    "enabled": {"type": "boolean"},
    "state": _STATE,
    "cause": {"type": "string", "description": "Why it is in this state, in words; empty while it runs."},
    "since": _TIME,
    "unit": {"type": "string", "description": "The systemd unit."},
    "pid": _NUMBER,
    "restarts": _NUMBER,
    "invocation": _TEXT,
    "reason": {"type": "string", "description": "The cause as one of the words that streamd(8) lists."},
    "advice": _TEXT,
    "next-try": _TIME,
    "last-error": _TEXT,
    "last-error-at": _TIME,
    "statistics": _ref("Statistics"),
}
_ID: Final = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$"}
SCHEMAS: Final[Mapping[str, Any]] = {
    "Diagnostic": _object(
        {"path": _TEXT, "line": _NUMBER, "column": _NUMBER, "length": _NUMBER, "key": _TEXT, "message": _TEXT}
        | {"text": {"type": "string", "description": "The source line, without its secrets."}}
        | {"mark": {"type": "integer", "description": "Where the place is in text, if something before it is hidden."}},
        DIAGNOSTIC_EXAMPLE,
        required=("path", "line", "column", "message"),
    ),
    "Statistics": _object(
        {
            "bitrate": {"type": "integer", "description": "bit/s over the last five seconds."},
            "bytes": {"type": "integer", "description": "Since the process began."},
            "uptime": {"type": "integer", "description": "µs."},
        },
        OUTPUT_EXAMPLE["statistics"],
    )
    | {"description": "What the method Statistics in org.streamd1(5) tells. What is unknown is missing."},
    "Output": _object(
        {**_COMMON, "output": _TEXT, "kind": _TEXT, "mode": _TEXT}, OUTPUT_EXAMPLE, required=("id", "address", "state")
    ),
    "Input": _object(
        {
            **_COMMON,
            "path": {"type": "string", "description": "The file of the route."},
            "relay": _TEXT,
            "input": {"type": "string", "description": "The kind of the input."},
            "group": _TEXT,
            "broken": {"type": "boolean", "description": "Whether its file has errors; it runs as it was before them."},
            "overall": {"type": "string", "description": "The worst state of the route and its outputs."},
            "outputs": _list("Output"),
        },
        INPUT_EXAMPLE,
        required=("id", "address", "state", "outputs"),
    ),
    "Inputs": _object({"inputs": _list("Input")}, {"inputs": [INPUT_EXAMPLE]}, required=("inputs",)),
    "Outputs": _object({"outputs": _list("Output")}, {"outputs": [OUTPUT_EXAMPLE]}, required=("outputs",)),
    "InputKeys": _closed(INPUT, {"url": "udp://0.0.0.0:5000"}, required=("url",)),
    "OutputKeys": _closed(OUTPUT, {"url": "udp://239.10.0.1:5004", "ttl": 4}, required=("url",)),
    "NewInput": _closed(
        {
            "id": _ID | {"description": "The route's name."},
            **ROUTE,
            "input": _ref("InputKeys"),
            "output": {
                "type": "object",
                "description": "Outputs by name.",
                "propertyNames": {"pattern": _ID["pattern"]},
                "additionalProperties": _ref("OutputKeys"),
            },
        },
        NEW_INPUT_EXAMPLE,
        required=("id", "input"),
    ),
    "NewOutput": _closed(
        {"id": _ID | {"description": "The output's name."}, **OUTPUT}, NEW_OUTPUT_EXAMPLE, required=("id", "url")
    ),
    "InputPatch": _patch(
        or_null(ROUTE) | {"input": _closed(or_null(INPUT), {"latency": "200ms"})},
        {"description": "Studio A", "input": {"latency": "200ms", "limits": None}},
    ),
    "OutputPatch": _patch(or_null(OUTPUT), {"latency": "200ms", "enabled": False, "limits": None}),
    "Step": _object(
        {"action": _TEXT, "address": _TEXT, "unit": _TEXT, "reason": _TEXT},
        {
            "action": "restart",
            "address": "studio-a/venue",
            "unit": "streamd-output@studio-a:venue.service",
            "reason": "its latency changed",
        },
    ),
    "Line": _object(
        {"time": _TIME, "priority": {"type": "integer", "description": "As in syslog: 3 is an error."}, "text": _TEXT},
        {"time": 1795418000000000, "priority": 3, "text": "Connection refused"},
        required=("time", "text"),
    ),
    "Log": _object({"lines": _list("Line")}, {"lines": []}, required=("lines",)),
    "Plan": _object({"steps": _list("Step")}, {"steps": []}, required=("steps",)),
    "Secret": _object(
        {"secret": {"type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[^\u0000\r\n]+$"}},
        {"secret": "correct-horse"},
        required=("secret",),
    )
    | {"additionalProperties": False},
    "Key": _object(
        {"key": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[^\u0000]+$"}},
        {"key": "streamd_…"},
        required=("key",),
    )
    | {"additionalProperties": False},
    "Who": _object({"name": _TEXT, "role": _TEXT}, {"name": "wall", "role": "observer"}, required=("name", "role")),
    "Health": _object(
        {"status": {"type": "string", "enum": ["ok", "degraded"]}, "daemon": {"type": "boolean"}},
        {"status": "ok", "daemon": True},
        required=("status", "daemon"),
    ),
    "System": _object(
        {
            "version": _TEXT,
            "cpu": {"type": "object"},
            "memory": {"type": "object"},
            "disk": {"type": "object"},
            "network": {"type": "array", "items": {"type": "object"}},
            "counts": {"type": "object"},
            "diagnostics": _list("Diagnostic"),
        },
        {
            "version": "0.1.0",
            "cpu": {"count": 4, "used": 12.5, "load": 0.61},
            "memory": {"total": 8589934592, "available": 6442450944},
            "disk": {"path": "/var/lib/streamd", "total": 107374182400, "available": 53687091200},
            "network": [{"interface": "eth0", "received": 1000000, "sent": 5000000}],
            "counts": {"inputs": 1, "outputs": 2, "states": {"running": 2}},
            "diagnostics": [],
        },
    ),
    "MediaMTX": _object(
        {
            "mediamtx": _TEXT,
            "problem": _TEXT,
            "hls": {"type": "string", "description": "Where it serves HLS; empty where it does not."},
            "webrtc": {"type": "string", "description": "Likewise."},
            "paths": {"type": "array", "items": {"type": "object"}},
        },
        {"mediamtx": "1.20.1", "problem": "", "hls": "0.0.0.0:8888", "webrtc": "", "paths": []},
    )
    | {"description": "What the method Viewers in org.streamd1(5) tells."},
    "Problem": _object(
        {"type": _TEXT, "title": _TEXT, "status": _NUMBER, "detail": _TEXT, "diagnostics": _list("Diagnostic")},
        PROBLEM_EXAMPLE,
        required=("type", "title", "status", "detail"),
    ),
}

_PROBLEMS: Final[Mapping[int, str]] = {
    400: "The request cannot be understood.",
    401: "There is no key with it, or a wrong one.",
    403: "The key's role is not enough, or another page made the request.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    409: "Something stands in the way.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The configuration refuses it; diagnostics tell where.",
    429: "Too many wrong keys came from this address.",
    502: "streamd could not do it.",
    503: "streamd does not run, or is busy.",
    504: "streamd does not answer.",
}


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that an operation may answer with, besides those that any may."""
    return {
        status: {"description": _PROBLEMS[status], "content": {MEDIA_TYPE: {"schema": _ref("Problem")}}}
        for status in sorted({401, 429, *statuses})
    }


def answer(schema: str, description: str) -> dict[str, Any]:
    """Return the answer of an operation that does what it should."""
    content = {"schema": _ref(schema), "example": SCHEMAS[schema]["example"]}
    return {"description": description, "content": {"application/json": content}}


def either(schema: str, other: str, description: str) -> dict[str, Any]:
    """Return the answer of an operation that answers with one of two things."""
    content = {"schema": {"anyOf": [_ref(schema), _ref(other)]}, "example": SCHEMAS[schema]["example"]}
    return {"description": description, "content": {"application/json": content}}


def takes(schema: str) -> dict[str, Any]:
    """Return the body that an operation takes."""
    content = {"schema": _ref(schema), "example": SCHEMAS[schema]["example"]}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document that the framework makes, with what it does not know."""
    components = document.setdefault("components", {})
    components["schemas"] = dict(SCHEMAS)
    components["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    document["security"] = [{"key": []}, {"bearer": []}]
    for path in document["paths"].values():
        for operation in path.values():
            # The framework announces a body of problems of its own, which no operation answers with.
            found = operation["responses"].get("422", {}).get("content", {}).get("application/json")
            if found is not None:
                del operation["responses"]["422"]
    return document
