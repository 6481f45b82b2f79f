"""Addresses as they are compared and told. Pure."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Final

UNIX: Final = "unix"
"""Stands for whoever comes by a Unix socket, which has no address."""


def plain(address: str) -> str:
    """Return an address in its one form: that of IPv4 also where a socket for both kinds maps it into IPv6.

    Raises:
        ValueError: it is none.
    """
    found = ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)


def peer_of(client: object, server: object) -> str:
    """Return from where a connection comes, by its ends as ASGI has them; empty where that is not known.

    A client that left at once has no address any more, over TCP either: what is ours tells which it was.
    """
    match client, server:
        case (str(address), _), _:
            try:
                return plain(address)
            except ValueError:
                return address
        case None, None | (_, None):
            return UNIX
    return ""
