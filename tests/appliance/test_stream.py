"""A real stream through every kind of output, while everything around it is disturbed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.appliance.host import (
    CONF,
    DEBS,
    Incarnation,
    incarnation,
    incarnations,
    kill_daemon,
    restart_daemon,
    run,
    show,
    state,
    unit_of,
    wait_active,
    wait_state,
    wait_until,
    write_credential,
    write_route,
)
from tests.appliance.media import FrozenServer, RtmpServer, RtspServer, Sender, SrtReceiver, UdpReceiver, make_stream

UDP_PORTS = tuple(range(6001, 6017))
PER_SECOND = 475
"""Datagrams of the stream."""
PASSPHRASE = "correct-horse-battery"
KEY = "live-key-4711-do-not-tell"


@pytest.fixture(scope="module")
def stream() -> Path:
    return make_stream(Path("/var/tmp/stream.ts"))


def udp_outputs(ports: tuple[int, ...] = UDP_PORTS) -> str:
    return "".join(f'[output.udp-{port}]\nurl = "udp://127.0.0.1:{port}"\n' for port in ports)


def route(outputs: str, port: int = 5000) -> str:
    return f'[input]\nurl = "udp://127.0.0.1:{port}"\n{outputs}'


CALLER = '[output.caller]\nurl = "srt://127.0.0.1:9000"\npassphrase = { credential = "venue" }\nlatency = "200ms"\n'
LISTENER = '[output.listener]\nurl = "srt://127.0.0.1:9100"\nmode = "listener"\npassphrase = { credential = "venue" }\n'
RTMP = '[output.rtmp]\nurl = "rtmp://127.0.0.1:1935/live"\nkey = { credential = "key" }\n'
RTSP = '[output.rtsp]\nurl = "rtsp://127.0.0.1:8654/live"\n'
OTHERS = CALLER + LISTENER + RTMP + RTSP
TWENTY = udp_outputs() + OTHERS


class Peers:
    """All receivers of the twenty outputs, or of those with fewer UDP ports; none of them is ours."""

    def __init__(self, stream: Path, stack: ExitStack, ports: tuple[int, ...] = UDP_PORTS) -> None:
        write_credential("venue", PASSPHRASE)
        write_credential("key", KEY)
        self.rtmp = stack.enter_context(RtmpServer())
        self.rtsp = stack.enter_context(RtspServer())
        self.udp = stack.enter_context(UdpReceiver(stream, ports))
        self.caller = stack.enter_context(
            SrtReceiver(stream, "127.0.0.1", 9000, mode="listener", passphrase=PASSPHRASE, hidden=True)
        )
        self.listener = stack.enter_context(
            SrtReceiver(stream, "127.0.0.1", 9100, mode="caller", passphrase=PASSPHRASE, hidden=True)
        )

    def wait(self, seconds: float = 45) -> None:
        """Wait until each of them receives."""
        self.udp.wait_for(PER_SECOND, seconds=seconds)
        self.caller.wait_for(PER_SECOND, seconds=seconds)
        self.listener.wait_for(PER_SECOND, seconds=seconds)
        self.rtmp.wait_for(KEY, seconds=seconds)
        self.rtsp.wait_for(seconds=seconds)

    def reset(self) -> None:
        self.udp.reset()
        self.caller.reset()
        self.listener.reset()


@pytest.fixture
def peers(stream: Path) -> Iterator[Peers]:
    with ExitStack() as stack:
        yield Peers(stream, stack)


NAMES = [f"a/udp-{port}" for port in UDP_PORTS] + ["a/caller", "a/listener", "a/rtmp", "a/rtsp"]


def disturb() -> None:
    """Do all that must touch nothing but the output udp-6016."""
    kill_daemon()
    restart_daemon()
    (CONF / "garbage.toml").write_bytes(b"\x00[[[\xff")
    write_route("a", route(TWENTY.replace("127.0.0.1:6016", "127.0.0.1:6116")))
    wait_until(lambda: "6116" in show(unit_of("a/udp-6016"), "ExecStart").get("ExecStart", ""), 10, "it was changed")
    write_route("a", route(TWENTY.replace(udp_outputs((6016,)), "")))
    wait_until(lambda: state("a/udp-6016") == "", 10, "it was removed")
    write_route("a", route(TWENTY))
    wait_active(("a/udp-6016",))
    run("systemctl", "daemon-reload")
    run("systemctl", "daemon-reexec", seconds=120)
    (deb,) = (DEBS / "current").glob("streamd_*.deb")
    run("apt-get", "install", "-y", "--reinstall", "-o", "APT::Sandbox::User=root", str(deb), seconds=180)


def test_twenty_outputs_for_a_minute_with_everything_around_them_disturbed(stream: Path, peers: Peers) -> None:
    write_route("a", route(TWENTY))
    with Sender(stream, "127.0.0.1", 5000):
        peers.wait()
        wait_active(NAMES)
        untouched = [name for name in NAMES if name != "a/udp-6016"]
        before = incarnations(["a", *untouched])
        peers.reset()
        disturb()
        minute = 60 * PER_SECOND
        peers.udp.wait_for(minute, ports=[port for port in UDP_PORTS if port != 6016], seconds=90)
        peers.caller.wait_for(minute, seconds=30)
        peers.listener.wait_for(minute, seconds=30)
        peers.rtmp.wait_for(KEY)
        peers.rtsp.wait_for()
        counts = {f"a/udp-{port}": count for port, count in peers.udp.report().items()}
        counts |= {"a/caller": peers.caller.report(), "a/listener": peers.listener.report()}
        after = incarnations(["a", *untouched])
    lost = {name: count for name, count in counts.items() if name in untouched and not count.intact}
    assert not lost
    assert after == before
    assert peers.rtsp.session.number == 1, "the RTSP publisher was never replaced"


def processes(addresses: list[str]) -> dict[str, Incarnation]:
    return {address: incarnation(address) for address in addresses}


def test_a_killed_ffmpeg_sends_again_soon(stream: Path, peers: Peers) -> None:
    write_route("a", route(TWENTY))
    with Sender(stream, "127.0.0.1", 5000):
        peers.wait()
        port = UDP_PORTS[0]
        others = [name for name in NAMES if name not in ("a/udp-6001", "a/rtmp")]
        before = processes(others)
        old = peers.udp.report()[port].source_port
        run("kill", "-9", show(unit_of("a/udp-6001"), "MainPID")["MainPID"])
        wait_until(lambda: peers.udp.report()[port].source_port != old, 15, "a raw output sends again")
        rtmp = peers.rtmp.streams()[KEY]
        run("kill", "-9", show(unit_of("a/rtmp"), "MainPID")["MainPID"])

        def again() -> bool:
            now = peers.rtmp.streams().get(KEY)
            return bool(now and now.publisher and now.age < rtmp.age and now.bytes_in)

        wait_until(again, 20, "a remuxed output sends again")
        assert processes(others) == before


@pytest.mark.once
def test_an_encoder_that_goes_for_a_minute_restarts_nobody(stream: Path) -> None:
    """And a listener's caller who comes after that minute gets nothing older than a second."""
    write_credential("venue", PASSPHRASE)
    names = ["a", "a/udp-6001", "a/caller", "a/listener", "a/rtsp"]
    write_route("a", route(udp_outputs((6001,)) + CALLER + LISTENER + RTSP))
    idle = '[output.idle]\nurl = "srt://127.0.0.1:9101"\nmode = "listener"\n'
    write_route("b", route(udp_outputs((6002,)) + idle, port=5001))
    with (
        UdpReceiver(stream, (6001, 6002)) as udp,
        SrtReceiver(stream, "127.0.0.1", 9000, mode="listener", passphrase=PASSPHRASE) as caller,
        SrtReceiver(stream, "127.0.0.1", 9100, passphrase=PASSPHRASE) as listener,
        RtspServer() as rtsp,
        Sender(stream, "127.0.0.1", 5001),
    ):
        with Sender(stream, "127.0.0.1", 5000):
            udp.wait_for(PER_SECOND, seconds=45)
            caller.wait_for(PER_SECOND, seconds=45)
            listener.wait_for(PER_SECOND, seconds=45)
            rtsp.wait_for(seconds=45)
            before = incarnations(names)
        udp.reset()
        udp.wait_for(60 * PER_SECOND, ports=[6002], seconds=90)
        assert udp.report()[6001].packets <= PER_SECOND, "route a has had no encoder for that minute"
        with SrtReceiver(stream, "127.0.0.1", 9101) as late:
            assert late.wait_for(PER_SECOND).first_age < 1.0
        for receiver in (caller, listener):
            receiver.reset()
        with Sender(stream, "127.0.0.1", 5000):
            udp.wait_for(2 * PER_SECOND, ports=[6001])
            caller.wait_for(PER_SECOND)
            listener.wait_for(PER_SECOND)
            rtsp.wait_for()
        assert incarnations(names) == before


