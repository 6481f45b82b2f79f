"""Samples of a group on the loopback interface, and the kernel's counts of what it threw away."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from streamd.host import sampler, sockets
from streamd.host.sampler import MOST, sample
from streamd.plan.continuity import Tally
from tests.unit.test_continuity import packet

GROUP, PORT = "239.255.77.1", 20077


@contextmanager
def sender() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        handle.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        handle.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        handle.connect((GROUP, PORT))
        yield handle


@contextmanager
def reader() -> Iterator[socket.socket]:
    """Open another reader of the group, as an output is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as handle:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        handle.bind((GROUP, PORT))
        membership = socket.inet_aton(GROUP) + socket.inet_aton("127.0.0.1")
        handle.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        yield handle


def datagrams() -> Iterator[bytes]:
    counter = itertools.count()
    while True:
        yield b"".join(packet(33, next(counter)) for _ in range(7))


def count(handle: socket.socket) -> int:
    found = 0
    while True:
        try:
            handle.recv(2048)
        except BlockingIOError:
            return found
        found += 1


async def sampled_while(*bursts: tuple[socket.socket, list[bytes]]) -> Tally | None:
    """Return a sample in which each burst is sent at once, one after the other, when somebody listens."""
    task = asyncio.create_task(sample(GROUP, PORT))
    await asyncio.sleep(0)
    for handle, data in bursts:
        for one in data:
            handle.send(one)
    return await task


def taken(number: int) -> list[bytes]:
    return list(itertools.islice(datagrams(), number))


def test_a_silent_group_gives_no_sample() -> None:
    assert asyncio.run(sample(GROUP, PORT)) is None


def test_a_sample_counts_packets_and_errors() -> None:
    data = taken(100)
    with sender() as handle:
        assert asyncio.run(sampled_while((handle, data))) == Tally(packets=700)
        del data[50:53]
        assert asyncio.run(sampled_while((handle, data))) == Tally(packets=679, continuity_errors=1)


def test_a_sample_is_bounded_and_ends_early_then() -> None:
    began = time.monotonic()
    with sender() as handle:
        found = asyncio.run(sampled_while((handle, taken(MOST + 200))))
    assert found == Tally(packets=7 * MOST)
    assert time.monotonic() - began < 0.9


def test_it_takes_nothing_from_others() -> None:
    with sender() as handle, reader() as other:
        asyncio.run(sampled_while((handle, taken(MOST + 200))))
        assert count(other) == MOST + 200


def test_what_did_not_fit_its_own_buffer_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "_BUFFER", 32 << 10)
    with sender() as handle:

        async def flooded() -> Tally | None:
            task = asyncio.create_task(sample(GROUP, PORT))
            await asyncio.sleep(0)
            stream = datagrams()
            for _ in range(5):
                for one in itertools.islice(stream, 80):
                    handle.send(one)
                await asyncio.sleep(0.21)
            return await task

        found = asyncio.run(flooded())
    assert found is not None
    assert found.is_clean
    assert 0 < found.packets < 7 * 80


def test_another_sender_ends_the_sample() -> None:
    with sender() as one, sender() as other:
        found = asyncio.run(sampled_while((one, taken(10)), (other, taken(25))))
    assert found == Tally(packets=70)


def test_the_kernel_tells_what_it_dropped_and_in_which_group() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as full, sender() as handle:
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        full.bind(("127.0.0.1", 0))
        before = sum(sockets.dropped().values())
        for _ in range(500):
            handle.sendto(bytes(1316), full.getsockname())
        assert sum(sockets.dropped().values()) - before >= 490


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value.ljust(-(-len(value) // 4) * 4, b"\0")


def message(kind: int, *attributes: bytes) -> bytes:
    body = bytes(72) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body


def memory(drops: int) -> bytes:
    return attribute(7, struct.pack("=9I", 0, 212992, 0, 212992, 0, 0, 0, 0, drops))


def test_sockets_of_one_group_are_added_up() -> None:
    found: Counter[int] = Counter()
    group = attribute(21, struct.pack("=Q", 4711))
    part = message(20, attribute(8, b"\0"), group, memory(3)) + message(20, memory(4), group) + message(20, memory(9))
    assert not sockets.parse(part, found)
    assert sockets.parse(message(20, memory(1), attribute(21, struct.pack("=Q", 1))) + message(3), found)
    assert found == {4711: 7, 1: 1}


def test_a_kernel_that_does_not_know_the_question_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        sockets.parse(struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -2) + bytes(16), Counter())
