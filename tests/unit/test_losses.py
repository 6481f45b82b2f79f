"""What was lost, and when somebody is told."""

from __future__ import annotations

import pytest

from streamd.plan.continuity import Tally
from streamd.plan.losses import WARNS_FOR, Losses

CLEAN = Tally(packets=3325)
NOW = 1_000_000_000


def test_nothing_known_is_no_warning_and_no_nought() -> None:
    assert Losses().total is None
    assert Losses().drops is None
    assert Losses().warning(NOW) == ""


def test_samples_add_up() -> None:
    losses = Losses().after_sample(CLEAN, NOW).after_sample(Tally(packets=10, continuity_errors=2), NOW)
    assert losses.total == Tally(packets=3335, continuity_errors=2)


@pytest.mark.parametrize(
    ("tally", "text"),
    [
        (CLEAN, ""),
        (
            Tally(packets=3325, continuity_errors=12),
            "packets are lost before they get here: 12 continuity errors in a sample of 3325 packets",
        ),
        (
            Tally(packets=3325, continuity_errors=1, damaged=4),
            "packets are lost before they get here: 1 continuity error in a sample of 3325 packets",
        ),
        (Tally(packets=3325, damaged=4), "packets arrive damaged: 4 in a sample of 3325 packets"),
        (
            Tally(packets=700, sync_losses=100, stray=1200, continuity_errors=3),
            "what arrives is not all MPEG-TS: 1200 bytes of something else in a sample of 700 packets",
        ),
        (Tally(sync_losses=1, stray=2000), "what arrives is no MPEG-TS"),
        # As chance has it: bytes that were seen on the way of an encoder of something else.
        (Tally(packets=10, sync_losses=6, stray=120258, damaged=3), "what arrives is no MPEG-TS"),
    ],
)
def test_a_sample_that_is_not_clean_is_a_warning(tally: Tally, text: str) -> None:
    assert Losses().after_sample(tally, NOW).warning(NOW + 1) == text


def test_a_warning_lasts_until_a_clean_sample_and_half_a_minute_at_the_least() -> None:
    losses = Losses().after_sample(Tally(packets=9, continuity_errors=1), NOW)
    assert losses.warning(NOW + 10 * WARNS_FOR)
    losses = losses.after_sample(CLEAN, NOW + 5_000_000)
    assert losses.warning(NOW + WARNS_FOR)
    assert not losses.warning(NOW + WARNS_FOR + 1)


def test_what_the_kernel_drops_is_a_warning_when_it_becomes_more() -> None:
    losses = Losses().after_count(50, NOW)
    assert (losses.drops, losses.warning(NOW)) == (50, "")
    losses = losses.after_count(362, NOW)
    assert losses.drops == 362
    assert losses.warning(NOW) == "this machine is too busy: its FFmpeg came too late for 312 datagrams"
    assert losses.after_count(362, NOW + WARNS_FOR).warning(NOW + WARNS_FOR + 1) == ""


def test_what_the_kernel_drops_explains_the_errors_of_a_sample() -> None:
    losses = Losses().after_count(0, NOW).after_sample(Tally(packets=9, continuity_errors=1), NOW)
    assert losses.warning(NOW).startswith("packets are lost before they get here")
    assert losses.after_count(7, NOW).warning(NOW).startswith("this machine is too busy")
