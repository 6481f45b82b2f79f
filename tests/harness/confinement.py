"""The confinement of a run: process, mount and control group namespaces that go, with all in them, when the run does.

The run proper is a child in a PID namespace, of which it is the first process: when it ends, for whatever reason, the
kernel kills all that it started, the booted system included, and its mounts go with its mount namespace. Its parent
removes the rest and makes sure that nothing is left.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.harness.command import HarnessError, run
from tests.harness.host import Cache
from tests.harness.lock import is_held, lock

VARIABLE = "STREAMD_TEST_RUN"
"""Set in the confined child: the name of the run."""
PREFIX = "streamd-tests-"
NSPAWN_STATE = Path("/run/systemd/nspawn")
SETTLE_LIMIT = 15.0


@dataclass(frozen=True)
class Run:
    """One run, by its name."""

    cache: Cache
    name: str

    @property
    def directory(self) -> Path:
        """Return where the run keeps its files: in memory, seen by the run alone."""
        return self.cache.runs / self.name

    @property
    def alive(self) -> Path:
        """Return the lock that is held while the run lasts."""
        return self.cache.runs / f"{self.name}.lock"

    def cgroups(self, leaf: str = "") -> list[Path]:
        """Return the run's control groups, one in each hierarchy that systemd-nspawn uses."""
        return [base / self.name / leaf for base in hierarchies()]

    @contextmanager
    def inside(self, leaf: str) -> Iterator[None]:
        """Start processes in one of the run's control groups: be in it oneself for a moment."""
        before = [base / "cgroup.procs" for base in own_cgroups()]
        for path in self.cgroups(leaf):
            path.mkdir(parents=True, exist_ok=True)
            (path / "cgroup.procs").write_text("0")
        try:
            yield
        finally:
            for procs in before:
                procs.write_text("0")


class StopRequestedError(Exception):
    """SIGINT, SIGTERM or SIGHUP came."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


def hierarchies() -> list[Path]:
    """Return the directories of the control groups that this process was in at its start."""
    name = os.environ.get(VARIABLE)
    if name is None:
        return own_cgroups()
    # In the confined child: up from RUN/LEAF to where RUN is.
    found = [above.parent for path in own_cgroups() for above in (path, *path.parents) if above.name == name]
    if not found:
        raise HarnessError(f"not in a control group of {name}: {own_cgroups()}")
    return found


def own_cgroups() -> list[Path]:
    """Return the directories of this process's control groups, in the unified and in systemd's own hierarchy.

    Raises:
        HarnessError: there is no unified hierarchy, without which no systemd boots.
    """
    mounts: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
        if kind == "cgroup2":
            mounts.setdefault("", Path(fields[4]))
        elif kind == "cgroup" and "name=systemd" in options:
            mounts.setdefault("name=systemd", Path(fields[4]))
    if "" not in mounts:
        raise HarnessError("there is no cgroup2 mount on this host, and systemd in the appliance needs one")
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in mounts:
            found.append(mounts[controllers] / path.lstrip("/"))
    return found


def confined(cache: Cache, argv: Sequence[str], *, limit: float, interactive: bool = False) -> int:
    """Run this program again with the same arguments, confined, and return its exit status once nothing is left of it.

    Args:
        cache: where the run's directory is.
        argv: the arguments.
        limit: seconds that it may take.
        interactive: leave it the terminal, and the terminal's signals.

    Raises:
        HarnessError: it took too long, or left something behind.
        StopRequestedError: a signal came.
    """
    for path in cache.runs.glob(f"{PREFIX}*.lock"):
        if not is_held(path):
            remove(Run(cache, path.stem))
    this = Run(cache, f"{PREFIX}{os.getpid()}-{secrets.token_hex(3)}")
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"]
    command += ["--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, *argv]
    with lock(this.alive):
        this.directory.mkdir()
        try:
            with this.inside("harness"):
                child = subprocess.Popen(
                    command,
                    stdin=None if interactive else subprocess.DEVNULL,
                    env={**os.environ, VARIABLE: this.name},
                    start_new_session=not interactive,
                )
            try:
                return child.wait(limit)
            except subprocess.TimeoutExpired:
                raise HarnessError(f"the whole run took longer than {limit:.0f} s") from None
            finally:
                child.kill()
                child.wait()
        finally:
            remove(this)


def catch_stop_signals(*, ignore_interrupt: bool) -> None:
    """Turn the signals that ask a program to end into an exception, once."""

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(other, signal.SIG_IGN)
        raise StopRequestedError(number)

    signal.signal(signal.SIGINT, signal.SIG_IGN if ignore_interrupt else stop)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)


def enter(cache: Cache) -> Run | None:
    """Return the run that this process is the confined child of, its directory ready for use; None outside of one."""
    name = os.environ.get(VARIABLE)
    if name is None:
        return None
    this = Run(cache, name)
    run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", this.directory], limit=30)
    NSPAWN_STATE.mkdir(parents=True, exist_ok=True)
    run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", NSPAWN_STATE], limit=30)
    return this


def remove(this: Run) -> None:
    """Remove what a run, which has ended, leaves: its control groups and its directory.

    Raises:
        HarnessError: a process or a mount is still there.
    """
    deadline = time.monotonic() + SETTLE_LIMIT
    while (left := processes(this)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    if left:
        shown = ", ".join(f"{pid} ({command_of(pid)})" for pid in left)
        raise HarnessError(f"processes of the run {this.name} are left: {shown}")
    for top in this.cgroups():
        for path, _, _ in os.walk(top, topdown=False):
            os.rmdir(path)
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if inside := [path for path in mounts if Path(path).is_relative_to(this.directory)]:
        raise HarnessError(f"mounts of the run {this.name} are left: {', '.join(inside)}")
    shutil.rmtree(this.directory, ignore_errors=True)
    if this.directory.exists():
        raise HarnessError(f"{this.directory} can't be removed")
    this.alive.unlink(missing_ok=True)


def processes(this: Run) -> list[int]:
    """Return the processes in a run's control groups."""
    found: set[int] = set()
    for top in this.cgroups():
        for path, _, _ in os.walk(top):
            with suppress(OSError):
                found.update(int(pid) for pid in (Path(path) / "cgroup.procs").read_text().split())
    return sorted(found)


def command_of(pid: int) -> str:
    """Return the name of a process's program."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone"
