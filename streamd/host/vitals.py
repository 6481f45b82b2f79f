"""Watches over the units that are up: what they report, whether they do their work, and how their processes ended."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from streamd.host.endings import Endings, Lines
from streamd.host.progress import ProgressChannel
from streamd.plan.address import Address
from streamd.plan.cause import stalled
from streamd.plan.health import RUNS, Verdict, Vitals, goes_on, judge_input, judge_output
from streamd.plan.observed import Details, Observed
from streamd.plan.pace import Pace
from streamd.plan.patient import Patient
from streamd.plan.progress import Meter
from streamd.plan.status import State
from streamd.plan.track import Track
from streamd.route.model import Engine

_SETTLED: Final = 30_000_000
"""µs after which a unit that did not get going would have been seen by the daemon before this one."""


_PROVEN_AFTER: Final = 10_000_000
"""µs after which a unit that does not send is waited for no longer."""
_SPEED_EVERY: Final = 5
"""Looks of which one looks at the speed of what runs: that is averaged over half a minute."""
_IN_ONE_GO: Final = 100
"""Units that are looked at before others get a turn."""


class Ward:
    """All patients. Time is µs of the monotonic clock unless said."""

    def __init__(self, channel: ProgressChannel, logs: Lines) -> None:
        """Take the edges that it listens to."""
        self._channel = channel
        self.endings = Endings(logs)
        self._patients: dict[str, Patient] = {}
        self._by_channel: dict[bytes, str] = {}
        """By the packed address."""
        self._up: dict[str, tuple[str, int]] = {}
        """Invocation, and when it became active, of each unit that is up."""
        self._last_up: dict[str, str] = {}
        """The last invocation in which each unit was seen up."""
        self._waiting: frozenset[str] = frozenset()
        self._slow: frozenset[str] = frozenset()
        self._tracks: dict[str, Track] = {}
        self.garbage: frozenset[str] = frozenset()
        """Names of ingests that bring something else than a transport stream."""
        self.verdicts: dict[str, Verdict] = {}
        self._looks = 0
        self._round = 0
        """Counts the looks, and the times that the units changed; a look that is not the last one is given up."""

    async def admit(
        self,
        patients: Iterable[Patient],
        observed: Observed,
        details: Mapping[str, Details],
        slow: Collection[str],
        endings: Mapping[str, Details],
    ) -> None:
        """Watch these units from now on, and no others; find out how those ended that have.

        Args:
            patients: the units.
            observed: what systemd has.
            details: of those.
            slow: names of units that were made to be restarted slowly.
            endings: details of units when their processes had just ended; they may be up again.
        """
        self._round += 1
        self._patients = {found.address.unit: found for found in patients}
        self._by_channel = {socket.inet_aton(found.channel): name for name, found in self._patients.items()}
        self._slow = frozenset(slow)
        self.endings.keep(self._patients.keys())
        for name in endings.keys() & self._patients.keys():
            pace = Pace.SLOW if name in slow else Pace.QUICK
            await self.endings.look(self._patients[name], endings[name], pace, has_sent=self._has_sent(name))
        up: dict[str, tuple[str, int]] = {}
        waiting = set()
        for name, patient in self._patients.items():
            unit, detail = observed.units.get(name), details.get(name)
            if unit is None or detail is None:
                continue
            if unit.is_waiting or unit.active == "failed":
                waiting.add(name)
                pace = Pace.SLOW if name in slow else Pace.QUICK
                last = self._last_up.get(name, "")
                await self.endings.look(patient, detail, pace, last, has_sent=self._has_sent(name))
            if unit.active != "active":
                continue
            invocation = detail.status.invocation
            up[name] = (invocation, detail.active_since)
            if name in self._up and self._up[name][0] != invocation:
                self._tracks.pop(name, None)
            elif name not in self._up and patient.is_listener and not self._has_caller(name, patient, invocation):
                await self.endings.recall_caller(name, invocation)
        for name in self._tracks.keys() - up.keys():
            del self._tracks[name]
        self._round += 1
        self._up, self._waiting = up, frozenset(waiting)
        seen = self._last_up | {name: invocation for name, (invocation, _) in up.items()}
        self._last_up = {name: invocation for name, invocation in seen.items() if name in self._patients}

    def listen(self, port: int) -> None:
        """Take reports on this UDP port."""
        self._channel.listen(port)

    def close(self) -> None:
        """Watch no more."""
        self._channel.close()

    async def tick(self, *, at_once: bool = False) -> bool:
        """Read the reports and judge anew; tell whether there is something new to show.

        With a thousand units that takes long, so others get turns meanwhile, unless it is to be done `at_once`. What
        is under way then is given up where the units change, or where it is overtaken: judged is what is there now.
        """
        self._round += 1
        ours = self._round
        now = time.monotonic_ns() // 1000
        for number, (channel, datagram) in enumerate(self._channel.read().items(), 1):
            name = self._by_channel.get(channel)
            if name in self._up:
                track = self._tracks.get(name)
                if track is None:
                    track = self._tracks[name] = Track()
                track.hear(datagram, now)
            if number % _IN_ONE_GO == 0 and not at_once:
                await asyncio.sleep(0)
        verdicts: dict[str, Verdict] = {}
        for number, (name, verdict) in enumerate(self._judged(now) if ours == self._round else (), 1):
            verdicts[name] = verdict
            if number % _IN_ONE_GO == 0 and not at_once:
                await asyncio.sleep(0)
                if ours != self._round:
                    break
        if ours != self._round:
            return False
        news = self.endings.renew()
        for name, verdict in verdicts.items():
            if verdict.state is State.RUNNING:
                self.endings.mend(name)
        news = news or verdicts != self.verdicts
        self.verdicts = verdicts
        return news

    def _judged(self, now: int) -> Iterator[tuple[str, Verdict]]:
        """Yield each unit that is up with its verdict."""
        # While one is looked at that has ended, others may be up that are watched no longer.
        up = dict.fromkeys(name for name in self._up if name in self._patients)
        if not self._channel.opened_at:
            cause = "whether its stream flows is not known, since another process has the progress port"
            yield from dict.fromkeys(up, Verdict(state=State.RUNNING, cause=cause)).items()
            return
        self._looks += 1
        sources: dict[str, Vitals | None] = {}
        for number, name in enumerate(up):
            patient = self._patients[name]
            # Of a listener and of what brings no transport stream, more counts than that it moves.
            track = None if patient.is_listener or name in self.garbage else self._tracks.get(name)
            turn = (self._looks + number) % _SPEED_EVERY == 0
            if goes_on(track, self.verdicts.get(name), now, look_at_speed=turn):
                yield name, RUNS
            elif not patient.address.output:
                yield name, judge_input(self._vitals(name, patient), now, stall_timeout=patient.stall_timeout)
            else:
                route = patient.address.route
                if route not in sources:
                    source = Address(route).unit
                    sources[route] = self._vitals(source, self._patients[source]) if source in up else None
                vitals = self._vitals(name, patient)
                yield name, judge_output(vitals, sources[route], now, stall_timeout=patient.stall_timeout)

    def _vitals(self, name: str, patient: Patient) -> Vitals:
        invocation, active_since = self._up[name]
        track = self._tracks.get(name)
        return Vitals(
            watched_since=max(active_since, self._channel.opened_at),
            is_adopted=0 < active_since < self._channel.opened_at - _SETTLED,
            meter=track.meter if track else None,
            is_listener=patient.is_listener,
            connected=patient.is_listener and self._has_caller(name, patient, invocation),
            is_garbage=name in self.garbage,
            by_packets=patient.engine is Engine.SRT_LIVE_TRANSMIT,
        )

    def _has_caller(self, name: str, patient: Patient, invocation: str) -> bool:
        if patient.engine is Engine.FFMPEG:
            return self.endings.has_caller(name, invocation)
        # It sends to a caller alone, and ends when that leaves.
        return self._has_sent(name)

    def _has_sent(self, name: str) -> bool:
        track = self._tracks.get(name)
        return track is not None and bool(track.moved_at)

    def unsettled(self) -> frozenset[str]:
        """Return the names of units that were started a moment ago and do not send yet."""
        now = time.monotonic_ns() // 1000
        return frozenset(
            name
            for name, (_invocation, active_since) in self._up.items()
            if now - active_since < _PROVEN_AFTER and not self._sends(name)
        )

    def _sends(self, name: str) -> bool:
        verdict = self.verdicts.get(name)
        return verdict is not None and verdict.state is not State.STARTING

    def stuck(self) -> list[Address]:
        """Return what is to be restarted, since it has sent nothing for too long."""
        return [self._patients[name].address for name, verdict in self.verdicts.items() if verdict.restart]

    def note_stall(self, address: Address) -> None:
        """Remember that a unit is being restarted because it is stuck."""
        verdict = self.verdicts.get(address.unit)
        self.endings.note(address.unit, stalled(verdict.cause if verdict else "it sent nothing"))

    def repaced(self) -> Iterator[tuple[Address, Pace]]:
        """Yield each unit that waits for its restart and should wait for another time than it was made for."""
        for name in self._waiting:
            pace = self.endings.paces.get(name)
            if pace is not None and (pace is Pace.SLOW) is not (name in self._slow):
                yield self._patients[name].address, pace

    def meter(self, unit: str) -> tuple[Meter | None, int]:
        """Return the meter of a unit that is up, and when it became active; None and 0 for one that is not."""
        up, track = self._up.get(unit), self._tracks.get(unit)
        return (track.meter if track else None, up[1]) if up else (None, 0)
