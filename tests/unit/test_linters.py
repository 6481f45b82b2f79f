"""The linters, as tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

TREE = Path(__file__).parents[2]
REQUIRED = bool(os.environ.get("STREAMD_REQUIRE_LINTERS"))
"""Set by tests/run on the host, where it has seen to it that the tools are there."""


def skip(reason: str) -> None:
    """Skip a test, unless the linters are required."""
    if REQUIRED:
        pytest.fail(f"{reason}, and STREAMD_REQUIRE_LINTERS is set")
    pytest.skip(reason)


def files() -> list[Path]:
    """Return the source files, tracked or about to be."""
    git = [
        "git",
        "-c",
        "safe.directory=*",
        "-C",
        str(TREE),
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]
    try:
        listed = subprocess.run(git, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        skip("this is no git work tree")
    return sorted({TREE / name for name in listed.split("\0") if name and (TREE / name).is_file()})


def interpreter(path: Path) -> str:
    """Return the first line of a script without a telling suffix, or nothing."""
    if path.suffix:
        return path.suffix
    with path.open("rb") as file:
        line = file.readline(128)
    return line.decode(errors="replace") if line.startswith(b"#!") else ""


def lint(*argv: str | Path) -> None:
    """Run a linter; its findings are the test's message."""
    words = [str(word) for word in argv]
    if not shutil.which(words[0]):
        skip(f"{words[0]} is not installed")
    result = subprocess.run(words, cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert result.returncode == 0, result.stdout


def python_files() -> Sequence[Path]:
    return [path for path in files() if path.suffix == ".py" or "python" in interpreter(path)]


def shell_files() -> Sequence[Path]:
    return [path for path in files() if path.suffix == ".sh" or interpreter(path).strip().endswith(("/sh", "bash"))]


def test_ruff_check() -> None:
    lint("ruff", "check", "--no-cache", *python_files())


def test_ruff_format() -> None:
    lint("ruff", "format", "--no-cache", "--check", *python_files())


def test_mypy() -> None:
    lint("mypy", "--strict", "--cache-dir", os.devnull)


def test_mypy_of_the_harness() -> None:
    lint("mypy", "--strict", "--cache-dir", os.devnull, "--scripts-are-modules", "tests/run", "tests/harness/guest.py")


def test_shellcheck() -> None:
    scripts = shell_files()
    assert scripts, "there are maintainer scripts, at least"
    lint("shellcheck", *scripts)
