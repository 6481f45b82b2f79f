"""What streamd remembers: allocations, stopped outputs and good definitions over a reboot, started units until one."""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from streamd.plan.allocation import Allocation
from streamd.plan.hooks import Episode
from streamd.plan.status import State
from streamd.route.diagnostic import Diagnostic, Span

_LOG: Final = logging.getLogger(__name__)
T = TypeVar("T")
Texts = tuple[tuple[str, str], ...]
"""Path and text of each piece of a route's definition: its file, then its drop-ins."""

FALLBACK: Final = "fallback"
"""The directory of copies, in the runtime directory."""
PATIENCE: Final = 10.0
"""Seconds until a write that failed is tried again."""
_UNSAVED: Final = ".unsaved"
_ALLOCATION: Final = "allocation.json"
_STOPPED: Final = "stopped.json"
_SETTINGS: Final = "streamd.toml"
_ROUTES: Final = "routes.json"
_KEY: Final = "digest.key"
_KEY_LENGTH: Final = 32
"""Bytes."""
_STARTED: Final = "started.json"
_RESTARTS: Final = "restarts.json"
_SLOW: Final = "slow.json"
_TOLD: Final = "told.json"


def write_atomically(path: Path, content: bytes, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Replace a file so that a reader, or a crash, sees the old content or the new, which lasts. Raises: OSError.

    Args:
        path: the file.
        content: all of it.
        mode: its permissions.
        owner: user and group; by default those of whoever writes.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    # One that was left behind, or a link that somebody else has put there, whose directory it is.
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None:
                os.fchown(file.fileno(), *owner)  # before the mode, which it would take some bits of
            os.fchmod(file.fileno(), mode)  # whatever the umask is, or was when a file of that name was left behind
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Let the names in a directory last over a crash. Raises: OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Durable:
    """Files of one directory, whose content outlasts a disk that is full, read-only or broken.

    Each has a copy in a spare directory in memory, which a reboot empties. While a file cannot be written, its copy is
    called NAME.unsaved: it is newer than the file, and wins over it until the file could be written. Otherwise the copy
    is called NAME, and serves where the file cannot be read. A file that could not be read is never written: nobody
    knows what good is still in it.
    """

    def __init__(self, home: Path, spare: Path | None = None, *, patience: float = PATIENCE) -> None:
        """Take the directory, the one of the copies where there are to be any, and the seconds between two tries."""
        self._home = home
        self._spare = spare
        self._patience = patience
        self._pending: dict[str, bytes] = {}
        self._problems: dict[str, str] = {}
        self._unread: set[str] = set()
        self._tried = 0.0

    @property
    def problems(self) -> tuple[Diagnostic, ...]:
        """Return what is wrong with the files now."""
        return tuple(
            Diagnostic(path=str(self._home / name), span=Span(1, 1), key="", message=f"the file {problem}")
            for name, problem in sorted(self._problems.items())
        )

    def take(self, name: str, usable: Callable[[bytes], T | None], *, file_first: bool = False) -> T | None:
        """Return the first version of a file that can be used, and keep that one from now on.

        Args:
            name: of the file.
            usable: returns what a version says, None where that is of no use.
            file_first: prefer the file to a newer copy of it.
        """
        path = self._home / name
        try:
            content = _content(path)
        except OSError as error:
            content = None
            self._unread.add(name)
            advice = "and is left as it is; mend or delete it, then: systemctl restart streamd"
            self._problems[name] = f"cannot be read: {error.strerror}, {advice}"
        unsaved, copy = self._version(f"{name}{_UNSAVED}"), self._version(name)
        for version in (content, unsaved, copy) if file_first else (unsaved, content, copy):
            if version is None:
                continue
            value = usable(version)
            if value is None:
                _LOG.warning("what %s or a copy of it says is damaged, going on without that", path)
                continue
            if version == content:
                self._settle(name, version)
            else:
                self._put(name, version)
            return value
        return None

    def keep(self, name: str, content: bytes) -> None:
        """Write a file, now or as soon as that is possible, and with it whatever else could not be written."""
        self._put(name, content)
        for other in [other for other in self._pending if other != name]:
            self._save(other)

    def retry(self) -> bool:
        """Write what could not be written, unless that was tried a moment ago; tell whether anything is mended."""
        if not self._pending or time.monotonic() - self._tried < self._patience:
            return False
        before = len(self._problems)
        for name in list(self._pending):
            self._save(name)
        return len(self._problems) < before

    def _put(self, name: str, content: bytes) -> None:
        self._pending[name] = content
        if self._spare is not None:
            # First: were the daemon killed in between, no version but the newest may win.
            _write_copy(self._spare / f"{name}{_UNSAVED}", content)
        self._save(name)

    def _save(self, name: str) -> None:
        if name in self._unread:
            return
        self._tried = time.monotonic()
        content = self._pending[name]
        try:
            write_atomically(self._home / name, content)
        except OSError as error:
            until = "streamd is restarted" if self._spare is None else "the next reboot"
            advice = f"mend that before {until}, which would undo changes"
            self._problems[name] = f"cannot be written: {error.strerror}; {advice}"
            return
        del self._pending[name]
        self._problems.pop(name, None)
        self._settle(name, content)

    def _settle(self, name: str, content: bytes) -> None:
        """Have the copy say what the file does, and none claim to be newer."""
        if self._spare is None:
            return
        unsaved = self._spare / f"{name}{_UNSAVED}"
        if self._version(name) != content:
            _write_copy(self._spare / name, content)
        try:
            unsaved.unlink(missing_ok=True)
        except OSError as error:
            _LOG.error("cannot delete %s: %s", unsaved, error.strerror)

    def _version(self, name: str) -> bytes | None:
        """Return the content of a copy, where there is one."""
        try:
            return _content(self._spare / name) if self._spare is not None else None
        except OSError as error:
            _LOG.warning("cannot read the copy %s: %s", name, error.strerror)
            return None


class Store:
    """The state directory and the runtime directory.

    A file that cannot be read or written is told and does not stop the streams.
    """

    def __init__(self, state: Path, runtime: Path, *, patience: float = PATIENCE) -> None:
        """Take /var/lib/streamd and /run/streamd, and after how many seconds a failed write is tried again."""
        self._state = Durable(state, runtime / FALLBACK, patience=patience)
        self._runtime = Durable(runtime, patience=patience)
        self.allocation = _allocation(self._state.take(_ALLOCATION, _parsed))
        self.stopped = _names(self._state.take(_STOPPED, _parsed))
        """Addresses that an operator stopped."""
        self.settings = self._state.take(_SETTINGS, bytes) or b""
        """What streamd.toml said when it was last without an error."""
        self.routes = _routes(self._state.take(_ROUTES, _parsed))
        """The texts of each route's last good definition."""
        self.started = _names(self._runtime.take(_STARTED, _parsed))
        """Units that were started, or found running, since this boot, and not stopped by streamd."""
        self.restarts = _counts(self._runtime.take(_RESTARTS, _parsed))
        """Automatic restarts of a unit that systemd was told to forget, so that its backoff begins anew."""
        self.slow = _names(self._runtime.take(_SLOW, _parsed))
        """Units that were made to be restarted slowly."""
        self.told = _told(self._runtime.take(_TOLD, _parsed))
        """The failures that hooks were told of, and whose end they were not, by address."""

    @property
    def problems(self) -> tuple[Diagnostic, ...]:
        """Return what of this cannot be kept just now."""
        return self._state.problems + self._runtime.problems

    def retry(self) -> bool:
        """Write what could not be written, unless that was tried a moment ago; tell whether anything is mended."""
        mended = [found.retry() for found in (self._state, self._runtime)]
        return any(mended)

    def digest_key(self) -> bytes:
        """Return the key of the digests of secrets, made at the first call; without it a digest could be guessed.

        Every fingerprint has it: with another key all outputs would restart.
        """
        key = self._state.take(_KEY, lambda content: content if len(content) == _KEY_LENGTH else None, file_first=True)
        if key is None:
            key = secrets.token_bytes(_KEY_LENGTH)
            self._state.keep(_KEY, key)
        return key

    def keep_allocation(self, allocation: Allocation) -> None:
        """Remember the allocation."""
        if allocation != self.allocation:
            self.allocation = allocation
            found = {"groups": allocation.groups, "ports": allocation.ports, "channels": allocation.channels}
            self._state.keep(_ALLOCATION, _json(found))

    def keep_stopped(self, stopped: frozenset[str]) -> None:
        """Remember what an operator stopped."""
        if stopped != self.stopped:
            self.stopped = stopped
            self._state.keep(_STOPPED, _json(sorted(stopped)))

    def keep_settings(self, text: bytes) -> None:
        """Remember what streamd.toml says: were it broken when streamd starts, the defaults would restart much."""
        if text != self.settings:
            self.settings = text
            self._state.keep(_SETTINGS, text)

    def keep_routes(self, routes: Mapping[str, Texts]) -> None:
        """Remember the texts of all good definitions: were a file broken when streamd starts, none would be known."""
        if routes != self.routes:
            self.routes = dict(routes)
            self._state.keep(_ROUTES, _json(self.routes))

    def keep_started(self, started: frozenset[str]) -> None:
        """Remember which units were started."""
        if started != self.started:
            self.started = started
            self._runtime.keep(_STARTED, _json(sorted(started)))

    def keep_slow(self, slow: frozenset[str]) -> None:
        """Remember which units were made to be restarted slowly."""
        if slow != self.slow:
            self.slow = slow
            self._runtime.keep(_SLOW, _json(sorted(slow)))

    def keep_restarts(self, restarts: Mapping[str, int]) -> None:
        """Remember the counts."""
        if restarts != self.restarts:
            self.restarts = dict(restarts)
            self._runtime.keep(_RESTARTS, _json(self.restarts))

    def keep_told(self, told: Mapping[str, Episode]) -> None:
        """Remember of which failures hooks were told."""
        if _told_document(told) != _told_document(self.told):
            self.told = dict(told)
            self._runtime.keep(_TOLD, _json(_told_document(told)))


def _told_document(told: Mapping[str, Episode]) -> dict[str, dict[str, object]]:
    """Return what lasts of episodes: the state alone changes while they do, and its last value is not worth a write."""
    return {
        address: {"since": episode.since, "began": episode.began, "before": episode.before}
        for address, episode in told.items()
    }


def _told(value: Any) -> dict[str, Episode]:  # noqa: ANN401
    found: dict[str, Episode] = {}
    for address, entry in value.items() if isinstance(value, dict) else ():
        since, began, before = (
            (entry.get(key) for key in ("since", "began", "before")) if isinstance(entry, dict) else (None,) * 3
        )
        if isinstance(since, int) and isinstance(began, int) and isinstance(before, str):
            found[address] = Episode(since=since, began=began, before=before, state=State.FAILED, told=True)
    return found


def _routes(value: Any) -> dict[str, Texts]:  # noqa: ANN401
    found: dict[str, Texts] = {}
    for name, pieces in value.items() if isinstance(value, dict) else ():
        texts = tuple((piece[0], piece[1]) for piece in pieces if _is_text(piece)) if isinstance(pieces, list) else ()
        if texts and len(texts) == len(pieces):
            found[name] = texts
    return found


def _is_text(piece: Any) -> bool:  # noqa: ANN401
    return isinstance(piece, list) and len(piece) == 2 and all(isinstance(part, str) for part in piece)


def _names(value: Any) -> frozenset[str]:  # noqa: ANN401
    return frozenset(name for name in value if isinstance(name, str)) if isinstance(value, list) else frozenset()


def _counts(value: Any) -> dict[str, int]:  # noqa: ANN401
    return {key: count for key, count in value.items() if isinstance(count, int)} if isinstance(value, dict) else {}


def _allocation(value: Any) -> Allocation:  # noqa: ANN401
    return Allocation(
        groups=_only(value, "groups", str), ports=_only(value, "ports", int), channels=_only(value, "channels", str)
    )


def _only(value: Any, key: str, kind: type[T]) -> dict[str, T]:  # noqa: ANN401
    """Return the entries of a table in a document that are of the right type."""
    table = value.get(key) if isinstance(value, dict) else None
    return {name: found for name, found in table.items() if isinstance(found, kind)} if isinstance(table, dict) else {}


def _write_copy(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        _LOG.error("cannot write %s: %s", path, error.strerror)
        with suppress(OSError):
            path.unlink(missing_ok=True)  # what it says is outdated, and to delete it takes no space


def _content(path: Path) -> bytes | None:
    """Return what is in a file, None where there is none. Raises: OSError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _parsed(content: bytes) -> Any:  # noqa: ANN401
    try:
        return json.loads(content)
    except ValueError:
        return None


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
