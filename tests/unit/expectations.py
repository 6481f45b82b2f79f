"""Test data that describes itself: a TOML file's `##` lines say what must come of it."""

from __future__ import annotations

from pathlib import Path

DATA = Path(__file__).parent / "data"


def expected(text: str) -> list[str]:
    """Return the `##` lines of a file, without their marks."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return [line.removeprefix("##").removeprefix(" ") for line in lines if line.startswith("##")]


def expected_of(path: Path) -> list[str]:
    return expected(path.read_bytes().decode(errors="surrogateescape"))


def shown(diagnostics: object) -> list[str]:
    """Return diagnostics as the `##` lines write them."""
    assert isinstance(diagnostics, tuple)
    return [line.rstrip() for found in diagnostics for line in str(found).split("\n")]
