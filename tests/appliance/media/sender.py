"""Sends the stream by UDP at its own speed.

    python3 -m tests.appliance.media.sender FILE HOST PORT [--bitrate BITS] [--seconds N] [--interface ADDRESS]
                                           [--skip-every N]

Prints a line of JSON when it begins, one for each line on its standard input, and one at its end. A SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from ipaddress import ip_address
from pathlib import Path

from tests.appliance.media.stream import DATAGRAM, Stream

TICK = 0.004
"""Seconds: it sleeps for so long and then sends what is due."""
MOST_AT_ONCE = 24
"""Datagrams. After a time without a processor it falls behind for good: a burst would flood the receiver's buffer, and
that loss would be the test's own."""


def open_socket(host: str, port: int, interface: str | None) -> socket.socket:
    """Return a connected UDP socket. `interface`: the IPv4 address of the one that multicast leaves by."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    sender = socket.socket(family, kind)
    if family == socket.AF_INET and ip_address(address[0]).is_multicast:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        if interface:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
    sender.connect(address)
    return sender


def send(stream: Stream, sender: socket.socket, bitrate: float, seconds: float | None, skip_every: int) -> None:
    """Send until the time is over or a SIGTERM comes. `skip_every`: one of so many is not sent; 0 for none."""
    period = DATAGRAM * 8 / bitrate
    begin = due = time.monotonic()
    index = 0
    while seconds is None or time.monotonic() - begin < seconds:
        now = time.monotonic()
        due = max(due, now - MOST_AT_ONCE * period)
        while due <= now:
            # Nobody may listen yet: the refusal of one datagram is reported with the next.
            if not skip_every or index % skip_every:
                with contextlib.suppress(ConnectionRefusedError):
                    sender.send(stream.datagram(index, time.monotonic_ns()))
            index += 1
            due += period
        if select.select([sys.stdin], [], [], TICK)[0]:
            if not sys.stdin.readline():
                break
            print(json.dumps({"sent": index}), flush=True)
    print(json.dumps({"sent": index}), flush=True)


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--bitrate", type=float)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--interface")
    parser.add_argument("--skip-every", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    with contextlib.suppress(PermissionError):
        os.nice(-15)
    stream = Stream(options.file)
    with open_socket(options.host, options.port, options.interface) as sender:
        print(json.dumps({"ready": True}), flush=True)
        send(stream, sender, options.bitrate or stream.bitrate, options.seconds, options.skip_every)


if __name__ == "__main__":
    main()
