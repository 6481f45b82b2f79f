"""Metrics: the text, and the server that answers with it."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from streamd.bus.metrics import exposition, families, metrics_document
from streamd.ctl.exporter import Exporter
from streamd.plan.status import State
from tests.unit.test_ctl_show import DIAGNOSTIC, a_route, status, thing

PAGE = Path(__file__).parents[2] / "debian/man/streamd.8"
SECOND = 1_000_000
STATUS = status(
    a_route(
        "a",
        "running",
        thing("a/x", "backoff", **{"since": 5 * SECOND, "last-error-at": 4 * SECOND}),
        thing("a/y", "running", since=0),
    ),
    diagnostics=(DIAGNOSTIC,),
)
FULL = {
    "address": "a/y",
    "bytes": 123_456_789_012_345,
    "bitrate": 5_000_000,
    "uptime": 1_500_000,
    "fps": 25.0,
    "speed": 0.5,
    "media-time": 2 * SECOND,
    "dropped": 0,
    "duplicated": 7,
    "cpu": 250_000,
    "memory": 1 << 20,
    "tasks": 3,
    "restarts": 2,
}
STATISTICS = [{"address": "a", "restarts": 0}, {"address": "a/x", "restarts": 4}, FULL]
BY_SRT = {
    "address": "a/x",
    "srt-rtt": 68,
    "srt-bandwidth": 403_152_000,
    "srt-rate": 7,
    "srt-bytes": 1_077_120,
    "srt-packets": 792,
    "srt-lost": 3,
    "srt-retransmitted": 2,
    "srt-dropped": 1,
}
"""An output's whose engine is srt-live-transmit."""


def samples(found: str) -> dict[str, str]:
    return dict(line.rsplit(" ", 1) for line in found.splitlines() if not line.startswith("#"))


def test_everything_known_is_there_in_base_units() -> None:
    found = samples(exposition(families(STATUS, STATISTICS)))
    y = '{route="a",output="y"}'
    assert {name: value for name, value in found.items() if name.endswith(y)} == {
        f"streamd_output_sent_bytes_total{y}": "123456789012345",
        f"streamd_output_restarts_total{y}": "2",
        f"streamd_output_uptime_seconds{y}": "1.5",
        f"streamd_output_cpu_seconds_total{y}": "0.25",
        f"streamd_output_memory_bytes{y}": "1048576",
        f"streamd_output_threads{y}": "3",
        f"streamd_output_media_seconds_total{y}": "2.0",
        f"streamd_output_speed_ratio{y}": "0.5",
        f"streamd_output_dropped_frames_total{y}": "0",
        f"streamd_output_duplicated_frames_total{y}": "7",
    }
    assert found["streamd_up"] == found['streamd_build_info{version="1.2.3"}'] == "1"
    assert (found["streamd_routes"], found["streamd_outputs"], found["streamd_configuration_errors"]) == ("1", "2", "1")
    assert found['streamd_output_info{route="a",output="x",kind="udp",unit="streamd-output@a:x.service"}'] == "1"
    assert found['streamd_input_restarts_total{route="a"}'] == "0"


def test_unknown_values_are_left_out() -> None:
    found = samples(exposition(families(STATUS, STATISTICS)))
    x = '{route="a",output="x"}'
    assert {name: value for name, value in found.items() if name.endswith(x)} == {
        f"streamd_output_restarts_total{x}": "4",
        f"streamd_output_state_entered_timestamp_seconds{x}": "5.0",
        f"streamd_output_last_failure_timestamp_seconds{x}": "4.0",
    }
    text = exposition(families(STATUS))
    assert "bytes_total" not in text, "a metric without a sample is not announced"


def test_what_srt_tells() -> None:
    found = samples(exposition(families(STATUS, [BY_SRT])))
    prefix, x = "streamd_output_srt_", '{route="a",output="x"}'
    assert {name: value for name, value in found.items() if "_srt_" in name} == {
        f"{prefix}rtt_seconds{x}": "6.8e-05",
        f"{prefix}bandwidth_bits_per_second{x}": "403152000",
        f"{prefix}sent_bytes_total{x}": "1077120",
        f"{prefix}packets_total{x}": "792",
        f"{prefix}lost_packets_total{x}": "3",
        f"{prefix}retransmitted_packets_total{x}": "2",
        f"{prefix}dropped_packets_total{x}": "1",
    }


def test_each_state_is_a_sample_of_which_one_is_1() -> None:
    found = samples(exposition(families(STATUS)))
    states = {
        name: value for name, value in found.items() if name.startswith('streamd_output_state{route="a",output="x"')
    }
    assert len(states) == len(State)
    assert [name for name, value in states.items() if value == "1"] == [
        'streamd_output_state{route="a",output="x",state="backoff"}'
    ]


def test_without_the_daemon_that_alone_is_told() -> None:
    text = exposition(families(None))
    assert samples(text) == {"streamd_up": "0"}


