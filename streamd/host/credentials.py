"""The credential store: one secret a file, and the presets that carry secrets to the units."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from streamd.host.store import write_atomically
from streamd.plan.ffmpeg import PresetLine, render_preset
from streamd.plan.mediamtx import PLAIN_PASSWORD, Publisher, password_digest
from streamd.plan.unit import PRESET_DIRECTORY, DesiredUnit
from streamd.route.fields import CREDENTIAL_PATTERN
from streamd.route.model import Credential, PublishSource

_LOG: Final = logging.getLogger(__name__)
_LARGEST: Final = 4096
"""Bytes; a secret is a line of text."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The store as it was found; holds no secret."""

    problems: Mapping[str, str] = field(default_factory=dict)
    """Every credential's name, with what is wrong with it, or nothing."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """The keyed digest of each one that can be used."""
    plain: frozenset[str] = frozenset()
    """Those whose secret may stand in a URL and between colons as it is."""
    readable: bool = True
    """Whether the store could be looked into at all."""


def scan(directory: Path, key: bytes) -> Credentials:
    """Look at all credentials. `key` keeps a digest from being guessed from the secret."""
    problems: dict[str, str] = {}
    digests: dict[str, str] = {}
    plain = set()
    try:
        names = sorted(entry.name for entry in os.scandir(directory) if not entry.name.startswith("."))
    except FileNotFoundError:
        return Credentials()
    except OSError:
        return Credentials(readable=False)
    for name in names:
        secret, problems[name] = read_secret(directory / name)
        if not problems[name]:
            digests[name] = hmac.new(key, secret.encode(), hashlib.sha256).hexdigest()[:32]
            if PLAIN_PASSWORD.fullmatch(secret):
                plain.add(name)
    return Credentials(problems=problems, digests=digests, plain=frozenset(plain))


def read_secret(path: Path) -> tuple[str, str]:
    """Return a secret and what is wrong with its file, one of them empty. One trailing line end is no part of it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return "", "is no regular file"
            if status.st_mode & 0o077:
                return "", f"can be read by others (mode {status.st_mode & 0o7777:04o}), run: chmod 0600 {path}"
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(_LARGEST + 1)
        finally:
            # Not by the file object: of a directory there is none.
            os.close(descriptor)
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    if not content:
        return "", "is empty"
    if len(content) > _LARGEST:
        return "", f"is longer than {_LARGEST} bytes"
    try:
        return content.decode(), ""
    except UnicodeDecodeError:
        return "", "is no UTF-8 text"


def publishers(sources: Mapping[str, PublishSource], directory: Path) -> dict[str, Publisher]:
    """Return who may publish to which route; one whose password cannot be read may not."""
    found = {}
    for name, source in sources.items():
        password, problem = read_secret(directory / source.password.name)
        if not problem:
            found[name] = Publisher(user=source.user, digest=password_digest(password))
    return found


def set_credential(directory: Path, name: str, secret: str) -> str:
    """Put a secret into the store, replacing one of that name; return what prevents it, which never repeats it."""
    if not CREDENTIAL_PATTERN.fullmatch(name):
        return "the name of a credential must be of letters, digits, dots, dashes and underscores, 64 at most"
    try:
        content = secret.encode()
    except UnicodeEncodeError:
        return f'the secret for "{name}" is no UTF-8 text'
    if not content:
        return f'the secret for "{name}" is empty'
    if len(content) > _LARGEST:
        return f'the secret for "{name}" is longer than {_LARGEST} bytes'
    if any(char in secret for char in "\0\r\n"):
        return f'the secret for "{name}" must be one line'
    try:
        write_atomically(directory / name, content + b"\n", 0o600)
    except OSError as error:
        return f"cannot write {directory / name}: {error.strerror}"
    return ""


def write_preset(unit: DesiredUnit, directory: Path) -> str:
    """Write the secret FFmpeg options of a unit to where its LoadCredential= looks; return what prevents it.

    It must be there at every automatic restart, so it is replaced in one move and stays until the unit is gone.
    """
    secrets: dict[str, str] = {}
    for line in unit.command.preset:
        if isinstance(line.value, Credential):
            secret, problem = read_secret(directory / line.value.name)
            if problem:
                return f'credential "{line.value.name}" {problem}'
            secrets[line.value.name] = secret
    return _write(unit, unit.command.preset, secrets)


def _write(unit: DesiredUnit, lines: tuple[PresetLine, ...], secrets: Mapping[str, str]) -> str:
    rendered = render_preset(lines, secrets)
    if rendered.problem:
        return rendered.problem
    try:
        write_atomically(Path(unit.preset_path), rendered.text.encode())
    except OSError as error:
        return f"cannot write {unit.preset_path}: {error.strerror}"
    return ""


def drop_presets(units: Collection[str]) -> None:
    """Delete the presets of all units but these."""
    try:
        paths = list(Path(PRESET_DIRECTORY).iterdir())
    except FileNotFoundError:
        return
    for path in paths:
        if path.name not in units:
            try:
                path.unlink()
            except OSError as error:
                _LOG.warning("cannot delete %s: %s", path, error.strerror)
