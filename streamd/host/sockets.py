"""What the kernel tells of UDP sockets, by sock_diag(7): how much it threw away, and whose it was.

A datagram for which a socket's buffer has no room is dropped and counted, and the process is not told. Each socket
carries the number of its control group, which is the inode of the group's directory, so no process need be looked into.
"""

from __future__ import annotations

import logging
import socket
import struct
from collections import Counter
from typing import Final

_LOG: Final = logging.getLogger(__name__)
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_DUMP: Final = 0x301
"""NLM_F_REQUEST | NLM_F_DUMP."""
_SKMEMINFO: Final = 7
_CGROUP_ID: Final = 21
"""INET_DIAG_SKMEMINFO and INET_DIAG_CGROUP_ID of <linux/inet_diag.h>; the second since Linux 5.9."""
_MEMORY: Final = struct.Struct("=9I")
_NUMBER: Final = struct.Struct("=Q")
_DROPS: Final = 8
"""SK_MEMINFO_DROPS of <linux/sock_diag.h>: which of the numbers."""
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBBI48x")
"""struct inet_diag_req_v2, of which nothing but family, protocol, extensions and states is given."""
_MESSAGE: Final = 72
"""Bytes of struct inet_diag_msg."""
_ATTRIBUTE: Final = struct.Struct("=HH")
_SECONDS: Final = 2.0
_ROOM: Final = 65536


def dropped() -> dict[int, int]:
    """Return how many datagrams were dropped on all UDP sockets of each control group, by the number of that.

    Groups without a UDP socket are missing. Raises: OSError.
    """
    found: Counter[int] = Counter()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as handle:
        handle.settimeout(_SECONDS)
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _REQUEST.pack(family, socket.IPPROTO_UDP, 1 << (_SKMEMINFO - 1), 0, 0xFFFFFFFF)
            handle.send(_HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _DUMP, family, 0) + request)
            ended = False
            while not ended:
                ended = parse(handle.recv(_ROOM), found)
    return dict(found)


def parse(answer: bytes, found: Counter[int]) -> bool:
    """Add what a piece of the kernel's answer tells to `found`; tell whether it was the last. Raises: OSError."""
    at = 0
    while at + _HEADER.size <= len(answer):
        length, kind, _flags, _sequence, _port = _HEADER.unpack_from(answer, at)
        if kind == _NLMSG_DONE:
            return True
        if kind == _NLMSG_ERROR:
            (error,) = struct.unpack_from("=i", answer, at + _HEADER.size)
            raise OSError(-error, "the kernel does not list UDP sockets")
        place, end = at + _HEADER.size + _MESSAGE, at + length
        memory = group = 0
        while place < end:
            size, attribute = _ATTRIBUTE.unpack_from(answer, place)
            if attribute == _SKMEMINFO:
                memory = place + _ATTRIBUTE.size
            elif attribute == _CGROUP_ID:
                group = place + _ATTRIBUTE.size
            place += _aligned(max(size, _ATTRIBUTE.size))
        if memory and group:
            found[_NUMBER.unpack_from(answer, group)[0]] += _MEMORY.unpack_from(answer, memory)[_DROPS]
        at += _aligned(length)
    return False


def _aligned(length: int) -> int:
    return (length + 3) & ~3
