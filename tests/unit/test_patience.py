"""How long something that failed is left alone."""

from __future__ import annotations

from streamd.plan.patience import Patience


def pauses(patience: Patience, count: int) -> list[int]:
    """Return the pauses after failures, in whole seconds."""
    found = []
    now = 100
    for _ in range(count):
        patience.fail(now)
        begin = now
        while patience.waits(now):
            now += 1
        found.append(now - begin)
    return found


def test_it_grows_up_to_the_longest_and_begins_anew_after_a_success() -> None:
    patience = Patience(30, 200)
    assert not patience.has_failed
    assert not patience.waits(0)
    assert pauses(patience, 5) == [30, 60, 120, 200, 200]
    patience.succeed()
    assert not patience.has_failed
    assert not patience.waits(0)
    assert pauses(patience, 2) == [30, 60]
