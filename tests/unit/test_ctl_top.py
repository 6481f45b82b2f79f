"""The table of `top`, its keys, and what units use."""

from __future__ import annotations

import pytest

from streamd.ctl.arguments import SORT_KEYS
from streamd.ctl.screen import split_keys
from streamd.ctl.style import Style, bitrate, rate, size
from streamd.ctl.top import (
    Row,
    View,
    arrange,
    frame,
    make_row,
    press,
    row_document,
    table_lines,
    totals,
)
from streamd.ctl.usage import Meter

SECOND = 1_000_000
ROWS = [
    Row(address="b", state="running", bitrate=5_240_000, uptime=61 * SECOND, pid=10, cpu=1.25, memory=10 << 20),
    Row(address="a", state="running", bitrate=0, uptime=3600 * SECOND, pid=12, cpu=0.0, memory=9 << 20),
    Row(address="a/two", state="backoff", cause="refused", restarts=7),
    Row(address="a/one", state="running", uptime=SECOND, restarts=1, pid=9, cpu=99.96, memory=2048),
    Row(address="a/off", state="stopped"),
]
TABLE = [
    "ADDRESS  STATE    BIT/S   UPTIME  RESTARTS  PID   CPU%  MEMORY  CAUSE",
    "a        running      0       1h         0   12    0.0    9.0M",
    "a/off    stopped      -        -         0    -      -       -",
    "a/one    running      -       1s         1    9  100.0    2.0K",
    "a/two    backoff      -        -         7    -      -       -  refused",
    "b        running   5.2M  1min 1s         0   10    1.2   10.0M",
]


def addresses(sort: str, *, backwards: bool = False) -> list[str]:
    return [row.address for row in arrange(ROWS, View(sort=sort, backwards=backwards))]


@pytest.mark.parametrize(
    ("sort", "found"),
    [
        ("address", ["a", "a/off", "a/one", "a/two", "b"]),
        ("state", ["a/two", "a/off", "a", "a/one", "b"]),
        ("bitrate", ["b", "a", "a/off", "a/one", "a/two"]),
        ("uptime", ["a/off", "a/two", "a/one", "b", "a"]),
        ("restarts", ["a/two", "a/one", "a", "a/off", "b"]),
        ("pid", ["a/one", "b", "a", "a/off", "a/two"]),
        ("cpu", ["a/one", "b", "a", "a/off", "a/two"]),
        ("memory", ["b", "a", "a/one", "a/off", "a/two"]),
    ],
)
def test_order(sort: str, found: list[str]) -> None:
    assert addresses(sort) == found
    assert set(addresses(sort, backwards=True)[:2]) != set(found[:2])
    assert sort in SORT_KEYS


def test_the_table() -> None:
    assert table_lines(arrange(ROWS, View()), Style()) == TABLE
    assert "CAUSE" not in table_lines(ROWS[:1], Style())[0]
    assert "PID" not in table_lines(ROWS, Style(width=80))[0]
    assert "PID" in table_lines(ROWS, Style(width=132))[0]
    assert max(map(len, table_lines(ROWS, Style(width=80)))) <= 80
    # Of a line that is too long the cause is cut, and not the address.
    long = [Row(address="studio-a/youtube", state="stalled", bitrate=0, uptime=SECOND, cause="it sends nothing " * 9)]
    (_head, line) = table_lines(long, Style(width=80))
    assert line.startswith("studio-a/youtube  stalled")
    assert (line[-1], len(line)) == ("…", 80)


def test_no_line_is_wider_than_the_screen() -> None:
    long = [
        Row(
            address=f"{'r' * 60}{n}/{'o' * 60}",
            state="backoff",
            cause="c" * 200,
            uptime=99 * 86400 * SECOND,
            restarts=123456,
            pid=4194304,
            cpu=12800.0,
            memory=1 << 42,
        )
        for n in range(50)
    ]
    for width in (40, 80, 132):
        for height in (1, 2, 5, 24):
            lines = frame(long, View(), Style(width=width), height, "streamd 1.2.3")
            assert len(lines) <= height
            if width >= 80:
                assert all(len(line) <= width for line in lines), max(map(len, lines))


