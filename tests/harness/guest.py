"""Runs pytest in the appliance; ends with a status of its own on success, so that 0 cannot mean "never got there".

Two machines with streams, and whatever else runs on the host, share its processors: now and then a test meets a limit
of time that is not its subject. With `--forgive N` first, up to N tests that failed are run once more, in a process of
their own, and named in the end whatever comes of it. A fault of the code that is there twice fails the run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

PASSED = 123
FORGIVE = "--forgive"


PREPARING = ("before_reboot", "before_damage")
"""Marks of tests that leave behind what the tests of the next boot look at. All others clear everything away."""


class Failures:
    """A plugin that keeps the names of the tests that failed."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.preparing: list[str] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.preparing = [
            item.nodeid for item in session.items if any(item.get_closest_marker(mark) for mark in PREPARING)
        ]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self.names:
            self.names.append(report.nodeid)


def run(arguments: Sequence[str], forgiven: int) -> int:
    """Run tests and return the exit status.

    Args:
        arguments: of pytest.
        forgiven: how many failed tests may be run once more; when more have failed, none is.
    """
    failures = Failures()
    status = pytest.main([*arguments], plugins=[failures])
    if status == pytest.ExitCode.OK:
        return PASSED
    if status != pytest.ExitCode.TESTS_FAILED or not 0 < len(failures.names) <= forgiven:
        return int(status) or 1
    names = ", ".join(failures.names)
    print(f"==> once more: {names}", flush=True)
    again = [*(name for name in failures.names if name not in failures.preparing), *failures.preparing]
    status = subprocess.run([sys.executable, "-P", __file__, "-v", *again], check=False).returncode
    print(f"==> failed at first, and {'passed' if status == PASSED else 'again'}: {names}", flush=True)
    return status or 1


if __name__ == "__main__":
    given = sys.argv[1:]
    forgiven = 0
    if given[:1] == [FORGIVE]:
        forgiven = int(given[1])
        given = given[2:]
    sys.exit(run(given, forgiven))
