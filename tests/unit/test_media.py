"""The stream of the appliance tests and its count, without FFmpeg."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamd.plan.continuity import Scan, Tally
from tests.appliance.media import ts, tsmux
from tests.appliance.media.count import Checker
from tests.appliance.media.stream import DATAGRAM, Stream, index_of, same, time_of

PROGRAMME = 0x1000
PICTURE = 0x100


def pes_packet(counter: int, stamp: int) -> bytes:
    """Return a packet with a clock reference and the begin of a PES packet that has a PTS."""
    adaptation = bytearray(8)
    adaptation[0:2] = b"\x07\x10"
    ts.write_pcr(adaptation, 2, stamp * 300)
    pes = bytearray(b"\0\0\1\xe0\0\0\x80\x80\x05\x20\0\0\0\0")
    ts.write_stamp(pes, 9, stamp)
    head = bytes([0x47, 0x40 | PICTURE >> 8, PICTURE & 0xFF, 0x30 | counter & 0xF])
    return (head + adaptation + pes).ljust(ts.PACKET, b"\x11")


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    pat = ts.section_packet(0, ts.with_crc(bytes.fromhex("00b00d0001c100000001") + b"\xf0\x00"), 0)
    pmt_section = bytes.fromhex("02b0120001c10000e100f0001be100f000")
    pmt = ts.section_packet(PROGRAMME, ts.with_crc(pmt_section), 0)
    base = pat + pmt + b"".join(pes_packet(n, 3600 * n) + ts.NULL_PACKET for n in range(1600))
    path = tmp_path / "stream.ts"
    path.write_bytes(tsmux.enrich(base))
    return Stream(path)


def packets(datagram: bytes) -> list[bytes]:
    return [datagram[at : at + ts.PACKET] for at in range(0, len(datagram), ts.PACKET)]


def test_the_crc_is_that_of_mpeg() -> None:
    assert ts.crc32(b"123456789") == 0x0376E6E7
    assert ts.crc32(tsmux.splice_insert(1)) == 0


@pytest.mark.parametrize("value", [0, 1, 299, 300, 27_000_000 * 3600, (ts.WRAP - 1) * 300 + 299])
def test_clock_references_survive(value: int) -> None:
    data = bytearray(6)
    ts.write_pcr(data, 0, value)
    assert ts.read_pcr(data, 0) == value


@pytest.mark.parametrize("value", [0, 1, 90_000, ts.WRAP - 1])
def test_time_stamps_survive(value: int) -> None:
    data = bytearray(b"\x21\0\0\0\0")
    ts.write_stamp(data, 0, value)
    assert ts.read_stamp(data, 0) == value
    assert data[0] >> 4 == 2


def test_datagrams_have_their_size_index_and_time(stream: Stream) -> None:
    for index in (0, 1, 5, len(stream), 10**6):
        plain = stream.datagram(index)
        stamped = stream.datagram(index, 123456789)
        assert len(plain) == len(stamped) == DATAGRAM
        assert all(packet[0] == 0x47 for packet in packets(stamped))
        assert index_of(stamped) == index
        assert time_of(stamped) == 123456789
        assert same(plain, stamped)
        assert not same(stamped, stream.datagram(index + 1))
    assert not same(plain, plain[:-1] + b"?")


def test_the_programme_announces_what_was_added(stream: Stream) -> None:
    found = [packet for packet in packets(stream.datagram(0)) if ts.pid_of(packet) == PROGRAMME]
    section = ts.section_of(found[0])
    assert ts.crc32(section) == 0
    assert b"\x05\x04CUEI" in section
    assert bytes([0x86, 0xE0 | ts.SCTE35_PID >> 8, ts.SCTE35_PID & 0xFF]) in section
    assert bytes([0x06, 0xE0 | ts.PRIVATE_PID >> 8, ts.PRIVATE_PID & 0xFF]) in section


def test_counters_and_clocks_go_on_where_it_goes_round(stream: Stream) -> None:
    counters: dict[int, int] = {}
    clocks: list[int] = []
    splices = 0
    for index in range(2 * len(stream) + 50):
        for packet in packets(stream.datagram(index)):
            pid = ts.pid_of(packet)
            if pid == ts.NULL_PID:
                continue
            if pid in counters:
                assert packet[3] & 0xF == (counters[pid] + ts.has_payload(packet)) & 0xF
            counters[pid] = packet[3] & 0xF
            at = ts.pcr_at(packet, 0)
            if at is not None:
                clocks.append(ts.read_pcr(packet, at))
            if pid == ts.SCTE35_PID:
                assert ts.crc32(ts.section_of(packet)) == 0
                splices += 1
    assert clocks == sorted(set(clocks))
    assert splices >= 2


def test_continuity_is_kept_round_after_round_and_a_missing_datagram_breaks_it(stream: Stream) -> None:
    whole, broken = Scan(), Scan()
    for index in range(3 * len(stream)):
        whole.feed(stream.datagram(index))
        if index != 100:
            broken.feed(stream.datagram(index))
    assert whole.tally == Tally(packets=7 * 3 * len(stream))
    # Of the private PID and of the picture's.
    assert broken.tally.continuity_errors == 2


def test_a_checker_counts_what_is_wrong(stream: Stream) -> None:
    checker = Checker(stream)
    for now, index in enumerate([0, 1, 2, 5, 4, 6]):
        checker.take(stream.datagram(index, 10**9), float(now))
    checker.take(stream.datagram(7)[:-1], 6.0)
    checker.take(b"", 6.5)
    count = checker.count
    assert (count.packets, count.missing, count.repeated, count.corrupt) == (5, 2, 1, 2)
    assert (count.first, count.last, count.gaps) == (0, 6, [[2, 5]])
    assert (count.first_age, count.age, count.longest_silence) == (-1.0, 4.0, 2.0)
    assert not count.intact


def test_a_reset_does_not_hide_a_gap_and_a_restart_is_none(stream: Stream) -> None:
    checker = Checker(stream)
    checker.take(stream.datagram(9000, 1), 1.0)
    checker.reset()
    checker.take(stream.datagram(9002, 1), 2.0)
    assert checker.count.missing == 1
    checker.reset()
    checker.take(stream.datagram(0, 1), 3.0)
    checker.take(stream.datagram(1, 1), 4.0)
    assert checker.count.intact
    assert checker.count.restarts == 1
