"""The sandbox of an FFmpeg: how tight it is, and what somebody can do who has taken one over."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.appliance import intruder
from tests.appliance.host import (
    incarnations,
    journal,
    run,
    show,
    unit_of,
    wait_active,
    wait_until,
    write_credential,
    write_route,
)

ROUTE = """
[input]
url = "srt://127.0.0.1:5001"
mode = "listener"
passphrase = { credential = "in" }
[output.x]
url = "srt://127.0.0.1:9100"
mode = "listener"
passphrase = { credential = "x" }
[output.y]
url = "srt://127.0.0.1:9101"
mode = "listener"
passphrase = { credential = "y" }
"""
TAKEN = ("a", "a/x")
"""An ingest and an output that are taken over; a/y is not."""
OTHER = unit_of("a/y")
ELSEWHERE = ("root", "nobody")
"""Who tries the same without a sandbox."""

WANTED = Path("/srv/intruder.json")
PROGRAM = Path("/srv/intruder-id")
DEVICES = {f"/dev/{name}" for name in ("full", "null", "pts/ptmx", "random", "tty", "urandom", "zero")}
SANDBOXED = ("streamd.service", "streamd-mediamtx.service", *map(unit_of, TAKEN))


def wanted() -> dict[str, Any]:
    """Return what is worth an attempt on this machine."""
    return {
        "setuid": str(PROGRAM),
        "read": [
            "/etc/streamd",
            "/etc/streamd/streamd.toml",
            "/etc/streamd/conf.d/a.toml",
            "/etc/streamd/credentials",
            "/etc/streamd/credentials/x",
            "/etc/streamd/credentials/y",
            "/var/lib/streamd",
            "/run/streamd/presets",
            f"/run/streamd/presets/{OTHER}",
            f"/run/credentials/{OTHER}",
            f"/run/credentials/{OTHER}/secrets",
            "/etc/shadow",
        ],
        "signal": {
            "another output": int(show(OTHER, "MainPID")["MainPID"]),
            "the daemon": int(show("streamd.service", "MainPID")["MainPID"]),
            "systemd": 1,
        },
        "command": [
            ["busctl", "get-property", "org.streamd1", "/org/streamd1", "org.streamd1.Manager", "Version"],
            ["systemctl", "--no-ask-password", "restart", OTHER],
            ["streamctl", "restart", "a/y"],
            ["systemd-run", "--no-ask-password", "--wait", "true"],
        ],
    }


def without_sandbox(user: str, own: Path, environment: dict[str, str]) -> None:
    """Let the intruder run as a user, where nothing but the file permissions holds it back."""
    own.mkdir()
    shutil.chown(own, user)
    variables = [f"{name}={value}" for name, value in {**environment, "RUNTIME_DIRECTORY": str(own)}.items()]
    # What it mounts and names is gone with it.
    mine = ["unshare", "--mount", "--uts", "setpriv", f"--reuid={user}", "--clear-groups", "env", *variables]
    run(*mine, sys.executable, intruder.__file__, str(WANTED))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What each intruder could do, by where it was: in one of the units TAKEN, or ELSEWHERE."""
    for name in ("in", "x", "y"):
        write_credential(name, f"{name}-s3cret-0815")
    write_route("a", ROUTE)
    wait_active((*TAKEN, "a/y"))
    shutil.copy2(shutil.which("id") or "", PROGRAM)
    PROGRAM.chmod(0o4755)
    WANTED.write_text(json.dumps(wanted()))
    others = incarnations(("a/y",))
    places = {}
    drop_ins = []
    for address in TAKEN:
        kind, _, instance = unit_of(address).removesuffix(".service").partition("@")
        places[address] = Path("/run/private", kind, instance)
        drop_in = Path("/run/systemd/system", f"{unit_of(address)}.d", "intruder.conf")
        drop_in.parent.mkdir(parents=True)
        command = f"{sys.executable} {intruder.__file__} {WANTED} --wait"
        # It needs a place for its report; an FFmpeg has none, or another for its count of restarts.
        own = f"RuntimeDirectory=\nRuntimeDirectory={kind}/%i\nRuntimeDirectoryPreserve=restart\n"
        drop_in.write_text(f"[Service]\nExecStart=\nExecStart={command}\n{own}")
        drop_ins.append(drop_in)
    try:
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", *map(unit_of, TAKEN))
        found = {}
        for address, place in places.items():
            report = place / "report.json"
            what = f"a report from {address}: {journal('-b', '-n', '20', '-u', unit_of(address))}"
            wait_until(report.exists, 40, what)
            found[address] = json.loads(report.read_text())
        assert incarnations(("a/y",)) == others, "the other one runs as if nothing had been"
        environment = {"CREDENTIALS_DIRECTORY": f"/run/credentials/{unit_of('a/x')}"}
        # Its own directory is made with an owner that is no root for the time being.
        base = tmp_path_factory.mktemp("intruder")
        for path in (base, *base.parents):
            if path not in (Path("/"), Path("/tmp"), Path("/var/tmp")):
                path.chmod(0o755)
        for user in reversed(ELSEWHERE):
            without_sandbox(user, base / user, environment)
            found[user] = json.loads((base / user / "report.json").read_text())
        yield found
    finally:
        for drop_in in drop_ins:
            shutil.rmtree(drop_in.parent)
        PROGRAM.unlink()
        WANTED.unlink()
        run("systemctl", "daemon-reload")


