"""The faults themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.appliance.faults.fault import Act, Fault, Stage
from tests.appliance.faults.place import Place, Switch
from tests.appliance.host import run, show, state, unit_of, write_credential
from tests.appliance.media import RtmpServer, SrtReceiver, UdpReceiver


def rtmp_server(place: Place, *, deny: bool = False, host: str = "127.0.0.1", namespace: str = "") -> RtmpServer:
    return RtmpServer(place.out, http_port=place.http, deny=deny, host=host, namespace=namespace)


def rtmp_url(place: Place, host: str = "127.0.0.1") -> str:
    return f"rtmp://{host}:{place.out}/live/x"


def pid_of(place: Place) -> int:
    return int(show(unit_of(place.output), "MainPID")["MainPID"])


def rtmp_refuses(place: Place) -> Stage:
    place.encoder()
    server = Switch(place.stack, lambda: rtmp_server(place))
    server.on()
    place.write(rtmp_url(place))
    return Stage(address=place.output, fail=server.off, mend=server.on)


def rtmp_denies(place: Place) -> Stage:
    place.encoder()
    server = Switch(place.stack, lambda: rtmp_server(place))
    server.on()
    denying = Switch(place.stack, lambda: rtmp_server(place, deny=True))
    place.write(rtmp_url(place))

    def fail() -> None:
        server.off()
        denying.on()

    def mend() -> None:
        denying.off()
        server.on()

    return Stage(address=place.output, fail=fail, mend=mend)


def rtmp_stops_reading(place: Place) -> Stage:
    # The buffers of both sides' kernels fill first, which takes its time.
    place.encoder(bitrate=5_000_000)
    server = place.stack.enter_context(rtmp_server(place))
    place.write(rtmp_url(place))

    def stop(number: int) -> Act:
        return lambda: os.kill(server.pid, number)

    place.stack.callback(stop(signal.SIGCONT))
    return Stage(address=place.output, fail=stop(signal.SIGSTOP), mend=stop(signal.SIGCONT))


@contextmanager
def far_host(place: Place) -> Iterator[None]:
    """A network namespace, with a veth pair into it."""
    name, near, far = place.namespace, f"near{place.number}", f"off{place.number}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        run("ip", "address", "add", f"{place.near}/30", "dev", near)
        run("ip", "link", "set", near, "up")
        run("ip", "-n", name, "address", "add", f"{place.far}/30", "dev", far)
        run("ip", "-n", name, "link", "set", far, "up")
        yield
    finally:
        run("ip", "netns", "del", name)
        run("ip", "link", "del", near, check=False)


def cut(place: Place, url: str, listener: Callable[[], object]) -> Stage:
    """Return the stage of an output to the far host, whose network drops all packets."""
    place.encoder()
    place.stack.enter_context(far_host(place))
    place.stack.enter_context(listener())  # type: ignore[arg-type]
    place.write(url)
    nft = ("ip", "netns", "exec", place.namespace, "nft")

    def fail() -> None:
        run(*nft, "add", "table", "ip", "cut")
        run(*nft, "add", "chain", "ip", "cut", "in", "{ type filter hook prerouting priority raw; policy drop; }")

    def mend() -> None:
        run(*nft, "delete", "table", "ip", "cut")

    return Stage(address=place.output, fail=fail, mend=mend)


def cut_srt(place: Place) -> Stage:
    def listener() -> SrtReceiver:
        return SrtReceiver(place.stream, place.far, place.out, mode="listener", namespace=place.namespace)

    return cut(place, f"srt://{place.far}:{place.out}", listener)


def cut_rtmp(place: Place) -> Stage:
    def listener() -> RtmpServer:
        return rtmp_server(place, host=place.far, namespace=place.namespace)

    return cut(place, rtmp_url(place, place.far), listener)


def wrong_passphrase(place: Place) -> Stage:
    place.encoder()
    right, wrong = "correct-horse-battery", "correct-horse-batterie"
    name = f"venue-{place.number}"
    write_credential(name, right)
    receiver = place.stack.enter_context(
        SrtReceiver(place.stream, "127.0.0.1", place.out, mode="listener", passphrase=right)
    )
    place.write(f"srt://127.0.0.1:{place.out}", f'passphrase = {{ credential = "{name}" }}')

    def arrives() -> bool:
        return receiver.report().packets > 0

    def fail() -> None:
        write_credential(name, wrong)

    def mend() -> None:
        receiver.reset()
        write_credential(name, right)

    return Stage(address=place.output, fail=fail, mend=mend, arrives=arrives)


def caller_leaves(place: Place) -> Stage:
    place.encoder()
    caller = Switch(place.stack, lambda: SrtReceiver(place.stream, "127.0.0.1", place.out))
    caller.on()
    place.write(f"srt://127.0.0.1:{place.out}", 'mode = "listener"')

    def arrives() -> bool:
        return isinstance(caller.thing, SrtReceiver) and caller.thing.report().packets > 0

    return Stage(address=place.output, fail=caller.off, mend=caller.on, arrives=arrives)


def udp_receiver(place: Place) -> UdpReceiver:
    """Return the receiver of a route that sends to it."""
    receiver: UdpReceiver = place.stack.enter_context(UdpReceiver(place.stream, (place.out,)))
    place.write(f"udp://127.0.0.1:{place.out}")
    return receiver


def encoder_stops(place: Place) -> Stage:
    sender = place.encoder()
    receiver = udp_receiver(place)

    def mend() -> None:
        receiver.reset()
        sender.on()

    def arrives() -> bool:
        return receiver.report()[place.out].packets > 0

    return Stage(address=place.output, fail=sender.off, mend=mend, arrives=arrives)


class Garbage:
    """An encoder that sends what is no transport stream."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __enter__(self) -> None:
        code = (
            "import os, socket, time\n"
            "sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            f"while True:\n sender.sendto(b'R' + os.urandom(1315), ('127.0.0.1', {self._port}))\n time.sleep(0.008)\n"
        )
        self._process = subprocess.Popen([sys.executable, "-c", code])

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()


