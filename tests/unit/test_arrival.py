"""What waits for its next try while MediaMTX has its stream by now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamd.plan.arrival import arrived, waiting
from streamd.plan.status import OutputStatus, RouteStatus, State, Status, Trouble, UnitStatus
from streamd.plan.unit import Address
from streamd.plan.viewers import PathView

SECOND = 1_000_000
NOW = 1_795_000_000 * SECOND
FAILED_AT = NOW - 10 * SECOND
LOST = Trouble(reason="input-lost", next_try=NOW + 20 * SECOND, last_error_at=FAILED_AT)
OUTPUT = OutputStatus(
    route="a",
    name="x",
    kind="udp",
    url="udp://127.0.0.1:6001",
    enabled=True,
    state=State.BACKOFF,
    cause="its input ended",
    since=FAILED_AT,
    unit=UnitStatus(unit=Address("a", "x").unit),
    trouble=LOST,
)
ROUTE = RouteStatus(
    name="a",
    path="/etc/streamd/conf.d/a.toml",
    enabled=True,
    relay="mediamtx",
    input_kind="publish",
    input_url="publish:",
    group="",
    broken=False,
    state=State.RUNNING,
    cause="",
    since=FAILED_AT,
    unit=UnitStatus(unit=Address("a").unit, pid=7),
    outputs=(OUTPUT,),
)
READY = PathView(route="a", ready=True, since=NOW - 2 * SECOND)


def found(route: RouteStatus, path: PathView = READY) -> set[str]:
    return set(arrived(waiting(Status(version="1", routes=(route,)), NOW), (path,)))


def test_an_output_need_not_wait_once_the_stream_is_back() -> None:
    assert found(ROUTE) == {OUTPUT.unit.unit}


@pytest.mark.parametrize(
    "output",
    [
        replace(OUTPUT, unit=replace(OUTPUT.unit, pid=8)),
        replace(OUTPUT, state=State.RUNNING),
        replace(OUTPUT, trouble=replace(LOST, reason="authentication")),
        replace(OUTPUT, trouble=replace(LOST, next_try=NOW + SECOND // 2)),
        replace(OUTPUT, trouble=replace(LOST, next_try=0)),
        replace(OUTPUT, trouble=replace(LOST, last_error_at=NOW)),
    ],
    ids=["tries", "runs", "far end", "tries soon", "tries any moment", "failed while the stream was there"],
)
def test_what_would_not_be_helped_is_left_to_systemd(output: OutputStatus) -> None:
    path = replace(READY, since=NOW - 5 * SECOND)
    assert found(replace(ROUTE, outputs=(output,)), path) == set()


def test_nothing_begins_while_the_stream_is_not_there() -> None:
    assert found(ROUTE, replace(READY, ready=False)) == set()
    assert found(ROUTE, replace(READY, route="b")) == set()


def test_a_process_may_end_a_moment_after_it_was_told_that_there_is_no_stream() -> None:
    assert found(ROUTE, replace(READY, since=FAILED_AT - SECOND)) == {OUTPUT.unit.unit}
    assert found(ROUTE, replace(READY, since=FAILED_AT - 3 * SECOND)) == set()


def test_an_output_of_the_direct_relay_reads_nothing_from_mediamtx() -> None:
    assert waiting(Status(version="1", routes=(replace(ROUTE, relay="direct"),)), NOW) == {}


def test_the_ingest_of_what_is_published_begins_with_its_encoder() -> None:
    waits = replace(ROUTE, relay="direct", group="239.255.1.1:20000", state=State.WAITING, unit=OUTPUT.unit)
    assert found(waits) == {Address("a").unit}
    assert found(replace(waits, state=State.BACKOFF, trouble=replace(LOST, reason="refused"))) == {Address("a").unit}
    assert found(replace(waits, state=State.BACKOFF)) == set()
    assert found(replace(waits, unit=ROUTE.unit)) == set()


def test_the_input_that_mediamtx_fetches_is_watched_again_at_once() -> None:
    pulled = replace(ROUTE, input_kind="rtsp", state=State.BACKOFF, unit=OUTPUT.unit, outputs=())
    assert found(replace(pulled, trouble=replace(LOST, reason="absent"))) == {Address("a").unit}
    # Onto a relay it is fetched without MediaMTX.
    assert found(replace(pulled, trouble=LOST, group="239.255.1.1:20000")) == set()
