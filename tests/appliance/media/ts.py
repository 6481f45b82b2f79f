"""MPEG transport stream packets and tables (ISO/IEC 13818-1), as far as the tests need them."""

from __future__ import annotations

from collections.abc import Iterator

PACKET = 188
NULL_PID = 0x1FFF
PAT_PID = 0
PRIVATE_PID = 0x1F0
SCTE35_PID = 0x1F5
NULL_PACKET = bytes([0x47, 0x1F, 0xFF, 0x10]) + b"\xff" * 184
WRAP = 1 << 33
"""Time stamps count 90 kHz in 33 bits."""


def pid_of(packet: bytes | bytearray | memoryview, at: int = 0) -> int:
    """Return the PID of the packet that begins at `at`."""
    return (packet[at + 1] & 0x1F) << 8 | packet[at + 2]


def has_payload(packet: bytes | bytearray, at: int = 0) -> bool:
    """Tell whether the packet carries payload, and so moves its PID's continuity counter."""
    return bool(packet[at + 3] & 0x10)


def payload_offset(packet: bytes | bytearray, at: int = 0) -> int:
    """Return where the payload begins, counted from the packet's first byte; 188 where there is none."""
    if not has_payload(packet, at):
        return PACKET
    return 5 + packet[at + 4] if packet[at + 3] & 0x20 else 4


def starts_unit(packet: bytes | bytearray, at: int = 0) -> bool:
    """Tell whether a PES packet or a section begins in this packet."""
    return bool(packet[at + 1] & 0x40)


def crc32(data: bytes) -> int:
    """Return the CRC of MPEG-2 sections."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x104C11DB7 if crc & 0x80000000 else 0)
    return crc


def with_crc(section: bytes) -> bytes:
    """Return the section with its CRC appended."""
    return section + crc32(section).to_bytes(4, "big")


def section_packet(pid: int, section: bytes, counter: int) -> bytes:
    """Return the one packet that holds a whole section."""
    head = bytes([0x47, 0x40 | pid >> 8, pid & 0xFF, 0x10 | counter & 0xF, 0])
    body = head + section
    if len(body) > PACKET:
        raise ValueError(f"the section does not fit one packet: {len(section)} bytes")
    return body.ljust(PACKET, b"\xff")


def section_of(packet: bytes | bytearray) -> bytes:
    """Return the section that begins in a packet and must end in it."""
    begin = payload_offset(packet) + 1 + packet[payload_offset(packet)]
    length = (packet[begin + 1] & 0x0F) << 8 | packet[begin + 2]
    return bytes(packet[begin : begin + 3 + length])


def read_pcr(data: bytes | bytearray, at: int) -> int:
    """Return the clock reference (27 MHz) whose six bytes begin at `at`."""
    value = int.from_bytes(data[at : at + 6], "big")
    return (value >> 15) * 300 + (value & 0x1FF)


def write_pcr(data: bytearray, at: int, value: int) -> None:
    base, extension = divmod(value, 300)
    data[at : at + 6] = (base % WRAP << 15 | 0x3F << 9 | extension).to_bytes(6, "big")


def read_stamp(data: bytes | bytearray, at: int) -> int:
    """Return the PTS or DTS (90 kHz) whose five bytes begin at `at`."""
    return (
        (data[at] >> 1 & 7) << 30
        | data[at + 1] << 22
        | (data[at + 2] >> 1) << 15
        | data[at + 3] << 7
        | data[at + 4] >> 1
    )


def write_stamp(data: bytearray, at: int, value: int) -> None:
    value %= WRAP
    data[at] = data[at] & 0xF0 | (value >> 30 & 7) << 1 | 1
    data[at + 1] = value >> 22 & 0xFF
    data[at + 2] = (value >> 15 & 0x7F) << 1 | 1
    data[at + 3] = value >> 7 & 0xFF
    data[at + 4] = (value & 0x7F) << 1 | 1


def pcr_at(data: bytes | bytearray, at: int) -> int | None:
    """Return where the clock reference of the packet at `at` stands, if it has one."""
    if data[at + 3] & 0x20 and data[at + 4] >= 7 and data[at + 5] & 0x10:
        return at + 6
    return None


def stamps_at(data: bytes | bytearray, at: int) -> Iterator[int]:
    """Yield where the PTS and DTS of the packet at `at` stand, if a PES packet with them begins there."""
    if not starts_unit(data, at):
        return
    pes = at + payload_offset(data, at)
    if pes + 14 > at + PACKET or bytes(data[pes : pes + 3]) != b"\0\0\1":
        return
    stream = data[pes + 3]
    if not (0xC0 <= stream <= 0xEF or stream == 0xBD):
        return
    if data[pes + 7] & 0x80:
        yield pes + 9
    if data[pes + 7] & 0xC0 == 0xC0:
        yield pes + 14
