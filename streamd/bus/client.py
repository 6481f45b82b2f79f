"""The client of org.streamd1 that streamctl uses: calls by what they mean, errors as sentences by kind."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final

from streamd.bus.connection import (
    BusError,
    BusTimeoutError,
    Connection,
    DisconnectedError,
    MessageFlag,
    Variant,
    connect_system_bus,
)
from streamd.bus.document import Document
from streamd.bus.names import BUS_NAME, DBUS_ERROR, ERROR, MANAGER, ROOT
from streamd.bus.values import unpack

_QUICK: Final = 25.0
"""Seconds for what is only read."""
_LONG: Final = 600.0
"""Seconds for what waits for systemd's jobs, or for somebody's password."""
_NO_SUCH: Final = frozenset({"UnknownMethod", "UnknownInterface", "UnknownObject", "UnknownProperty"})
_DENIED: Final = frozenset({"AccessDenied", "InteractiveAuthorizationRequired"})
_ABSENT: Final = frozenset({"ServiceUnknown", "NameHasNoOwner"})


class ClientError(Exception):
    """A request failed; the text is one sentence for a person."""


class NotRunningError(ClientError):
    """There is no daemon, or no bus."""


class NoSuchThingError(ClientError):
    """There is no such route or output."""


class DeniedError(ClientError):
    """The caller may not do that."""


class Client:
    """Talks to the daemon; use it as `async with Client() as client`. Every method raises ClientError."""

    def __init__(self, address: str | None = None, *, interactive: bool = False) -> None:
        """Take the bus address (None: the system bus) and whether polkit may ask for a password."""
        self._address = address
        self._flags = MessageFlag.NO_AUTOSTART
        if interactive:
            self._flags |= MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION
        self._connection: Connection | None = None

    async def __aenter__(self) -> Client:
        try:
            self._connection = await connect_system_bus(self._address)
        except BusError as error:
            raise NotRunningError(f"{error.text}; is D-Bus running?") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def status(self, address: str | None = None) -> Document:
        """Return everything, or one route or output."""
        options = {} if address is None else {"address": Variant("s", address)}
        return dict(await self._call("GetStatus", "a{sv}", options, within=_QUICK))

    async def plan(self) -> list[Document]:
        """Return what a reload would do."""
        return list(await self._call("Plan", "a{sv}", {}, within=_LONG))

    async def reload(self) -> Document:
        """Have all files read again and what follows carried out."""
        return dict(await self._call("Reload", "a{sv}", {}, within=_LONG))

    async def act(self, verb: str, address: str, *, wait: bool) -> None:
        """Start, stop or restart (`verb`) a route or an output."""
        options = {} if wait else {"no-block": Variant("b", True)}
        noun = "Output" if "/" in address else "Route"
        await self._call(f"{verb.capitalize()}{noun}", "sa{sv}", address, options, within=_LONG)

    async def _call(self, member: str, signature: str, *body: Any, within: float) -> Any:  # noqa: ANN401
        if self._connection is None:
            raise NotRunningError("there is no connection")
        try:
            reply = await self._connection.call(
                BUS_NAME, ROOT, MANAGER, member, signature, body, within=within, flags=self._flags
            )
        except BusError as error:
            raise _translate(error) from error
        return unpack(reply[0]) if reply else None


def _translate(error: BusError) -> ClientError:
    name = error.name.rpartition(".")[2]
    if isinstance(error, BusTimeoutError):
        return ClientError("streamd does not answer; see: journalctl -u streamd")
    if isinstance(error, DisconnectedError) or error.name == f"{DBUS_ERROR}.NoReply":
        return NotRunningError("streamd went away while it was asked; see: journalctl -u streamd")
    if error.name.startswith(DBUS_ERROR):
        if name in _ABSENT:
            return NotRunningError("streamd is not running; start it with: systemctl start streamd")
        if name in _DENIED:
            return DeniedError(error.text)
        if name in _NO_SUCH:
            return ClientError(f"streamd is of another version than streamctl: {error.text}")
    if error.name == f"{ERROR}.NotFound":
        return NoSuchThingError(error.text)
    return ClientError(error.text or error.name)