def test_the_screen() -> None:
    rows = [Row(address=f"r/o{n:02}", state="running") for n in range(30)]
    lines = frame(rows, View(offset=5), Style(width=80), 24, "streamd 1")
    assert lines[0] == "streamd 1: 0 routes, 30 outputs, 30 running"
    assert lines[1].startswith("Sort: [a]ddress")
    assert lines[1].endswith("[q]uit")
    assert lines[2].startswith("ADDRESS")
    assert [lines[3][:5], lines[22][:5]] == ["r/o05", "r/o24"]
    assert lines[23] == "5 above, 5 below"
    assert len(lines) == 24
    assert "\033[1m" in frame(rows, View(), Style(colour=True, width=80), 24, "")[0]
    assert frame([], View(), Style(width=80), 24, "s")[0] == "s: 0 routes, 0 outputs"


def test_keys() -> None:
    view = View()
    assert press(view, "c", 5, 24) == View(sort="cpu")
    assert press(View(sort="cpu"), "c", 5, 24) == View(sort="cpu", backwards=True)
    assert press(View(sort="cpu", backwards=True), "c", 5, 24) == View(sort="cpu")
    assert press(view, "?", 5, 24) == view
    assert press(view, "q", 5, 24).done
    assert press(view, "down", 5, 24).offset == 0
    assert press(view, "down", 50, 24).offset == 1
    assert press(view, "page-down", 50, 24).offset == 20
    assert press(view, "end", 50, 24).offset == 30
    assert press(View(offset=30), "up", 50, 24).offset == 29
    assert press(View(offset=30), "home", 50, 24).offset == 0
    assert press(View(offset=30), "j", 10, 24).offset == 0


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", ["q"]),
        (b"\033[A\033[Bc", ["up", "down", "c"]),
        (b"\033OA\033[5~\033[6~", ["up", "page-up", "page-down"]),
        (b"\033[1;5Cq\033", ["q"]),
        (b"\033[", []),
        (b"\xc3\xa4", ["\xc3", "\xa4"]),
    ],
)
def test_what_a_terminal_sends(data: bytes, keys: list[str]) -> None:
    assert split_keys(data) == keys


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1.0K"), (1 << 20, "1.0M"), ((1 << 30) - 1, "1.0G"), (5 << 40, "5.0T")],
)
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("bits", "short", "long"),
    [
        (0, "0", "0 bit/s"),
        (999, "999", "999 bit/s"),
        (1000, "1.0K", "1.0 kbit/s"),
        (999_949, "999.9K", "999.9 kbit/s"),
        (5_240_000, "5.2M", "5.2 Mbit/s"),
        (12_000_000_000, "12.0G", "12.0 Gbit/s"),
    ],
)
def test_bitrates(bits: int, short: str, long: str) -> None:
    assert (rate(bits), bitrate(bits)) == (short, long)


def test_rows_from_properties_and_counters() -> None:
    running = {"State": "running", "Since": 5, "Restarts": 2, "PID": 7, "Cause": "", "Bitrate": 0, "Uptime": 0}
    counted = {"address": "a/b", "bitrate": 5_000_000, "uptime": 60 * SECOND, "memory": 4096, "cpu": 9}
    row = make_row("a/b", running, counted, 12.34)
    assert row == Row(
        address="a/b", state="running", bitrate=5_000_000, uptime=60 * SECOND, restarts=2, pid=7, cpu=12.34, memory=4096
    )
    assert row_document(row)["cpu"] == 12.3
    # What is unknown is none, never nought.
    unknown = row_document(make_row("a/b", running, {}))
    assert [unknown[key] for key in ("bitrate", "uptime", "cpu", "memory")] == [None] * 4
    assert totals([row, Row(address="a", state="failed")]) == "1 route, 1 output, 1 running, 1 failed"


def test_processor_time_is_the_difference_of_two_looks() -> None:
    meter = Meter()
    assert meter.measure([{"address": "a", "cpu": 1_000_000}, {"address": "b"}], 10**9) == {}
    assert meter.measure([{"address": "a", "cpu": 1_500_000}], 2 * 10**9) == {"a": pytest.approx(50.0)}
    assert meter.measure([{"address": "a", "cpu": 10}], 3 * 10**9) == {"a": 0}  # started anew
    assert meter.measure([{"address": "a"}, {"address": "c", "cpu": 5}], 4 * 10**9) == {}
    assert meter.measure([{"address": "c", "cpu": 5}], 4 * 10**9) == {}
