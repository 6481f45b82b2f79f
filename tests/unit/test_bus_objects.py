"""What GetManagedObjects and Statistics reply with, however little of it is made anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("dbus_next")

from streamd.bus import objects as module
from streamd.bus.document import statistics_document
from streamd.bus.names import output_path
from streamd.bus.objects import Objects
from streamd.bus.replies import statistics_entries
from streamd.bus.tree import addresses, build
from streamd.bus.wire import document_entries
from streamd.plan.status import Moving, Statistics, Status
from tests.bus.stage import STATUS, State, output, route


class Deaf:
    """A connection that nobody listens to."""

    def emit(self, *arguments: Any) -> None:
        pass

    emit_ready = emit


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Meters:
    """Counters that grow by one each time when somebody looks."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, address: str) -> Moving:
        del address
        return Moving(bytes=self.count, bitrate=8 * self.count, uptime=self.count + 1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    return found


def show(objects: Objects, status: Status) -> None:
    objects.replace(build(status), addresses(status))


def fresh(status: Status, meters: Meters) -> bytes:
    """Return the reply of objects that were never asked before."""
    found = Objects(Deaf(), meters)  # type: ignore[arg-type]
    show(found, status)
    return found.managed()


def test_counters_are_those_of_the_last_second(clock: Clock) -> None:
    meters = Meters()
    objects = Objects(Deaf(), meters)  # type: ignore[arg-type]
    show(objects, STATUS)
    first = objects.managed()
    assert first == fresh(STATUS, meters)
    meters.count = 5
    clock.now += 1.1
    assert objects.managed() == fresh(STATUS, meters) != first


def test_not_all_counters_are_renewed_at_once_though_none_is_older_than_a_second(clock: Clock) -> None:
    asked: list[str] = []
    renewed: dict[str, float] = {}

    def meter(address: str) -> Moving:
        asked.append(address)
        renewed[address] = clock.now
        return Moving()

    objects = Objects(Deaf(), meter)  # type: ignore[arg-type]
    show(objects, replace(STATUS, routes=(route("r", *(output("r", f"o{n}") for n in range(200))),)))
    objects.managed()
    assert len(asked) == 201
    for _ in range(100):
        clock.now += 0.05
        asked.clear()
        objects.managed()
        assert len(asked) < 80
        assert clock.now - min(renewed.values()) < 1.1
    clock.now += 60
    asked.clear()
    objects.managed()
    assert len(asked) == 201


def test_what_changed_is_new_at_once_and_the_rest_stays(clock: Clock) -> None:
    meters = Meters()
    objects = Objects(Deaf(), meters)  # type: ignore[arg-type]
    show(objects, STATUS)
    objects.managed()
    clock.now += 0.1
    for status in (
        replace(STATUS, routes=(route("studio-a", output("studio-a", "youtube", State.STOPPED)), route("empty"))),
        replace(STATUS, routes=(route("new", output("new", "x")), *STATUS.routes)),
        replace(STATUS, routes=()),
        STATUS,
    ):
        show(objects, status)
        assert objects.managed() == fresh(status, meters)
    meters.count = 9
    clock.now += 2
    assert objects.managed() == fresh(STATUS, meters)
    assert objects.property(output_path("studio-a", "youtube"), "org.streamd1.Output", "Bytes").value == 9


def test_statistics_are_their_document() -> None:
    every = {
        "bitrate": 1,
        "bytes": 2**63,
        "uptime": 3,
        "fps": 25.0,
        "speed": 1.5,
        "media_time": 4,
        "dropped": 0,
        "duplicated": 0,
        "cpu": 5,
        "memory": 6,
        "tasks": 7,
    }
    for count in range(len(every) + 1):
        found = Statistics(address="a-1/x" * (count + 1), restarts=count, **dict(list(every.items())[:count]))  # type: ignore[arg-type]
        assert statistics_entries(found) == document_entries(statistics_document(found))
