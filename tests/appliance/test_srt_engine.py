"""Outputs whose engine is srt-live-transmit: stream, states and causes as FFmpeg's are, and how the connection is."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.appliance.host import (
    incarnation,
    incarnations,
    kill_daemon,
    restart_daemon,
    run,
    show,
    state,
    status,
    unit_of,
    wait_state,
    wait_until,
    write_credential,
    write_route,
)
from tests.appliance.media import Sender, SrtReceiver, UdpReceiver, make_stream

INPUT = '[input]\nurl = "udp://127.0.0.1:5000"\n'
ENGINE = 'engine = "srt-live-transmit"\n'
CALLER = f'[output.caller]\nurl = "srt://127.0.0.1:9000"\nlatency = "200ms"\n{ENGINE}'
LISTENER = f'[output.listener]\nurl = "srt://0.0.0.0:9100"\nmode = "listener"\n{ENGINE}'
UDP = '[output.udp]\nurl = "udp://127.0.0.1:6001"\n'
PASSPHRASE = "correct-horse-battery"
PER_SECOND = 475
BINARY = Path("/usr/bin/srt-live-transmit")


@pytest.fixture(scope="module")
def stream() -> Path:
    return make_stream(Path("/var/tmp/stream.ts"))


def counters(address: str) -> dict[str, Any]:
    found = status(address)
    return dict(found["statistics"]) if found else {}


def is_srt_live_transmit(address: str) -> bool:
    pid = show(unit_of(address), "MainPID")["MainPID"]
    return pid != "0" and Path(f"/proc/{pid}/cmdline").read_bytes().startswith(bytes(BINARY) + b"\0")


def intact(receiver: SrtReceiver) -> bool:
    count = receiver.report()
    assert count.intact, count
    return True


def test_a_caller_and_a_listener_send_all_and_tell_how_the_connection_is(stream: Path) -> None:
    write_route("a", INPUT + CALLER + LISTENER)
    with (
        Sender(stream, "127.0.0.1", 5000) as sender,
        SrtReceiver(stream, "127.0.0.1", 9000, mode="listener") as caller,
    ):
        wait_state("a/caller", "running")
        assert wait_state("a/listener", "waiting")["cause"] == "nobody has called yet"
        with SrtReceiver(stream, "127.0.0.1", 9100) as listener:
            wait_state("a/listener", "running")
            caller.wait_for(PER_SECOND)
            first = listener.wait_for(1).first
            assert first is not None
            assert sender.sent() - first < 2 * PER_SECOND, "a caller who comes late gets what is there now"
            for name in ("a/caller", "a/listener"):
                assert is_srt_live_transmit(name)
                wait_until(lambda name=name: counters(name).get("bitrate", 0) > 4_500_000, 20, f"bitrate of {name}")  # type: ignore[misc]
                found = status(name)
                assert found["engine"] == "srt-live-transmit"
                told = found["statistics"]
                assert 4_500_000 < told["bitrate"] < 5_500_000, told
                assert told["srt-rate"] > told["bitrate"], told
                assert 0 < told["srt-rtt"] < 100_000, told
                assert told["srt-bandwidth"] > 0, told
                assert told["srt-packets"] > PER_SECOND, told
                assert told["srt-bytes"] > told["bytes"], told
                assert {told[key] for key in ("srt-lost", "srt-retransmitted", "srt-dropped")} == {0}, told
            shown = run("streamctl", "status", "a/caller").stdout
            assert "srt caller by srt-live-transmit" in shown
            assert "RTT: " in shown, shown
            assert "RTT" in run("streamctl", "top", "--batch", "--iterations", "1").stdout
            assert 'streamd_output_srt_rtt_seconds{route="a",output="caller"} ' in run("streamctl", "metrics").stdout
            assert intact(caller)
            assert intact(listener)
        # The caller has left: that is no failure, and the next one is served.
        wait_state("a/listener", "waiting")
        with SrtReceiver(stream, "127.0.0.1", 9100) as listener:
            listener.wait_for(PER_SECOND)
            wait_state("a/listener", "running")
            assert intact(listener)


@pytest.mark.once
def test_counted_bytes_are_those_of_the_stream(stream: Path) -> None:
    write_route("a", INPUT + LISTENER)
    wait_state("a/listener", "starved")
    with SrtReceiver(stream, "127.0.0.1", 9100) as receiver, Sender(stream, "127.0.0.1", 5000):
        receiver.wait_for(3 * PER_SECOND)
        told = int(wait_until(lambda: counters("a/listener").get("bytes"), 10, "bytes") or 0)
        seen = receiver.report().packets * 1316
        assert told % 1316 == 0, "whole datagrams, without headers"
        assert abs(seen - told) < 2 * PER_SECOND * 1316


@pytest.mark.once
def test_the_daemon_comes_and_goes_without_a_packet_lost(stream: Path) -> None:
    write_route("a", INPUT + CALLER + LISTENER)
    with (
        Sender(stream, "127.0.0.1", 5000),
        SrtReceiver(stream, "127.0.0.1", 9000, mode="listener") as caller,
        SrtReceiver(stream, "127.0.0.1", 9100) as listener,
    ):
        for name in ("a/caller", "a/listener"):
            wait_state(name, "running")
        for receiver in (caller, listener):
            receiver.wait_for(PER_SECOND)
        names = ("a", "a/caller", "a/listener")
        before, sent = incarnations(names), counters("a/caller")["srt-packets"]
        # For some time nobody takes the reports: that is where a refusal would end them.
        run("systemctl", "stop", "streamd.service")
        caller.reset()
        caller.wait_for(5 * PER_SECOND)
        run("systemctl", "start", "streamd.service")
        wait_until(lambda: counters("a/caller").get("srt-packets", 0) > sent, 10, "the statistics go on")
        kill_daemon()
        restart_daemon()
        sent = wait_until(lambda: counters("a/listener").get("srt-packets"), 10, "the listener's go on")
        wait_until(lambda: counters("a/listener").get("srt-packets", 0) > sent, 10, "and on")
        for name in ("a/caller", "a/listener"):
            wait_state(name, "running")
        assert incarnations(names) == before
        assert intact(caller)
        assert intact(listener)


@pytest.mark.once
def test_another_engine_restarts_that_output_alone(stream: Path) -> None:
    write_route("a", INPUT + UDP + CALLER.replace(ENGINE, ""))
    with (
        Sender(stream, "127.0.0.1", 5000),
        SrtReceiver(stream, "127.0.0.1", 9000, mode="listener") as receiver,
        UdpReceiver(stream, (6001,)) as udp,
    ):
        wait_state("a/caller", "running")
        wait_state("a/udp", "running")
        assert "srt-rtt" not in counters("a/caller")
        others = incarnations(("a", "a/udp"))
        before = incarnation("a/caller")
        udp.wait_for(PER_SECOND)
        write_route("a", INPUT + UDP + CALLER)
        wait_until(lambda: incarnation("a/caller") != before and is_srt_live_transmit("a/caller"), 20, "it changed")
        wait_state("a/caller", "running")
        receiver.reset()
        receiver.wait_for(PER_SECOND)
        assert incarnations(("a", "a/udp")) == others
        assert udp.report()[6001].intact
        write_route("a", INPUT + UDP + CALLER.replace(ENGINE, ""))
        wait_until(lambda: status("a/caller")["engine"] == "ffmpeg", 20, "and back")
        wait_until(lambda: not is_srt_live_transmit("a/caller"), 20, "by its process")
        assert incarnations(("a", "a/udp")) == others


def test_a_receiver_that_is_not_there_and_one_that_goes(stream: Path) -> None:
    write_route("a", INPUT + CALLER)
    with Sender(stream, "127.0.0.1", 5000):
        found = wait_state("a/caller", "backoff", 30)
        assert (found["reason"], found["cause"]) == ("unreachable", "the destination does not answer")
        assert found["advice"]
        with SrtReceiver(stream, "127.0.0.1", 9000, mode="listener") as receiver:
            wait_state("a/caller", "running", 60)
            receiver.wait_for(PER_SECOND)
        wait_until(lambda: "the connection broke" in status("a/caller")["last-error"], 20, "the cause")


@pytest.mark.once
def test_a_name_and_a_port_that_are_not_to_be_had(stream: Path) -> None:
    del stream
    name = CALLER.replace("127.0.0.1", "nowhere.invalid")
    write_route("a", INPUT + name + LISTENER)
    wait_until(lambda: (status("a/caller") or {}).get("reason") == "name-not-found", 30, "the cause")
    # Outside of all routes somebody has the port.
    run("systemctl", "stop", unit_of("a/listener"))
    wait_state("a/listener", "stopped")
    other = "udp://127.0.0.1:7999"
    run("systemd-run", "--unit=squatter", str(BINARY), "-q", other, "srt://0.0.0.0:9100?mode=listener")
    try:
        wait_until(lambda: ":9100" in run("ss", "-lun").stdout, 10, "the port is taken")
        run("streamctl", "start", "--no-block", "a/listener")
        wait_until(lambda: status("a/listener")["reason"] == "address-in-use", 30, "the cause")
    finally:
        run("systemctl", "stop", "squatter.service")


def test_a_passphrase_needs_permission_and_is_in_the_arguments_alone(stream: Path) -> None:
    write_credential("venue", PASSPHRASE)
    encrypted = CALLER + 'passphrase = { credential = "venue" }\n'
    path = write_route("a", INPUT + encrypted)
    found = wait_until(
        lambda: json.loads(run("streamctl", "check", "--json", check=False).stdout or "[]"), 10, "errors"
    )
    (told,) = [one for one in found if one["path"] == str(path)]
    assert (told["line"], told["key"]) == (7, "output.caller.passphrase")
    assert "allow_visible_password = true" in told["message"]
    assert not Path(f"/run/streamd/presets/{unit_of('a/caller')}").exists()
    write_route("a", INPUT + encrypted + "allow_visible_password = true\n")
    with (
        Sender(stream, "127.0.0.1", 5000),
        SrtReceiver(stream, "127.0.0.1", 9000, mode="listener", passphrase=PASSPHRASE) as receiver,
    ):
        wait_state("a/caller", "running", 40)
        receiver.wait_for(PER_SECOND)
        shown = (
            run("systemctl", "show", unit_of("a/caller")).stdout + run("systemctl", "cat", unit_of("a/caller")).stdout
        )
        shown += run("streamctl", "status", "a/caller").stdout + run("streamctl", "cat", "a").stdout
        assert PASSPHRASE not in shown
        assert "srt-rtt" in counters("a/caller")
    write_credential("venue", "another-passphrase")
    with SrtReceiver(stream, "127.0.0.1", 9000, mode="listener", passphrase=PASSPHRASE):
        wait_until(lambda: status("a/caller")["reason"] == "passphrase", 40, "the cause of a wrong one")
        shown = json.dumps(status("a/caller")) + run("streamctl", "status", "a/caller", check=False).stdout
    lines = run("journalctl", "--no-pager", "-o", "cat", "-u", unit_of("a/caller")).stdout
    assert "REJECT" in lines
    assert "another-passphrase" not in lines + shown
    # That is where journald notes what the process that wrote a line was called with, as the manual says.
    noted = run("journalctl", "--no-pager", "-o", "json", "-u", unit_of("a/caller")).stdout.splitlines()
    where = {key for line in noted for key, value in json.loads(line).items() if "another-passphrase" in str(value)}
    assert where <= {"_CMDLINE"}


@pytest.mark.once
def test_one_that_hangs_is_restarted(stream: Path) -> None:
    write_route("a", INPUT + CALLER + 'stall_timeout = "5s"\n')
    with Sender(stream, "127.0.0.1", 5000), SrtReceiver(stream, "127.0.0.1", 9000, mode="listener") as receiver:
        wait_state("a/caller", "running")
        before = incarnation("a/caller")
        os.kill(before.pid, signal.SIGSTOP)
        wait_until(lambda: incarnation("a/caller") not in (before, type(before)(0, before.invocation)), 40, "a new one")
        told = "it sends nothing, and its input gives"
        wait_until(lambda: told in status("a/caller")["last-error"], 10, "it is told why")
        wait_state("a/caller", "running", 40)
        receiver.reset()
        receiver.wait_for(PER_SECOND)


@pytest.mark.once
def test_a_slow_stream_is_not_taken_for_a_stalled_one(stream: Path) -> None:
    write_route("a", INPUT + CALLER + 'stall_timeout = "5s"\n')
    with (
        Sender(stream, "127.0.0.1", 5000, bitrate=192_000),
        SrtReceiver(stream, "127.0.0.1", 9000, mode="listener") as receiver,
    ):
        wait_state("a/caller", "running", 40)
        before = incarnation("a/caller")
        receiver.reset()
        receiver.wait_for(18 * 30, seconds=60)
        assert state("a/caller") == "running"
        assert incarnation("a/caller") == before
        assert 150_000 < counters("a/caller")["bitrate"] < 250_000
        assert intact(receiver)
    # The input ends: that is known as soon as of any other output.
    wait_state("a/caller", "starved", 10)


@pytest.mark.once
def test_without_srt_tools_it_is_blocked_and_says_what_to_install(stream: Path) -> None:
    del stream
    hidden = BINARY.with_suffix(".hidden")
    BINARY.rename(hidden)
    try:
        write_route("a", INPUT + LISTENER + UDP)
        found = wait_state("a/listener", "blocked")
        assert found["cause"] == "srt-live-transmit is not installed; to install it, as root: apt install srt-tools"
        wait_state("a/udp", "starved")
    finally:
        hidden.rename(BINARY)
    run("streamctl", "reload")
    wait_until(lambda: is_srt_live_transmit("a/listener"), 20, "it starts")
