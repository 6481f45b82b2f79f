"""FFmpeg's command lines: one for the ingest of a route, one for each output.

What each option is for stands here and nowhere else. Two rules hold for all of them: no secret in an argument (a unit's
arguments can be read by all), and neither `$` nor `;` (systemd 252 corrupts them when it reads a unit again).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from streamd.plan.preset import Form, Preset, PresetLine, render_preset
from streamd.route.model import (
    Credential,
    Engine,
    FileSource,
    PullSource,
    RtmpTarget,
    RtspTarget,
    SrtMode,
    SrtSource,
    SrtTarget,
    Target,
    TestSource,
    UdpSource,
    UdpTarget,
)

__all__ = ["Command", "Endpoint", "Form", "Preset", "PresetLine", "ingest_command", "output_command", "render_preset"]

FFMPEG: Final = "/usr/bin/ffmpeg"

DATAGRAM: Final = 1316
"""Bytes: seven TS packets, what fits an Ethernet frame, and what all the world sends."""
LARGEST_SRT_PAYLOAD: Final = 1456
SOCKET_BUFFER: Final = 2097152
"""Bytes asked for the receive buffer of a socket; 64 KiB lost packets on a busy machine. The kernel gives no more than
net.core.rmem_max."""
INGEST_FIFO: Final = 27888
"""TS packets, 5 MB: an ingest must bridge the time in which a loaded machine does not let it write."""
RELAY_BUFFER: Final = 4194304
"""Bytes asked for the receive buffer of an output: all that bridges the time in which it does not read. FFmpeg's own
queue would bridge more, but needs a thread that is woken for every datagram."""
LISTENER_QUEUE: Final = 1024
"""Datagrams that a listener's writer may be behind before FFmpeg drops all of them, and so makes a fresh start."""
CONNECT_TIMEOUT: Final = 5000
"""Of SRT callers, in ms."""
IO_TIMEOUT: Final = 5_000_000
"""Of RTMP and RTSP connections, in µs. Without it a dead peer blocks FFmpeg for ever."""


Fetched = UdpSource | SrtSource | PullSource | TestSource | FileSource
"""What FFmpeg itself can fetch."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The group and port of a route on the direct relay."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class MediaPath:
    """A route's path at MediaMTX."""

    url: str
    """Of RTSP, on this host."""


@dataclass(frozen=True, slots=True)
class Command:
    """What a unit runs, and what stands in its file of secrets (nothing: it has none)."""

    argv: tuple[str, ...]
    preset: tuple[PresetLine, ...] = ()
    engine: Engine = Engine.FFMPEG


def ingest_command(
    source: Fetched, *, port: int | None, group: Endpoint, progress: Endpoint, addresses: Mapping[str, str], unit: str
) -> Command:
    """Return the command that brings a source onto the relay's group.

    Args:
        source: where the stream comes from.
        port: the one allocated where the source says `auto`.
        group: the route's group on the relay.
        progress: where to report progress to.
        addresses: network interface to its IPv4 address; has the one that the source names.
        unit: the unit that will run it, for the path of its file of secrets.
    """
    # ttl=0 keeps the datagrams on this host, localaddr on the loopback interface.
    relay = _udp_url(group.host, group.port, pkt_size=DATAGRAM, ttl=0, localaddr="127.0.0.1")
    if isinstance(source, UdpSource):
        return Command((*_start(progress), *_raw_input(_udp_source(source, port, addresses)), *_RAW_OUTPUT, relay))
    if isinstance(source, SrtSource):
        return _srt_ingest(source, progress, unit, relay)
    if isinstance(source, PullSource):
        # By RTSP, FFmpeg takes no packet of AAC for a key frame, and then would copy none.
        remuxed = (*_pulled_input(source), "-copyinkf:a", "-f", "mpegts", relay)
        return Command((*_start(progress), *remuxed))
    if isinstance(source, TestSource):
        return Command((*_start(progress), *_TEST_PICTURE, relay))
    # The prefix keeps a name with a colon from being taken for a protocol.
    loop = ("-re", "-stream_loop", "-1", "-i", f"file:{source.path}")
    return Command((*_start(progress), *loop, *_FIRST_STREAMS, "-c", "copy", "-f", "mpegts", relay))


