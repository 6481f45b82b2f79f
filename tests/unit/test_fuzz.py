"""What a fuzzer found, again; a few new inputs each time, and proof that it would notice."""

from __future__ import annotations

import re
from random import Random

import pytest

from tests.fuzz.corpus import FOLDER, Pool, read_corpus
from tests.fuzz.mutate import Mutator
from tests.fuzz.routes import BrokenError, Target

CORPUS = read_corpus("routes")
FRESH = 150
MOST_BYTES = 200_000
"""Of the corpus of all targets."""


@pytest.fixture(scope="module")
def target() -> Target:
    return Target()


def test_the_corpus_is_there_and_small() -> None:
    assert len(CORPUS) > 100
    assert sum(path.stat().st_size for path in FOLDER.rglob("*.case")) < MOST_BYTES


def test_every_case_of_the_corpus_holds(target: Target) -> None:
    for case in CORPUS:
        target.check(case)


def test_some_new_cases_hold(target: Target) -> None:
    dice = Random(1)
    mutator = Mutator(dice)
    for _ in range(FRESH):
        target.check(target.mutated(dice.choice(CORPUS), mutator, CORPUS, dice))


def test_the_same_seed_makes_the_same_cases(target: Target) -> None:
    def cases() -> list[bytes]:
        dice = Random(2)
        return [target.mutated(dice.choice(CORPUS), Mutator(dice), CORPUS, dice) for _ in range(20)]

    assert cases() == cases()
    assert len(set(cases())) > 15


@pytest.mark.parametrize(
    ("where", "name", "value", "what"),
    [
        ("tests.fuzz.routes", "REMEDY", re.compile("never"), "no remedy"),
        ("tests.fuzz.routes", "SLOWEST", -1.0, "took"),
        ("tests.fuzz.routes", "render_cat", lambda _file: "\x1b[2J", "terminal"),
        ("tests.fuzz.routes", "render_data", lambda _data: "x = 1\n", "says something else"),
        ("streamd.route.parse", "parse_hooks", lambda _table: 1 / 0, "division"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_hold_is_noticed(
    monkeypatch: pytest.MonkeyPatch, where: str, name: str, value: object, what: str
) -> None:
    monkeypatch.setattr(f"{where}.{name}", value)
    with pytest.raises((BrokenError, ZeroDivisionError), match=what):
        all(map(Target().check, CORPUS))


def test_the_pool_keeps_the_shortest_case_of_everything() -> None:
    pool = Pool()
    assert pool.take(b"long one", {"a", "b"}) == {"a", "b"}
    assert pool.take(b"short", {"a"}) == {"a"}
    assert not pool.take(b"longer one", {"a", "b"})
    assert pool.cases() == [b"long one", b"short"]
