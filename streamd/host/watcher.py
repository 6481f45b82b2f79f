"""The watcher: tells that something under the configuration's directories changed, never what.

inotify can lose events, and goes silently deaf when a directory is replaced; so whoever is told reads everything
again, and also does so now and then unasked.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import ObservedWatch

from streamd.plan.patience import Patience

_LOG: Final = logging.getLogger(__name__)
_PAUSES: Final = (60.0, 3600.0)
"""Seconds until a directory that cannot be watched is tried again, at first and at the longest. watchdog keeps the
inotify instance of a try that failed, and root has few of them (fs.inotify.max_user_instances)."""
_CHANGES: Final = frozenset({"created", "deleted", "modified", "moved", "closed"})
"""Not opened, nor closed without a write: to read a file would then wake the reader again."""


@dataclass(frozen=True, slots=True)
class _Watch:
    """A directory that is watched, held open: while it is, no later directory can be given its inode number."""

    handle: int
    observed: ObservedWatch

    def is_of(self, directory: Path) -> bool:
        try:
            return os.path.samestat(os.fstat(self.handle), directory.stat())
        except OSError:
            return False


class _Handler(FileSystemEventHandler):
    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in _CHANGES:
            self._wake()


class Watcher:
    """Watches directories, those included that do not exist yet or are replaced."""

    def __init__(self, directories: Mapping[str, bool], on_change: Callable[[], None]) -> None:
        """Take the directories, each with whether all below it counts; `on_change` is called in the event loop."""
        self._directories = {Path(directory): deep for directory, deep in directories.items()}
        self._loop = asyncio.get_running_loop()
        self._on_change = on_change
        self._observer = Observer()
        self._handler = _Handler(self._wake)
        self._watches: dict[Path, _Watch] = {}
        self._patience = {directory: Patience(*_PAUSES) for directory in self._directories}

    def open(self) -> None:
        """Begin to watch."""
        self._observer.start()
        self.renew()

    def close(self) -> None:
        """Stop watching."""
        self._observer.stop()
        self._observer.join(5)
        for watch in self._watches.values():
            os.close(watch.handle)
        self._watches.clear()

    def renew(self) -> None:
        """Watch anew what was replaced or has come to be. Cheap: one stat a directory."""
        for directory, deep in self._directories.items():
            watch = self._watches.get(directory)
            if watch is not None and watch.is_of(directory):
                continue
            if watch is not None:
                self._unschedule(directory, watch)
            if not self._patience[directory].waits(time.monotonic()):
                self._schedule(directory, deep)

    def _schedule(self, directory: Path, deep: bool) -> None:
        try:
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return  # not there, or not yet
        try:
            observed = self._observer.schedule(self._handler, str(directory), recursive=deep)
        except OSError as error:
            os.close(handle)
            if not self._patience[directory].has_failed:
                _LOG.warning("cannot watch %s, reading it every now and then instead: %s", directory, error.strerror)
            self._patience[directory].fail(time.monotonic())
            return
        self._patience[directory].succeed()
        self._watches[directory] = _Watch(handle, observed)

    def _unschedule(self, directory: Path, watch: _Watch) -> None:
        del self._watches[directory]
        os.close(watch.handle)
        try:
            self._observer.unschedule(watch.observed)
        except (KeyError, OSError) as error:
            _LOG.debug("the watch on %s was gone already: %s", directory, error)

    def _wake(self) -> None:
        # Called in watchdog's thread; the loop may have ended when the last event arrives.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_change)
