"""What is run in the appliance: a test that fails once is forgiven, and named; one that fails twice is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.guest import FORGIVE, PASSED

pytestmark = pytest.mark.host

GUEST = Path(__file__).parents[1] / "harness/guest.py"
TESTS = """
import pathlib, pytest

def test_good():
    pass

@pytest.mark.parametrize("name", ["a b::c"])
def test_first_time(name):
    marker = pathlib.Path(__file__).with_suffix(".seen")
    seen = marker.exists()
    marker.touch()
    assert seen
"""
BAD = "def test_bad():\n    assert False\n"


@pytest.mark.parametrize(
    ("text", "forgiven", "status", "told"),
    [
        ("def test_good():\n    pass\n", 0, PASSED, ""),
        (TESTS, 0, 1, ""),
        (TESTS, 1, PASSED, "failed at first, and passed: "),
        (TESTS + BAD, 1, 1, ""),
        (TESTS + BAD, 2, 1, "failed at first, and again: "),
        ("import no_such_module\n", 2, 2, ""),
        ("", 2, 5, ""),
    ],
)
def test_status(tmp_path: Path, text: str, forgiven: int, status: int, told: str) -> None:
    (tmp_path / "test_it.py").write_text(text)
    argv = [sys.executable, GUEST, FORGIVE, str(forgiven), "-p", "no:cacheprovider", "test_it.py"]
    found = subprocess.run(argv, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == status, found.stdout
    assert told in found.stdout
    assert bool(told) == ("failed at first" in found.stdout)
