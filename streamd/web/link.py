"""The one edge to the daemon: a connection to the bus that is made anew when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from streamd.bus.client import Client
from streamd.bus.document import Document
from streamd.bus.notice import Notice


class Asked(Protocol):
    """What the gateway asks of streamd.bus.client.Client. Every method raises ClientError."""

    async def status(self, address: str | None = None) -> Document:
        """Return everything, or one route or output."""

    async def statistics(self, addresses: Sequence[str] = ()) -> list[Document]:
        """Return the moving counters."""

    async def plan(self) -> list[Document]:
        """Return what a reload would do."""

    async def plan_change(self, verb: str, address: str, table: Mapping[str, Any]) -> list[Document]:
        """Return what a change would do; `verb` is add, update, remove, enable or disable."""

    async def log(self, address: str, lines: int) -> list[Document]:
        """Return the last lines of the log of a route or an output."""

    async def act(self, verb: str, address: str, *, wait: bool) -> None:
        """Start, stop or restart."""

    async def add_route(self, name: str, table: Mapping[str, Any]) -> None:
        """Make a route."""

    async def add_output(self, address: str, table: Mapping[str, Any]) -> None:
        """Add an output."""

    async def update(self, address: str, table: Mapping[str, Any]) -> None:
        """Set keys, or take them away."""

    async def change(self, verb: str, address: str) -> None:
        """Remove, enable or disable."""

    async def set_credential(self, name: str, secret: str) -> None:
        """Put a secret into the credential store."""

    async def viewers(self, routes: Sequence[str] = ()) -> Document:
        """Return who watches what."""


class Link(Protocol):
    """How the gateway reaches the daemon."""

    async def client(self) -> Asked:
        """Return a client that is connected. Raises: ClientError."""

    def watch(self) -> AsyncGenerator[Notice, None]:
        """Yield all objects, then whatever changes. Raises: ClientError."""

    async def close(self) -> None:
        """Disconnect."""


class BusLink:
    """The daemon on the system bus, or on another."""

    def __init__(self, address: str | None = None) -> None:
        """Take the bus address (None: the system bus)."""
        self._address = address
        self._client: Client | None = None
        self._opening = asyncio.Lock()

    async def client(self) -> Asked:
        """Return a client that is connected. Raises: ClientError."""
        async with self._opening:
            if self._client is None or not self._client.connected:
                await self.close()
                client = Client(self._address)
                await client.__aenter__()
                self._client = client
            return self._client

    async def watch(self) -> AsyncGenerator[Notice, None]:
        """Yield all objects, then whatever changes, on a connection of its own. Raises: ClientError."""
        async with Client(self._address) as client, aclosing(client.watch()) as notices:
            async for notice in notices:
                yield notice

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            await client.__aexit__(None, None, None)
