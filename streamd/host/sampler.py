"""Samples of what is on the relay: streamd listens to a route's group for a moment, as one more reader.

The kernel gives each reader of a group a copy, so nobody is deprived. What a sample costs is bounded by its time and by
the number of its datagrams, whatever the bitrate. Media is looked at and forgotten; none is passed on.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from streamd.plan.continuity import Scan, Tally

SECONDS: Final = 1.0
"""How long a sample lasts at the longest."""
MOST: Final = 512
"""Datagrams of a sample at the most: about what a stream of 5 Mbit/s has in a second."""
_LOOPBACK: Final = "127.0.0.1"
_PERIOD: Final = 0.2
"""Seconds between two looks: what comes meanwhile waits in the socket's buffer, which costs no wake-ups."""
_BUFFER: Final = 4 << 20
"""Bytes asked for; the kernel gives no more than net.core.rmem_max."""
_BATCH: Final = 64
"""Datagrams that are read before others get their turn."""
_LONGEST: Final = 2048
"""Bytes of a datagram; ingests send no more than 1,316."""
_SO_RXQ_OVFL: Final = 40
_IP_MULTICAST_ALL: Final = 49
"""From <asm-generic/socket.h> and <linux/in.h>; the socket module has no names for them."""
_ROOM: Final = socket.CMSG_SPACE(4)


async def sample(group: str, port: int) -> Tally | None:
    """Listen to a group of the loopback interface and return what was found, None when nothing came. Raises: OSError.

    The sample ends where this socket's own buffer ran over, and where another sender begins: a gap there would be none
    of the stream's.
    """
    loop = asyncio.get_running_loop()
    with _Ear(group, port) as ear:
        ends = loop.time() + SECONDS
        while not ear.is_done and loop.time() < ends:
            await asyncio.sleep(_PERIOD)
            more = True
            while more:
                more = ear.read()
                await asyncio.sleep(0)
        return ear.tally


class _Ear:
    """A socket that is a member of one group; `with` closes it, and so leaves the group."""

    def __init__(self, group: str, port: int) -> None:
        handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            # As the outputs, which bind the same address and port.
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            handle.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
            handle.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
            handle.bind((group, port))
            membership = socket.inet_aton(group) + socket.inet_aton(_LOOPBACK)
            handle.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        except OSError:
            handle.close()
            raise
        self._socket = handle
        self._scan = Scan()
        self._sender: object = None
        self._left = MOST
        self._heard = False

    def __enter__(self) -> _Ear:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    @property
    def is_done(self) -> bool:
        """Tell whether more is of no use."""
        return self._left <= 0

    @property
    def tally(self) -> Tally | None:
        """Return what was found, None when nothing came."""
        return self._scan.tally if self._heard else None

    def read(self) -> bool:
        """Take a batch of what is there; tell whether there may be more."""
        batch = []
        receive = self._socket.recvmsg
        more = True
        for _ in range(min(_BATCH, self._left)):
            try:
                data, ancillary, _flags, sender = receive(_LONGEST, _ROOM)
            except BlockingIOError:
                more = False
                break
            # Ancillary data comes only with what follows a datagram for which there was no room.
            if ancillary or sender != (self._sender or sender):
                self._left = 0
                break
            self._sender = sender
            batch.append(data)
        self._left -= len(batch)
        self._heard = self._heard or bool(batch)
        self._scan.feed(b"".join(batch))
        return more and self._left > 0
