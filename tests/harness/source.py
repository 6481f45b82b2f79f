"""The source tree: the files that git knows or would add, copied so that an edit during a run changes nothing."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tests.harness.command import HarnessError, output
from tests.harness.host import TREE

NOT_PACKAGED = ("tests/", ".ci/")
"""What does not go into the package, so that a change to it builds no new one."""


def files(tree: Path = TREE) -> list[str]:
    """Return the paths of all files, tracked or about to be, relative to the tree."""
    git: list[str | Path] = ["git", "-c", "safe.directory=*", "-C", tree, "ls-files"]
    names = output([*git, "--cached", "--others", "--exclude-standard", "-z"], limit=60).split("\0")
    found = sorted({name for name in names if name and ((tree / name).is_file() or (tree / name).is_symlink())})
    if "pyproject.toml" not in found:
        raise HarnessError(f"{tree} is no git work tree of streamd")
    return found


def copy(destination: Path, tree: Path = TREE) -> Path:
    """Copy all files, with their modes and links, and return the destination."""
    for name in files(tree):
        target = destination / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(tree / name, target, follow_symlinks=False)
    return destination


def digest(tree: Path) -> str:
    """Return a hash of what the package is built from, in a plain directory made by `copy`."""
    state = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        name = str(path.relative_to(tree))
        if path.is_dir() or name.startswith(NOT_PACKAGED):
            continue
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        state.update(f"{name}\0{path.lstat().st_mode:o}\0{len(content)}\0".encode() + content)
    return state.hexdigest()[:16]
