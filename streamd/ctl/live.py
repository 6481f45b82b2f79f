"""The verbs that go on: `monitor` and `top`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from streamd.ctl.asking import client, run
from streamd.ctl.events import Follower, event_document, event_line
from streamd.ctl.exits import FAILURE, NO_SUCH_THING, OK, Failure
from streamd.ctl.match import is_pattern, matches
from streamd.ctl.printing import now, print_line, style
from streamd.ctl.screen import Screen
from streamd.ctl.top import Row, View, arrange, frame, make_row, press, row_document, table_lines
from streamd.ctl.usage import Meter

if TYPE_CHECKING:
    from streamd.bus.client import Client
    from streamd.bus.notice import Notice

_FIRST_LOOK: Final = 0.5
"""Seconds between the two looks that the first table of CPU time takes."""


def run_monitor(options: argparse.Namespace) -> int:
    """Print a line for each change until interrupted. Raises: Failure."""

    async def follow() -> None:
        follower = Follower()
        async with client() as daemon, aclosing(daemon.watch()) as notices:
            first = True
            async for notice in notices:
                for event in follower.apply(notice):
                    if _is_wanted(event.address, options.addresses):
                        if options.json:
                            print_line(event_document(event, now()))
                        else:
                            sys.stdout.write(event_line(event, now(), style()) + "\n")
                            sys.stdout.flush()
                if first:
                    _require(options.addresses, follower.things())
                    first = False

    run(follow())
    return OK


def _is_wanted(address: str, patterns: Sequence[str]) -> bool:
    """Return whether an event is asked for; what is about the daemon always is."""
    return not patterns or not address or any(matches(pattern, address) for pattern in patterns)


def _require(patterns: Iterable[str], addresses: Iterable[str]) -> None:
    """Refuse an address that does not exist; a pattern may match later. Raises: Failure."""
    known = set(addresses)
    for pattern in patterns:
        if not is_pattern(pattern) and pattern not in known:
            raise Failure(f'there is no {"output" if "/" in pattern else "route"} "{pattern}"', NO_SUCH_THING)


def run_top(options: argparse.Namespace) -> int:
    """Show the table until somebody quits, or print some. Raises: Failure."""
    batch = options.batch or options.json
    if not batch and not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failure("top needs a terminal; for scripts: streamctl top -b -n 1", FAILURE)

    async def follow() -> None:
        async with client() as daemon, aclosing(daemon.watch()) as notices:
            top = _Top(options, daemon)
            await top.follow(notices)  # the first notice: all that there is
            _require(options.addresses, top.follower.things())
            task = asyncio.create_task(top.follow_on(notices))
            try:
                await (top.print() if batch else top.show(Screen()))
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    run(follow())
    return OK


class _Top:
    """The table, its data and who looks at it."""

    def __init__(self, options: argparse.Namespace, daemon: Client) -> None:
        self._options = options
        self._daemon = daemon
        self._meter = Meter()
        self._wake = asyncio.Event()
        self._error: BaseException | None = None
        self.follower = Follower()

    async def follow(self, notices: AsyncIterator[Notice]) -> None:
        """Take one notice."""
        for _event in self.follower.apply(await anext(notices)):
            pass

    async def follow_on(self, notices: AsyncIterator[Notice]) -> None:
        """Take all notices; when that fails, whoever shows the table fails."""
        try:
            while True:
                await self.follow(notices)
        except Exception as error:  # noqa: BLE001 (raised by _pause)
            self._error = error
            self._wake.set()

    async def print(self) -> None:
        """Print tables."""
        left = self._options.iterations
        await self._look()
        pause = min(_FIRST_LOOK, self._options.delay)
        while left is None or left > 0:
            await self._pause(pause)
            pause = self._options.delay
            left = left - 1 if left else left
            self._print(arrange(await self._look(), View(sort=self._options.sort)))
            if left:
                sys.stdout.write("" if self._options.json else "\n")

    def _print(self, rows: list[Row]) -> None:
        if self._options.json:
            print_line({"time": now(), "rows": [row_document(row) for row in rows]})
        else:
            # Whole lines, whatever the width: they are for scripts.
            sys.stdout.write("".join(f"{line}\n" for line in table_lines(rows, replace(style(), width=None))))
            sys.stdout.flush()

    async def show(self, screen: Screen) -> None:
        """Draw the table until somebody quits."""
        loop = asyncio.get_running_loop()
        view = View(sort=self._options.sort)
        typed: list[str] = []

        def read() -> None:
            typed.extend(screen.keys())
            self._wake.set()

        def suspend() -> None:
            screen.suspend()
            self._wake.set()

        def end() -> None:
            typed.append("q")
            self._wake.set()

        loop.add_signal_handler(signal.SIGWINCH, self._wake.set)
        loop.add_signal_handler(signal.SIGTSTP, suspend)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, end)
        left = self._options.iterations
        due = loop.time() + min(_FIRST_LOOK, self._options.delay)
        rows = await self._look()
        # In a task of its own: keys are obeyed also while streamd takes its time to answer.
        looking: asyncio.Task[list[Row]] | None = None
        with screen.taken():
            loop.add_reader(sys.stdin.fileno(), read)
            try:
                while not view.done and left != 0:
                    columns, height = screen.size()
                    for key in typed:
                        view = press(view, key, len(rows), height)
                    typed.clear()
                    if looking is not None and looking.done():
                        rows, looking = looking.result(), None
                        left = left - 1 if left else left
                    elif looking is None and loop.time() >= due:
                        due = loop.time() + self._options.delay
                        looking = loop.create_task(self._look())
                        looking.add_done_callback(lambda _task: self._wake.set())
                    if not view.done:
                        screen.draw(frame(rows, view, replace(style(), width=columns), height, self._title()))
                        await self._pause(due - loop.time() if looking is None else self._options.delay)
            finally:
                loop.remove_reader(sys.stdin.fileno())
                if looking is not None:
                    looking.cancel()
                    await asyncio.gather(looking, return_exceptions=True)

    async def _look(self) -> list[Row]:
        """Return the rows of this moment; while the daemon is away nothing is known of what they use."""
        from streamd.bus.client import ClientError  # noqa: PLC0415 (see asking)

        counted: dict[str, Any] = {}
        if self.follower.there:
            try:
                counted = {each["address"]: each for each in await self._daemon.statistics()}
            except ClientError:
                counted = {}  # the notices tell whether it left
        used = self._meter.measure(counted.values(), time.monotonic_ns())
        return [
            make_row(address, properties, counted.get(address, {}), used.get(address))
            for address, properties in self.follower.things().items()
            if _is_wanted(address, self._options.addresses)
        ]

    def _title(self) -> str:
        version = self.follower.manager().get("Version", "")
        return f"streamd {version}" if self.follower.there else f"streamd {version} is not running; as it was"

    async def _pause(self, seconds: float) -> None:
        """Wait until it is time, or there is something to see. Raises: whatever ended the notices."""
        try:
            async with asyncio.timeout(max(0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()
        if self._error is not None:
            raise self._error
