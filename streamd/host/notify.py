"""sd_notify: what the daemon tells systemd of itself, see sd_notify(3)."""

from __future__ import annotations

import os
import time

from systemd import daemon


def ready(status: str) -> None:
    """Tell that start-up, or a reload, is through."""
    daemon.notify(f"READY=1\nSTATUS={status}")


def patience(seconds: float) -> None:
    """Ask systemd, which waits for the start, to go on waiting for that long from now."""
    daemon.notify(f"EXTEND_TIMEOUT_USEC={seconds * 1_000_000:.0f}")


def reloading() -> None:
    """Tell that a reload begins."""
    daemon.notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def status(text: str) -> None:
    """Set the line that `systemctl status streamd` shows."""
    daemon.notify(f"STATUS={text}")


def stopping() -> None:
    """Tell that the daemon is on its way out."""
    daemon.notify("STOPPING=1")


def alive() -> None:
    """Feed the watchdog."""
    daemon.notify("WATCHDOG=1")


def watchdog_seconds() -> float:
    """Return how often the watchdog wants to be fed, in seconds; 0 when there is none."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    return int(usec) / 3_000_000 if usec.isdigit() else 0.0
