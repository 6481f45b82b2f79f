"""The route: one input and its outputs, as immutable values.

Everything here was validated by the parser; whoever holds a Route need not check it again.
Secrets never appear in these values: a `Credential` only names one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Relay(StrEnum):
    """What stands between a route's input and its outputs."""

    DIRECT = "direct"
    MEDIAMTX = "mediamtx"


class Engine(StrEnum):
    """The program that an output's process is."""

    FFMPEG = "ffmpeg"
    SRT_LIVE_TRANSMIT = "srt-live-transmit"
    """Of Debian's srt-tools: passes a transport stream on by SRT for less, and tells how the connection is."""


class SrtMode(StrEnum):
    """Which side opens an SRT connection."""

    CALLER = "caller"
    LISTENER = "listener"


class RtspTransport(StrEnum):
    """How RTSP carries its media."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True)
class Credential:
    """The name of a secret in the credential store, never the secret."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Resource limits of one unit; None leaves systemd's default."""

    memory: int | None = None
    """MemoryMax=, in bytes."""
    cpu: int | None = None
    """CPUQuota=, in percent of one core."""
    tasks: int | None = None
    """TasksMax=, a count of threads."""


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpSource:
    """MPEG-TS that arrives by UDP, unicast or multicast."""

    host: str
    """An IP address of this host, a wildcard, or a multicast group; IPv6 without brackets."""
    port: int | None
    """None stands for `auto`: streamd allocates one."""
    interface: str | None = None
    """Name of the network interface on which to join a multicast group."""
    source: str | None = None
    """The one sender of a source-specific multicast group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtSource:
    """MPEG-TS that arrives by SRT."""

    host: str
    port: int
    mode: SrtMode
    latency: int | None = None
    """In ms; None leaves libsrt's default (120 ms)."""
    passphrase: Credential | None = None
    streamid: str | None = None


@dataclass(frozen=True, slots=True)
class TestSource:
    """A built-in moving picture with a tone."""

    __test__ = False  # keeps pytest from collecting the class


@dataclass(frozen=True, slots=True)
class FileSource:
    """A media file, played in a loop at its own speed."""

    path: str
    """Absolute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullSource:
    """A stream that is fetched from a server, by RTSP, RTMP or HLS, and remuxed to MPEG-TS."""

    url: str
    """Has a password or a token in it only with allow_visible_password."""
    transport: RtspTransport = RtspTransport.TCP
    """Of RTSP."""
    allow_visible_password: bool = False
    tls_verify: bool = True

    @property
    def kind(self) -> str:
        """Return rtsp, rtmp or hls."""
        scheme = self.url.partition(":")[0]
        return "hls" if scheme in ("http", "https") else scheme.removesuffix("s")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSource:
    """A stream that an encoder pushes to MediaMTX, by RTMP, SRT, RTSP or WHIP."""

    user: str
    password: Credential


Source = UdpSource | SrtSource | PullSource | PublishSource | TestSource | FileSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Where a route's stream comes from."""

    url: str
    """As written in the file; has a secret in it only with allow_visible_password."""
    source: Source
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpTarget:
    """MPEG-TS sent by UDP, unicast or multicast."""

    host: str
    port: int
    ttl: int | None = None
    """Hops that a multicast datagram may take, 0 to 255."""
    interface: str | None = None
    """Name of the network interface that multicast leaves by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SrtTarget:
    """MPEG-TS sent by SRT."""

    host: str
    port: int
    mode: SrtMode
    latency: int | None = None
    """In ms; None leaves libsrt's default (120 ms)."""
    passphrase: Credential | None = None
    streamid: str | Credential | None = None
    engine: Engine = Engine.FFMPEG
    allow_visible_password: bool = False
    """Of srt-live-transmit, which takes secrets in its arguments alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RtmpTarget:
    """FLV pushed by RTMP or RTMPS."""

    url: str
    """rtmp:// or rtmps://, without the stream key when `key` is given."""
    key: Credential | None = None
    """The stream key (FFmpeg's rtmp_playpath), appended to the URL's application."""
    tls_verify: bool = True
    allow_visible_password: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RtspTarget:
    """RTP pushed by RTSP (ANNOUNCE and RECORD)."""

    url: str
    """rtsp:// or rtsps://; has a password or a token in it only with allow_visible_password."""
    transport: RtspTransport = RtspTransport.TCP
    allow_visible_password: bool = False


