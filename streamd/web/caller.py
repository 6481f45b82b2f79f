"""Who asks: the address behind the proxies that are trusted, and whether a page of ours made the request. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from streamd.host.webkeys import Key
from streamd.web.address import UNIX, plain
from streamd.web.session import Session

SAFE: frozenset[str] = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whom a key let in."""

    key: Key
    address: str
    session: Session | None = None
    """None where the key itself came with the request."""


def headers_of(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name in lower case; of a name that comes more than once, all values with commas between."""
    found: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]},{text}" if key in found else text
    return found


def address_of(peer: str, headers: Mapping[str, str], proxies: Collection[str]) -> str:
    """Return the address of who asks: the last one that no trusted proxy has.

    Args:
        peer: where the connection comes from, as peer_of tells.
        headers: the request's, by name in lower case.
        proxies: addresses whose X-Forwarded-For is believed, or UNIX.

    Returns:
        The address; empty where there is none.
    """
    hops = [hop.strip() for hop in headers.get("x-forwarded-for", "").split(",") if hop.strip()]
    found = peer
    while found in proxies and hops:
        hop = hops.pop()
        try:
            found = plain(hop)
        except ValueError:
            break
    return "" if found == UNIX else found


def is_secure(scheme: str, peer: str, headers: Mapping[str, str], proxies: Collection[str]) -> bool:
    """Return whether who asks does so by TLS, all the way to us or to a trusted proxy."""
    if peer in proxies and "x-forwarded-proto" in headers:
        return headers["x-forwarded-proto"].strip().lower() == "https"
    return scheme in {"https", "wss"}


def is_our_page(headers: Mapping[str, str]) -> bool:
    """Return whether a page of our own origin made the request, as every browser tells.

    A cookie comes along whoever made it. SameSite keeps other sites out, but not another port or a name below ours.
    """
    site = headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = headers.get("origin")
    if origin is None:
        return site == "same-origin"
    try:
        return bool(headers.get("host")) and urlsplit(origin).netloc.lower() == headers["host"].lower()
    except ValueError:
        return False


def secret_of(headers: Mapping[str, str]) -> str | None:
    """Return the key that comes with a request, if one does."""
    if "x-api-key" in headers:
        return headers["x-api-key"].strip()
    kind, space, rest = headers.get("authorization", "").partition(" ")
    return rest.strip() if space and kind.lower() == "bearer" else None


def cookie_of(headers: Mapping[str, str], name: str) -> str | None:
    """Return a cookie's value; None where it is missing, or there twice."""
    cookies: Sequence[str] = [
        value
        for key, _equals, value in (it.strip().partition("=") for it in headers.get("cookie", "").split(";"))
        if key == name
    ]
    return cookies[0] if len(cookies) == 1 else None
