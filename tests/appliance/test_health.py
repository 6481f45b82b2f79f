"""What FFmpeg reports reaches the status, belongs to its output, and outlives the daemon."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.appliance.host import (
    incarnations,
    journal,
    kill_daemon,
    run,
    show,
    status,
    unit_of,
    wait_state,
    wait_until,
    write_route,
)
from tests.appliance.media import RtmpServer, RtspServer, Sender, UdpReceiver, make_stream

UDP = """
[input]
url = "udp://127.0.0.1:5000"
[output.udp]
url = "udp://127.0.0.1:6001"
"""
RTMP = '[output.rtmp]\nurl = "rtmp://127.0.0.1:1935/live/x"\n'
RTSP = '[output.rtsp]\nurl = "rtsp://127.0.0.1:8654/live"\n'
NAMES = ("a", "a/udp", "a/rtmp", "a/rtsp")


@pytest.fixture(scope="module")
def stream() -> Path:
    return make_stream(Path("/var/tmp/stream.ts"))


def statistics(*addresses: str) -> dict[str, dict[str, Any]]:
    """Return what Statistics says, by address."""
    asked = [str(len(addresses)), *addresses]
    call = ("busctl", "--json=short", "call", "org.streamd1", "/org/streamd1", "org.streamd1.Manager", "Statistics")
    (found,) = json.loads(run(*call, "asa{sv}", *asked, "0").stdout)["data"]
    values = [{key: value["data"] for key, value in one.items()} for one in found]
    return {one["address"]: one for one in values}


def bitrate_of(address: str) -> int:
    return int(statistics(address)[address].get("bitrate", 0))


def test_counters_belong_to_their_output_and_go_on_over_a_killed_daemon(stream: Path) -> None:
    write_route("a", UDP + RTMP + RTSP)
    with RtmpServer(), RtspServer(), Sender(stream, "127.0.0.1", 5000):
        for name in NAMES:
            wait_state(name, "running", 40)
        for name in ("a", "a/udp"):
            # The first seconds of a busy machine come in bursts.
            wait_until(lambda name=name: 4_500_000 < bitrate_of(name) < 5_500_000, 30, f"the bitrate of {name}")  # type: ignore[misc]
        for name in ("a/rtmp", "a/rtsp"):
            wait_until(lambda name=name: statistics(name)[name].get("media-time", 0) > 0, 10, f"media of {name}")  # type: ignore[misc]
        before, units = statistics(), incarnations(NAMES)
        for name in ("a", "a/udp"):
            assert "fps" not in before[name], "nobody looks into a stream that is passed on as it is"
        assert "bytes" not in before["a/rtsp"], "FFmpeg does not count them; unknown is never 0"
        assert all(one["cpu"] > 0 for one in before.values())
        accounted = show(unit_of("a/udp"), "MemoryCurrent")["MemoryCurrent"].isdigit()
        assert ("memory" in before["a/udp"]) is accounted, "what systemd does not know is missing"
        kill_daemon()
        states = {status(name)["state"] for name in NAMES}
        assert states <= {"running", "starting"}, "no false alarm before the first reports"
        for name in NAMES:
            wait_state(name, "running", 10)
        wait_until(lambda: bitrate_of("a/udp") and bitrate_of("a"), 10, "bitrates")
        after = statistics()
        assert after["a/udp"]["bytes"] > before["a/udp"]["bytes"]
        assert after["a/rtmp"]["media-time"] > before["a/rtmp"]["media-time"]
        assert after["a/udp"]["uptime"] > before["a/udp"]["uptime"]
        assert incarnations(NAMES) == units


@pytest.mark.once
def test_nobody_outside_can_feed_the_progress_channel(stream: Path) -> None:
    del stream
    run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
    try:
        run("ip", "address", "add", "192.0.2.1/24", "dev", "lan0")
        run("ip", "link", "set", "lan0", "up")
        listed = run("ss", "-lunp").stdout
        (line,) = [line for line in listed.splitlines() if ":20001" in line]
        assert "%lo:20001" in line, line
    finally:
        run("ip", "link", "del", "lan0")


@pytest.mark.once
def test_what_is_no_report_is_passed_over(stream: Path) -> None:
    write_route("a", UDP)
    with UdpReceiver(stream, (6001,)), Sender(stream, "127.0.0.1", 5000):
        wait_state("a/udp", "running")
        command = show(unit_of("a/udp"), "ExecStart")["ExecStart"]
        channel = command.split("-progress udp://")[1].split(":")[0]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for data in (
                b"",
                b"\x00\xff" * 400,
                b"progress=continue\ntotal_size=99999999999999999999999\n",
                b"=" * 1400,
            ):
                sender.sendto(data, (channel, 20001))
        wait_until(lambda: bitrate_of("a/udp") > 4_000_000, 10, "it goes by the next real report")
        assert status("a/udp")["state"] == "running"


@pytest.mark.once
def test_every_change_of_state_is_one_line_with_its_fields(stream: Path) -> None:
    write_route("a", UDP)
    with Sender(stream, "127.0.0.1", 5000):
        wait_state("a/udp", "running")
    wait_state("a/udp", "starved")
    wait_state("a", "starved")
    with Sender(stream, "127.0.0.1", 5000):
        wait_state("a/udp", "running")
    lines = run("journalctl", "-o", "json", "STREAMD_OUTPUT=a/udp", "SYSLOG_IDENTIFIER=streamd").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    moves = [(one["STREAMD_OLD_STATE"], one["STREAMD_NEW_STATE"]) for one in found if "STREAMD_NEW_STATE" in one]
    *_, last, again = [move for move in moves if "running" in move]
    assert (last, again) == (("running", "starved"), ("starved", "running"))
    assert all(one["MESSAGE_ID"] for one in found)
    told = next(one for one in found if one.get("STREAMD_NEW_STATE") == "starved")
    assert told["PRIORITY"] == "4"
    assert told["STREAMD_CAUSE"] == "its input gives nothing"
    assert told["STREAMD_UNIT"] == unit_of("a/udp")


@contextmanager
def small_journal() -> Iterator[Path]:
    """Let the journal stand on a file system of its own, and yield that."""
    place = Path("/var/log/journal")
    run("mount", "-t", "tmpfs", "-o", "size=24M", "none", str(place))
    try:
        (place / Path("/etc/machine-id").read_text().strip()).mkdir()
        run("systemctl", "restart", "systemd-journald.service", "streamd.service")
        yield place
    finally:
        run("umount", "--lazy", str(place))
        run("systemctl", "restart", "systemd-journald.service", "streamd.service")


def fill(path: Path) -> None:
    """Write a file until there is no room left."""
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(1 << 16))
            except OSError:
                return


@pytest.mark.once
def test_a_full_disk_under_the_journal_stops_no_stream_and_no_verdict(stream: Path) -> None:
    with small_journal() as place, RtmpServer() as rtmp, UdpReceiver(stream, (6001,)) as udp:
        write_route("a", UDP + RTMP)
        with Sender(stream, "127.0.0.1", 5000):
            wait_state("a/udp", "running")
            wait_state("a/rtmp", "running", 40)
            before = incarnations(("a", "a/udp"))
            fill(place / "filler")
            assert shutil.disk_usage(place).free == 0
            udp.reset()
            rtmp.stop()
            found = wait_state("a/rtmp", "backoff", 40)
            assert found["reason"], found
            rtmp.start()
            wait_state("a/rtmp", "running", 60)
            assert udp.report()[6001].intact
            assert incarnations(("a", "a/udp")) == before
            assert show("streamd.service", "ActiveState")["ActiveState"] == "active"
            (place / "filler").unlink()
    assert "Traceback" not in journal("-u", "streamd.service")
