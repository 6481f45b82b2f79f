"""How the processes of our units ended, as systemd and the journal tell it, and what follows for the next try."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final, Protocol

from streamd.plan.cause import Cause, Ending, Failure, classify
from streamd.plan.observed import Details
from streamd.plan.overview import Ended
from streamd.plan.pace import Pace, next_pace, next_try
from streamd.plan.patient import Patient

_CALLED: Final = "accept streamid ["
"""What FFmpeg says at its level verbose when an SRT listener has got its caller."""


class Lines(Protocol):
    """What is asked of the journal (see streamd.host.logs)."""

    on_line: Callable[[str, str, str], None]

    def lines(self, unit: str, invocation: str) -> tuple[str, ...]:
        """Return the last lines of one invocation that were seen, the oldest first."""

    def last_invocation(self, unit: str, *, but: str) -> str:
        """Return the invocation that a unit's latest line is of, but for one; empty where none is known."""

    async def recall(self, invocation: str) -> tuple[str, ...]:
        """Ask the journal for the last lines of an invocation, from before they were followed."""

    def forget(self, others_than: Collection[str]) -> None:
        """Drop the lines of all units but these."""


class Endings:
    """Follows the lines of our units. Times are µs since 1970."""

    def __init__(self, logs: Lines) -> None:
        """Take the journal."""
        self._logs = logs
        self._looked_at: dict[str, tuple[str, Ending]] = {}
        """The invocation and the ending of each unit whose process ended last."""
        self._late: set[str] = set()
        """Units of which a line came after their ending had been looked at."""
        self._called: dict[str, str] = {}
        self.latest: dict[str, Ended] = {}
        """By unit name: how it failed last."""
        self.paces: dict[str, Pace] = {}
        """By unit name: how soon it should be tried again, where that was decided."""
        self.next_tries: dict[str, int] = {}
        """By unit name: when the next try is, where its own log says so."""
        logs.on_line = self._hear

    def _hear(self, unit: str, invocation: str, text: str) -> None:
        if _CALLED in text:
            self._called[unit] = invocation
        wait = next_try(text)
        if wait is not None:
            self.next_tries[unit] = time.time_ns() // 1000 + wait * 1000
        if wait is not None or self._looked_at.get(unit, ("",))[0] == invocation:
            self._late.add(unit)

    def has_caller(self, unit: str, invocation: str) -> bool:
        """Tell whether a listener got its caller in this invocation."""
        return self._called.get(unit) == invocation

    async def recall_caller(self, unit: str, invocation: str) -> None:
        """Find out whether a listener that was there before the daemon has its caller."""
        lines = self._logs.lines(unit, invocation) or await self._logs.recall(invocation)
        if any(_CALLED in line for line in lines):
            self._called[unit] = invocation

    def keep(self, units: Collection[str]) -> None:
        """Forget all units but these."""
        for known in (self._looked_at, self._called, self.latest, self.paces, self.next_tries):
            for gone in known.keys() - units:
                del known[gone]
        self._late &= set(units)
        self._logs.forget(units)

    async def look(self, patient: Patient, detail: Details, pace: Pace, last_up: str = "") -> None:
        """Find out how the process of a unit ended that waits for its restart, or failed; once for each ending.

        Args:
            patient: what the unit is.
            detail: what systemd tells of it.
            pace: how it has been restarted until now.
            last_up: its last invocation that was seen up, where one was.
        """
        name = patient.address.unit
        invocation = detail.status.invocation
        if detail.sub == "start-pre":
            # Before systemd 254 what waits there is the next invocation already.
            ended = last_up if last_up != invocation else ""
            invocation = ended or self._logs.last_invocation(name, but=invocation)
        known = self._looked_at.get(name)
        if known is not None and invocation and known[0] == invocation:
            return
        ending = Ending(
            result=detail.result,
            code=detail.exit_code,
            status=detail.exit_status,
            lines=self._logs.lines(name, invocation),
            kind=patient.kind,
            listener=patient.is_listener,
            is_input=not patient.address.output,
            by_mediamtx=patient.is_by_mediamtx,
            ran=detail.ran,
            before=self.latest[name].failure.cause if name in self.latest else None,
        )
        # journald tells of new lines up to 250 ms late, so those seen may lack the last, which say why. They are there.
        if not ending.lines or classify(ending).cause is Cause.UNKNOWN:
            ending = replace(ending, lines=await self._logs.recall(invocation) or ending.lines)
        self._looked_at[name] = (invocation, ending)
        failure = self._judge(name, ending)
        self.latest[name] = Ended(failure, detail.since)
        self.paces[name] = next_pace(pace, failure.cause, detail.ran)

    def _judge(self, name: str, ending: Ending) -> Failure:
        failure, before = classify(ending), self.latest.get(name)
        # What was stopped because it was stuck says nothing that would explain more.
        if before and before.failure.cause is Cause.STALLED and not before.mended and failure.cause is Cause.UNKNOWN:
            return before.failure
        return failure

    def renew(self) -> bool:
        """Judge anew where a line came late, which it may; tell whether there is something new to show."""
        late, self._late = self._late, set()
        for name in late:
            if name not in self._looked_at or name not in self.latest:
                continue
            invocation, ending = self._looked_at[name]
            lines = self._logs.lines(name, invocation)
            if not lines or lines == ending.lines:
                continue
            ending = replace(ending, lines=lines)
            self._looked_at[name] = (invocation, ending)
            failure = self._judge(name, ending)
            self.latest[name] = replace(self.latest[name], failure=failure)
            self.paces[name] = next_pace(self.paces.get(name, Pace.QUICK), failure.cause, 0)
        return bool(late)

    def note(self, unit: str, failure: Failure) -> None:
        """Remember that a unit is being restarted because of this."""
        self.latest[unit] = Ended(failure, time.time_ns() // 1000)

    def mend(self, unit: str) -> None:
        """Remember that a unit does its work again."""
        ended = self.latest.get(unit)
        if ended and not ended.mended:
            self.latest[unit] = replace(ended, mended=True)
