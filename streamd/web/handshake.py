"""The TLS handshake of one connection, which counts as a connection from its first byte and may take only so long.

Left to asyncio's server, a connection is told of when its handshake is over, for which there is a minute by default:
whoever never ends it would hold a descriptor that nobody counts.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from streamd.web.connection import Doorkeeper

Make = Callable[..., asyncio.Protocol]


def over_tls(make: Make, keeper: Doorkeeper, context: ssl.SSLContext) -> Make:
    """Return what makes a protocol that shakes hands first, and is what `make` makes from then on."""

    def made(*args: Any, **more: Any) -> asyncio.Protocol:  # noqa: ANN401 (they differ between uvicorn's releases)
        return _Handshake(lambda: make(*args, **more), keeper, context)

    return made


class _Handshake(asyncio.Protocol):
    def __init__(self, make: Callable[[], asyncio.Protocol], keeper: Doorkeeper, context: ssl.SSLContext) -> None:
        self._make = make
        self._keeper = keeper
        self._context = context
        self._early: list[bytes] = []
        """What is said right after the handshake, before the transport of what follows is known."""
        self._lost = False
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if not self._keeper.admit(transport):
            transport.abort()
            return
        # As much as is not sent is told to what encrypts, and by that to what speaks.
        transport.set_write_buffer_limits(high=0)
        # What comes is for the handshake, which begins with the next turn of the loop.
        transport.pause_reading()
        self._task = asyncio.get_running_loop().create_task(self._shake(transport))

    async def _shake(self, transport: asyncio.Transport) -> None:
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                self,
                self._context,
                server_side=True,
                ssl_handshake_timeout=self._keeper.patience.head,
                ssl_shutdown_timeout=self._keeper.patience.head,
            )
        except OSError:
            # Who speaks no TLS, leaves or takes too long; asyncio has closed it.
            return
        if secured is None or self._lost or secured.is_closing():
            return
        protocol = self._make()
        secured.set_protocol(protocol)
        protocol.connection_made(secured)
        for data in self._early:
            protocol.data_received(data)

    def data_received(self, data: bytes) -> None:
        self._early.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
