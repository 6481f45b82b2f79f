"""The keys of streamd-web: who may do what over HTTP. streamctl writes the file, the gateway reads it.

A key is 256 random bits, so a plain SHA-256 of it is as good as a slow hash: there is nothing that could be guessed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import tomli_w

from streamd.host.editor import lock
from streamd.host.store import write_atomically
from streamd.route.name import NAME_PATTERN

_LOG: Final = logging.getLogger(__name__)
KEY_FILE: Final = Path("/etc/streamd/web/keys.toml")
PREFIX: Final = "streamd_"
"""What every key begins with, so that whoever finds one, or looks for leaked ones, knows what it is."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MODE: Final = 0o640
_MOST: Final = 1000
_HEADER: Final = "# Written by streamctl web key. The keys themselves are nowhere; take a table away to revoke one.\n\n"


class Role(IntEnum):
    """What a key is good for; each may do what those before it may."""

    OBSERVER = 1
    """Look at everything."""
    OPERATOR = 2
    """Start, stop and restart as well: org.streamd1.control."""
    ADMIN = 3
    """Add, change and remove as well: org.streamd1.configure."""

    def __str__(self) -> str:
        """Return the word for it."""
        return self.name.lower()


ROLES: Final[Mapping[str, Role]] = {str(role): role for role in Role}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key, without the key."""

    name: str
    role: Role
    digest: str
    """SHA-256, in lower-case hexadecimal."""
    created: datetime


class KeyFileError(Exception):
    """The keys cannot be read or written; the text is one sentence for a person."""


def new_secret() -> str:
    """Return a key that nobody has."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def parse_keys(text: str) -> dict[str, Key]:
    """Return the keys of a file by name. Raises: KeyFileError, where one of them is not right: then none counts."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise KeyFileError(f"it is no TOML: {error}") from error
    found = table.pop("key", {})
    if table or not isinstance(found, dict):
        raise KeyFileError("it has something else than tables [key.NAME]")
    return {name: _key(name, entry) for name, entry in found.items()}


def _key(name: str, entry: Any) -> Key:  # noqa: ANN401 (whatever stands there)
    if not NAME_PATTERN.fullmatch(name):
        raise KeyFileError(f"{name!r} is no name of a key")
    match entry:
        case {"role": str(role), "sha256": str(digest), "created": datetime() as created, **rest} if not rest:
            if role in ROLES and _DIGEST.fullmatch(digest):
                return Key(name=name, role=ROLES[role], digest=digest, created=created)
    raise KeyFileError(f"the key {name} needs a role out of {', '.join(ROLES)}, its sha256, created, and nothing else")


def render_keys(keys: Mapping[str, Key]) -> str:
    """Return the text of a file with these keys."""
    tables = {key.name: {"role": str(key.role), "sha256": key.digest, "created": key.created} for key in keys.values()}
    return _HEADER + tomli_w.dumps({"key": tables} if tables else {})


def read_keys(path: Path = KEY_FILE) -> dict[str, Key]:
    """Return the keys by name; none where there is no file. Raises: KeyFileError."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_mode & 0o022:
                raise KeyFileError(f"{path} can be written by others than its owner; run: chmod 0640 {path}")
            if found.st_uid not in {0, os.geteuid()}:
                raise KeyFileError(f"{path} does not belong to root")
            return parse_keys(file.read(1 << 20).decode())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise KeyFileError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise KeyFileError(f"{path}: it is not UTF-8") from error


def add_key(name: str, role: Role, path: Path = KEY_FILE) -> str:
    """Make a key and return it; what is kept does not tell it again. Raises: KeyFileError."""
    if not NAME_PATTERN.fullmatch(name):
        raise KeyFileError(
            f'"{name}" is no name of a key: 1 to 63 of a to z, 0 to 9, - and _, with a letter or digit at both ends'
        )
    with _changing(path) as keys:
        if name in keys:
            raise KeyFileError(f'there is a key "{name}" already; revoke it first, or take another name')
        if len(keys) >= _MOST:
            raise KeyFileError(f"there are {_MOST} keys already; revoke some")
        secret = new_secret()
        created = datetime.now(UTC).replace(microsecond=0)
        keys[name] = Key(name=name, role=role, digest=digest_of(secret), created=created)
    return secret


def revoke_key(name: str, path: Path = KEY_FILE) -> bool:
    """Take a key away and tell whether there was one. Raises: KeyFileError."""
    with _changing(path) as keys:
        return keys.pop(name, None) is not None


@contextmanager
def _changing(path: Path) -> Iterator[dict[str, Key]]:
    """Give the keys for a change that nobody else makes at the same time, and write them. Raises: KeyFileError."""
    folder = path.parent
    if not folder.is_dir():
        raise KeyFileError(f"there is no directory {folder}; it comes with the package streamd-web")
    try:
        with lock(folder) as locked:
            if not locked:
                raise KeyFileError("somebody else is changing the keys, try again")
            before = read_keys(path)
            keys = dict(before)
            yield keys
            if keys != before:
                # The group of the directory is the gateway's: it reads the file, and cannot write it.
                write_atomically(path, render_keys(keys).encode(), _MODE, (os.geteuid(), folder.stat().st_gid))
    except OSError as error:
        raise KeyFileError(f"cannot change {path}: {error.strerror}; only root may") from error


class KeyRing:
    """The keys of a file as they are now: what is taken out of it is good for nothing from then on."""

    def __init__(self, path: Path = KEY_FILE) -> None:
        self._path = path
        self._stamp: object = None
        self._by_digest: dict[str, Key] = {}
        self._by_name: dict[str, Key] = {}

    def find(self, secret: str) -> Key | None:
        """Return the key that a secret is, if it is one."""
        self._look()
        # What a look-up by the digest could tell by its timing is of no use: nobody can make a secret to a digest.
        return self._by_digest.get(digest_of(secret))

    def named(self, name: str) -> Key | None:
        """Return a key by its name."""
        self._look()
        return self._by_name.get(name)

    def _look(self) -> None:
        """Read the file where it is another than before; while it is not right, there are no keys."""
        try:
            found = self._path.stat()
            stamp: object = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
        except OSError as error:
            stamp = error.errno
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._by_name = read_keys(self._path)
        except KeyFileError as error:
            _LOG.error("nobody is let in: %s", error)
            self._by_name = {}
        self._by_digest = {key.digest: key for key in self._by_name.values()}
