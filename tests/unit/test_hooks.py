"""When hooks are called: episodes, told once, over every change of state."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from streamd.host.store import Store
from streamd.plan.address import Address
from streamd.plan.hooks import (
    Event,
    Kind,
    Ledger,
    advance,
    environment_file,
    event_document,
    hook_unit,
)
from streamd.plan.status import OutputStatus, RouteStatus, State, Status, Trouble, UnitStatus

PAGE = Path(__file__).parents[2] / "debian/man/streamd.8"
EVENT = Event(kind=Kind.FAILURE, address=Address("a"), state=State.FAILED, previous="")
SECOND = 1_000_000
PATIENCE = 10
WELL = (State.RUNNING, State.WAITING)
BAD = (State.FAILED, State.BLOCKED, State.STALLED, State.BACKOFF, State.STARVED)
UNSETTLED = (State.STARTING, State.STOPPING)
OVER = (State.STOPPED, State.DISABLED)


def status(source: State, *outputs: State) -> Status:
    def output(number: int, state: State) -> OutputStatus:
        address = Address("a", f"x{number}")
        return OutputStatus(
            route="a",
            name=address.output,
            kind="udp",
            url="udp://192.0.2.1:1",
            enabled=True,
            state=state,
            cause=f"because {state}",
            since=77 * SECOND,
            unit=UnitStatus(unit=address.unit),
            trouble=Trouble(reason="refused", advice="do this", last_error="no route"),
        )

    route = RouteStatus(
        name="a",
        path="/etc/streamd/conf.d/a.toml",
        enabled=True,
        relay="direct",
        input_kind="udp",
        input_url="udp://0.0.0.0:5000",
        group="239.255.0.1:20000",
        broken=False,
        state=source,
        cause="",
        since=66 * SECOND,
        unit=UnitStatus(unit=Address("a").unit),
        outputs=tuple(output(number, state) for number, state in enumerate(outputs)),
    )
    return Status(version="1", routes=(route,))


class Daemon:
    """Looks each second."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger or Ledger()
        self.now = 1000

    def look(self, seen: Status, seconds: int = 1) -> list[Event]:
        told: list[Event] = []
        for _ in range(seconds):
            self.now += 1
            self.ledger, events = advance(
                self.ledger, seen, lambda _: PATIENCE * SECOND, self.now * SECOND, (self.now + 10**9) * SECOND
            )
            told += events
        return told


def names(events: Sequence[Event]) -> list[str]:
    return [f"{event.kind} {event.address}" for event in events]


@pytest.mark.parametrize("good", WELL)
@pytest.mark.parametrize("bad", BAD)
def test_a_failure_that_lasts_is_told_once_and_so_is_its_end(bad: State, good: State) -> None:
    daemon = Daemon()
    assert daemon.look(status(State.RUNNING, good)) == []
    assert daemon.look(status(State.RUNNING, bad), PATIENCE) == []
    assert names(daemon.look(status(State.RUNNING, bad), 1)) == ["failure a/x0"]
    assert daemon.look(status(State.RUNNING, bad), 1000) == []
    assert daemon.look(status(State.RUNNING, good), PATIENCE) == []
    assert names(daemon.look(status(State.RUNNING, good), 1)) == ["recovery a/x0"]
    assert daemon.look(status(State.RUNNING, good), 1000) == []
    assert daemon.ledger.episodes == {}


@pytest.mark.parametrize("bad", BAD)
def test_a_blip_tells_nobody(bad: State) -> None:
    daemon = Daemon()
    assert daemon.look(status(State.RUNNING, bad), PATIENCE - 1) == []
    assert daemon.look(status(State.RUNNING, State.RUNNING), 1000) == []
    assert daemon.look(status(State.RUNNING, bad), PATIENCE) == []


def test_what_keeps_failing_and_recovering_tells_one_failure_and_at_last_one_recovery() -> None:
    daemon = Daemon()
    told: list[Event] = []
    for _ in range(100):
        told += daemon.look(status(State.RUNNING, State.BACKOFF), 3)
        told += daemon.look(status(State.RUNNING, State.STARTING), 1)
        told += daemon.look(status(State.RUNNING, State.RUNNING), 5)
    assert names(told) == ["failure a/x0"]
    assert names(daemon.look(status(State.RUNNING, State.RUNNING), 20)) == ["recovery a/x0"]


