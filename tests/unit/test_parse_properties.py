"""No text, however broken, makes the parser raise anything, or lose a position; and the scanner agrees with tomllib."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamd.route.crosscheck import crosscheck
from streamd.route.diagnostic import Span
from streamd.route.document import MAX_ERRORS, MAX_LINE, MAX_SIZE
from streamd.route.model import Settings
from streamd.route.parse import RouteFile, parse_route
from streamd.route.scanner import KeyPath, Lines, Place, scan
from streamd.route.settings import parse_settings
from tests.unit.expectations import DATA

SECRET = "Xq7secretZk9"
CORPUS = [path.read_bytes() for folder in ("good", "bad") for path in sorted((DATA / folder).glob("*.toml"))]
WORDS = [
    *("[", "]", "[[", "]]", "{", "}", "=", ".", ",", '"', "'", '"""', "'''", "\\", "#", "\n", "\r\n", "\r", " ", "\t"),
    *("input", "output", "url", "passphrase", "key", "credential", "mode", "limits", "enabled", "relay", "a", "b"),
    *('"udp://0.0.0.0:5000"', '"srt://h:1"', '"rtsp://u:p@h/"', '"test:"', "true", "1", "-1.5", "1979-05-27", "inf"),
    *("[input]\n", "[output.a]\n", "\nurl = ", "\x00", "\ufeff", "é", "\U0001f600", "\u2028", "://", "@", "$"),
]
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(raw: str | bytes) -> RouteFile:
    """Parse, and assert all that holds for every text."""
    file = parse_route("a.toml", raw, Settings())
    parse_settings("streamd.toml", raw)
    assert (file.route is None) == bool(file.diagnostics)
    (crossed,) = crosscheck([file], incumbents={}, credentials={})
    lines = file.pieces[0].text.split("\n")
    for found in crossed.diagnostics:
        assert 1 <= found.span.line <= len(lines)
        assert 1 <= found.span.column <= len(lines[found.span.line - 1]) + 1
        assert found.span.length >= 1
        assert found.message
        assert len(str(found).split("\n")) <= 3
        assert all(char.isprintable() or char in "\n\t" for char in str(found))
        str(found).encode()  # no surrogate is left
    return file


@quick
@given(st.text())
def test_any_text(text: str) -> None:
    check(text)


@quick
@given(st.binary())
def test_any_bytes(raw: bytes) -> None:
    check(raw)


@quick
@given(st.lists(st.sampled_from(WORDS), max_size=40).map("".join))
def test_any_words(text: str) -> None:
    check(text)


@quick
@given(st.data())
def test_mutated_files(data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from(CORPUS))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(raw)))
        end = min(len(raw), start + data.draw(st.integers(0, 20)))
        piece = data.draw(st.sampled_from([*(word.encode() for word in WORDS), b"", b"\xff", raw[end : end + 30]]))
        raw = raw[:start] + piece + raw[end:]
    check(raw)


