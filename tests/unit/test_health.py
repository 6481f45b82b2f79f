"""The state of a unit that is up, for every way from one to another. Times are seconds here."""

from __future__ import annotations

import pytest

from streamd.plan.health import RUNS, Verdict, Vitals, goes_on, judge_input, judge_output
from streamd.plan.progress import Meter, Report, advance
from streamd.plan.status import State
from streamd.plan.track import Track

STALL = 10
START = 1000
"""When the unit under test began."""
INPUT_SINCE = START - 500


def meter(*reports: tuple[float, Report]) -> Meter | None:
    found: Meter | None = None
    for at, report in reports:
        found = advance(found, report, int(at * 1e6))
    return found


def flow(begin: float, end: float, *, media: bool = False, rate: float = 1.0) -> list[tuple[float, Report]]:
    """Return a report for each second, of 5 Mbit/s."""
    count = int(end - begin) + 1
    return [
        (
            begin + step,
            Report(total=(step + 1) * 625_000, media=int((step + 1) * 1e6 * rate) if media else 0),
        )
        for step in range(count)
    ]


def frozen(begin: float, end: float, total: int) -> list[tuple[float, Report]]:
    return [(begin + step, Report(total=total, media=0)) for step in range(int(end - begin) + 1)]


def vitals(*reports: tuple[float, Report], since: float = START, **more: bool) -> Vitals:
    return Vitals(watched_since=int(since * 1e6), meter=meter(*reports), **more)


def source(until: float, since: float = INPUT_SINCE) -> Vitals:
    return vitals(*flow(since, until), since=since)


def output(of: Vitals, given: Vitals | None, now: float, stall: int = STALL) -> Verdict:
    return judge_output(of, given, int(now * 1e6), stall_timeout=int(stall * 1e6))


def test_it_starts_until_it_sends() -> None:
    assert output(vitals(), source(START + 2), START + 2) == Verdict(state=State.STARTING)


def test_it_runs_while_it_sends() -> None:
    assert output(vitals(*flow(START, START + 9)), source(START + 9), START + 10).state is State.RUNNING


@pytest.mark.parametrize("now", [START + 5, START + 3600])
def test_it_runs_though_its_input_ended_a_moment_ago(now: float) -> None:
    assert output(vitals(*flow(now - 5, now)), source(now - 4), now).state is State.RUNNING


def test_without_anything_coming_in_it_is_starved_and_never_restarted() -> None:
    since_start = output(vitals(), source(START - 60), START + 3600)
    later = output(vitals(*flow(START, START + 50)), source(START + 50), START + 3600)
    never = output(vitals(), vitals(since=START), START + 3600)
    for verdict in (since_start, later, never):
        assert verdict == Verdict(state=State.STARVED, cause="its input gives nothing")


def test_an_input_that_is_not_up_starves_it() -> None:
    assert output(vitals(), None, START + 60) == Verdict(state=State.STARVED, cause="its input is not up")


def test_just_started_with_its_input_it_is_starting_and_not_starved() -> None:
    assert output(vitals(), vitals(since=START), START + 2).state is State.STARTING


def test_when_the_input_comes_back_it_has_some_seconds_to_follow() -> None:
    back = vitals(*flow(INPUT_SINCE, START + 50), *[(at + 200, it) for at, it in flow(START, START + 60)])
    assert back.meter is not None
    assert back.meter.moving_since == (START + 200) * 1_000_000
    verdict = output(vitals(*flow(START, START + 50)), back, START + 202)
    assert (verdict.state, verdict.restart) == (State.STARVED, False)


def test_stalled_at_once_and_restarted_after_the_time_out() -> None:
    sent = vitals(*flow(START, START + 50))
    assert output(sent, source(START + 53), START + 53).state is State.RUNNING
    soon = output(sent, source(START + 55), START + 55)
    assert (soon.state, soon.restart) == (State.STALLED, False)
    late = output(sent, source(START + 61), START + 61)
    assert (late.state, late.restart) == (State.STALLED, True)
    assert late.cause == "it sends nothing, and its input gives"


def test_a_report_that_repeats_itself_is_no_movement() -> None:
    stuck = vitals(*flow(START, START + 50), *frozen(START + 51, START + 62, total=51 * 625_000))
    assert output(stuck, source(START + 62), START + 62).restart


def test_the_time_out_may_be_off() -> None:
    verdict = output(vitals(*flow(START, START + 50)), source(START + 600), START + 600, stall=0)
    assert (verdict.state, verdict.restart) == (State.STALLED, False)


def test_one_that_never_sends_is_given_the_time_to_connect() -> None:
    assert output(vitals(), source(START + 20), START + 20).state is State.STARTING
    verdict = output(vitals(), source(START + 21), START + 21)
    assert verdict == Verdict(state=State.STALLED, cause="it has sent nothing since it was started", restart=True)


def test_a_listener_without_a_caller_waits_for_ever() -> None:
    waiting = vitals(*[(at, Report()) for at, _ in flow(START, START + 600)], is_listener=True)
    verdict = output(waiting, source(START + 600), START + 601)
    assert (verdict.state, verdict.restart) == (State.WAITING, False)


def test_a_listener_before_its_first_packet_waits_as_well() -> None:
    assert output(vitals(is_listener=True), source(START + 5), START + 5).state is State.WAITING


