"""A /var that is full or read-only while streams run: nothing restarts, nothing is forgotten, and it is told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.host import (
    STATE,
    incarnations,
    journal,
    kill_daemon,
    restart_daemon,
    run,
    show,
    status,
    unit_of,
    wait_active,
    wait_until,
    write_credential,
    write_route,
)

pytestmark = pytest.mark.once

FALLBACK = Path("/run/streamd/fallback")
FILLER = STATE / "filler"
AUTO = '[input]\nurl = "udp://0.0.0.0:auto"\n[output.x]\nurl = "udp://127.0.0.1:6001"\n'
SECRET = '[output.z]\nurl = "srt://127.0.0.1:9100"\npassphrase = { credential = "venue" }\n'


@pytest.fixture
def disk() -> Iterator[None]:
    """Put the state directory on a small disk of its own for as long as a test takes."""
    kept = Path("/root/state")
    shutil.copytree(STATE, kept)
    run("systemctl", "stop", "streamd.service")
    run("mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(STATE))
    try:
        shutil.copytree(kept, STATE, dirs_exist_ok=True)
        run("systemctl", "start", "streamd.service")
        yield
    finally:
        run("systemctl", "stop", "streamd.service")
        run("umount", str(STATE))
        shutil.rmtree(kept)
        run("systemctl", "start", "streamd.service")


def fill() -> None:
    done = run("dd", "if=/dev/zero", f"of={FILLER}", "bs=4k", check=False)
    assert "No space left on device" in done.stderr


def protect() -> None:
    run("mount", "-o", "remount,ro", str(STATE))


def release(damage: str) -> None:
    if damage == "full":
        FILLER.unlink()
    else:
        run("mount", "-o", "remount,rw", str(STATE))
        # It was started meanwhile, and so has a view of the file systems of its own in which this one stays read-only.
        restart_daemon()


def ports() -> dict[str, str]:
    return {route["route"]: route["url"] for route in status()["routes"]}


def unkept() -> dict[str, str]:
    """Return what the status says of files of the state directory."""
    return {
        Path(found["path"]).name: found["message"]
        for found in status()["diagnostics"]
        if found["path"].startswith(str(STATE))
    }


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize(
    # A route of its own for each: the port of one that was there before is known, and need not be written.
    ("damage", "reason", "new"),
    [("full", "No space left on device", "b"), ("ro", "Read-only file system", "c")],
    ids=["full", "ro"],
)
def test_the_daemon_is_killed_twice_and_no_output_restarts(damage: str, reason: str, new: str) -> None:
    write_credential("venue", "a passphrase of some length")
    write_route("a", AUTO + SECRET)
    wait_active(("a", "a/x"))
    (fill if damage == "full" else protect)()
    # What is allocated now can be kept in memory alone.
    write_route(new, AUTO.replace("6001", "6002"))
    wait_active((new, f"{new}/x"))
    run("streamctl", "stop", "a/z")
    before, had = incarnations(("a", "a/x", new, f"{new}/x")), ports()
    assert had["a"] != had[new]
    assert unkept().keys() == {"allocation.json", "routes.json", "stopped.json"}
    assert all(found.startswith(f"the file cannot be written: {reason}; ") for found in unkept().values())
    for _ in range(2):
        kill_daemon()
        run("streamctl", "reload", check=False)
        assert incarnations(before) == before
        assert ports() == had
        assert status("a/z")["state"] == "stopped"
    assert FALLBACK.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in FALLBACK.iterdir()} == {0o600}
    told = journal("-u", "streamd.service", "MESSAGE_ID=4b6d0f2c8e914f7db35a1c9e70d8264a", "-b")
    assert f"{STATE}/allocation.json: the file cannot be written: {reason}" in told
    release(damage)
    wait_until(lambda: not unkept(), 30, "it is written by itself")
    assert f'"{new}"' in (STATE / "allocation.json").read_text()
    shutil.rmtree(FALLBACK)
    restart_daemon()
    assert incarnations(before) == before
    assert ports() == had


def test_a_disk_that_goes_away_changes_no_fingerprint() -> None:
    write_credential("venue", "a passphrase of some length")
    write_route("a", AUTO + SECRET)
    wait_active(("a", "a/x"))
    wait_until(lambda: status("a/z")["pid"], 20, "it tries")
    before, had, fingerprint = incarnations(("a", "a/x")), ports(), show(unit_of("a/z"), "Description")
    run("systemctl", "stop", "streamd.service")
    run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(STATE))
    try:
        run("systemctl", "start", "streamd.service")
        run("streamctl", "reload", check=False)
        assert incarnations(before) == before
        assert ports() == had
        assert "digest.key" in unkept()
        assert show(unit_of("a/z"), "Description") == fingerprint
    finally:
        run("systemctl", "stop", "streamd.service")
        run("umount", str(STATE))
