"""Properties as lines."""

from __future__ import annotations

from typing import Any

import pytest

from streamd.ctl.properties import lines, pick, text, unknown_name, wanted_names


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (1_795_418_000_000_000, "1795418000000000"),
        ("", ""),
        ("a b=c", "a b=c"),
        ("two\nlines\t\033[31m\\", "two\\nlines\\t\\u001b[31m\\\\"),
        ("Grüße ●", "Grüße ●"),
        ([], ""),
        (["/a", "/b"], "/a /b"),
        ([{"line": 3, "text": "x\ny"}], '[{"line": 3, "text": "x\\ny"}]'),
    ],
)
def test_values(value: Any, shown: str) -> None:
    assert text(value) == shown
    assert lines({"Name": value}) == [f"Name={shown}"]
    assert lines({"Name": value}, value_only=True) == [shown]


def test_names() -> None:
    assert wanted_names(None) is None
    assert wanted_names(["PID,State", "Unit", ""]) == ["PID", "State", "Unit"]
    properties = {"State": "running", "PID": 1, "Unit": "u"}
    assert pick(properties, ["Unit", "State"]) == {"State": "running", "Unit": "u"}
    assert pick(properties, None) == properties
    assert unknown_name(["PID"], [properties]) is None
    assert unknown_name(None, []) is None
    assert unknown_name(["Stat"], [properties]) == 'there is no property "Stat", did you mean "State"?'
    assert unknown_name(["Mode"], [properties, {"Mode": ""}]) is None
