"""URLs of servers, such as rtsp://, rtmp:// and https://, as inputs and outputs have them."""

from __future__ import annotations

import re
from typing import Final

from streamd.route.fields import Table
from streamd.route.url import Fault, Url, port_number, scheme_of, split_url, unsafe_character

_USERINFO: Final = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:%@]*")
_LONE_PERCENT: Final = re.compile("%(?![0-9A-Fa-f]{2})")


def split_checked(table: Table, url: str, remedy: str) -> Url | None:
    """Return the parts of a URL, or None with a diagnostic; `remedy` is what to do about an unsafe character."""
    if unsafe := unsafe_character(url):
        table.wrong("url", unsafe + remedy)
        return None
    parts = split_url(url)
    if isinstance(parts, Fault):
        table.wrong("url", parts.message)
        return None
    return parts


def network_url(table: Table, url: str, remedy: str) -> Url | None:
    """Return the parts of a URL whose path and query belong to the address, or None with a diagnostic."""
    parts = split_checked(table, url, remedy)
    if parts is None:
        return None
    if "#" in url:
        table.wrong("url", "must not contain a fragment (what follows the #)")
        return None
    if not url.isascii():
        table.wrong("url", "must be ASCII, percent-encode the other characters")
        return None
    if fault := _encoding_fault(parts):
        table.wrong("url", fault)
        return None
    if parts.port is not None and not isinstance(port_number(parts, example=443), int):
        table.wrong("url", "must have a port from 1 to 65535 after the colon")
        return None
    address = parts.address
    if address is not None and (address.is_unspecified or address.is_multicast):
        table.wrong("url", f"{parts.host} is no address that can be connected to, write the server's")
        return None
    return parts


def _encoding_fault(parts: Url) -> str:
    """Return why user, password or path are not as a URL has them, which MediaMTX refuses its whole file for."""
    # By RTMP the path is sent as it stands.
    path = "" if parts.scheme.startswith("rtmp") else parts.path
    if has_lone_percent(path) or has_lone_percent(parts.user or ""):
        return "must have two hexadecimal digits after each % of its user, password and path, write %25 for % itself"
    if not _USERINFO.fullmatch(parts.user or ""):
        return (
            "must have all but letters, digits and -._~!&'()*+,= in its user or password percent-encoded,"
            " such as %5B for ["
        )
    return ""


def has_lone_percent(path: str) -> bool:
    """Tell whether a % of a path stands for itself, which is none to MediaMTX."""
    return bool(_LONE_PERCENT.search(path))


def lower_scheme(url: str) -> str:
    """Return the URL with its scheme as ffmpeg knows it."""
    scheme = scheme_of(url)
    return scheme + url[len(scheme) :]
