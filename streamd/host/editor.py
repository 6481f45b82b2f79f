"""Changes of routes on disk: decided afresh, checked against all other files, then written so that each lasts."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamd.host.confd import (
    DROPIN_SUFFIX,
    ROUTE_DIRECTORIES,
    Configuration,
    Reader,
    Supposition,
    dropin_paths,
    is_masked,
    read_regular,
)
from streamd.host.store import sync_directory, write_atomically
from streamd.route.change import Change, Kind, Refusal, check_change, route_of
from streamd.route.diagnostic import Diagnostic
from streamd.route.document import Document, read_document, unreadable_document
from streamd.route.edit import decide
from streamd.route.model import Route, Settings
from streamd.route.parse import SUFFIX
from streamd.route.pieces import DROPIN, Action, Delete, Edit, Found, Mask, Write, is_signed

_LOG: Final = logging.getLogger(__name__)
_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o755
_PATIENCE: Final = 5.0
"""Seconds that a writer waits for another."""
_ATTEMPTS: Final = 5

_Stamps = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """A change that was made."""

    actions: tuple[Action, ...]
    """What was written and deleted; nothing where all was as asked for already."""


@dataclass(frozen=True, slots=True)
class Supposed:
    """A change that could be made."""

    route: str
    pieces: tuple[Document, ...]
    """Of the route, as they would be; none where it would be gone."""


class Editor:
    """Makes changes of routes. Blocks while it reads and writes, and for some seconds while another writes."""

    def __init__(self, root: str = "/") -> None:
        """Take the root directory."""
        self._root = Path(root)
        self._directory = self._root / ROUTE_DIRECTORIES[0]
        self._reader = Reader(root)

    def apply(
        self,
        change: Change,
        *,
        incumbents: Mapping[str, Route] | None = None,
        ports: Mapping[str, int] | None = None,
        last_settings: Settings | None = None,
    ) -> Applied | Refusal:
        """Make a change, or none of it.

        Args:
            change: what to change.
            incumbents: as for Reader.read; by default what the files define before the change.
            ports: as for Reader.read.
            last_settings: as for Reader.read.
        """
        if refusal := check_change(change):
            return refusal
        name = route_of(change)
        try:
            self._directory.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            with lock(self._directory) as locked:
                if not locked:
                    return Refusal(Kind.BUSY, "somebody else is changing the routes, try again")
                for _ in range(_ATTEMPTS):
                    found, stamps = self._find(name)
                    edit = self._judge(change, found, incumbents, ports, last_settings)
                    if isinstance(edit, Refusal):
                        return edit
                    if self._find(name)[1] == stamps:  # else an editor was faster, and must not lose what it wrote
                        _carry_out(edit)
                        return Applied(edit.actions)
        except OSError as error:
            return Refusal(Kind.FAILED, f"cannot change {error.filename or self._directory}: {error.strerror}")
        return Refusal(Kind.BUSY, f"the files of route {name} keep changing, try again")

    def suppose(
        self,
        change: Change,
        *,
        incumbents: Mapping[str, Route] | None = None,
        ports: Mapping[str, int] | None = None,
        last_settings: Settings | None = None,
    ) -> Supposed | Refusal:
        """Return what would come of a change, without making it; the arguments are those of `apply`."""
        if refusal := check_change(change):
            return refusal
        name = route_of(change)
        try:
            edit = self._judge(change, self._find(name)[0], incumbents, ports, last_settings)
        except OSError as error:
            return Refusal(Kind.FAILED, f"cannot read {error.filename or self._directory}: {error.strerror}")
        return edit if isinstance(edit, Refusal) else Supposed(name, tuple(edit.pieces))

    def _judge(
        self,
        change: Change,
        found: Found,
        incumbents: Mapping[str, Route] | None,
        ports: Mapping[str, int] | None,
        last_settings: Settings | None,
    ) -> Edit | Refusal:
        """Decide what a change means for these files, and whether all others agree."""
        edit = decide(change, found)
        if isinstance(edit, Refusal):
            return edit
        before = self._reader.read(incumbents=incumbents, ports=ports, last_settings=last_settings)
        good = {file.name: file.route for file in before.files if file.route}
        after = self._reader.read(
            incumbents={**(incumbents or {}), **good},
            ports=ports,
            last_settings=last_settings,
            suppose=Supposition(routes={route_of(change): edit.pieces}),
        )
        objection = _objection(route_of(change), before, after) if edit.actions else None
        return objection or edit

    def _find(self, name: str) -> tuple[Found, _Stamps]:
        """Return the files of a route, and what tells whether they changed. The name must be a checked one."""
        candidates = [self._root / directory / f"{name}{SUFFIX}" for directory in ROUTE_DIRECTORIES]
        folders = [path.with_name(path.name + DROPIN_SUFFIX) for path in candidates]
        own: set[str] = set()
        stamps: list[object] = []

        def document(path: Path) -> Document:
            content, stamp, problem = read_regular(path)
            stamps.append((path, stamp, problem))
            if not problem and path in mine and not path.is_symlink() and is_signed(content):
                own.add(str(path))
            return unreadable_document(str(path), problem) if problem else read_document(str(path), content)

        mine = {candidates[0]: candidates, folders[0] / DROPIN: [folder / DROPIN for folder in folders]}
        there = [path for path in candidates if os.path.lexists(path)]
        main = document(there[0]) if there and not is_masked(there[0]) else None
        found = Found(
            path=str(candidates[0]),
            main=main,
            dropins=tuple(document(path) for path in dropin_paths(folders)),
            own=frozenset(own),
            hiding=frozenset(
                str(path) for path, paths in mine.items() if any(os.path.lexists(other) for other in paths[1:])
            ),
            links=frozenset(str(path) for path in mine if path.is_symlink()),
            vendor=bool(there) and there[0] == candidates[-1],
        )
        return found, (*stamps, found.hiding, found.links)


def _objection(name: str, before: Configuration, after: Configuration) -> Refusal | None:
    """Return why the files must not become as they would be."""
    known = {(found.key, found.message) for file in before.files if file.name == name for found in file.diagnostics}
    file = next((file for file in after.files if file.name == name), None)
    if file is not None:
        new = tuple(found for found in file.diagnostics if (found.key, found.message) not in known)
        if file.route is None or new:
            return _invalid(f"route {name} would not be valid", new or file.diagnostics)
    well = {file.name for file in before.files if file.route}
    for other in after.files:
        if other.route is None and other.name in well:
            return _invalid(f"route {other.name} would not be valid any more", other.diagnostics)
    return None


def _invalid(message: str, diagnostics: tuple[Diagnostic, ...]) -> Refusal:
    first = diagnostics[0]
    return Refusal(Kind.INVALID, f"{message}: {first.key}: {first.message}" if first.key else message, diagnostics)


def _carry_out(edit: Edit) -> None:
    """Write and delete. Raises: OSError."""
    for action in edit.actions:
        path = Path(action.path)
        if isinstance(action, Write):
            if not path.parent.exists():
                path.parent.mkdir()
                path.parent.chmod(_FOLDER_MODE)  # whatever the umask is: people may look at what streamd does
                sync_directory(path.parent.parent)
            write_atomically(path, action.text.encode(), _mode(path))
        elif isinstance(action, Mask):
            _mask(path)
        else:
            _delete(path)
        _LOG.info("%s %s", _PAST[type(action)], path)


_PAST: Final = {Write: "wrote", Delete: "deleted", Mask: "masked"}


def _mode(path: Path) -> int:
    """Return the mode of a file that is to be replaced, or that of a new one."""
    try:
        return stat.S_IMODE(path.lstat().st_mode)
    except FileNotFoundError:
        return _FILE_MODE


def _mask(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.devnull)
    temporary.rename(path)
    sync_directory(path.parent)


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    sync_directory(path.parent)
    if path.parent.name.endswith(SUFFIX + DROPIN_SUFFIX):
        try:
            path.parent.rmdir()
        except OSError:
            return  # other drop-ins are in it
        sync_directory(path.parent.parent)


@contextmanager
def lock(directory: Path) -> Iterator[bool]:
    """Keep other writers out, of this process and others; tell whether that succeeded. Raises: OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        else:
            return True
