"""Debian packages made on the appliance, without a network: those that are installed, and ours with a change."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from tests.appliance.host import run

INFO = Path("/var/lib/dpkg/info")
NOT_PACKED = (".list", ".md5sums")
"""What dpkg keeps of an installed package and was not in its control archive, or need not be."""
QUICK = ("-Znone", "--root-owner-group")


def packages_of(source: str) -> list[str]:
    """Return the names of the installed binary packages that a source package made."""
    lines = run("dpkg-query", "--show", "--showformat=${source:Package} ${binary:Package}\n").stdout.splitlines()
    return sorted(name for found, name in (line.split() for line in lines) if found == source)


def packed_again(package: str, folder: Path) -> str:
    """Return an installed package as the file that it came from: the same version, files and maintainer scripts.

    To apt and dpkg it is the real thing: each file is written beside the old one and renamed over it, the scripts are
    called as at an upgrade, and triggers are run.
    """
    tree = folder / package
    control = tree / "DEBIAN"
    control.mkdir(parents=True)
    text = run("dpkg-query", "--status", package).stdout
    # The rest is what dpkg adds when it installs.
    (control / "control").write_text(re.sub(r"(?m)^(Status|Config-Version|Conffiles):.*\n( .*\n)*", "", text))
    for path in INFO.glob(f"{package}.*"):
        if path.suffix not in NOT_PACKED:
            shutil.copy2(path, control / path.suffix[1:])
    for name in (INFO / f"{package}.list").read_text().splitlines():
        _copy(Path(name), tree / name.lstrip("/"))
    return _pack(tree)


def changed(deb: str, folder: Path, change: Callable[[Path], None]) -> str:
    """Return a package file made from another by a change, which is a function, to the tree that it installs."""
    tree = folder / change.__name__
    run("dpkg-deb", "--raw-extract", deb, str(tree))
    change(tree)
    return _pack(tree)


def replace(path: Path, old: str, new: str) -> None:
    """Replace the one occurrence of a text in a file."""
    text = path.read_text()
    assert text.count(old) == 1, f"{path} has {old!r} {text.count(old)} times"
    path.write_text(text.replace(old, new))


def _copy(path: Path, target: Path) -> None:
    """Copy what a package has: a directory is made, not filled."""
    # In a package of Debian 12 /lib is a directory, on the host a link.
    is_alias = path.parent == Path("/") and path.is_dir()
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return  # documentation that was not installed
    if is_alias or stat.S_ISDIR(mode):
        target.mkdir(parents=True, exist_ok=True)
        target.chmod(0o755 if is_alias else stat.S_IMODE(mode))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISLNK(mode):
        target.symlink_to(os.readlink(path))
    else:
        shutil.copy2(path, target)


def _pack(tree: Path) -> str:
    deb = tree.with_name(f"{tree.name.replace(':', '_')}.deb")
    run("dpkg-deb", *QUICK, "--build", str(tree), str(deb))
    shutil.rmtree(tree)
    return str(deb)
