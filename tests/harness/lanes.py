"""Lanes: the parts of all tests that run side by side, each a run of its own with machines of its own.

Tests of a machine wait for most of their time, so some machines share one host well. The first lane is shown as it
goes; the others write a log, which is shown when they have ended.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.harness.command import HarnessError, say
from tests.harness.host import Cache

AT_ONCE = 2
"""Machines that run side by side. Three keep two processors so busy that some tests meet limits of time."""
END_LIMIT = 30.0
"""Seconds that a lane has to end and clean up when it is asked to."""

EACH, ONCE = "each", ("once-1", "once-2")
"""What is tested on every suite, and what is the same on all of them, in parts of about the same length."""
PURE = "pure"
"""What asks for no machine but for the Python and the libraries of each suite."""
NICENESS = 10


@dataclass(frozen=True)
class Lane:
    """One lane."""

    name: str
    arguments: tuple[str, ...]
    """Of tests/run."""
    fills: bool = False
    """It waits for nothing, and so fills the time in which the others do: one such runs beside them, and gives way.

    Not beside the first ones, which are those that wait the least."""


def lanes(suites: Sequence[str]) -> list[Lane]:
    """Return the lanes of all tests on some suites, the longest first."""
    first = suites[0]
    each = [Lane(suite, ("lane", suite, EACH)) for suite in suites]
    once = [Lane(f"{first}-{part}", ("lane", first, part)) for part in ONCE]
    pure = [Lane(f"{suite}-{PURE}", ("lane", suite, PURE), fills=True) for suite in suites]
    return [*each, *once, *pure, Lane("host", ("unit", "--remaining"), fills=True)]


def run_lanes(
    cache: Cache, script: Path, wanted: Sequence[Lane], *, limit: float, at_once: int = AT_ONCE
) -> dict[str, bool]:
    """Run lanes side by side and return by name whether each passed.

    Args:
        cache: where their logs go.
        script: tests/run.
        wanted: the lanes.
        limit: seconds that each may take.
        at_once: how many run side by side; the others follow as these end. From the end of the first on, one that fills
            runs besides.

    Raises:
        HarnessError: one took too long.
    """
    running: dict[str, subprocess.Popen[bytes]] = {}
    is_over, has_ended = threading.Event(), threading.Event()

    def run(lane: Lane) -> bool:
        try:
            if lane.fills:
                has_ended.wait()
            return False if is_over.is_set() else carry_out(lane)
        finally:
            has_ended.set()

    def carry_out(lane: Lane) -> bool:
        log = cache.logs / f"{lane.name}-lane.log"
        # Should this process be killed, they are asked to end, and remove what they have made.
        way = ["nice", f"--adjustment={NICENESS}"] if lane.fills else []
        argv = [*way, "setpriv", "--pdeathsig", "TERM", sys.executable, str(script), *lane.arguments]
        with log.open("wb") as sink:
            shown = None if lane is wanted[0] else sink
            if shown:
                say(f"{lane.name}: runs beside, its log is {log}")
            process = running[lane.name] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=shown, stderr=subprocess.STDOUT if shown else None
            )
        if is_over.is_set():
            process.terminate()
        return process.wait(limit) == 0

    results = {}
    with ThreadPoolExecutor(at_once) as pool, ThreadPoolExecutor(1) as filling:
        futures = {lane.name: (filling if lane.fills else pool).submit(run, lane) for lane in wanted}
        try:
            for name, future in futures.items():
                results[name] = future.result()
                log = cache.logs / f"{name}-lane.log"
                if text := log.read_text(errors="replace"):
                    say(f"{name}: what it printed")
                    print(text, flush=True)
        except subprocess.TimeoutExpired as error:
            raise HarnessError(f"a lane took longer than {limit:.0f} s: {error.cmd}") from None
        finally:
            is_over.set()
            has_ended.set()
            for each in (pool, filling):
                each.shutdown(wait=False, cancel_futures=True)
            for process in list(running.values()):
                _end(process)
    return results


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
