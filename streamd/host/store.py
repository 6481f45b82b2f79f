"""What streamd remembers on disk: allocations and stopped outputs over a reboot, started units until one."""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from streamd.plan.allocation import Allocation

_LOG: Final = logging.getLogger(__name__)
T = TypeVar("T")


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file so that a reader, or a crash, sees the old content or the new, which lasts. Raises: OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
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


class Store:
    """The state directory and the runtime directory.

    A file that cannot be written is logged and does not stop the streams: what is remembered is then in memory alone.
    """

    def __init__(self, state: Path, runtime: Path) -> None:
        """Take /var/lib/streamd and /run/streamd."""
        self._allocation_path = state / "allocation.json"
        self._stopped_path = state / "stopped.json"
        self._key_path = state / "digest.key"
        self._started_path = runtime / "started.json"
        self._restarts_path = runtime / "restarts.json"
        self._slow_path = runtime / "slow.json"
        self.allocation = _read_allocation(self._allocation_path)
        self.stopped = _read_names(self._stopped_path)
        """Addresses that an operator stopped."""
        self.started = _read_names(self._started_path)
        """Units that were started, or found running, since this boot, and not stopped by streamd."""
        self.restarts = _read_counts(self._restarts_path)
        """Automatic restarts of a unit that systemd was told to forget, so that its backoff begins anew."""
        self.slow = _read_names(self._slow_path)
        """Units that were made to be restarted slowly."""

    def digest_key(self) -> bytes:
        """Return the key of the digests of secrets, made at the first call; without it a digest could be guessed."""
        try:
            key = self._key_path.read_bytes()
        except FileNotFoundError:
            key = b""
        except OSError as error:
            _LOG.warning("cannot read %s: %s", self._key_path, error.strerror)
            key = b""
        if len(key) != 32:
            key = secrets.token_bytes(32)
            _write(self._key_path, key)
        return key

    def keep_allocation(self, allocation: Allocation) -> None:
        """Remember the allocation."""
        if allocation != self.allocation:
            self.allocation = allocation
            found = {"groups": allocation.groups, "ports": allocation.ports, "channels": allocation.channels}
            _write_json(self._allocation_path, found)

    def keep_stopped(self, stopped: frozenset[str]) -> None:
        """Remember what an operator stopped."""
        if stopped != self.stopped:
            self.stopped = stopped
            _write_json(self._stopped_path, sorted(stopped))

    def keep_started(self, started: frozenset[str]) -> None:
        """Remember which units were started."""
        if started != self.started:
            self.started = started
            _write_json(self._started_path, sorted(started))

    def keep_slow(self, slow: frozenset[str]) -> None:
        """Remember which units were made to be restarted slowly."""
        if slow != self.slow:
            self.slow = slow
            _write_json(self._slow_path, sorted(slow))

    def keep_restarts(self, restarts: Mapping[str, int]) -> None:
        """Remember the counts."""
        if restarts != self.restarts:
            self.restarts = dict(restarts)
            _write_json(self._restarts_path, self.restarts)


def _read(path: Path) -> Any:  # noqa: ANN401
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _LOG.warning("cannot read %s, going on without it: %s", path, error)
        return None


def _read_names(path: Path) -> frozenset[str]:
    value = _read(path)
    return frozenset(name for name in value if isinstance(name, str)) if isinstance(value, list) else frozenset()


def _read_counts(path: Path) -> dict[str, int]:
    value = _read(path)
    return {key: count for key, count in value.items() if isinstance(count, int)} if isinstance(value, dict) else {}


def _read_allocation(path: Path) -> Allocation:
    value = _read(path)
    return Allocation(
        groups=_only(value, "groups", str), ports=_only(value, "ports", int), channels=_only(value, "channels", str)
    )


def _only(value: Any, key: str, kind: type[T]) -> dict[str, T]:  # noqa: ANN401
    """Return the entries of a table in a document that are of the right type."""
    table = value.get(key) if isinstance(value, dict) else None
    return {name: found for name, found in table.items() if isinstance(found, kind)} if isinstance(table, dict) else {}


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        _LOG.error("cannot write %s: %s", path, error.strerror)


def _write_json(path: Path, value: object) -> None:
    _write(path, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")
