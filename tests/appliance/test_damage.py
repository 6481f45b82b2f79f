"""A boot of a damaged system: what can run runs, what cannot is told, and nothing that was known is forgotten.

A test prepares it and is the last of its boot. On the next one MediaMTX is gone, streamd.toml and one route's file are
broken, /etc is read-only, and the disks under /var/lib/streamd and /var/tmp are full.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.appliance.boots import Memory, places, wait_running
from tests.appliance.host import (
    CONF,
    STATE,
    incarnations,
    is_active,
    journal,
    kill_daemon,
    run,
    show,
    status,
    wait_active,
    wait_state,
    wait_until,
    write_credential,
    write_route,
)

MEDIAMTX = Path("/usr/local/bin/mediamtx")
MEMORY = Memory(Path("/root/before-the-damage"))
SETTINGS = Path("/etc/streamd/streamd.toml")
FALLBACK = Path("/run/streamd/fallback")
UNIT = Path("/etc/systemd/system/damage.service")
DAMAGE = f"""\
[Unit]
Description=Damage of a system for a test
DefaultDependencies=no
After=local-fs.target systemd-tmpfiles-setup.service
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=cp -a {STATE} /run/kept
ExecStart=mount -t tmpfs -o size=1m,mode=0700 tmpfs {STATE}
ExecStart=cp -a /run/kept/. {STATE}
ExecStart=-dd if=/dev/zero of={STATE}/filler bs=4k
ExecStart=mount -t tmpfs -o size=32k,nr_inodes=2,mode=1777 tmpfs /var/tmp
ExecStart=-dd if=/dev/zero of=/var/tmp/filler bs=4k
ExecStart=mount --bind /etc /etc
ExecStart=mount -o remount,bind,ro /etc

