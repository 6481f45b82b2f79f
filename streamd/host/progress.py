"""The progress channel: the reports of our processes, which arrive as datagrams on the loopback interface.

Every FFmpeg sends to an address of its own in 127.0.0.0/8, so the address tells who it is. Any process of this host
could send there, but none from outside. Nobody listening harms no sender: that is why it is UDP, and no pipe or file
(FFmpeg 5.1 stops the media when a pipe is not read). To srt-live-transmit a refusal would do harm, and there is none of
what is sent to all: so it sends there, from the address of its own.
"""

from __future__ import annotations

import logging
import socket
import time
from typing import Final

_LOG: Final = logging.getLogger(__name__)
_IP_PKTINFO: Final = 8
"""From <linux/in.h>; the socket module has no name for it before Python 3.14."""
_BUFFER: Final = 4 << 20
"""Bytes asked for: some two thousand units report once a second."""
_MOST: Final = 2048
"""Bytes of a datagram that are looked at; FFmpeg's reports have 200 to 400, srt-live-transmit's 700 to 900."""
_TO_ALL: Final = socket.inet_aton("127.255.255.255")
_BATCH: Final = 10_000
"""Datagrams that are read in one go: a flood of them must not keep the daemon."""
_RETRY: Final = 60.0
"""Seconds between two attempts to bind a port that somebody else has."""


class ProgressChannel:
    """Collects the reports; they are read when asked for, not when they arrive, which costs a fraction."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._port = 0
        self._failed_at = 0.0
        self.opened_at = 0
        """When it began to listen: µs of the monotonic clock, 0 while it does not."""

    def listen(self, port: int) -> None:
        """Listen on this UDP port of the loopback interface. That it is taken is logged, and tried again later."""
        if port == self._port and (self._socket or time.monotonic() - self._failed_at < _RETRY):
            return
        self.close()
        self._port = port
        handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            handle.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            # One address for all of 127.0.0.0/8 does not exist; on this interface nothing arrives from outside.
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            handle.bind(("0.0.0.0", port))  # noqa: S104
        except OSError as error:
            handle.close()
            self._failed_at = time.monotonic()
            _LOG.error(
                "cannot listen on UDP port %d of the loopback interface: %s; outputs run, but whether they send is not "
                "known. Set progress_port in /etc/streamd/streamd.toml to a free port",
                port,
                error.strerror,
            )
            return
        self._socket = handle
        self.opened_at = time.monotonic_ns() // 1000

    def close(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self.opened_at = 0

    def read(self) -> dict[bytes, bytes]:
        """Return the latest datagrams since the last call, each by the packed address that tells whose it is."""
        latest: dict[bytes, bytes] = {}
        if self._socket is None:
            return latest
        receive = self._socket.recvmsg
        room = socket.CMSG_SPACE(12)
        for _ in range(_BATCH):
            try:
                data, ancillary, _flags, sender = receive(_MOST, room)
            except BlockingIOError:
                break
            except OSError as error:
                _LOG.warning("cannot read progress reports: %s", error.strerror)
                break
            for _level, kind, value in ancillary:
                if kind == _IP_PKTINFO:
                    address = value[8:12]
                    latest[socket.inet_aton(sender[0]) if address == _TO_ALL else address] = data
        return latest
