"""When hooks are called: failures as episodes, each of which is told once, and its end once.

An episode begins when an input or output fails, and ends when it has been well for as long as a failure must last
before it is told. So a blip tells nobody, and what keeps failing and recovering tells one failure, not one each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum, StrEnum, auto
from typing import Any, Final

from streamd.plan.address import Address
from streamd.plan.status import FAILING, OutputStatus, RouteStatus, State, Status

_CONTROL: Final = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), " ")
_ENVIRONMENT: Final = str.maketrans({char: f"\\{char}" for char in '\\"$`'})


class Kind(StrEnum):
    """What is told."""

    FAILURE = "failure"
    RECOVERY = "recovery"


class Health(Enum):
    """What the state of an input or output means to its episode."""

    FAILING = auto()
    WELL = auto()
    UNSETTLED = auto()
    """On its way to one of the two."""
    BLAMELESS = auto()
    """An output whose input gives nothing: the input is told, and whatever else is wrong will show once it gives."""
    OVER = auto()
    """It is not to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One input or output that fails."""

    since: int
    """When it began, in µs of the monotonic clock."""
    began: int
    """The same in µs since 1970."""
    state: State
    """The failing state that was seen last."""
    before: str = ""
    """The state before it failed; empty when unknown."""
    told: bool = False
    well_since: int | None = None
    """Since when it has been well again, in µs of the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """All episodes by address, and the states that were seen last."""

    episodes: Mapping[str, Episode] = field(default_factory=dict)
    states: Mapping[str, State] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, Episode]:
        """Return the episodes whose end has to be told, too."""
        return {address: episode for address, episode in self.episodes.items() if episode.told}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A failure, or its end."""

    kind: Kind
    address: Address
    state: State
    previous: str
    """The state before: of a failure the one before it began, of a recovery the last failing one."""
    cause: str = ""
    reason: str = ""
    advice: str = ""
    last_error: str = ""
    since: int = 0
    """When the present state was entered, in µs since 1970."""
    began: int = 0
    """When the failure began, in µs since 1970."""

    def __str__(self) -> str:
        """Return the sentence for people."""
        what = f"{self.address}" if self.address.output else f"{self.address} (input)"
        word = "failed" if self.kind is Kind.FAILURE else "is well again"
        return f"{what} {word}: {self.state}{f', {self.cause}' if self.cause else ''}"


def advance(
    ledger: Ledger, status: Status, patience: Callable[[str], int], now: int, clock: int
) -> tuple[Ledger, tuple[Event, ...]]:
    """Return the ledger after a look at the status, and what is to be told. To be called each second.

    Args:
        ledger: as it was after the last look.
        status: of now.
        patience: by route, for how long something must fail, or be well, before that is told, in µs.
        now: the monotonic clock in µs.
        clock: the time in µs since 1970.
    """
    episodes: dict[str, Episode] = {}
    states: dict[str, State] = {}
    events: list[Event] = []
    for route in status.routes:
        source = _input_health(route.state)
        things: list[tuple[Address, RouteStatus | OutputStatus, Health]] = [(Address(route.name), route, source)]
        for output in route.outputs:
            health = _output_health(output.state, source)
            things.append((Address(route.name, output.name), output, health))
        for address, thing, health in things:
            name = str(address)
            states[name] = thing.state
            before = ledger.episodes.get(name)
            if before is None and health is not Health.FAILING:
                continue
            episode = before or Episode(
                since=now, began=clock, state=thing.state, before=str(ledger.states.get(name, ""))
            )
            after, kind = _step(episode, health, thing.state, patience(route.name), now)
            if after is not None:
                episodes[name] = after
            if kind is not None:
                events.append(_event(kind, address, thing, episode))
    return Ledger(episodes, states), tuple(events)


def _input_health(state: State) -> Health:
    if state in FAILING or state is State.WAITING:
        # An input that waits for its encoder gives nothing, as one does to which nothing arrives.
        return Health.FAILING
    return _HEALTH.get(state, Health.UNSETTLED)


def _output_health(state: State, source: Health) -> Health:
    own = Health.FAILING if state in FAILING else _HEALTH.get(state, Health.UNSETTLED)
    return own if own is Health.OVER or source is Health.WELL else Health.BLAMELESS


_HEALTH: Final[Mapping[State, Health]] = {
    State.RUNNING: Health.WELL,
    State.WAITING: Health.WELL,
    State.STOPPED: Health.OVER,
    State.DISABLED: Health.OVER,
}


def _step(
    episode: Episode, health: Health, state: State, patience: int, now: int
) -> tuple[Episode | None, Kind | None]:
    """Return the episode after a look, None when it is over, and what is to be told."""
    match health:
        case Health.FAILING:
            failing = replace(episode, state=state, well_since=None)
            if episode.told or now - episode.since < patience:
                return failing, None
            return replace(failing, told=True), Kind.FAILURE
        case Health.WELL:
            since = now if episode.well_since is None else episode.well_since
            if now - since < patience:
                return replace(episode, well_since=since), None
            return None, Kind.RECOVERY if episode.told else None
        case Health.OVER:
            return None, None
        case Health.BLAMELESS if not episode.told:
            return None, None
        case _:
            return replace(episode, well_since=None), None


def _event(kind: Kind, address: Address, thing: RouteStatus | OutputStatus, episode: Episode) -> Event:
    trouble = thing.trouble
    return Event(
        kind=kind,
        address=address,
        state=thing.state,
        previous=episode.before if kind is Kind.FAILURE else str(episode.state),
        cause=thing.cause,
        reason=trouble.reason,
        advice=trouble.advice,
        last_error=trouble.last_error,
        since=thing.since,
        began=episode.began,
    )


def unit_instance(address: Address) -> str:
    """Return what %i stands for."""
    return f"{address.route}:{address.output}" if address.output else address.route


def hook_unit(name: str, address: Address) -> str:
    """Return the name of the unit to start, what stands for something replaced."""
    return name.replace("%i", unit_instance(address)).replace("%n", address.unit)


def event_document(event: Event, host: str) -> dict[str, Any]:
    """Return an event as webhooks are told it."""
    return {
        "event": str(event.kind),
        "host": host,
        "route": event.address.route,
        "output": event.address.output,
        "address": str(event.address),
        "unit": event.address.unit,
        "state": str(event.state),
        "previous": event.previous,
        "cause": event.cause,
        "reason": event.reason,
        "advice": event.advice,
        "last_error": event.last_error,
        "since": _iso(event.since),
        "began": _iso(event.began),
        "text": f"{host}: {event}",
    }


def environment_file(document: Mapping[str, str]) -> str:
    """Return an event's document as variables STREAMD_EVENT and so on, for EnvironmentFile= and for a shell."""
    return "".join(
        f'STREAMD_{key.upper()}="{value.translate(_CONTROL).translate(_ENVIRONMENT)}"\n'
        for key, value in document.items()
    )


def _iso(moment: int) -> str:
    """Return a time in µs since 1970 as ISO 8601, in UTC; nothing for 0."""
    return datetime.fromtimestamp(moment / 1_000_000, UTC).isoformat(timespec="seconds") if moment else ""
