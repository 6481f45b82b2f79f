"""How the machine is: processor, memory, disk and network, out of /proc. What is unknown is missing, and never 0."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final

Ticks = tuple[int, int]
"""Busy and all, in ticks since the boot."""
_VIRTUAL: Final = ("lo",)
_LEAST: Final = 0.5
"""Seconds between two looks of which the difference tells something."""


def parse_stat(text: str) -> Ticks | None:
    """Return how long all processors together were busy, from /proc/stat."""
    words = text.partition("\n")[0].split()
    if words[:1] != ["cpu"] or len(words) < 6 or not all(word.isdigit() for word in words[1:]):
        return None
    # What guests used stands in user and nice as well.
    user, nice, system, idle, waiting, *rest = (int(word) for word in words[1:9])
    busy = user + nice + system + sum(rest)
    return busy, busy + idle + waiting


def parse_meminfo(text: str) -> dict[str, int]:
    """Return bytes of memory, from /proc/meminfo."""
    found = {}
    for line in text.splitlines():
        name, _colon, rest = line.partition(":")
        words = rest.split()
        if name in {"MemTotal", "MemAvailable"} and words and words[0].isdigit():
            found["total" if name == "MemTotal" else "available"] = int(words[0]) * 1024
    return found


def parse_network(text: str) -> list[dict[str, Any]]:
    """Return bytes received and sent by interface, from /proc/net/dev; the loopback is none."""
    found = []
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon and len(words) >= 9 and name.strip() not in _VIRTUAL and words[0].isdigit() and words[8].isdigit():
            found.append({"interface": name.strip(), "received": int(words[0]), "sent": int(words[8])})
    return found


class Machine:
    """Looks, and remembers the look before: how busy the processors are is a difference."""

    def __init__(self, root: Path = Path("/"), disk: str = "/var/lib/streamd") -> None:
        """Take where /proc is, and a path on the disk that matters."""
        self._root = root
        self._disk = disk
        self._looks: list[tuple[float, Ticks]] = []

    def document(self) -> dict[str, Any]:
        """Return what is known, in bytes and per cent."""
        found: dict[str, Any] = {
            "cpu": {"count": os.cpu_count() or 1},
            "memory": parse_meminfo(self._read("proc/meminfo")),
            "disk": self._disk_document(),
            "network": parse_network(self._read("proc/net/dev")),
        }
        used = self._used()
        if used is not None:
            found["cpu"]["used"] = used
        load = self._read("proc/loadavg").split()
        if load:
            found["cpu"]["load"] = float(load[0])
        return found

    def _used(self) -> float | None:
        """Return per cent of all processors, since the look before."""
        ticks = parse_stat(self._read("proc/stat"))
        if ticks is None:
            return None
        now = time.monotonic()
        if not self._looks or now - self._looks[-1][0] >= _LEAST:
            self._looks = [*self._looks[-1:], (now, ticks)]
        busy, whole = self._looks[0][1] if len(self._looks) > 1 else (0, 0)  # at first: since the boot
        return round(100 * (ticks[0] - busy) / (ticks[1] - whole), 1) if ticks[1] > whole else None

    def _disk_document(self) -> dict[str, Any]:
        for path in (self._disk, "/"):
            try:
                found = os.statvfs(path)
            except OSError:
                continue
            return {
                "path": path,
                "total": found.f_blocks * found.f_frsize,
                "available": found.f_bavail * found.f_frsize,
            }
        return {}

    def _read(self, path: str) -> str:
        try:
            return (self._root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
