"""Makes the transport stream of the tests: what FFmpeg can mux, and what it cannot."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.appliance.media import ts

BASE_RATE = 4_285_714
"""bit/s: six of the seven packets of a 5 Mbit/s datagram; the seventh is the sender's own."""
SECONDS = 64
"""Whole frames of both picture (1600) and sound (3000), so that the stream can go round without a seam."""
PACKETS_IN_DATAGRAM = 6

_SPLICE_NULL = bytes.fromhex("fc301100000000000000fffff00000000000")
"""A splice_info_section without its CRC: splice_null, no descriptors."""


def make_stream(path: Path) -> Path:
    """Write the stream to `path`, unless it is there, and return the path. Takes some ten seconds of a processor."""
    if not path.exists():
        base = path.with_name(f".{path.name}.base")
        new = path.with_name(f".{path.name}.new")
        try:
            _encode(base)
            new.write_bytes(enrich(base.read_bytes()))
            os.replace(new, path)
        finally:
            base.unlink(missing_ok=True)
            new.unlink(missing_ok=True)
    return path


def _encode(path: Path) -> None:
    argv = [
        *("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y"),
        *("-f", "lavfi", "-i", f"testsrc2=size=640x360:rate=25:duration={SECONDS}"),
        *("-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=48000:duration={SECONDS}"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "25"),
        *("-b:v", "3400k", "-minrate", "3400k", "-maxrate", "3400k", "-bufsize", "1700k", "-nal-hrd", "cbr"),
        *("-c:a", "aac", "-b:a", "128k", "-ac", "2"),
        *("-f", "mpegts", "-muxrate", str(BASE_RATE), "-pcr_period", "30", os.fspath(path)),
    ]
    subprocess.run(argv, check=True, timeout=300, stdin=subprocess.DEVNULL)


def enrich(base: bytes) -> bytes:
    """Return FFmpeg's stream with a private PID and SCTE-35 announced, and splice messages in the place of nulls."""
    packets = [bytearray(base[at : at + ts.PACKET]) for at in range(0, len(base), ts.PACKET)]
    pmt_pid = 0
    since_splice = 0
    splices = 0
    due = BASE_RATE // (8 * ts.PACKET)  # one a second
    for number, packet in enumerate(packets):
        pid = ts.pid_of(packet)
        since_splice += 1
        if pid == ts.PAT_PID:
            section = ts.section_of(packet)
            pmt_pid = (section[10] & 0x1F) << 8 | section[11]
        elif pid == pmt_pid:
            packets[number] = bytearray(ts.section_packet(pid, _announce(ts.section_of(packet)), packet[3]))
        elif pid == ts.NULL_PID and since_splice >= due:
            section = ts.with_crc(_SPLICE_NULL) if splices % 10 else splice_insert(splices)
            packets[number] = bytearray(ts.section_packet(ts.SCTE35_PID, section, splices))
            splices += 1
            since_splice = 0
    # Where it goes round, the clock must be as long as the programme, in whole datagrams.
    least = -(-SECONDS * BASE_RATE // (8 * ts.PACKET))
    missing = max(0, least - len(packets))
    missing += -(len(packets) + missing) % PACKETS_IN_DATAGRAM
    return b"".join(packets) + ts.NULL_PACKET * missing


def _announce(pmt: bytes) -> bytes:
    """Return the programme's map with the registration CUEI and two more streams."""
    info_length = (pmt[10] & 0x0F) << 8 | pmt[11]
    info = pmt[12 : 12 + info_length] + bytes([0x05, 4]) + b"CUEI"
    streams = pmt[12 + info_length : -4]
    streams += bytes([0x06, 0xE0 | ts.PRIVATE_PID >> 8, ts.PRIVATE_PID & 0xFF, 0xF0, 0])
    streams += bytes([0x86, 0xE0 | ts.SCTE35_PID >> 8, ts.SCTE35_PID & 0xFF, 0xF0, 0])
    body = pmt[3:10] + (0xF000 | len(info)).to_bytes(2, "big") + info + streams
    return ts.with_crc(pmt[:1] + (0xB000 | len(body) + 4).to_bytes(2, "big") + body)


def splice_insert(event: int) -> bytes:
    """Return a section that asks for an immediate splice out of the network (SCTE 35, 9.7.3)."""
    command = event.to_bytes(4, "big") + bytes([0x7F, 0xDF]) + bytes.fromhex("0001 00 00")
    body = bytes.fromhex("00 00 00000000 00") + (0xFFF000 | len(command)).to_bytes(3, "big")
    body += bytes([0x05]) + command + b"\0\0"
    return ts.with_crc(bytes([0xFC]) + (0x3000 | len(body) + 4).to_bytes(2, "big") + body)
