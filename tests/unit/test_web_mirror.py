"""Changes between two views, and the memory of the latest. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("streamd.web", reason="streamd-web is not installed, so that it is NOT TESTED")

from streamd.web.mirror import Change, History, View, changes
from tests.unit.test_ctl_show import DIAGNOSTIC, STUDIO, a_route, status, thing

OLD = View.of(STUDIO)


def told(old: View, new: View) -> list[tuple[str, Any]]:
    return [(change.event, change.data) for change in changes(old, new)]


def test_a_view_has_each_route_before_its_outputs() -> None:
    assert list(OLD.things) == ["studio-a", "studio-a/youtube", "studio-a/venue", "b"]
    assert "outputs" not in OLD.things["studio-a"]
    assert "outputs" in STUDIO["routes"][0], "what was told is not changed"
    assert (OLD.running, OLD.version, OLD.diagnostics) == (True, "1.2.3", (DIAGNOSTIC,))


def test_only_what_changed_is_told() -> None:
    assert told(OLD, OLD) == []
    now = status(
        a_route("studio-a", "running", thing("studio-a/youtube", "backoff"), thing("studio-a/new", "starting"))
    )
    found = told(OLD, View.of(now))
    assert found[:2] == [("removed", {"address": "studio-a/venue"}), ("removed", {"address": "b"})]
    assert [(event, data["address"]) for event, data in found[2:4]] == [
        ("changed", "studio-a/youtube"),
        ("changed", "studio-a/new"),
    ]
    assert found[4:] == [("diagnostics", [])]


def test_a_daemon_that_went_takes_nothing_along() -> None:
    assert told(OLD, replace(OLD, running=False)) == [("daemon", {"running": False, "version": "1.2.3"})]


VIEWS = st.builds(
    lambda things, diagnostics: View(
        running=True,
        things={address: {"address": address, "state": state} for address, state in things.items()},
        diagnostics=tuple({"message": text} for text in diagnostics),
    ),
    st.dictionaries(st.sampled_from(["a", "a/x", "a/y", "b"]), st.sampled_from(["running", "failed"])),
    st.lists(st.sampled_from("xy"), max_size=2),
)


@given(VIEWS, VIEWS)
def test_changes_lead_from_one_view_to_the_other(old: View, new: View) -> None:
    things, diagnostics = dict(old.things), list(old.diagnostics)
    for event, data in told(old, new):
        if event == "removed":
            del things[data["address"]]
        elif event == "changed":
            things[data["address"]] = data
        else:
            diagnostics = data
    assert (things, diagnostics) == (new.things, list(new.diagnostics))


def test_who_comes_back_is_told_what_was_missed() -> None:
    history = History("e", kept=3)
    assert history.since(0) == []
    one, two, three, four = (Change("changed", number) for number in range(1, 5))
    history.add(one)
    history.add(two)
    assert history.since(0) == [(1, one), (2, two)]
    assert history.since(1) == [(2, two)]
    history.add(three)
    history.add(four)
    assert history.since(0) is None, "one of them is forgotten"
    assert history.since(1) == [(2, two), (3, three), (4, four)]
    assert history.since(4) == []
    assert history.since(5) is None


def test_a_name_of_another_process_is_none() -> None:
    history = History("e-1")
    history.add(Change("changed", 1))
    assert history.number(history.name(1)) == 1
    for name in ("", "e-1", "e-1-2", "e-2-1", "e-1--1", "e-1-x", "e-1-²", f"e-1-{'9' * 99}"):
        assert history.number(name) is None, name
