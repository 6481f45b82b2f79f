"""Watches over the units that are up: their reports, their callers, and how their processes ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from streamd.host.logs import Logs
from streamd.host.progress import ProgressChannel
from streamd.plan.cause import Cause, Ending, classify, stalled
from streamd.plan.health import Verdict, Vitals, judge_input, judge_output
from streamd.plan.observed import Details, Observed, ObservedUnit
from streamd.plan.overview import Ended
from streamd.plan.progress import Meter, advance
from streamd.plan.status import State
from streamd.plan.unit import Address

_LOG: Final = logging.getLogger(__name__)
_SETTLED: Final = 30_000_000
"""µs after which a unit that did not get going would have been seen by the daemon before this one."""
_CALLED: Final = "accept streamid ["
"""What FFmpeg says at its level verbose when an SRT listener has got its caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A unit that is watched."""

    address: Address
    channel: str
    """The loopback address that it reports to."""
    kind: str
    """Of its source or target: udp, srt, rtmp, …"""
    is_listener: bool
    stall_timeout: int
    """µs; 0 for never."""


class Ward:
    """All patients. Time is µs of the monotonic clock unless said."""

    def __init__(self, channel: ProgressChannel, logs: Logs) -> None:
        """Take the edges that it listens to."""
        self._channel = channel
        self._logs = logs
        self._patients: dict[str, Patient] = {}
        self._by_channel: dict[str, str] = {}
        self._up: dict[str, tuple[str, int]] = {}
        """Invocation, and when it became active, of each unit that is up."""
        self._meters: dict[str, Meter] = {}
        self._called: dict[str, str] = {}
        """The invocation in which a listener got its caller."""
        self._classified: dict[str, tuple[str, int]] = {}
        """The invocation and the restart count of the ending that was looked at last."""
        self.endings: dict[str, Ended] = {}
        """How each unit failed last."""
        self.verdicts: dict[str, Verdict] = {}
        logs.on_line = self._hear

    def _hear(self, unit: str, invocation: str, text: str) -> None:
        if _CALLED in text:
            self._called[unit] = invocation

    async def admit(self, patients: Iterable[Patient], observed: Observed, details: Mapping[str, Details]) -> None:
        """Watch these units from now on, and no others; find out how those ended that have."""
        self._patients = {found.address.unit: found for found in patients}
        self._by_channel = {found.channel: name for name, found in self._patients.items()}
        for known in (self._meters, self._called, self._classified, self.endings):
            for gone in known.keys() - self._patients.keys():
                del known[gone]
        up: dict[str, tuple[str, int]] = {}
        for name in self._patients:
            unit, detail = observed.units.get(name), details.get(name)
            if unit is None or detail is None or unit.active != "active":
                continue
            invocation = detail.status.invocation
            up[name] = (invocation, detail.active_since)
            if name in self._up and self._up[name][0] != invocation:
                self._meters.pop(name, None)
            elif name not in self._up and self._patients[name].is_listener and self._called.get(name) != invocation:
                await self._recall_caller(name, invocation)
        for name in self._meters.keys() - up.keys():
            del self._meters[name]
        self._up = up
        for name in self._patients:
            unit, detail = observed.units.get(name), details.get(name)
            if unit and detail and (unit.is_waiting or unit.active == "failed"):
                await self._look_at_ending(self._patients[name], unit, detail)
        self._logs.forget(set(self._patients))

    async def _recall_caller(self, name: str, invocation: str) -> None:
        """Find out whether a listener that was there before the daemon has its caller."""
        lines = self._logs.lines(name, invocation) or await self._logs.recall(invocation)
        if any(_CALLED in line for line in lines):
            self._called[name] = invocation

    async def _look_at_ending(self, patient: Patient, unit: ObservedUnit, detail: Details) -> None:
        name = unit.name
        # Before systemd 254 what waits is the next invocation already.
        invocation = self._up_before(name, detail) if unit.sub == "start-pre" else detail.status.invocation
        key = (invocation, detail.status.restarts)
        if self._classified.get(name) == key:
            return
        self._classified[name] = key
        lines = self._logs.lines(name, invocation) or await self._logs.recall(invocation)
        ended = self.endings.get(name)
        failure = classify(
            Ending(
                result=detail.result,
                code=detail.exit_code,
                status=detail.exit_status,
                lines=lines,
                kind=patient.kind,
                listener=patient.is_listener,
                is_input=not patient.address.output,
            )
        )
        if ended and ended.failure.cause is Cause.STALLED and not ended.mended and failure.cause is Cause.UNKNOWN:
            failure = ended.failure
        self.endings[name] = Ended(failure, detail.since)

    def _up_before(self, name: str, detail: Details) -> str:
        return self._logs.last_invocation(name, but=detail.status.invocation)

    def listen(self, port: int) -> None:
        """Take reports on this UDP port."""
        self._channel.listen(port)

    def close(self) -> None:
        """Watch no more."""
        self._channel.close()

    def tick(self) -> bool:
        """Read the reports and judge anew; tell whether a verdict differs from the last."""
        now = time.monotonic_ns() // 1000
        for channel, report in self._channel.read().items():
            name = self._by_channel.get(channel)
            if name in self._up and not report.is_last:
                self._meters[name] = advance(self._meters.get(name), report, now)
        verdicts = self._judge(now)
        for name, verdict in verdicts.items():
            ended = self.endings.get(name)
            if verdict.state is State.RUNNING and ended and not ended.mended:
                self.endings[name] = replace(ended, mended=True)
        changed = verdicts != self.verdicts
        self.verdicts = verdicts
        return changed

    def _judge(self, now: int) -> dict[str, Verdict]:
        if not self._channel.opened_at:
            return {}
        vitals = {name: self._vitals(name) for name in self._up}
        found = {}
        for name, vital in vitals.items():
            patient = self._patients[name]
            if not patient.address.output:
                found[name] = judge_input(vital, now)
            else:
                source = vitals.get(Address(patient.address.route).unit)
                found[name] = judge_output(vital, source, now, stall_timeout=patient.stall_timeout)
        return found

    def _vitals(self, name: str) -> Vitals:
        invocation, active_since = self._up[name]
        return Vitals(
            watched_since=max(active_since, self._channel.opened_at),
            is_adopted=0 < active_since < self._channel.opened_at - _SETTLED,
            meter=self._meters.get(name),
            is_listener=self._patients[name].is_listener,
            connected=self._called.get(name) == invocation,
        )

    def stuck(self) -> list[Address]:
        """Return what is to be restarted, since it has sent nothing for too long."""
        return [self._patients[name].address for name, verdict in self.verdicts.items() if verdict.restart]

    def note_stall(self, address: Address) -> None:
        """Remember that a unit is being restarted because it is stuck."""
        verdict = self.verdicts.get(address.unit)
        failure = stalled(verdict.cause if verdict else "it sent nothing")
        self.endings[address.unit] = Ended(failure, time.time_ns() // 1000)

    def meter(self, address: Address) -> tuple[Meter | None, int]:
        """Return the meter of a unit that is up, and when it became active; 0 for one that is not."""
        up = self._up.get(address.unit)
        return self._meters.get(address.unit), up[1] if up else 0
