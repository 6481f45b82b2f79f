"""The host's network: addresses of interfaces, and UDP ports in use."""

from __future__ import annotations

import fcntl
import logging
import socket
import struct
from pathlib import Path
from typing import Final

_LOG: Final = logging.getLogger(__name__)
_SIOCGIFADDR: Final = 0x8915
"""From <linux/sockios.h>; see netdevice(7)."""


def interface_addresses() -> dict[str, str]:
    """Return the first IPv4 address of each network interface that has one."""
    addresses: dict[str, str] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as handle:
        for _index, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                reply = fcntl.ioctl(handle.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # it has no IPv4 address
            addresses[name] = socket.inet_ntoa(reply[20:24])
    return addresses


def udp_ports_in_use() -> frozenset[int]:
    """Return the UDP ports that some process of this host has bound, out of /proc/net/udp and udp6 (proc(5))."""
    ports: set[int] = set()
    for path in ("/proc/net/udp", "/proc/net/udp6"):
        try:
            lines = Path(path).read_text(encoding="ascii").splitlines()[1:]
        except OSError as error:
            _LOG.debug("cannot read %s: %s", path, error.strerror)
            continue
        ports.update(int(line.split()[1].rsplit(":", 1)[1], 16) for line in lines)
    return frozenset(ports)
