"""The faults themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.appliance.faults.fault import Act, Fault, Stage
from tests.appliance.host import run, show, state, unit_of, write_credential, write_route
from tests.appliance.media import RtmpServer, Sender, SrtReceiver, UdpReceiver

INPUT = '[input]\nurl = "udp://127.0.0.1:5000"\n'
RTMP = INPUT + '[output.x]\nurl = "rtmp://127.0.0.1:1935/live/x"\n'
FAR = "192.0.2.2"
"""A host behind a network of its own."""


class Switch:
    """Something that a `with` starts and stops, switched by hand; off at the end."""

    def __init__(self, stack: ExitStack, make: Callable[[], object]) -> None:
        self._make = make
        self._inner = stack.enter_context(ExitStack())
        self.thing: object = None

    def on(self) -> None:
        self.thing = self._inner.enter_context(self._make())  # type: ignore[arg-type]

    def off(self) -> None:
        self._inner.close()


def encoder(stack: ExitStack, stream: Path) -> Switch:
    """Return an encoder that runs."""
    switch = Switch(stack, lambda: Sender(stream, "127.0.0.1", 5000))
    switch.on()
    return switch


def nothing() -> None:
    """Do nothing: what mends the fault is streamd."""


def rtmp_refuses(stack: ExitStack, stream: Path) -> Stage:
    encoder(stack, stream)
    server = Switch(stack, RtmpServer)
    server.on()
    write_route("a", RTMP)
    return Stage(address="a/x", fail=server.off, mend=server.on)


def rtmp_denies(stack: ExitStack, stream: Path) -> Stage:
    encoder(stack, stream)
    server = Switch(stack, lambda: RtmpServer(deny=False))
    server.on()
    denying = Switch(stack, lambda: RtmpServer(deny=True))
    write_route("a", RTMP)

    def fail() -> None:
        server.off()
        denying.on()

    def mend() -> None:
        denying.off()
        server.on()

    return Stage(address="a/x", fail=fail, mend=mend)


def rtmp_stops_reading(stack: ExitStack, stream: Path) -> Stage:
    encoder(stack, stream)
    server = stack.enter_context(RtmpServer())
    write_route("a", RTMP)

    def stop(number: int) -> Act:
        return lambda: os.kill(server.pid, number)

    stack.callback(stop(signal.SIGCONT))
    return Stage(address="a/x", fail=stop(signal.SIGSTOP), mend=stop(signal.SIGCONT))


@contextmanager
def far_host() -> Iterator[None]:
    """A network namespace named far, with a veth pair into it."""
    run("ip", "netns", "add", "far")
    try:
        run("ip", "link", "add", "near0", "type", "veth", "peer", "name", "far0", "netns", "far")
        run("ip", "address", "add", "192.0.2.1/24", "dev", "near0")
        run("ip", "link", "set", "near0", "up")
        run("ip", "-n", "far", "address", "add", f"{FAR}/24", "dev", "far0")
        run("ip", "-n", "far", "link", "set", "far0", "up")
        yield
    finally:
        run("ip", "netns", "del", "far")
        run("ip", "link", "del", "near0", check=False)


def drop_all() -> None:
    """Let the far host's network drop all packets that come in."""
    run("ip", "netns", "exec", "far", "nft", "add", "table", "ip", "cut")
    chain = "{ type filter hook prerouting priority raw; policy drop; }"
    run("ip", "netns", "exec", "far", "nft", "add", "chain", "ip", "cut", "in", chain)


def drop_nothing() -> None:
    run("ip", "netns", "exec", "far", "nft", "delete", "table", "ip", "cut")


def cut(url: str, listener: Callable[[Path], object]) -> Callable[[ExitStack, Path], Stage]:
    """Return the stage of an output to the far host, whose network drops all packets."""

    def stage(stack: ExitStack, stream: Path) -> Stage:
        encoder(stack, stream)
        stack.enter_context(far_host())
        stack.enter_context(listener(stream))  # type: ignore[arg-type]
        write_route("a", f'{INPUT}[output.x]\nurl = "{url}"\n')
        return Stage(address="a/x", fail=drop_all, mend=drop_nothing)

    return stage


