"""Somebody to type the password to: polkit's agent for a terminal, started as systemctl starts it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_READY_WITHIN: Final = 5.0
"""Seconds; without the agent the call is only refused, so it is not waited for long."""
_END_WITHIN: Final = 5.0


@contextmanager
def password_agent(*, wanted: bool) -> Iterator[bool]:
    """Have polkit's terminal agent run for this process; yields whether somebody can be asked.

    Root is not asked, nor is whoever has no terminal; without pkttyagent a desktop's agent may still ask.
    """
    if not wanted or sys.stdin is None or not sys.stdin.isatty():
        yield False
        return
    if os.geteuid() == 0:
        yield True
        return
    process = _start()
    try:
        yield True
    finally:
        if process is not None:
            _stop(process)


def _start() -> subprocess.Popen[bytes] | None:
    """Start the agent and wait until polkit knows it. It closes its end of the pipe then."""
    read, write = os.pipe()
    try:
        # --fallback leaves a desktop's agent in charge. Without --process it serves its parent, which is streamctl.
        # It asks on /dev/tty; what else it says, such as that polkit is absent, the daemon's answer says better.
        argv = ["pkttyagent", "--notify-fd", str(write), "--fallback"]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(argv, pass_fds=(write,), stdin=quiet, stdout=quiet, stderr=quiet)
    except OSError:  # policykit's tools are not installed
        process = None
    finally:
        os.close(write)
    if process is not None:
        select.select([read], [], [], _READY_WITHIN)
    os.close(read)
    return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # it sets the terminal right again
    try:
        process.wait(_END_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