@pytest.mark.parametrize("between", UNSETTLED)
def test_a_try_to_start_again_neither_ends_a_failure_nor_is_one(between: State) -> None:
    daemon = Daemon()
    assert daemon.look(status(State.RUNNING, between), 1000) == []
    assert daemon.ledger.episodes == {}
    daemon.look(status(State.RUNNING, State.BACKOFF), 5)
    assert daemon.look(status(State.RUNNING, between), 5) == []
    assert names(daemon.look(status(State.RUNNING, State.FAILED), 1)) == ["failure a/x0"]
    daemon.look(status(State.RUNNING, State.RUNNING), 5)
    assert daemon.look(status(State.RUNNING, between), 100) == []
    assert daemon.look(status(State.RUNNING, State.RUNNING), PATIENCE) == []
    assert names(daemon.look(status(State.RUNNING, State.RUNNING), 1)) == ["recovery a/x0"]


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("told", [True, False])
def test_what_an_operator_ends_ends_in_silence(over: State, *, told: bool) -> None:
    daemon = Daemon()
    assert len(daemon.look(status(State.RUNNING, State.BACKOFF), 100 if told else 2)) == told
    assert daemon.look(status(State.RUNNING, over), 2) == []
    assert daemon.look(status(State.RUNNING, State.RUNNING), 100) == []


def test_what_is_removed_ends_in_silence() -> None:
    daemon = Daemon()
    daemon.look(status(State.RUNNING, State.BACKOFF), 100)
    assert daemon.look(status(State.RUNNING), 2) == []
    assert daemon.ledger.episodes == {}
    daemon.look(status(State.STARVED), 100)
    assert daemon.look(Status(version="1"), 2) == []
    assert (daemon.ledger.episodes, daemon.ledger.states) == ({}, {})


@pytest.mark.parametrize("source", [*BAD, State.WAITING])
@pytest.mark.parametrize("outputs", [State.STARVED, State.BACKOFF, State.STARTING])
def test_an_input_that_starves_twenty_outputs_is_one_call(source: State, outputs: State) -> None:
    daemon = Daemon()
    twenty = [outputs] * 20
    # An output may notice before its input does, and stay so for a moment after its input is back.
    told = daemon.look(status(State.RUNNING, *[State.STARVED] * 20), 2)
    told += daemon.look(status(source, *twenty), 100)
    assert names(told) == ["failure a"]
    told = daemon.look(status(State.RUNNING, *[State.STARVED] * 20), 2)
    told += daemon.look(status(State.RUNNING, *[State.RUNNING] * 20), 100)
    assert names(told) == ["recovery a"]


@pytest.mark.parametrize("source", [*OVER, *UNSETTLED])
def test_while_an_input_does_not_run_its_outputs_are_not_told(source: State) -> None:
    daemon = Daemon()
    assert daemon.look(status(source, State.STARVED), 100) == []


def test_an_output_that_still_fails_when_its_input_is_back_is_told_then() -> None:
    daemon = Daemon()
    daemon.look(status(State.STARVED, State.BACKOFF), 100)
    assert names(daemon.look(status(State.RUNNING, State.BACKOFF), 100)) == ["recovery a", "failure a/x0"]


def test_an_output_that_was_told_stays_so_while_its_input_fails() -> None:
    daemon = Daemon()
    assert names(daemon.look(status(State.RUNNING, State.BACKOFF), 100)) == ["failure a/x0"]
    assert names(daemon.look(status(State.STARVED, State.STARVED), 100)) == ["failure a"]
    assert names(daemon.look(status(State.RUNNING, State.RUNNING), 100)) == ["recovery a", "recovery a/x0"]


