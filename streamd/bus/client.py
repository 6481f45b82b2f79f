"""The client of org.streamd1 that streamctl uses: calls by what they mean, errors as sentences by kind."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from streamd.bus.connection import (
    BusError,
    BusTimeoutError,
    Connection,
    DisconnectedError,
    MessageFlag,
    Variant,
    connect_system_bus,
)
from streamd.bus.names import BUS_NAME, DBUS_ERROR, ERROR, MANAGER, PROPERTIES, ROOT, address_path
from streamd.bus.notice import Notice
from streamd.bus.values import pack_table, unpack
from streamd.bus.watch import watch

if TYPE_CHECKING:
    from streamd.bus.document import Document

_QUICK: Final = 25.0
"""Seconds for what is only read."""
_LONG: Final = 600.0
"""Seconds for what waits for systemd's jobs, or for somebody's password."""
_NO_SUCH: Final = frozenset({"UnknownMethod", "UnknownInterface", "UnknownObject", "UnknownProperty"})
_DENIED: Final = frozenset({"AccessDenied", "InteractiveAuthorizationRequired"})
_ABSENT: Final = frozenset({"ServiceUnknown", "NameHasNoOwner"})


class ClientError(Exception):
    """A request failed; the text is one sentence for a person."""

    def __init__(self, text: str, name: str = "", diagnostics: Sequence[Document] = ()) -> None:
        """Take the text, the last part of the D-Bus error's name if there was one, and what is wrong with the files."""
        super().__init__(text)
        self.name = name
        self.diagnostics = tuple(diagnostics)


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

    @property
    def connected(self) -> bool:
        """Return whether more can be asked."""
        return self._connection is not None and self._connection.connected

    async def status(self, address: str | None = None) -> Document:
        """Return everything, or one route or output."""
        options = {} if address is None else {"address": Variant("s", address)}
        return dict(await self._call("GetStatus", "a{sv}", options, within=_QUICK))

    async def statistics(self, addresses: Sequence[str] = ()) -> list[Document]:
        """Return the moving counters of these, of all where none is named; what is unknown is missing."""
        return list(await self._call("Statistics", "asa{sv}", list(addresses), {}, within=_QUICK))

    async def plan(self) -> list[Document]:
        """Return what a reload would do."""
        return list(await self._call("Plan", "a{sv}", {}, within=_LONG))

    async def plan_change(self, verb: str, address: str, table: Mapping[str, Any]) -> list[Document]:
        """Return what a change (`verb`: add, update, remove, enable, disable) would do; the table is as for it."""
        kept, options = _update(address, table) if verb == "update" else (pack_table(table), {})
        return list(await self._call("PlanChange", "ssa{sv}a{sv}", verb, address, kept, options, within=_LONG))

    async def plan_file(self, path: str, text: str) -> list[Document]:
        """Return what would follow if a file of the configuration said this."""
        # Somebody waits for it before a file is saved, which is not to wait for a systemd that hangs.
        return list(await self._call("PlanFile", "ssa{sv}", path, text, {}, within=_QUICK))

    async def log(self, address: str, lines: int) -> list[Document]:
        """Return the last lines of the log of a route or an output."""
        return list(await self._call("Log", "sa{sv}", address, {"lines": Variant("u", lines)}, within=_QUICK))

    async def reload(self) -> Document:
        """Have all files read again and what follows carried out."""
        return dict(await self._call("Reload", "a{sv}", {}, within=_LONG))

    async def act(self, verb: str, address: str, *, wait: bool) -> None:
        """Start, stop or restart (`verb`) a route or an output."""
        options = {} if wait else {"no-block": Variant("b", True)}
        noun = "Output" if "/" in address else "Route"
        await self._call(f"{verb.capitalize()}{noun}", "sa{sv}", address, options, within=_LONG)

    async def add_route(self, name: str, table: Mapping[str, Any]) -> None:
        """Make a route; the table is what its file says."""
        await self._call("AddRoute", "sa{sv}a{sv}", name, pack_table(table), {}, within=_LONG)

    async def add_output(self, address: str, table: Mapping[str, Any]) -> None:
        """Add an output; the table is what stands below [output.NAME]."""
        await self._call("AddOutput", "sa{sv}a{sv}", address, pack_table(table), {}, within=_LONG)

    async def update(self, address: str, table: Mapping[str, Any]) -> None:
        """Set keys of an output, or of a route with those of its input in a table `input`; None takes a key away."""
        noun = "Output" if "/" in address else "Route"
        kept, options = _update(address, table)
        await self._call(f"Update{noun}", "sa{sv}a{sv}", address, kept, options, within=_LONG)

    async def change(self, verb: str, address: str) -> None:
        """Remove (`rm`), enable or disable a route or an output."""
        noun = "Output" if "/" in address else "Route"
        member = {"rm": "Remove", "enable": "Enable", "disable": "Disable"}[verb]
        await self._call(f"{member}{noun}", "sa{sv}", address, {}, within=_LONG)

    async def set_credential(self, name: str, secret: str) -> None:
        """Put a secret into the credential store, replacing one of that name."""
        await self._call("SetCredential", "ssa{sv}", name, secret, {}, within=_LONG)

    async def viewers(self, routes: Sequence[str] = ()) -> Document:
        """Return who watches these routes, or all."""
        return dict(await self._call("Viewers", "asa{sv}", list(routes), {}, within=_QUICK))

    async def kick(self, viewer: str) -> None:
        """End a viewer's connection."""
        await self._call("KickViewer", "sa{sv}", viewer, {}, within=_LONG)

    async def properties(self, address: str | None = None) -> Document:
        """Return all properties of the daemon, or of one route or output, by name."""
        path = ROOT if address is None else address_path(address)
        try:
            reply = await self._open_connection().call(
                BUS_NAME, path, PROPERTIES, "GetAll", "s", [""], within=_QUICK, flags=self._flags
            )
        except BusError as error:
            if address is not None and error.name == f"{DBUS_ERROR}.UnknownObject":
                what = "output" if "/" in address else "route"
                raise NoSuchThingError(f'there is no {what} "{address}"', "NotFound") from error
            raise translate(error) from error
        return dict(unpack(reply[0]))

    async def watch(self) -> AsyncGenerator[Notice, None]:
        """Yield all objects, then whatever changes, as streamd.bus.watch tells it; over the daemon's restarts too."""
        try:
            async with aclosing(watch(self._open_connection())) as notices:
                async for notice in notices:
                    yield notice
        except BusError as error:
            raise translate(error) from error

    def _open_connection(self) -> Connection:
        if self._connection is None:
            raise NotRunningError("there is no connection")
        return self._connection

    async def _call(self, member: str, signature: str, *body: Any, within: float) -> Any:  # noqa: ANN401
        try:
            reply = await self._open_connection().call(
                BUS_NAME, ROOT, MANAGER, member, signature, body, within=within, flags=self._flags
            )
        except BusError as error:
            raise translate(error) from error
        return unpack(reply[0]) if reply else None


