"""The Debian packages: built inside a suite's root file system, by the suite's own tools, and kept between runs."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.harness.appliance import in_container
from tests.harness.command import HarnessError
from tests.harness.host import Cache
from tests.harness.lock import lock
from tests.harness.overlay import overlay
from tests.harness.source import digest

BUILD_LIMIT = 300.0
KEPT = 6
"""Builds that the cache keeps."""

CURRENT, NEXT = "current", "next"
"""The packages as they are, and the same with a higher version, for tests of upgrades."""
NAMES = ("streamd", "streamd-web")


@dataclass(frozen=True)
class Debs:
    """The directory of one build, with a sub-directory for each of the two versions."""

    path: Path

    def find(self, which: str) -> list[Path]:
        """Return the files of the packages, CURRENT or NEXT, in the order of NAMES."""
        found = [list((self.path / which).glob(f"{name}_*.deb")) for name in NAMES]
        for name, files in zip(NAMES, found, strict=True):
            if len(files) != 1:
                raise HarnessError(f"{len(files)} packages named {name} in {self.path / which}, not one")
        return [file for (file,) in found]


def next_version(changelog: str) -> str:
    """Return the changelog with its first version made a little higher."""
    bumped, count = re.subn(r"\A(\S+) \(([^)]+)\)", r"\1 (\2+next1)", changelog)
    if not count:
        raise HarnessError("debian/changelog does not begin with a version")
    return bumped


def next_code(text: str) -> str:
    """Return streamd/__init__.py with the version that the daemon tells made the same as `next_version` does."""
    bumped, count = re.subn(r'^(__version__ = "[^"]+)"', r'\1+next1"', text, flags=re.MULTILINE)
    if not count:
        raise HarnessError("streamd/__init__.py tells no version")
    return bumped


def ensure(cache: Cache, root: Path, source: Path, scratch: Path) -> Debs:
    """Return the packages of a source tree, built first where they are missing.

    Args:
        cache: where they are kept.
        root: the suite's root file system.
        source: a copy of the source tree.
        scratch: a directory that this may fill.
    """
    name = hashlib.sha256(f"{root.name}\0{digest(source)}\0{Path(__file__).read_text()}".encode()).hexdigest()[:16]
    kept = cache.path / "debs"
    debs = Debs(kept / name)
    with lock(kept / "lock"):
        if not debs.path.exists():
            unfinished = kept / "new"
            shutil.rmtree(unfinished, ignore_errors=True)
            log = cache.logs / f"{root.name.partition('-')[0]}-package.log"
            log.unlink(missing_ok=True)
            for which in (CURRENT, NEXT):
                with overlay(root, scratch / which) as view:
                    shutil.copytree(source, view / "build/streamd", symlinks=True)
                    build(which, view, unfinished / which, log)
            forget_old(kept)
            unfinished.rename(debs.path)
        debs.path.touch()
    return debs


def build(which: str, view: Path, destination: Path, log: Path) -> None:
    """Build one version from the tree in a writable root file system, and copy it to the destination."""
    tree = view / "build/streamd"
    if which == NEXT:
        for path, bump in ((tree / "debian/changelog", next_version), (tree / "streamd/__init__.py", next_code)):
            path.write_text(bump(path.read_text()))
    # The base has no compiler, which the package does not need and build-essential asks for.
    argv = ["dpkg-buildpackage", "-us", "-uc", "-b", "--ignore-builtin-builddeps"]
    in_container(view, argv, limit=BUILD_LIMIT, log=log, directory="/build/streamd")
    destination.mkdir(parents=True)
    for path in (view / "build").glob("*.deb"):
        shutil.copy2(path, destination)


def forget_old(kept: Path) -> None:
    """Remove all builds but the most recently used."""
    builds = sorted((path for path in kept.iterdir() if path.is_dir() and path.name != "new"), key=mtime, reverse=True)
    for path in builds[KEPT - 1 :]:
        shutil.rmtree(path)


def mtime(path: Path) -> float:
    """Return when a path was last used."""
    return path.stat().st_mtime