def test_a_listener_with_its_caller_runs_as_long_as_it_reports() -> None:
    blind = [(at, Report()) for at, _ in flow(START, START + 60)]
    assert output(vitals(*blind, is_listener=True, connected=True), source(START + 60), START + 61).state is (
        State.RUNNING
    )
    silent = output(vitals(*blind, is_listener=True, connected=True), source(START + 75), START + 75)
    assert (silent.state, silent.restart) == (State.STALLED, True)


def test_a_listener_without_a_caller_and_without_an_input_is_starved() -> None:
    """Nobody would get anything, whoever called."""
    verdict = output(vitals(is_listener=True), source(START - 60), START + 60)
    assert verdict.state is State.STARVED


def test_what_ran_before_the_daemon_is_believed_for_some_seconds() -> None:
    adopted = vitals(is_adopted=True)
    assert output(adopted, vitals(is_adopted=True), START + 3).state is State.RUNNING
    assert output(adopted, source(START + 30), START + 30).restart


@pytest.mark.parametrize(
    ("rate", "told"), [(1.0, ""), (0.5, "it sends at 0.50 of real time"), (1.3, "1.30"), (0.95, "")]
)
def test_an_abnormal_speed_that_lasts_is_a_warning(rate: float, told: str) -> None:
    verdict = output(vitals(*flow(START, START + 60, media=True, rate=rate)), source(START + 60), START + 60)
    assert verdict.state is State.RUNNING
    assert told in verdict.cause
    assert bool(told) is bool(verdict.cause)


def test_a_burst_at_the_start_is_no_warning() -> None:
    verdict = output(vitals(*flow(START, START + 10, media=True, rate=3)), source(START + 10), START + 10)
    assert verdict == Verdict(state=State.RUNNING)


def test_the_input_is_starting_then_starved_then_running_then_starved() -> None:
    def state(of: Vitals, now: float) -> State:
        return judge_input(of, int(now * 1e6)).state

    assert state(vitals(), START + 2) is State.STARTING
    assert state(vitals(), START + 4) is State.STARVED
    assert state(vitals(*flow(START + 9, START + 19)), START + 20) is State.RUNNING
    assert state(vitals(*flow(START + 9, START + 19)), START + 24) is State.STARVED


def test_an_input_that_is_no_transport_stream_is_as_good_as_none() -> None:
    garbage = vitals(*flow(START, START + 60), is_garbage=True)
    verdict = judge_input(garbage, (START + 60) * 1_000_000)
    assert (verdict.state, verdict.cause) == (State.STARVED, "what arrives is no MPEG-TS")
    assert judge_input(garbage, (START + 90) * 1_000_000).cause == "nothing arrives"
    idle = output(vitals(), garbage, START + 600)
    assert idle == Verdict(state=State.STARVED, cause="its input gives no MPEG-TS")
    assert output(vitals(*flow(START, START + 60)), garbage, START + 60).state is State.RUNNING, (
        "it passes on what comes"
    )


def test_an_ingest_that_listens_waits_for_its_encoder() -> None:
    assert judge_input(vitals(is_listener=True), (START + 60) * 1_000_000).state is State.WAITING
    called = vitals(is_listener=True, connected=True)
    assert judge_input(called, (START + 60) * 1_000_000).state is State.STARVED
    assert (
        judge_input(vitals(*flow(START, START + 9), is_listener=True), (START + 60) * 1_000_000).state is State.STARVED
    )


def test_what_is_fetched_is_fetched_anew_when_it_gives_nothing() -> None:
    def judged(of: Vitals, now: float) -> Verdict:
        return judge_input(of, int(now * 1e6), stall_timeout=20_000_000)

    assert not judged(vitals(), START + 19).restart
    assert judged(vitals(), START + 21) == Verdict(state=State.STARVED, cause="nothing arrives", restart=True)
    flowed = vitals(*flow(START, START + 100))
    assert judged(flowed, START + 101).state is State.RUNNING
    assert not judged(flowed, START + 119).restart
    assert judged(flowed, START + 121).restart
    assert not judge_input(flowed, int((START + 3600) * 1e6)).restart, "an encoder that sends by itself is waited for"


def told(*, media: bool) -> Track:
    """Return what is heard of a process that sends for a minute."""
    track = Track()
    for second in range(1, 61):
        time = f"out_time_us={second * 1_000_000}\n" if media else ""
        track.hear(f"total_size={second * 625_000}\n{time}progress=continue\n".encode(), second * 1_000_000)
    return track


@pytest.mark.parametrize("look_at_speed", [False, True])
@pytest.mark.parametrize("media", [False, True])
def test_what_ran_and_moves_goes_on_unless_its_speed_is_to_be_looked_at(media: bool, look_at_speed: bool) -> None:
    expected = not (media and look_at_speed)
    assert goes_on(told(media=media), RUNS, 61_000_000, look_at_speed=look_at_speed) is expected


def test_a_look_that_is_not_sure_says_no() -> None:
    assert not goes_on(None, RUNS, 61_000_000, look_at_speed=False)
    assert not goes_on(told(media=False), None, 61_000_000, look_at_speed=False)
    slow = Verdict(state=State.RUNNING, cause="it sends at 0.50 of real time")
    assert not goes_on(told(media=True), slow, 61_000_000, look_at_speed=False)
    assert not goes_on(told(media=False), RUNS, 80_000_000, look_at_speed=False)
