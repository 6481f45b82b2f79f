"""The status that D-Bus and streamctl show: what is wanted and what is, as immutable values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from streamd.plan.link import Link
from streamd.route.diagnostic import Diagnostic


class State(StrEnum):
    """The state of an output, an ingest or a route."""

    STARTING = "starting"
    RUNNING = "running"
    """It sends; an ingest: its stream arrives."""
    STALLED = "stalled"
    """Its process lives and its input gives, but it does not send."""
    STARVED = "starved"
    """Its process lives, but nothing comes in."""
    WAITING = "waiting"
    """It listens, and nobody has called."""
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


WORST_FIRST: Final = (
    State.FAILED,
    State.BLOCKED,
    State.STALLED,
    State.BACKOFF,
    State.STARVED,
    State.STOPPING,
    State.STARTING,
    State.WAITING,
    State.RUNNING,
)
"""The states of what should run."""
FAILING: Final = (State.FAILED, State.BLOCKED, State.STALLED, State.BACKOFF, State.STARVED)
"""The states in which nothing is sent that should be."""


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
class Trouble:
    """What is, or last was, wrong with a unit. It outlives a recovery, all but `reason`, `advice` and `next_try`."""

    reason: str = ""
    """One word for programs why it is not running, such as refused (see streamd.plan.cause)."""
    advice: str = ""
    """One sentence what to do about it; empty where there is nothing to say."""
    next_try: int = 0
    """When it is started again, in µs since 1970; 0 when that is not known or not so."""
    last_error: str = ""
    """One sentence how it failed last, with the log line that says so; empty when it did not."""
    last_error_at: int = 0
    """When that was, in µs since 1970."""


NO_TROUBLE: Final = Trouble()


class Moving(NamedTuple):
    """Those of the moving counters that move at every moment: a thousand of them are made each second, and quickly."""

    bitrate: int | None = None
    bytes: int | None = None
    uptime: int | None = None
    """As in Statistics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The moving counters of one output or ingest; None is unknown, never nought."""

    address: str
    """ROUTE for an ingest, ROUTE/OUTPUT for an output."""
    bitrate: int | None = None
    """bit/s sent (by an ingest: received) over the last seconds."""
    bytes: int | None = None
    """Sent since the process began."""
    uptime: int | None = None
    """µs since the process began."""
    fps: float | None = None
    """Frames a second, where FFmpeg looks at frames."""
    speed: float | None = None
    """Media time over real time in the last seconds: 1.0 is as it should be."""
    media_time: int | None = None
    """µs of media sent."""
    dropped: int | None = None
    """Frames dropped."""
    duplicated: int | None = None
    """Frames duplicated."""
    send_rate: int | None = None
    """bit/s sent by SRT over the last seconds, headers and what was sent again included."""
    link: Link | None = None
    """How an SRT connection is, where srt-live-transmit tells."""
    drops: int | None = None
    """Datagrams that the kernel threw away since the process began, because nobody read them in time."""
    sampled: int | None = None
    """TS packets of an input that were looked at, since its process began or the daemon did, whichever was later."""
    continuity_errors: int | None = None
    """Of those, where the continuity counter was wrong: packets are missing, out of order or repeated."""
    ts_errors: int | None = None
    """Of those, marked as damaged; and places where something else stood between packets."""
    cpu: int | None = None
    """Processor time used by the whole unit, in µs."""
    memory: int | None = None
    """Bytes that the unit uses."""
    tasks: int | None = None
    """Threads that the unit has."""
    restarts: int = 0
    """Automatic restarts since the unit was started."""

    @property
    def moving(self) -> Moving:
        """Return those that move at every moment."""
        return Moving(self.bitrate, self.bytes, self.uptime)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStatus:
    """One output."""

    route: str
    name: str
    kind: str
    """udp, srt, rtmp or rtsp."""
    mode: str = ""
    """caller or listener, for srt."""
    engine: str = ""
    """ffmpeg or srt-live-transmit: the program that sends; empty where no definition says."""
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
    trouble: Trouble = NO_TROUBLE

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
    """udp, srt, rtsp, rtmp, hls, publish, test or file."""
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
    trouble: Trouble = NO_TROUBLE
    outputs: tuple[OutputStatus, ...] = ()

    @property
    def overall(self) -> State:
        """Return the worst state of its input and its outputs; what somebody stopped or disabled does not count."""
        states = {self.state, *(output.state for output in self.outputs)}
        return next((state for state in WORST_FIRST if state in states), self.state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All that there is to tell, at one moment."""

    version: str
    routes: tuple[RouteStatus, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()

    def things(self) -> Iterator[RouteStatus | OutputStatus]:
        """Yield each route, followed by its outputs."""
        for route in self.routes:
            yield route
            yield from route.outputs

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
class LogLine:
    """A line of the log."""

    time: int
    """µs since 1970."""
    priority: int
    """As in syslog: 3 is an error, 4 a warning, 6 information."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One line of `streamctl diff`: what a reload would do to one unit, and why."""

    action: str
    """start, stop, restart, adjust or keep."""
    address: str
    """ROUTE for the ingest, ROUTE/OUTPUT for an output."""
    unit: str
    reason: str
