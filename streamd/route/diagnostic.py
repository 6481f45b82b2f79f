"""A diagnostic: what is wrong, where exactly, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from unicodedata import combining, east_asian_width


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a text: line and column count from 1, the column in characters; the length is what is shown of it."""

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One error in one file. Errors are values: they are collected, not raised."""

    path: str
    span: Span
    key: str
    """The dotted key concerned, such as `output.venue.latency`; empty where the text is no TOML."""
    message: str
    """What is wrong and what to write instead; one sentence, no full stop."""
    line_text: str = ""
    """The source line as it may be shown, for the caret."""
    mark: int = 0
    """The column of the caret in that, where what stands before it is hidden; 0: as in the span."""

    def headline(self) -> str:
        """Return `path:line:column: key: message`."""
        key = f"{self.key}: " if self.key else ""
        return f"{self.path}:{self.span.line}:{self.span.column}: {key}{self.message}"

    def __str__(self) -> str:
        """Return the headline, the source line and a caret below the place."""
        if not self.line_text:
            return self.headline()
        shown = self.line_text.replace("\t", " ")
        start = (self.mark or self.span.column) - 1
        below = _columns(shown[start : start + self.span.length])
        caret = " " * (_columns(shown[:start]) + max(0, start - len(shown))) + "^" + "~" * (below - 1)
        return f"{self.headline()}\n  {shown}\n  {caret}"


def _columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def nearest(word: str, valid: Iterable[str]) -> str:
    """Return a hint such as `, did you mean "latency"?`, or nothing where no valid word is near."""
    found = get_close_matches(word, list(valid), n=1, cutoff=0.6)
    return f', did you mean "{found[0]}"?' if found else ""