def wrong_passphrase(stack: ExitStack, stream: Path) -> Stage:
    encoder(stack, stream)
    right, wrong = "correct-horse-battery", "correct-horse-batterie"
    write_credential("venue", right)
    receiver = stack.enter_context(SrtReceiver(stream, "127.0.0.1", 9000, mode="listener", passphrase=right))
    write_route("a", f'{INPUT}[output.x]\nurl = "srt://127.0.0.1:9000"\npassphrase = {{ credential = "venue" }}\n')

    def arrives() -> bool:
        return receiver.report().packets > 0

    def fail() -> None:
        write_credential("venue", wrong)

    def mend() -> None:
        receiver.reset()
        write_credential("venue", right)

    return Stage(address="a/x", fail=fail, mend=mend, arrives=arrives)


def caller_leaves(stack: ExitStack, stream: Path) -> Stage:
    encoder(stack, stream)
    caller = Switch(stack, lambda: SrtReceiver(stream, "127.0.0.1", 9100))
    caller.on()
    write_route("a", f'{INPUT}[output.x]\nurl = "srt://127.0.0.1:9100"\nmode = "listener"\n')

    def arrives() -> bool:
        return isinstance(caller.thing, SrtReceiver) and caller.thing.report().packets > 0

    return Stage(address="a/x", fail=caller.off, mend=caller.on, arrives=arrives)


def encoder_stops(stack: ExitStack, stream: Path) -> Stage:
    sender = encoder(stack, stream)
    receiver = stack.enter_context(UdpReceiver(stream, (6001,)))
    write_route("a", f'{INPUT}[output.x]\nurl = "udp://127.0.0.1:6001"\n')

    def mend() -> None:
        receiver.reset()
        sender.on()

    def arrives() -> bool:
        return receiver.report()[6001].packets > 0

    return Stage(address="a/x", fail=sender.off, mend=mend, arrives=arrives)


class Garbage:
    """An encoder that sends what is no transport stream."""

    def __enter__(self) -> None:
        code = (
            "import os, socket, time\n"
            "sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "while True:\n sender.sendto(b'R' + os.urandom(1315), ('127.0.0.1', 5000))\n time.sleep(0.004)\n"
        )
        self._process = subprocess.Popen([sys.executable, "-c", code])

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()


def encoder_sends_garbage(stack: ExitStack, stream: Path) -> Stage:
    sender = encoder(stack, stream)
    garbage = Switch(stack, Garbage)
    stack.enter_context(RtmpServer())
    write_route("a", RTMP)

    def fail() -> None:
        sender.off()
        garbage.on()

    def mend() -> None:
        garbage.off()
        sender.on()

    return Stage(address="a", fail=fail, mend=mend, arrives=lambda: state("a/x") == "running")


def frozen(stack: ExitStack, stream: Path) -> Stage:
    encoder(stack, stream)
    receiver = stack.enter_context(UdpReceiver(stream, (6001,)))
    write_route("a", f'{INPUT}[output.x]\nurl = "udp://127.0.0.1:6001"\n')

    def fail() -> None:
        os.kill(int(show(unit_of("a/x"), "MainPID")["MainPID"]), signal.SIGSTOP)

    def arrives() -> bool:
        return receiver.report()[6001].packets > 0

    return Stage(address="a/x", fail=fail, mend=receiver_reset(receiver), arrives=arrives)


def receiver_reset(receiver: UdpReceiver) -> Act:
    def reset() -> None:
        receiver.reset()

    return reset