def output_command(
    target: Target, *, relay: Endpoint | MediaPath, progress: Endpoint, addresses: Mapping[str, str], unit: str
) -> Command:
    """Return the command that brings a route's stream from the relay to a target.

    Args:
        target: where the stream goes.
        relay: the route's group on the direct relay, or its path at MediaMTX.
        progress: where to report progress to.
        addresses: network interface to its IPv4 address; has the one that the target names.
        unit: the unit that will run it, for the path of its file of secrets.
    """
    carried = _carried(relay)
    if isinstance(target, UdpTarget):
        address = addresses[target.interface] if target.interface else None
        url = _udp_url(target.host, target.port, pkt_size=DATAGRAM, ttl=target.ttl, localaddr=address)
        return Command((*_start(progress), *carried.ts_input, "-f", carried.ts_format, url))
    if isinstance(target, SrtTarget):
        return (_srt_listener if target.mode is SrtMode.LISTENER else _srt_caller)(target, progress, unit, carried)
    if isinstance(target, RtmpTarget):
        return _rtmp(target, progress, unit, carried)
    return _rtsp(target, progress, carried)


def watch_command(path: MediaPath, progress: Endpoint) -> Command:
    """Return the command that reads a path and throws it away: it tells whether the stream is there, and how far."""
    return Command((*_start(progress), *_path_input(path), "-f", "null", "-"))


@dataclass(frozen=True, slots=True)
class _Carried:
    """How an output reads from its relay."""

    ts_input: tuple[str, ...]
    """The input and what is taken of it, for a transport stream."""
    ts_format: str
    remuxed_input: tuple[str, ...]
    """The same for other containers."""
    has_adts: bool
    """AAC comes as in a transport stream."""


def _carried(relay: Endpoint | MediaPath) -> _Carried:
    if isinstance(relay, MediaPath):
        read = _path_input(relay)
        return _Carried(read, "mpegts", read, has_adts=False)
    url = _udp_url(relay.host, relay.port, localaddr="127.0.0.1", buffer_size=RELAY_BUFFER, fifo_size=0)
    raw = (*_raw_input(url), "-map", "0", "-c", "copy")
    return _Carried(raw, "data", (*_SCANNED, *_remuxed_input(url, ANALYSED_TS)), has_adts=True)


def _path_input(path: MediaPath) -> tuple[str, ...]:
    """Return the options of an input that is MediaMTX's; should it hang, FFmpeg ends and is started again."""
    # By RTSP, FFmpeg takes no packet of AAC for a key frame, and then would copy none.
    return ("-rtsp_transport", "tcp", "-timeout", str(IO_TIMEOUT), *_remuxed_input(path.url), "-copyinkf:a")


def _start(progress: Endpoint, level: str = "level+warning") -> tuple[str, ...]:
    """Return what all commands begin with."""
    # One datagram a second; that nobody reads it harms nothing, where a pipe would stop the media of FFmpeg 5.1.
    report = ("-stats_period", "1", "-progress", f"udp://{progress.host}:{progress.port}")
    return (FFMPEG, "-nostdin", "-hide_banner", "-nostats", *report, "-loglevel", level)


_RAW_OUTPUT: Final = ("-map", "0", "-c", "copy", "-f", "data")
_FIRST_STREAMS: Final = ("-map", "0:v:0?", "-map", "0:a:0?")

_TEST_PICTURE: Final = (
    *("-re", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25"),
    *("-re", "-f", "lavfi", "-i", "sine=frequency=1000:sample_rate=48000"),
    *("-map", "0:v", "-map", "1:a"),
    *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "25"),
    *("-b:v", "1500k", "-minrate", "1500k", "-maxrate", "1500k", "-bufsize", "750k", "-nal-hrd", "cbr"),
    *("-c:a", "aac", "-b:a", "128k", "-ac", "2"),
    *("-f", "mpegts", "-muxrate", "2000k"),
)


def _raw_input(url: str, *, protocols: str = "") -> tuple[str, ...]:
    """Return the options of an input whose bytes are not looked at, so that they come out as they went in."""
    # Without the packet size, FFmpeg reads pieces of 1,024 bytes and cuts every datagram in two.
    allowed = ("-protocol_whitelist", protocols) if protocols else ()
    return (*allowed, "-f", "data", "-raw_packet_size", str(DATAGRAM), "-i", url)


_SCANNED: Final = ("-scan_all_pmts", "0")
"""Of a transport stream: the look at it ends as soon as it is known what each stream of its programs is. By default
FFmpeg expects more programs until the time is over, which was 1.5 s of each start."""
ANALYSED: Final = 2_000_000
"""µs that are looked at at most; by default it takes 5 s, and with 1 s a parameter set is missed now and then."""
ANALYSED_TS: Final = 6_000_000
"""The same for a transport stream, whose parameter sets come with its key frames alone."""
PATIENCE: Final = 2_000_000
"""µs that video is held back for audio that does not come any more. By default 10 s, in which the far end hangs up."""


