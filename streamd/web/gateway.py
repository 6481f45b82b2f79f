"""What all endpoints share: the daemon, its picture, and who is let in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from streamd.host.webkeys import KeyRing
from streamd.web.hub import Hub
from streamd.web.limiter import Limiter
from streamd.web.link import Link
from streamd.web.machine import Machine
from streamd.web.rendering import Rendered
from streamd.web.session import Sessions
from streamd.web.settings import Settings
from streamd.web.shield import Limits

_AT_ONCE: Final = 4


def _some() -> asyncio.Semaphore:
    return asyncio.Semaphore(_AT_ONCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Lets some questions of a kind be under way, and has the others wait.

    All who ask the gateway are one client to the daemon, which lets a client have 32 calls under way and refuses more:
    who only looks must not take those that starting, stopping and changing need.
    """

    log: asyncio.Semaphore = field(default_factory=_some)
    plan: asyncio.Semaphore = field(default_factory=_some)
    change: asyncio.Semaphore = field(default_factory=_some)
    """What a change would do."""
    viewers: asyncio.Semaphore = field(default_factory=_some)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The parts, wired by server.py or a test."""

    link: Link
    hub: Hub
    ring: KeyRing
    sessions: Sessions
    settings: Settings = field(default_factory=Settings)
    limiter: Limiter = field(default_factory=Limiter)
    limits: Limits = field(default_factory=Limits)
    machine: Machine = field(default_factory=Machine)
    questions: Questions = field(default_factory=Questions)
    rendered: Rendered = field(default_factory=Rendered)
    clock: Callable[[], float] = time.time
    """Seconds since 1970."""
    steady: Callable[[], float] = time.monotonic
    """Seconds of a clock that never steps."""
