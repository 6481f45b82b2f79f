"""What units use, from their control groups, which everybody may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from streamd.ctl.top import Row

_CGROUPS: Final = Path("/sys/fs/cgroup")
_PROC: Final = Path("/proc")


class Meter:
    """Measures units again and again: CPU time is the difference of two looks."""

    def __init__(self, *, cgroups: Path = _CGROUPS, proc: Path = _PROC) -> None:
        self._cgroups = cgroups
        self._proc = proc
        self._groups: dict[tuple[int, str], Path] = {}
        self._last: dict[Path, tuple[int, int]] = {}
        """CPU time used by each group in µs, and the monotonic time of that look in ns."""

    def measure(self, rows: Mapping[str, Row], clock: int) -> dict[str, Row]:
        """Return rows with what their units use.

        Args:
            rows: by unit name.
            clock: the monotonic time in ns.
        """
        last, self._last = self._last, {}
        groups = {(row.pid, unit): self._group(row.pid, unit) for unit, row in rows.items() if row.pid}
        self._groups = {key: group for key, group in groups.items() if group is not None}
        found = dict(rows)
        for (_pid, unit), group in self._groups.items():
            found[unit] = self._measured(rows[unit], group, clock, last.get(group))
        return found

    def _measured(self, row: Row, group: Path, clock: int, last: tuple[int, int] | None) -> Row:
        used = _cpu_time(group / "cpu.stat")
        cpu = None
        if used is not None:
            self._last[group] = (used, clock)
            if last is not None and clock > last[1]:
                # Less than before means that the unit was started anew meanwhile.
                cpu = max(0, used - last[0]) * 1000 / (clock - last[1]) * 100
        return replace(row, cpu=cpu, memory=_number(group / "memory.current"))

    def _group(self, pid: int, unit: str) -> Path | None:
        """Return the control group of a unit, by its main process; None where that is not to be found."""
        known = self._groups.get((pid, unit))
        if known is not None:
            return known
        for line in _text(self._proc / str(pid) / "cgroup").splitlines():
            above, slash, _below = line.removeprefix("0::").partition(f"/{unit}")
            if line.startswith("0::") and slash:
                return self._cgroups / f"{above}/{unit}".lstrip("/")
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it ended meanwhile, or this machine tells nothing of the kind
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _cpu_time(path: Path) -> int | None:
    for line in _text(path).splitlines():
        name, _space, value = line.partition(" ")
        if name == "usage_usec" and value.isascii() and value.isdigit():
            return int(value)
    return None
