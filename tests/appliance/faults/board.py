"""The status of everything, as streamctl tells it over and over, for all who wait for something at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from tests.appliance.host import status

_PERIOD = 0.05


class Board:
    """`with` begins and ends to look."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._latest: dict[str, Any] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Board:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ends.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ends.wait(_PERIOD):
            found = status() or {"routes": []}
            things = {thing["address"]: thing for route in found["routes"] for thing in (route, *route["outputs"])}
            with self._news:
                self._latest = things
                self._news.notify_all()

    def wait(self, address: str, is_right: Callable[[Any], bool], since: float, seconds: float, what: str) -> Any:
        """Return what is told of a route or output, once that is right.

        Args:
            address: of what.
            is_right: tells whether.
            since: the monotonic time that seconds count from.
            seconds: until when.
            what: is awaited, for the error, which tells what was seen instead.
        """
        seen: list[str] = []
        with self._news:
            while True:
                found = self._latest.get(address)
                if found:
                    told = f"{found['state']} {found['reason']} ({found['cause']}; {found['last-error']})"
                    if not seen or not seen[-1].endswith(told):
                        seen.append(f"{time.monotonic() - since:.1f}: {told}")
                    if is_right(found):
                        return found
                if time.monotonic() - since > seconds:
                    raise AssertionError(f"not within {seconds:g} s: {what}; it was\n" + "\n".join(seen))
                self._news.wait(1.0)