@quick
@given(st.data())
def test_a_secret_is_never_told(data: st.DataObject) -> None:
    """Whatever breaks around it."""
    before = '[input]\nurl = "test:"\n[output.a]\nurl = "srt://192.0.2.1:9000"\nlatency = "1s"\n'
    quote = data.draw(st.sampled_from(['"', "'", '"""', "'''", ""]))
    after = '\nmode = "caller"\n[output.b]\nurl = "udp://192.0.2.1:1"\n'
    breaks = st.sampled_from([word for word in WORDS if not word.isalpha() and "url" not in word])
    head = before + data.draw(breaks | st.just("")) if data.draw(st.booleans()) else before
    tail = data.draw(breaks | st.just("")) + after
    file = check(f"{head}\npassphrase = {quote}{SECRET}{quote}{tail}")
    assert SECRET not in "\n".join(map(str, file.diagnostics))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"[" * 100_000, "at least"),
        (b"a = " + b"[" * 3000, "nested"),
        ("a = " + "[\n" * 30_000, "nested"),
        ("a = " + "{a=" * 1000, "nested"),
        (".".join("a" * 2000) + " = 1", "parts"),
        (("\n" + ".".join("a" * 2000) + " = 1") * 50, "parts"),
        ("a = " + "9" * 4000, "too long"),
        ("a = " + "9" * 5000, f"longer than {MAX_LINE}"),
        (b"\xff" * MAX_SIZE, "UTF-8"),
        (b"\x00\n" * (MAX_SIZE // 8), "NUL"),
        (b"a\n" * (MAX_SIZE // 8), "write ="),
        (b"#" * (MAX_SIZE + 1), "1 MiB"),
        ("#" * (MAX_SIZE + 1), "1 MiB"),
        ('a = """' + "x\n" * 50_000, "never closed"),
        ("key = 'x'\n" * 10_000, "already given"),
        ("a = [\n" + "1,\n" * 20_000, "never closed"),
        ("a" + ".a" * 2000 + " =", "parts"),
        ('a = """\n' + "a.a" * 1300 + "\n" + "x", "never closed"),
        ("{," * 1000 + "://" * 500, "write a key"),
        ("://" * 1300 + "@" * 100, "write a key"),
        ("\ud800", "not allowed"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) or len(value) > 30 else value,
)
def test_extremes(raw: str | bytes, message: str) -> None:
    found = check(raw).diagnostics
    assert 1 <= len(found) <= MAX_ERRORS + 10
    assert message == "at least" or message in found[0].message


# Generated TOML, in all of its spellings.

names = st.text("ab", min_size=1, max_size=2) | st.sampled_from(["a.b", "", "é", 'q"', "\t", "\U0001f600"])
numbers = st.sampled_from(
    ["0", "-7", "1_000", "0xff", "1.5", "6e3", "inf", "1979-05-27", "1979-05-27 07:32:00", "07:32:00"]
)
strings = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r"), max_size=6)
scalars = st.one_of(
    st.sampled_from(["true", "false"]),
    numbers,
    strings.map(lambda text: json.dumps(text).replace("\x7f", "\\u007f")),
    strings.filter(lambda text: text.isprintable() and "'" not in text).map(lambda text: f"'{text}'"),
    st.sampled_from(['"""a\n"b\n"""', "'''\n'a'\n'''", '""""x"""""']),
)


def written_key(draw: st.DrawFn, name: str) -> str:
    bare = name.isascii() and name.isalpha()
    return name if bare and draw(st.booleans()) else json.dumps(name)


@st.composite
def values(draw: st.DrawFn, depth: int = 0) -> str:
    kind = draw(st.integers(0, 5)) if depth < 3 else 0
    if kind == 4:
        gap = draw(st.sampled_from(["", " ", "\n", " # c ]\n"]))
        items = draw(st.lists(values(depth + 1), max_size=3))
        return "[" + "".join(f"{gap}{item}{gap}," for item in items) + gap + "]"
    if kind == 5:
        keys = draw(st.lists(names, max_size=3, unique=True))
        pairs = [f"{written_key(draw, key)} = {draw(values(depth + 1))}" for key in keys]
        return "{" + ", ".join(pairs) + "}"
    return draw(scalars)


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines = []
    for _ in range(draw(st.integers(0, 8))):
        path = draw(st.lists(names, min_size=1, max_size=3))
        key = draw(st.sampled_from([".", " . "])).join(written_key(draw, name) for name in path)
        kind = draw(st.integers(0, 5))
        tail = draw(st.sampled_from(["", " # c", "\n", "\t"]))
        if kind == 0:
            lines.append(f"[{key}]{tail}")
        elif kind == 1:
            lines.append(f"[[ {key} ]]{tail}")
        else:
            lines.append(f"{key} = {draw(values())}{tail}")
        try:  # a name that is taken makes the document invalid: leave that line out
            tomllib.loads("\n".join(lines))
        except tomllib.TOMLDecodeError:
            lines.pop()
    return "\n".join(lines)


def paths_of(value: object, path: KeyPath = ()) -> dict[KeyPath, Any]:
    """Return all key paths of a tree, with their values."""
    found: dict[KeyPath, Any] = {path: value} if path else {}
    if isinstance(value, dict):
        for key, below in value.items():
            found |= paths_of(below, (*path, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            found |= paths_of(below, (*path, index))
    return found


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_the_scanner_agrees_with_tomllib(text: str) -> None:
    tree = paths_of(tomllib.loads(text))
    result = scan(text)
    assert result.error is None
    assert result.places.keys() == tree.keys()
    lines = Lines(text)

    def cut(span: Span) -> str:
        start = lines.offset(span.line, span.column)
        return text[start : start + span.length]

    for path, place in result.places.items():
        value = tree[path]
        assert isinstance(place, Place)
        covered = cut(place.value)
        if isinstance(value, dict) and not covered.startswith("{"):
            continue  # a table that is made of headers or dotted keys
        if isinstance(value, list) and not covered.startswith("["):
            continue  # an array of tables
        assert tomllib.loads(f"x = {covered}")["x"] == value
        if isinstance(path[-1], str):
            assert tomllib.loads(f"{cut(place.key)} = 1") == {path[-1]: 1}
