"""Why a process ended: told from systemd's result and from the last lines that FFmpeg wrote.

FFmpeg 5.1 ends with status 1 whatever happened, and 7.1 with the number of an error that may stand for many things; so
the lines decide, the latest first, and the status only where they say nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from streamd.plan.ffmpeg import CONNECT_TIMEOUT
from streamd.route.mask import redact_url
from streamd.route.model import Engine


class Cause(StrEnum):
    """The causes of failures that an operator tells apart."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NAME_NOT_FOUND = "name-not-found"
    AUTHENTICATION = "authentication"
    REJECTED = "rejected"
    PASSPHRASE = "passphrase"  # noqa: S105 (a word, not one)
    TLS = "tls"
    UNSUPPORTED = "unsupported"
    """The stream cannot be carried there."""
    NO_KEY_FRAME = "no-key-frame"
    """None came while FFmpeg looked what the stream is."""
    NO_AUDIO = "no-audio"
    """The stream announces audio, and has none."""
    INPUT_LOST = "input-lost"
    CONNECTION_LOST = "connection-lost"
    ABSENT = "absent"
    """The server has no such stream, which may come any moment."""
    NO_PUBLISHER = "no-publisher"
    """No encoder publishes; no failure."""
    CALLER_LEFT = "caller-left"
    """The caller of a listener; no failure."""
    ADDRESS_IN_USE = "address-in-use"
    NO_FILE = "no-file"
    OUT_OF_MEMORY = "out-of-memory"
    KILLED = "killed"
    STALLED = "stalled"
    """streamd restarted it, since it sent nothing."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is known of how the process of a unit ended."""

    result: str = ""
    """systemd's Result: exit-code, signal, oom-kill, …"""
    code: int = 0
    """ExecMainCode: CLD_EXITED (1), CLD_KILLED (2) or CLD_DUMPED (3)."""
    status: int = 0
    """The exit status, or the number of the signal."""
    lines: tuple[str, ...] = ()
    """The last that it wrote, the oldest first."""
    kind: str = ""
    """udp, srt, rtmp, rtsp, hls, publish, test or file."""
    listener: bool = False
    """It waits for a caller."""
    is_input: bool = False
    by_mediamtx: bool = False
    """It is an output that reads from MediaMTX."""
    ran: int = 0
    """For how long it had been up, in µs; 0 when unknown."""
    before: Cause | None = None
    """Why it ended the time before."""
    engine: Engine = Engine.FFMPEG
    has_sent: bool = False
    """It is known to have sent something; asked of srt-live-transmit alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A cause, in words for a person."""

    cause: Cause
    sentence: str
    """What happened."""
    advice: str
    """What to look at, or to do."""
    line: str
    """The line that tells, without what FFmpeg writes before it; empty where none did."""


def is_slow(cause: Cause) -> bool:
    """Tell whether trying again soon would be of no use, and may lock an account."""
    return cause in _SLOW


def classify(ending: Ending) -> Failure:
    """Return why a process ended."""
    if ending.result == "oom-kill":
        return _failure(Cause.OUT_OF_MEMORY)
    lines = [clean(line) for line in ending.lines if not is_noise(line)]
    if ending.by_mediamtx and any(_UNREAD.search(line) for line in lines):
        return _failure(Cause.INPUT_LOST, next(line for line in lines if _UNREAD.search(line)))
    if ending.engine is Engine.SRT_LIVE_TRANSMIT:
        return _of_srt_live_transmit(ending, lines)
    # The first lines of an ending say what was wrong, those after them that something was: what tells most decides.
    waits = ending.listener and ending.kind == "srt"
    for pattern, cause in _TOLD:
        if waits and cause in _OF_STRANGERS:
            continue
        for line in reversed(lines):
            if pattern.search(line):
                return _failure(_of_side(cause, ending), line)
    if ending.code in (_KILLED, _DUMPED):
        return _failure(Cause.KILLED, f"signal {ending.status}")
    if ending.code == _EXITED and (told := _STATUSES.get(ending.status)) is not None:
        return _failure(_of_side(told, ending), lines[-1] if lines else "")
    if waits and not ending.is_input:
        return _failure(Cause.CALLER_LEFT)
    if ending.code == _EXITED and ending.status == 0:
        return _failure(_of_side(Cause.CONNECTION_LOST, ending) if ending.kind == "publish" else Cause.INPUT_LOST)
    if ending.kind == "publish" and not lines:
        return _failure(Cause.NO_PUBLISHER)  # most likely; its lines may come later
    return _failure(Cause.UNKNOWN, lines[-1] if lines else "")


