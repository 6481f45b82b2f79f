"""A release of MediaMTX: fetched, checked against its SHA-256, and put in the place of the one before in one move."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
import subprocess
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from streamd.host.mediamtx import BINARIES, SERVICE, Installed, look
from streamd.host.store import sync_directory
from streamd.plan.mediamtx import OLDEST, Version, version_text

PINNED: Final[Version] = (1, 20, 1)
"""What is installed unless another version is asked for."""
PINS: Final[Mapping[str, str]] = {}
"""The name of an archive to its SHA-256. One that is not here is checked against its release's own checksums.sha256."""
RELEASES: Final = "https://github.com/bluenviron/mediamtx/releases/download"
CHECKSUMS: Final = "checksums.sha256"
CHECKSUMS_SINCE: Final[Version] = (1, 13, 0)
ARM64_SINCE: Final[Version] = (1, 12, 1)
"""Before, archives for that architecture were called arm64v8."""
TARGET: Final = BINARIES[0]

_MEMBER: Final = "mediamtx"
_LARGEST_ARCHIVE: Final = 200 << 20
_LARGEST_BINARY: Final = 400 << 20
_LARGEST_LIST: Final = 1 << 20
"""Bytes."""
_SILENCE: Final = 30.0
_LONGEST: Final = 900.0
"""Seconds that a server may say nothing, and that a download may take."""
_PIECE: Final = 1 << 20
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv8l": "armv7", "armv7l": "armv7", "armv6l": "armv6"}
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class ReleaseError(Exception):
    """It cannot be installed, and what was installed is untouched; the text is a sentence for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What was installed."""

    version: Version
    path: Path
    sha256: str
    """Of the archive."""
    changed: bool
    """False where the very same program was there already."""


def archive_name(version: Version, machine: str) -> str:
    """Return the name of a release's archive for a machine, as uname(1) calls it. Raises: ReleaseError."""
    architecture = _MACHINES.get(machine)
    if architecture is None:
        raise ReleaseError(f"there is no MediaMTX for {machine}, only for {', '.join(sorted(set(_MACHINES)))}")
    if version < OLDEST:
        raise ReleaseError(f"streamd needs MediaMTX {version_text(OLDEST)} or newer")
    if architecture == "arm64" and version < ARM64_SINCE:
        architecture = "arm64v8"
    return f"mediamtx_v{version_text(version)}_linux_{architecture}.tar.gz"


def checksum_in(listing: str, name: str) -> str:
    """Return the SHA-256 of a file in what sha256sum(1) printed, empty where it is not listed."""
    for line in listing.splitlines():
        digest, _space, found = line.strip().partition(" ")
        if found.lstrip(" *") == name and _SHA256.fullmatch(digest.lower()):
            return digest.lower()
    return ""


def download(version: Version, *, sha256: str = "", machine: str = "", base: str = RELEASES, folder: Path) -> Path:
    """Fetch a release's archive into a folder, checked, and return where it is. Raises: ReleaseError."""
    name = archive_name(version, machine or os.uname().machine)
    url = f"{base}/v{version_text(version)}"
    expected = sha256 or PINS.get(name, "")
    if not expected:
        if version < CHECKSUMS_SINCE:
            raise ReleaseError(f"MediaMTX {version_text(version)} was released without {CHECKSUMS}, give --sha256")
        listing = folder / CHECKSUMS
        _fetch(f"{url}/{CHECKSUMS}", listing, _LARGEST_LIST)
        expected = checksum_in(listing.read_text(encoding="ascii", errors="replace"), name)
        if not expected:
            raise ReleaseError(f"{url}/{CHECKSUMS} does not list {name}")
    archive = folder / name
    _check(_fetch(f"{url}/{name}", archive, _LARGEST_ARCHIVE), expected, f"{url}/{name}")
    return archive


