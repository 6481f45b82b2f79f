"""The `[input]` table: where a route's stream comes from."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, ip_network
from typing import Final

from streamd.route.diagnostic import nearest
from streamd.route.fields import Table
from streamd.route.model import FileSource, Input, Settings, Source, SrtMode, SrtSource, TestSource, UdpSource
from streamd.route.publish import PUBLISH_KEYS, parse_publish
from streamd.route.pull import PULL_KEYS, PULL_SCHEMES, parse_pull
from streamd.route.url import (
    Fault,
    IpAddress,
    Url,
    bare_address,
    parse_address,
    port_number,
    scheme_of,
    split_url,
    unsafe_character,
)

LATENCY_RANGE: Final = (20, 8000)
"""Of SRT, in ms."""
INTERFACE_PATTERN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
MAX_STREAMID: Final = 512

_COMMON: Final = ("url", "limits")
_UDP: Final = ("interface", "source")
_SRT: Final = ("mode", "latency", "passphrase", "streamid")
INPUT_KEYS: Final = (*_COMMON, *_UDP, *_SRT, *PULL_KEYS, *PUBLISH_KEYS)
"""All that may stand below [input]."""
_SCHEMES: Final = ("udp", "srt", *PULL_SCHEMES, "publish", "test", "file")
_OF_OUTPUTS: Final = {
    "ttl": "ttl is for udp outputs",
    "key": "key is for rtmp outputs",
    "description": "description stands at the top of the file, before [input]",
    "enabled": "enabled stands at the top of the file, before [input]",
    "relay": "relay stands at the top of the file, before [input]",
    "output": "write [output.NAME] without input. before it",
    "removed": "removed is for the outputs of a drop-in",
}


def parse_input(table: Table, settings: Settings, name: str) -> Input | None:
    """Return the input, or None with diagnostics. `name` is the route's, for suggestions."""
    url = table.string("url")
    limits = table.limits()
    if url is None:
        if not table.has("url"):
            table.missing("url", 'missing, write url = "udp://0.0.0.0:5000"')
        table.accept(INPUT_KEYS)
        table.finish(INPUT_KEYS, _OF_OUTPUTS)
        return None
    source = _source(table, url, settings, name)
    return Input(url=url, source=source, limits=limits) if source is not None else None


def _source(table: Table, url: str, settings: Settings, name: str) -> Source | None:
    scheme = scheme_of(url)
    if scheme not in _SCHEMES:
        table.accept(INPUT_KEYS)
        table.finish(INPUT_KEYS, _OF_OUTPUTS)
        table.wrong("url", _refused_scheme(url, scheme))
        return None
    if scheme == "udp":
        source: Source | None = _udp(table, url, settings)
        table.finish((*_COMMON, *_UDP), _elsewhere(scheme))
    elif scheme == "srt":
        source = _srt(table, url, settings, name)
        table.finish((*_COMMON, *_SRT), _elsewhere(scheme))
    elif scheme == "publish":
        source = parse_publish(table, url, name)
        table.finish((*_COMMON, *PUBLISH_KEYS), _elsewhere(scheme))
    elif scheme in PULL_SCHEMES:
        source = parse_pull(table, url)
        table.finish((*_COMMON, *PULL_KEYS), _elsewhere(scheme))
    else:
        source = _test(table, url) if scheme == "test" else _file(table, url)
        table.finish(_COMMON, _elsewhere(scheme))
    return source


def _elsewhere(this: str) -> dict[str, str]:
    kinds = {**dict.fromkeys(_UDP, "udp"), **dict.fromkeys(_SRT, "srt"), **PULL_KEYS}
    kinds |= dict.fromkeys(PUBLISH_KEYS, "publish")
    return _OF_OUTPUTS | {key: f"{key} is for {kind} inputs, this one is {this}" for key, kind in kinds.items()}


def _refused_scheme(url: str, scheme: str) -> str:
    if url in ("test", "publish"):
        return f'write "{url}:", with a colon'
    words = ("udp://", "srt://", "rtsp://", "rtmp://", "https://", "file:///", "publish:", "test:")
    hint = nearest(scheme, _SCHEMES)
    for word in words:
        hint = hint.replace(f'"{word.rstrip(":/")}"', f'"{word}"')
    return f"must begin with {', '.join(words[:-1])} or {words[-1]}{hint}"


def _split(table: Table, url: str, keys: tuple[str, ...]) -> Url | None:
    """Return the URL of an input that has a host and a port and nothing else."""
    if unsafe := unsafe_character(url):
        table.wrong("url", unsafe)
        return None
    parts = split_url(url)
    fault = parts if isinstance(parts, Fault) else bare_address(parts, keys)
    if fault is not None or isinstance(parts, Fault):
        table.wrong("url", fault.message if fault else "")
        return None
    return parts


def _port(table: Table, url: Url, settings: Settings, *, bound: bool, auto: bool = False) -> tuple[int | None] | None:
    """Return the port in a tuple (None in it for auto), or None with a diagnostic."""
    first, last = settings.input_ports
    port = port_number(url, example=first, auto=auto)
    if isinstance(port, Fault):
        table.wrong("url", port.message)
        return None
    if bound and port is not None and not first <= port <= last:
        table.wrong(
            "url", f"must have a port from {first} to {last}, the range of inputs (input_ports in streamd.toml)"
        )
        return None
    return (port,)


