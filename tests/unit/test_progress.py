"""FFmpeg's reports and what a row of them says."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.plan.progress import Meter, Report, advance, parse_report

RAW = (
    b"bitrate=5002.1kbits/s\ntotal_size=1316000\nout_time_us=N/A\nout_time_ms=N/A\nout_time=N/A\n"
    b"dup_frames=0\ndrop_frames=0\nspeed=N/A\nprogress=continue\n"
)
MUXED = (
    b"frame=250\nfps=25.00\nstream_0_0_q=-1.0\nbitrate=1000kbits/s\ntotal_size=125000\nout_time_us=10000000\n"
    b"out_time=00:00:10.000000\ndup_frames=1\ndrop_frames=2\nspeed=1.01x\nprogress=end\n"
)


def test_reports_of_both_kinds() -> None:
    assert parse_report(RAW) == Report(total=1316000, media=None, dropped=0, duplicated=0)
    assert parse_report(MUXED) == Report(
        total=125000, media=10_000_000, frames=250, fps=25.0, dropped=2, duplicated=1, is_last=True
    )


@pytest.mark.parametrize("data", [b"", b"progress", b"total_size=1\n", b"\xff\x00=\xff\n"])
def test_what_is_no_report_is_none(data: bytes) -> None:
    assert parse_report(data) is None


@pytest.mark.parametrize("value", [b"N/A", b"-1", b"1e9", b"9" * 40, b"\xb2", b""])
def test_a_count_that_is_none_is_unknown(value: bytes) -> None:
    assert parse_report(b"total_size=" + value + b"\nprogress=continue\n") == Report()


@given(st.sampled_from([RAW, MUXED]), st.randoms(use_true_random=False))
def test_the_order_of_the_lines_does_not_matter(data: bytes, chance: Random) -> None:
    lines = data.splitlines(keepends=True)
    chance.shuffle(lines)
    assert parse_report(b"".join(lines)) == parse_report(data)


@given(st.binary(max_size=1024))
def test_anything_may_arrive(data: bytes) -> None:
    parse_report(data)


def run(*reports: tuple[float, int | None, int | None]) -> Meter:
    found: Meter | None = None
    for at, total, media in reports:
        found = advance(found, Report(total=total, media=media), int(at * 1e6))
    assert found is not None
    return found


def steady(seconds: int, rate: float = 1.0) -> list[tuple[float, int | None, int | None]]:
    return [(second, second * 125_000, int(second * 1e6 * rate)) for second in range(1, seconds + 1)]


def test_the_bitrate_is_that_of_the_last_seconds() -> None:
    meter = run(
        *(
            (second, second * 125_000 if second <= 10 else 1_250_000 + (second - 10) * 250_000, None)
            for second in range(1, 31)
        )
    )
    assert meter.bitrate(30_000_000) == 2_000_000


def test_the_bitrate_is_nought_when_reports_stay_away_and_unknown_before_the_second() -> None:
    assert run(*steady(10)).bitrate(20_000_000) == 0
    assert run(*steady(1)).bitrate(1_000_000) is None
    assert run((1, None, 5), (2, None, 6)).bitrate(2_000_000) is None


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_the_speed_is_media_over_real_time(rate: float) -> None:
    meter = run(*steady(40, rate))
    assert meter.speed(40_000_000) == pytest.approx(rate)
    assert meter.speed(50_000_000) is None
    assert run(*steady(10, rate)).speed(10_000_000) is None, "too short"


def test_bytes_that_went_back_are_those_of_a_new_process() -> None:
    meter = run(*steady(10), (11, 1000, 0))
    assert (meter.moving_since, len(meter.samples)) == (11_000_000, 1)


def test_moving_begins_anew_after_a_break() -> None:
    meter = run((1, 10, None), (2, 20, None), (9, 30, None), (10, 40, None))
    assert (meter.moving_since, meter.moved_at) == (9_000_000, 10_000_000)
    still = run((1, 10, None), (2, 10, None), (9, 10, None))
    assert (still.moved_at, still.reported_at) == (1_000_000, 9_000_000)


def test_a_break_is_no_slowness() -> None:
    again = [(at + 100, total, media) for at, total, media in steady(60)[31:]]
    meter = run(*steady(31), *again)
    assert meter.speed(160_000_000) == pytest.approx(1.0)
    assert run(*steady(31), *again[:5]).speed(136_000_000) is None, "too short since"


def test_video_that_goes_on_moves_where_the_media_time_stands() -> None:
    """As FFmpeg 7.1 tells of RTSP when the audio has ended."""
    found: Meter | None = None
    for second in range(1, 41):
        report = Report(media=min(second, 7) * 1_000_000, frames=25 * min(second, 30))
        found = advance(found, report, second * 1_000_000)
    assert found is not None
    assert found.moved_at == 30_000_000
    assert found.moving_since == 1_000_000


def test_media_that_stands_while_bytes_go_on_has_no_speed() -> None:
    meter = run(*((second, second * 125_000, min(second, 30) * 1_000_000) for second in range(1, 51)))
    assert meter.speed(50_000_000) is None
    assert run(*steady(50, 0.5)).speed(50_000_000) == pytest.approx(0.5)


def test_what_has_neither_bytes_nor_time_is_blind() -> None:
    assert run((1, None, None)).is_blind
    assert not run((1, 0, None)).is_blind
    assert run((1, None, None)).moved_at == 0


def test_a_row_of_reports_takes_no_more_room_than_half_a_minute() -> None:
    assert len(run(*((at / 10, at, None) for at in range(1, 10_000))).samples) <= 32
    assert len(run(*steady(200)).samples) <= 32
