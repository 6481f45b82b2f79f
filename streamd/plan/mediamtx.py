"""MediaMTX's configuration, whole, from what should run: one JSON document, which MediaMTX reads as YAML.

A key that a version does not know makes MediaMTX exit, also when it reads its file again; so what differs between
versions stands here with the version that brought it. What MediaMTX does with a change: one in `paths` makes anew that
path alone, one of the authentication's users disturbs nobody, and of the rest, nearly all restart everything. Only what
the settings say may therefore change the rest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from streamd.plan.desired import Desired
from streamd.plan.unit import Address
from streamd.route.model import Listen, MediaServer, Route, Settings

Version = tuple[int, int, int]

OLDEST: Final[Version] = (1, 9, 0)
RTSP_TRANSPORTS_SINCE: Final[Version] = (1, 11, 0)
"""Before, that key was called `protocols`."""
COPY_SINCE: Final[Version] = (1, 12, 1)
"""A UDP source takes an interface; older ones join no group on the loopback interface, which has no multicast flag."""
MPEGTS_SCHEME_SINCE: Final[Version] = (1, 14, 0)
"""Before, a source of MPEG-TS by UDP was written `udp://`. With it came the size of its receive buffer."""
MOQ_SINCE: Final[Version] = (1, 19, 0)
"""It listens on all addresses unless it is told not to."""

NEVER_PATHS: Final = frozenset({"all", "all_others"})
"""Good names of routes that MediaMTX takes for "whatever path is asked for"."""
API_USER: Final = "streamd"
SOCKET_BUFFER: Final = 2097152
"""Bytes, as for FFmpeg on the relay."""
_WRITE_QUEUE: Final = 1024
"""Packets that a reader may be behind; a power of two."""


def parse_version(text: str) -> Version | None:
    """Return the version in what `mediamtx --version` prints, None where there is none."""
    found = re.match(r"v?([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})", text.strip())
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def version_text(version: Version) -> str:
    """Return a version as people write it."""
    return ".".join(map(str, version))


def paths_of(routes: Iterable[Route], desired: Desired, groups: Mapping[str, str]) -> dict[str, str]:
    """Return the routes of which MediaMTX is to have a copy, with the group of each on the relay.

    Of a route whose file cannot be understood the copy stays, as all else of it does.
    """
    names = {route.name for route in routes if Address(route.name).unit in desired.units} | desired.held
    return {name: groups[name] for name in sorted(names) if name in groups and name not in NEVER_PATHS}


def media_document(
    paths: Mapping[str, str],
    *,
    settings: Settings,
    version: Version,
    api_password: str,
    largest_buffer: int | None = None,
) -> str:
    """Return the document.

    Args:
        paths: of which routes there is to be a copy, and their groups.
        settings: from streamd.toml.
        version: of the MediaMTX that will read it, OLDEST or newer.
        api_password: what the daemon shows to use the API; only its hash goes into the document.
        largest_buffer: the kernel's limit of a socket's receive buffer in bytes, where it is known: to be refused the
            size that it asks for is an error to MediaMTX.
    """
    server = settings.mediamtx
    document: dict[str, object] = {
        "logLevel": "info",
        "logDestinations": ["stdout"],
        "writeQueueSize": _WRITE_QUEUE,
        "authMethod": "internal",
        "authInternalUsers": _users(api_password),
        "api": True,
        "apiAddress": str(server.api),
        "metrics": True,
        "metricsAddress": str(server.metrics),
        "pprof": False,
        "playback": False,
        "rtsp": True,
        "rtspAddress": str(server.rtsp),
        "rtspTransports" if version >= RTSP_TRANSPORTS_SINCE else "protocols": ["tcp"],
        **_listener("rtmp", server.rtmp),
        **_listener("srt", server.srt),
        **_listener("hls", server.hls),
        **_webrtc(server),
        "paths": _paths(paths, settings.relay_port, version, largest_buffer),
    }
    if version >= MOQ_SINCE:
        document["moq"] = False
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _users(api_password: str) -> list[dict[str, object]]:
    digest = base64.b64encode(hashlib.sha256(api_password.encode()).digest()).decode()
    loopback = ["127.0.0.0/8", "::1/128"]
    return [
        # The API can make MediaMTX run commands: not for whoever has an account on this host.
        {"user": API_USER, "pass": f"sha256:{digest}", "ips": loopback, "permissions": [{"action": "api"}]},
        {"user": "any", "ips": loopback, "permissions": [{"action": "metrics"}]},
        # Whoever reaches a listener may watch. Nobody may publish.
        {"user": "any", "permissions": [{"action": "read"}]},
    ]


def _listener(name: str, address: Listen | None) -> dict[str, object]:
    return {name: False} if address is None else {name: True, f"{name}Address": str(address)}


def _webrtc(server: MediaServer) -> dict[str, object]:
    found = _listener("webrtc", server.webrtc)
    return found if server.webrtc is None else found | {"webrtcLocalUDPAddress": str(server.webrtc_media)}


def _paths(paths: Mapping[str, str], port: int, version: Version, largest_buffer: int | None) -> dict[str, object]:
    if version < COPY_SINCE:
        return {}
    scheme = "udp+mpegts" if version >= MPEGTS_SCHEME_SINCE else "udp"
    more: dict[str, object] = {}
    if version >= MPEGTS_SCHEME_SINCE and largest_buffer:
        more["mpegtsUDPReadBufferSize"] = min(SOCKET_BUFFER, largest_buffer)
    return {name: {"source": f"{scheme}://{group}:{port}?interface=lo", **more} for name, group in paths.items()}
