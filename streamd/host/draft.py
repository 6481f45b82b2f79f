"""A file of the configuration while somebody edits it: found, judged with all others, and saved if nobody else was."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from streamd.host.confd import (
    DROPIN_SUFFIX,
    LARGEST,
    ROUTE_DIRECTORIES,
    SETTINGS_FILE,
    Configuration,
    Reader,
    Supposition,
    dropin_paths,
    is_masked,
    read_regular,
    route_paths,
)
from streamd.host.editor import lock
from streamd.host.store import sync_directory, write_atomically
from streamd.route.diagnostic import Diagnostic
from streamd.route.document import Document, read_document, unreadable_document
from streamd.route.merge import merge_documents
from streamd.route.name import NAME_PATTERN
from streamd.route.parse import SUFFIX
from streamd.route.scanner import KeyPath, dotted

DROPIN: Final = "50-local.toml"
"""The drop-in that a person edits; streamd has one of its own and writes no other."""
_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o755
_ABSENT: Final = "does not exist"

_NEW_ROUTE: Final = """\
# Route {name}. Take away the # in front of what is wanted; /usr/share/doc/streamd/examples shows more.
#
#description = "Studio A programme"

[input]
#url = "udp://0.0.0.0:5000"
#url = "srt://encoder.example.net:9000"
#url = "test:"

#[output.youtube]
#url = "rtmps://a.rtmps.youtube.com/live2"
#key = {{ credential = "youtube" }}

#[output.venue]
#url = "srt://venue.example.net:9000"
#latency = "200ms"
"""
_NEW_DROPIN: Final = """\
# This is merged over {main}: a key replaces that key, and what is not named stays.
# `streamctl cat {name}` shows what comes of it.
#
#[output.NAME]
#enabled = false
#limits = {{ memory = "150M", cpu = "30%" }}

