"""Inputs that are fetched from a server by RTSP, RTMP and HLS. MediaMTX, beside the daemon, is the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.host import incarnations, run, show, state, status, wait_state, wait_until, write_route

BINARY = Path("/usr/local/bin/mediamtx")
SETTINGS = Path("/etc/streamd/streamd.toml")
OPEN = '[mediamtx]\nrtmp = "127.0.0.1:1935"\nhls = "127.0.0.1:8888"\n'
URLS = {
    "rtsp": "rtsp://127.0.0.1:8554/source",
    "rtmp": "rtmp://127.0.0.1:1935/source",
    "hls": "http://127.0.0.1:8888/source/index.m3u8",
}

pytestmark = pytest.mark.skipif(not BINARY.exists(), reason="no mediamtx was on the host's PATH: nothing was fetched")


@pytest.fixture(autouse=True)
def _server() -> Iterator[None]:
    """Let MediaMTX serve a route called source by every protocol."""
    text = SETTINGS.read_text()
    SETTINGS.write_text(OPEN)
    write_route("source", '[input]\nurl = "test:"\n')
    run("systemctl", "start", "streamd-mediamtx.service")
    wait_until(lambda: "ready" in paths().get("source", ""), 30, f"the server has its stream; {paths()}")
    yield
    SETTINGS.write_text(text)
    run("streamctl", "reload", check=False)


def paths() -> dict[str, str]:
    """Return for each route what MediaMTX has of it."""
    done = run("streamctl", "viewers", "--json", check=False)
    found = json.loads(done.stdout)["paths"] if done.stdout else []
    return {path["route"]: f"{'ready' if path['ready'] else 'not'} {path['tracks']}" for path in found}


def told(address: str) -> tuple[str, str]:
    found = status(address)
    return found["reason"], found["cause"]


def pulled(url: str) -> str:
    return f'[input]\nurl = "{url}"\n[output.x]\nurl = "udp://127.0.0.1:6001"\n'


@pytest.mark.parametrize("kind", URLS)
def test_it_is_fetched_remuxed_and_sent(kind: str) -> None:
    write_route("a", pulled(URLS[kind]))
    wait_state("a", "running", 40)
    wait_state("a/x", "running", 20)
    assert status("a")["input"] == kind
    # MediaMTX takes its own copy of it off the relay, so a transport stream with both tracks arrived there.
    wait_until(lambda: paths().get("a") == "ready H264, MPEG-4 Audio", 30, f"both tracks; {paths()}")
    probe = run(
        *("ffprobe", "-v", "error", "-read_intervals", "%+3", "-count_packets", "-select_streams", "v"),
        *("-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", "-i", "udp://127.0.0.1:6001?timeout=10000000"),
    )
    # 25 frames a second, at the speed of real time also where segments come at once.
    assert 40 <= int(probe.stdout.strip().strip(",").splitlines()[0]) <= 120


def test_a_server_that_goes_and_comes_back_and_one_without_the_stream() -> None:
    write_route("a", pulled(URLS["rtsp"]))
    write_route("b", pulled("rtsp://127.0.0.1:8554/nothing").replace("6001", "6002"))
    wait_state("a/x", "running", 40)
    before = incarnations(("a/x",))
    wait_until(lambda: told("b") == ("absent", "the server has no such stream"), 20, f"b says why; {status('b')}")
    pid = show("streamd-mediamtx.service", "MainPID")["MainPID"]
    run("kill", "-9", pid)
    wait_until(lambda: state("a") != "running", 20, "its ingest has noticed")
    wait_state("a", "running", 40)
    wait_state("a/x", "running", 20)
    assert incarnations(("a/x",)) == before, "outputs wait for their input"
    write_route("nothing", '[input]\nurl = "test:"\n')
    wait_state("b/x", "running", 60)
