"""Cutting a byte stream into messages, whatever arrives."""

from __future__ import annotations

import random

import pytest

from streamd.bus.connection import Message, MessageType, Variant
from streamd.bus.transport import BoundedCache, Reader, marshal


def call(serial: int, *body: str) -> Message:
    return Message(path="/a", interface="a.b", member="C", signature="s" * len(body), body=list(body), serial=serial)


@pytest.mark.parametrize("seed", range(5))
def test_messages_may_arrive_in_any_pieces(seed: int) -> None:
    dice = random.Random(seed)
    stream = b"".join(marshal(call(n, "x" * dice.randrange(100))) for n in range(1, 50))
    reader = Reader()
    got = []
    while stream:
        size = dice.randrange(1, 200)
        got += reader.feed(stream[:size])
        stream = stream[size:]
    assert [message.serial for message, _size in got] == list(range(1, 50))


@pytest.mark.parametrize("piece", [13, 1000, 65536, 10_000_000])
def test_an_oversized_call_loses_its_body_and_nothing_else(piece: int) -> None:
    large = marshal(call(1, "x" * 300_000))
    stream = large + marshal(call(2, "y"))
    reader = Reader()
    got = []
    for start in range(0, len(stream), piece):
        got += reader.feed(stream[start : start + piece])
        assert len(reader._buffer) <= 2 * 65536 or piece > 65536
    assert [(message.serial, message.signature, message.body) for message, _size in got] == [
        (1, "s", []),
        (2, "s", ["y"]),
    ]


def test_a_large_reply_is_kept() -> None:
    reply = Message(
        message_type=MessageType.METHOD_RETURN, reply_serial=7, signature="s", body=["x" * 300_000], serial=1
    )
    ((message, size),) = Reader().feed(marshal(reply))
    assert message.body == ["x" * 300_000]
    assert size > 300_000


@pytest.mark.parametrize("seed", range(200))
def test_a_damaged_message_does_not_take_the_next_with_it(seed: int) -> None:
    dice = random.Random(seed)
    body = {"a": Variant("s", "text"), "b": Variant("ai", [1, 2, 3])}
    message = Message(path="/a", interface="a.b", member="C", signature="sa{sv}", body=["x", body], serial=1)
    data = bytearray(marshal(message))
    # The bus checks the lengths that frame a message; all else may be odd.
    for _ in range(dice.randrange(1, 6)):
        position = dice.choice([1, 2, 3, *range(16, len(data))])
        data[position] = dice.randrange(256)
    got = Reader().feed(bytes(data) + marshal(call(2)))
    assert got[-1][0].serial == 2


def test_the_cache_of_signatures_does_not_grow_without_end() -> None:
    cache = BoundedCache()
    for number in range(5000):
        cache[str(number)] = number
    assert len(cache) <= 1001
    assert cache["4999"] == 4999
