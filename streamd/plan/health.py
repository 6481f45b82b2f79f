"""Whether a unit that is up does its work: judged from what its FFmpeg reports, and what its route's ingest reports.

Two sides are looked at. Where nothing comes in, nothing can go out, and no restart of an output would help; where
something comes in and nothing goes out, the output alone is at fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from streamd.plan.progress import BREAK, LONG_BREAK, Meter
from streamd.plan.status import State
from streamd.plan.track import Track

CONNECT_ALLOWANCE: Final = 10_000_000
"""µs that a start may take beyond the stall time-out: probing takes up to 6 s, and a connection up to 5; an FFmpeg that
gives up by itself says why, which is worth waiting for."""
GARBAGE: Final = "what arrives is no MPEG-TS"
SLOW: Final = 0.9
FAST: Final = 1.1
"""Speeds beyond which a warning is due when they last for half a minute."""


class Vitals(NamedTuple):
    """What is known of a unit that is up. Times are µs of the monotonic clock."""

    watched_since: int
    """Since when its reports would have been seen: when it, or the daemon, began, whichever was later."""
    is_adopted: bool = False
    """It was up before the daemon was: that it does its work is believed until it has had the time to report."""
    meter: Meter | None = None
    """None where it has not reported yet."""
    is_listener: bool = False
    """It waits for a caller."""
    connected: bool = False
    """A listener has its caller."""
    is_garbage: bool = False
    """What an ingest passed on last was no transport stream."""
    by_packets: bool = False
    """It reports by the packets that it sends: seldom where these are few, and not at all where it sends none."""

    @property
    def pause(self) -> int:
        """Return for how long nothing may be heard of it while it sends, in µs."""
        return LONG_BREAK if self.by_packets else BREAK

    def moved_at(self) -> int:
        """Return when something last moved, 0 for never."""
        if self.meter is None:
            return 0
        if self.is_listener and self.meter.is_blind:
            # A listener's FFmpeg cannot tell what it sends; that it reports at all tells that it is not stuck.
            return self.meter.reported_at
        return self.meter.moved_at

    def is_moving(self, now: int) -> bool:
        """Tell whether something moved within the last seconds."""
        moved = self.moved_at()
        return bool(moved) and now - moved <= BREAK

    def is_believed(self, now: int) -> bool:
        """Tell whether it is too early to know."""
        return self.is_adopted and not self.moved_at() and now - self.watched_since <= BREAK


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The state of a unit that is up."""

    state: State
    cause: str = ""
    restart: bool = False
    """It is stuck, and has been for longer than it may."""


RUNS: Final = Verdict(state=State.RUNNING)
"""The usual verdict: always the same object, so that two rounds of a thousand of it are told to be equal at once."""


def goes_on(track: Track | None, last: Verdict | None, now: int, *, look_at_speed: bool) -> bool:
    """Tell whether a unit runs as it did before, by a look that is cheap; one that is not sure is no.

    Args:
        track: what is heard of it; None where nothing is, or where that is not all that counts.
        last: the verdict on it before.
        now: µs of the monotonic clock.
        look_at_speed: whether it is to be judged anew if it has a speed, of which all reports but the last are skipped.
    """
    if track is None or last is not RUNS:
        return False
    if look_at_speed and track.has_speed:
        track.skip()
        return False
    return track.is_moving(now)


def judge_input(vitals: Vitals, now: int, *, stall_timeout: int = 0) -> Verdict:
    """Return the state of an ingest that is up; `stall_timeout`: µs for which it may give nothing, 0 is for ever."""
    if vitals.is_moving(now) and vitals.is_garbage:
        return Verdict(state=State.STARVED, cause=GARBAGE)
    if vitals.is_moving(now) or vitals.is_believed(now):
        return _running(vitals, now)
    if vitals.is_listener and not vitals.connected and not vitals.moved_at():
        return Verdict(state=State.WAITING, cause="no encoder has called yet")
    if not vitals.moved_at() and now - vitals.watched_since <= BREAK:
        return Verdict(state=State.STARTING)
    silent = now - max(vitals.watched_since, vitals.moved_at())
    return Verdict(state=State.STARVED, cause="nothing arrives", restart=bool(stall_timeout) and silent > stall_timeout)


def judge_output(vitals: Vitals, source: Vitals | None, now: int, *, stall_timeout: int) -> Verdict:
    """Return the state of an output that is up.

    Args:
        vitals: of the output.
        source: of its route's ingest; None where that is not up.
        now: µs of the monotonic clock.
        stall_timeout: µs for which it may send nothing while its input gives; 0 lets it be stuck for ever.
    """
    waits = vitals.is_listener and not vitals.connected
    if vitals.by_packets and source is not None and source.is_moving(now) and not waits:
        # What comes seldom is waited for, where there is something to send.
        heard = vitals.moved_at()
        if heard and now - heard <= vitals.pause:
            return RUNS
    if (vitals.is_moving(now) or vitals.is_believed(now)) and not waits:
        return _running(vitals, now)
    if source is None:
        return Verdict(state=State.STARVED, cause="its input is not up")
    if source.is_garbage:
        # Whatever it does not send, no restart would help.
        return Verdict(state=State.STARVED, cause="its input gives no MPEG-TS")
    moved = vitals.moved_at()
    if not source.is_moving(now):
        fresh = now - max(source.watched_since, vitals.watched_since) <= BREAK
        if fresh and not moved:
            return Verdict(state=State.STARTING)
        return Verdict(state=State.STARVED, cause="its input gives nothing")
    if waits and vitals.by_packets:
        return Verdict(state=State.WAITING, cause="nobody has called yet")
    if waits and (vitals.is_moving(now) or not moved):
        # Without a report it listens all the same: it has not had its first packet to read.
        return _stuck(vitals, source, now, stall_timeout, Verdict(state=State.WAITING, cause="nobody has called yet"))
    if not moved:
        return _stuck(vitals, source, now, stall_timeout, Verdict(state=State.STARTING))
    return _stuck(vitals, source, now, stall_timeout, None)


def _stuck(vitals: Vitals, source: Vitals, now: int, stall_timeout: int, otherwise: Verdict | None) -> Verdict:
    """Return that it is stalled, where it has been so for long enough; before that what it is otherwise."""
    flowing = source.meter.moving_since if source.meter else now
    moved = vitals.moved_at()
    began = max(vitals.watched_since, flowing, moved)
    silent = now - began
    if otherwise is not None:
        if vitals.is_moving(now):
            return otherwise
        patience = (stall_timeout or CONNECT_ALLOWANCE) + CONNECT_ALLOWANCE
        if silent <= patience:
            return otherwise
        cause = "it has sent nothing since it was started"
        return Verdict(state=State.STALLED, cause=cause, restart=bool(stall_timeout))
    if silent <= vitals.pause:
        # The input has just come back: its output is about to.
        return Verdict(state=State.STARVED, cause="its input has just come back")
    cause = "it sends nothing, and its input gives"
    return Verdict(state=State.STALLED, cause=cause, restart=bool(stall_timeout) and silent > stall_timeout)


def _running(vitals: Vitals, now: int) -> Verdict:
    """Return that it runs, with a warning where media is sent at a speed that is not that of real time."""
    speed = vitals.meter.speed(now) if vitals.meter else None
    if speed is None or SLOW <= speed <= FAST:
        return RUNS
    return Verdict(state=State.RUNNING, cause=f"it sends at {speed:.2f} of real time")
