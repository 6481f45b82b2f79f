"""Following the daemon's objects: all of them first, then each change, over restarts of the daemon too.

A listener sees neither a change twice nor one that is older than what it was first shown: the bus keeps the order of
one sender's messages, so a signal counts only when its serial is above that of the reply it would change.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from streamd.bus.connection import BusError, Connection, DisconnectedError, Message
from streamd.bus.names import BUS_NAME, DBUS, MANAGER, OBJECT_MANAGER, PROPERTIES, ROOT
from streamd.bus.notice import Altered, Came, Everything, Left, Notice, Went
from streamd.bus.values import unpack

_RULES: Final = (
    f"type='signal',sender='{BUS_NAME}',path_namespace='{ROOT}'",
    f"type='signal',sender='{DBUS}',interface='{DBUS}',member='NameOwnerChanged',arg0='{BUS_NAME}'",
)


async def watch(connection: Connection) -> AsyncGenerator[Notice, None]:
    """Yield notices without end. Raises: BusError when the daemon does not run at first, or the bus is lost."""
    queue: asyncio.Queue[Message | None] = asyncio.Queue()
    for rule in _RULES:
        await connection.subscribe(rule, queue.put_nowait)
    lost = asyncio.get_running_loop().create_task(_tell_loss(connection, queue))
    try:
        known, notice = await _everything(connection)
        yield notice
        while (message := await queue.get()) is not None:
            if message.sender == DBUS:
                old, new = _owners(message)
                if known.owner and known.owner == old:
                    known = _NOTHING
                    yield Left()
                if new and not known.owner:
                    try:
                        known, notice = await _everything(connection)
                    except DisconnectedError:
                        raise
                    except BusError:  # it left again, as the next message tells
                        continue
                    yield notice
            elif known.is_news(message) and (told := _read(message)) is not None:
                yield told
        raise DisconnectedError("the connection to the system bus is lost")
    finally:
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Known:
    """Whose objects are known, and by which messages."""

    owner: str
    objects: int
    root: int

    def is_news(self, message: Message) -> bool:
        known = self.root if message.path == ROOT and message.interface == PROPERTIES else self.objects
        return bool(message.sender == self.owner and message.serial > known)


_NOTHING: Final = _Known("", 0, 0)


def _owners(message: Message) -> tuple[str, str]:
    """Return who owned the daemon's name and who does, if that is what the message tells; empty means nobody."""
    match message.member, message.body:
        case "NameOwnerChanged", [str(name), str(old), str(new)] if name == BUS_NAME:
            return old, new
    return "", ""


async def _everything(connection: Connection) -> tuple[_Known, Everything]:
    objects = await connection.ask(BUS_NAME, ROOT, OBJECT_MANAGER, "GetManagedObjects")
    root = await connection.ask(BUS_NAME, ROOT, PROPERTIES, "GetAll", "s", [MANAGER])
    found = {**unpack(objects.body[0]), ROOT: {MANAGER: unpack(root.body[0])}}
    return _Known(str(objects.sender), objects.serial, root.serial), Everything(found)


def _read(message: Message) -> Notice | None:
    match message.member, unpack(message.body):
        case "InterfacesAdded", [str(path), dict(interfaces)]:
            return Came(path, interfaces)
        case "InterfacesRemoved", [str(path), list()]:
            return Went(path)
        case "PropertiesChanged", [str(interface), dict(values), list()]:
            return Altered(message.path, interface, values)
    return None


async def _tell_loss(connection: Connection, queue: asyncio.Queue[Message | None]) -> None:
    await connection.wait_closed()
    queue.put_nowait(None)
