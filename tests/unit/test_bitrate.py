"""What a row of FFmpeg's reports says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamd.plan.progress import WINDOW, Meter, Report, advance


@given(st.lists(st.tuples(st.integers(1, 4_000_000), st.integers(0, 10_000_000)), min_size=1, max_size=50))
def test_the_bitrate_is_that_of_the_last_seconds(steps: list[tuple[int, int]]) -> None:
    now, total = 1_000_000, 0
    meter: Meter | None = None
    for pause, more in steps:
        now += pause
        total += more
        meter = advance(meter, Report(total=total, media=0), now)
    assert meter is not None
    recent = [sample for sample in meter.samples if now - sample.at <= WINDOW + 1_000_000]
    if len(recent) < 2:
        assert meter.bitrate(now) is None
    else:
        assert meter.bitrate(now) == (recent[-1].total - recent[0].total) * 8_000_000 // (recent[-1].at - recent[0].at)
    assert meter.bitrate(now + WINDOW + 1) == 0
