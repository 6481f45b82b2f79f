"""What units cost: processor time by their control groups, memory, threads, and how soon they send."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.appliance.host import run, show

SETTLE = 5.0


@dataclass(frozen=True)
class Cost:
    """Of one output."""

    cpu: float
    """Of one core."""
    pss: float
    """MiB."""
    threads: float


def pss_of(pid: str) -> float:
    """Return the MiB of a process, pages that it shares counted by its part in them."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) / 1024


def used(units: Sequence[str]) -> float:
    """Return the processor time of units up to now, in seconds."""
    return sum(int(show(unit, "CPUUsageNSec")["CPUUsageNSec"]) for unit in units) / 1e9


def cost(units: Sequence[str], outputs: int, seconds: float) -> Cost:
    """Return what units take over so many seconds, for each of so many outputs."""
    time.sleep(SETTLE)  # what is measured is a time in which nothing begins or ends
    before, begin = used(units), time.monotonic()
    time.sleep(seconds)
    cpu = (used(units) - before) / (time.monotonic() - begin) / outputs
    pids = [show(unit, "MainPID")["MainPID"] for unit in units]
    threads = sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids)
    return Cost(cpu, sum(map(pss_of, pids)) / outputs, threads / outputs)


def executed(unit: str) -> float:
    """Return when the program of a unit was executed, of time.monotonic()."""
    return int(show(unit, "ExecMainStartTimestampMonotonic")["ExecMainStartTimestampMonotonic"]) / 1e6


@contextmanager
def transient(name: str, *argv: str) -> Iterator[str]:
    """Run a command in a plain unit that comes back when it ends, as somebody would without streamd; yield its name."""
    unit = f"bench-{name}.service"
    restart = ("--property=Restart=always", "--property=RestartSec=500ms", "--property=StartLimitIntervalSec=0")
    run("systemd-run", f"--unit={unit}", "--quiet", "--collect", *restart, "--property=Type=exec", *argv)
    try:
        yield unit
    finally:
        run("systemctl", "stop", unit)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median, the least and the most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}, {max(values):.{digits}f})"
