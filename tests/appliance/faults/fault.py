"""What a fault is, and how long until it is noticed and until it is mended."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.appliance.faults.board import Board
from tests.appliance.faults.place import Place

Act = Callable[[], None]
_BEGIN = 60.0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A fault that is about to happen."""

    address: str
    fail: Act
    """Makes the fault."""
    mend: Act
    """Ends it."""
    arrives: Callable[[], bool] = lambda: True
    """Tells whether the far end gets something now that it is over; where the far end can tell."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault. Times are seconds and generous: a busy machine must not fail a test."""

    name: str
    """A row of the table in the README."""
    states: tuple[str, ...]
    """Any of these is right."""
    reasons: tuple[str, ...] = ("",)
    """Any of these is right, of an output that is in one of the states."""
    last_error: str | tuple[str, ...] = ""
    """How what is told of the last failure begins, of one that may be over before anybody looks."""
    noticed: float
    """By when it must be noticed, after it began."""
    mended: float
    """By when it must be mended, after it ended."""
    stage: Callable[[Place], Stage]
    """Sets all up."""


@dataclass(frozen=True)
class Outcome:
    """What was seen of a fault; in seconds after its begin, and after its end."""

    noticed: float
    mended: float
    status: Any
    """When it was noticed."""

    @property
    def told(self) -> str:
        """Return state and reason."""
        return ", ".join(word for word in (self.status["state"], self.status["reason"]) if word)


def happen(fault: Fault, number: int, stream: Path, board: Board) -> Outcome:
    """Let a fault happen and end, from its stage to when all is well again. Raises: AssertionError."""
    with ExitStack() as stack:
        stage = fault.stage(Place(number, stream, stack))
        address = stage.address
        states = ("running", "waiting")
        board.wait(address, lambda found: found["state"] in states, time.monotonic(), _BEGIN, f"{fault.name}: it runs")

        def is_right(found: Any) -> bool:
            right = found["state"] in fault.states and found["reason"] in fault.reasons
            # While a try is under way it has no time; but a process that was killed is started again at once.
            told = found["state"] != "backoff" or found["next-try"] or found["reason"] == "killed"
            return right and told and found["last-error"].startswith(fault.last_error)

        begin = time.monotonic()
        stage.fail()
        what = f"{fault.name}: {fault.states}, {fault.reasons}"
        status = board.wait(address, is_right, begin, fault.noticed, what)
        noticed, end = time.monotonic() - begin, time.monotonic()
        stage.mend()

        def is_well(found: Any) -> bool:
            return found["state"] == "running" and stage.arrives()

        board.wait(address, is_well, end, fault.mended, f"{fault.name}: it runs again")
        return Outcome(noticed, time.monotonic() - end, status)
