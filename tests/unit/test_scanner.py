"""The places of keys and values."""

from __future__ import annotations

import tomllib

import pytest

from streamd.route.diagnostic import Span
from streamd.route.scanner import Lines, Place, dotted, scan


def placed(text: str) -> dict[str, tuple[str, str]]:
    """Return, by dotted key, the text that the two spans of its place cover."""
    tomllib.loads(text)
    result = scan(text)
    assert result.error is None
    lines = Lines(text)

    def cut(span: Span) -> str:
        start = lines.offset(span.line, span.column)
        return text[start : start + span.length]

    return {dotted(path): (cut(place.key), cut(place.value)) for path, place in result.places.items()}


def test_positions_count_characters_from_1() -> None:
    text = '# héllo\n\n[input]\n\turl = "ü" # c\n'
    assert scan(text).places == {
        ("input",): Place(Span(3, 2, 5), Span(3, 2, 5)),
        ("input", "url"): Place(Span(4, 2, 3), Span(4, 8, 3)),
    }


def test_dotted_and_quoted_keys() -> None:
    assert placed('a . "b c".\'d\' = 1\n"\\u0061".e=2') == {
        "a": ("a", "a"),
        'a."b c"': ('"b c"', '"b c"'),
        'a."b c".d': ("'d'", "1"),
        "a.e": ("e", "2"),
    }


@pytest.mark.parametrize(
    "value",
    [
        *('""', "''", '"a\\"b#"', "'a\\'", '"""a\n"b""c\\""""', '"""a"""""', "'''a\n'b''c'''", "'''a'''''", '""""""'),
        *("1", "+1_000", "0xdead_beef", "-0.1e+3", "inf", "-nan", "true", "false"),
        *("1979-05-27", "1979-05-27 07:32:00.5-07:00", "1979-05-27T07:32:00Z", "07:32:00"),
        *("[]", "[ 1, [2, 3] ,\n# c ]\n'x',]", "{}", "{ a = 1, b.c = [1] }", '[{ a = "]" }]'),
    ],
)
def test_values_end_where_they_end(value: str) -> None:
    for tail in ("", "\n", " # comment", "\t\nb = 1"):
        assert placed(f"a = {value}{tail}")["a"] == ("a", value)


def test_tables_and_arrays_of_tables() -> None:
    text = """\
[[a]]
x = 1
[a.b]
y = [ { z = 2 }, 3 ]
[[a]]
[a.b]
[[a.c]]
w = 4
[d.e]
[d]
"""
    assert placed(text) == {
        "a": ("a", "a"),
        "a[0]": ("a", "a"),
        "a[0].x": ("x", "1"),
        "a[0].b": ("b", "b"),
        "a[0].b.y": ("y", "[ { z = 2 }, 3 ]"),
        "a[0].b.y[0]": ("{ z = 2 }", "{ z = 2 }"),
        "a[0].b.y[0].z": ("z", "2"),
        "a[0].b.y[1]": ("3", "3"),
        "a[1]": ("a", "a"),
        "a[1].b": ("b", "b"),
        "a[1].c": ("c", "c"),
        "a[1].c[0]": ("c", "c"),
        "a[1].c[0].w": ("w", "4"),
        "d": ("d", "d"),
        "d.e": ("e", "e"),
    }


def test_a_table_is_placed_at_its_own_header() -> None:
    places = scan("[a.b]\n\n[a]\n").places
    assert places["a",].key == Span(3, 2, 1)
    assert places["a", "b"].key == Span(1, 4, 1)


def test_keys_are_told_on_one_line() -> None:
    assert dotted(("a", "b\nc", 2, 'd"e', "\x1b", "\U0001f600", "\U000e0001")) == (
        'a."b\\u000ac"[2]."d\\"e"."\\u001b"."\U0001f600"."\\U000e0001"'
    )