def interface_name(table: Table) -> str | None:
    """Return the name of a network interface under the key `interface`."""
    name = table.string("interface")
    if name is not None and (parse_address(name) or not INTERFACE_PATTERN.fullmatch(name)):
        table.wrong("interface", 'must be the name of a network interface, such as "eth0"')
        return None
    return name


def in_relay_range(address: IpAddress, settings: Settings) -> str:
    """Return a complaint about a multicast group that the direct relay has for itself, or nothing."""
    if isinstance(address, IPv4Address) and address in ip_network(settings.relay_groups):
        return (
            f"must be outside of {settings.relay_groups}, the relay's own range of groups"
            " (groups in the [relay] table of streamd.toml)"
        )
    return ""


def _udp(table: Table, url: str, settings: Settings) -> UdpSource | None:
    interface = interface_name(table)
    sender = table.string("source")
    parts = _split(table, url, _UDP)
    if parts is None:
        return None
    address = parts.address
    if address is None:
        table.wrong("url", "must have an IP address of this host or a multicast group, not a name, such as 0.0.0.0")
        return None
    port = _port(table, parts, settings, bound=not address.is_multicast, auto=True)
    if port is None:
        return None
    if not address.is_multicast:
        for key in _UDP:
            if table.has(key):
                table.misplaced(key, f"{key} is for multicast groups, and the url has none")
    elif address.version == 6 and interface is not None:
        # FFmpeg takes an interface's IPv4 address, and for IPv6 nothing at all.
        table.misplaced("interface", "an interface can be chosen for IPv4 groups only, remove it")
        return None
    elif port[0] is None:
        table.wrong("url", "auto is for addresses of this host, write the group's port")
        return None
    elif complaint := in_relay_range(address, settings):
        table.wrong("url", complaint)
        return None
    if sender is not None:
        sender_address = parse_address(sender)
        if sender_address is None or sender_address.version != address.version or sender_address.is_multicast:
            table.wrong("source", f"must be the IPv{address.version} address of the one sender")
            return None
        sender = str(sender_address)
    return UdpSource(host=str(address), port=port[0], interface=interface, source=sender)


def srt_mode(table: Table, url: Url) -> SrtMode:
    """Return the mode of an SRT input or output; a wildcard address without one is reported."""
    mode = table.choice("mode", SrtMode)
    address = url.address
    if mode is SrtMode.LISTENER:
        if address is None:
            table.wrong("url", "must have an IP address of this host to listen on, not a name, such as 0.0.0.0")
        elif address.is_unspecified and address.version == 6:
            # libsrt 1.5.4 (Debian 13) refuses it, and FFmpeg cannot set the option that it asks for.
            table.wrong("url", "srt cannot listen on [::], write 0.0.0.0 or one IPv6 address of this host")
    elif address is not None and address.is_unspecified:
        if mode is not None:
            table.wrong("mode", f'{url.host} is no address that can be called, write mode = "listener"')
        elif not table.has("mode"):
            table.missing("url", f'{url.host} is no address that can be called, write mode = "listener" below')
    if address is not None and address.is_multicast:
        table.wrong("url", "must not be a multicast group, srt has none")
    return mode or SrtMode.CALLER


def streamid_fault(streamid: str) -> str:
    """Return what is wrong with a stream id in plain text, or nothing."""
    if not streamid:
        return "must not be empty, remove it"
    if len(streamid.encode()) > MAX_STREAMID:
        return f"must be no longer than {MAX_STREAMID} bytes"
    return unsafe_character(streamid)


def _srt(table: Table, url: str, settings: Settings, name: str) -> SrtSource | None:
    latency = table.duration("latency", *LATENCY_RANGE)
    passphrase = table.credential("passphrase", name)
    streamid = _streamid(table)
    parts = _split(table, url, _SRT)
    if parts is None:
        table.accept(("mode",))
        return None
    mode = srt_mode(table, parts)
    if mode is SrtMode.LISTENER and streamid is not None:
        table.misplaced("streamid", "streamid is what a caller sends, a listener has none, remove it")
    port = _port(table, parts, settings, bound=mode is SrtMode.LISTENER)
    if port is None or port[0] is None:
        return None
    return SrtSource(
        host=parts.host,
        port=port[0],
        mode=mode,
        latency=latency,
        passphrase=passphrase,
        streamid=streamid,
    )


def _streamid(table: Table) -> str | None:
    if isinstance(table.data.get("streamid"), dict):
        table.accept(("streamid",))
        table.wrong("streamid", "ffmpeg takes the stream id of an input only as an argument, write it as a string")
        return None
    streamid = table.string("streamid")
    if streamid is not None and (fault := streamid_fault(streamid)):
        table.wrong("streamid", fault)
        return None
    return streamid


def _test(table: Table, url: str) -> TestSource | None:
    if url.lower() != "test:":
        table.wrong("url", 'write "test:", with nothing after it')
        return None
    return TestSource()


def _file(table: Table, url: str) -> FileSource | None:
    path = url[len("file:") :]
    if unsafe := unsafe_character(url):
        table.wrong("url", f"{unsafe}, rename the file")
    elif not path.startswith("///"):
        table.wrong("url", 'must be an absolute path after file://, such as "file:///srv/loop.ts"')
    elif path.endswith("/"):
        table.wrong("url", "must be a file, not a directory")
    else:
        return FileSource(path="/" + path.lstrip("/"))
    return None