def _of_srt_live_transmit(ending: Ending, lines: list[str]) -> Failure:
    """Return why srt-live-transmit ended, which does so without a word when its connection breaks or is not made."""
    left = ending.code == _EXITED and ending.status == 0
    if ending.listener and left:
        # Lines may tell of callers that were sent away, for their passphrase say.
        return _failure(Cause.CALLER_LEFT)
    for pattern, cause in (*_TOLD_BY_SRT_LIVE_TRANSMIT, *_TOLD):
        for line in reversed(lines):
            if pattern.search(line):
                return _failure(cause, line)
    if ending.code in (_KILLED, _DUMPED):
        return _failure(Cause.KILLED, f"signal {ending.status}")
    if left:
        made = ending.has_sent or ending.ran > 2 * CONNECT_TIMEOUT * 1000
        return _failure(Cause.CONNECTION_LOST if made else Cause.UNREACHABLE)
    return replace(_failure(Cause.UNKNOWN, lines[-1] if lines else ""), sentence="srt-live-transmit ended")


def is_noise(line: str) -> bool:
    """Tell whether a line is one of those that FFmpeg writes while all is well."""
    return bool(_NOISE.search(line))


def stalled(sentence: str) -> Failure:
    """Return the failure of a unit that streamd restarts because it sends nothing."""
    return replace(_failure(Cause.STALLED), sentence=sentence)


def clean(line: str) -> str:
    """Return a line of FFmpeg's without addresses of its memory and words for its level, and URLs without secrets."""
    text = _PREFIX.sub("", line).strip()
    return _URL.sub(lambda found: redact_url(found[0]), text)


def _of_side(cause: Cause, ending: Ending) -> Cause:
    """Return what an error that both sides may have means for this one."""
    if ending.kind == "publish" and cause in (Cause.REJECTED, Cause.CONNECTION_LOST):
        return Cause.NO_PUBLISHER
    if cause is Cause.REJECTED and ending.is_input and ending.kind != "srt":
        return Cause.ABSENT
    if cause is Cause.UNREACHABLE and ending.kind == "file":
        return Cause.NO_FILE
    if cause is not Cause.CONNECTION_LOST:
        return cause
    if ending.kind == "rtmp" and not ending.is_input and 0 < ending.ran < _AT_ONCE and ending.before in _HUNG_UP:
        # A server that takes neither this key nor this path says nothing and hangs up, time and again.
        return Cause.REJECTED
    if ending.listener and ending.kind == "srt":
        return Cause.CALLER_LEFT
    return Cause.INPUT_LOST if ending.is_input else cause


def _failure(cause: Cause, line: str = "") -> Failure:
    sentence, advice = _WORDS[cause]
    return Failure(cause=cause, sentence=sentence, advice=advice, line=line)