def encoder_sends_garbage(place: Place) -> Stage:
    sender = place.encoder()
    garbage = Switch(place.stack, lambda: Garbage(place.into))
    place.stack.enter_context(rtmp_server(place))
    place.write(rtmp_url(place))

    def fail() -> None:
        sender.off()
        garbage.on()

    def mend() -> None:
        garbage.off()
        sender.on()

    return Stage(address=place.route, fail=fail, mend=mend, arrives=lambda: state(place.output) == "running")


def signalled(number: int) -> Callable[[Place], Stage]:
    """Return the stage of an output whose FFmpeg gets a signal; what mends it is streamd."""

    def stage(place: Place) -> Stage:
        place.encoder()
        receiver = udp_receiver(place)

        def mend() -> None:
            receiver.reset()

        def arrives() -> bool:
            return receiver.report()[place.out].packets > 0

        return Stage(address=place.output, fail=lambda: os.kill(pid_of(place), number), mend=mend, arrives=arrives)

    return stage


def killed_for_memory(place: Place) -> Stage:
    """As systemd-oomd does it: it marks the control group of what it kills, and systemd reads the mark.

    The kernel's own verdict would need a memory controller, which a container on a host with version 1 has not.
    """
    killed = signalled(signal.SIGKILL)(place)

    def fail() -> None:
        group = Path("/sys/fs/cgroup", show(unit_of(place.output), "ControlGroup")["ControlGroup"].lstrip("/"))
        os.setxattr(group, "user.oomd_ooms", b"1")
        killed.fail()

    return replace(killed, fail=fail)


def name_unknown(place: Place) -> Stage:
    place.encoder()
    place.stack.enter_context(rtmp_server(place))
    hosts, host = Path("/etc/hosts"), "ingest.example"
    before = hosts.read_text()
    hosts.write_text(f"{before}127.0.0.1 {host}\n")
    place.stack.callback(hosts.write_text, before)
    place.write(rtmp_url(place, host))

    def fail() -> None:
        hosts.write_text(before)
        os.kill(pid_of(place), signal.SIGKILL)

    def mend() -> None:
        hosts.write_text(f"{before}127.0.0.1 {host}\n")

    return Stage(address=place.output, fail=fail, mend=mend)


FAULTS = (
    Fault(
        name="nobody listens at an RTMP server's port any more",
        states=("backoff",),
        reasons=("refused",),
        noticed=60,
        mended=90,
        stage=rtmp_refuses,
    ),
    Fault(
        name="an RTMP server denies the stream",
        states=("backoff",),
        reasons=("authentication", "rejected"),
        noticed=60,
        mended=90,
        stage=rtmp_denies,
    ),
    Fault(
        name="an RTMP server accepts and stops reading",
        states=("stalled", "backoff"),
        reasons=("", "stalled", "connection-lost", "unreachable"),
        noticed=60,
        mended=90,
        stage=rtmp_stops_reading,
    ),
    Fault(
        name="the network to an SRT listener drops all packets",
        states=("backoff",),
        reasons=("unreachable",),
        noticed=60,
        mended=90,
        stage=cut_srt,
    ),
    Fault(
        name="the network to an RTMP server drops all packets",
        states=("stalled", "backoff"),
        reasons=("", "stalled", "unreachable", "connection-lost"),
        noticed=60,
        mended=90,
        stage=cut_rtmp,
    ),
    Fault(
        name="the SRT passphrase is wrong",
        states=("backoff",),
        reasons=("passphrase",),
        noticed=60,
        mended=90,
        stage=wrong_passphrase,
    ),
    Fault(
        name="a caller leaves an SRT listener",
        states=("waiting",),
        reasons=("", "caller-left"),
        noticed=60,
        mended=90,
        stage=caller_leaves,
    ),
    Fault(name="the encoder stops", states=("starved",), noticed=60, mended=90, stage=encoder_stops),
    Fault(
        name="the encoder sends something else than MPEG-TS",
        states=("starved",),
        noticed=60,
        mended=90,
        stage=encoder_sends_garbage,
    ),
    Fault(
        name="an FFmpeg is stopped with SIGSTOP",
        states=("stalled",),
        noticed=60,
        mended=90,
        stage=signalled(signal.SIGSTOP),
    ),
    Fault(
        name="an FFmpeg is killed",
        states=("backoff", "starting", "running"),
        reasons=("killed", "unknown", ""),
        # How it ended is asked for before systemd starts it again, half a second later, if the machine lets the daemon.
        last_error=("somebody or something killed its process", "FFmpeg ended"),
        noticed=60,
        mended=90,
        stage=signalled(signal.SIGKILL),
    ),
    Fault(
        name="an FFmpeg is killed for its memory",
        states=("backoff", "starting", "running"),
        reasons=("out-of-memory", ""),
        last_error="it took more memory than its limit allows",
        noticed=60,
        mended=90,
        stage=killed_for_memory,
    ),
    Fault(
        name="the name of an RTMP server cannot be resolved",
        states=("backoff",),
        reasons=("name-not-found",),
        noticed=60,
        mended=90,
        stage=name_unknown,
    ),
)
