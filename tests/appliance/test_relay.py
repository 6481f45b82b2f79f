"""Routes that MediaMTX relays: every kind of input and output, moves from one relay to the other, and its death."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.appliance.host import (
    incarnations,
    journal,
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

BINARY = Path("/usr/local/bin/mediamtx")
SETTINGS = Path("/etc/streamd/streamd.toml")
UNIT = "streamd-mediamtx.service"
OPEN = '[mediamtx]\nrtmp = "127.0.0.1:1935"\nhls = "127.0.0.1:8888"\n'
PASSWORD = "quiet-otter"
PICTURE = '[input]\nurl = "test:"\n'
PUBLISHED = '[input]\nurl = "publish:"\nuser = "studio"\npassword = { credential = "pub" }\n'
RELAYED = 'relay = "mediamtx"\n'
OUTPUTS = {name: f'[output.{name}]\nurl = "udp://127.0.0.1:{port}"\n' for port, name in enumerate("xyz", 6001)}

pytestmark = [
    pytest.mark.skipif(not BINARY.exists(), reason="no mediamtx was on the host's PATH: nothing was relayed by it"),
    pytest.mark.once,
]


@pytest.fixture(autouse=True)
def _open() -> Iterator[None]:
    text = SETTINGS.read_text()
    SETTINGS.write_text(OPEN)
    write_credential("pub", PASSWORD)
    run("streamctl", "reload")
    run("systemctl", "start", UNIT)
    wait_until(lambda: ":1935" in run("ss", "-Hlnt").stdout, 20, "RTMP is on")
    yield
    SETTINGS.write_text(text)
    run("streamctl", "reload", check=False)


@contextmanager
def hearing(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", port))
        ear.settimeout(20)
        yield ear


def drain(ear: socket.socket) -> None:
    """Throw away what has come until now."""
    ear.setblocking(False)
    try:
        while ear.recv(2048):
            pass
    except BlockingIOError:
        ear.settimeout(20)


def probed(url: str) -> list[str]:
    found = run("ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", url)
    return sorted({line.strip(",") for line in found.stdout.split()})


def by_mediamtx(address: str) -> bool | None:
    """Return whether an output reads from MediaMTX, or None while it has no unit: between two lives of it."""
    command = show(unit_of(address), "ExecStart").get("ExecStart")
    return None if command is None else "-i rtsp://127.0.0.1:8554/" in command


def test_a_move_takes_the_outputs_over_one_by_one_and_back() -> None:
    text = PICTURE + "".join(OUTPUTS.values())
    write_route("a", text)
    for name in OUTPUTS:
        wait_state(f"a/{name}", "running", 30)
    ingest = incarnations(("a",))
    for relay in (RELAYED, ""):
        moving = {f"a/{name}" for name in OUTPUTS}
        sends = dict.fromkeys(sorted(moving), True)
        write_route("a", relay + text)
        deadline = time.monotonic() + 60
        while moving:
            assert time.monotonic() < deadline, f"{moving} have not moved: {status('a')}"
            found = status("a")
            sends = {output["address"]: output["state"] == "running" for output in found["outputs"]}
            # One at a time, unless a busy machine keeps one from sending for so long that the next goes.
            assert any(sends.values()), f"not all at once: {sends}"
            moving = {name for name in moving if by_mediamtx(name) is not bool(relay) or not sends[name]}
        assert status("a")["relay"] == ("mediamtx" if relay else "direct")
        for port in (6001, 6002, 6003):
            assert probed(f"udp://127.0.0.1:{port}?timeout=10000000") == ["aac", "h264"]
    assert incarnations(("a",)) == ingest, "the input does the same for both"


def test_killed_it_is_back_and_outputs_send_again() -> None:
    write_route("a", RELAYED + PICTURE + OUTPUTS["x"])
    write_route("b", PICTURE + OUTPUTS["y"])
    for address in ("a/x", "b/y"):
        wait_state(address, "running", 30)
    direct = incarnations(("b", "b/y"))
    with hearing(6001) as ear:
        assert ear.recv(2048)
        run("kill", "-9", show(UNIT, "MainPID")["MainPID"])
        killed = time.monotonic()
        first = incarnations(("a/x",))
        wait_until(lambda: incarnations(("a/x",)) != first, 20, "the output has noticed")
        drain(ear)
        assert ear.recv(2048)
        print(f"sends again {time.monotonic() - killed:.1f} s after the kill")
    wait_state("a/x", "running", 20)
    assert incarnations(("b", "b/y")) == direct


@contextmanager
def encoder(*codecs: str) -> Iterator[None]:
    """Publish to route a by RTSP."""
    argv = [
        *("ffmpeg", "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25"),
        *("-f", "lavfi", "-i", "sine=sample_rate=48000", "-g", "25", "-pix_fmt", "yuv420p", *codecs),
        *("-f", "rtsp", "-rtsp_transport", "tcp", f"rtsp://studio:{PASSWORD}@127.0.0.1:8554/a"),
    ]
    shell = ["bash", "-c", 'while :; do "$@"; sleep 0.3; done', "encoder", *argv]
    with subprocess.Popen(shell, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_what_no_transport_stream_carries_is_published_and_sent_on() -> None:
    target = f'[output.x]\nurl = "rtsp://studio:{PASSWORD}@127.0.0.1:8554/b"\nallow_visible_password = true\n'
    write_route("a", PUBLISHED + target)
    write_route("b", PUBLISHED)
    wait_state("a", "waiting", 30)
    with encoder("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"):
        for address in ("a", "a/x", "b"):
            wait_state(address, "running", 60)
        (path,) = json.loads(run("streamctl", "viewers", "--json", "b").stdout)["paths"]
        assert path["tracks"] == ["VP8", "Opus"] or path["tracks"] == "VP8, Opus", path
    wait_state("a", "waiting", 30)
    assert status("a/x")["state"] != "running", "never green while dead"
    wait_until(lambda: next_try("a/x") > 5, 60, "its waits have grown")
    with encoder("-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"):
        line = "a/x: its stream has come"
        wait_until(lambda: line in journal("-u", "streamd.service", "--since=-20s"), 20, "it is started at once")
        wait_state("a/x", "running", 20)


def next_try(address: str) -> float:
    """Return the seconds until an output is started again, none where it does not wait."""
    return float(status(address)["next-try"] / 1e6 - time.time())


@pytest.mark.parametrize(
    "url",
    ["rtsp://127.0.0.1:8554/source", "rtmp://127.0.0.1:1935/source", "http://127.0.0.1:8888/source/index.m3u8"],
    ids=["rtsp", "rtmp", "hls"],
)
def test_it_fetches_what_is_pulled(url: str) -> None:
    write_route("source", PICTURE)
    wait_state("source", "running", 30)
    write_route("a", f'{RELAYED}[input]\nurl = "{url}"\n{OUTPUTS["x"]}')
    wait_state("a", "running", 60)
    wait_state("a/x", "running", 30)
    assert probed("udp://127.0.0.1:6001?timeout=10000000") == ["aac", "h264"]
    if url.startswith("rtsp"):
        # To the direct relay, where the input comes first.
        before = incarnations(("a",))
        write_route("a", f'[input]\nurl = "{url}"\n{OUTPUTS["x"]}')
        wait_until(lambda: by_mediamtx("a/x") is False, 40, "the output has moved")
        assert incarnations(("a",)) != before
        wait_state("a/x", "running", 30)
        assert probed("udp://127.0.0.1:6001?timeout=10000000") == ["aac", "h264"]


def test_without_it_outputs_are_blocked_and_say_how_to_help() -> None:
    kept = Path("/var/tmp/mediamtx.away")
    BINARY.rename(kept)
    try:
        write_route("a", RELAYED + PICTURE + OUTPUTS["x"])
        wait_state("a/x", "blocked", 20)
        assert "streamctl install-mediamtx" in status("a/x")["cause"]
        wait_until(lambda: state("a") == "running", 20, "the input runs all the same")
    finally:
        kept.rename(BINARY)
    # It is skipped until the daemon has written its document again.
    run("streamctl", "reload")
    run("systemctl", "restart", UNIT)
    wait_state("a/x", "running", 40)