@pytest.mark.once
def test_the_ingest_waits_for_a_late_encoder(stream: Path) -> None:
    write_route("a", route(udp_outputs((6001,))))
    wait_active(("a", "a/udp-6001"))
    before = incarnations(("a", "a/udp-6001"))
    with UdpReceiver(stream, (6001,)) as udp, Sender(stream, "127.0.0.1", 5000):
        udp.wait_for(PER_SECOND)
        assert udp.report()[6001].intact
    assert incarnations(("a", "a/udp-6001")) == before


@pytest.mark.once
def test_a_file_is_played_in_a_loop() -> None:
    """Here a file of two seconds, which a remuxing output carries on from one round to the next."""
    loop = Path("/srv/loop.ts")
    picture = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=sample_rate=48000")
    coded = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac", "-f", "mpegts")
    run("ffmpeg", "-y", "-v", "error", *picture, "-t", "2", *coded, str(loop))
    loop.chmod(0o644)
    write_route("a", f'[input]\nurl = "file://{loop}"\n[output.x]\nurl = "rtmp://127.0.0.1:1935/live/x"\n')
    with RtmpServer() as rtmp:
        found = rtmp.wait_for("x", more_bytes=3 * loop.stat().st_size, seconds=40)
    assert (found.video, found.audio, found.width) == ("H264", "AAC", 320)


