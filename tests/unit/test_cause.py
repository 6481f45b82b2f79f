"""Why a process ended, from lines that FFmpeg 5.1 and 7.1 really wrote."""

from __future__ import annotations

import pytest

from streamd.plan.cause import Cause, Ending, Failure, classify, clean, is_noise, is_slow

EXITED, KILLED, DUMPED = 1, 2, 3

UNRESOLVED = """\
[tcp @ 0x561b5e350a80] [error] Failed to resolve hostname in.example: Temporary failure in name resolution
[rtmp @ 0x561b5e3549c0] [error] Cannot open connection tcp://in.example:1935?tcp_nodelay=0
[out#0/flv @ 0x561b5e350d00] [fatal] Error opening output rtmp://in.example:1935/live/x: Input/output error
[error] Error opening output file rtmp://in.example:1935/live/x.
[fatal] Error opening output files: Input/output error
"""

STRANGER = """\
[srt @ 0x5d] [error] processConnectRequest: ... rsp(REJECT): 1010 - Incorrect passphrase; ERROR:BADSECRET
[srt @ 0x5d] [verbose] accept streamid [], length 0
"""
"""What a listener tells of a caller with another passphrase, and then of one with its own."""

REAL: list[tuple[str, dict[str, object], Cause]] = [
    ("[tcp @ 0x5c] [error] Connection to tcp://192.0.2.2:1935 failed: Connection refused", {}, Cause.REFUSED),
    (
        UNRESOLVED,
        {},
        Cause.NAME_NOT_FOUND,
    ),
    ("[tcp @ 0x5c] [error] Failed to resolve hostname x.invalid: Name or service not known", {}, Cause.NAME_NOT_FOUND),
    (
        "[srt @ 0x5d] [error] Connection to srt://192.0.2.2:9000?mode=caller&pkt_size=1316 failed: Input/output error",
        {"kind": "srt"},
        Cause.UNREACHABLE,
    ),
    (
        "[srt @ 0x5d] [error] Connection setup failure: connection rejected; Incorrect passphrase; ERROR:BADSECRET",
        {"kind": "srt"},
        Cause.PASSPHRASE,
    ),
    ("[tcp @ 0x5c] [error] Connection attempt to 192.0.2.2 port 1935 failed: No route to host", {}, Cause.UNREACHABLE),
    ("[error] rtmp://192.0.2.2/live/x: Connection timed out", {}, Cause.UNREACHABLE),
    ("[rtmp @ 0x5c] [error] Server error: Already publishing", {}, Cause.REJECTED),
    ("[rtmp @ 0x5c] [error] Server error: Authorization failed.", {}, Cause.AUTHENTICATION),
    ("[rtsp @ 0x5c] [error] method ANNOUNCE failed: 401 Unauthorized", {"kind": "rtsp"}, Cause.AUTHENTICATION),
    ("[rtsp @ 0x5c] [error] method ANNOUNCE failed: 404 Not Found", {"kind": "rtsp"}, Cause.REJECTED),
    ("[tls @ 0x5c] [error] Unable to verify peer certificate: self-signed", {}, Cause.TLS),
    ("[flv @ 0x5c] [error] Video codec hevc not compatible with flv", {}, Cause.UNSUPPORTED),
    ("[fatal] Output file #0 does not contain any stream", {}, Cause.UNSUPPORTED),
    ("[flv @ 0x5c] [error] dimensions not set\n[fatal] Could not write header", {}, Cause.NO_KEY_FRAME),
    ("[flv @ 0x5c] [error] sample rate not set\n[fatal] Could not write header", {}, Cause.NO_AUDIO),
    ("[rtsp @ 0x5c] [warning] RTP: missed 452 packets", {"kind": "rtsp", "is_input": True}, Cause.UNKNOWN),
    ("[rtsp @ 0x5c] [error] method ANNOUNCE failed: 453 Not Enough Bandwidth", {"kind": "rtsp"}, Cause.REJECTED),
    ("[udp @ 0x5c] [error] av_interleaved_write_frame(): Permission denied", {"kind": "udp"}, Cause.UNREACHABLE),
    ("[error] /root/loop.ts: Permission denied", {"is_input": True, "kind": "file"}, Cause.NO_FILE),
    ("[udp @ 0x5c] [error] bind failed: Address already in use", {"is_input": True}, Cause.ADDRESS_IN_USE),
    ("[error] /srv/loop.ts: No such file or directory", {"is_input": True, "kind": "file"}, Cause.NO_FILE),
    ("[error] Error muxing a packet\n[error] Error closing file: Broken pipe", {"kind": "rtsp"}, Cause.CONNECTION_LOST),
    ("[error] Error closing file: Broken pipe", {"kind": "rtmp", "ran": 3_600_000_000}, Cause.CONNECTION_LOST),
    ("[error] Error closing file: Broken pipe", {"kind": "rtmp", "ran": 3_000_000}, Cause.CONNECTION_LOST),
    (
        "[error] Error closing file: Broken pipe",
        {"kind": "rtmp", "ran": 3_000_000, "before": Cause.CONNECTION_LOST},
        Cause.REJECTED,
    ),
    (
        "[error] Error closing file: Broken pipe",
        {"kind": "rtmp", "ran": 3_600_000_000, "before": Cause.REJECTED},
        Cause.CONNECTION_LOST,
    ),
    (
        "[out#0/fifo @ 0x55] [error] Task finished with error code: -5 (Input/output error)",
        {"kind": "srt", "listener": True},
        Cause.CALLER_LEFT,
    ),
    (f"{STRANGER}[error] srt://x: Input/output error", {"kind": "srt", "listener": True}, Cause.CALLER_LEFT),
    (STRANGER, {"kind": "srt"}, Cause.PASSPHRASE),
    ("[error] srt://x: Input/output error", {"kind": "srt", "is_input": True}, Cause.INPUT_LOST),
    ("[error] Cannot allocate memory", {}, Cause.OUT_OF_MEMORY),
    ("[error] something that nobody has seen before", {"kind": "rtmp"}, Cause.UNKNOWN),
]


