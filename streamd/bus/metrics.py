"""The status and the counters as metrics, in Prometheus' text format. Pure.

The names follow Prometheus' conventions: base units, `_total` for what only grows. What is unknown is left out, never
0. Counters begin again at 0 with the process that they are of, which Prometheus expects of counters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streamd.plan.status import State

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})

Labels = tuple[tuple[str, str], ...]
Number = int | float
_Thing = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all of its samples."""

    name: str
    kind: str
    """gauge or counter."""
    help: str
    samples: tuple[tuple[Labels, Number], ...]


@dataclass(frozen=True, slots=True)
class _Counter:
    """A metric out of the counters of the method Statistics."""

    name: str
    """Behind streamd_input_ or streamd_output_; {moved} is received or sent."""
    kind: str
    help: str
    value: Callable[[_Thing], Number | None]


def _plain(key: str) -> Callable[[_Thing], Number | None]:
    return lambda found: found.get(key)


def _seconds(key: str) -> Callable[[_Thing], Number | None]:
    return lambda found: None if found.get(key) is None else found[key] / 1_000_000


_COUNTERS: Final = (
    _Counter("{moved}_bytes_total", "counter", "Bytes {moved} since the process began.", _plain("bytes")),
    _Counter("restarts_total", "counter", "Automatic restarts since the unit was started.", _plain("restarts")),
    _Counter("uptime_seconds", "gauge", "For how long the process has been running.", _seconds("uptime")),
    _Counter("cpu_seconds_total", "counter", "Processor time used by the unit since it was started.", _seconds("cpu")),
    _Counter("memory_bytes", "gauge", "Memory that the unit uses, page cache included.", _plain("memory")),
    _Counter("threads", "gauge", "Threads that the unit has.", _plain("tasks")),
    _Counter("media_seconds_total", "counter", "Media time {moved} since the process began.", _seconds("media-time")),
    _Counter("speed_ratio", "gauge", "Media time over real time in the last half minute; 1 is right.", _plain("speed")),
    _Counter("dropped_frames_total", "counter", "Frames dropped since the process began.", _plain("dropped")),
    _Counter("duplicated_frames_total", "counter", "Frames duplicated since the process began.", _plain("duplicated")),
    _Counter("srt_rtt_seconds", "gauge", "Round-trip time of the SRT connection.", _seconds("srt-rtt")),
    _Counter("srt_bandwidth_bits_per_second", "gauge", "What SRT takes the path to carry.", _plain("srt-bandwidth")),
    _Counter(
        "srt_sent_bytes_total", "counter", "Bytes sent by SRT, headers and repeats included.", _plain("srt-bytes")
    ),
    _Counter("srt_packets_total", "counter", "SRT packets sent, those sent again included.", _plain("srt-packets")),
    _Counter("srt_lost_packets_total", "counter", "SRT packets that the receiver missed.", _plain("srt-lost")),
    _Counter("srt_retransmitted_packets_total", "counter", "SRT packets sent again.", _plain("srt-retransmitted")),
    _Counter("srt_dropped_packets_total", "counter", "SRT packets not sent, being too late.", _plain("srt-dropped")),
)


def families(status: _Thing | None, statistics: Sequence[_Thing] = ()) -> tuple[Family, ...]:
    """Return all metrics.

    Args:
        status: what GetStatus returns; None where the daemon does not run.
        statistics: what Statistics returns.
    """
    up = Family("streamd_up", "gauge", "Whether the daemon runs; streams go on without it.", (((), int(bool(status))),))
    if status is None:
        return (up,)
    inputs = [(_labels(route), route) for route in status["routes"]]
    outputs = [(_labels(output), output) for route in status["routes"] for output in route["outputs"]]
    found = [
        up,
        Family("streamd_build_info", "gauge", "The daemon's version.", (((("version", status["version"]),), 1),)),
        Family("streamd_routes", "gauge", "Routes that there are.", (((), len(inputs)),)),
        Family("streamd_outputs", "gauge", "Outputs that there are.", (((), len(outputs)),)),
        Family(
            "streamd_configuration_errors",
            "gauge",
            "Errors in the configuration files.",
            (((), len(status["diagnostics"])),),
        ),
    ]
    counters = {entry["address"]: entry for entry in statistics}
    for what, moved, things in (("input", "received", inputs), ("output", "sent", outputs)):
        found += _of_status(f"streamd_{what}", what, things)
        for counter in _COUNTERS:
            values = ((labels, counters.get(thing["address"], {})) for labels, thing in things)
            samples = _known((labels, counter.value(entry)) for labels, entry in values)
            name = f"streamd_{what}_{counter.name.format(moved=moved)}"
            found.append(Family(name, counter.kind, counter.help.format(moved=moved), samples))
    return tuple(family for family in found if family.samples)


def _of_status(prefix: str, what: str, things: Sequence[tuple[Labels, _Thing]]) -> Iterator[Family]:
    """Yield the metrics of the inputs or the outputs that come from the status."""
    yield Family(
        f"{prefix}_info",
        "gauge",
        f"The {what}s by their kinds and systemd units.",
        tuple(
            ((*labels, ("kind", thing["input" if what == "input" else "kind"]), ("unit", thing["unit"])), 1)
            for labels, thing in things
        ),
    )
    yield Family(
        f"{prefix}_state",
        "gauge",
        f"1 for the state that the {what} is in, 0 for all others.",
        tuple(
            ((*labels, ("state", str(state))), int(thing["state"] == state))
            for labels, thing in things
            for state in State
        ),
    )
    for name, key, text in (
        ("state_entered_timestamp_seconds", "since", f"When the {what} came into its state."),
        ("last_failure_timestamp_seconds", "last-error-at", f"When the {what} failed last."),
    ):
        # A time of 0 says that it is not known, or never was.
        samples = _known((labels, thing.get(key, 0) / 1_000_000 or None) for labels, thing in things)
        yield Family(f"{prefix}_{name}", "gauge", text, samples)


def _known(samples: Iterable[tuple[Labels, Number | None]]) -> tuple[tuple[Labels, Number], ...]:
    return tuple((labels, value) for labels, value in samples if value is not None)


def _labels(thing: _Thing) -> Labels:
    labels = (("route", thing["route"]),)
    return (*labels, ("output", thing["output"])) if "output" in thing else labels


def exposition(metrics: Iterable[Family]) -> str:
    """Return metrics in Prometheus' text format."""
    lines: list[str] = []
    for family in metrics:
        lines.append(f"# HELP {family.name} {family.help.translate(_HELP_ESCAPES)}\n")
        lines.append(f"# TYPE {family.name} {family.kind}\n")
        for labels, value in family.samples:
            inner = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in labels)
            lines.append(f"{family.name}{f'{{{inner}}}' if inner else ''} {_number(value)}\n")
    return "".join(lines)


def metrics_document(metrics: Iterable[Family]) -> list[dict[str, Any]]:
    """Return metrics as `streamctl metrics --json` prints them."""
    return [
        {
            "name": family.name,
            "type": family.kind,
            "help": family.help,
            "samples": [{"labels": dict(labels), "value": value} for labels, value in family.samples],
        }
        for family in metrics
    ]


def _number(value: Number) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' if value < 0 else '+'}Inf"
    return repr(value)
