"""The appliance as its operator sees it: files, systemctl, streamctl. Runs inside the booted machine."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from streamd.bus import names

CONF = Path("/etc/streamd/conf.d")
CREDENTIALS = Path("/etc/streamd/credentials")
STATE = Path("/var/lib/streamd")
DEBS = Path("/opt/streamd/debs")
UNITS = ("streamd-output@*", "streamd-ingest@*")

T = TypeVar("T")


def run(
    *argv: str, check: bool = True, seconds: float = 60, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command; a failure shows what it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, input=text, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_until(probe: Callable[[], T], seconds: float, what: str) -> T:
    """Return the first true value of `probe`; for conditions of other processes that send no event."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}; last seen: {value!r}")
        time.sleep(0.05)


def show(unit: str, *names: str) -> dict[str, str]:
    """Return properties of a unit, as `systemctl show` prints them."""
    out = run("systemctl", "show", unit, *(f"--property={name}" for name in names)).stdout
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)


def unit_of(address: str) -> str:
    """Return the unit's name of ROUTE or ROUTE/OUTPUT."""
    route, slash, output = address.partition("/")
    return f"streamd-output@{route}:{output}.service" if slash else f"streamd-ingest@{route}.service"


@dataclass(frozen=True)
class Incarnation:
    """What must not change on a unit that nobody touched."""

    pid: int
    invocation: str


def incarnation(address: str) -> Incarnation:
    found = show(unit_of(address), "MainPID", "InvocationID")
    return Incarnation(int(found["MainPID"]), found["InvocationID"])


def incarnations(addresses: Iterable[str]) -> dict[str, Incarnation]:
    return {address: incarnation(address) for address in addresses}


def is_active(address: str) -> bool:
    return run("systemctl", "is-active", unit_of(address), check=False).stdout.strip() == "active"


def our_units() -> list[str]:
    """Return the names of all units of ours that systemd knows."""
    out = run("systemctl", "list-units", "--all", "--plain", "--no-legend", *UNITS).stdout
    return [line.split()[0] for line in out.splitlines() if line.strip()]


def write_route(name: str, text: str) -> Path:
    """Put a route file in place by a rename, as a careful person does."""
    path = CONF / f"{name}.toml"
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.rename(path)
    return path


def write_credential(name: str, secret: str, mode: int = 0o600) -> Path:
    path = CREDENTIALS / name
    path.touch(mode=0o600)
    path.write_text(secret + "\n")
    path.chmod(mode)
    return path


def status(address: str = "") -> Any:
    """Return what `streamctl status --json` says, of everything or of one address; None where there is none."""
    done = run("streamctl", "status", "--json", *([address] if address else []), check=False)
    return json.loads(done.stdout) if done.stdout.strip() else None


def state(address: str) -> str:
    """Return the state of ROUTE or ROUTE/OUTPUT, "" where there is none; cheap enough to ask again and again."""
    interface = names.OUTPUT if "/" in address else names.ROUTE
    asked = ("busctl", "get-property", names.BUS_NAME, names.address_path(address), interface, "State")
    return run(*asked, check=False).stdout.strip().removeprefix('s "').removesuffix('"')


def wait_state(address: str, wanted: str, seconds: float = 20) -> Any:
    """Wait for a state, and return what `streamctl status --json` says soon after."""
    try:
        return wait_until(lambda: state(address) == wanted and status(address), seconds, f"{address} is {wanted}")
    except AssertionError as error:
        raise AssertionError(f"{error}; it is {status(address)}") from None


def wait_active(addresses: Iterable[str], seconds: float = 30) -> None:
    """Wait until each unit is active, with a process."""
    for address in addresses:
        wait_until(lambda address=address: is_active(address), seconds, f"{address} is active")  # type: ignore[misc]


def restart_daemon() -> None:
    run("systemctl", "restart", "streamd.service")


def kill_daemon() -> None:
    """kill -9, and wait until systemd has brought it back and it is ready."""
    before = show("streamd.service", "InvocationID", "MainPID")
    run("kill", "-9", before["MainPID"])

    def back() -> bool:
        now = show("streamd.service", "InvocationID", "ActiveState")
        return now["InvocationID"] != before["InvocationID"] and now["ActiveState"] == "active"

    wait_until(back, 20, "the daemon is back")


def journal(*matches: str) -> str:
    return run("journalctl", "--no-pager", "-o", "short-monotonic", *matches).stdout
