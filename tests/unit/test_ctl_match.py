"""Patterns for addresses."""

from __future__ import annotations

import pytest

from streamd.ctl.match import expand, is_address, is_pattern, matches

ALL = ["studio-a", "studio-a/youtube", "studio-a/rack", "studio-b", "studio-b/youtube", "pub", "pub/youtube"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ["studio-a", "studio-b", "pub"]),
        ("*/*", ["studio-a/youtube", "studio-a/rack", "studio-b/youtube", "pub/youtube"]),
        ("studio-*/youtube", ["studio-a/youtube", "studio-b/youtube"]),
        ("studio-?", ["studio-a", "studio-b"]),
        ("studio-[ac]/*", ["studio-a/youtube", "studio-a/rack"]),
        ("studio-[!a]", ["studio-b"]),
        ("*youtube", []),
        ("studio*rack", []),
    ],
)
def test_patterns(pattern: str, found: list[str]) -> None:
    assert [address for address in ALL if matches(pattern, address)] == found
    assert expand([pattern], ALL) == (found, [] if found else [pattern])


def test_addresses_stand_for_themselves_once_and_in_order() -> None:
    assert expand(["nowhere", "*/rack", "studio-a/rack", "pub"], ALL) == (["nowhere", "studio-a/rack", "pub"], [])


@pytest.mark.parametrize(
    ("text", "address", "pattern"),
    [
        ("a", True, False),
        ("a/b", True, False),
        ("a*", False, True),
        ("*/[ab]", False, True),
        ("a/b/*", False, False),
        ("A*", False, False),
        ("a /*", False, False),
        ("/*", False, False),
        ("*/", False, False),
        ("", False, False),
        ("[!]", False, True),
    ],
)
def test_what_is_an_address_and_what_a_pattern(text: str, address: bool, pattern: bool) -> None:
    assert (is_address(text), is_pattern(text)) == (address, pattern)
