"""Versions come and go, of streamd and of what it stands on, while twenty outputs are received and counted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.appliance import repack
from tests.appliance.host import (
    STATE,
    Incarnation,
    incarnation,
    incarnations,
    is_active,
    run,
    show,
    state,
    status,
    unit_of,
    wait_active,
    wait_state,
    wait_until,
    write_route,
)
from tests.appliance.media import DATAGRAM, Count, Sender, make_stream
from tests.appliance.test_package import DAEMON, apt, deb, debs, version
from tests.appliance.test_stream import KEY, OTHERS, UDP_PORTS, Peers, route, udp_outputs

MEDIAMTX = "streamd-mediamtx.service"
SOURCES = ("ffmpeg", "systemd")
SETTINGS = Path("/etc/streamd/streamd.toml")
BITRATE = 2e6
"""bit/s, of twenty outputs: with more, dpkg would wait for a small machine that has its hands full with the stream."""
EDIT = "# by the administrator\nmax_outputs = 21\n"
KEEP = ("-o", "Dpkg::Options::=--force-confold")
"""What an administrator gives to apt who does not want to be asked about settings of his."""


@pytest.fixture(scope="module")
def stream() -> Path:
    return make_stream(Path("/var/tmp/stream.ts"))


@pytest.fixture(autouse=True)
def _installed(_clean: None) -> Iterator[None]:
    """Leave package and settings as they were found, before the next test cleans."""
    settings = SETTINGS.read_text()
    found = version()
    yield
    SETTINGS.write_text(settings)
    if version() != found:
        run("dpkg", "--configure", "--pending", "--force-confold", check=False)
        apt("install", "--reinstall", *KEEP, *debs("current"))


def version_of(which: str) -> str:
    return deb(which).split("_")[1]


def daemon_version() -> str:
    return str(status()["version"])


def allocation() -> str:
    """Return what was given to whom: groups, ports, and the channels that progress is told on."""
    return (STATE / "allocation.json").read_text()


class Watch:
    """A route with outputs of every kind, received and counted, and what must not change on them."""

    def __init__(self, stream: Path, stack: ExitStack, ports: tuple[int, ...], bitrate: float) -> None:
        """Start all of it, and return when it flows.

        Args:
            stream: the file from make_stream.
            stack: ends it.
            ports: where UDP outputs send to; there are four outputs besides.
            bitrate: of the stream, in bit/s.
        """
        self.peers = Peers(stream, stack, ports)
        self._second = int(bitrate / 8 / DATAGRAM)
        self._streams = ["a", *(f"a/udp-{port}" for port in ports), "a/caller", "a/listener", "a/rtmp", "a/rtsp"]
        write_route("a", route(udp_outputs(ports) + OTHERS))
        stack.enter_context(Sender(stream, "127.0.0.1", 5000, bitrate=bitrate))
        self.flow(seconds=45)
        self._before = self.processes()
        self.peers.reset()

    def processes(self) -> dict[str, Incarnation]:
        return incarnations(self._streams)

    def counts(self) -> dict[str, Count]:
        counts = {f"a/udp-{port}": count for port, count in self.peers.udp.report().items()}
        return counts | {"a/caller": self.peers.caller.report(), "a/listener": self.peers.listener.report()}

    def check(self, what: str, *, restarted: tuple[str, ...] = ()) -> None:
        """Assert that since the last time nothing was lost and that these outputs alone were restarted."""
        counts = self.counts()
        self.peers.reset()
        lost = {name: count for name, count in counts.items() if not count.intact}
        assert not lost, f"{what}: {lost}"
        now = self.processes()
        assert [name for name in self._streams if now[name] != self._before[name]] == list(restarted), what
        self._before = now
        assert self.peers.rtsp.session.number == 1, f"{what}: the RTSP publisher was never replaced"

    def flow(self, seconds: float = 20) -> None:
        """Wait until all has been received for another second or so."""
        self.peers.udp.wait_for(self._second, seconds=seconds)
        self.peers.caller.wait_for(self._second, seconds=seconds)
        self.peers.listener.wait_for(self._second, seconds=seconds)
        self.peers.rtmp.wait_for(KEY, seconds=seconds)
        self.peers.rtsp.wait_for(frames=10, seconds=seconds)


def command(address: str) -> str:
    return show(unit_of(address), "ExecStart").get("ExecStart", "")


def incarnation_of_daemon() -> dict[str, str]:
    return show(DAEMON, "InvocationID", "MainPID")


def is_active_unit(unit: str) -> bool:
    return show(unit, "ActiveState")["ActiveState"] == "active"


def restarts_told(since: float) -> list[str]:
    """Return what the daemons say that they restarted since a time.

    There may be several: one that did not start is tried each second, so that the next version may be there before its
    package starts it.
    """
    lines = run("journalctl", "-o", "cat", "-u", DAEMON, f"--since=@{since:.6f}").stdout.splitlines()
    return [line for line in lines if line.startswith("restarted ")]


def is_replaced(pid: int) -> bool:
    """Tell whether the program that a process runs is no longer the one on disk."""
    return os.readlink(f"/proc/{pid}/exe").endswith(" (deleted)")


def test_twenty_outputs_lose_nothing_while_versions_come_and_go(stream: Path, tmp_path: Path) -> None:
    """Of streamd, up and down; then of FFmpeg with its libraries, and of systemd. All of it by apt."""
    ffmpeg, systemd = ([repack.packed_again(name, tmp_path) for name in repack.packages_of(it)] for it in SOURCES)
    SETTINGS.write_text(EDIT + SETTINGS.read_text())
    edited = SETTINGS.read_text()
    with ExitStack() as stack:
        watch = Watch(stream, stack, UDP_PORTS, BITRATE)
        write_route("rest", '[input]\nurl = "udp://0.0.0.0:auto"\n[output.idle]\nurl = "udp://127.0.0.1:6201"\n')
        wait_active(("rest", "rest/idle"))
        # systemd knows of it before the daemon, which tells of all that it starts when it is through with it.
        wait_until(lambda: status("rest/idle"), 20, "streamctl knows of it")
        run("streamctl", "stop", "rest/idle")
        given, port = allocation(), status("rest")["url"]
        besides = {unit: show(unit, "InvocationID") for unit in (MEDIAMTX, "streamd.slice")}
        daemon = show(DAEMON, "InvocationID")
        for which in ("next", "current"):
            apt("install", *debs(which))
            assert version().split() == ["ii", version_of(which)]
            assert daemon_version() == version_of(which), "the daemon is that of the package"
            watch.check(f"{which} installed")
            assert (allocation(), status("rest")["url"]) == (given, port)
            assert (state("rest/idle"), is_active("rest/idle")) == ("stopped", False)
            assert SETTINGS.read_text() == edited
        assert show(DAEMON, "InvocationID") != daemon
        daemon = show(DAEMON, "InvocationID")

        apt("install", "--reinstall", *ffmpeg)
        assert all(is_replaced(it.pid) for it in watch.processes().values()), "the file was replaced under each of them"
        run("systemctl", "daemon-reload")
        watch.check("ffmpeg upgraded")

        apt("install", "--reinstall", *systemd)
        watch.check("systemd upgraded")
        run("systemctl", "daemon-reexec", seconds=120)
        watch.flow()
        watch.check("systemd executed anew")
        assert not is_replaced(1), "systemd is the new one"
        assert show(DAEMON, "InvocationID") == daemon, "the daemon was restarted by none of these"
        assert {unit: show(unit, "InvocationID") for unit in besides} == besides, "and these by nothing"

        # The daemon still hears what systemd tells; by itself it looks every 30 s only.
        run("systemctl", "stop", unit_of("a/udp-6016"))
        wait_state("a/udp-6016", "stopped", 10)
        run("streamctl", "start", "a/udp-6016")
        assert not is_replaced(incarnation("a/udp-6016").pid), "what starts from now on is the new FFmpeg"


def other_rtmp(tree: Path) -> None:
    """Make it a version that sends RTMP in another way, and comes with other settings."""
    code = tree / "usr/lib/python3/dist-packages/streamd/plan/ffmpeg.py"
    repack.replace(code, '"no_duration_filesize"', '"no_duration_filesize+no_sequence_end"')
    with (tree / "etc/streamd/streamd.toml").open("a") as settings:
        settings.write("\n# new in this version\n")


def never_ready(tree: Path) -> None:
    """Make it a version whose daemon does not start."""
    code = tree / "usr/lib/python3/dist-packages/streamd/daemon.py"
    repack.replace(code, "import argparse\n", "import argparse_of_the_future\n")


@pytest.mark.once
def test_a_version_that_sends_rtmp_otherwise_restarts_rtmp_alone(stream: Path, tmp_path: Path) -> None:
    """And an upgrade that stops half-way, or brings a daemon that does not start, touches no stream at all."""
    other = repack.changed(deb("next"), tmp_path, other_rtmp)
    broken = repack.changed(deb("next"), tmp_path, never_ready)
    SETTINGS.write_text(EDIT + SETTINGS.read_text())
    edited = SETTINGS.read_text()
    with ExitStack() as stack:
        watch = Watch(stream, stack, UDP_PORTS[:2], 5e6)
        daemon = incarnation_of_daemon()
        # dpkg would ask what to do about settings that both the administrator and the package have changed; nobody
        # answers, so it gives up between unpacking and configuring.
        with pytest.raises(AssertionError, match="end of file on stdin at conffile prompt"):
            apt("install", other, deb("next", "streamd-web"))
        assert version().startswith("iU")
        assert incarnation_of_daemon() == daemon, "the old one goes on"
        watch.flow()
        watch.check("an upgrade stopped half-way")

        begin = time.time()
        run("dpkg", "--configure", "--pending", "--force-confold")
        assert version().startswith("ii")
        assert daemon_version() == version_of("next")
        assert SETTINGS.read_text() == edited
        wait_until(lambda: "no_sequence_end" in command("a/rtmp"), 20, "it was made anew")
        watch.flow()
        watch.check("a version that sends RTMP otherwise", restarted=("a/rtmp",))
        assert restarts_told(begin) == ["restarted a/rtmp: its definition changed"]

        apt("install", "--reinstall", *KEEP, broken)
        assert show(DAEMON, "ActiveState")["ActiveState"] == "activating", "it is tried again and again"
        watch.flow()
        watch.check("a daemon that does not start")

        # Back to where it began: the daemon runs again, and RTMP is sent as it was.
        begin = time.time()
        apt("install", *KEEP, *debs("current"))
        assert daemon_version() == version_of("current")
        wait_until(lambda: "no_sequence_end" not in command("a/rtmp"), 20, "it was made anew")
        watch.flow()
        watch.check("a downgrade", restarted=("a/rtmp",))
        assert restarts_told(begin) == ["restarted a/rtmp: its definition changed"]


def test_a_daemon_that_was_stopped_stays_stopped_over_an_upgrade() -> None:
    """And its streams go on; MediaMTX likewise, which is started by nobody but its administrator."""
    addresses = ("a", "a/x")
    write_route("a", '[input]\nurl = "test:"\n[output.x]\nurl = "udp://127.0.0.1:6001"\n')
    wait_active(addresses)
    before = incarnations(addresses)
    run("systemctl", "stop", DAEMON, MEDIAMTX)
    try:
        for which in ("next", "current"):
            apt("install", *debs(which))
            assert not is_active_unit(DAEMON)
            assert not is_active_unit(MEDIAMTX)
            assert incarnations(addresses) == before
    finally:
        run("systemctl", "start", DAEMON, MEDIAMTX)
    run("streamctl", "reload")
    assert incarnations(addresses) == before
