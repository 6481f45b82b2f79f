"""The configuration on disk: streamd.toml and the route files of /etc, /run and /usr/lib, read as systemd reads its."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from streamd.host.credentials import Credentials, scan
from streamd.route.claims import with_port
from streamd.route.crosscheck import crosscheck
from streamd.route.diagnostic import Diagnostic
from streamd.route.document import Document, read_document, unreadable_document
from streamd.route.model import Route, Settings
from streamd.route.parse import SUFFIX, RouteFile, parse_pieces, unreadable_route
from streamd.route.settings import parse_settings, settings_credentials

SETTINGS_FILE: Final = "etc/streamd/streamd.toml"
CREDENTIALS_DIRECTORY: Final = "etc/streamd/credentials"
ROUTE_DIRECTORIES: Final = ("etc/streamd/conf.d", "run/streamd/conf.d", "usr/lib/streamd/conf.d")
"""The first that has a name wins over the later ones."""
DROPIN_SUFFIX: Final = ".d"
"""What follows a route file's name in the name of the folder of its drop-ins."""
LARGEST: Final = 1 << 20
"""Bytes of one file; a larger one is refused by the parser."""

_Stamp = tuple[int, int, int, int]
_Texts = tuple[tuple[Path, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Supposition:
    """What is to be judged as if it were so."""

    routes: Mapping[str, Sequence[Document]] = field(default_factory=dict)
    """The pieces that some routes would have, none for a route that would be gone."""
    settings: bytes | None = None
    """What streamd.toml would say; None for what it says."""


NOTHING: Final = Supposition()


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All that was read, with all that is wrong with it."""

    settings: Settings = field(default_factory=Settings)
    files: tuple[RouteFile, ...] = ()
    """Every route's file after the cross-check, sorted by name."""
    credentials: Credentials = field(default_factory=Credentials)
    own_diagnostics: tuple[Diagnostic, ...] = ()
    """Of streamd.toml, of directories that could not be read, and of drop-ins without a route."""
    settings_broken: bool = False
    settings_text: bytes = b""
    """What streamd.toml says, where it is not broken."""
    unlisted: bool = False
    """Some directory of routes could not be looked into: what is missing here may well stand there."""

    def with_missing(self, names: Iterable[str]) -> Configuration:
        """Return the same with these routes as broken ones, where nobody can tell whether they are gone."""
        if not self.unlisted:
            return self
        missing = set(names) - {file.name for file in self.files}
        paths = [f"/{ROUTE_DIRECTORIES[0]}/{name}{SUFFIX}" for name in missing]
        # Without a diagnostic each: that of the directory says it all.
        stand_ins = [replace(unreadable_route(path, "cannot be looked for"), diagnostics=()) for path in paths]
        return replace(self, files=tuple(sorted((*self.files, *stand_ins), key=lambda file: file.name)))

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
        self._parsed: dict[Path, tuple[_Texts, Settings, RouteFile]] = {}

    def recall(self, texts: Sequence[tuple[str, str]], settings: Settings) -> RouteFile:
        """Return a route by the paths and texts of its pieces; files that say the same are not parsed again."""
        pieces = tuple((Path(path), text.encode(errors="replace")) for path, text in texts)
        parsed = parse_pieces([read_document(str(path), content) for path, content in pieces], settings)
        self._parsed[pieces[0][0]] = (pieces, settings, parsed)
        return parsed

    def read(
        self,
        *,
        incumbents: Mapping[str, Route] | None = None,
        ports: Mapping[str, int] | None = None,
        last_settings: Settings | None = None,
        suppose: Supposition = NOTHING,
    ) -> Configuration:
        """Read everything.

        Args:
            incumbents: the last good definition of each route; where two files want one port, it wins.
            ports: the port that each route on an `auto` port was given.
            last_settings: what to go on with while streamd.toml is broken.
            suppose: what is to be judged as if it were so.
        """
        settings, found, text = self._settings(last_settings, suppose.settings)
        own = list(found)
        files = [parse_pieces(pieces, settings) for pieces in suppose.routes.values() if pieces]
        seen: set[Path] = set()
        for found_route in route_paths(self._root, own):
            seen.add(found_route.main)
            if found_route.main.stem not in suppose.routes:
                files.append(self._route(found_route, settings))
        files.sort(key=lambda file: file.path.rpartition("/")[2])
        for gone in self._parsed.keys() - seen:
            del self._parsed[gone]
        credentials = scan(self._root / CREDENTIALS_DIRECTORY, self._digest_key)
        problems = credentials.problems if credentials.readable else _Unknown()
        path = self._root / SETTINGS_FILE
        own += settings_credentials(str(path), read_regular(path)[0], settings, problems)
        checked = _crosschecked(files, incumbents or {}, ports or {}, problems)
        return Configuration(
            settings=settings,
            files=checked,
            credentials=credentials,
            own_diagnostics=tuple(own),
            settings_broken=text is None,
            settings_text=text or b"",
            unlisted=any(found.path == str(self._root / directory) for found in own for directory in ROUTE_DIRECTORIES),
        )

    def _settings(
        self, last: Settings | None, supposed: bytes | None
    ) -> tuple[Settings, tuple[Diagnostic, ...], bytes | None]:
        """Return the settings, what is wrong with their file, and its text where nothing is."""
        path = self._root / SETTINGS_FILE
        content, problem = supposed or b"", ""
        if supposed is None:
            content, _stamp, problem = read_regular(path)
        if problem == "does not exist":
            return Settings(), (), b""
        if problem:
            return last or Settings(), unreadable_document(str(path), problem).diagnostics, None
        settings, diagnostics = parse_settings(str(path), content)
        if diagnostics:
            return last or settings, diagnostics, None
        return settings, (), content

    def _route(self, paths: RoutePaths, settings: Settings) -> RouteFile:
        contents = [(path, *read_regular(path)) for path in (paths.main, *paths.dropins)]
        # By content, not by time stamps: two writes of one size within a tick of the kernel's clock have the same.
        texts = tuple((path, content) for path, content, _stamp, problem in contents if not problem)
        if len(texts) < len(contents):
            self._parsed.pop(paths.main, None)
            return _parsed(contents, settings)
        cached = self._parsed.get(paths.main)
        if cached and cached[0] == texts and cached[1] == settings:
            return cached[2]
        parsed = _parsed(contents, settings)
        self._parsed[paths.main] = (texts, settings, parsed)
        return parsed


def _parsed(contents: Sequence[tuple[Path, bytes, _Stamp, str]], settings: Settings) -> RouteFile:
    """Return the route in a main file and its drop-ins; one that cannot be read makes it a broken one."""
    path, _content, _stamp, problem = contents[0]
    if problem:
        return unreadable_route(str(path), problem)
    return parse_pieces([_document(path, content, problem) for path, content, _stamp, problem in contents], settings)


def _document(path: Path, content: bytes, problem: str) -> Document:
    return unreadable_document(str(path), problem) if problem else read_document(str(path), content)


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
    """Read these route files, each with its drop-ins, checked against each other and the settings and credentials.

    A drop-in stands for the route that it belongs to, whose file may be beside its folder or where the host has it.
    """
    whole = read_configuration(root)
    found: dict[Path, RoutePaths] = {}
    for path in paths:
        route = _route_of_dropin(Path(path), Path(root)) or _route_of_main(Path(path), Path(root))
        found.setdefault(route.main, route)
    files = [
        _parsed([(path, *read_regular(path)) for path in (route.main, *route.dropins)], whole.settings)
        for route in found.values()
    ]
    problems = whole.credentials.problems if whole.credentials.readable else _Unknown()
    checked = crosscheck(files, incumbents={}, credentials=problems)
    return replace(whole, files=checked, own_diagnostics=())


@dataclass(frozen=True, slots=True)
class RoutePaths:
    """The files of a route."""

    main: Path
    dropins: tuple[Path, ...] = ()
    """In the order in which they are applied; a folder that may not be looked into stands for what is in it."""


def route_paths(root: Path, problems: list[Diagnostic]) -> list[RoutePaths]:
    """Return the files of each route, sorted by name: /etc wins over /run over /usr/lib, a link to /dev/null masks."""
    mains: dict[str, Path] = {}
    folders: dict[str, list[Path]] = {}
    for directory in ROUTE_DIRECTORIES:
        path = root / directory
        try:
            entries = _visible(path)
        except OSError as error:
            problems += unreadable_document(str(path), _cannot_be_read(error)).diagnostics
            continue
        for entry in entries:
            if entry.suffix == SUFFIX:
                mains.setdefault(entry.name, entry)
            elif entry.name.endswith(SUFFIX + DROPIN_SUFFIX):
                folders.setdefault(entry.name.removesuffix(DROPIN_SUFFIX), []).append(entry)
    for name in sorted(folders.keys() - mains.keys()):
        for path in dropin_paths(folders[name]):
            problem = f"is a drop-in of {name}, and there is none in any conf.d, write one or delete this"
            problems += unreadable_document(str(path), problem).diagnostics
    return [
        RoutePaths(path, dropin_paths(folders.get(name, ())))
        for name, path in sorted(mains.items())
        if not is_masked(path)
    ]


def dropin_paths(folders: Iterable[Path]) -> tuple[Path, ...]:
    """Return the drop-ins in these folders, the first of which wins, in the order of their names."""
    chosen: dict[str, Path] = {}
    for folder in folders:
        try:
            entries = _visible(folder)
        except OSError:
            entries = [folder]  # the route is then told to be broken by what reads it
        for entry in entries:
            if entry.suffix == SUFFIX or entry == folder:
                chosen.setdefault(entry.name, entry)
    return tuple(path for _name, path in sorted(chosen.items()) if not is_masked(path))


def _visible(directory: Path) -> list[Path]:
    """Return what is in a directory that may not be there. Raises: OSError."""
    try:
        return sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _route_of_main(main: Path, root: Path) -> RoutePaths:
    """Return a route file and its drop-ins: those beside it, and for a file of the host's all that apply to it."""
    folder = main.with_name(main.name + DROPIN_SUFFIX) if main.name else main
    places = [root / directory / folder.name for directory in ROUTE_DIRECTORIES]
    return RoutePaths(main, dropin_paths(places if folder.absolute() in places else [folder]))


def _route_of_dropin(path: Path, root: Path) -> RoutePaths | None:
    """Return the route that a drop-in belongs to; None where it is none."""
    folder = path.absolute().parent
    if not folder.name.endswith(SUFFIX + DROPIN_SUFFIX):
        return None
    name = folder.name.removesuffix(DROPIN_SUFFIX)
    main = folder.with_name(name)
    if not main.exists():
        main = next((found.main for found in route_paths(root, []) if found.main.name == name), main)
    places = [root / directory / folder.name for directory in ROUTE_DIRECTORIES]
    return RoutePaths(main, dropin_paths(places if folder in places else [folder]))


def is_masked(path: Path) -> bool:
    """Return whether a file stands for none, and hides those of the same name in later directories."""
    return path.is_symlink() and os.path.realpath(path) == os.devnull


def _cannot_be_read(error: OSError) -> str:
    return f"cannot be read: {error.strerror}"


def read_regular(path: Path) -> tuple[bytes, _Stamp, str]:
    """Return a regular file's bytes and stamp, or what prevents it; never blocks on a FIFO or a device."""
    nothing: _Stamp = (0, 0, 0, 0)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return b"", nothing, "is no regular file"
            stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(LARGEST + 1), stamp, ""
        finally:
            # Not by the file object: of a directory there is none.
            os.close(descriptor)
    except FileNotFoundError:
        return b"", nothing, "does not exist"
    except OSError as error:
        return b"", nothing, _cannot_be_read(error)
