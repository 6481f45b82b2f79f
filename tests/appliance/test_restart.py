"""Restarts for ever, with growing delays, by systemd itself."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from tests.appliance.host import run, show, unit_of, wait_active, wait_state, wait_until, write_route
from tests.appliance.media import Sender, SrtReceiver, make_stream

REFUSED = '[input]\nurl = "test:"\n[output.x]\nurl = "rtmp://127.0.0.1:1999/live/x"\n'


def attempts() -> list[float]:
    """Return when FFmpeg was refused, in seconds of the monotonic clock."""
    argv = ("journalctl", "-q", "-o", "json", "STREAMD_OUTPUT=a/x", "_COMM=ffmpeg", "--grep=Connection refused")
    entries = [json.loads(line) for line in run(*argv, check=False).stdout.splitlines()]
    by_process = {entry["_PID"]: int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6 for entry in entries}
    return sorted(by_process.values())


def test_a_refused_output_backs_off_with_the_daemon_dead() -> None:
    write_route("a", REFUSED)
    wait_until(lambda: len(attempts()) >= 1, 30, "a first try")
    wait_state("a/x", "backoff", 30)
    run("systemctl", "stop", "streamd.service")
    tries = wait_until(lambda: found if len(found := attempts()) >= 5 else None, 90, "five tries")
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    # The first gap has the daemon's stop in it, and on a busy machine any has a second or two too many.
    assert gaps[3] > min(gaps) + 1, gaps


def test_a_caller_that_leaves_a_listener_is_no_failure() -> None:
    stream = make_stream(Path("/var/tmp/stream.ts"))
    write_route(
        "a", '[input]\nurl = "udp://127.0.0.1:5000"\n[output.x]\nurl = "srt://127.0.0.1:9100"\nmode = "listener"\n'
    )
    wait_active(("a/x",))
    with Sender(stream, "127.0.0.1", 5000):
        for _ in range(6):
            before = show(unit_of("a/x"), "MainPID")
            with SrtReceiver(stream, "127.0.0.1", 9100) as caller:
                caller.wait_for(100, seconds=10)
            wait_until(
                lambda before=before: show(unit_of("a/x"), "MainPID") not in (before, {"MainPID": "0"}),
                15,
                "it listens again",
            )  # type: ignore[misc]


def test_the_log_of_an_output_is_one_command_away() -> None:
    write_route("a", REFUSED)
    wait_until(attempts, 30, "a first try")
    log = run("streamctl", "logs", "-n", "1000", "a/x").stdout
    assert "Connection refused" in log
    assert "Started" in log, "the lines of systemd itself are there too"
