"""How soon a unit that ended is tried again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streamd.plan.cause import Cause
from streamd.plan.pace import HEALTHY, Pace, delays, next_pace

UNITS = Path(__file__).parents[2] / "units"
NAMES = [f"streamd-output@a:x{number}.service" for number in range(200)]


@pytest.mark.parametrize(
    ("pace", "cause", "ran", "then"),
    [
        (Pace.QUICK, Cause.REFUSED, 0, Pace.QUICK),
        (Pace.QUICK, Cause.CONNECTION_LOST, HEALTHY, Pace.QUICK),
        (Pace.QUICK, Cause.AUTHENTICATION, 0, Pace.SLOW),
        (Pace.QUICK, Cause.REJECTED, HEALTHY, Pace.SLOW),
        (Pace.SLOW, Cause.REJECTED, 0, Pace.SLOW),
        (Pace.SLOW, Cause.REFUSED, 0, Pace.SLOW),
        (Pace.SLOW, Cause.REFUSED, HEALTHY - 1, Pace.SLOW),
        (Pace.SLOW, Cause.REFUSED, HEALTHY, Pace.QUICK),
    ],
)
def test_only_a_healthy_minute_makes_it_quick_again(pace: Pace, cause: Cause, ran: int, then: Pace) -> None:
    assert next_pace(pace, cause, ran) is then


def test_trying_a_rejection_again_is_slow() -> None:
    quick, slow = delays(Pace.QUICK, "u"), delays(Pace.SLOW, "u")
    assert slow.first == 30 * quick.first
    assert slow.longest == 10 * quick.longest


def test_delays_are_spread_by_a_fifth_either_way() -> None:
    firsts = [delays(Pace.QUICK, name).first for name in NAMES]
    assert min(firsts) == 400
    assert max(firsts) == 600
    assert len(set(firsts)) == 41


def test_a_listener_is_back_soon_for_its_next_caller() -> None:
    assert delays(Pace.QUICK, "u", listener=True).longest <= 2400
    assert delays(Pace.SLOW, "u", listener=True) == delays(Pace.SLOW, "u")


@pytest.mark.parametrize("kind", ["output", "ingest"])
def test_a_start_may_take_longer_than_the_longest_wait_before_it(kind: str) -> None:
    """systemd would end the helper that waits, each time, and the output would never be tried again."""
    text = (UNITS / f"streamd-{kind}@.service.d/10-sandbox.conf").read_text()
    found = re.search(r"^TimeoutStartSec=(\d+)min$", text, re.MULTILINE)
    assert found is not None
    longest = max(delays(Pace.SLOW, name).longest for name in NAMES)
    assert int(found[1]) * 60_000 > longest + 60_000
