"""The package's own tests pass where Debian runs them: autopkgtest, on the machine itself."""

from __future__ import annotations

import re
from pathlib import Path

from tests.appliance.host import DEBS, run, wait_active, write_route

TREE = Path("/opt/streamd")
ROUTE = '[input]\nurl = "test:"\n[output.x]\nurl = "udp://127.0.0.1:6001"\n'


def test_the_tests_in_debian_tests_pass_under_autopkgtest() -> None:
    # An operator's own route beside it.
    write_route("a", ROUTE)
    wait_active(("a", "a/x"))
    debs = sorted(str(path) for path in (DEBS / "current").glob("*.deb"))
    argv = ["autopkgtest", "--no-built-binaries", *debs, str(TREE), "--", "null"]
    done = run(*argv, check=False, seconds=180)
    summary = done.stdout.rpartition("summary")[2]
    wanted = re.findall(r"[\w-]+", (TREE / "debian/tests/control").read_text().splitlines()[0].partition(":")[2])
    assert len(wanted) >= 2
    assert re.findall(r"^(\S+) +PASS$", summary, re.MULTILINE) == wanted, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
