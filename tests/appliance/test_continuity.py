"""What is lost of a real stream, before it gets here and here, and who is told."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.appliance.host import run, show, status, unit_of, wait_state, wait_until, write_route
from tests.appliance.media import Sender, UdpReceiver, make_stream

ROUTE = """\
[input]
url = "udp://127.0.0.1:5000"
[output.one]
url = "udp://127.0.0.1:6001"
stall_timeout = "off"
[output.two]
url = "udp://127.0.0.1:6002"
"""
SAMPLE = 3000
"""Packets: somewhat less than a sample has at 5 Mbit/s."""


@pytest.fixture(scope="module")
def stream() -> Path:
    return make_stream(Path("/var/tmp/stream.ts"))


def statistics(address: str) -> dict[str, Any]:
    """Return the moving counters as D-Bus tells them."""
    argv = ["busctl", "--json=short", "call", "org.streamd1", "/org/streamd1", "org.streamd1.Manager", "Statistics"]
    answer = json.loads(run(*argv, "asa{sv}", "1", address, "0").stdout)
    (found,) = answer["data"][0]
    return {key: value["data"] for key, value in found.items()}


def wait_sampled(address: str, packets: int, seconds: float = 30) -> dict[str, Any]:
    """Wait until that many packets of an input were looked at."""

    def probe() -> dict[str, Any]:
        found = statistics(address)
        return found if found.get("sampled", 0) >= packets else {}

    return wait_until(probe, seconds, f"{packets} packets of {address} were looked at; {statistics(address)}")


def test_a_clean_stream_has_no_errors_and_no_output_loses_by_the_samples(stream: Path) -> None:
    write_route("a", ROUTE)
    with UdpReceiver(stream, (6001, 6002)) as udp, Sender(stream, "127.0.0.1", 5000):
        udp.wait_for(100)
        wait_state("a", "running")
        udp.reset()
        found = wait_sampled("a", 3 * SAMPLE)
        assert (found["continuity-errors"], found["ts-errors"]) == (0, 0)
        assert status("a")["cause"] == ""
        assert all(count.intact for count in udp.report().values()), udp.report()
        assert "sampled" not in statistics("a/one"), "nobody looks at what an output sends"


@pytest.mark.once
def test_losses_before_the_input_are_counted_and_told_while_it_runs(stream: Path) -> None:
    write_route("a", ROUTE)
    with Sender(stream, "127.0.0.1", 5000, skip_every=100):
        wait_state("a", "running")
        words = "packets are lost before they get here: "
        wait_until(lambda: status("a")["cause"].startswith(words), 40, f"a warning; {statistics('a')}")
        assert status("a")["state"] == "running"
        assert status("a/one")["cause"] == "", "its input is at fault"
        found = wait_until(lambda: "drops" in statistics("a") and statistics("a"), 20, "the kernel's count")
    assert found["continuity-errors"] > 0
    assert found["drops"] == 0


@pytest.mark.once
def test_a_stream_that_comes_by_srt_is_looked_at_too(stream: Path) -> None:
    write_route("far", '[input]\nurl = "udp://127.0.0.1:5000"\n[output.x]\nurl = "srt://127.0.0.1:5090"\n')
    write_route("near", '[input]\nurl = "srt://127.0.0.1:5090"\nmode = "listener"\n')
    with Sender(stream, "127.0.0.1", 5000):
        wait_state("near", "running", 40)
        found = wait_sampled("near", SAMPLE)
    assert (found["continuity-errors"], found["ts-errors"]) == (0, 0)


@pytest.mark.once
def test_a_built_in_picture_is_looked_at_too() -> None:
    write_route("a", '[input]\nurl = "test:"\n')
    wait_state("a", "running")
    found = wait_sampled("a", 2000)
    assert (found["continuity-errors"], found["ts-errors"]) == (0, 0)


@pytest.mark.once
def test_what_is_no_transport_stream_is_told(stream: Path, tmp_path: Path) -> None:
    write_route("a", ROUTE)
    other = tmp_path / "not.ts"
    other.write_bytes(stream.read_bytes()[: 6 * 188 * 1000].replace(b"\x47", b"\x48"))
    with Sender(other, "127.0.0.1", 5000):
        # It may be told as running until the first sample has been looked at.
        wait_until(lambda: status("a")["cause"] == "what arrives is no MPEG-TS", 30, "it is told what is wrong")
        wait_state("a", "starved")


def test_what_an_ffmpeg_has_no_time_for_is_counted_where_it_is_lost(stream: Path) -> None:
    write_route("a", ROUTE)
    # Faster than real time, so that the frozen one's buffer is soon full.
    with Sender(stream, "127.0.0.1", 5000, bitrate=30e6):
        wait_state("a/one", "running")
        wait_until(lambda: statistics("a/one").get("drops") == 0, 15, "the kernel's count is known")
        frozen = int(show(unit_of("a/one"), "MainPID")["MainPID"])
        os.kill(frozen, signal.SIGSTOP)
        try:
            wait_until(lambda: statistics("a/one")["drops"] > 0, 30, "datagrams are dropped")
        finally:
            os.kill(frozen, signal.SIGCONT)
        found = wait_state("a/one", "running")
        assert found["cause"].startswith("this machine is too busy: its FFmpeg came too late for ")
        assert (statistics("a")["drops"], statistics("a/two")["drops"]) == (0, 0)