def killed(stack: ExitStack, stream: Path) -> Stage:
    encoder(stack, stream)
    receiver = stack.enter_context(UdpReceiver(stream, (6001,)))
    write_route("a", f'{INPUT}[output.x]\nurl = "udp://127.0.0.1:6001"\n')

    def fail() -> None:
        os.kill(int(show(unit_of("a/x"), "MainPID")["MainPID"]), signal.SIGKILL)

    def arrives() -> bool:
        return receiver.report()[6001].packets > 0

    return Stage(address="a/x", fail=fail, mend=receiver_reset(receiver), arrives=arrives)


def name_unknown(stack: ExitStack, stream: Path) -> Stage:
    encoder(stack, stream)
    stack.enter_context(RtmpServer())
    hosts = Path("/etc/hosts")
    before = hosts.read_text()
    hosts.write_text(f"{before}127.0.0.1 ingest.example\n")
    stack.callback(hosts.write_text, before)
    write_route("a", f'{INPUT}[output.x]\nurl = "rtmp://ingest.example:1935/live/x"\n')

    def fail() -> None:
        hosts.write_text(before)
        os.kill(int(show(unit_of("a/x"), "MainPID")["MainPID"]), signal.SIGKILL)

    def mend() -> None:
        hosts.write_text(f"{before}127.0.0.1 ingest.example\n")

    return Stage(address="a/x", fail=fail, mend=mend)


FAULTS = (
    Fault(
        name="nobody listens at an RTMP server's port any more",
        states=("backoff",),
        reasons=("refused",),
        noticed=15,
        mended=45,
        stage=rtmp_refuses,
    ),
    Fault(
        name="an RTMP server denies the stream",
        states=("backoff",),
        reasons=("authentication", "rejected"),
        noticed=30,
        mended=60,
        stage=rtmp_denies,
    ),
    Fault(
        name="an RTMP server accepts and stops reading",
        states=("stalled", "backoff"),
        reasons=("", "stalled", "connection-lost", "unreachable"),
        noticed=30,
        mended=45,
        stage=rtmp_stops_reading,
    ),
    Fault(
        name="the network to an SRT listener drops all packets",
        states=("backoff",),
        reasons=("unreachable",),
        noticed=30,
        mended=45,
        stage=cut(f"srt://{FAR}:9000", lambda stream: SrtReceiver(stream, FAR, 9000, mode="listener", namespace="far")),
    ),
    Fault(
        name="the network to an RTMP server drops all packets",
        states=("stalled", "backoff"),
        reasons=("", "stalled", "unreachable", "connection-lost"),
        noticed=45,
        mended=60,
        stage=cut(f"rtmp://{FAR}:1935/live/x", lambda _stream: RtmpServer(host=FAR, namespace="far")),
    ),
    Fault(
        name="the SRT passphrase is wrong",
        states=("backoff",),
        reasons=("passphrase",),
        noticed=15,
        mended=15,
        stage=wrong_passphrase,
    ),
    Fault(
        name="a caller leaves an SRT listener",
        states=("waiting",),
        reasons=("", "caller-left"),
        noticed=15,
        mended=20,
        stage=caller_leaves,
    ),
    Fault(name="the encoder stops", states=("starved",), noticed=15, mended=10, stage=encoder_stops),
    Fault(
        name="the encoder sends something else than MPEG-TS",
        states=("starved",),
        noticed=30,
        mended=60,
        stage=encoder_sends_garbage,
    ),
    Fault(
        name="an FFmpeg is stopped with SIGSTOP",
        states=("stalled",),
        noticed=15,
        mended=30,
        stage=frozen,
    ),
    Fault(
        name="an FFmpeg is killed",
        states=("backoff", "starting", "running"),
        reasons=("killed", ""),
        noticed=10,
        mended=10,
        stage=killed,
    ),
    Fault(
        name="the name of an RTMP server cannot be resolved",
        states=("backoff",),
        reasons=("name-not-found",),
        noticed=20,
        mended=45,
        stage=name_unknown,
    ),
)