[Install]
WantedBy=sysinit.target
"""
AUTO = '[input]\nurl = "udp://0.0.0.0:auto"\n[output.x]\nurl = "udp://127.0.0.1:6001"\n'
GOOD = (
    '[input]\nurl = "test:"\n[output.x]\nurl = "udp://127.0.0.1:6002"\n[output.y]\nurl = "udp://127.0.0.1:6003"\n'
    '[output.z]\nurl = "srt://127.0.0.1:9100"\nmode = "listener"\npassphrase = { credential = "venue" }\n'
)
BROKEN = '[input]\nurl = "test:"\n[output.x]\nurl = "udp://127.0.0.1:6004"\n'
RELAYED = 'relay = "mediamtx"\n[input]\nurl = "test:"\n[output.x]\nurl = "udp://127.0.0.1:6005"\n'


def errors() -> dict[str, str]:
    return {found["path"]: found["message"] for found in status()["diagnostics"]}


def test_a_directory_of_routes_that_cannot_be_read_stops_nothing() -> None:
    write_route("auto", AUTO)
    write_route("good", GOOD.replace('passphrase = { credential = "venue" }', ""))
    wait_active(("auto", "auto/x", "good", "good/x", "good/y", "good/z"))
    run("streamctl", "stop", "good/y")
    before = incarnations(("auto", "auto/x", "good", "good/x", "good/z"))
    # The daemon is root, but has no capability that would let it into what another user keeps to himself.
    shutil.chown(CONF, "nobody")
    CONF.chmod(0o700)
    try:
        for _ in range(2):
            assert run("streamctl", "reload", check=False).returncode == 1
            assert errors() == {str(CONF): "the file cannot be read: Permission denied"}
            assert incarnations(before) == before
            kill_daemon()
    finally:
        CONF.chmod(0o755)
        shutil.chown(CONF, "root")
    run("streamctl", "reload")
    assert incarnations(before) == before
    wait_state("good/y", "stopped")


@pytest.mark.before_damage
def test_before_the_damage() -> None:
    SETTINGS.write_text('[relay]\ngroups = "239.254.0.0/16"\n')
    write_credential("venue", "a passphrase of some length")
    write_route("gone", AUTO)
    wait_active(("gone",))
    for name, text in {"auto": AUTO, "good": GOOD, "broken": BROKEN, "relayed": RELAYED}.items():
        write_route(name, text)
    wait_active(("auto", "auto/x", "good", "good/x", "good/y", "good/z", "broken", "broken/x"))
    # Without the first, a fresh allocation would come out differently.
    Path("/etc/streamd/conf.d/gone.toml").unlink()
    run("streamctl", "stop", "good/y")
    write_route("broken", BROKEN.replace("udp://", "upd://"))
    MEMORY.write(("auto", "good"))
    assert all(group.startswith("239.254.") for _url, group in MEMORY.read().values())
    SETTINGS.write_text(SETTINGS.read_text() + "grups\n")
    wait_until(lambda: len(errors()) == 2, 10, f"the broken files were seen; {errors()}")
    if MEDIAMTX.exists():
        MEDIAMTX.rename("/root/mediamtx")
    UNIT.write_text(DAMAGE)
    run("systemctl", "enable", UNIT.name)


@pytest.mark.after_damage
def test_the_system_is_damaged() -> None:
    MEMORY.read()
    assert show(UNIT.name, "ActiveState") == {"ActiveState": "active"}
    assert "No space left" in run("touch", "/var/tmp/x", check=False).stderr
    assert "No space left" in run("cp", "/etc/services", str(STATE), check=False).stderr
    (STATE / "services").unlink(missing_ok=True)
    assert "Read-only" in run("touch", "/etc/x", check=False).stderr
    assert not MEDIAMTX.exists()


@pytest.mark.after_damage
def test_what_can_run_runs_soon_after_the_daemon_starts() -> None:
    # What it had before it was broken is known, also over a reboot.
    wait_running(("good", "good/x", "broken", "broken/x"))
    wait_active(("auto", "auto/x", "good/z"))
    wait_state("good/z", "waiting")
    wait_state("good/y", "stopped")
    assert not is_active("good/y")
    assert places(("auto", "good")) == MEMORY.read()
    failed = run("systemctl", "list-units", "--failed", "--plain", "--no-legend").stdout
    assert "streamd" not in failed


@pytest.mark.after_damage
def test_what_cannot_run_is_told_with_its_reason() -> None:
    found = status("broken")
    assert (found["state"], found["cause"]) == ("running", "its file is broken, this is its last good definition")
    assert found["outputs"][0]["url"] == "udp://127.0.0.1:6004"
    broken = "/etc/streamd/conf.d/broken.toml"
    assert 'did you mean "udp://' in errors()[broken] or "must begin with" in errors()[broken]
    assert f"{broken}:4:7: output.x.url: " in journal("-b", "-u", "streamd.service")
    found = wait_state("relayed/x", "blocked")
    assert "MediaMTX is not installed" in found["cause"]
    assert show("streamd-mediamtx.service", "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert str(SETTINGS) in errors()


@pytest.mark.after_damage
def test_what_is_changed_now_is_kept_over_restarts_and_told() -> None:
    run("streamctl", "stop", "auto/x")
    allowed = ("auto", "good", "good/x", "good/z")
    before = incarnations(allowed)
    for _ in range(2):
        kill_daemon()
        run("streamctl", "reload", check=False)
        assert incarnations(allowed) == before
        wait_state("auto/x", "stopped")
        assert places(("auto", "good")) == MEMORY.read()
        reason = errors()[f"{STATE}/stopped.json"]
        assert reason.startswith("the file cannot be written: No space left on device; ")
    assert "auto/x" in json.loads((FALLBACK / "stopped.json.unsaved").read_text())


@pytest.mark.after_damage
def test_a_change_to_a_read_only_etc_is_refused_in_a_sentence() -> None:
    before = incarnations(("good/x",))
    refused = run("streamctl", "set", "good/x", "url=udp://127.0.0.1:6009", check=False)
    assert refused.returncode == 1
    assert refused.stderr.endswith(": Read-only file system\n")
    assert len(refused.stderr.splitlines()) == 1
    assert incarnations(("good/x",)) == before


@pytest.mark.after_damage
def test_with_room_again_it_is_written_by_itself() -> None:
    (STATE / "filler").unlink()
    wait_until(lambda: f"{STATE}/stopped.json" not in errors(), 20, f"it is written; {errors()}")
    assert "auto/x" in json.loads((STATE / "stopped.json").read_text())
    assert not (FALLBACK / "stopped.json.unsaved").exists()
    assert "Traceback" not in journal("-b", "-u", "streamd.service")
