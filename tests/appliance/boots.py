"""What a boot is measured by: what ran before it, and how long after the daemon's start all of it sends again."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tests.appliance.host import run, show, status, wait_until

LIMIT = 10.0
"""Seconds from the daemon's start until all sends that should."""


@dataclass(frozen=True)
class Memory:
    """What is remembered over a boot, in a file."""

    path: Path

    def write(self, routes: Collection[str]) -> None:
        """Remember the port and the group of these routes as they are."""
        self.path.write_text(json.dumps(places(routes)))

    def read(self) -> dict[str, list[str]]:
        assert self.path.exists(), "this boot was not prepared"
        found: dict[str, list[str]] = json.loads(self.path.read_text())
        return found


def states() -> dict[str, str]:
    """Return the state of every input and output."""
    found = {}
    for route in status()["routes"]:
        found[route["route"]] = route["state"]
        found |= {f"{route['route']}/{output['output']}": output["state"] for output in route["outputs"]}
    return found


def places(routes: Collection[str]) -> dict[str, list[str]]:
    found = {route["route"]: route for route in status()["routes"]}
    return {name: [found[name]["url"], found[name]["group"]] for name in routes}


def running_after() -> dict[str, float]:
    """Return how many seconds after the daemon's first start in this boot each address was told to be running."""
    argv = ("journalctl", "-q", "-b", "-o", "json", "STREAMD_NEW_STATE=running")
    entries = [json.loads(line) for line in run(*argv, check=False).stdout.splitlines()]
    started = int(show("streamd.service", "ExecMainStartTimestampMonotonic")["ExecMainStartTimestampMonotonic"])
    found: dict[str, float] = {}
    for entry in entries:
        found.setdefault(entry["STREAMD_ADDRESS"], (int(entry["__MONOTONIC_TIMESTAMP"]) - started) / 1e6)
    return found


def wait_running(addresses: Collection[str]) -> None:
    """Wait until each is told to be running, and check that none took longer than the limit."""
    wait_until(lambda: running_after().keys() >= set(addresses), 30, f"{', '.join(addresses)} run; {running_after()}")
    late = {address: after for address, after in running_after().items() if address in addresses and after >= LIMIT}
    assert not late, f"seconds after the daemon's start: {running_after()}"