def test_labels_are_escaped() -> None:
    odd = status() | {"version": 'a"b\\c\nd'}
    assert 'streamd_build_info{version="a\\"b\\\\c\\nd"} 1\n' in exposition(families(odd))


def test_the_text_is_well_formed() -> None:
    text = exposition(families(STATUS, STATISTICS))
    name = None
    seen: set[str] = set()
    for line in text.splitlines():
        if found := re.fullmatch(r"# HELP (streamd_[a-z_]+) [A-Z1].*\.", line):
            name = found[1]
            assert name not in seen
            seen.add(name)
        elif found := re.fullmatch(r"# TYPE (\w+) (gauge|counter)", line):
            assert found[1] == name
            assert (found[2] == "counter") is found[1].endswith("_total")
        else:
            assert re.fullmatch(rf'{name}({{(\w+="[^"]*",?)+}})? [\d.]+', line), line
    assert len(samples(text)) == len([line for line in text.splitlines() if not line.startswith("#")])


def test_the_document_says_the_same() -> None:
    metrics = families(STATUS, STATISTICS)
    document: list[dict[str, Any]] = metrics_document(metrics)
    assert document[0] == {
        "name": "streamd_up",
        "type": "gauge",
        "help": "Whether the daemon runs; streams go on without it.",
        "samples": [{"labels": {}, "value": 1}],
    }
    assert len(document) == exposition(metrics).count("# TYPE")


async def ask(port: int, request: bytes) -> bytes:
    """Return the answer; nothing where the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def gather() -> str:
    return "streamd_up 1\n"


def served(*requests: bytes, idle: float = 0.2) -> list[bytes]:
    """Return the answers to requests, all at once; the server ends by itself afterwards."""

    async def run() -> list[bytes]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            server = asyncio.create_task(Exporter(gather, idle=idle).serve(listener))
            answers = await asyncio.gather(*(ask(port, request) for request in requests))
            async with asyncio.timeout(10):
                await server
        return answers

    return asyncio.run(run())


def test_metrics_are_served_and_the_server_ends_when_nobody_asks() -> None:
    (answer,) = served(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n")
    assert b"\r\nContent-Length: 13\r\n" in head
    assert body == b"streamd_up 1\n"


@pytest.mark.parametrize(
    ("request_line", "status_line"),
    [
        (b"GET / HTTP/1.1", b"HTTP/1.1 404 Not Found"),
        (b"GET /metrics/../etc/passwd HTTP/1.0", b"HTTP/1.1 404 Not Found"),
        (b"GET /metrics?x=y HTTP/1.0", b"HTTP/1.1 200 OK"),
        (b"HEAD /metrics HTTP/1.1", b"HTTP/1.1 200 OK"),
        (b"POST /metrics HTTP/1.1", b"HTTP/1.1 405 Method Not Allowed"),
        (b"\x16\x03\x01\x02\x00", b"HTTP/1.1 404 Not Found"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 10_000, b"HTTP/1.1 431 Request Header Fields Too Large"),
    ],
)
def test_other_requests(request_line: bytes, status_line: bytes) -> None:
    (answer,) = served(request_line + b"\r\n\r\n")
    assert answer.split(b"\r\n")[0] == status_line
    if request_line.startswith(b"HEAD"):
        assert answer.endswith(b"\r\n\r\n")


def test_a_hundred_at_once_are_answered_or_sent_away() -> None:
    answers = served(*[b"GET /metrics HTTP/1.1\r\n\r\n"] * 100)
    assert all(answer in (b"", answers[0]) for answer in answers)
    assert sum(bool(answer) for answer in answers) >= 16


def test_a_client_that_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.ctl.exporter._REQUEST_SECONDS", 0.05)
    assert served(b"GET /met") == [b""]


def test_an_error_is_told_to_who_asked() -> None:
    async def fail() -> str:
        raise RuntimeError("streamd does not answer")

    async def run() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = asyncio.create_task(Exporter(fail, idle=0.1).serve(listener))
            answer = await ask(listener.getsockname()[1], b"GET /metrics HTTP/1.1\r\n\r\n")
            await server
        return answer

    answer = asyncio.run(run())
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert answer.endswith(b"\r\n\r\nstreamd does not answer\n")


@pytest.mark.skipif(not PAGE.exists(), reason="this is the installed tree")
def test_the_manual_names_every_metric_and_no_other() -> None:
    section = PAGE.read_text().split("\n.SH METRICS\n")[1].split("\n.SH ")[0].replace("\\", "")
    named = set(re.findall(r"streamd_[a-z_]*[a-z]", section)) - {"streamd_output", "streamd_input"}
    made = {family.name for told in (STATISTICS, [BY_SRT]) for family in families(STATUS, told)}
    assert named == {name for name in made if not name.startswith("streamd_input_")}
    inputs = {name.replace("streamd_input_", "") for name in made if name.startswith("streamd_input_")}
    assert {name.replace("received", "sent") for name in inputs} <= {
        name.replace("streamd_output_", "") for name in made
    }
