"""The package as Debian's own tools see it: the same bytes whoever builds it, and nothing that lintian would tell."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.appliance.host import DEBS, run

pytestmark = pytest.mark.once

TREE = Path("/opt/streamd")
SOURCE = ("debian", "etc", "units", "streamd", "pyproject.toml", "README.md", "LICENSE")
NOT_SOURCE = shutil.ignore_patterns("__pycache__")
OVERRIDES = tuple(sorted((TREE / "debian").glob("*.lintian-overrides")))


@dataclass(frozen=True)
class Build:
    """A build of the source and binary packages."""

    path: Path
    log: str

    def find(self, pattern: str) -> Path:
        (found,) = self.path.glob(pattern)
        return found


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build the package that the harness built once more, under other circumstances."""
    path = tmp_path_factory.mktemp("somewhere-else")
    tree = path / "another-name-than-streamd"
    tree.mkdir()
    for name in SOURCE:
        if (TREE / name).is_dir():
            shutil.copytree(TREE / name, tree / name, symlinks=True, ignore=NOT_SOURCE, copy_function=shutil.copy)
        else:
            shutil.copy(TREE / name, tree)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "TZ": "Asia/Tokyo",
        "USER": "another",
        "DEB_BUILD_OPTIONS": "parallel=7",
    }
    # The appliance has no compiler, which the package does not need and build-essential asks for.
    done = subprocess.run(
        ["dpkg-buildpackage", "--unsigned-source", "--unsigned-changes", "--ignore-builtin-builddeps"],
        cwd=tree,
        env=environment,
        umask=0o077,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return Build(path, done.stdout)


def test_the_same_source_makes_the_same_package(build: Build) -> None:
    first, second = ({path.name: path for path in place.glob("*.deb")} for place in (DEBS / "current", build.path))
    assert len(first) == 2
    assert second.keys() == first.keys()
    for name, path in first.items():
        assert hashlib.sha256(second[name].read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest(), name


def test_the_build_uses_nothing_that_is_going_away(build: Build) -> None:
    assert "streamd" in build.log
    assert [line for line in build.log.splitlines() if re.search("deprecat", line, re.IGNORECASE)] == []


@pytest.mark.skipif(
    platform.freedesktop_os_release()["VERSION_CODENAME"] == "bookworm", reason="its lintian knows older standards"
)
def test_lintian_finds_nothing_but_what_is_overridden_for_a_reason(build: Build) -> None:
    changes = build.find("*.changes")
    assert {".dsc", ".deb"} <= set(re.findall(r"\.\w+$", changes.read_text(), re.MULTILINE)), "the source, too"
    out = run("lintian", "--allow-root", "-EvIL", "+pedantic", "--show-overrides", str(changes), seconds=180).stdout
    tags = [line for line in out.splitlines() if re.match("[A-Z]: ", line)]
    assert [line for line in tags if line[0] not in "NMO"] == [], out
    lines = [line for path in OVERRIDES for line in path.read_text().splitlines()]
    overrides = [number for number, line in enumerate(lines) if line and not line.startswith("#")]
    assert all(lines[number - 1].startswith("#") for number in overrides), "an override without a reason"
    used = {line.split()[2] for line in tags if line[0] == "O"}
    assert used == {lines[number].split()[1] for number in overrides}, f"each override is needed: {out}"
