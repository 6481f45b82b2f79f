"""GStreamer as the encoder: it publishes by RTMP, SRT, RTSP and WHIP, and sends to inputs by UDP and SRT."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.appliance.host import incarnations, run, state, status, wait_state, wait_until, write_credential, write_route
from tests.appliance.media.child import end

BINARY = Path("/usr/local/bin/mediamtx")
SETTINGS = Path("/etc/streamd/streamd.toml")
UNIT = "streamd-mediamtx.service"
OPEN = '[mediamtx]\nrtmp = "127.0.0.1:1935"\nsrt = "127.0.0.1:8890"\nwebrtc = "127.0.0.1:8889"\n'
USER, PASSWORD = "studio", "quiet-otter"
PUBLISHED = f'[input]\nurl = "publish:"\nuser = "{USER}"\npassword = {{ credential = "pub" }}\n'
DIRECT = 'relay = "direct"\n'
SECRET = f"{USER}:{PASSWORD}"

PICTURE = (
    "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=25/1"
    " ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! video/x-h264,profile=main ! h264parse ! queue"
)
TONE = "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse ! queue"
# On a busy machine a multiplexer would otherwise begin with the sound alone, and MediaMTX looks at its table once.
MUX = "mpegtsmux name=to alignment=7 latency=1000000000"
TO = {
    # rtmp2sink asks for an application's name, so that the route's is behind an empty one.
    "rtmp": (
        "flvmux name=to streamable=true latency=1000000000"
        f" ! rtmp2sink location=rtmp://127.0.0.1:1935//rtmp?user={USER}&pass={PASSWORD}"
    ),
    "srt": f"{MUX} ! srtsink uri=srt://127.0.0.1:8890?streamid=publish:srt:{SECRET}",
    "rtsp": (
        f"rtspclientsink name=to location=rtsp://127.0.0.1:8554/rtsp protocols=tcp user-id={USER} user-pw={PASSWORD}"
    ),
    "udp": f"{MUX} ! udpsink host=127.0.0.1 port=5000",
    "srt-listener": f"{MUX} ! srtsink uri=srt://127.0.0.1:5001?mode=caller",
    "srt-caller": f"{MUX} ! srtsink uri=srt://127.0.0.1:5002?mode=listener wait-for-connection=false",
}
"""The end of a pipeline, by the route that it sends to."""
needs_mediamtx = pytest.mark.skipif(
    not BINARY.exists(), reason="no mediamtx was on the host's PATH: nothing was published"
)
pytestmark = pytest.mark.once


@pytest.fixture
def _open() -> Iterator[None]:
    """Let MediaMTX take what is published."""
    text = SETTINGS.read_text()
    SETTINGS.write_text(OPEN)
    write_credential("pub", PASSWORD)
    run("streamctl", "reload")
    run("systemctl", "start", UNIT)
    wait_until(lambda: ":8889" in run("ss", "-Hlnt").stdout, 20, "WebRTC is on")
    yield
    SETTINGS.write_text(text)
    run("streamctl", "reload", check=False)


@pytest.fixture
def _lan() -> Iterator[None]:
    """Have an interface beside the loopback one, where WebRTC finds an address."""
    run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
    try:
        run("ip", "address", "add", "192.0.2.1/24", "dev", "lan0")
        for name in ("lan0", "lan1"):
            run("ip", "link", "set", name, "up")
        yield
    finally:
        run("ip", "link", "del", "lan0")


@contextmanager
def running(*argv: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        except BaseException:
            end(process)
            print(process.communicate()[0])
            raise
        finally:
            end(process)


@contextmanager
def encoder(route: str) -> Iterator[None]:
    """Send a picture with a tone to a route until the block ends."""
    pipeline = f"{TO[route]} {PICTURE} ! to. {TONE} ! to."
    with running("gst-launch-1.0", "-q", *pipeline.split()):
        yield


def output(number: int) -> str:
    return f'[output.x]\nurl = "udp://127.0.0.1:{6000 + number}"\n'


def probed(url: str) -> list[str]:
    """Return the codecs that arrive."""
    options = ("-v", "error", "-analyzeduration", "2000000", "-show_entries", "stream=codec_name", "-of", "csv=p=0")
    found = run("ffprobe", *options, "-i", url)
    return sorted({line.strip(",") for line in found.stdout.split()})


def heard(number: int) -> list[str]:
    """Return the codecs of what an output sends."""
    return probed(f"udp://127.0.0.1:{6000 + number}?timeout=10000000")


def publisher_of(name: str) -> dict[str, object]:
    (path,) = json.loads(run("streamctl", "viewers", "--json", name).stdout)["paths"]
    (found,) = path["publishers"]
    return dict(found)


def wait_told(addresses: Iterable[str], state: str) -> None:
    for address in addresses:
        wait_state(address, state, 40)


def wait_open(*names: str) -> None:
    """Wait until routes wait for an encoder, and MediaMTX has read of them: it reads a document some time after it is
    written, and an encoder that comes too early is sent away.
    """
    wait_told(names, "waiting")

    def known() -> bool:
        paths = json.loads(run("streamctl", "viewers", "--json").stdout)["paths"]
        return {path["route"] for path in paths} >= set(names)

    wait_until(known, 20, f"MediaMTX has read of {', '.join(names)}")


@needs_mediamtx
@pytest.mark.usefixtures("_open")
def test_it_publishes_by_rtmp_srt_and_rtsp() -> None:
    routes = {"rtmp": DIRECT, "srt": "", "rtsp": DIRECT}
    outputs = [f"{name}/x" for name in routes]
    for number, (name, relay) in enumerate(routes.items(), 1):
        write_route(name, relay + PUBLISHED + output(number))
    wait_open(*routes)
    with ExitStack() as encoders:
        for name in routes:
            encoders.enter_context(encoder(name))
        wait_told([*routes, *outputs], "running")
        for number, name in enumerate(routes, 1):
            assert heard(number) == ["aac", "h264"], name
            found = publisher_of(name)
            assert (found["kind"], found["sent"] != 0) == (name, True)
    wait_told(routes, "waiting")
    assert [status(name)["cause"] for name in routes] == ["no encoder has called yet"] * 3
    for address in outputs:
        wait_until(lambda address=address: state(address) != "running", 10, f"{address} is told not to send")  # type: ignore[misc]


def test_it_sends_to_inputs_by_udp_and_srt() -> None:
    inputs = {
        "udp": 'url = "udp://127.0.0.1:5000"\n',
        "srt-listener": 'url = "srt://127.0.0.1:5001"\nmode = "listener"\n',
        "srt-caller": 'url = "srt://127.0.0.1:5002"\nmode = "caller"\n',
    }
    outputs = [f"{name}/x" for name in inputs]
    for number, (name, source) in enumerate(inputs.items(), 1):
        write_route(name, f"[input]\n{source}{output(number)}")
    wait_told(outputs, "starved")
    with ExitStack() as encoders:
        for name in inputs:
            encoders.enter_context(encoder(name))
        wait_told([*inputs, *outputs], "running")
        before = incarnations(outputs)
        for number, name in enumerate(inputs, 1):
            assert heard(number) == ["aac", "h264"], name
    wait_told(outputs, "starved")
    assert incarnations(outputs) == before, "an output waits for its input"


@contextmanager
def whip(video: str, scheme: str) -> Iterator[subprocess.Popen[str]]:
    """Publish to route a by WHIP, with a tone in Opus."""
    shown = base64.b64encode(SECRET.encode()).decode() if scheme == "Basic" else SECRET
    authorization = f"{scheme} {shown}"
    module = "tests.appliance.media.whip"
    with running(sys.executable, "-m", module, "http://127.0.0.1:8889/a/whip", authorization, video) as process:
        yield process


@needs_mediamtx
@pytest.mark.usefixtures("_open", "_lan")
def test_it_publishes_by_whip_what_a_transport_stream_carries() -> None:
    write_route("a", DIRECT + PUBLISHED + output(1))
    wait_open("a")
    with whip("h264", "Basic") as process:
        wait_state("a", "running", 30)
        wait_state("a/x", "running", 30)
        assert heard(1) == ["h264", "opus"]
        assert publisher_of("a")["kind"] == "webrtc"
    assert process.returncode == 0, "it was let in, and ended its session"
    wait_state("a", "waiting", 30)


@needs_mediamtx
@pytest.mark.usefixtures("_open", "_lan")
def test_it_publishes_by_whip_what_no_transport_stream_carries() -> None:
    target = f'[output.x]\nurl = "rtsp://{USER}:{PASSWORD}@127.0.0.1:8554/b"\nallow_visible_password = true\n'
    write_route("a", PUBLISHED + target)
    write_route("b", PUBLISHED)
    wait_open("a", "b")
    with whip("vp8", "Bearer") as process:
        for address in ("a", "a/x", "b"):
            wait_state(address, "running", 60)
        assert probed("rtsp://127.0.0.1:8554/b") == ["opus", "vp8"]
    assert process.returncode == 0, "it was let in, and ended its session"
    wait_state("a", "waiting", 30)
    wait_until(lambda: state("a/x") != "running", 10, "it is told not to send")
