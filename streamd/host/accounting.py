"""What units use, out of the kernel's control groups (cgroups(7)), which is where systemd has it from as well."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamd.plan.unit import ROOT_SLICE, Address, route_slice

_TREES: Final = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
"""Where version 2 is mounted on a host that still has controllers of version 1, and on all others."""


_LARGEST: Final = 1 << 16
"""Bytes of one such file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a unit uses; None where the kernel does not account for it."""

    cpu: int | None = None
    """Processor time since the unit was started, in µs."""
    memory: int | None = None
    """Bytes, page cache included."""
    tasks: int | None = None
    """Threads."""


def usage(units: Iterable[str], trees: Iterable[Path] = _TREES) -> dict[str, Usage]:
    """Return what each unit of ours uses that has a control group. It reads three files for each."""
    found = {}
    for name, group in _groups(units, trees):
        cpu = _read(f"{group}/cpu.stat")
        if cpu is None:
            continue  # it is not running
        found[name] = Usage(
            cpu=_number(cpu.partition("usage_usec ")[2].partition("\n")[0]),
            memory=_number(_read(f"{group}/memory.current")),
            tasks=_number(_read(f"{group}/pids.current")),
        )
    return found


def group_numbers(units: Iterable[str], trees: Iterable[Path] = _TREES) -> dict[int, str]:
    """Return each unit that has a control group by the number of that, which is the inode of its directory."""
    found = {}
    for name, group in _groups(units, trees):
        with contextlib.suppress(OSError):  # it is not running
            found[os.stat(group).st_ino] = name
    return found


def _groups(units: Iterable[str], trees: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Yield each unit of ours with the directory that its control group has while it runs."""
    root = next((tree / ROOT_SLICE for tree in trees if (tree / ROOT_SLICE).is_dir()), None)
    if root is None:
        return
    for name in units:
        address = Address.of_unit(name)
        if address is not None:
            yield name, f"{root}/{route_slice(address.route)}/{name}"


def _read(path: str) -> str | None:
    """Return a small file's text; there are thousands of them, and pathlib takes thrice as long."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(descriptor, _LARGEST).decode("ascii", "replace")
    except OSError:  # the group went meanwhile
        return None
    finally:
        os.close(descriptor)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() else None
