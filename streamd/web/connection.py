"""One connection of the HTTP server: how many there may be, and how long each may take to ask and to read."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_impl import WebSocketProtocol

from streamd.web.address import plain

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How many, and how long; times in seconds."""

    connections: int = 512
    each: int = 128
    """Connections of one address, unless that is a proxy's."""
    head: float = 10.0
    """Until the head of a request is there."""
    idle: int = 15
    """Until the next request over a connection begins; in whole seconds."""
    unread: float = 20.0
    """Until a client has read enough of what was sent that more can be."""


class Doorkeeper:
    """Counts the connections that are open."""

    def __init__(
        self,
        patience: Patience | None = None,
        proxies: frozenset[str] = frozenset(),
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.patience = patience or Patience()
        self._proxies = proxies
        self._steady = steady
        self._open: dict[asyncio.WriteTransport, str] = {}
        self._closing: dict[asyncio.WriteTransport, float] = {}
        """Those that were seen closing with something unsent, and when for the first time."""
        self._by_address: Counter[str] = Counter()
        self._full = False

    @property
    def count(self) -> int:
        """Return how many are open."""
        self._forget_closed()
        return len(self._open)

    def admit(self, transport: asyncio.WriteTransport) -> bool:
        """Return whether there is room for one more, which counts from now on."""
        peer = transport.get_extra_info("peername")
        address = plain(str(peer[0])) if isinstance(peer, tuple) and peer else ""
        if not self._has_room(address):
            # A connection may have passed to the WebSocket's protocol, so that nobody tells when it closes.
            self._forget_closed()
            if not self._has_room(address):
                self._tell(address)
                return False
        self._full = False
        self._open[transport] = address
        self._by_address[address] += 1
        return True

    def _has_room(self, address: str) -> bool:
        if len(self._open) >= self.patience.connections:
            return False
        return not address or address in self._proxies or self._by_address[address] < self.patience.each

    def _forget_closed(self) -> None:
        now = self._steady()
        for transport in [transport for transport in self._open if transport.is_closing()]:
            # It is open until all is sent, which whoever does not read could draw out for ever.
            if transport.get_write_buffer_size():
                if now - self._closing.setdefault(transport, now) < self.patience.unread:
                    continue
                transport.abort()
            self._closing.pop(transport, None)
            address = self._open.pop(transport)
            self._by_address[address] -= 1
        self._by_address += Counter()  # drops the zeros

    def _tell(self, address: str) -> None:
        if not self._full:
            _LOG.warning("no more connections are taken: %d are open; the last came from %s", len(self._open), address)
        self._full = True


class _Timer:
    """Calls something, unless it is stopped before."""

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self._seconds = seconds
        self._call = call
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start it, where it does not run: what trickles in gets no more time."""
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(self._seconds, self._call)

    def stop(self) -> None:
        """Stop it."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class _NoNonsense(logging.Filter):
    """Drops what uvicorn says, in some releases with a traceback, of each client that does not speak HTTP."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(("Invalid HTTP request", "Unsupported upgrade request"))


def quieten() -> None:
    """Keep whoever talks nonsense out of the journal."""
    logger = logging.getLogger("uvicorn.error")
    if not any(isinstance(each, _NoNonsense) for each in logger.filters):
        logger.addFilter(_NoNonsense())


def server_options(keeper: Doorkeeper) -> Mapping[str, Any]:
    """Return what uvicorn is told about connections."""
    return {
        "loop": "asyncio",
        "http": guarded(keeper),
        "ws": following(keeper),
        "ws_max_size": 4096,
        "ws_ping_interval": 20.0,
        "ws_ping_timeout": 20.0,
        "ws_per_message_deflate": False,
        "timeout_keep_alive": keeper.patience.idle,
        "backlog": 256,
        "proxy_headers": False,
        "server_header": False,
        "lifespan": "off",
        "log_config": None,
        "access_log": False,
    }


class _Reading(asyncio.Protocol):
    """What both protocols do while a client does not read: it has so long, and is hung up on."""

    _until_read: _Timer

    def pause_writing(self) -> None:
        super().pause_writing()
        self._until_read.start()

    def resume_writing(self) -> None:
        self._until_read.stop()
        super().resume_writing()


def guarded(keeper: Doorkeeper) -> type[H11Protocol]:
    """Return the protocol of the server, with a doorkeeper."""

    class Guarded(_Reading, H11Protocol):
        """What uvicorn speaks, for a client that is in no hurry or in too many places."""

        def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 (they differ between uvicorn's releases)
            super().__init__(*args, **more)
            self._until_head = _Timer(keeper.patience.head, self._hang_up)
            self._until_read = _Timer(keeper.patience.unread, self._hang_up)

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            over_tls = bool(transport.get_extra_info("sslcontext"))
            # However little is not sent, its client has to read on: a close would wait for it without an end. (Over
            # TLS, 0 is a limit that asyncio takes for reached by nothing at all.)
            transport.set_write_buffer_limits(high=1 if over_tls else 0)
            # Over TLS it has been since before the handshake.
            if over_tls or keeper.admit(transport):
                self._until_head.start()
            else:
                transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            self._until_head.stop()
            self._until_read.stop()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            upgraded = self.transport.get_protocol() is not self
            if upgraded:
                self._until_read.stop()
            if upgraded or not (self.cycle is None or self.cycle.response_complete):
                self._until_head.stop()
            else:
                self._until_head.start()  # what arrived is not all of it

        def _hang_up(self) -> None:
            if self.transport.get_protocol() is self:
                self.transport.abort()

    return Guarded


def following(keeper: Doorkeeper) -> type[WebSocketProtocol]:
    """Return the protocol of WebSockets, which hangs up on who does not read: its pings wait behind what is unread."""

    class Following(_Reading, WebSocketProtocol):
        """What uvicorn speaks, for a client that takes what it is told."""

        def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 (they differ between uvicorn's releases)
            super().__init__(*args, **more)
            self._until_read = _Timer(keeper.patience.unread, self._hang_up)

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            is_paused = transport.get_write_buffer_size() > 0
            super().connection_made(transport)
            if is_paused:  # by an answer to an earlier request; it was the other protocol that was told
                self.pause_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            self._until_read.stop()
            super().connection_lost(exc)

        def _hang_up(self) -> None:
            self.transport.abort()

    return Following
