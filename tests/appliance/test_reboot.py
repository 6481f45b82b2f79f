"""Over a reboot: what ran runs again, what was stopped stays stopped, ports stay the same.

The first test prepares and is the last of its boot; the others run after the reboot of the same root file system.
"""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from tests.appliance.boots import Memory, places, states, wait_running
from tests.appliance.host import is_active, run, wait_active, wait_state, wait_until, write_route
from tests.appliance.media import make_stream

STREAM = Path("/var/tmp/stream.ts")
LOOP = Path("/srv/loop.ts")
MEMORY = Memory(Path("/var/tmp/before-the-reboot"))
AUTO = '[input]\nurl = "udp://0.0.0.0:auto"\n'
OUTPUTS = '[output.x]\nurl = "udp://127.0.0.1:6001"\n[output.y]\nurl = "udp://127.0.0.1:6002"\n'
SYNC = 0x47
"""The first byte of each packet of MPEG-TS."""
MANY = range(6010, 6020)
SENDING = ("loop", *(f"loop/x{port}" for port in MANY), "pattern", "pattern/x")


@pytest.mark.before_reboot
def test_before_the_reboot() -> None:
    shutil.copy(make_stream(STREAM), LOOP)
    write_route("gone", AUTO)
    wait_active(("gone",))
    write_route("auto", AUTO + OUTPUTS)
    write_route("late", AUTO)
    many = "".join(f'[output.x{port}]\nurl = "udp://127.0.0.1:{port}"\n' for port in MANY)
    write_route("loop", f'[input]\nurl = "file://{LOOP}"\n{many}')
    write_route("pattern", '[input]\nurl = "test:"\n[output.x]\nurl = "udp://127.0.0.1:6009"\n')
    wait_active(("auto", "auto/x", "auto/y", "late", *SENDING))
    wait_until(lambda: {states()[address] for address in SENDING} == {"running"}, 30, f"all send; {states()}")
    # Without the first, a fresh allocation would come out differently.
    Path("/etc/streamd/conf.d/gone.toml").unlink()
    run("streamctl", "stop", "auto/x")
    run("systemctl", "stop", "streamd-ingest@late.service")
    wait_state("late", "stopped")
    MEMORY.write(("auto", "late"))


@pytest.mark.after_reboot
def test_every_route_sends_again_soon_after_the_daemon_starts() -> None:
    wait_running(SENDING)
    for port in MANY[0], MANY[-1]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.settimeout(5)
            receiver.bind(("127.0.0.1", port))
            assert receiver.recv(2048)[0] == SYNC


@pytest.mark.after_reboot
def test_everything_is_back_but_what_was_stopped() -> None:
    wait_active(("auto", "auto/y"))
    assert not is_active("auto/x")
    assert not is_active("late")
    wait_state("auto/x", "stopped")
    assert places(("auto", "late")) == MEMORY.read()


@pytest.mark.after_reboot
def test_what_was_stopped_starts_when_asked() -> None:
    run("streamctl", "start", "auto/x", "late")
    assert is_active("auto/x")
    assert is_active("late")