Target = UdpTarget | SrtTarget | RtmpTarget | RtspTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One destination: exactly one process, nearly always FFmpeg's, in exactly one systemd unit."""

    name: str
    url: str
    """As written in the file."""
    target: Target
    description: str = ""
    enabled: bool = True
    limits: Limits = NO_LIMITS
    stall_timeout: int | None = None
    """ms that it may send nothing while its input gives, then it is restarted; 0: for ever, None: as set for all."""

    @property
    def engine(self) -> Engine:
        """Return the program that sends."""
        return self.target.engine if isinstance(self.target, SrtTarget) else Engine.FFMPEG


@dataclass(frozen=True, slots=True)
class UnitHook:
    """A systemd unit that is started."""

    name: str
    """As written: %i stands for ROUTE:OUTPUT, %n for the name of the unit that it is about."""


@dataclass(frozen=True, slots=True)
class WebHook:
    """An address that is told by HTTP."""

    url: str | Credential
    """The credential holds a URL that has a secret in it."""


Hook = UnitHook | WebHook


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What is done when a stream fails, and when it is well again; None is not said."""

    on_failure: tuple[Hook, ...] | None = None
    on_recovery: tuple[Hook, ...] | None = None
    delay: int | None = None
    """ms for which it must have failed, or been well, before anybody is told."""

    def over(self, others: Hooks) -> Hooks:
        """Return these hooks, with what they do not say from others."""
        return Hooks(
            on_failure=others.on_failure if self.on_failure is None else self.on_failure,
            on_recovery=others.on_recovery if self.on_recovery is None else self.on_recovery,
            delay=others.delay if self.delay is None else self.delay,
        )


NO_HOOKS: Final = Hooks()


def default_relay(source: Source) -> Relay:
    """Return the relay of a route that names none.

    What is published is at MediaMTX already: read there it costs an ingest less, and a codec that MPEG-TS cannot carry
    gets through. Everything else has nothing to gain from MediaMTX, and outputs that outlive it to lose.
    """
    return Relay.MEDIAMTX if isinstance(source, PublishSource) else Relay.DIRECT


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One input and its outputs, from one file."""

    name: str
    input: Input
    outputs: tuple[Output, ...] = ()
    description: str = ""
    enabled: bool = True
    relay: Relay = Relay.DIRECT
    hooks: Hooks = NO_HOOKS
    """What differs from the hooks of all routes."""

    @property
    def comes_by_mediamtx(self) -> bool:
        """Tell whether MediaMTX has the stream first, and no ingest stands in its way to the outputs."""
        return self.relay is Relay.MEDIAMTX and isinstance(self.input.source, PublishSource | PullSource)


@dataclass(frozen=True, slots=True)
class Listen:
    """An IP address of this host and a port to listen on."""

    host: str
    """IPv6 without brackets."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def reached_at(self) -> Listen:
        """Return where a process of this host reaches it."""
        return Listen({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port)  # noqa: S104


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaServer:
    """What MediaMTX listens on; None is a protocol that is off."""

    rtsp: Listen = Listen("127.0.0.1", 8554)
    rtmp: Listen | None = None
    srt: Listen | None = None
    hls: Listen | None = None
    webrtc: Listen | None = None
    webrtc_media: Listen = Listen("0.0.0.0", 8189)  # noqa: S104 - used only where webrtc was turned on
    """The UDP port for the media of WebRTC."""
    webrtc_host: str = ""
    """The address or the name that leads to this host from elsewhere, told to peers besides its own; "" is none."""
    api: Listen = Listen("127.0.0.1", 9997)
    metrics: Listen = Listen("127.0.0.1", 9998)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The daemon's settings, from streamd.toml; every key has a default."""

    input_ports: tuple[int, int] = (5000, 5100)
    """First and last port that inputs of this host may listen on, both included."""
    max_outputs: int = 20
    """Outputs that one route may have."""
    relay_groups: str = "239.255.0.0/16"
    """The range of multicast groups that the direct relay uses on the loopback interface."""
    relay_port: int = 20000
    """The UDP port of all of the relay's groups."""
    output_limits: Limits = field(default=NO_LIMITS)
    """What an output without a limit of its own gets."""
    stall_timeout: int = 10_000
    """ms that an output may send nothing while its input gives, before it is restarted; 0 is for ever."""
    progress_port: int = 20001
    """The UDP port on the loopback interface that each FFmpeg reports its progress to."""
    hooks: Hooks = Hooks(on_failure=(), on_recovery=(), delay=10_000)
    """Of every route that says nothing else."""
    mediamtx: MediaServer = field(default=MediaServer())
    """What MediaMTX listens on, where it is installed."""
