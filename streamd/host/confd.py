"""The configuration on disk: streamd.toml and the route files of /etc, /run and /usr/lib, read as systemd reads its."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from streamd.host.credentials import Credentials, scan
from streamd.route.claims import with_port
from streamd.route.crosscheck import crosscheck
from streamd.route.diagnostic import Diagnostic, Span
from streamd.route.model import Route, Settings
from streamd.route.parse import RouteFile, parse_route
from streamd.route.settings import parse_settings

SETTINGS_FILE: Final = "etc/streamd/streamd.toml"
CREDENTIALS_DIRECTORY: Final = "etc/streamd/credentials"
ROUTE_DIRECTORIES: Final = ("etc/streamd/conf.d", "run/streamd/conf.d", "usr/lib/streamd/conf.d")
"""The first that has a name wins over the later ones."""
_LARGEST: Final = 1 << 20
"""Bytes of one file; a larger one is refused by the parser."""

_Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that was read, with all that is wrong with it."""

    settings: Settings = field(default_factory=Settings)
    files: tuple[RouteFile, ...] = ()
    """Every route's file after the cross-check, sorted by name."""
    credentials: Credentials = field(default_factory=Credentials)
    own_diagnostics: tuple[Diagnostic, ...] = ()
    """Of streamd.toml, and of files that could not be read."""
    settings_broken: bool = False

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Return all errors of all files."""
        return self.own_diagnostics + tuple(found for file in self.files for found in file.diagnostics)


class Reader:
    """Reads the configuration, parsing again only what changed since the last time."""

    def __init__(self, root: str = "/", digest_key: bytes = b"") -> None:
        """Take the root directory, and the key of the credentials' digests."""
        self._root = Path(root)
        self._digest_key = digest_key
        self._parsed: dict[Path, tuple[_Stamp, Settings, RouteFile]] = {}

    def read(
        self,
        *,
        incumbents: Mapping[str, Route] | None = None,
        ports: Mapping[str, int] | None = None,
        last_settings: Settings | None = None,
    ) -> Configuration:
        """Read everything.

        Args:
            incumbents: the last good definition of each route; where two files want one port, it wins.
            ports: the port that each route on an `auto` port was given.
            last_settings: what to go on with while streamd.toml is broken.
        """
        settings, found, broken = self._settings(last_settings)
        own = list(found)
        files: list[RouteFile] = []
        seen: set[Path] = set()
        for path in route_paths(self._root, own):
            seen.add(path)
            files.append(self._route(path, settings))
        for gone in self._parsed.keys() - seen:
            del self._parsed[gone]
        credentials = scan(self._root / CREDENTIALS_DIRECTORY, self._digest_key)
        problems = credentials.problems if credentials.readable else _Unknown()
        checked = _crosschecked(files, incumbents or {}, ports or {}, problems)
        return Configuration(
            settings=settings,
            files=checked,
            credentials=credentials,
            own_diagnostics=tuple(own),
            settings_broken=broken,
        )

    def _settings(self, last: Settings | None) -> tuple[Settings, tuple[Diagnostic, ...], bool]:
        path = self._root / SETTINGS_FILE
        content, _stamp, problem = _read(path)
        if problem == "does not exist":
            return Settings(), (), False
        if problem:
            return last or Settings(), (_unreadable(path, problem),), True
        settings, diagnostics = parse_settings(str(path), content)
        if diagnostics and last is not None:
            return last, diagnostics, True
        return settings, diagnostics, bool(diagnostics)

    def _route(self, path: Path, settings: Settings) -> RouteFile:
        content, stamp, problem = _read(path)
        if problem:
            self._parsed.pop(path, None)
            return unreadable_route(path, problem)
        cached = self._parsed.get(path)
        if cached and cached[0] == stamp and cached[1] == settings:
            return cached[2]
        parsed = parse_route(str(path), content, settings)
        self._parsed[path] = (stamp, settings, parsed)
        return parsed


def _crosschecked(
    files: list[RouteFile], incumbents: Mapping[str, Route], ports: Mapping[str, int], credentials: Mapping[str, str]
) -> tuple[RouteFile, ...]:
    """Check the files against each other; a port that was allocated counts as if its file named it."""
    resolved = [replace(file, route=with_port(file.route, ports)) if file.route else file for file in files]
    before = {name: with_port(route, ports) for name, route in incumbents.items()}
    checked = crosscheck(resolved, incumbents=before, credentials=credentials)
    return tuple(
        replace(after, route=file.route) if after.route else after for file, after in zip(files, checked, strict=True)
    )


class _Unknown(dict[str, str]):
    """Stands for a store that may not be looked into: whatever name is asked for, nothing is known against it."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return ""

    def get(self, name: str, default: str | None = None) -> str:  # type: ignore[override]
        del name, default
        return ""


def read_configuration(root: str = "/") -> Configuration:
    """Read the configuration once, as `streamctl check` does without the daemon."""
    return Reader(root).read()


def read_files(paths: Iterable[str], root: str = "/") -> Configuration:
    """Read these route files, checked against each other and the host's settings and credentials."""
    whole = read_configuration(root)
    files = []
    for path in paths:
        content, _stamp, problem = _read(Path(path))
        if problem:
            files.append(unreadable_route(Path(path), problem))
        else:
            files.append(parse_route(path, content, whole.settings))
    problems = whole.credentials.problems if whole.credentials.readable else _Unknown()
    checked = crosscheck(files, incumbents={}, credentials=problems)
    return replace(whole, files=checked, own_diagnostics=())


def route_paths(root: Path, problems: list[Diagnostic]) -> list[Path]:
    """Return the file of each route, sorted by name: /etc wins over /run over /usr/lib, a link to /dev/null masks."""
    chosen: dict[str, Path] = {}
    for directory in ROUTE_DIRECTORIES:
        path = root / directory
        try:
            entries = sorted(path.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            problems.append(_unreadable(path, error.strerror or "cannot be read"))
            continue
        for entry in entries:
            if entry.suffix == ".toml" and not entry.name.startswith("."):
                chosen.setdefault(entry.name, entry)
    return [path for _name, path in sorted(chosen.items()) if not _is_masked(path)]


def unreadable_route(path: Path, problem: str) -> RouteFile:
    """Return what stands for a route file that cannot be read."""
    return RouteFile(
        path=str(path), name=path.stem, text="", route=None, diagnostics=(_unreadable(path, problem),), places={}
    )


def _is_masked(path: Path) -> bool:
    return path.is_symlink() and os.path.realpath(path) == os.devnull


def _read(path: Path) -> tuple[bytes, _Stamp, str]:
    """Return a regular file's bytes and stamp, or what prevents it; never blocks on a FIFO or a device."""
    nothing: _Stamp = (0, 0, 0, 0)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return b"", nothing, "is no regular file"
            stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            return file.read(_LARGEST + 1), stamp, ""
    except FileNotFoundError:
        return b"", nothing, "does not exist"
    except OSError as error:
        return b"", nothing, f"cannot be read: {error.strerror}"


def _unreadable(path: Path, problem: str) -> Diagnostic:
    return Diagnostic(path=str(path), span=Span(1, 1), key="", message=f"the file {problem}")
