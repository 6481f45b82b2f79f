"""Claims: the UDP ports of this host that inputs and listeners bind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address

from streamd.route.model import Route, Source, SrtMode, SrtSource, SrtTarget, Target, UdpSource
from streamd.route.scanner import KeyPath


@dataclass(frozen=True, slots=True)
class Claim:
    """An address and a UDP port that a process binds. SRT runs over UDP and shares its ports."""

    host: str
    """An IP address of this host, a wildcard or a multicast group; IPv6 without brackets."""
    port: int

    def __str__(self) -> str:
        """Return HOST:PORT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def overlap(one: Claim, other: Claim) -> bool:
    """Return whether the two cannot both be bound, or would receive each other's datagrams.

    A wildcard overlaps every address and group of its family on its port, and [::], which takes IPv4 as well,
    overlaps them all. Two different groups on one port are no conflict.
    """
    if one.port != other.port:
        return False
    a, b = ip_address(one.host), ip_address(other.host)
    if a == b:
        return True
    for wildcard, address in ((a, b), (b, a)):
        if wildcard.is_unspecified and (wildcard.version == 6 or address.version == 4):
            return True
    return False


def input_claim(source: Source) -> Claim | None:
    """Return what an input binds; None where it binds nothing, or a port that is still to be allocated."""
    if isinstance(source, UdpSource) and source.port is not None:
        return Claim(source.host, source.port)
    if isinstance(source, SrtSource) and source.mode is SrtMode.LISTENER:
        return Claim(source.host, source.port)
    return None


def output_claim(target: Target) -> Claim | None:
    """Return what an output binds: only an SRT listener does."""
    if isinstance(target, SrtTarget) and target.mode is SrtMode.LISTENER:
        return Claim(target.host, target.port)
    return None


def route_claims(route: Route) -> tuple[tuple[KeyPath, Claim], ...]:
    """Return all claims of a route with the paths of the keys that make them; what is disabled claims nothing."""
    if not route.enabled:
        return ()
    claims: list[tuple[KeyPath, Claim]] = []
    if (claim := input_claim(route.input.source)) is not None:
        claims.append((("input", "url"), claim))
    claims.extend(
        (("output", output.name, "url"), claim)
        for output in route.outputs
        if output.enabled and (claim := output_claim(output.target)) is not None
    )
    return tuple(claims)


def with_port(route: Route, ports: Mapping[str, int]) -> Route:
    """Return the route with its `auto` port replaced by the one that it was given, if it was given one."""
    source = route.input.source
    if isinstance(source, UdpSource) and source.port is None and route.name in ports:
        return replace(route, input=replace(route.input, source=replace(source, port=ports[route.name])))
    return route
