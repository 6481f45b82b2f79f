"""The settings of streamd-web, out of /etc/streamd/web/web.toml. Parsing is pure."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from streamd.route.diagnostic import nearest
from streamd.web.address import UNIX, plain

FILE: Final = Path("/etc/streamd/web/web.toml")


class SettingsError(Exception):
    """The settings are not right; the text is one sentence for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an administrator may set."""

    origins: frozenset[str] = frozenset()
    """Origins of other pages that may use the API, with a key of their own."""
    proxies: frozenset[str] = frozenset()
    """Addresses, or UNIX, whose X-Forwarded-For and X-Forwarded-Proto are believed."""


def parse_settings(text: str) -> Settings:
    """Return the settings of a file. Raises: SettingsError."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"it is no TOML: {error}") from error
    known = {"origins": _origin, "proxies": _proxy}
    found: dict[str, frozenset[str]] = {}
    for key, value in table.items():
        if key not in known:
            raise SettingsError(f"there is no key {key}{nearest(key, known)}")
        if not isinstance(value, list):
            raise SettingsError(f"{key} is a list of strings, in square brackets")
        found[key] = frozenset(known[key](item) for item in value)
    return Settings(**found)


def _origin(value: Any) -> str:  # noqa: ANN401 (whatever stands there)
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        port = parts.port if parts else None
    except ValueError:
        parts = port = None
    if parts and parts.scheme in {"http", "https"} and parts.hostname and value.isascii():
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        origin = f"{parts.scheme}://{host}{f':{port}' if port is not None else ''}"
        if value.lower() == origin:
            return origin
    raise SettingsError(f"origins: {value!r} is no origin; write it as https://noc.example.net, with nothing behind")


def _proxy(value: Any) -> str:  # noqa: ANN401
    try:
        return UNIX if value == UNIX else plain(value if isinstance(value, str) else "")
    except ValueError as error:
        text = f'proxies: {value!r} is no address; write it as 127.0.0.1, or "{UNIX}" for a Unix socket'
        raise SettingsError(text) from error


def read_settings(path: Path = FILE) -> Settings:
    """Return the settings; the defaults where there is no file. Raises: SettingsError."""
    try:
        return parse_settings(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
