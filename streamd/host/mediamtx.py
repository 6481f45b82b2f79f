"""MediaMTX on this host: which version is installed, the document that it runs on, and how it is."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import subprocess
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamd.host.mediaapi import MediaApi, MediaApiError, Pulse
from streamd.host.store import write_atomically
from streamd.plan.mediamtx import (
    COPY_SINCE,
    OLDEST,
    Publisher,
    Version,
    kept_of,
    media_document,
    parse_version,
    version_text,
)
from streamd.plan.patience import Patience
from streamd.plan.viewers import MediaView
from streamd.route.model import MediaServer, PullSource, Settings

_LOG: Final = logging.getLogger(__name__)
_LONGEST_ID: Final = 64
"""Characters of a viewer's id that are shown again; MediaMTX's own have 36."""

BINARIES: Final = (Path("/usr/local/bin/mediamtx"), Path("/usr/bin/mediamtx"))
"""In the order in which systemd looks for it."""
SERVICE: Final = "streamd-mediamtx.service"
DOCUMENT: Final = Path("/run/streamd/mediamtx/mediamtx.yml")
_PROBE_SECONDS: Final = 10.0
_PAUSES: Final = (30.0, 600.0)
"""Seconds until one that could not be asked for its version is asked again, at first and at the longest: the host may
only have been busy."""
_LARGEST_BUFFER: Final = Path("/proc/sys/net/core/rmem_max")
SPACING: Final = 1.5
"""Seconds between two writes: whatever changes in the second after MediaMTX read its file, it does not notice."""
_NOBODY: Final[Mapping[str, Publisher]] = {}
_NO_SOURCES: Final[Mapping[str, PullSource]] = {}
_HUNG_AFTER: Final = 2
"""Times that it did not answer, one after the other."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A MediaMTX, as far as it can be used; without a version it cannot."""

    path: Path | None = None
    version: Version | None = None
    problem: str = "MediaMTX is not installed"
    """One clause what is wrong, empty when nothing is."""
    is_silent: bool = False
    """It could not be asked for its version, which may pass."""

    @property
    def copies_problem(self) -> str:
        """Return in one clause why it cannot read from the direct relay, nothing where it can."""
        if self.version is None or self.version >= COPY_SINCE:
            return ""
        needed = version_text(COPY_SINCE)
        return f"MediaMTX {version_text(self.version)} cannot read from the relay, {needed} or newer can"


def api_password(key: bytes) -> str:
    """Return the password of MediaMTX's API, from the key that only root can read: the same at every start."""
    return hmac.new(key, b"the API of MediaMTX", hashlib.sha256).hexdigest()


