"""Reports that are left unread until somebody asks say the same as if each had been read when it came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.plan import track as module
from streamd.plan.progress import Meter, Report, advance, parse_report
from streamd.plan.track import Track

SECOND = 1_000_000


def usual(total: object, media: object = 0, *, end: str = "continue") -> bytes:
    """Return a report as FFmpeg writes it."""
    return (
        f"bitrate= 2000.0kbits/s\ntotal_size={total}\nout_time_us={media}\nout_time_ms={media}\n"
        f"out_time=00:00:00.000000\ndup_frames=0\ndrop_frames=0\nspeed=   1x\nprogress={end}\n"
    ).encode()


def heard(*reports: tuple[float, bytes]) -> Track:
    track = Track()
    for at, datagram in reports:
        track.hear(datagram, int(at * SECOND))
    return track


def read(*reports: tuple[float, bytes]) -> Meter | None:
    """Return what comes of reading each report at once."""
    meter = None
    for at, datagram in reports:
        report = parse_report(datagram)
        if report is not None and not report.is_last:
            meter = advance(meter, report, int(at * SECOND))
    return meter


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Collect what is read."""
    found: list[bytes] = []

    def parse(datagram: bytes) -> Report | None:
        found.append(datagram)
        return parse_report(datagram)

    monkeypatch.setattr(module, "parse_report", parse)
    return found


def test_of_what_goes_on_nothing_is_read_until_it_is_asked_for(parsed: list[bytes]) -> None:
    track = heard(*((at, usual(at * 250_000)) for at in range(1, 1000)))
    assert len(parsed) == 1
    assert track.is_moving(999 * SECOND)
    assert not track.has_speed
    assert track.meter is not None
    assert track.meter.bitrate(999 * SECOND) == 2_000_000
    assert (track.meter.moved_at, track.meter.moving_since) == (999 * SECOND, 1 * SECOND)
    assert len(parsed) <= 10
    assert track.meter.report.total == 999 * 250_000


def test_speed_is_known_by_one_report_in_five_seconds(parsed: list[bytes]) -> None:
    track = Track()
    for at in range(1, 121):
        track.hear(usual(at * 250_000, at * 800_000), at * SECOND)
        if at % 5 == 0:
            track.skip()
            assert track.meter
    assert len(parsed) <= 120 / 5 + 1
    assert track.has_speed
    assert track.meter
    assert track.meter.speed(120 * SECOND) == pytest.approx(0.8, abs=0.01)
    assert track.meter.bitrate(120 * SECOND) == pytest.approx(2_000_000, rel=0.01)


def test_one_that_stops_is_seen_to_have_stopped() -> None:
    track = heard((1, usual(10)), (2, usual(20)), *((at, usual(20)) for at in range(3, 20)))
    assert track.moved_at == 2 * SECOND
    assert not track.is_moving(6 * SECOND)
    track.hear(usual(30), 20 * SECOND)
    assert track.meter
    assert (track.moved_at, track.meter.moving_since) == (20 * SECOND, 20 * SECOND)


def test_a_total_with_one_digit_more_is_more() -> None:
    track = heard((1, usual(998)), (2, usual(999)), (3, usual(1000)), (4, usual(1001)))
    assert track.moved_at == 4 * SECOND


def test_what_is_no_report_is_ignored_and_so_is_the_last_of_a_process() -> None:
    track = heard((1, usual(10)), (2, b"garbage"), (2.5, usual(15, end="end")), (3, usual(20)))
    assert track.meter == read((1, usual(10)), (3, usual(20)))


REPORTS = st.lists(
    st.tuples(
        st.sampled_from([0.1, 1, 1, 1, 2, 3.5, 3.6, 12]),
        st.sampled_from([*"+++++=-", "N/A", "garbage", "long", "end"]),
        st.sampled_from([0, 1, "N/A", "-5"]),
        st.booleans(),
    ),
    max_size=40,
)


@given(REPORTS)
def test_it_comes_to_the_same_as_reading_each(steps: list[tuple[float, str, object, bool]]) -> None:
    track, reports, at, total = Track(), [], 1.0, 1000
    for pause, kind, rate, asked in steps:
        at += pause
        total = {"+": total + 700, "-": 500}.get(kind, total)
        media = int(at * SECOND) if rate == 1 else rate
        shown = {"N/A": "N/A", "garbage": "x", "long": "1" * 25}.get(kind, total)
        datagram = usual(shown, media, end="end" if kind == "end" else "continue")
        reports.append((at, datagram))
        track.hear(datagram, int(at * SECOND))
        expected = read(*reports)
        assert track.moved_at == (expected.moved_at if expected else 0)
        if asked:
            found = track.meter
            assert (found is None) is (expected is None)
            if found and expected:
                assert found.report == expected.report
                assert (found.moved_at, found.moving_since) == (expected.moved_at, expected.moving_since)
                assert found.bitrate(int(at * SECOND)) == expected.bitrate(int(at * SECOND))