_EXITED, _KILLED, _DUMPED = 1, 2, 3
_AT_ONCE: Final = 10_000_000
"""µs that an RTMP output takes to find out what it sends, to connect, and to be hung up on."""
_HUNG_UP: Final = (Cause.CONNECTION_LOST, Cause.REJECTED)
_PREFIX: Final = re.compile(
    r"^(?:\[[^\]@]* @ 0x[0-9a-f]+\] |\[(?:fatal|error|warning|panic|info|verbose)\] |\d\d:\d\d:\d\d\.\d+/\S+ )+"
)
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"]+")
_NOISE: Final = re.compile(
    r"non-existing [SP]PS|decode_slice_header error|no frame!|Timestamps are unset|FIFO queue|Circular buffer overrun"
    r"|Error closing progress log|Immediate exit requested"
    r"|^(?:\[[^\]@]* @ 0x[0-9a-f]+\] )?\[(?:info|verbose)\] (?!accept streamid)"
    r"|Conversion failed|Past duration|Last message repeated"
)

_UNREAD: Final = re.compile(
    # 7.1 says that it was the input; 5.1 its address, which is that of MediaMTX on this host.
    r"method (?:OPTIONS|DESCRIBE|SETUP|PLAY) failed|Error opening input|^rtsp://(?:127\.|\[::1\])\S*: "
)
"""MediaMTX, or the path there, is not there now; whatever the words, it is no matter of the destination's."""
_TOLD: Final = tuple(
    (re.compile("|".join(patterns), re.IGNORECASE), cause)
    for cause, *patterns in (
        (Cause.PASSPHRASE, "incorrect passphrase", "BADSECRET", "ERROR:UNSECURE", "password required"),
        (
            Cause.NAME_NOT_FOUND,
            *("failed to resolve hostname", "name or service not known", "no address associated"),
            "temporary failure in name resolution",
        ),
        (Cause.TLS, "certificate", "gnutls", "handshake failed", r"tls.*alert", "error in the pull function"),
        (
            Cause.AUTHENTICATION,
            *("401 Unauthorized", "403 Forbidden", "authentication", "authorization failed", "access denied"),
            *("NetStream.Publish.Denied", "code=403"),
        ),
        (
            Cause.REJECTED,
            *("already publishing", "NetStream.Publish.BadName", "NetConnection.Connect.Rejected", "rejected"),
            *("Server error", "ERROR:PEER", "404 Not Found", "404 Stream Not Found", "returned 4", "returned 5"),
            *("Stream Not Found", r"\b45[0-9] (?-i:[A-Z])", "REJECT"),
        ),
        (Cause.NO_KEY_FRAME, "dimensions not set"),
        (Cause.NO_AUDIO, "sample rate not set"),
        (
            Cause.UNSUPPORTED,
            *("codec not supported", "not compatible with", "could not find tag for codec", "unsupported codec"),
            *("not supported in", "does not contain any stream", "matches no streams"),
        ),
        (Cause.REFUSED, "connection refused"),
        (Cause.ADDRESS_IN_USE, "address already in use"),
        (
            Cause.UNREACHABLE,
            *("network is unreachable", "no route to host", "host is unreachable", "operation not permitted"),
            # Of a network that refuses, as by a route that prohibits; of a file it says the same.
            *("connection timed out", "ERROR:TIMEOUT", r"connection to srt:\S* failed", "permission denied"),
        ),
        (Cause.NO_FILE, "no such file or directory", "is a directory"),
        (Cause.OUT_OF_MEMORY, "cannot allocate memory"),
        (
            Cause.CONNECTION_LOST,
            *("broken pipe", "connection reset", "connection was broken", "connection does not exist"),
            *("end of file", "input/output error"),
        ),
    )
)
"""The first that a line matches decides; lines are looked at from the last one back."""

_TOLD_BY_SRT_LIVE_TRANSMIT: Final = (
    (re.compile("srt_bind: "), Cause.ADDRESS_IN_USE),
    # What it says when it has found no address for the host.
    (re.compile("srt_connect: .*Bad parameters"), Cause.NAME_NOT_FOUND),
)

_OF_STRANGERS: Final = frozenset({Cause.PASSPHRASE, Cause.AUTHENTICATION, Cause.REJECTED})
"""What FFmpeg tells of callers that its listener has sent away, after which it goes on listening."""

