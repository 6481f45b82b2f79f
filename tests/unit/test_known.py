"""What systemd told of a unit holds until the unit changes, however late that is heard of."""

from __future__ import annotations

from streamd.plan.known import Known
from streamd.plan.observed import Details, ObservedUnit
from streamd.plan.status import UnitStatus

A = ObservedUnit(name="a")
B = ObservedUnit(name="b")


def told(name: str, pid: int = 7) -> Details:
    return Details(status=UnitStatus(unit=name, pid=pid), active_since=pid)


def names(units: list[ObservedUnit]) -> list[str]:
    return [unit.name for unit in units]


def test_what_is_known_is_not_asked_for_again() -> None:
    known = Known()
    assert names(known.missing([A, B])) == ["a", "b"]
    assert known.learn({"a": told("a"), "b": told("b")}) == {"a": told("a"), "b": told("b")}
    assert known.missing([A, B]) == []
    assert known.learn({}) == {"a": told("a"), "b": told("b")}


def test_what_changed_is_asked_for_again() -> None:
    known = Known()
    known.missing([A, B])
    known.learn({"a": told("a"), "b": told("b")})
    known.changed("a")
    assert names(known.missing([A, B])) == ["a"]
    assert known.learn({"a": told("a", 8)}) == {"a": told("a", 8), "b": told("b")}


def test_what_changes_while_it_is_asked_for_is_good_for_once() -> None:
    known = Known()
    known.missing([A])
    known.changed("a")
    assert known.learn({"a": told("a")}) == {"a": told("a")}
    assert names(known.missing([A])) == ["a"]


def test_a_list_older_than_the_answers_does_not_last() -> None:
    """A unit restarted from outside: listed as it ends, its start heard of, then asked for as one that is ending."""
    known = Known()
    ending = ObservedUnit(name="a", active="deactivating", sub="stop-sigterm")
    known.changed("a")
    assert names(known.missing([ending])) == ["a"]
    known.learn({"a": Details(status=UnitStatus(unit="a", pid=8))})
    assert names(known.missing([A])) == ["a"], "it is listed as running now"
    assert known.learn({"a": told("a")})["a"].active_since


def test_what_systemd_did_not_tell_is_asked_for_again() -> None:
    known = Known()
    known.missing([A])
    assert known.learn({"a": None}) == {"a": Details(status=UnitStatus(unit="a"))}
    assert names(known.missing([A])) == ["a"]


def test_what_is_gone_is_forgotten() -> None:
    known = Known()
    known.missing([A, B])
    known.learn({"a": told("a"), "b": told("b")})
    assert known.missing([B]) == []
    assert known.learn({}) == {"b": told("b")}
    assert names(known.missing([A, B])) == ["a"], "another of that name is asked for"
