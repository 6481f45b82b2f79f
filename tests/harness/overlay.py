"""A writable view of a root file system; what is written to it goes to a directory of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.command import run


@contextmanager
def overlay(lower: Path, directory: Path) -> Iterator[Path]:
    """Mount an overlay over `lower` and yield its root; what was written stays in `directory`."""
    upper, work, root = (directory / name for name in ("upper", "work", "root"))
    for path in (upper, work, root):
        path.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    run(["mount", "-t", "overlay", "-o", options, "overlay", root], limit=30)
    try:
        yield root
    finally:
        run(["umount", root], limit=30)
