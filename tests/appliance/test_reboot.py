"""Over a reboot: what ran runs again, what was stopped stays stopped, ports stay the same.

The first test prepares and is the last of its boot; the others run after the reboot of the same root file system.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.appliance.host import is_active, run, state, status, wait_active, write_route

REMEMBERED = Path("/var/tmp/before-the-reboot")
OUTPUTS = '[output.x]\nurl = "udp://127.0.0.1:6001"\n[output.y]\nurl = "udp://127.0.0.1:6002"\n'


def facts() -> str:
    found = {name: status(name) for name in ("auto", "late")}
    return "\n".join(f"{name} {it['url']} {it['group']}" for name, it in found.items())


@pytest.mark.before_reboot
def test_before_the_reboot() -> None:
    write_route("gone", '[input]\nurl = "udp://0.0.0.0:auto"\n')
    wait_active(("gone",))
    write_route("auto", '[input]\nurl = "udp://0.0.0.0:auto"\n' + OUTPUTS)
    write_route("late", '[input]\nurl = "udp://0.0.0.0:auto"\n')
    wait_active(("auto", "auto/x", "auto/y", "late"))
    # Without the first, a fresh allocation would come out differently.
    Path("/etc/streamd/conf.d/gone.toml").unlink()
    run("streamctl", "stop", "auto/x")
    run("systemctl", "stop", "streamd-ingest@late.service")
    assert state("late") == "stopped"
    REMEMBERED.write_text(facts())


@pytest.mark.after_reboot
def test_everything_is_back_but_what_was_stopped() -> None:
    assert REMEMBERED.exists(), "the reboot was not prepared"
    wait_active(("auto", "auto/y"))
    assert not is_active("auto/x")
    assert not is_active("late")
    assert state("auto/x") == "stopped"
    assert facts() == REMEMBERED.read_text()


@pytest.mark.after_reboot
def test_what_was_stopped_starts_when_asked() -> None:
    run("streamctl", "start", "auto/x", "late")
    assert is_active("auto/x")
    assert is_active("late")
