"""What listeners are told, in order and some at a time, so that calls get their turns while thousands are told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

_IN_ONE_GO: Final = 50

Tell = Callable[[], object]


class Backlog:
    """Calls what it is given: at once where that is little and nothing waits, else in turns of the loop."""

    def __init__(self) -> None:
        """Have nothing to do."""
        self._waiting: deque[Tell] = deque()
        self._handle: asyncio.Handle | None = None

    def do(self, tells: Iterable[Tell]) -> None:
        """Call these after all that were given before."""
        self._waiting.extend(tells)
        if self._handle is None:
            self._go_on()

    def drop(self) -> None:
        """Call none of those that wait."""
        self._waiting.clear()

    def _go_on(self) -> None:
        for _ in range(min(_IN_ONE_GO, len(self._waiting))):
            self._waiting.popleft()()
        self._handle = asyncio.get_running_loop().call_soon(self._go_on) if self._waiting else None