def _remuxed_input(url: str, analysed: int = ANALYSED) -> tuple[str, ...]:
    """Return the options of an input of which the first video and audio are taken, and how these come together."""
    # The size is 2 s of 40 Mbit/s, and 6 s of 13. A private PID, of which FFmpeg cannot tell what it is, would hold
    # the start up for its first 2,500 packets.
    probing = ("-analyzeduration", str(analysed), "-probesize", "10000000", "-max_probe_packets", "200")
    return (*probing, "-i", url, *_FIRST_STREAMS, "-c", "copy", "-max_interleave_delta", str(PATIENCE))


def _pulled_input(source: PullSource) -> tuple[str, ...]:
    """Return the options of an input that is fetched from a server. A server that falls silent ends FFmpeg."""
    timeout = ("-timeout" if source.kind == "rtsp" else "-rw_timeout", str(IO_TIMEOUT))
    verify = "1" if source.tls_verify else "0"
    options: tuple[str, ...] = ()
    if source.kind == "rtsp":
        options = ("-rtsp_transport", source.transport.value)
    elif source.kind == "hls":
        # Segments come at once: sent on as they come, they would overrun whoever receives them.
        options = ("-re", *(("-tls_verify", verify) if source.url.startswith("https:") else ()))
    elif source.url.startswith("rtmps:"):
        options = ("-tls_verify", verify)
    return (*options, *timeout, *_remuxed_input(source.url))


def _udp_source(source: UdpSource, port: int | None, addresses: Mapping[str, str]) -> str:
    is_group = source.interface is not None or source.source is not None or _is_multicast(source.host)
    if is_group:
        local = addresses[source.interface] if source.interface else None
    else:
        # FFmpeg listens on all addresses, whatever the URL says, unless it is told so.
        local = None if source.host in ("0.0.0.0", "::") else source.host  # noqa: S104 - that is compared, not bound
    # No timeout: it waits for the encoder as long as it takes. An overrun must not end it.
    return _udp_url(
        source.host,
        port if source.port is None else source.port,
        localaddr=local,
        sources=source.source,
        buffer_size=SOCKET_BUFFER,
        fifo_size=INGEST_FIFO,
        overrun_nonfatal=1,
    )


def _srt_ingest(source: SrtSource, progress: Endpoint, unit: str, relay: str) -> Command:
    if source.passphrase is not None:
        return _encrypted_srt_ingest(source, source.passphrase, progress, unit, relay)
    streamid = () if source.streamid is None else _streamid(source.streamid)
    url = _srt_url(source, pkt_size=LARGEST_SRT_PAYLOAD)
    return Command((*_start(progress), *streamid, *_raw_input(url), *_RAW_OUTPUT, relay))


def _encrypted_srt_ingest(
    source: SrtSource, passphrase: Credential, progress: Endpoint, unit: str, relay: str
) -> Command:
    """Return the ingest that takes its address, with the passphrase in it, from a file.

    FFmpeg reads presets for outputs only. But its `hls` protocol (not the demuxer of that name) hands out the bytes of
    what a playlist names, and an entry may be any address. It repeats that address in warnings and errors, so only what
    libsrt itself says may come to the journal.
    """
    parameters: dict[str, int | str | None] = {"pkt_size": LARGEST_SRT_PAYLOAD}
    if source.streamid is not None:
        parameters["streamid"] = quote(source.streamid, safe="")
    url = f"{_srt_url(source, **parameters)}&passphrase"
    playlist = f"hls+file://{_secrets(unit)}"
    argv = (*_start(progress, "fatal"), *_raw_input(playlist, protocols="hls,file,srt"), *_RAW_OUTPUT, relay)
    return Command(argv, (PresetLine(url, passphrase, Form.PLAYLIST),))


def _srt_caller(target: SrtTarget, progress: Endpoint, unit: str, carried: _Carried) -> Command:
    secret: list[PresetLine] = []
    streamid: tuple[str, ...] = ()
    if target.passphrase is not None:
        secret.append(PresetLine("passphrase", target.passphrase))
    if isinstance(target.streamid, Credential):
        secret.append(PresetLine("srt_streamid", target.streamid))
    elif target.streamid is not None:
        streamid = _streamid(target.streamid)
    url = _srt_url(target, pkt_size=DATAGRAM)
    sent = (*carried.ts_input, "-f", carried.ts_format)
    return Command((*_start(progress), *sent, *streamid, *_preset(unit, secret), url), tuple(secret))


