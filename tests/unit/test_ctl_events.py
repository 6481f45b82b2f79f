"""What `monitor` makes of what the bus tells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamd.bus.names import MANAGER, OUTPUT, ROOT, ROUTE
from streamd.bus.notice import Altered, Came, Everything, Interfaces, Left, Notice, Went
from streamd.ctl.events import Event, Follower, event_document, event_line
from streamd.ctl.style import Style

PATH = "/org/streamd1/output/a/x"
PLAIN = Style()
TIME = 1_795_421_725_000_000


def an_output(address: str = "a/x", **more: Any) -> Interfaces:
    own = {"Address": address, "State": "running", "Cause": "", "Restarts": 0, "PID": 1, "Invocation": "aa", "URL": "u"}
    return {OUTPUT: {**own, **more}}


def objects(**more: Any) -> dict[str, Interfaces]:
    return {
        ROOT: {MANAGER: {"Version": "1", "Diagnostics": []}},
        "/org/streamd1/route/a": {ROUTE: {"Name": "a", "State": "running", "Cause": ""}},
        PATH: an_output(**more),
    }


@pytest.fixture
def follower() -> Follower:
    it = Follower()
    assert list(it.apply(Everything(objects()))) == []
    return it


def told(follower: Follower, notice: Notice) -> list[str]:
    return [event_line(event, TIME, PLAIN).split(" ", 2)[2] for event in follower.apply(notice)]


def altered(**values: Any) -> Altered:
    return Altered(PATH, OUTPUT, values)


def test_states_and_causes(follower: Follower) -> None:
    change = altered(State="backoff", Cause="connection refused", PID=0)
    assert told(follower, change) == ["a/x: running -> backoff: connection refused"]
    assert told(follower, change) == []
    assert told(follower, altered(Cause="no route\nto host")) == ["a/x: backoff: no route\ufffdto host"]
    assert told(follower, altered(State="running", Cause="", PID=7, Since=1)) == ["a/x: backoff -> running"]
    assert follower.things()["a/x"]["PID"] == 7


def test_reasons(follower: Follower) -> None:
    change = altered(State="stalled", Cause="nothing is sent", Reason="stalled", Advice="Look.", LastErrorAt=5)
    assert told(follower, change) == ["a/x: running -> stalled: nothing is sent (stalled)"]
    assert told(follower, altered(Reason="timeout")) == ["a/x: stalled: nothing is sent (timeout)"]
    assert told(follower, altered(NextTry=9, LastError="e", LastErrorAt=7, Advice="Wait.")) == []
    for state in ("starved", "waiting"):
        (line,) = told(follower, altered(State=state, Cause="", Reason=""))
        assert line.endswith(f"-> {state}")


def test_restarts(follower: Follower) -> None:
    assert told(follower, altered(Restarts=1, PID=2)) == ["a/x: running, restarted, 1 time by systemd so far"]
    assert told(follower, altered(Invocation="bb", Restarts=0)) == ["a/x: running, restarted"]
    assert told(follower, altered(Invocation="")) == []


def test_configuration(follower: Follower) -> None:
    assert told(follower, altered(URL="udp://h:1", Description="in two", PID=4)) == [
        'a/x: URL=udp://h:1, Description="in two"'
    ]
    assert told(follower, altered(PID=5, Since=3)) == []


def test_what_comes_and_goes(follower: Follower) -> None:
    assert told(follower, Came("/p", an_output("b/y", State="starting"))) == ["b/y: added, starting"]
    assert list(follower.things()) == ["a", "a/x", "b/y"]
    assert told(follower, Went("/p")) == ["b/y: removed"]
    assert told(follower, Went("/p")) == []
    assert list(follower.things()) == ["a", "a/x"]


def test_errors_in_the_files(follower: Follower) -> None:
    found = Altered(ROOT, MANAGER, {"Diagnostics": [{"line": 1}], "Routes": 3})
    assert told(follower, found) == ["streamd: 1 error in the files, see: streamctl check"]
    assert told(follower, Altered(ROOT, MANAGER, {"Diagnostics": []})) == ["streamd: no errors in the files"]
    assert told(follower, Altered(ROOT, MANAGER, {"Routes": 4})) == []
    assert follower.manager()["Routes"] == 4


def test_a_restart_of_the_daemon_tells_what_changed_meanwhile(follower: Follower) -> None:
    assert told(follower, Left()) == ["streamd: it left the bus; outputs go on"]
    assert not follower.there
    assert told(follower, Everything(objects(State="failed"))) == ["streamd: it is back", "a/x: running -> failed"]
    assert follower.there


def test_documents() -> None:
    event = Event(kind="state", address="a/x", before="running", properties={"State": "failed"}, changed={"PID": 0})
    assert event_document(event, 5) == {
        "time": 5,
        "event": "state",
        "address": "a/x",
        "before": "running",
        "state": "failed",
        "cause": "",
        "reason": "",
        "changed": {"PID": 0},
    }
    assert (
        json.dumps(event_document(Event(kind="gone"), 5))
        == '{"time": 5, "event": "gone", "address": "", "changed": {}}'
    )


def test_nothing_in_a_line_commands_the_terminal() -> None:
    event = Event(kind="changed", address="a", properties={"State": "\033[0m"}, changed={"URL": "\033]0;x\007"})
    assert "\033" not in event_line(event, TIME, PLAIN)
    assert "\033[1m" in event_line(event, TIME, Style(colour=True))
