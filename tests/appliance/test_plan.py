"""A change touches only what it changes, a broken file nothing."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.appliance.host import (
    CONF,
    incarnation,
    incarnations,
    is_active,
    journal,
    kill_daemon,
    our_units,
    restart_daemon,
    run,
    show,
    status,
    unit_of,
    wait_active,
    wait_state,
    wait_until,
    write_route,
)

pytestmark = pytest.mark.once

ROUTE = """
[input]
url = "udp://0.0.0.0:{port}"

[output.x]
url = "udp://127.0.0.1:6001"

[output.pickup]
url = "srt://127.0.0.1:{listen}"
mode = "listener"
"""
ALL = ("a", "a/x", "a/pickup")


def up(name: str = "a", port: int = 5000, listen: int = 9100) -> None:
    write_route(name, ROUTE.format(port=port, listen=listen))
    wait_active((name, f"{name}/x", f"{name}/pickup"))


def test_diff_tells_beforehand_and_the_change_touches_that_alone() -> None:
    up()
    run("systemctl", "stop", "streamd.service")  # so that the change waits for us
    write_route("a", ROUTE.format(port=5000, listen=9100).replace("6001", "6009"))
    before = incarnations(ALL)
    run("systemctl", "start", "streamd.service")
    wait_until(lambda: incarnations(("a/x",))["a/x"] != before["a/x"], 10, "x was restarted")
    wait_active(ALL)
    after = incarnations(ALL)
    assert {key for key in ALL if before[key] != after[key]} == {"a/x"}


def test_diff_names_each_unit_with_action_and_reason() -> None:
    up()
    run("systemctl", "mask", "--runtime", "--now", "streamd.service")
    try:
        write_route("a", ROUTE.format(port=5000, listen=9100).replace("6001", "6009"))
    finally:
        run("systemctl", "unmask", "--runtime", "streamd.service")
    run("systemctl", "start", "streamd.service")
    wait_active(ALL)
    steps = json.loads(run("streamctl", "diff", "--json").stdout)
    assert {step["address"]: step["action"] for step in steps} == dict.fromkeys(ALL, "keep")
    assert "unchanged" in {step["reason"] for step in steps}


def test_limits_change_on_the_running_process() -> None:
    up()
    before = incarnations(ALL)
    write_route(
        "a", ROUTE.format(port=5000, listen=9100).replace('6001"', '6001"\nlimits = { memory = "150M", cpu = "30%" }')
    )
    wait_until(lambda: show(unit_of("a/x"), "MemoryMax")["MemoryMax"] == str(150 << 20), 10, "the limit is there")
    assert show(unit_of("a/x"), "CPUQuotaPerSecUSec")["CPUQuotaPerSecUSec"] == "300ms"
    up()
    wait_until(lambda: show(unit_of("a/x"), "MemoryMax")["MemoryMax"] == "infinity", 10, "the limit is gone")
    assert incarnations(ALL) == before


def test_a_broken_file_leaves_its_last_good_definition_running() -> None:
    up()
    before = incarnations(ALL)
    (CONF / "a.toml").write_text('[input]\nurl = "udp://0.0.0.0:5000"\n[output.x]\nurll = "udp://127.0.0.1:6001"\n')
    wait_until(lambda: status("a")["broken"], 10, "the route is told broken")
    assert incarnations(ALL) == before
    text = run("streamctl", "check", check=False).stdout
    assert "/etc/streamd/conf.d/a.toml:4:1: output.x.urll: unknown key" in text
    assert 'did you mean "url"?' in text
    assert "  ^~~~" in text
    assert "output.x.urll" in journal("-u", "streamd.service", "-p", "err")
    for again in (restart_daemon, kill_daemon):
        again()
        assert incarnations(ALL) == before, "after a restart a broken file's units are left running"
    up()
    assert incarnations(ALL) == before


def test_garbage_masks_and_lower_directories() -> None:
    up()
    before = incarnations(ALL)
    (CONF / "junk.toml").write_bytes(b"\xff\xfe\x00[[[")
    (CONF / "b.toml").symlink_to("/dev/null")
    wait_until(lambda: any("junk.toml" in found["path"] for found in status()["diagnostics"]), 10, "junk is told")
    assert incarnations(ALL) == before
    (CONF / "a.toml").unlink()
    (CONF / "a.toml").symlink_to("/dev/null")
    wait_until(lambda: not our_units(), 10, "a mask stops its route")


def test_two_routes_may_swap_their_ports() -> None:
    up("a", 5000, 9100)
    up("b", 5001, 9101)
    write_route("a", ROUTE.format(port=5001, listen=9101))
    write_route("b", ROUTE.format(port=5000, listen=9100))

    def swapped() -> bool:
        argv = {name: show(unit_of(f"{name}/pickup"), "ExecStart").get("ExecStart", "") for name in "ab"}
        return "9101" in argv["a"] and "9100" in argv["b"]

    wait_until(swapped, 15, "both were moved")
    wait_active(("a", "a/pickup", "b", "b/pickup"))
    for address in ("a", "a/pickup", "b", "b/pickup"):
        assert show(unit_of(address), "NRestarts")["NRestarts"] == "0", f"{address} found its port taken"


def test_two_files_that_want_one_port_the_incumbent_keeps_it() -> None:
    up("b", 5000, 9101)
    write_route("a", ROUTE.format(port=5000, listen=9100))
    wait_until(lambda: status("a") and status("a")["broken"], 10, "the newcomer is told")
    assert is_active("b")
    assert not is_active("a")


def test_an_automatic_port_stays_the_same() -> None:
    write_route("auto", '[input]\nurl = "udp://0.0.0.0:auto"\n')
    wait_active(("auto",))
    url = status("auto")["url"]
    assert url.startswith("udp://0.0.0.0:50")
    restart_daemon()
    assert status("auto")["url"] == url
    write_route("other", '[input]\nurl = "udp://0.0.0.0:auto"\n')
    wait_active(("other",))
    assert status("other")["url"] != url


def test_an_automatic_port_is_never_one_that_somebody_has_bound() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 5000))
        write_route("auto", '[input]\nurl = "udp://0.0.0.0:auto"\n')
        wait_active(("auto",))
        assert status("auto")["url"] != "udp://0.0.0.0:5000"


def test_a_missing_credential_blocks_its_output_alone() -> None:
    text = ROUTE.format(port=5000, listen=9100) + 'passphrase = { credential = "venue" }\n'
    write_route("a", text)
    wait_active(("a", "a/x"))
    found = wait_state("a/pickup", "blocked")
    assert "venue" in found["cause"]


def test_percent_signs_in_arguments_survive_systemd() -> None:
    """systemd expands %i and its like in unit files, which is what it makes of a transient unit at a daemon-reload."""
    streamid = "#!::r=%i%n,u=50%%"
    text = f'[input]\nurl = "test:"\n[output.x]\nurl = "srt://127.0.0.1:9000"\nstreamid = "{streamid}"\n'
    write_route("a", text)

    def argument() -> str:
        pid = show(unit_of("a/x"), "MainPID")["MainPID"]
        try:
            line = Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:
            return ""  # between two processes
        return line if line.startswith("/usr/bin/ffmpeg") else ""  # before its exec it has systemd's

    assert streamid in wait_until(argument, 10, "it runs")
    run("systemctl", "daemon-reload")
    restarts = show(unit_of("a/x"), "NRestarts")
    wait_until(lambda: show(unit_of("a/x"), "NRestarts") != restarts, 30, "nobody listens, so it is restarted")
    assert streamid in wait_until(argument, 10, "it runs again")


def test_every_output_runs_as_a_user_of_its_own() -> None:
    """What one of them is, the kernel lets it signal and trace."""
    write_route("a", ROUTE.format(port=5000, listen=9100) + '[output.more]\nurl = "udp://127.0.0.1:6009"\n')
    wait_active(("a", "a/x", "a/more"))
    pids = [incarnation(name).pid for name in ("a", "a/x", "a/more")]
    users = {Path(f"/proc/{pid}/status").read_text().split("\nUid:\t")[1].split("\t")[0] for pid in pids}
    assert len(users) == 3
    assert "0" not in users


def test_every_unit_stands_in_its_slice_with_its_fields() -> None:
    write_route("a-b", ROUTE.format(port=5000, listen=9100))
    wait_active(("a-b", "a-b/x"))
    found = show(unit_of("a-b/x"), "Slice", "DynamicUser", "SyslogIdentifier", "Restart", "StartLimitIntervalUSec")
    assert found["Slice"] == "streamd-a\\x2db.slice"
    assert found["DynamicUser"] == "yes"
    assert found["Restart"] == "always"
    assert found["StartLimitIntervalUSec"] == "0"
    assert journal("STREAMD_OUTPUT=a-b/x")
    (CONF / "a-b.toml").unlink()
    slice_state = lambda: show("streamd-a\\x2db.slice", "ActiveState")["ActiveState"]  # noqa: E731
    wait_until(lambda: slice_state() == "inactive", 10, "the empty slice is stopped")
