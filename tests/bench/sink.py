"""Where outputs by UDP end: counts what comes, and what does not, with as little work as Python can do for a datagram.

A datagram of `Stream` tells its number and the time at which it was sent; the rest of it is not looked at.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType

from tests.appliance.media.count import RESTART_DISTANCE
from tests.appliance.media.receiver import BUFFER, SO_RCVBUFFORCE
from tests.appliance.media.stream import INDEX_AT, TIME_AT, TIME_END

_AT_ONCE = 64


@dataclass
class Arrivals:
    """Of one port."""

    datagrams: int = 0
    lost: int = 0
    repeated: int = 0
    begun: int = 0
    """How often the sender began again."""
    last: int | None = None
    first_at: float = 0.0
    """Of time.monotonic(); 0 before anything came."""
    ages: list[float] = field(default_factory=list)
    """Seconds from being sent to being here, where they are asked for."""


class Sink:
    """Listens from `with` on, in a thread of its own."""

    def __init__(self, ports: Iterable[int], *, ages: bool = False) -> None:
        """Take the ports, and whether to keep the age of each datagram."""
        self._ports = list(ports)
        self._keep_ages = ages
        self._arrivals = {port: Arrivals() for port in self._ports}
        self._stopped = os.eventfd(0)
        self._thread = threading.Thread(target=self._receive, name="sink")
        self._sockets: dict[int, tuple[socket.socket, int]] = {}

    def __enter__(self) -> Sink:
        for port in self._ports:
            found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            found.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
            found.bind(("127.0.0.1", port))
            self._sockets[found.fileno()] = (found, port)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.eventfd_write(self._stopped, 1)
        self._thread.join()
        for found, _port in self._sockets.values():
            found.close()
        os.close(self._stopped)

    def take(self) -> dict[int, Arrivals]:
        """Return what came since it was asked last, by port; what is missing in between belongs to the next."""
        old = self._arrivals
        # The thread looks this up for each socket that it reads, so that nothing is lost of either.
        self._arrivals = {port: Arrivals(last=each.last) for port, each in old.items()}
        return old

    def forget(self) -> None:
        """Begin anew, as if nothing had come."""
        self._arrivals = {port: Arrivals() for port in self._ports}

    def first_at(self, port: int) -> float:
        """Return when the first datagram came, 0 before."""
        return self._arrivals[port].first_at

    def _receive(self) -> None:
        head = bytearray(TIME_END)
        with select.epoll() as poll:
            poll.register(self._stopped, select.EPOLLIN)
            for number in self._sockets:
                poll.register(number, select.EPOLLIN)
            while True:
                for number, _event in poll.poll():
                    if number == self._stopped:
                        return
                    found, port = self._sockets[number]
                    self._read(found, self._arrivals[port], head)

    def _read(self, found: socket.socket, arrivals: Arrivals, head: bytearray) -> None:
        for _ in range(_AT_ONCE):
            try:
                size = found.recv_into(head)
            except BlockingIOError:
                return
            if size < TIME_END:
                continue
            index = int.from_bytes(head[INDEX_AT:TIME_AT], "big")
            last, arrivals.last = arrivals.last, index
            if last is not None and index != last + 1:
                if index > last:
                    arrivals.lost += index - last - 1
                elif index < last - RESTART_DISTANCE or index == 0:
                    arrivals.begun += 1
                else:
                    arrivals.repeated += 1
            arrivals.datagrams += 1
            if not arrivals.first_at:
                arrivals.first_at = time.monotonic()
            if self._keep_ages:
                arrivals.ages.append(time.monotonic() - int.from_bytes(head[TIME_AT:TIME_END], "big") / 1e9)