def test_an_intruder_without_a_sandbox_can_do_all_of_it(reports: dict[str, Any]) -> None:
    failed = {name: told for name, told in reports["root"]["attempts"].items() if told}
    assert failed == {}
    assert "/etc/streamd/conf.d" in reports["root"]["writable"]
    # Whoever is nobody can do some of it on a Debian as it is, and that is seen.
    assert {"/dev/shm", "/run/lock", "/tmp", "/var/tmp"} <= set(reports["nobody"]["writable"])
    done = {name for name, told in reports["nobody"]["attempts"].items() if not told}
    assert {"become root by a set-user-ID program", "make code at run time", "read /etc/streamd/conf.d/a.toml"} <= done


@pytest.mark.parametrize("address", TAKEN)
def test_an_intruder_reads_its_own_secret_and_gets_nowhere_else(address: str, reports: dict[str, Any]) -> None:
    attempts = reports[address]["attempts"]
    assert attempts.keys() == reports["root"]["attempts"].keys()
    assert len(attempts) > 35
    assert [name for name, told in attempts.items() if not told] == [intruder.HANDED]


@pytest.mark.parametrize("address", TAKEN)
def test_an_intruder_writes_to_its_own_place_alone(address: str, reports: dict[str, Any]) -> None:
    # The file is there for whoever is to be told of the unit's own lack of memory.
    allowed = {name for name in reports[address]["writable"] if name.endswith(f"/{unit_of(address)}/memory.pressure")}
    assert set(reports[address]["writable"]) - allowed <= DEVICES


def test_an_intruder_is_a_user_of_its_own_without_capabilities(reports: dict[str, Any]) -> None:
    for address in TAKEN:
        assert {int(mask, 16) for mask in reports[address]["capabilities"]} == {0}
    users = [reports[address]["user"] for address in (*TAKEN, *ELSEWHERE)]
    assert len(set(users)) == len(users)


def said(unit: str) -> str:
    """Return the comments of a unit's files."""
    places = show(unit, "FragmentPath", "DropInPaths")
    lines = [line for path in " ".join(places.values()).split() for line in Path(path).read_text().splitlines() if line]
    return "\n".join(line for line in lines if line.startswith("#"))


@pytest.mark.parametrize("unit", SANDBOXED)
def test_the_exposure_is_small_and_what_is_left_of_it_has_a_reason(unit: str) -> None:
    for name in ("in", "x", "y"):
        write_credential(name, f"{name}-s3cret-0815")
    write_route("a", ROUTE)
    wait_active(TAKEN)
    text = run("systemd-analyze", "security", "--no-pager", unit).stdout
    level = float(text.rpartition("Overall exposure level")[2].partition(": ")[2].split()[0])
    assert 0 < level <= 1.5, text
    listed = json.loads(run("systemd-analyze", "security", "--json=short", unit).stdout)
    names = [entry["name"] for entry in listed if entry["exposure"]]
    assert any(name.startswith("RootDirectory=") for name in names), f"what is missing is listed: {names}"
    comments = said(unit)
    without = [
        name
        for name in names
        if not any(part.replace("~AF_(INET|INET6)", "~AF_INET") in comments for part in name.split("/"))
    ]
    assert without == [], "a directive is left out without a reason in a comment"
