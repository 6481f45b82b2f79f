"""`top`: the table, and what keys do to it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from streamd.ctl.arguments import SORT_KEYS
from streamd.ctl.style import Style, count, plain, rate, size, span, table
from streamd.plan.status import WORST_FIRST, State

_ORDER_OF_STATES: Final = tuple(map(str, (*WORST_FIRST[:-1], State.STOPPED, State.DISABLED, WORST_FIRST[-1])))
_MISSING: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A route's ingest, or an output, at one moment."""

    address: str
    state: str
    cause: str = ""
    bitrate: int | None = None
    """bit/s; None when unknown."""
    uptime: int | None = None
    """µs that its process has been running; None while there is none."""
    restarts: int = 0
    pid: int = 0
    cpu: float | None = None
    """Per cent of one processor since the last look; None when unknown."""
    memory: int | None = None
    """Bytes; None when unknown."""
    rtt: int | None = None
    """Round-trip time of an SRT connection, in µs; None when unknown."""
    lost: int | None = None
    """Packets that its receiver missed; None when unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a person chose to see."""

    sort: str = "address"
    backwards: bool = False
    offset: int = 0
    """Rows above the first one shown."""
    done: bool = False


_ORDER: Final[Mapping[str, Callable[[Row], Any]]] = {
    "address": lambda row: row.address.split("/"),
    "state": lambda row: _ORDER_OF_STATES.index(row.state) if row.state in _ORDER_OF_STATES else -1,
    "bitrate": lambda row: 1 if row.bitrate is None else -row.bitrate,
    "uptime": lambda row: -1 if row.uptime is None else row.uptime,
    "restarts": lambda row: -row.restarts,
    "pid": lambda row: row.pid or 1 << 32,
    "cpu": lambda row: 1.0 if row.cpu is None else -row.cpu,
    "memory": lambda row: 1 if row.memory is None else -row.memory,
}
"""What each key sorts by; the most interesting rows come first: what failed, what came last, what uses most."""
_HINT: Final = "Sort: [a]ddress [s]tate [b]itrate [u]ptime [r]estarts [p]id [c]pu [m]em  [q]uit"
_LETTERS: Final = {name[0]: name for name in SORT_KEYS}
_HEAD: Final = ("ADDRESS", "STATE", "BIT/S", "UPTIME", "RESTARTS", "PID", "CPU%", "MEMORY", "RTT", "LOST", "CAUSE")
_RIGHT: Final = frozenset({"BIT/S", "UPTIME", "RESTARTS", "PID", "CPU%", "MEMORY", "RTT", "LOST"})
_WIDE: Final = 100
"""Columns from which on there is room for process numbers."""
_LINES_AROUND: Final = 4
"""The totals, the hint, the head, and what is below."""


def make_row(address: str, properties: Mapping[str, Any], counted: Mapping[str, Any], cpu: float | None = None) -> Row:
    """Return the row of a route or output.

    Args:
        address: ROUTE or ROUTE/OUTPUT.
        properties: its own.
        counted: what Statistics tells of it.
        cpu: per cent of one processor.
    """
    return Row(
        address=address,
        state=str(properties.get("State", "")),
        cause=str(properties.get("Cause", "")),
        bitrate=counted.get("bitrate"),
        uptime=counted.get("uptime"),
        restarts=properties.get("Restarts", 0),
        pid=properties.get("PID", 0),
        cpu=cpu,
        memory=counted.get("memory"),
        rtt=counted.get("srt-rtt"),
        lost=counted.get("srt-lost"),
    )


def arrange(rows: Iterable[Row], view: View) -> list[Row]:
    """Return the rows in the order wanted; equal ones by address."""
    by_address = sorted(rows, key=_ORDER["address"])
    return sorted(by_address, key=_ORDER[view.sort], reverse=view.backwards)