#[output.OTHER]
#removed = true
"""
_NEW_SETTINGS: Final = """\
# The settings of streamd, as streamd.toml(5) explains them. A key that is not here has its default.
"""


class DraftError(Exception):
    """The file cannot be edited; one sentence for a person."""


class UnknownRouteError(DraftError):
    """There is no such route."""


class ForbiddenError(DraftError):
    """The caller may not write there."""


class ChangedError(DraftError):
    """The file is not any more what it was when it was opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A file that is being edited."""

    path: Path
    """Where it counts, and is written to."""
    route: str = ""
    """The route that it is a piece of; empty for streamd.toml."""
    start: bytes = field(default=b"", repr=False)
    """What the person begins with."""
    original: bytes | None = field(default=None, repr=False)
    """What the file said when it was opened; None where there was none."""


class Desk:
    """Opens, judges and saves drafts. Needs no daemon."""

    def __init__(self, root: str = "/") -> None:
        """Take the root directory."""
        self._root = Path(root)
        self._reader = Reader(root)

    def open_settings(self) -> Draft:
        """Return streamd.toml. Raises: DraftError."""
        path = self._root / SETTINGS_FILE
        original = _original(path)
        return Draft(path=path, start=_NEW_SETTINGS.encode() if original is None else original, original=original)

    def open_route(self, name: str) -> Draft:
        """Return the route's file in /etc, where that is new with what it would replace. Raises: DraftError.

        The name must be a checked one.
        """
        path = self._root / ROUTE_DIRECTORIES[0] / f"{name}{SUFFIX}"
        if is_masked(path):
            raise DraftError(f"{path} is a link to /dev/null, which masks the route; remove it first")
        original = _original(path)
        if original is not None:
            return Draft(path=path, route=name, start=original, original=original)
        main = self._main(name)
        if main is None:
            return Draft(path=path, route=name, start=_NEW_ROUTE.format(name=name).encode())
        content = _original(main) or b""
        return Draft(path=path, route=name, start=f"# In place of {main}, which said:\n".encode() + content)

    def open_dropin(self, name: str) -> Draft:
        """Return the drop-in of a route that is the person's. Raises: DraftError."""
        main = self._main(name)
        if main is None:
            raise UnknownRouteError(f'there is no route "{name}"')
        path = self._root / ROUTE_DIRECTORIES[0] / f"{name}{SUFFIX}{DROPIN_SUFFIX}" / DROPIN
        if is_masked(path):
            raise DraftError(f"{path} is a link to /dev/null; remove it first")
        original = _original(path)
        start = _NEW_DROPIN.format(name=name, main=main).encode() if original is None else original
        return Draft(path=path, route=name, start=start, original=original)

    def judge(self, draft: Draft, text: bytes) -> tuple[Diagnostic, ...]:
        """Return what would be wrong: all about this file and its route, and whatever of others is not wrong now."""
        before = self._reader.read()
        known = {(found.path, found.key, found.message) for found in before.diagnostics}
        # As with the daemon: of two routes that want one port, the one that has it keeps it.
        good = {file.name: file.route for file in before.files if file.route}
        after = self._reader.read(incumbents=good, suppose=self._supposed(draft, text))
        own = {id(found) for found in _own(draft, after)}
        return tuple(
            found
            for found in after.diagnostics
            if id(found) in own or (found.path, found.key, found.message) not in known
        )

    def suppose(self, path: Path, text: bytes) -> Supposition:
        """Return what would be if a file that can be edited said this. Raises: DraftError."""
        folder = self._root / ROUTE_DIRECTORIES[0]
        if path == self._root / SETTINGS_FILE:
            return self._supposed(Draft(path=path), text)
        place, suffix = (path, SUFFIX) if path.parent == folder else (path.parent, SUFFIX + DROPIN_SUFFIX)
        name = place.name.removesuffix(suffix)
        if place.parent != folder or place.name == name or path.suffix != SUFFIX or not NAME_PATTERN.fullmatch(name):
            raise DraftError(f"{path} is no file of routes or settings below {self._root / 'etc'}")
        if place != path and self._main(name) is None:
            raise UnknownRouteError(f'there is no route "{name}"')
        return self._supposed(Draft(path=path, route=name), text)

    def _supposed(self, draft: Draft, text: bytes) -> Supposition:
        if not draft.route:
            return Supposition(settings=text)
        return Supposition(routes={draft.route: self._pieces(draft, text)})

    def overruled(self, draft: Draft, text: bytes) -> tuple[str, ...]:
        """Return what was changed in vain, since a later drop-in of the route says otherwise; a sentence each."""
        if not draft.route:
            return ()
        path = str(draft.path)
        merged = merge_documents(self._pieces(draft, text))
        number = next(number for number, piece in enumerate(merged.pieces) if piece.path == path)
        before = dict(_leaves(read_document(path, draft.original or b"").data))
        return tuple(
            f"{dotted(key)} has no effect: {merged.where(key)} says otherwise"
            for key, value in _leaves(read_document(path, text).data)
            if before.get(key) != value and merged.origin(key).piece > number
        )

    def says_nothing(self, draft: Draft, text: bytes) -> bool:
        """Return whether a file that is new would be there for nothing."""
        document = read_document(str(draft.path), text)
        return draft.original is None and not document.data and not document.diagnostics

    def save(self, draft: Draft, text: bytes) -> None:
        """Write the file, if it is still as it was opened; its mode and owner stay.

        Raises:
            ChangedError: somebody else changed it meanwhile.
            OSError: it cannot be written.
        """
        directory = self._root / ROUTE_DIRECTORIES[0]
        directory.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        with lock(directory) as locked:
            if not locked:
                raise ChangedError("somebody else is changing the routes")
            if _original(draft.path) != draft.original:
                raise ChangedError(f"{draft.path} was changed by somebody else meanwhile")
            # What a link leads to is written, and the link stays.
            path = Path(os.path.realpath(draft.path))
            if not path.parent.exists():
                path.parent.mkdir()
                path.parent.chmod(_FOLDER_MODE)  # whatever the umask is
                sync_directory(path.parent.parent)
            mode, owner = _FILE_MODE, None
            if draft.original is not None:
                status = path.stat()
                mode = stat.S_IMODE(status.st_mode)
                if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                    owner = (status.st_uid, status.st_gid)
            write_atomically(path, text, mode, owner)

    def require_writable(self, draft: Draft) -> None:
        """Refuse who may not write, before anything was typed in vain. Raises: ForbiddenError."""
        folder = Path(os.path.realpath(draft.path)).parent
        while not folder.exists():
            folder = folder.parent
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            raise ForbiddenError(f"you may not write {draft.path}; use sudo")

    def _main(self, name: str) -> Path | None:
        found = (paths.main for paths in route_paths(self._root, []) if paths.main.name == f"{name}{SUFFIX}")
        return next(found, None)

    def _pieces(self, draft: Draft, text: bytes) -> tuple[Document, ...]:
        """Return the pieces of the route as they would be."""
        folders = [self._root / directory / f"{draft.route}{SUFFIX}{DROPIN_SUFFIX}" for directory in ROUTE_DIRECTORIES]
        dropins = {path.name: path for path in dropin_paths(folders)}
        main = draft.path
        if draft.path.parent in folders:
            main = self._main(draft.route) or draft.path
            dropins[draft.path.name] = draft.path
        paths = [main, *(path for _name, path in sorted(dropins.items()))]
        return tuple(read_document(str(path), text) if path == draft.path else _document(path) for path in paths)


def _own(draft: Draft, after: Configuration) -> tuple[Diagnostic, ...]:
    if not draft.route:
        return tuple(found for found in after.own_diagnostics if found.path == str(draft.path))
    return tuple(found for file in after.files if file.name == draft.route for found in file.diagnostics)


def _leaves(table: Mapping[str, Any], path: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    """Yield every key that is no table, with its value."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _document(path: Path) -> Document:
    content, _stamp, problem = read_regular(path)
    return unreadable_document(str(path), problem) if problem else read_document(str(path), content)


def _original(path: Path) -> bytes | None:
    """Return what a file says, None where there is none. Raises: DraftError."""
    content, _stamp, problem = read_regular(path)
    if problem == _ABSENT and not path.is_symlink():
        return None
    if problem or len(content) > LARGEST:
        raise DraftError(f"{path} {problem or 'is too large for a file of streamd'}")
    return content
