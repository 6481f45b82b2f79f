"""Names on the bus: the service, its interfaces, its objects and its errors."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

BUS_NAME: Final = "org.streamd1"
ROOT: Final = "/org/streamd1"
MANAGER: Final = "org.streamd1.Manager"
ROUTE: Final = "org.streamd1.Route"
OUTPUT: Final = "org.streamd1.Output"
ERROR: Final = "org.streamd1.Error"

CONTROL: Final = "org.streamd1.control"
"""The polkit action that start, stop, restart and reload need."""
CONFIGURE: Final = "org.streamd1.configure"
"""The polkit action that whatever changes the configuration needs."""

DBUS: Final = "org.freedesktop.DBus"
DBUS_PATH: Final = "/org/freedesktop/DBus"
DBUS_ERROR: Final = "org.freedesktop.DBus.Error"
INTROSPECTABLE: Final = "org.freedesktop.DBus.Introspectable"
PEER: Final = "org.freedesktop.DBus.Peer"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER: Final = "org.freedesktop.DBus.ObjectManager"


@lru_cache(maxsize=8192)
def escape(label: str) -> str:
    """Return a name as one element of an object path, as sd_bus_path_encode(3) escapes it.

    A file's name may be no UTF-8: Python has its bytes as surrogates, and here they are bytes again.
    """
    if not label:
        return "_"
    return "".join(
        character if character.isascii() and character.isalnum() and not (index == 0 and character.isdigit()) else code
        for index, character in enumerate(label)
        for code in ("".join(f"_{byte:02x}" for byte in character.encode(errors="surrogateescape")),)
    )


def route_path(route: str) -> str:
    """Return the object of a route."""
    return f"{ROOT}/route/{escape(route)}"


def output_path(route: str, output: str) -> str:
    """Return the object of an output."""
    return f"{ROOT}/output/{escape(route)}/{escape(output)}"


def address_path(address: str) -> str:
    """Return the object of ROUTE or ROUTE/OUTPUT."""
    route, slash, output = address.partition("/")
    return output_path(route, output) if slash else route_path(route)
