"""What a fault is, and how long until it is noticed and until it is mended."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.appliance.host import status, wait_until

Act = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault. Times are seconds and generous: a busy machine must not fail a test."""

    name: str
    """A row of the table in the README."""
    states: tuple[str, ...]
    """Any of these is right."""
    reasons: tuple[str, ...] = ("",)
    """Any of these is right, of an output that is in one of the states."""
    noticed: float
    """By when it must be noticed, after it began."""
    mended: float
    """By when it must be mended, after it ended."""
    stage: Callable[[ExitStack, Path], Stage]
    """Sets all up; what it enters is undone at the end."""


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


@dataclass(frozen=True)
class Seen:
    """What was seen of a fault, and when, in seconds after its begin or end."""

    seconds: float
    status: Any


def begin(stage: Stage, seconds: float = 60) -> Seen:
    """Wait until it runs."""
    return _wait(stage.address, ("running", "waiting"), seconds)


def happen(fault: Fault, stage: Stage) -> Seen:
    """Make the fault, and wait until it is told rightly."""

    def is_right(found: Any) -> bool:
        return found["state"] in fault.states and found["reason"] in fault.reasons

    at = time.monotonic()
    stage.fail()
    return _until(stage.address, is_right, at, fault.noticed, f"{fault.name}: {fault.states}, {fault.reasons}")


def over(fault: Fault, stage: Stage) -> Seen:
    """End the fault, and wait until it runs again without anybody's help."""
    at = time.monotonic()
    stage.mend()

    def is_well(found: Any) -> bool:
        return found["state"] == "running" and stage.arrives()

    return _until(stage.address, is_well, at, fault.mended, f"{fault.name}: it runs again")


def _wait(address: str, states: tuple[str, ...], seconds: float) -> Seen:
    return _until(address, lambda found: found["state"] in states, time.monotonic(), seconds, f"{address}: {states}")


def _until(address: str, is_right: Callable[[Any], bool], since: float, seconds: float, what: str) -> Seen:
    seen: list[str] = []

    def probe() -> Any:
        found = status(address)
        if not found:
            return None
        told = f"{found['state']} {found['reason']} ({found['cause']}; {found['last-error']})"
        if not seen or not seen[-1].endswith(told):
            seen.append(f"{time.monotonic() - since:.1f}: {told}")
        return found if is_right(found) else None

    try:
        found = wait_until(probe, seconds, what)
    except AssertionError as error:
        raise AssertionError(f"{error}; it was\n" + "\n".join(seen)) from None
    return Seen(time.monotonic() - since, found)
