"""The status as plain dictionaries: what GetStatus returns and `streamctl --json` prints."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from streamd.plan.status import LogLine, OutputStatus, RouteStatus, Statistics, Status, StepView
from streamd.plan.viewers import MediaView, PathView, Viewer
from streamd.route.diagnostic import Diagnostic

Document = dict[str, Any]
"""Keys in lower case; values are str, int, float, bool, or lists of Documents."""


def status_document(status: Status) -> Document:
    """Return everything."""
    return {
        "version": status.version,
        "routes": [route_document(route) for route in status.routes],
        "diagnostics": diagnostics_document(status.diagnostics),
    }


def route_document(route: RouteStatus) -> Document:
    """Return a route with its outputs."""
    return {**bare_route_document(route), "outputs": [output_document(output) for output in route.outputs]}


def bare_route_document(route: RouteStatus) -> Document:
    """Return a route without its outputs."""
    return {
        "route": route.name,
        "address": route.name,
        "path": route.path,
        "description": route.description,
        "enabled": route.enabled,
        "relay": route.relay,
        "input": route.input_kind,
        "url": route.input_url,
        "group": route.group,
        "broken": route.broken,
        "overall": str(route.overall),
        **_state_document(route),
    }


def output_document(output: OutputStatus) -> Document:
    """Return an output."""
    return {
        "route": output.route,
        "output": output.name,
        "address": output.address,
        "kind": output.kind,
        "mode": output.mode,
        "engine": output.engine,
        "url": output.url,
        "description": output.description,
        "enabled": output.enabled,
        **_state_document(output),
    }


def _state_document(thing: RouteStatus | OutputStatus) -> Document:
    return {
        "state": str(thing.state),
        "cause": thing.cause,
        "since": thing.since,
        "unit": thing.unit.unit,
        "pid": thing.unit.pid,
        "restarts": thing.unit.restarts,
        "invocation": thing.unit.invocation,
        "reason": thing.trouble.reason,
        "advice": thing.trouble.advice,
        "next-try": thing.trouble.next_try,
        "last-error": thing.trouble.last_error,
        "last-error-at": thing.trouble.last_error_at,
    }


def statistics_document(statistics: Statistics) -> Document:
    """Return the moving counters of one output or ingest, without those that are unknown."""
    found = {
        "address": statistics.address,
        "bitrate": statistics.bitrate,
        "bytes": statistics.bytes,
        "uptime": statistics.uptime,
        "fps": statistics.fps,
        "speed": statistics.speed,
        "media-time": statistics.media_time,
        "dropped": statistics.dropped,
        "duplicated": statistics.duplicated,
        **_link_document(statistics),
        "drops": statistics.drops,
        "sampled": statistics.sampled,
        "continuity-errors": statistics.continuity_errors,
        "ts-errors": statistics.ts_errors,
        "cpu": statistics.cpu,
        "memory": statistics.memory,
        "tasks": statistics.tasks,
        "restarts": statistics.restarts,
    }
    return {key: value for key, value in found.items() if value is not None}


def _link_document(statistics: Statistics) -> dict[str, int | None]:
    link = statistics.link
    if link is None:
        return {}
    return {
        "srt-rtt": link.rtt,
        "srt-bandwidth": link.bandwidth,
        "srt-rate": statistics.send_rate,
        "srt-bytes": link.wire,
        "srt-packets": link.packets,
        "srt-lost": link.lost,
        "srt-retransmitted": link.retransmitted,
        "srt-dropped": link.dropped,
    }


def view_document(view: MediaView, routes: Collection[str] = ()) -> Document:
    """Return who watches what, of these routes, of all where none is named."""
    paths = [path for path in view.paths if not routes or path.route in routes]
    return {
        "mediamtx": view.version,
        "problem": view.problem,
        "hls": view.hls,
        "webrtc": view.webrtc,
        "paths": [_path_document(path) for path in paths],
    }


def _path_document(path: PathView) -> Document:
    return {
        "route": path.route,
        "ready": path.ready,
        "tracks": ", ".join(path.tracks),
        "received": path.received,
        "sent": path.sent,
        "viewers": [_viewer_document(viewer) for viewer in path.viewers],
        "publishers": [_viewer_document(path.publisher)] if path.publisher else [],
    }


def _viewer_document(viewer: Viewer) -> Document:
    found = {
        "id": viewer.id,
        "kind": viewer.kind,
        "address": viewer.address,
        "since": viewer.since,
        "sent": viewer.sent,
        "rtt": viewer.rtt,
        "lost": viewer.lost,
        "retransmitted": viewer.retransmitted,
        "rate": viewer.rate,
        "capacity": viewer.capacity,
    }
    return {key: value for key, value in found.items() if value is not None}


def diagnostics_document(diagnostics: Iterable[Diagnostic]) -> list[Document]:
    """Return what is wrong with the files."""
    return [
        {
            "path": found.path,
            "line": found.span.line,
            "column": found.span.column,
            "length": found.span.length,
            "key": found.key,
            "message": found.message,
            "text": found.line_text,
            **({} if found.mark in (0, found.span.column) else {"mark": found.mark}),
        }
        for found in diagnostics
    ]


def log_document(lines: Iterable[LogLine]) -> list[Document]:
    """Return lines of a log."""
    return [{"time": line.time, "priority": line.priority, "text": line.text} for line in lines]


def steps_document(steps: Iterable[StepView]) -> list[Document]:
    """Return what a reload would do."""
    return [
        {"action": step.action, "address": step.address, "unit": step.unit, "reason": step.reason} for step in steps
    ]
