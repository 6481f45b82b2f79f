"""systemd's jobs: how each that was asked for ended."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable
from typing import Final

SECONDS: Final = 120.0
"""That a job may take."""
_RECENT: Final = 4096


class Jobs:
    """Brings together the reply that names a job, and the signal that it has been removed; either may come first."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._ended: OrderedDict[str, str] = OrderedDict()
        self._asking = 0

    async def result(self, asked: Awaitable[str]) -> str:
        """Return how a job ended, as `done`, `skipped`, `failed` or `canceled`.

        Args:
            asked: the call that makes the job, and returns its object path.

        Raises:
            TimeoutError: it has not ended.
        """
        self._asking += 1
        try:
            job = await asked
            result = self._ended.pop(job, None)
        finally:
            self._asking -= 1
            if not self._asking:
                self._ended.clear()
        if result is not None:
            return result
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[job] = future
        try:
            return await asyncio.wait_for(future, SECONDS)
        finally:
            self._waiting.pop(job, None)

    def removed(self, job: str, result: str) -> None:
        """Take what the signal JobRemoved tells, of anybody's job."""
        future = self._waiting.get(job)
        if future is not None:
            if not future.done():
                future.set_result(result)
        elif self._asking:
            # The signal may overtake whoever is about to wait for it. Nobody else asks for the jobs of others.
            self._ended[job] = result
            if len(self._ended) > _RECENT:
                self._ended.popitem(last=False)
