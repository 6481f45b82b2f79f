"""What systemd told of a unit holds until the unit changes, however late that is heard of."""

from __future__ import annotations

from streamd.plan.known import Known
from streamd.plan.observed import Details, ObservedUnit
from streamd.plan.status import UnitStatus

A = ObservedUnit(name="a")
B = ObservedUnit(name="b")


def told(name: str, pid: int = 7) -> Details:
    return Details(status=UnitStatus(unit=name, pid=pid), active_since=pid)


def names(missing: tuple[list[ObservedUnit], list[ObservedUnit]]) -> tuple[str, str]:
    """Return the names of those that must be asked for, and of those that may be left out."""
    must, may = missing
    return "".join(unit.name for unit in must), "".join(unit.name for unit in may)


def learn(known: Known, *found: Details | None) -> dict[str, Details]:
    """Learn of a, b and so on; return the details of all."""
    views = known.learn(dict(zip("abc", found, strict=False)))
    return {name: view.details for name, view in views.items()}


def test_what_is_known_is_not_asked_for_again() -> None:
    known = Known()
    assert names(known.missing([A, B])) == ("ab", "")
    assert learn(known, told("a"), told("b")) == {"a": told("a"), "b": told("b")}
    assert names(known.missing([A, B])) == ("", "")
    assert learn(known) == {"a": told("a"), "b": told("b")}


def test_what_changed_is_asked_for_again() -> None:
    known = Known()
    known.missing([A, B])
    learn(known, told("a"), told("b"))
    known.changed("a")
    assert names(known.missing([A, B])) == ("", "a")
    assert learn(known, told("a", 8)) == {"a": told("a", 8), "b": told("b")}


def test_what_changes_while_it_is_asked_for_is_good_for_once() -> None:
    known = Known()
    known.missing([A])
    known.changed("a")
    assert learn(known, told("a")) == {"a": told("a")}
    assert names(known.missing([A])) == ("", "a")


def test_a_list_older_than_the_answers_does_not_last() -> None:
    """A unit restarted from outside: listed as it ends, its start heard of, then asked for as one that is ending."""
    known = Known()
    ending = ObservedUnit(name="a", active="deactivating", sub="stop-sigterm")
    known.changed("a")
    assert names(known.missing([ending])) == ("a", "")
    learn(known, Details(status=UnitStatus(unit="a", pid=8)))
    assert names(known.missing([A])) == ("", "a"), "it is listed as running now"
    assert learn(known, told("a"))["a"].active_since


def test_what_systemd_did_not_tell_is_asked_for_again() -> None:
    known = Known()
    known.missing([A])
    assert learn(known, None) == {"a": Details(status=UnitStatus(unit="a"))}
    assert names(known.missing([A])) == ("a", "")


def test_what_is_gone_is_forgotten() -> None:
    known = Known()
    known.missing([A, B])
    learn(known, told("a"), told("b"))
    known.changed("a")
    assert names(known.missing([B])) == ("", "")
    assert learn(known) == {"b": told("b")}
    assert names(known.missing([A, B])) == ("a", ""), "another of that name is asked for"


def test_what_is_left_out_is_as_it_was_seen_last() -> None:
    known = Known()
    known.missing([A])
    learn(known, told("a"))
    waiting = ObservedUnit(name="a", active="activating", sub="auto-restart")
    assert names(known.missing([waiting])) == ("", "a")
    assert known.learn({}) == {"a": (A, told("a"))}, "its line in the list as well"
    assert names(known.missing([waiting])) == ("", "a")
    assert known.learn({"a": told("a", 9)}) == {"a": (waiting, told("a", 9))}
    assert names(known.missing([waiting])) == ("", "")


def test_what_is_left_out_comes_first_the_next_time() -> None:
    known = Known()
    units = [ObservedUnit(name=name) for name in "abc"]
    known.missing(units)
    learn(known, *map(told, "abc"))
    for name in "cab":
        known.changed(name)
    assert names(known.missing(units)) == ("", "cab")
    known.learn({"c": told("c")})
    known.changed("c")
    assert names(known.missing(units)) == ("", "abc")


def test_the_line_of_what_stays_is_the_latest() -> None:
    known = Known()
    known.missing([A])
    learn(known, told("a"))
    described = ObservedUnit(name="a", description="another", job="stop")
    assert names(known.missing([described])) == ("", "")
    assert known.learn({}) == {"a": (described, told("a"))}