def test_a_restarted_daemon_repeats_nothing_and_still_tells_the_end() -> None:
    daemon = Daemon()
    daemon.look(status(State.RUNNING, State.BACKOFF), 100)
    again = Daemon(Ledger(daemon.ledger.told))
    again.now = daemon.now
    assert again.look(status(State.RUNNING, State.STARTING), 5) == []
    assert again.look(status(State.RUNNING, State.BACKOFF), 100) == []
    (told,) = again.look(status(State.RUNNING, State.RUNNING), 100)
    assert (told.kind, told.previous, told.began) == (Kind.RECOVERY, "backoff", (10**9 + 1001) * SECOND)


def test_what_an_event_says() -> None:
    daemon = Daemon()
    daemon.look(status(State.RUNNING, State.RUNNING))
    (failure,) = daemon.look(status(State.RUNNING, State.BACKOFF), 100)
    document = event_document(failure, "studio")
    assert document == {
        "event": "failure",
        "host": "studio",
        "route": "a",
        "output": "x0",
        "address": "a/x0",
        "unit": "streamd-output@a:x0.service",
        "state": "backoff",
        "previous": "running",
        "cause": "because backoff",
        "reason": "refused",
        "advice": "do this",
        "last_error": "no route",
        "since": "1970-01-01T00:01:17+00:00",
        "began": "2001-09-09T02:03:22+00:00",
        "text": "studio: a/x0 failed: backoff, because backoff",
    }
    assert event_document(replace(failure, since=0), "")["since"] == ""


@pytest.mark.skipif(not PAGE.exists(), reason="this is the installed tree")
def test_the_manual_names_what_an_event_says() -> None:
    section = PAGE.read_text().split("\n.SS Webhooks\n")[1].split("\n.SH ")[0]
    tags = re.findall(r"^\.TP\n(.*)$", section, re.MULTILINE)
    assert set(re.findall(r"[a-z_]+", " ".join(tags))) == set(event_document(EVENT, ""))


def test_names_of_units() -> None:
    assert hook_unit("mail@%i.service", Address("a-1", "b")) == "mail@a-1:b.service"
    assert hook_unit("mail@%i.service", Address("a-1")) == "mail@a-1.service"
    assert hook_unit("mail@%n.service", Address("a", "b")) == "mail@streamd-output@a:b.service.service"
    assert hook_unit("alarm.target", Address("a", "b")) == "alarm.target"


@pytest.mark.parametrize("text", ['a "b" $c `d` \\e\\', "a'b", "", "two\nlines\x1b[31m\u2028", "ü"])
def test_the_environment_file_means_the_same_to_a_shell(text: str) -> None:
    content = environment_file({"cause": text})
    assert content.count("\n") == 1
    done = subprocess.run(
        ["sh", "-c", f'{content}printf %s "$STREAMD_CAUSE"'], capture_output=True, text=True, check=True
    )
    expected = "".join(char if char.isprintable() else " " for char in text)
    assert done.stdout == expected


def test_what_was_told_lasts_over_a_restart(tmp_path: Path) -> None:
    daemon = Daemon()
    daemon.look(status(State.RUNNING, State.RUNNING, State.BACKOFF))
    daemon.look(status(State.RUNNING, State.BACKOFF, State.BACKOFF), PATIENCE)
    store = Store(tmp_path, tmp_path)
    assert store.told == {}
    store.keep_told(daemon.ledger.told)
    (told,) = Store(tmp_path, tmp_path).told.items()
    was = daemon.ledger.episodes["a/x1"]
    assert told == ("a/x1", replace(was, state=State.FAILED))
    written = (tmp_path / "told.json").stat().st_mtime_ns
    daemon.look(status(State.RUNNING, State.RUNNING, State.STALLED))
    store.keep_told(daemon.ledger.told)
    assert (tmp_path / "told.json").stat().st_mtime_ns == written, "nothing that matters has changed"
    store.keep_told({})
    assert Store(tmp_path, tmp_path).told == {}


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"a": {"since": "x", "began": 1, "before": ""}}', "\0"])
def test_a_file_that_means_nothing_is_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "told.json").write_text(content)
    assert Store(tmp_path, tmp_path).told == {}
