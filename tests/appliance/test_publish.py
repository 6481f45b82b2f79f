"""Inputs that encoders publish to MediaMTX, with a user and a password for each route."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.appliance.host import (
    incarnations,
    journal,
    kill_daemon,
    run,
    show,
    state,
    wait_state,
    wait_until,
    write_credential,
    write_route,
)

BINARY = Path("/usr/local/bin/mediamtx")
DOCUMENT = Path("/run/streamd/mediamtx/mediamtx.yml")
SETTINGS = Path("/etc/streamd/streamd.toml")
UNIT = "streamd-mediamtx.service"
OPEN = '[mediamtx]\nrtmp = "127.0.0.1:1935"\nsrt = "127.0.0.1:8890"\n'
PASSWORD = "do-not-tell-4711"
ROUTE = """\
relay = "direct"
[input]
url = "publish:"
user = "studio"
password = { credential = "pub" }
[output.x]
url = "udp://127.0.0.1:6001"
"""

pytestmark = [
    pytest.mark.skipif(not BINARY.exists(), reason="no mediamtx was on the host's PATH: nothing was published"),
    pytest.mark.once,
]


@pytest.fixture(autouse=True)
def _open() -> Iterator[None]:
    text = SETTINGS.read_text()
    SETTINGS.write_text(OPEN)
    write_credential("pub", PASSWORD)
    run("systemctl", "start", UNIT)
    write_route("a", ROUTE)
    wait_until(lambda: ":8890" in run("ss", "-Hlnu").stdout, 20, "SRT is on")
    yield
    SETTINGS.write_text(text)
    run("streamctl", "reload", check=False)


def target(kind: str, password: str = PASSWORD) -> list[str]:
    """Return where an FFmpeg publishes to, with its format."""
    return {
        "rtsp": ["-f", "rtsp", "-rtsp_transport", "tcp", f"rtsp://studio:{password}@127.0.0.1:8554/a"],
        "rtmp": ["-f", "flv", f"rtmp://127.0.0.1:1935/a?user=studio&pass={password}"],
        "srt": ["-f", "mpegts", f"srt://127.0.0.1:8890?streamid=publish:a:studio:{password}&pkt_size=1316"],
    }[kind]


@contextmanager
def encoder(kind: str, password: str = PASSWORD) -> Iterator[None]:
    """Publish a picture with a tone until the block ends, again and again when the connection breaks."""
    argv = [
        *("ffmpeg", "-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25"),
        *("-f", "lavfi", "-i", "sine=sample_rate=48000", "-c:v", "libx264", "-preset", "ultrafast", "-g", "25"),
        *("-pix_fmt", "yuv420p", "-c:a", "aac"),
        *target(kind, password),
    ]
    script = 'while :; do "$@"; sleep 0.3; done'
    shell = ["bash", "-c", script, "encoder", *argv]
    with subprocess.Popen(shell, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("kind", ["rtsp", "rtmp", "srt"])
def test_an_encoder_publishes_and_goes_and_comes_back(kind: str) -> None:
    found = wait_state("a", "waiting", 30)
    assert (found["cause"], found["input"]) == ("no encoder has called yet", "publish")
    wait_state("a/x", "starved", 20)
    output = incarnations(("a/x",))
    for _ in range(2):
        with encoder(kind):
            wait_state("a", "running", 20)
            wait_state("a/x", "running", 20)
            (path,) = json.loads(run("streamctl", "viewers", "--json", "a").stdout)["paths"]
            (publisher,) = path["publishers"]
            assert (publisher["kind"], publisher["sent"] > 0) == (kind, True)
            assert ("rtt" in publisher) == (kind == "srt")
        wait_state("a", "waiting", 30)
    assert incarnations(("a/x",)) == output, "an output waits for its input"


def test_an_output_publishes_with_a_password_that_nobody_sees() -> None:
    write_credential("key", f"a?user=studio&pass={PASSWORD}")
    target = '[output.x]\nurl = "rtmp://127.0.0.1:1935/"\nkey = { credential = "key" }\n'
    write_route("b", f'[input]\nurl = "test:"\n{target}')
    for address in ("b/x", "a"):
        wait_state(address, "running", 30)
    assert PASSWORD not in run("ps", "-eo", "args").stdout


def test_nobody_publishes_without_the_password_of_the_route() -> None:
    wait_state("a", "waiting", 30)
    for kind in ("rtsp", "rtmp", "srt"):
        with encoder(kind, "guessed"):
            wait_until(
                lambda kind=kind: "authentication failed" in journal("-u", UNIT, "--since=-5s"),  # type: ignore[misc]
                20,
                f"it refused {kind}",
            )
    wait_state("a", "waiting", 10)
    write_credential("pub", "another")
    wait_until(lambda: "sha256" in DOCUMENT.read_text(), 10, "it is there")
    with encoder("rtsp", "another"):
        wait_state("a", "running", 20)


def test_the_password_is_nowhere_to_be_seen() -> None:
    with encoder("rtmp"):
        wait_state("a", "running", 30)
        unit = show("streamd-ingest@a.service", "ExecStart", "Environment", "Description")
        assert PASSWORD not in f"{unit}{DOCUMENT.read_text()}{run('streamctl', 'status', '--json').stdout}"
        assert PASSWORD not in journal("-u", "streamd.service", "-u", "streamd-ingest@a.service")


def test_mediamtx_and_the_daemon_may_die() -> None:
    with encoder("rtsp"):
        wait_state("a", "running", 30)
        before = incarnations(("a", "a/x"))
        kill_daemon()
        assert incarnations(("a", "a/x")) == before
        run("kill", "-9", show(UNIT, "MainPID")["MainPID"])
        wait_until(lambda: state("a") != "running", 20, "its ingest has noticed")
        wait_state("a", "running", 20)
        wait_state("a/x", "running", 20)
        assert incarnations(("a/x",))["a/x"] == before["a/x"]


def test_a_broken_file_leaves_the_encoder_alone_also_when_the_daemon_is_new() -> None:
    with encoder("rtsp"):
        wait_state("a", "running", 30)
        before = incarnations(("a", "a/x"))
        write_route("a", "nonsense")
        run("streamctl", "reload", check=False)
        run("systemctl", "restart", "streamd.service")
        run("streamctl", "reload", check=False)
        assert '"source": "publisher"' in DOCUMENT.read_text()
        assert incarnations(("a", "a/x")) == before
        assert run("systemctl", "is-active", "streamd-ingest@a.service").stdout.strip() == "active"
        write_route("a", ROUTE)
        wait_state("a/x", "running", 20)
        assert incarnations(("a", "a/x")) == before


def test_without_mediamtx_it_is_blocked_and_says_how_to_help() -> None:
    kept = BINARY.read_bytes()
    try:
        wait_state("a", "waiting", 30)
        BINARY.unlink()
        write_route("b", '[input]\nurl = "test:"\n')
        write_route("c", ROUTE.replace("6001", "6002"))
        run("streamctl", "reload")
        found = wait_state("c", "blocked", 10)
        assert found["cause"] == "MediaMTX is not installed; to install it, as root: streamctl install-mediamtx"
        wait_state("b", "running", 20)
    finally:
        new = BINARY.with_name(".mediamtx.new")
        new.write_bytes(kept)
        new.chmod(0o755)
        new.rename(BINARY)
