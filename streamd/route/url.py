"""Addresses: URLs taken apart into what the route's values hold. Errors are values, and never repeat the URL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from streamd.route.diagnostic import nearest

IpAddress = IPv4Address | IPv6Address

MAX_URL: Final = 1000
"""In characters."""

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20}):")
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a URL and what to write instead, in a sentence without any of its secrets."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """The parts of a URL; nothing is decoded."""

    scheme: str
    user: str | None
    host: str
    """An IP address in its shortest form, IPv6 without brackets, or a host name."""
    port: str | None
    path: str
    query: str | None

    @property
    def address(self) -> IpAddress | None:
        """Return the host as an IP address, or None where it is a name."""
        return parse_address(self.host)


def parse_address(text: str) -> IpAddress | None:
    """Return the IP address that the text is, if it is one."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def scheme_of(text: str) -> str:
    """Return what stands before the first colon, in lower case, or nothing."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else ""


def unsafe_character(text: str) -> str:
    """Return why the text cannot be an argument of a unit's command line, or nothing.

    systemd 252 corrupts `$` and `;` in arguments when it reads a unit again.
    """
    for char in text:
        if char in "$;":
            return f"must not contain {char}, which systemd corrupts in arguments"
        if char.isspace() or not char.isprintable():
            return "must not contain white space or control characters"
    return ""


def unknown_scheme(scheme: str, valid: Iterable[str]) -> Fault:
    """Return the fault of a URL that none of the valid schemes begins."""
    words = list(valid)
    listed = ", ".join(f"{word}://" for word in words[:-1]) + f" or {words[-1]}://"
    hint = nearest(scheme, words).replace('"?', '://"?') if scheme else ""
    return Fault(f"must begin with {listed}{hint}")


def split_url(text: str) -> Url | Fault:
    """Return the parts of `scheme://[user@]host[:port][/path][?query]`."""
    scheme = scheme_of(text)
    if len(text) > MAX_URL:
        return Fault(f"must be no longer than {MAX_URL} characters")
    if not text.startswith("://", len(scheme)):
        return Fault(f"write {scheme}:// and an address")
    rest = text[len(scheme) + 3 :]
    ends = [index for index in (rest.find(char) for char in "/?#") if index >= 0]
    authority = rest[: min(ends)] if ends else rest
    rest = rest[len(authority) :]
    path, question, query = rest.partition("?")
    user, at, where = authority.rpartition("@")
    if "@" in rest and not at and re.search(r":(?![0-9]{1,5}$)[^\]]*$", where):
        return Fault("must have / ? and # in its user or password percent-encoded, as %2F %3F and %23")
    parts = _host_and_port(where)
    if isinstance(parts, Fault):
        return parts
    host, port = parts
    return Url(
        scheme=scheme,
        user=user if at else None,
        host=host,
        port=port,
        path=path,
        query=query if question else None,
    )


def _host_and_port(where: str) -> tuple[str, str | None] | Fault:
    if where.startswith("["):
        literal, bracket, port = where[1:].partition("]")
        address = parse_address(literal)
        if not bracket or (port and not port.startswith(":")) or not isinstance(address, IPv6Address):
            return Fault("write an IPv6 address in brackets, such as [2001:db8::1]:5000")
        if address.scope_id is not None:
            return Fault("must not contain a zone such as %eth0 in its address")
        if address.ipv4_mapped is not None:
            return Fault(f"write the IPv4 address {address.ipv4_mapped} as such")
        return str(address), port[1:] if port else None
    if where.count(":") > 1:
        return Fault("write an IPv6 address in brackets, such as [2001:db8::1]:5000")
    host, colon, port = where.partition(":")
    if not host:
        return Fault("has no host, write its name or address after ://")
    if not host.isascii():
        return Fault("must have a host name in ASCII, write the xn-- form of an international one")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split(".")):
        return Fault("has no valid host name, write letters, digits, dashes and dots, or an IP address")
    address = parse_address(host)
    if address is None and re.search(r"(?:^|\.)[0-9]+\.?$", host):
        return Fault("has no valid IPv4 address, write four numbers from 0 to 255")
    return host if address is None else str(address), port if colon else None


def port_number(url: Url, *, example: int, auto: bool = False) -> int | Fault | None:
    """Return the port that the URL must have; None for `auto`, where that is allowed."""
    if not url.port:
        return Fault(f"must end in a port, such as :{example}")
    if url.port == "auto":
        return None if auto else Fault("auto is for the port of udp inputs, write a number")
    if not re.fullmatch("[0-9]{1,10}", url.port):
        return Fault(f"must end in a port, such as :{example}{nearest(url.port, ['auto']) if auto else ''}")
    port = int(url.port)
    if not 1 <= port <= 65535:
        return Fault("must have a port from 1 to 65535")
    return port


def bare_address(url: Url, keys: Iterable[str]) -> Fault | None:
    """Return what is wrong with a URL that is only to name a host and a port.

    Args:
        url: the URL.
        keys: the keys of the table that take the place of a query's parameters.
    """
    words = list(keys)
    if url.query is not None:
        names = [part.partition("=")[0] for part in url.query.split("&")]
        found = [name for name in names if name in words]
        name = found[0] if found else words[0]
        return Fault(f"must not contain a query (what follows the ?), write {name} = ... as a key of its own below")
    if url.user is not None:
        return Fault("must not contain a user or password (what precedes the @)")
    if url.path not in ("", "/"):
        return Fault("must end after the port, a path means nothing here")
    return None
