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
    wanting += [route.name for route in routes]
    channels = {name: previous[name] for name in wanting if name in previous}
    taken = set(channels.values())
    for name in wanting:
        if name in channels:
            continue
        # From a hash of the name, so that what is away for a while has its address again.
        start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        size = PROGRESS_NETWORK.num_addresses
        found = (str(PROGRESS_NETWORK[(start + step) % size]) for step in range(size))
        channels[name] = next(address for address in found if address not in taken)
        taken.add(channels[name])
    return channels


def _groups(previous: Mapping[str, str], names: list[str], settings: Settings) -> dict[str, str]:
    network = IPv4Network(settings.relay_groups)
    groups = {name: group for name, group in previous.items() if IPv4Address(group) in network}
    present = set(names)
    for name in names:
        if name in groups:
            continue
        # From a hash of the name, so that a route gets the same group again even where the state was lost.
        start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
        holder = {group: other for other, group in groups.items()}
        for step in range(network.num_addresses):
            group = str(network[(start + step) % network.num_addresses])
            if holder.get(group) not in present:
                groups.pop(holder.get(group, ""), None)
                groups[name] = group
                break
    return groups


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
