"""Commands: started from an argv, bounded in time, ended with all their children."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

TAIL_LINES = 60


class HarnessError(Exception):
    """The harness can't go on; the text says why, for a person."""


def say(text: str) -> None:
    """Print one line about the harness's own doing, told apart from the output of what it runs."""
    print(f"==> {text}", flush=True)


class Clock:
    """Tells how long each step took."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.steps: list[tuple[str, float]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step and note its duration, also when it fails."""
        say(name)
        started = time.monotonic()
        try:
            yield
        finally:
            self.steps.append((name, time.monotonic() - started))

    def report(self) -> None:
        """Print the table of all steps."""
        for name, seconds in self.steps:
            say(f"{seconds:7.1f} s  {name}")
        say(f"{time.monotonic() - self.started:7.1f} s  in all")


def run(
    argv: Sequence[str | Path],
    *,
    limit: float,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
) -> int:
    """Run a command to its end and return its exit status.

    Args:
        argv: the command; logged ready to paste when it fails.
        limit: seconds after which the command and its children are killed.
        log: where its output goes (shown from the end on failure); None passes it through.
        env: its whole environment; None inherits.
        cwd: its working directory; None inherits.
        check: raise on an exit status other than 0.

    Raises:
        HarnessError: it took longer than the limit, or failed while `check` is set.
    """
    words = [str(word) for word in argv]
    with log.open("ab") if log else nullcontext() as sink:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT if sink else None,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            kill_group(process)
    if status is None:
        raise HarnessError(f"took longer than {limit:.0f} s: {shlex.join(words)}{tail(log)}")
    if check and status:
        raise HarnessError(f"exit status {status}: {shlex.join(words)}{tail(log)}")
    return status


def output(argv: Sequence[str | Path], *, limit: float, env: Mapping[str, str] | None = None) -> str:
    """Return what a command prints on stdout and stderr, whatever its exit status; empty when it takes too long."""
    words = [str(word) for word in argv]
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    try:
        return process.communicate(timeout=limit)[0]
    except subprocess.TimeoutExpired:
        return ""
    finally:
        kill_group(process)


def kill_group(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Kill what is left of a process started in a session of its own, and wait for it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(log: Path | None, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log as the end of an error message."""
    if log is None or not log.exists():
        return ""
    text = log.read_text(errors="replace").splitlines()[-lines:]
    return f"\nthe end of {log.name}:\n" + "\n".join(f"  {line}" for line in text)


def complain(text: str) -> None:
    """Print an error."""
    print(f"tests/run: {text}", file=sys.stderr, flush=True)
