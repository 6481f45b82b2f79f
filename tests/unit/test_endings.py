"""Endings are looked at once, lines that come late are heard, and another pace follows from them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection

from streamd.host.endings import Endings
from streamd.plan.cause import Cause, stalled
from streamd.plan.observed import Details
from streamd.plan.pace import HEALTHY, Pace
from streamd.plan.patient import Patient
from streamd.plan.status import UnitStatus
from streamd.plan.unit import Address

ADDRESS = Address("a", "x")
UNIT = ADDRESS.unit
REFUSED = "[tcp @ 0x55d] [error] Connection to tcp://192.0.2.1:1935 failed: Connection refused"
DENIED = "[rtmp @ 0x55d] [error] Server error: NetStream.Publish.Denied"


class Journal:
    """Stands for Logs: what it was told is what it knows."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], tuple[str, ...]] = {}
        self.before: dict[str, tuple[str, ...]] = {}
        self.asked: list[str] = []
        self.on_line: Callable[[str, str, str], None] = lambda _unit, _invocation, _text: None

    def write(self, invocation: str, text: str, unit: str = UNIT) -> None:
        self.on_line(unit, invocation, text)
        self.known[unit, invocation] = (*self.known.get((unit, invocation), ()), text)

    def lines(self, unit: str, invocation: str) -> tuple[str, ...]:
        return self.known.get((unit, invocation), ())

    async def recall(self, invocation: str) -> tuple[str, ...]:
        self.asked.append(invocation)
        return self.before.get(invocation, ())

    def last_invocation(self, unit: str, *, but: str) -> str:
        return next((found for name, found in reversed(self.known) if name == unit and found != but), "")

    def forget(self, others_than: Collection[str]) -> None:
        del others_than


def patient(*, listener: bool = False) -> Patient:
    return Patient(address=ADDRESS, channel="127.64.0.1", kind="rtmp", is_listener=listener, stall_timeout=10_000_000)


def look(
    endings: Endings,
    invocation: str = "1",
    *,
    restarts: int = 1,
    ran: int = 0,
    pace: Pace = Pace.QUICK,
    sub: str = "auto-restart",
    last_up: str = "",
    result: str = "exit-code",
) -> None:
    status = UnitStatus(unit=UNIT, invocation=invocation, restarts=restarts)
    code = 0 if result == "success" else 1
    detail = Details(status=status, sub=sub, since=77, result=result, exit_code=code, exit_status=code, ran=ran)
    asyncio.run(endings.look(patient(), detail, pace, last_up))


def made() -> tuple[Endings, Journal]:
    journal = Journal()
    return Endings(journal), journal


def test_the_lines_of_its_own_invocation_tell() -> None:
    endings, journal = made()
    journal.write("0", DENIED)
    journal.write("1", REFUSED)
    look(endings)
    assert endings.latest[UNIT].failure.cause is Cause.REFUSED
    assert (endings.latest[UNIT].at, endings.latest[UNIT].mended) == (77, False)
    assert endings.paces[UNIT] is Pace.QUICK


def test_what_came_before_the_daemon_is_asked_of_the_journal_once() -> None:
    endings, journal = made()
    journal.before["1"] = (REFUSED,)
    look(endings)
    look(endings)
    assert journal.asked == ["1"]
    assert endings.latest[UNIT].failure.cause is Cause.REFUSED


def test_where_what_was_heard_explains_nothing_the_journal_is_asked() -> None:
    endings, journal = made()
    journal.write("1", "the next try is in 465 ms")  # by the helper that waits first, before systemd 254
    journal.before["1"] = ("the next try is in 465 ms", REFUSED)
    look(endings)
    assert journal.asked == ["1"]
    assert endings.latest[UNIT].failure.cause is Cause.REFUSED


def test_a_line_that_comes_late_changes_the_cause_and_the_pace() -> None:
    endings, journal = made()
    look(endings)
    assert endings.latest[UNIT].failure.cause is Cause.UNKNOWN
    assert not endings.renew()
    journal.write("1", DENIED)
    assert endings.renew()
    assert endings.latest[UNIT].failure.cause is Cause.AUTHENTICATION
    assert endings.paces[UNIT] is Pace.SLOW
    assert not endings.renew()


def test_lines_of_the_next_try_say_nothing_of_the_last() -> None:
    endings, journal = made()
    journal.write("1", REFUSED)
    look(endings)
    journal.write("2", DENIED)
    endings.renew()
    assert endings.latest[UNIT].failure.cause is Cause.REFUSED


def test_every_ending_counts_anew() -> None:
    endings, journal = made()
    journal.write("1", DENIED)
    look(endings)
    journal.write("2", REFUSED)
    look(endings, "2", restarts=2, pace=Pace.SLOW)
    assert (endings.latest[UNIT].failure.cause, endings.paces[UNIT]) == (Cause.REFUSED, Pace.SLOW)
    look(endings, "3", restarts=3, pace=Pace.SLOW, ran=HEALTHY)
    assert endings.paces[UNIT] is Pace.QUICK


def test_before_systemd_254_it_is_the_invocation_before_that_ended() -> None:
    endings, journal = made()
    journal.write("1", REFUSED)
    begin = time.time_ns() // 1000
    journal.write("2", "the next try is in 4000 ms")
    look(endings, "2", sub="start-pre")
    assert endings.latest[UNIT].failure.cause is Cause.REFUSED
    assert 0 <= endings.next_tries[UNIT] - begin - 4_000_000 < 1_000_000
    assert endings.renew(), "the time of the next try is to be shown"


def test_what_was_known_of_an_ending_is_not_lost_when_the_helper_runs() -> None:
    """Then systemd 252 has forgotten the result, and the invocation is the next one's."""
    endings, _journal = made()
    look(endings, "1", result="oom-kill")
    look(endings, "2", sub="start-pre", last_up="1", result="success")
    assert endings.latest[UNIT].failure.cause is Cause.OUT_OF_MEMORY


def test_a_stall_stays_the_cause_where_the_ending_says_nothing() -> None:
    endings, journal = made()
    endings.note(UNIT, stalled("it sends nothing"))
    look(endings)
    assert endings.latest[UNIT].failure.cause is Cause.STALLED
    endings.mend(UNIT)
    look(endings, "2", restarts=2)
    assert endings.latest[UNIT].failure.cause is Cause.UNKNOWN
    journal.write("3", REFUSED)
    endings.note(UNIT, stalled("it sends nothing"))
    look(endings, "3", restarts=3)
    assert endings.latest[UNIT].failure.cause is Cause.REFUSED


def test_a_listener_has_its_caller_in_one_invocation() -> None:
    endings, journal = made()
    journal.write("1", "[srt @ 0x55] [verbose] accept streamid [], length 0")
    assert endings.has_caller(UNIT, "1")
    assert not endings.has_caller(UNIT, "2")
    journal.before["2"] = ("[verbose] accept streamid [x], length 1",)
    asyncio.run(endings.recall_caller(UNIT, "2"))
    assert endings.has_caller(UNIT, "2")


def test_what_is_gone_is_forgotten() -> None:
    endings, journal = made()
    journal.write("1", REFUSED)
    look(endings)
    journal.write("1", "the next try is in 1 ms")
    endings.keep(())
    assert [endings.latest, endings.paces, endings.next_tries] == [{}, {}, {}]
    assert not endings.renew()
