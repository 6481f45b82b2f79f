"""What an operator stopped stays stopped; what anything else stopped comes back."""

from __future__ import annotations

import json

from tests.appliance.host import (
    STATE,
    incarnations,
    is_active,
    kill_daemon,
    our_units,
    restart_daemon,
    run,
    show,
    state,
    unit_of,
    wait_active,
    wait_state,
    wait_until,
    write_route,
)

ROUTE = """
[input]
url = "udp://0.0.0.0:5000"

[output.x]
url = "udp://127.0.0.1:6001"

[output.y]
url = "udp://127.0.0.1:6002"
"""
ALL = ("a", "a/x", "a/y")


def stopped() -> list[str]:
    path = STATE / "stopped.json"
    return list(json.loads(path.read_text())) if path.exists() else []


def up() -> None:
    write_route("a", ROUTE)
    wait_active(ALL)


def test_streamctl_stop_holds_until_streamctl_start() -> None:
    up()
    others = incarnations(("a", "a/y"))
    run("streamctl", "stop", "a/x")
    assert unit_of("a/x") not in our_units(), "the verb waits for its job"
    assert state("a/x") == "stopped"
    run("streamctl", "reload")
    restart_daemon()
    assert not is_active("a/x")
    run("streamctl", "start", "a/x")
    assert is_active("a/x"), "the verb waits for its job"
    assert incarnations(("a", "a/y")) == others


def test_start_is_obeyed_at_once_after_systemctl_stop() -> None:
    up()
    for verb in ("start", "restart"):
        run("systemctl", "stop", unit_of("a/x"))
        run("streamctl", verb, "a/x")
        assert is_active("a/x"), "the later wish counts, though the daemon has not looked since the earlier"
        assert stopped() == []


def test_systemctl_stop_is_an_operators_stop() -> None:
    up()
    run("systemctl", "stop", unit_of("a/x"))
    wait_state("a/x", "stopped")
    run("streamctl", "reload")
    assert not is_active("a/x")
    assert is_active("a/y")


def test_systemctl_stop_while_the_daemon_is_dead_is_noticed() -> None:
    up()
    run("systemctl", "stop", "streamd.service")
    run("systemctl", "stop", unit_of("a/x"))
    run("systemctl", "start", "streamd.service")
    wait_state("a/x", "stopped")
    assert is_active("a/y")
    kill_daemon()
    wait_state("a/x", "stopped")


def test_a_stop_of_a_slice_is_no_operators_stop() -> None:
    up()
    for slice_name in ("streamd-a.slice", "streamd.slice"):
        before = incarnations(ALL)
        run("systemctl", "stop", slice_name)
        wait_until(lambda: all(map(is_active, ALL)), 30, f"all came back after a stop of {slice_name}")
        assert not set(before.values()) & set(incarnations(ALL).values())
        assert stopped() == []


def test_another_target_means_no_stream() -> None:
    """systemctl isolate would otherwise stop whatever the target does not ask for, as if an operator had."""
    write_route("a", ROUTE)
    wait_active(("a", "a/x"))
    for address in ("a", "a/x"):
        assert show(unit_of(address), "IgnoreOnIsolate")["IgnoreOnIsolate"] == "yes"


def test_a_restart_by_systemctl_is_no_stop() -> None:
    up()
    for _ in range(3):
        # More than once, since the moment between its stop and its start is short.
        run("systemctl", "restart", unit_of("a/x"))
        wait_active(("a/x",))
        assert stopped() == []


def test_a_whole_route_stops_and_starts() -> None:
    up()
    run("streamctl", "stop", "a")
    assert our_units() == []
    restart_daemon()
    assert our_units() == []
    run("streamctl", "start", "a")
    assert all(map(is_active, ALL))


def test_restart_restarts_that_output_alone() -> None:
    up()
    before = incarnations(ALL)
    run("streamctl", "restart", "a/x")
    after = incarnations(ALL)
    assert {key for key in ALL if before[key] != after[key]} == {"a/x"}


def test_an_output_that_leaves_the_file_and_returns_runs_again() -> None:
    up()
    run("streamctl", "stop", "a/x")
    write_route("a", ROUTE.replace("[output.x]", "[output.z]"))
    wait_active(("a/z",))
    write_route("a", ROUTE)
    wait_active(("a/x",))


def test_a_disabled_output_is_not_started_and_says_so() -> None:
    write_route("a", ROUTE.replace("[output.x]", "[output.x]\nenabled = false"))
    wait_active(("a", "a/y"))
    wait_state("a/x", "disabled")
    refused = run("streamctl", "start", "a/x", check=False)
    assert refused.returncode != 0
    assert "enabled = true" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_killed_processes_come_back_by_themselves_with_the_daemon_dead() -> None:
    up()
    run("systemctl", "stop", "streamd.service")
    before = incarnations(("a/x",))["a/x"]
    run("kill", "-9", str(before.pid))
    wait_until(lambda: incarnations(("a/x",))["a/x"].pid not in (0, before.pid), 5, "systemd restarted it")
    run("systemctl", "start", "streamd.service")
    assert stopped() == []
    assert int(show(unit_of("a/x"), "NRestarts")["NRestarts"]) >= 1
