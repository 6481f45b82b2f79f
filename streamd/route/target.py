"""The `[output.NAME]` tables: where a route's stream goes."""

from __future__ import annotations

from typing import Final

from streamd.route.fields import CREDENTIAL_FOLDER, Table
from streamd.route.mask import has_secret_parameter
from streamd.route.model import (
    Credential,
    Engine,
    Output,
    RtmpTarget,
    RtspTarget,
    RtspTransport,
    Settings,
    SrtMode,
    SrtTarget,
    Target,
    UdpTarget,
)
from streamd.route.network import lower_scheme, network_url, split_checked
from streamd.route.source import LATENCY_RANGE, in_relay_range, interface_name, srt_mode, streamid_fault
from streamd.route.url import (
    Fault,
    Url,
    bare_address,
    port_number,
    scheme_of,
    unknown_scheme,
)

_COMMON: Final = ("url", "description", "enabled", "limits", "stall_timeout")
_KEYS: Final = {
    "udp": ("ttl", "interface"),
    "srt": ("mode", "latency", "passphrase", "streamid", "engine", "allow_visible_password"),
    "rtmp": ("key", "tls_verify", "allow_visible_password"),
    "rtsp": ("transport", "allow_visible_password"),
}
OUTPUT_KEYS: Final = (*_COMMON, *(key for keys in _KEYS.values() for key in keys))
"""All that may stand below [output.NAME]."""
TTL_RANGE: Final = (0, 255)
STALL_RANGE: Final = (5_000, 600_000)
"""ms of stall_timeout: FFmpeg reports once a second, and some seconds' silence are no stall."""
UNCARRIED: Final = "&%"
"""Characters that cannot stand in a value for srt-live-transmit: & ends it, and % is decoded by some versions only."""
_LOWEST_PORT: Final = 1024
_WORDS: Final = {"key": "stream key", "streamid": "stream id", "passphrase": "passphrase"}
_KINDS: Final = {"udp": "udp", "srt": "srt", "rtmp": "rtmp", "rtmps": "rtmp", "rtsp": "rtsp", "rtsps": "rtsp"}
_NOT_OF_OUTPUTS: Final = {
    "source": "source is for udp inputs",
    "relay": "relay stands at the top of the file, before [input]",
    "removed": "removed is for drop-ins, delete here what should not be",
}


def parse_output(table: Table, name: str, settings: Settings) -> Output | None:
    """Return the output, or None; either may come with diagnostics, and then the route is refused."""
    url = table.string("url")
    description = table.text("description") or ""
    enabled = table.boolean("enabled")
    limits = table.limits()
    stall_timeout = table.timeout("stall_timeout", *STALL_RANGE)
    if url is None and not table.has("url"):
        table.missing("url", 'missing, write url = "srt://HOST:PORT" or another address')
    kind = _KINDS.get(scheme_of(url), "") if url is not None else ""
    target: Target | None = None
    if url is None or not kind:
        if url is not None:
            table.wrong("url", unknown_scheme(scheme_of(url), _KINDS).message)
        table.accept(OUTPUT_KEYS)
        table.finish(OUTPUT_KEYS, _NOT_OF_OUTPUTS)
        return None
    if kind == "udp":
        target = _udp(table, url, settings)
    elif kind == "srt":
        target = _srt(table, url, name, settings)
    elif kind == "rtmp":
        target = _rtmp(table, url, name)
    else:
        target = _rtsp(table, url)
    table.finish((*_COMMON, *_KEYS[kind]), _elsewhere(kind))
    if target is None:
        return None
    return Output(
        name=name,
        url=url,
        target=target,
        description=description,
        enabled=enabled is not False,
        limits=limits,
        stall_timeout=stall_timeout,
    )


def _elsewhere(this: str) -> dict[str, str]:
    others = {
        key: f"{key} is for {kind} outputs, this one is {this}"
        for kind, keys in _KEYS.items()
        if kind != this
        for key in keys
    }
    return _NOT_OF_OUTPUTS | others


def _host_port(table: Table, url: str, kind: str, example: int) -> tuple[Url, int] | None:
    """Return the URL of an output that has a host and a port and nothing else."""
    parts = split_checked(table, url, "")
    if parts is None:
        return None
    fault: Fault | int | None = bare_address(parts, _KEYS[kind])
    if fault is None:
        fault = port_number(parts, example=example)
    if isinstance(fault, int):
        return parts, fault
    if fault is not None:
        table.wrong("url", fault.message)
    return None


def _udp(table: Table, url: str, settings: Settings) -> UdpTarget | None:
    ttl = table.integer("ttl", *TTL_RANGE)
    interface = interface_name(table)
    where = _host_port(table, url, "udp", 5004)
    if where is None:
        return None
    parts, port = where
    address = parts.address
    if address is None or not address.is_multicast:
        for key in _KEYS["udp"]:
            if table.has(key):
                table.misplaced(key, f"{key} is for multicast groups, and the url has none")
    if interface is not None and address is not None and address.version == 6:
        table.misplaced("interface", "an interface can be chosen for IPv4 groups only, remove it")
    if address is not None and address.is_unspecified:
        table.wrong("url", f"{parts.host} is no address that can be sent to, write the receiver's")
    if address is not None and (complaint := in_relay_range(address, settings)):
        table.wrong("url", complaint)
    return UdpTarget(host=parts.host, port=port, ttl=ttl, interface=interface)