def _srt_listener(target: SrtTarget, progress: Endpoint, unit: str, carried: _Carried) -> Command:
    """Return the command of an output that waits for its caller.

    FFmpeg opens its output before it reads on, so a caller who comes late would get what was waiting in the input's
    buffers since. With the fifo muxer a second thread waits, the first reads on, and the queue, which overflowed, is
    emptied when the caller comes. FFmpeg ends when its caller leaves: the muxer's own recovery would listen again too,
    but keep one stale packet for the next caller.
    """
    secret = (
        () if target.passphrase is None else (PresetLine("format_opts=passphrase", target.passphrase, Form.DICTIONARY),)
    )
    queue = ("-queue_size", str(LISTENER_QUEUE), "-drop_pkts_on_overflow", "1")
    fifo = ("-f", "fifo", "-fifo_format", carried.ts_format, *queue)
    url = _srt_url(target, pkt_size=DATAGRAM)
    # Only at this level FFmpeg says that somebody called ("accept streamid"), which nothing else tells: it says once
    # what it reads and writes besides.
    argv = (
        *_start(progress, "level+verbose"),
        *carried.ts_input,
        *fifo,
        *_preset(unit, secret),
        url,
    )
    return Command(argv, tuple(secret))


def _rtmp(target: RtmpTarget, progress: Endpoint, unit: str, carried: _Carried) -> Command:
    options = ["-f", "flv", "-flvflags", "no_duration_filesize", "-rw_timeout", str(IO_TIMEOUT)]
    if target.url.startswith("rtmps:"):
        # FFmpeg does not verify by default. The certificates that it trusts are the system's unless it is told others.
        options += ["-tls_verify", "1" if target.tls_verify else "0"]
    secret: list[PresetLine] = []
    if target.key is not None:
        secret.append(PresetLine("rtmp_playpath", target.key))
        parts = urlsplit(target.url)
        application = parts.path.strip("/")
        if "/" in application:
            # Otherwise FFmpeg takes the last part for the play path, which the key then replaces.
            options += ["-rtmp_app", f"{application}?{parts.query}" if parts.query else application]
    argv = (*_start(progress), *carried.remuxed_input, *options, *_preset(unit, secret), target.url)
    return Command(argv, tuple(secret))


def _rtsp(target: RtspTarget, progress: Endpoint, carried: _Carried) -> Command:
    options = (
        # RTP has no form for the ADTS of a transport stream; LATM is the one that FFmpeg can make of it.
        *(("-rtpflags", "latm") if carried.has_adts else ()),
        *("-f", "rtsp", "-rtsp_transport", target.transport.value, "-timeout", str(IO_TIMEOUT)),
    )
    return Command((*_start(progress), *carried.remuxed_input, *options, target.url))


def _secrets(unit: str) -> str:
    return f"/run/credentials/{unit}/secrets"


def _preset(unit: str, lines: list[PresetLine] | tuple[PresetLine, ...]) -> tuple[str, ...]:
    return ("-fpre", _secrets(unit)) if lines else ()


def _streamid(streamid: str) -> tuple[str, ...]:
    """Return the option, which takes the text as it is; in a URL it would have to be encoded."""
    return ("-srt_streamid", streamid)


def _srt_url(end: SrtSource | SrtTarget, **parameters: int | str | None) -> str:
    return make_url(
        "srt",
        end.host,
        end.port,
        mode=end.mode.value,
        # Of FFmpeg's times these are the one in µs and the one in ms.
        latency=None if end.latency is None else end.latency * 1000,
        connect_timeout=CONNECT_TIMEOUT if end.mode is SrtMode.CALLER else None,
        **parameters,
    )


def _udp_url(host: str, port: int | None, **parameters: int | str | None) -> str:
    return make_url("udp", host, port, **parameters)


def make_url(scheme: str, host: str, port: int | None, **parameters: int | str | None) -> str:
    """Return the address with these parameters, but for those that are None."""
    query = "&".join(f"{key}={value}" for key, value in parameters.items() if value is not None)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{f'?{query}' if query else ''}"


def _is_multicast(host: str) -> bool:
    """Tell whether an IP address is a multicast group's, for which no local address is to be taken from the URL."""
    if ":" in host:
        return host.lower().startswith("ff")
    return 224 <= int(host.partition(".")[0]) <= 239
