"""Receives the stream on many ports at once and compares every byte.

    python3 -m tests.appliance.media.receiver FILE udp HOST PORT...
    python3 -m tests.appliance.media.receiver FILE udp-group GROUP PORT INTERFACE-ADDRESS
    python3 -m tests.appliance.media.receiver FILE pipe COMMAND...

`pipe` runs a command and takes the stream from its standard output; it is started again when it ends. A line "report"
on standard input prints all counts as one line of JSON, "reset" counts from zero as well. A SIGTERM or the end of the
input ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.appliance.media.child import end
from tests.appliance.media.count import Checker
from tests.appliance.media.stream import DATAGRAM, MAGIC, Stream

BUFFER = 8 << 20
SO_RCVBUFFORCE = 33
AT_ONCE = 64
MAGIC_AT = 10


class UdpPort:
    """One bound socket."""

    def __init__(self, stream: Stream, host: str, port: int, interface: str | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        except PermissionError:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.socket.bind((host, port))
        if interface:
            membership = socket.inet_aton(host) + socket.inet_aton(interface)
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        self.socket.setblocking(False)
        self.name = str(port)
        self.checker = Checker(stream)

    def fileno(self) -> int:
        return self.socket.fileno()

    def read(self) -> None:
        """Take what is there, up to a bound that lets other ports have their turn."""
        checker = self.checker
        for _ in range(AT_ONCE):
            try:
                datagram, source = self.socket.recvfrom(65536)
            except BlockingIOError:
                return
            checker.count.source_port = source[1]
            checker.take(datagram, time.monotonic())

    def close(self) -> None:
        self.socket.close()


class Pipe:
    """The standard output of a command, cut into datagrams."""

    name = "pipe"

    def __init__(self, stream: Stream, argv: list[str]) -> None:
        self._argv = argv
        self._rest = b""
        self.checker = Checker(stream)
        self.starts = 0
        self._start()

    def _start(self) -> None:
        self._rest = b""
        self.starts += 1
        self._process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        if self._process.stdout is None:
            raise RuntimeError("no pipe")
        os.set_blocking(self._process.stdout.fileno(), False)

    def fileno(self) -> int:
        if self._process.stdout is None:
            raise RuntimeError("no pipe")
        return self._process.stdout.fileno()

    def read(self) -> None:
        try:
            data = os.read(self.fileno(), 1 << 20)
        except BlockingIOError:
            return
        if not data:
            raise EOFError
        now = time.monotonic()
        data = self._rest + data
        at = 0
        while at + DATAGRAM <= len(data):
            datagram = data[at : at + DATAGRAM]
            self.checker.take(datagram, now)
            at += DATAGRAM
            if datagram[MAGIC_AT : MAGIC_AT + len(MAGIC)] != MAGIC:
                at = self._next(data, at - DATAGRAM)
        self._rest = data[at:]

    @staticmethod
    def _next(data: bytes, at: int) -> int:
        """Return where the next datagram seems to begin."""
        found = data.find(MAGIC, at + MAGIC_AT + 1)
        return found - MAGIC_AT if found >= 0 else len(data)

    def restart(self) -> None:
        """Run the command again after its end."""
        self.close()
        self._start()

    def close(self) -> None:
        end(self._process)
        if self._process.stdout is not None:
            self._process.stdout.close()


def serve(ends: Sequence[UdpPort | Pipe]) -> None:
    """Receive and answer until the standard input ends."""
    with selectors.DefaultSelector() as selector:
        for one in ends:
            selector.register(one, selectors.EVENT_READ, one)
        selector.register(sys.stdin, selectors.EVENT_READ)
        print(json.dumps({"ready": True}), flush=True)
        again: dict[Pipe, float] = {}
        while True:
            for key, _ in selector.select(0.1 if again else None):
                end_point = key.data
                if end_point is None:
                    if not answer(ends):
                        return
                    continue
                try:
                    end_point.read()
                except EOFError:
                    selector.unregister(end_point)
                    again[end_point] = time.monotonic() + 0.2
            for pipe, when in list(again.items()):
                if time.monotonic() >= when:
                    del again[pipe]
                    pipe.restart()
                    selector.register(pipe, selectors.EVENT_READ, pipe)


def answer(ends: Sequence[UdpPort | Pipe]) -> bool:
    """Answer one command; False at the end of the input."""
    command = sys.stdin.readline().strip()
    if not command:
        return False
    counts = {one.name: one.checker.count.to_json() for one in ends}
    if command == "reset":
        for one in ends:
            one.checker.reset()
    print(json.dumps(counts), flush=True)
    return True


def main() -> None:
    """Run as a command."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    path, kind, *rest = sys.argv[1:]
    with contextlib.suppress(PermissionError):
        os.nice(-10)
    stream = Stream(Path(path))
    ends: Sequence[UdpPort | Pipe]
    if kind == "udp":
        ends = [UdpPort(stream, rest[0], int(port)) for port in rest[1:]]
    elif kind == "udp-group":
        ends = [UdpPort(stream, rest[0], int(rest[1]), rest[2])]
    else:
        ends = [Pipe(stream, rest)]
    try:
        serve(ends)
    finally:
        for one in ends:
            one.close()


if __name__ == "__main__":
    main()