def _srt(table: Table, url: str, name: str, settings: Settings) -> SrtTarget | None:
    latency = table.duration("latency", *LATENCY_RANGE)
    passphrase = table.credential("passphrase", name)
    streamid = _streamid(table, name)
    engine = table.choice("engine", Engine) or Engine.FFMPEG
    visible = table.boolean("allow_visible_password") or False
    where = _host_port(table, url, "srt", 9000)
    if where is None:
        table.accept(("mode",))
        return None
    parts, port = where
    mode = srt_mode(table, parts)
    if mode is SrtMode.LISTENER and streamid is not None:
        table.misplaced("streamid", "streamid is what a caller sends, a listener has none, remove it")
    if mode is SrtMode.LISTENER and (key := _media_ports(settings).get(port)):
        table.wrong(
            "url", f"must have another port than {port}, MediaMTX's ({key} in the [mediamtx] table of streamd.toml)"
        )
    target = SrtTarget(
        host=parts.host,
        port=port,
        mode=mode,
        latency=latency,
        passphrase=passphrase,
        streamid=streamid,
        engine=engine,
        allow_visible_password=visible,
    )
    if engine is Engine.SRT_LIVE_TRANSMIT:
        _check_srt_live_transmit(table, target)
    return target


def _check_srt_live_transmit(table: Table, target: SrtTarget) -> None:
    """Report what FFmpeg can do for an output by SRT and srt-live-transmit cannot."""
    for key, value in (("passphrase", target.passphrase), ("streamid", target.streamid)):
        if isinstance(value, Credential) and not target.allow_visible_password:
            message = (
                f"srt-live-transmit takes a {_WORDS[key]} only as an argument, which every user of this host can read,"
                ' write engine = "ffmpeg" to hide it, or allow_visible_password = true to accept that'
            )
            table.wrong(key, message)
    if isinstance(target.streamid, str) and any(char in target.streamid for char in UNCARRIED):
        table.wrong(
            "streamid", 'must not contain & or % with srt-live-transmit, remove them or write engine = "ffmpeg"'
        )
    if target.port < _LOWEST_PORT:
        message = f"must have a port from {_LOWEST_PORT} for srt-live-transmit, which takes none below"
        table.wrong("url", f'{message}, or write engine = "ffmpeg"')


def _media_ports(settings: Settings) -> dict[int, str]:
    """Return the UDP ports that MediaMTX binds, with the key that says so."""
    server = settings.mediamtx
    found = {} if server.srt is None else {server.srt.port: "srt"}
    return found if server.webrtc is None else found | {server.webrtc_media.port: "webrtc_media"}


def _streamid(table: Table, name: str) -> str | Credential | None:
    value = table.data.get("streamid")
    if value is not None and not isinstance(value, str):
        return table.credential("streamid", name)
    streamid = table.string("streamid")
    if streamid is not None and (fault := streamid_fault(streamid)):
        table.wrong("streamid", fault + _as_credential("streamid", name) if "$" in fault or ";" in fault else fault)
        return None
    return streamid


def _as_credential(key: str, name: str) -> str:
    return f', write the {_WORDS[key]} into {CREDENTIAL_FOLDER}/{name} and {key} = {{ credential = "{name}" }} here'


def _rtmp(table: Table, url: str, name: str) -> RtmpTarget | None:
    key = table.credential("key", name)
    tls_verify = table.boolean("tls_verify")
    visible = table.boolean("allow_visible_password") or False
    if table.has("tls_verify") and scheme_of(url) == "rtmp":
        table.misplaced("tls_verify", "tls_verify is for rtmps:// addresses, rtmp:// has no encryption")
    parts = network_url(table, url, _as_credential("key", name) if "$" in url or ";" in url else "")
    if parts is None:
        return None
    if parts.user is not None:
        table.wrong("url", f"must not contain a user or password (what precedes the @){_as_credential('key', name)}")
    if not visible and has_secret_parameter(parts.query):
        table.wrong(
            "url",
            "must not have a password or token in its query (what follows the ?), end it before the stream's name and"
            f" write that name with its query into {CREDENTIAL_FOLDER}/{name} and"
            f' key = {{ credential = "{name}" }} here, or write allow_visible_password = true for every user of this'
            " host to read it",
        )
    # MediaMTX for one has no applications: there the key is all of the path.
    if not parts.path.strip("/") and not table.has("key"):
        table.wrong("url", "must name the server's application after the host, such as /live")
    return RtmpTarget(
        url=lower_scheme(url), key=key, tls_verify=tls_verify is not False, allow_visible_password=visible
    )


def _rtsp(table: Table, url: str) -> RtspTarget | None:
    transport = table.choice("transport", RtspTransport)
    visible = table.boolean("allow_visible_password") or False
    parts = network_url(table, url, ", write %24 for $ and %3B for ;" if "$" in url or ";" in url else "")
    if parts is None:
        return None
    if parts.user is not None and not visible:
        message = (
            "ffmpeg takes the user and password of an rtsp address only as an argument, which every user of this host"
            " can read, write allow_visible_password = true below to accept that"
        )
        table.missing("url", message)
    elif not visible and has_secret_parameter(parts.query):
        message = (
            "ffmpeg takes a password or token in the query of an rtsp address (what follows the ?) only as an argument,"
            " which every user of this host can read, write allow_visible_password = true below to accept that"
        )
        table.missing("url", message)
    return RtspTarget(url=lower_scheme(url), transport=transport or RtspTransport.TCP, allow_visible_password=visible)
