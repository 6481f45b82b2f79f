"""Inputs that are fetched from a server: RTSP, RTMP and HLS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from streamd.route.fields import Table
from streamd.route.mask import has_secret_parameter
from streamd.route.model import PullSource, RtspTransport
from streamd.route.network import has_lone_percent, lower_scheme, network_url
from streamd.route.url import Url, scheme_of, split_url

PULL_SCHEMES: Final = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https")
PULL_KEYS: Final[Mapping[str, str]] = {
    "transport": "rtsp",
    "allow_visible_password": "rtsp, rtmp and http",
    "tls_verify": "rtmps and https",
}
"""Each key with the inputs that it is for."""
_VERIFYING: Final = ("rtmps", "https")
"""FFmpeg can verify the server's certificate."""


def parse_pull(table: Table, url: str) -> PullSource | None:
    """Return the source, or None with diagnostics."""
    scheme = scheme_of(url)
    transport = table.choice("transport", RtspTransport)
    visible = table.boolean("allow_visible_password") or False
    tls_verify = table.boolean("tls_verify")
    if table.has("transport") and not scheme.startswith("rtsp"):
        table.misplaced("transport", f"transport is for rtsp inputs, this one is {scheme}")
    if table.has("tls_verify") and scheme not in _VERIFYING:
        table.misplaced("tls_verify", f"tls_verify is for rtmps and https inputs, this one is {scheme}")
    parts = network_url(table, url, ", write %24 for $ and %3B for ;" if "$" in url or ";" in url else "")
    if parts is None:
        return None
    if parts.user is not None and not visible:
        message = (
            "ffmpeg takes the user and password of an input only as an argument, which every user of this host can"
            " read, write allow_visible_password = true below to accept that"
        )
        table.missing("url", message)
    elif not visible and has_secret_parameter(parts.query):
        message = (
            "ffmpeg takes a password or token in the query of an input (what follows the ?) only as an argument, which"
            " every user of this host can read, write allow_visible_password = true below to accept that"
        )
        table.missing("url", message)
    if scheme.startswith("rtmp") and not parts.path.strip("/"):
        table.wrong("url", "must name the server's application and stream after the host, such as /live/studio")
    if scheme.startswith("http") and not parts.path.lower().endswith((".m3u8", ".m3u")):
        table.wrong("url", "must be an HLS playlist, whose name ends in .m3u8")
    return PullSource(
        url=lower_scheme(url),
        transport=transport or RtspTransport.TCP,
        allow_visible_password=visible,
        tls_verify=tls_verify is not False,
    )


def media_fault(source: PullSource) -> str:
    """Return why MediaMTX, which would end for it, cannot be given this address; nothing where it can."""
    parts = split_url(source.url)
    if not isinstance(parts, Url):
        return ""
    user, _colon, password = (parts.user or "").partition(":")
    if bool(user) != bool(password):
        return 'MediaMTX fetches with both a user and a password or neither, write "direct" or both into the url'
    if has_lone_percent(parts.path):
        return 'MediaMTX fetches no path with a % that stands for itself, write "direct"'
    return ""
