"""How soon a unit that ended is tried again."""

from __future__ import annotations

import pytest

from streamd.plan.cause import Cause
from streamd.plan.pace import HEALTHY, Pace, delays, next_pace

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
