"""The calls that a fuzzer found worth keeping, again, and a few new ones."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from streamd.bus.connection import Message
from tests.fuzz.bus import Generator, Target, marshal, read_message
from tests.fuzz.corpus import read_corpus
from tests.fuzz.mutate import Mutator
from tests.fuzz.routes import BrokenError

CORPUS = read_corpus("bus")
FRESH = 400


@pytest.fixture
def target() -> Iterator[Target]:
    target = Target()
    target.open()
    yield target
    target.close()


def test_every_call_of_the_corpus_is_answered(target: Target) -> None:
    assert len(CORPUS) > 50
    for case in CORPUS:
        target.check(case)


def test_some_new_calls_are_answered(target: Target) -> None:
    dice = Random(1)
    mutator = Mutator(dice)
    shown = set()
    for _ in range(FRESH):
        shown |= target.check(target.mutated(dice.choice(CORPUS), mutator, CORPUS, dice))
    assert len(shown) > 20


def test_calls_are_made_again_from_what_is_kept_of_them() -> None:
    generator = Generator(Random(3))
    read = 0
    for _ in range(200):
        message = generator.message()
        again = read_message(marshal(message))
        if again is not None:
            read += 1
            assert (again.path, again.member, again.signature) == (message.path, message.member, message.signature)
    assert read > 150


def test_a_service_that_fails_on_a_call_is_noticed(target: Target) -> None:
    stage = target._stage
    assert stage is not None
    stage.control.error = ZeroDivisionError()
    call = Message(
        destination="org.streamd1",
        path="/org/streamd1",
        interface="org.streamd1.Manager",
        member="Reload",
        signature="a{sv}",
        body=[{}],
        serial=1,
    )
    with pytest.raises(BrokenError, match="streamd failed"):
        target.check(marshal(call))