_STATUSES: Final = {
    145: Cause.REFUSED,
    146: Cause.UNREACHABLE,
    155: Cause.UNREACHABLE,
    143: Cause.UNREACHABLE,
    224: Cause.CONNECTION_LOST,
    251: Cause.CONNECTION_LOST,
    152: Cause.CONNECTION_LOST,
    158: Cause.ADDRESS_IN_USE,
}
"""Exit statuses of FFmpeg 7.1, which are 256 less the number of the error (errno(3))."""

_SLOW: Final = frozenset({Cause.AUTHENTICATION, Cause.REJECTED, Cause.PASSPHRASE, Cause.TLS})

_WORDS: Final = {
    Cause.REFUSED: (
        "nobody listens at the destination's port",
        "Check host and port, and that the receiver is running.",
    ),
    Cause.UNREACHABLE: (
        "the destination does not answer",
        "Check the network and firewalls between here and there, and that the receiver is running.",
    ),
    Cause.NAME_NOT_FOUND: (
        "the host's name cannot be resolved",
        "Check the spelling of the host in the URL, and this machine's DNS: getent hosts NAME.",
    ),
    Cause.AUTHENTICATION: (
        "the server did not accept the credentials",
        "Check the stream key, or user and password, and set it anew with: streamctl set ROUTE/OUTPUT --key-file FILE.",
    ),
    Cause.REJECTED: (
        "the server rejected the stream, or hung up as soon as it began",
        "Check the path and the key; another encoder may be publishing there, or the event may not have begun.",
    ),
    Cause.PASSPHRASE: (
        "the SRT passphrases of both sides differ",
        "Set the same passphrase on both sides; one side may have none.",
    ),
    Cause.TLS: (
        "the encrypted connection could not be made",
        "Check the server's certificate and this machine's clock; tls_verify = false lets an unverified one pass.",
    ),
    Cause.UNSUPPORTED: (
        "the stream cannot be carried by this kind of output",
        "Look at the codecs that arrive: RTMP takes H.264 and AAC; a UDP or SRT output takes whatever comes.",
    ),
    Cause.NO_KEY_FRAME: (
        "no key frame of the video came while FFmpeg looked what it is",
        "Set the key frame interval of the encoder to 2 s; it is tried again by itself.",
    ),
    Cause.NO_AUDIO: (
        "the audio that its input announces does not come",
        "See whether the encoder has sound: have it send silence, or announce no audio.",
    ),
    Cause.INPUT_LOST: (
        "its input ended",
        "Check the encoder, or the source that the input's URL names.",
    ),
    Cause.CONNECTION_LOST: (
        "the connection broke",
        "The far end or the network closed it; it is tried again by itself. Look there if it happens often.",
    ),
    Cause.ABSENT: (
        "the server has no such stream",
        "Check the path in the input's URL, and whether anybody publishes there.",
    ),
    Cause.NO_PUBLISHER: (
        "no encoder has called yet",
        "Point the encoder at this host, the route's name, and its user and password; see streamd.route(5).",
    ),
    Cause.CALLER_LEFT: (
        "its caller left, it listens again",
        "",
    ),
    Cause.ADDRESS_IN_USE: (
        "another process has the port",
        "See which: ss -lunp; then stop that, or choose another port.",
    ),
    Cause.NO_FILE: (
        "a file is missing or may not be read",
        "A file input must stand where a service may read it, such as /srv, and be readable for all.",
    ),
    Cause.OUT_OF_MEMORY: (
        "it took more memory than its limit allows",
        "Raise limits.memory, or look why it grows.",
    ),
    Cause.KILLED: (
        "somebody or something killed its process",
        "See who: journalctl -k for the kernel, or an administrator's kill.",
    ),
    Cause.STALLED: (
        "it sent nothing while its input gave, and was restarted",
        "The far end takes nothing without closing the connection: see whether the receiver is alive.",
    ),
    Cause.UNKNOWN: (
        "FFmpeg ended",
        "See its last lines: streamctl logs ROUTE/OUTPUT.",
    ),
}