def checked_file(path: Path, sha256: str = "") -> str:
    """Return the SHA-256 of an archive that somebody brought, if it is the right one. Raises: ReleaseError.

    Without a checksum given, it is that of its name in our table, or in a checksums.sha256 beside it.
    """
    listing = path.with_name(CHECKSUMS)
    expected = sha256 or PINS.get(path.name, "")
    try:
        digest = digest_of(path)
        if not expected and listing.exists():
            expected = checksum_in(listing.read_text(encoding="ascii", errors="replace"), path.name)
    except OSError as error:
        raise ReleaseError(f"{error.filename}: {error.strerror}") from None
    if not expected:
        raise ReleaseError(
            f"no checksum is known for {path.name}: give --sha256, or put the {CHECKSUMS} of its release beside it"
        )
    _check(digest, expected, str(path))
    return digest


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file. Raises: OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def install(archive: Path, sha256: str, target: Path = TARGET) -> Done:
    """Put the program out of a checked archive into its place. Raises: ReleaseError."""
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            temporary = Path(file.name)
            _extract(archive, file)
            os.fchmod(file.fileno(), 0o755)
            file.flush()
            os.fsync(file.fileno())
        found = _usable(temporary, archive)
        changed = not _same(temporary, target)
        if changed:
            temporary.replace(target)
            sync_directory(target.parent)
    except OSError as error:
        raise ReleaseError(f"cannot write {target}: {error.strerror}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return Done(version=found, path=target, sha256=sha256, changed=changed)


def _usable(program: Path, archive: Path) -> Version:
    found: Installed = look([program])
    if found.version is None:
        raise ReleaseError(f"what is in {archive.name} cannot be used on this machine: {found.problem}")
    return found.version


def _same(one: Path, other: Path) -> bool:
    if not other.is_file() or other.is_symlink() or one.stat().st_size != other.stat().st_size:
        return False
    return digest_of(one) == digest_of(other)


def _check(digest: str, expected: str, what: str) -> None:
    if not _SHA256.fullmatch(expected.lower()):
        raise ReleaseError("a SHA-256 is 64 hexadecimal digits")
    if digest != expected.lower():
        raise ReleaseError(f"{what} has the SHA-256 {digest}, and should have {expected.lower()}: it was not installed")


def _extract(archive: Path, into: IO[bytes]) -> None:
    """Write the one member that is wanted; whatever else an archive has, or calls itself, is not looked at."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            member = next((found for found in tar if found.name in (_MEMBER, f"./{_MEMBER}")), None)
            if member is None or not member.isreg():
                raise ReleaseError(f"{archive.name} has no program called {_MEMBER} in it")
            if member.size > _LARGEST_BINARY:
                raise ReleaseError(f"the program in {archive.name} is larger than {_LARGEST_BINARY >> 20} MB")
            _copy(tar, member, into, archive.name)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ReleaseError(f"{archive.name} is damaged: {error}") from None


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, into: IO[bytes], name: str) -> None:
    source = tar.extractfile(member)
    left = member.size
    while source is not None and left and (piece := source.read(min(_PIECE, left))):
        into.write(piece)
        left -= len(piece)
    if left:
        raise ReleaseError(f"{name} is damaged: it ends too early")


def _fetch(url: str, into: Path, largest: int) -> str:
    """Write what a server sends to a file and return its SHA-256. Raises: ReleaseError."""
    import httpx  # noqa: PLC0415 (slow to load, and nothing else of streamctl needs it)

    digest = hashlib.sha256()
    deadline = time.monotonic() + _LONGEST
    size = 0
    try:
        with (
            httpx.stream("GET", url, follow_redirects=True, timeout=_SILENCE) as response,
            into.open("wb") as file,
        ):
            if response.status_code != httpx.codes.OK:
                raise ReleaseError(f"{url}: the server answers {response.status_code} {response.reason_phrase}")
            if url.startswith("https:") and response.url.scheme != "https":
                raise ReleaseError(f"{url}: leads to {response.url.host} without TLS")
            for piece in response.iter_bytes():
                size += len(piece)
                if size > largest:
                    raise ReleaseError(f"{url} is larger than {largest >> 20} MB")
                if time.monotonic() > deadline:
                    raise ReleaseError(f"{url}: not there after {_LONGEST:.0f} s")
                digest.update(piece)
                file.write(piece)
    except httpx.HTTPError as error:
        raise ReleaseError(f"{url}: {error or type(error).__name__}; without internet use --file") from None
    except OSError as error:
        raise ReleaseError(f"cannot write {into}: {error.strerror}") from None
    return digest.hexdigest()


def systemctl(*words: str) -> str:
    """Run systemctl and return what it printed. Raises: ReleaseError."""
    done = subprocess.run(("systemctl", *words), capture_output=True, text=True, check=False)
    if done.returncode and words[0] not in ("is-active", "is-enabled"):
        raise ReleaseError(f"systemctl {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def restart(*, changed: bool, ask: Callable[..., str] = systemctl) -> bool:
    """Let the service run the new program, on a document of its version; return whether it runs. Raises: ReleaseError.

    Where an administrator has disabled it, it stays stopped. One that runs is not touched unless the program changed.
    """
    if ask("is-active", SERVICE) == "active":
        if not changed:
            return True
        # Stopped first: it would read a document of another version's keys, and exit on one that it does not know.
        ask("stop", SERVICE)
    elif ask("is-enabled", SERVICE) != "enabled":
        return False
    if ask("is-active", "streamd.service") == "active":
        # A fault in some file makes that end with an error, and is no reason not to start.
        with contextlib.suppress(ReleaseError):
            ask("reload", "streamd.service")
    ask("start", SERVICE)
    return ask("is-active", SERVICE) == "active"