def failure(lines: str = "", **more: object) -> Failure:
    known: dict[str, object] = {"result": "exit-code", "code": EXITED, "status": 1, "kind": "rtmp"}
    return classify(Ending(lines=tuple(lines.splitlines()), **{**known, **more}))  # type: ignore[arg-type]


@pytest.mark.parametrize(("lines", "more", "cause"), REAL)
def test_lines_tell(lines: str, more: dict[str, object], cause: Cause) -> None:
    found = failure(lines, **more)
    assert found.cause is cause
    assert found.sentence
    assert found.advice or cause is Cause.CALLER_LEFT


def test_the_line_that_says_most_is_shown_and_not_the_last() -> None:
    found = failure(UNRESOLVED)
    assert found.line == "Failed to resolve hostname in.example: Temporary failure in name resolution"


def test_the_kernels_verdict_counts_more_than_lines() -> None:
    assert failure("[error] Connection refused", result="oom-kill", code=KILLED, status=9).cause is Cause.OUT_OF_MEMORY


@pytest.mark.parametrize("code", [KILLED, DUMPED])
def test_a_signal_without_a_word_is_told_as_one(code: int) -> None:
    found = failure(code=code, status=11, result="signal")
    assert (found.cause, found.line) == (Cause.KILLED, "signal 11")


@pytest.mark.parametrize(
    ("status", "cause"),
    [(145, Cause.REFUSED), (146, Cause.UNREACHABLE), (155, Cause.UNREACHABLE), (224, Cause.CONNECTION_LOST)],
)
def test_ffmpeg_7_tells_by_its_status_where_there_is_no_line(status: int, cause: Cause) -> None:
    assert failure(status=status).cause is cause


def test_an_ending_without_a_fault_is_the_inputs() -> None:
    assert failure(status=0).cause is Cause.INPUT_LOST


def test_noise_is_not_a_cause() -> None:
    lines = (
        "[h264 @ 0x5] [error] non-existing PPS 0 referenced\n[h264 @ 0x5] [error] no frame!\n[info] Conversion failed!"
    )
    assert all(is_noise(line) for line in lines.splitlines())
    found = failure(lines)
    assert (found.cause, found.line) == (Cause.UNKNOWN, "")


def test_secrets_are_not_shown() -> None:
    assert "geheim" not in clean("[error] rtsp://me:geheim@nvr.example/live: 454 Session Not Found")
    assert "geheim" not in clean("[srt @ 0x5] [error] Connection to srt://h:1?passphrase=geheim failed: x")
    assert clean("[rtmp @ 0x55d0] [error] Server error: x") == "Server error: x"


def test_only_what_the_far_end_says_no_to_is_slow() -> None:
    assert {cause for cause in Cause if is_slow(cause)} == {
        Cause.AUTHENTICATION,
        Cause.REJECTED,
        Cause.PASSPHRASE,
        Cause.TLS,
    }
