"""The status that D-Bus and streamctl show: what is wanted and what is, as immutable values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from streamd.route.diagnostic import Diagnostic


class State(StrEnum):
    """The state of an output, an ingest or a route."""

    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    """It failed; systemd will try again."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    """An operator stopped it."""
    DISABLED = "disabled"
    """Its file says enabled = false."""
    BLOCKED = "blocked"
    """It needs something that is not there; the cause says what."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitStatus:
    """What systemd tells of one unit; zero and empty where there is none."""

    unit: str
    pid: int = 0
    restarts: int = 0
    """Automatic restarts since the unit was started."""
    invocation: str = ""
    """32 hexadecimal digits, for journalctl _SYSTEMD_INVOCATION_ID=."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStatus:
    """One output."""

    route: str
    name: str
    kind: str
    """udp, srt, rtmp or rtsp."""
    mode: str = ""
    """caller or listener, for srt."""
    url: str
    """Without secrets."""
    description: str = ""
    enabled: bool
    state: State
    cause: str
    """Why it is in that state, in a few words; empty when there is nothing to say."""
    since: int
    """When the state was entered: microseconds since 1970, 0 when unknown."""
    unit: UnitStatus

    @property
    def address(self) -> str:
        """Return ROUTE/OUTPUT."""
        return f"{self.route}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteStatus:
    """One route, with its input and its outputs."""

    name: str
    path: str
    """The file that defines it."""
    description: str = ""
    enabled: bool
    relay: str
    input_kind: str
    """udp, srt, test or file."""
    input_url: str
    """Without secrets, an `auto` port replaced by the one allocated."""
    group: str
    """The relay's address on the loopback interface, GROUP:PORT."""
    broken: bool
    """Its file has errors: what runs is its last good definition."""
    state: State
    """Of the ingest."""
    cause: str
    since: int
    unit: UnitStatus
    outputs: tuple[OutputStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All that there is to tell, at one moment."""

    version: str
    routes: tuple[RouteStatus, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def output_count(self) -> int:
        """Return how many outputs all routes have together."""
        return sum(len(route.outputs) for route in self.routes)

    def summary(self) -> str:
        """Return the line that sd_notify's STATUS= carries, such as `3 routes, 14 outputs, 1 error`."""
        parts = [_count(len(self.routes), "route"), _count(self.output_count, "output")]
        if self.diagnostics:
            parts.append(_count(len(self.diagnostics), "error"))
        return ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One line of `streamctl diff`: what a reload would do to one unit, and why."""

    action: str
    """start, stop, restart, adjust or keep."""
    address: str
    """ROUTE for the ingest, ROUTE/OUTPUT for an output."""
    unit: str
    reason: str