def test_encrypted_srt_in_and_out_is_bit_exact(stream: Path) -> None:
    """Route a sends to route b by SRT; b's ingest listens, c's calls a listener of a."""
    write_credential("venue", PASSPHRASE)
    out = '[output.{name}]\nurl = "srt://127.0.0.1:{port}"\npassphrase = {{ credential = "venue" }}\n'
    into = '[input]\nurl = "srt://127.0.0.1:{port}"\npassphrase = {{ credential = "venue" }}\n'
    write_route(
        "a",
        route(out.format(name="b", port=5005) + out.format(name="c", port=9105) + 'mode = "listener"\n'),
    )
    write_route("b", into.format(port=5005) + 'mode = "listener"\n' + udp_outputs((6001,)))
    write_route("c", into.format(port=9105) + udp_outputs((6002,)))
    with UdpReceiver(stream, (6001, 6002)) as udp, Sender(stream, "127.0.0.1", 5000):
        udp.wait_for(PER_SECOND, seconds=60)
        udp.reset()
        udp.wait_for(10 * PER_SECOND)
        assert all(count.intact for count in udp.report().values()), udp.report()


def test_a_wrong_passphrase_gets_nothing(stream: Path) -> None:
    write_credential("venue", PASSPHRASE)
    write_route("a", route(udp_outputs((6001,)) + LISTENER))
    with (
        UdpReceiver(stream, (6001,)) as udp,
        SrtReceiver(stream, "127.0.0.1", 9100, passphrase="not-the-passphrase") as wrong,
        Sender(stream, "127.0.0.1", 5000),
    ):
        udp.wait_for(5 * PER_SECOND)
        assert wrong.report().packets == 0


def test_a_blocked_ffmpeg_is_stopped_by_its_second_sigterm() -> None:
    write_route("a", '[input]\nurl = "test:"\n[output.rtsp]\nurl = "rtsp://127.0.0.1:8654/live"\n')
    with FrozenServer(8654) as frozen:
        frozen.wait_for()
        invocation = show(unit_of("a/rtsp"), "InvocationID")["InvocationID"]
        run("streamctl", "stop", "a/rtsp")
    log = run("journalctl", "-o", "cat", f"INVOCATION_ID={invocation}").stdout
    assert "timed out" not in log, "it did not take systemd's SIGKILL"
    assert state("a/rtsp") == "stopped"


@pytest.fixture
def second_interface() -> Iterator[str]:
    """A network interface beside lo that multicast would leave by."""
    run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
    try:
        run("ip", "address", "add", "192.0.2.1/24", "dev", "lan0")
        for name in ("lan0", "lan1"):
            run("ip", "link", "set", name, "up", "multicast", "on")
        run("ip", "route", "add", "224.0.0.0/4", "dev", "lan0")
        yield "lan0"
    finally:
        run("ip", "link", "del", "lan0")


def groups_seen(capture: socket.socket) -> set[str]:
    """Return the destinations of all UDP multicast that a packet socket has queued."""
    found = set()
    while True:
        try:
            frame = capture.recv(65536)
        except BlockingIOError:
            return found
        if frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_UDP:
            found.add(socket.inet_ntoa(frame[30:34]))


def test_the_relay_never_leaves_lo_but_a_multicast_output_does(stream: Path, second_interface: str) -> None:
    group = f'[output.rack]\nurl = "udp://239.10.0.1:5004"\nttl = 4\ninterface = "{second_interface}"\n'
    write_route("a", route(udp_outputs((6001,)) + group))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)) as capture:
        capture.bind((second_interface, 0))
        capture.setblocking(False)
        with UdpReceiver(stream, (6001,)) as udp, Sender(stream, "127.0.0.1", 5000):
            udp.wait_for(2 * PER_SECOND)
            wait_until(lambda: "239.10.0.1" in groups_seen(capture), 10, "the output's group leaves")
            udp.reset()
            udp.wait_for(2 * PER_SECOND)
        assert groups_seen(capture) == {"239.10.0.1"}


def test_a_multicast_input_is_joined_on_its_interface(stream: Path, second_interface: str) -> None:
    text = f'[input]\nurl = "udp://239.20.0.1:5500"\ninterface = "{second_interface}"\n' + udp_outputs((6001,))
    write_route("a", text)
    other = text.replace("239.20.0.1", "239.20.0.2").replace("6001", "6002")
    write_route("b", other)
    with (
        UdpReceiver(stream, (6001, 6002)) as udp,
        Sender(stream, "239.20.0.1", 5500, interface="192.0.2.1"),
    ):
        udp.wait_for(2 * PER_SECOND, ports=[6001])
        assert udp.report()[6001].intact
        assert udp.report()[6002].packets == 0, "two groups on one port are two inputs"


def test_an_interface_that_is_not_there_blocks_until_it_comes(stream: Path) -> None:
    del stream
    write_route("a", '[input]\nurl = "udp://239.20.0.1:5500"\ninterface = "dummy7"\n')
    assert "dummy7" in wait_state("a", "blocked")["cause"]
