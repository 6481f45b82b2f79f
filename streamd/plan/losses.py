"""What was lost of a unit's stream: before it got here, as samples tell, or here, as the kernel does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from streamd.plan.continuity import Tally
from streamd.plan.health import GARBAGE

WARNS_FOR: Final = 30_000_000
"""µs for which a loss is worth a warning, at the least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Of one process. Times are µs of the monotonic clock."""

    total: Tally | None = None
    """Of all samples; None where none was taken, as of an output."""
    bad: Tally | None = None
    """The last sample that was not clean."""
    bad_at: int = 0
    """When that was."""
    is_clean: bool = True
    """The last sample was."""
    drops: int | None = None
    """Datagrams that came to this machine and that the kernel threw away, since FFmpeg did not read them in time."""
    fell: int = 0
    """How many these were the last time that there were more."""
    fell_at: int = 0
    """When that was seen; 0 for never."""

    def after_sample(self, tally: Tally, now: int) -> Losses:
        """Return what is known after one more sample."""
        total = tally if self.total is None else self.total + tally
        if tally.is_clean:
            return replace(self, total=total, is_clean=True)
        return replace(self, total=total, bad=tally, bad_at=now, is_clean=False)

    def after_count(self, drops: int, now: int) -> Losses:
        """Return what is known after one more look at the kernel's count."""
        # What was thrown away before anybody looked may be long ago, and is counted without a warning.
        more = 0 if self.drops is None else drops - self.drops
        if more <= 0:
            return replace(self, drops=drops)
        return replace(self, drops=drops, fell=more, fell_at=now)

    @property
    def is_garbage(self) -> bool:
        """Tell whether the last sample was of no transport stream."""
        return not self.is_clean and self.bad is not None and self.bad.is_garbage

    def warning(self, now: int) -> str:
        """Return one sentence for a person, empty where nothing was lost lately."""
        if self.fell_at and now - self.fell_at <= WARNS_FOR:
            # Also where samples are not clean: this is why.
            return f"this machine is too busy: its FFmpeg came too late for {_count(self.fell, 'datagram')}"
        if self.bad is None or (self.is_clean and now - self.bad_at > WARNS_FOR):
            return ""
        return _complaint(self.bad)


def _complaint(bad: Tally) -> str:
    """Return what is wrong with a sample, the worst alone."""
    if bad.is_garbage:
        return GARBAGE
    sample = f"in a sample of {_count(bad.packets, 'packet')}"
    if bad.sync_losses:
        return f"what arrives is not all MPEG-TS: {_count(bad.stray, 'byte')} of something else {sample}"
    if bad.continuity_errors:
        return f"packets are lost before they get here: {_count(bad.continuity_errors, 'continuity error')} {sample}"
    return f"packets arrive damaged: {bad.damaged} {sample}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
