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
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from streamd.plan.address import Address
from streamd.plan.desired import Desired
from streamd.plan.observed import Observed
from streamd.plan.status import State
from streamd.route.model import Listen, MediaServer, PublishSource, PullSource, Route, Settings
from streamd.route.publish import NEVER_PATHS
from streamd.route.pull import media_fault

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

API_USER: Final = "streamd"
PLAIN_PASSWORD: Final = re.compile(r"[A-Za-z0-9._~!*+-]{1,64}")
"""What an encoder can send by every protocol: by RTSP and SRT MediaMTX takes no colon, and the rest is for URLs."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Who may publish to a route."""

    user: str
    digest: str
    """The SHA-256 of his password, in base64."""


def paths_of(routes: Iterable[Route], desired: Desired, groups: Mapping[str, str]) -> dict[str, str]:
    """Return the routes of which MediaMTX is to have a copy, with the group of each on the relay.

    What an encoder publishes there needs none.
    """
    names = {
        route.name
        for route in routes
        if Address(route.name).unit in desired.units
        and not isinstance(route.input.source, PublishSource)
        and not route.comes_by_mediamtx
    }
    return {name: groups[name] for name in sorted(names - NEVER_PATHS) if name in groups}


def fetched_by(routes: Iterable[Route], desired: Desired, observed: Observed) -> dict[str, PullSource]:
    """Return the routes whose stream MediaMTX fetches itself.

    One that is moving to the direct relay is among them for as long as an output of it still reads there, unless its
    address is one of those that the direct relay alone can have.
    """
    still = {
        address.route
        for address, unit in ((Address.of_unit(name), unit) for name, unit in observed.units.items())
        if address is not None and address.output and unit.is_by_mediamtx and unit.is_up
    }
    return {
        route.name: route.input.source
        for route in routes
        if isinstance(route.input.source, PullSource) and Address(route.name).unit in desired.units
        if route.comes_by_mediamtx or (route.name in still and not media_fault(route.input.source))
    }


_NO_SOURCES: Final[Mapping[str, PullSource]] = {}
_NOBODY: Final[Mapping[str, Publisher]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What stays of a document, as it stood there."""

    paths: Mapping[str, object] = field(default_factory=dict)
    users: tuple[object, ...] = ()


_NOTHING: Final = Kept()


def kept_of(document: str, names: Collection[str]) -> Kept:
    """Return what a document has of routes that are not to be touched, since their files cannot be understood now.

    Whether such a route is published to or has a copy is not known otherwise, and the one in place of the other would
    feed the stream back into itself.
    """
    try:
        found = json.loads(document)
        paths, users = found["paths"], found["authInternalUsers"]
        of_routes = [user for user in users if [allowed.get("path") for allowed in user["permissions"]] != [None]]
        return Kept(
            paths={name: paths[name] for name in sorted(names) if name in paths},
            users=tuple(user for user in of_routes if user["permissions"][0]["path"] in names),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Kept()


def kept_names(routes: Iterable[Route], desired: Desired) -> frozenset[str]:
    """Return the routes whose part of the document is to stay as it is: what runs of them is left running."""
    blocked = {name for name, absent in desired.absent.items() if absent.state is State.BLOCKED}
    published = {route.name for route in routes if isinstance(route.input.source, PublishSource)}
    return desired.held | {name for name in published if Address(name).unit in blocked}


def published_to(routes: Iterable[Route], desired: Desired) -> dict[str, PublishSource]:
    """Return the routes to which encoders may publish now."""
    return {
        route.name: route.input.source
        for route in routes
        if isinstance(route.input.source, PublishSource) and Address(route.name).unit in desired.units
    }


def media_document(
    paths: Mapping[str, str],
    publishers: Mapping[str, Publisher] = _NOBODY,
    kept: Kept = _NOTHING,
    fetched: Mapping[str, PullSource] = _NO_SOURCES,
    *,
    settings: Settings,
    version: Version,
    api_password: str,
    largest_buffer: int | None = None,
) -> str:
    """Return the document.

    Args:
        paths: of which routes there is to be a copy, and their groups.
        publishers: to which routes somebody may publish, and who.
        kept: of routes that are not to be touched.
        fetched: which routes MediaMTX fetches itself, and from where.
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
        "authInternalUsers": [*_users(api_password, publishers), *kept.users],
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
        "paths": _paths(paths, settings.relay_port, version, largest_buffer)
        | {name: {"source": "publisher"} for name in publishers}
        | {name: _fetched(source) for name, source in fetched.items()}
        | dict(kept.paths),
    }
    if version >= MOQ_SINCE:
        document["moq"] = False
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def password_digest(password: str) -> str:
    """Return what stands for a password in the document."""
    return base64.b64encode(hashlib.sha256(password.encode()).digest()).decode()


def _users(api_password: str, publishers: Mapping[str, Publisher]) -> list[dict[str, object]]:
    digest = password_digest(api_password)
    loopback = ["127.0.0.0/8", "::1/128"]
    known: list[dict[str, object]] = [
        {
            "user": publisher.user,
            "pass": f"sha256:{publisher.digest}",
            "permissions": [{"action": "publish", "path": name}],
        }
        for name, publisher in sorted(publishers.items())
    ]
    return [
        # The API can make MediaMTX run commands: not for whoever has an account on this host.
        {"user": API_USER, "pass": f"sha256:{digest}", "ips": loopback, "permissions": [{"action": "api"}]},
        {"user": "any", "ips": loopback, "permissions": [{"action": "metrics"}]},
        # Whoever reaches a listener may watch. To publish he must be known, and only to his route.
        {"user": "any", "permissions": [{"action": "read"}]},
        *known,
    ]


def _listener(name: str, address: Listen | None) -> dict[str, object]:
    return {name: False} if address is None else {name: True, f"{name}Address": str(address)}


def _webrtc(server: MediaServer) -> dict[str, object]:
    found = _listener("webrtc", server.webrtc)
    if server.webrtc is None:
        return found
    hosts = [server.webrtc_host] if server.webrtc_host else []
    return found | {"webrtcLocalUDPAddress": str(server.webrtc_media), "webrtcAdditionalHosts": hosts}


def _fetched(source: PullSource) -> dict[str, object]:
    # FFmpeg and MediaMTX read the same addresses; the path is to be up before anybody asks for it.
    transport: dict[str, object] = {"rtspTransport": source.transport.value} if source.kind == "rtsp" else {}
    return {"source": source.url, **transport}


def _paths(paths: Mapping[str, str], port: int, version: Version, largest_buffer: int | None) -> dict[str, object]:
    if version < COPY_SINCE:
        return {}
    scheme = "udp+mpegts" if version >= MPEGTS_SCHEME_SINCE else "udp"
    more: dict[str, object] = {}
    if version >= MPEGTS_SCHEME_SINCE and largest_buffer:
        more["mpegtsUDPReadBufferSize"] = min(SOCKET_BUFFER, largest_buffer)
    return {name: {"source": f"{scheme}://{group}:{port}?interface=lo", **more} for name, group in paths.items()}
