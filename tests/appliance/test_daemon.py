"""The daemon as systemd sees it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.host import (
    journal,
    our_units,
    run,
    show,
    state,
    status,
    unit_of,
    wait_active,
    wait_state,
    wait_until,
    write_route,
)

GOOD = '[input]\nurl = "udp://0.0.0.0:5000"\n[output.x]\nurl = "udp://127.0.0.1:6001"\n'


def test_it_runs_from_the_installation_and_tells_its_status() -> None:
    write_route("a", GOOD)
    wait_active(("a", "a/x"))
    write_route("bad", "nonsense")
    assert run("streamctl", "reload", check=False).returncode == 1, "a reload tells of errors in files"
    found = show("streamd.service", "ActiveState", "StatusText", "Type", "WatchdogUSec", "UnitFileState")
    assert found["ActiveState"] == "active"
    assert found["StatusText"] == "2 routes, 1 output, 1 error"
    assert found["Type"] == "notify"
    assert found["WatchdogUSec"] not in ("0", "infinity")
    assert found["UnitFileState"] == "enabled"


def test_systemctl_reload_waits_for_the_new_configuration() -> None:
    write_route("a", GOOD)
    run("systemctl", "reload", "streamd.service")
    assert status("a/x")["state"] in ("starting", "starved")
    assert show("streamd.service", "ActiveState")["ActiveState"] == "active"


def test_sighup_reloads() -> None:
    write_route("a", GOOD)
    before = show("streamd.service", "InvocationID", "MainPID")
    run("systemctl", "kill", "--signal=HUP", "streamd.service")
    wait_active(("a/x",))
    assert show("streamd.service", "InvocationID", "MainPID") == before


def test_journal_lines_carry_fields_and_a_message_id() -> None:
    write_route("a", GOOD)
    wait_active(("a/x",))
    lines = run("journalctl", "-o", "json", "-u", "streamd.service", "STREAMD_OUTPUT=a/x").stdout.splitlines()
    entries = [json.loads(line) for line in lines]
    assert any(entry.get("STREAMD_ROUTE") == "a" and len(entry.get("MESSAGE_ID", "")) == 32 for entry in entries)


def test_the_status_of_an_output_is_one_object() -> None:
    write_route("a", GOOD)
    wait_active(("a/x",))
    found = wait_state("a/x", "starved")  # there is no encoder
    assert {"route", "output", "state", "cause", "unit", "pid"} <= found.keys()
    assert (found["route"], found["output"], found["state"]) == ("a", "x", "starved")
    assert found["pid"] == int(show(found["unit"], "MainPID")["MainPID"])


def write_many(address: str, routes: int) -> list[str]:
    """Write routes of twenty outputs to an address, and return those."""
    for number in range(routes):
        outputs = "".join(f'[output.x{at}]\nurl = "udp://{address}:{6000 + 20 * number + at}"\n' for at in range(20))
        write_route(f"many{number}", f'[input]\nurl = "udp://0.0.0.0:{5000 + number}"\n{outputs}')
    return [f"many{number}/x{at}" for number in range(routes) for at in range(20)]


def test_routes_are_told_while_their_outputs_are_still_being_started() -> None:
    names = write_many("127.0.0.1", 4)
    wait_until(lambda: state(names[-1]), 20, "it is told")
    assert len(our_units()) < 84, "and not when the last of them is up"
    found = status("many3")["outputs"]
    assert len(found) == 20
    assert {"starting"} <= {output["state"] for output in found}
    wait_active(names, 60)


@pytest.fixture
def _slow_stop() -> Iterator[None]:
    drop_in = Path("/run/systemd/system/streamd-output@.service.d/slow.conf")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Service]\nExecStop=/usr/bin/sleep 1\n")
    run("systemctl", "daemon-reload")
    yield
    drop_in.unlink()
    drop_in.parent.rmdir()
    run("systemctl", "daemon-reload")
    run("systemctl", "start", "streamd.service")


@pytest.mark.usefixtures("_slow_stop")
def test_a_daemon_that_is_stopped_amid_a_change_leaves_every_output_running() -> None:
    """It may stay stopped for as long as an operator likes."""

    def shown(what: str) -> int:
        return run("systemctl", "show", "--property=Description,ActiveState", *map(unit_of, names)).stdout.count(what)

    def told(what: str) -> int:
        return journal("-u", "streamd.service", f"--since=@{begin:.6f}").count(what)

    begin = time.time()
    names = write_many("127.0.0.1", 2)
    wait_active(names, 60)
    write_many("127.0.0.2", 2)
    wait_until(lambda: shown("=deactivating"), 20, "some are being stopped")
    run("systemctl", "stop", "streamd.service")
    assert show("streamd.service", "Result")["Result"] == "success"
    assert shown("=active") == len(names)
    made_anew = shown("127.0.0.2:")
    assert 0 < made_anew < len(names), "what has been stopped, and nothing else"
    assert told("its definition changed") == made_anew
    run("systemctl", "start", "streamd.service")
    wait_until(lambda: shown("127.0.0.2:") == len(names), 60, "the next one goes on")
    assert not told("was stopped by an operator")


def descriptors(pid: int) -> list[str]:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(link))
    return found


def test_it_can_be_stopped_before_it_is_ready() -> None:
    run("systemctl", "stop", "streamd.service")
    bus = int(show("dbus.service", "MainPID")["MainPID"])
    os.kill(bus, signal.SIGSTOP)
    try:
        run("systemctl", "start", "--no-block", "streamd.service")
        wait_until(lambda: show("streamd.service", "ActiveState")["ActiveState"] == "activating", 10, "it starts")
        pid = int(show("streamd.service", "MainPID")["MainPID"])
        wait_until(lambda: "anon_inode:[eventpoll]" in descriptors(pid), 10, "it waits for the bus")
        begin = time.monotonic()
        run("systemctl", "stop", "streamd.service")
        assert time.monotonic() - begin < 10, "it was not killed for not listening"
    finally:
        os.kill(bus, signal.SIGCONT)
    assert show("streamd.service", "Result", "ActiveState") == {"Result": "success", "ActiveState": "inactive"}
    run("systemctl", "start", "streamd.service")


def test_check_works_without_the_daemon() -> None:
    run("systemctl", "stop", "streamd.service")
    write_route("a", GOOD)
    assert run("streamctl", "check").returncode == 0
    write_route("b", '[input]\nurl = "udp://0.0.0.0:5000"\n')
    bad = run("streamctl", "check", check=False)
    assert bad.returncode == 1
    assert "/etc/streamd/conf.d/b.toml:2:7: input.url:" in bad.stdout + bad.stderr
    gone = run("streamctl", "status", check=False)
    assert "systemctl start streamd" in gone.stderr
    assert len(gone.stderr.splitlines()) == 1


def test_nothing_in_the_journal_is_a_traceback() -> None:
    assert "Traceback" not in journal("-u", "streamd.service")