def look(binaries: Iterable[Path] = BINARIES) -> Installed:
    """Return the MediaMTX that systemd would start. It is asked for its version, which takes a moment."""
    path = next((path for path in binaries if os.access(path, os.X_OK) and path.is_file()), None)
    if path is None:
        return Installed()
    try:
        done = subprocess.run(
            [str(path), "--version"],
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PROBE_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Installed(path, None, f"{path} cannot be asked for its version: {error}", is_silent=True)
    version = parse_version(done.stdout.decode(errors="replace"))
    if version is None or version < OLDEST:
        what = f"is MediaMTX {version_text(version)}" if version else "tells no version"
        return Installed(path, None, f"{path} {what}, and streamd needs {version_text(OLDEST)} or newer")
    return Installed(path, version, "")


class MediaMtx:
    """Keeps MediaMTX's document as it should be, and asks how it is."""

    def __init__(
        self,
        password: str,
        *,
        binaries: tuple[Path, ...] = BINARIES,
        document: Path = DOCUMENT,
        spacing: float = SPACING,
        pauses: tuple[float, float] = _PAUSES,
        api: MediaApi | None = None,
    ) -> None:
        """Take the password of its API, and where things are."""
        self._password = password
        self._binaries = binaries
        self._document = document
        self._spacing = spacing
        self._stamp: object = None
        self._patience = Patience(*pauses)
        self._silence = ""
        """What was last told of one that could not be asked."""
        self._was_silent = False
        self._wanted = ""
        self._timer: asyncio.TimerHandle | None = None
        self._api = api or MediaApi(password)
        self._server: MediaServer | None = None
        self._unanswered = 0
        self.installed = Installed()

    async def probe(self) -> Installed:
        """Return the MediaMTX that is installed now."""
        await self._probe()
        return self.installed

    async def renew(
        self,
        paths: Mapping[str, str],
        settings: Settings,
        *,
        publishers: Mapping[str, Publisher] = _NOBODY,
        fetched: Mapping[str, PullSource] = _NO_SOURCES,
        held: Collection[str] = (),
    ) -> None:
        """Write the document if it has changed; without a MediaMTX that could read it, there is none.

        Args:
            paths: routes that it is to have a copy of, and their groups.
            settings: from streamd.toml.
            publishers: routes that somebody may publish to, and who.
            fetched: routes that it fetches itself, and from where.
            held: routes that are not to be touched.
        """
        await self._probe()
        self._server = settings.mediamtx
        version = self.installed.version
        if version is None:
            # What cannot be asked may run nevertheless, on the document that it has.
            if not self.installed.is_silent:
                self._wanted = ""
                self._remove()
            return
        self._wanted = media_document(
            paths,
            publishers,
            kept_of(self._wanted or self._written(), held),
            fetched,
            settings=settings,
            version=version,
            api_password=self._password,
            largest_buffer=_largest_buffer(),
        )
        self._write()

    async def view(self) -> MediaView:
        """Return who watches what, or why that cannot be told."""
        version = self.installed.version
        server = self._server
        if version is None or server is None:
            return MediaView(problem=self.installed.problem)
        text = version_text(version)
        try:
            paths = await self._api.view(server.api)
        except MediaApiError as error:
            return MediaView(version=text, problem=str(error))
        if version < COPY_SINCE and not paths:
            needed = version_text(COPY_SINCE)
            return MediaView(version=text, problem=f"MediaMTX {text} has no copy of any route, {needed} or newer would")
        return MediaView(
            version=text,
            paths=paths,
            hls=str(server.hls) if server.hls else "",
            webrtc=str(server.webrtc) if server.webrtc else "",
        )

    async def kick(self, name: str) -> str:
        """End the connection of a viewer, by his id; return what prevents it."""
        view = await self.view()
        viewer = view.find(name)
        if view.problem or viewer is None or self._server is None:
            shown = name if len(name) <= _LONGEST_ID else f"{name[: _LONGEST_ID - 1]}…"
            return view.problem or f'nobody watches who is called "{shown}"'
        try:
            await self._api.kick(self._server.api, viewer)
        except MediaApiError as error:
            return str(error)
        _LOG.info("kicked a %s viewer at %s", viewer.kind, viewer.address)
        return ""

    async def has_hung(self) -> bool:
        """Ask it something; tell whether it listens and has not answered the last times."""
        pulse = Pulse.ABSENT
        if self.installed.version is not None and self._server is not None:
            pulse = await self._api.pulse(self._server.api)
        self._unanswered = self._unanswered + 1 if pulse is Pulse.SILENT else 0
        return self._unanswered >= _HUNG_AFTER

    def forgive(self) -> None:
        """Begin anew: it was restarted."""
        self._unanswered = 0

    def _remove(self) -> None:
        try:
            self._document.unlink(missing_ok=True)
        except OSError as error:
            _LOG.error("cannot delete %s: %s", self._document, error.strerror)

    @property
    def has_returned(self) -> bool:
        """Tell whether it was silent when it was first asked, and has its document now: its start may follow."""
        return self._was_silent and self.installed.version is not None and self._document.exists()

    def welcome(self) -> None:
        """Take note that it has begun."""
        self._was_silent = False

    async def _probe(self) -> None:
        stamp = [_stamp(path) for path in self._binaries]
        is_due = self._patience.has_failed and not self._patience.waits(time.monotonic())
        if stamp == self._stamp and not is_due:
            return
        found = await asyncio.to_thread(look, self._binaries)
        self._stamp = stamp
        if found.is_silent:
            self._bear(found)
            return
        self._patience.succeed()
        self._silence = ""
        if found.version is not None:
            _LOG.info("%s is MediaMTX %s", found.path, version_text(found.version))
        elif found.path is not None:
            _LOG.warning("%s", found.problem)
        self.installed = found

    def _bear(self, found: Installed) -> None:
        """Take one that could not be asked for what it was until now, and ask again in a while."""
        self._patience.fail(time.monotonic())
        if found.problem != self._silence:
            _LOG.warning("%s", found.problem)
            self._silence = found.problem
        if self.installed.version is None:
            self._was_silent = True
            self.installed = found

    def _written(self) -> str:
        try:
            return self._document.read_text(encoding="utf-8")
        except (OSError, UnicodeError):
            return ""

    def _write(self) -> None:
        if self._timer is not None:
            return  # it writes what is wanted then
        try:
            if self._wanted.encode() == self._document.read_bytes():
                return
            since = time.time() - self._document.stat().st_mtime
        except OSError:
            since = self._spacing
        if 0 <= since < self._spacing:
            self._timer = asyncio.get_running_loop().call_later(self._spacing - since, self._write_late)
            return
        try:
            write_atomically(self._document, self._wanted.encode(), 0o640)
        except OSError as error:
            _LOG.error("cannot write %s: %s", self._document, error.strerror)

    def _write_late(self) -> None:
        self._timer = None
        if self._wanted:
            self._write()


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode)


def _largest_buffer() -> int | None:
    """Return the kernel's limit of a receive buffer in bytes; a container may not be told it."""
    try:
        return int(_LARGEST_BUFFER.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