def _update(address: str, table: Mapping[str, Any]) -> tuple[dict[str, Variant], dict[str, Variant]]:
    """Return the keys that an update sets, and the options that name those that it takes away."""
    inner = table.get("input") if "/" not in address else None
    whole = dict(table)
    removed = [key for key, value in table.items() if value is None]
    if isinstance(inner, dict):
        whole["input"] = {key: value for key, value in inner.items() if value is not None}
        removed += [f"input.{key}" for key, value in inner.items() if value is None]
    kept = pack_table({key: value for key, value in whole.items() if value is not None})
    return kept, {"remove": Variant("as", removed)} if removed else {}


def translate(error: BusError) -> ClientError:
    """Return what an error on the bus means to somebody who asked streamd."""
    name = error.name.rpartition(".")[2]
    if isinstance(error, BusTimeoutError):
        return ClientError("streamd does not answer; see: journalctl -u streamd", "Timeout")
    if isinstance(error, DisconnectedError) or error.name == f"{DBUS_ERROR}.NoReply":
        return NotRunningError("streamd went away while it was asked; see: journalctl -u streamd")
    if error.name.startswith(DBUS_ERROR):
        if name in _ABSENT:
            return NotRunningError("streamd is not running; start it with: systemctl start streamd")
        if name in _DENIED:
            return DeniedError(error.text, name)
        if name in _NO_SUCH:
            return ClientError(f"streamd is of another version than streamctl: {error.text}", name)
    if error.name == f"{ERROR}.NotFound":
        return NoSuchThingError(error.text, name)
    return ClientError(error.text or error.name, name, _diagnostics(error))


def _diagnostics(error: BusError) -> list[Document]:
    """Return the diagnostics that came behind an error's text."""
    match unpack(list(error.more)):
        case [list(found), *_]:
            return [document for document in found if isinstance(document, dict)]
    return []
