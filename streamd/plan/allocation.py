"""Which relay group, automatic port and progress addresses each route has: chosen once, kept for good."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from streamd.route.claims import input_claim
from streamd.route.model import Route, Settings, UdpSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """What routes were given; entries of routes that are gone stay until they are needed."""

    groups: Mapping[str, str] = field(default_factory=dict)
    """Route name to multicast group."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Route name to UDP port, for inputs on an `auto` port."""
    channels: Mapping[str, str] = field(default_factory=dict)
    """ROUTE and ROUTE/OUTPUT to the loopback address that its FFmpeg reports its progress to."""


PROGRESS_NETWORK: Final = IPv4Network("127.64.0.0/10")
"""Where these addresses are taken from: far from 127.0.0.1 and what distributions put beside it."""


def allocate(
    previous: Allocation,
    routes: Iterable[Route],
    settings: Settings,
    ports_in_use: Collection[int],
    *,
    returning: Collection[str] = (),
) -> Allocation:
    """Return the allocation for these routes, with every earlier choice kept that is still within the settings.

    A route that finds no group or port is missing in the result.

    Args:
        previous: the last allocation, as it was stored.
        routes: all routes that are to run.
        settings: the ranges.
        ports_in_use: UDP ports that some process of this host has bound just now.
        returning: names of routes that were away; one whose port has gone to somebody else meanwhile gets another.
    """
    routes = sorted(routes, key=lambda route: route.name)
    return Allocation(
        groups=_groups(previous.groups, [route.name for route in routes], settings),
        ports=_ports(
            {name: port for name, port in previous.ports.items() if name not in returning or port not in ports_in_use},
            routes,
            settings,
            ports_in_use,
        ),
        channels=_channels(previous.channels, routes),
    )


def _channels(previous: Mapping[str, str], routes: list[Route]) -> dict[str, str]:
    wanting = [f"{route.name}/{output.name}" for route in routes for output in route.outputs]
    return _addresses(previous, [route.name for route in routes] + wanting, PROGRESS_NETWORK)


def _groups(previous: Mapping[str, str], names: list[str], settings: Settings) -> dict[str, str]:
    return _addresses(previous, names, IPv4Network(settings.relay_groups))


def _addresses(previous: Mapping[str, str], names: list[str], network: IPv4Network) -> dict[str, str]:
    """Return an address for each name, as long as there are any; who is away keeps his until another needs it."""
    found = {name: address for name, address in previous.items() if IPv4Address(address) in network}
    present = set(names)
    if len(found) > _MOST_AWAY + len(present):
        found = {name: address for name, address in found.items() if name in present}
    holder = {address: name for name, address in found.items()}
    for name in names:
        if name in found:
            continue
        # From a hash of the name, so that it gets the same address again even where the state was lost.
        start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        for step in range(network.num_addresses):
            address = str(network[(start + step) % network.num_addresses])
            if holder.get(address) not in present:
                found.pop(holder.get(address, ""), None)
                found[name] = address
                holder[address] = name
                break
    return found


_MOST_AWAY: Final = 10_000
"""Names that are remembered though they are away: a program may make and remove routes for years."""


def _ports(
    previous: Mapping[str, int], routes: list[Route], settings: Settings, ports_in_use: Collection[int]
) -> dict[str, int]:
    first, last = settings.input_ports
    wanting = [route.name for route in routes if _wants_port(route)]
    claims = (input_claim(route.input.source) for route in routes)
    written = {claim.port for claim in claims if claim is not None}
    ports = {name: port for name, port in previous.items() if first <= port <= last and port not in written}
    for name in wanting:
        if name in ports:
            continue
        taken = written | set(ports_in_use)
        free = (port for port in range(first, last + 1) if port not in taken)
        candidates = sorted(free, key=lambda port: port in ports.values())
        holder = {port: other for other, port in ports.items()}
        for port in candidates:
            if holder.get(port) not in wanting:
                ports.pop(holder.get(port, ""), None)
                ports[name] = port
                break
    return ports


def _wants_port(route: Route) -> bool:
    source = route.input.source
    return isinstance(source, UdpSource) and source.port is None