def press(view: View, key: str, rows: int, height: int) -> View:
    """Return the view after a key.

    Args:
        view: before it.
        key: a character, or up, down, page-up, page-down, home, end.
        rows: how many there are.
        height: lines of the screen.
    """
    if key in {"q", "Q"}:
        return replace(view, done=True)
    if key in _LETTERS:
        sort = _LETTERS[key]
        return replace(view, sort=sort, backwards=sort == view.sort and not view.backwards, offset=0)
    page = max(1, height - _LINES_AROUND)
    moves = {"up": -1, "k": -1, "down": 1, "j": 1, "page-up": -page, "page-down": page, " ": page}
    moves |= {"home": -rows, "end": rows}
    return replace(view, offset=_bounded(view.offset + moves.get(key, 0), rows, page))


def _bounded(offset: int, rows: int, page: int) -> int:
    return max(0, min(offset, rows - page))


def frame(rows: Iterable[Row], view: View, style: Style, height: int, title: str) -> list[str]:
    """Return the screen: at most `height` lines, each no wider than the style's width."""
    arranged = arrange(rows, view)
    page = max(1, height - _LINES_AROUND)
    offset = _bounded(view.offset, len(arranged), page)
    shown = arranged[offset : offset + page]
    lines = [style.paint(style.fit(f"{title}: {totals(arranged)}"), "bold"), style.paint(style.fit(_HINT), "dim")]
    lines += table_lines(shown, style)
    below = len(arranged) - offset - len(shown)
    if below or offset:
        lines.append(style.paint(style.fit(f"{offset} above, {below} below"), "dim"))
    return lines[:height]


def table_lines(rows: Sequence[Row], style: Style) -> list[str]:
    """Return the head and a line for each row; causes and what SRT tells stand there only where there are some."""
    left_out = set() if any(row.cause for row in rows) else {"CAUSE"}
    if all(row.rtt is None for row in rows):
        left_out |= {"RTT", "LOST"}
    if style.width is not None and style.width < _WIDE:
        left_out.add("PID")
    chosen = [number for number, name in enumerate(_HEAD) if name not in left_out]
    cells = [[line[number] for number in chosen] for line in (_HEAD, *map(_cells, rows))]
    names = cells[0]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    aligned = [
        [cell.rjust(width) if name in _RIGHT else cell for cell, width, name in zip(line, widths, names, strict=True)]
        for line in cells
    ]
    if style.width is not None and names[-1] == "CAUSE":
        # The cause is the first to be cut: an address is there to be copied.
        room = max(len(names[-1]), style.width - sum(widths[:-1]) - 2 * (len(widths) - 1))
        aligned = [[*line[:-1], style.shorten(line[-1], room)] for line in aligned]
    head, *body = table(aligned, style)
    lines = [style.paint("  ".join(head).rstrip(), "bold")]
    for row, padded in zip(rows, body, strict=True):
        padded[1] = style.paint(padded[1], row.state)
        lines.append("  ".join(padded).rstrip())
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    return (
        plain(row.address),
        plain(row.state),
        _MISSING if row.bitrate is None else rate(row.bitrate),
        _MISSING if row.uptime is None else span(row.uptime),
        str(row.restarts),
        str(row.pid or _MISSING),
        _MISSING if row.cpu is None else f"{row.cpu:.1f}",
        _MISSING if row.memory is None else size(row.memory),
        _MISSING if row.rtt is None else f"{row.rtt / 1000:.1f}ms",
        _MISSING if row.lost is None else str(row.lost),
        plain(row.cause),
    )


def totals(rows: Sequence[Row]) -> str:
    """Return how many outputs there are, and how many routes and outputs are in which state."""
    outputs = sum("/" in row.address for row in rows)
    parts = [count(len(rows) - outputs, "route"), count(outputs, "output")]
    for state in reversed(_ORDER_OF_STATES):
        number = sum(row.state == state for row in rows)
        parts += [f"{number} {state}"] if number else []
    return ", ".join(parts)


def row_document(row: Row) -> dict[str, Any]:
    """Return a row as `top --json` prints it; what is unknown is null."""
    return {
        "address": row.address,
        "state": row.state,
        "cause": row.cause,
        "bitrate": row.bitrate,
        "uptime": row.uptime,
        "restarts": row.restarts,
        "pid": row.pid,
        "cpu": None if row.cpu is None else round(row.cpu, 1),
        "memory": row.memory,
        "rtt": row.rtt,
        "lost": row.lost,
    }
