"""Counting what is wrong with a transport stream, compared with a slow reading of the standard."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import pairwise

import pytest

from streamd.plan.continuity import PACKET, Scan, Tally
from tests.appliance.media import ts

NULL = ts.NULL_PACKET


def packet(
    pid: int, counter: int, *, payload: bool = True, discontinuity: bool | None = None, damaged: bool = False
) -> bytes:
    """Return a packet; with `discontinuity`, or without payload, it has an adaptation field."""
    adapted = not payload or discontinuity is not None
    head = bytes([0x47, damaged << 7 | pid >> 8, pid & 0xFF, adapted << 5 | payload << 4 | counter & 15])
    field = bytes([183 if not payload else 1, 0x80 if discontinuity else 0]) if adapted else b""
    return (head + field).ljust(PACKET, b"\x11")


def scan(data: bytes, pieces: Iterable[int] = ()) -> Tally:
    """Return the tally of the data, fed in pieces that end at these places."""
    found = Scan()
    begin = 0
    for end in (*sorted(pieces), len(data)):
        found.feed(data[begin:end])
        begin = end
    return found.tally


def reference(data: bytes) -> Tally:
    """Return the same, by a reading of the standard that keeps what it saw and knows no short cuts."""
    packets, losses, stray = frames(data)
    good = [one for one in packets if not one[1] & 0x80]
    by_pid: dict[int, list[list[bytes]]] = {}
    for one in packets:
        stretches = by_pid.setdefault((one[1] & 0x1F) << 8 | one[2], [[]])
        if one[1] & 0x80:
            # What is damaged says nothing: after it the counter begins anew.
            stretches.append([])
        else:
            stretches[-1].append(one)
    by_pid.pop(0x1FFF, None)
    return Tally(
        packets=len(packets),
        continuity_errors=sum(counter_errors(stretch) for stretches in by_pid.values() for stretch in stretches),
        damaged=len(packets) - len(good),
        sync_losses=losses,
        stray=stray,
    )


def frames(data: bytes) -> tuple[list[bytes], int, int]:
    """Return the packets, how often there was none where one was due, and how many bytes belong to none."""
    packets: list[bytes] = []
    losses = stray = skipped = at = 0
    locked = False
    while at + (PACKET if locked else PACKET + 1) <= len(data) or (not locked and data[at : at + 1] not in (b"", b"G")):
        if data[at] == 0x47 and (locked or data[at + PACKET] == 0x47):
            locked = True
            packets.append(data[at : at + PACKET])
            at += PACKET
        elif locked:
            locked = False
            losses += 1
        else:
            at += 1
            skipped += 1
            if packets:
                stray += 1
            elif skipped >= PACKET:
                # Fewer are the end of a packet whose begin came too early for whoever looks.
                losses, stray = 1, skipped
    return packets, losses, stray


def counter_errors(packets: list[bytes]) -> int:
    """Return how many packets of one PID have not the counter that they should have."""
    errors = 0
    twins = False
    for before, one in pairwise(packets):
        last, counter = before[3] & 15, one[3] & 15
        if one[3] & 0x20 and one[4] and one[5] & 0x80:
            twins = False
        elif not one[3] & 0x10:
            errors += counter != last
            twins = False
        elif counter == last and before[3] & 0x10 and not twins:
            # "two, and only two, consecutive packets of the same PID", and the original has payload.
            twins = True
        else:
            errors += counter != (last + 1) % 16
            twins = False
    return errors


def test_a_counter_goes_round() -> None:
    data = b"".join(packet(33, counter) for counter in range(40))
    assert scan(data) == Tally(packets=40)


@pytest.mark.parametrize(
    ("what", "packets", "errors"),
    [
        ("one is missing", [packet(33, 0), packet(33, 2), packet(33, 3)], 1),
        ("two came in the wrong order", [packet(33, 0), packet(33, 2), packet(33, 1), packet(33, 3)], 3),
        ("a duplicate", [packet(33, 0), packet(33, 1), packet(33, 1), packet(33, 2)], 0),
        ("three of the same", [packet(33, 1), packet(33, 1), packet(33, 1), packet(33, 2)], 1),
        ("a duplicate in every round", [packet(33, n // 2) for n in range(64)], 0),
        ("without payload it stands still", [packet(33, 0), packet(33, 0, payload=False), packet(33, 1)], 0),
        ("without payload it went on", [packet(33, 0), packet(33, 1, payload=False), packet(33, 2)], 1),
        ("many without payload", [packet(33, 5, payload=False)] * 5 + [packet(33, 6)], 0),
        ("without payload it is no original", [packet(33, 5, payload=False), packet(33, 5)], 1),
        ("a jump that is announced", [packet(33, 0), packet(33, 9, discontinuity=True), packet(33, 10)], 0),
        ("an adaptation field that announces none", [packet(33, 0), packet(33, 9, discontinuity=False)], 1),
        ("null packets have no counter", [packet(33, 0), NULL, NULL, packet(0x1FFF, 7), packet(33, 1)], 0),
        ("each PID has its own", [packet(33, 0), packet(34, 9), packet(33, 1), packet(34, 10)], 0),
    ],
)
def test_continuity(what: str, packets: list[bytes], errors: int) -> None:
    data = b"".join(packets)
    assert scan(data).continuity_errors == errors, what
    assert reference(data).continuity_errors == errors, what


def test_a_damaged_packet_is_counted_once() -> None:
    data = b"".join([packet(33, 0), packet(33, 1), packet(33, 12, damaged=True), packet(33, 3), packet(33, 4)])
    assert scan(data) == Tally(packets=5, damaged=1)


def test_an_adaptation_field_without_flags_announces_nothing() -> None:
    stuffed = bytes([0x47, 0, 33, 0x39, 0]).ljust(PACKET, b"\xff")
    assert scan(packet(33, 0) + stuffed).continuity_errors == 1


def test_bytes_between_packets_are_counted_and_the_counters_go_on() -> None:
    whole = [packet(33, counter) for counter in range(8)]
    data = b"".join(whole[:4]) + b"rtp-header!!" + b"".join(whole[4:])
    assert scan(data) == Tally(packets=8, sync_losses=1, stray=12)


def test_a_stream_that_is_joined_in_the_midst_of_a_packet_is_whole() -> None:
    data = b"".join(packet(33, counter) for counter in range(8))[100:]
    assert scan(data) == Tally(packets=7)


def test_what_is_no_transport_stream_has_no_packets() -> None:
    assert scan(b"FLV\x01" * 500) == Tally(sync_losses=1, stray=2000)
    assert not scan(b"FLV\x01" * 500).is_clean


def test_tallies_add_up() -> None:
    one = Tally(packets=1, continuity_errors=2, damaged=3, sync_losses=4, stray=5)
    assert one + one == Tally(packets=2, continuity_errors=4, damaged=6, sync_losses=8, stray=10)


def broken(rng: random.Random) -> bytes:
    """Return packets of a few PIDs with everything wrong that can be, here and there."""
    return b"".join(_broken(rng, rng.choice((0.0, 0.02, 0.3))))


def _broken(rng: random.Random, chance: float) -> Iterator[bytes]:
    counters = dict.fromkeys((0, 33, 34, 0x1F5), 15)
    if rng.random() < 0.3:
        yield packet(33, 0)[rng.randrange(188) :]
    for _ in range(rng.randrange(120)):
        pid = rng.choice(list(counters))
        has_payload = rng.random() < 0.9
        counters[pid] += has_payload
        announced = None
        if rng.random() < chance:
            counters[pid] += rng.randrange(16)
            announced = rng.choice((None, True, False))
        made = packet(
            pid, counters[pid], payload=has_payload, discontinuity=announced, damaged=rng.random() < chance / 3
        )
        if rng.random() >= chance / 3:
            yield made
        while rng.random() < chance:
            yield made
        if rng.random() < 0.2:
            yield NULL
        if rng.random() < chance / 4:
            yield rng.randbytes(rng.randrange(400))


@pytest.mark.parametrize("seed", range(20))
def test_it_agrees_with_the_slow_reading_however_the_bytes_are_cut(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(50):
        data = broken(rng)
        pieces = [rng.randrange(len(data) + 1) for _ in range(rng.randrange(6))]
        assert scan(data) == reference(data)
        assert scan(data, pieces) == reference(data)
