"""Where the keys and values of a TOML text stand.

tomllib tells what a text says but not where. This scanner walks over the same text, a statement at a time, and notes
the place of every key and value. It decides nothing about validity: tomllib does. Where tomllib refuses a text, the
scanner's own complaint is the better one if it comes no later, because it points at the beginning of what is wrong.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final, NamedTuple, NoReturn

from streamd.route.diagnostic import Span

KeyPath = tuple[str | int, ...]

MAX_DEPTH: Final = 32
"""Arrays, inline tables and dotted keys nested deeper than this are refused."""

# No possessive quantifiers or atomic groups here: before Python 3.11.5 (Debian 12 has 3.11.2) they match wrongly.
_SPACE: Final = re.compile(r"[ \t]*")
_FILL: Final = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_BASIC: Final = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')
_LITERAL: Final = re.compile(r"'[^'\n]*'")
_LONG_BASIC: Final = re.compile(r'"""(?:[^"\\]|\\[\s\S]|""?(?!"))*"""(?:"{0,2})')
_LONG_LITERAL: Final = re.compile(r"'''(?:[^']|''?(?!'))*'''(?:'{0,2})")
_BARE_VALUE: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9][0-9:.]*(?:[Zz]|[+-][0-9:]+)?|[^\s,\]\}#\"'=\[\{]+",
)
_NUMBER_OR_DATE: Final = re.compile(r"[+-]?(?:[0-9][0-9A-Za-z_.:+ -]*|inf|nan)", re.ASCII)
_MAX_DIGITS: Final = 100
_FANCY_QUOTES: Final = "\u201c\u201d\u201e\u2018\u2019\u201a\xab\xbb`\xb4"
_TRUTHS: Final = frozenset({"yes", "no", "on", "off", "true", "false"})


class Place(NamedTuple):
    """Where one key and its value stand; for a table that has no value of its own, both are its name."""

    key: Span
    value: Span


@dataclass(frozen=True, slots=True)
class ScanError:
    """Why the scanner stopped."""

    offset: int
    """In characters."""
    key: str
    """Dotted; empty where it is not known."""
    message: str
    is_limit: bool = False
    """Whether tomllib might accept the text, at the cost of time or of an exception that is none of its own."""


@dataclass(slots=True)
class Scan:
    """What the scanner found before it reached the end or something that it does not understand."""

    places: dict[KeyPath, Place] = field(default_factory=dict)
    statements: list[int] = field(default_factory=list)
    """Offset of each statement's first character, ascending."""
    error: ScanError | None = None


class Lines:
    """Translates offsets in a text to lines and columns."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def span(self, start: int, end: int | None = None) -> Span:
        """Return the span of the characters from start up to end; a length of 1 without an end."""
        line = bisect_right(self._starts, start)
        return Span(line, start - self._starts[line - 1] + 1, max(1, (start + 1 if end is None else end) - start))

    def offset(self, line: int, column: int) -> int:
        """Return the offset of a line and column, both counted from 1."""
        return self._starts[min(line, len(self._starts)) - 1] + column - 1


class _Stop(Exception):  # noqa: N818  it ends a scan, and leaves this module as a value
    def __init__(self, error: ScanError) -> None:
        super().__init__(error.message)
        self.error = error


def scan(text: str) -> Scan:
    """Return the places of all keys and values. Lines end in a newline alone; the text may be broken anywhere."""
    return _Scanner(text).run()


def dotted(path: KeyPath) -> str:
    """Return a key path as an operator writes it, such as `output.venue.latency` or `streams[2]`; never two lines."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + quoted_key(part)
    return text


def quoted_key(key: str) -> str:
    """Return a key as it must be written in TOML: bare where that is allowed."""
    if _BARE_KEY.fullmatch(key):
        return key
    return '"' + "".join(_escape(char) for char in key) + '"'


def _escape(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() else f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.depth = 0
        self.lines = Lines(text)
        self.result = Scan()
        self.table: KeyPath = ()
        self.arrays: dict[KeyPath, int] = {}
        self.declared: dict[KeyPath, Span] = {}

    def run(self) -> Scan:
        try:
            while True:
                self.pos = self.end_of(_FILL)
                if self.pos >= len(self.text):
                    break
                self.result.statements.append(self.pos)
                if self.char == "[":
                    self.header()
                else:
                    self.pair(self.table)
                self.end_of_statement()
        except _Stop as stop:
            self.result.error = stop.error
        return self.result

    @property
    def char(self) -> str:
        return self.text[self.pos : self.pos + 1]

    def end_of(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.pos)
        return match.end() if match else self.pos

    def stop(self, offset: int, message: str, key: KeyPath = (), *, limit: bool = False) -> NoReturn:
        raise _Stop(ScanError(offset, dotted(key), message, is_limit=limit))

    def end_of_statement(self) -> None:
        self.pos = self.end_of(_SPACE)
        if self.char not in ("", "\n", "#"):
            self.stop(self.pos, "unexpected text after the end of the statement, begin a new line or a comment with #")

    # keys

    def key(self) -> list[tuple[str, Span]]:
        """Scan a dotted key, and the space after it."""
        parts: list[tuple[str, Span]] = []
        while True:
            self.pos = self.end_of(_SPACE)
            if len(parts) >= MAX_DEPTH:
                self.stop(self.pos, f"keys may have at most {MAX_DEPTH} parts", limit=True)
            parts.append(self.key_part())
            self.pos = self.end_of(_SPACE)
            if self.char != ".":
                return parts
            self.pos += 1

    def key_part(self) -> tuple[str, Span]:
        start = self.pos
        if match := _BARE_KEY.match(self.text, start):
            name = match[0]
        elif (match := _BASIC.match(self.text, start)) or (match := _LITERAL.match(self.text, start)):
            try:
                name = str(tomllib.loads("key = " + match[0])["key"])
            except tomllib.TOMLDecodeError:
                self.stop(start, "the quoted key contains what TOML does not allow, write a plain word")
        elif self.char in ('"', "'"):
            self.stop(start, "the quoted key has no closing quote, write it")
        else:
            self.stop(start, "write a key here: letters, digits, _ and -")
        self.pos = match.end()
        return name, self.lines.span(start, self.pos)

    # statements

    def header(self) -> None:
        start = self.pos
        mark = "[[" if self.text.startswith("[[", start) else "["
        self.pos += len(mark)
        parts = self.key()
        close = "]" * len(mark)
        if not self.text.startswith(close, self.pos):
            self.stop(start, f"the table header has no closing {close}, write it")
        self.pos += len(close)
        path: KeyPath = ()
        for number, (name, span) in enumerate(parts):
            path = (*path, name)
            self.result.places.setdefault(path, Place(span, span))
            if number < len(parts) - 1 and path in self.arrays:
                path = (*path, self.arrays[path])
        span = parts[-1][1]
        if mark == "[[":
            if path in self.declared:
                self.stop(start, f"the table already stands in line {self.declared[path].line}", path)
            self.arrays[path] = self.arrays.get(path, -1) + 1
            path = (*path, self.arrays[path])
            self.result.places[path] = Place(span, span)
        else:
            if path in self.declared:
                self.stop(start, f"the table already stands in line {self.declared[path].line}", path)
            self.declared[path] = span
            if path not in self.arrays:
                self.result.places[path] = Place(span, span)
        self.table = path

    def pair(self, table: KeyPath) -> None:
        """Scan `key = value`."""
        parts = self.key()
        path = table
        for name, span in parts[:-1]:
            path = (*path, name)
            self.result.places.setdefault(path, Place(span, span))
        name, span = parts[-1]
        path = (*path, name)
        if self.char != "=":
            if self.char == "]" and not self.depth:
                self.stop(self.lines.offset(parts[0][1].line, parts[0][1].column), "write [ before the table's name")
            if self.char == ":":
                self.stop(self.pos, "write = between the key and its value, not :", path)
            self.stop(self.pos, "write = and a value after the key", path)
        if path in self.result.places:
            line = self.result.places[path].key.line
            offset = self.lines.offset(span.line, span.column)
            self.stop(offset, f"the key is already given in line {line}, remove one of the two", path)
        self.pos += 1
        self.pos = self.end_of(_SPACE)
        start = self.pos
        if len(path) <= MAX_DEPTH:
            self.result.places[path] = Place(span, span)
        self.value(path)
        if len(path) <= MAX_DEPTH:
            self.result.places[path] = Place(span, self.lines.span(start, self.pos))

    # values

    def value(self, path: KeyPath) -> None:
        start = self.pos
        first = self.char
        if first in ("", "\n", "#"):
            self.stop(start, "a value is missing after the =, write one", path)
        if first in "\"'":
            self.string(path)
        elif first in "[{":
            self.depth += 1
            if self.depth > MAX_DEPTH:
                self.stop(start, f"arrays and tables may be nested {MAX_DEPTH} deep at most", limit=True)
            if first == "[":
                self.array(path)
            else:
                self.inline_table(path)
            self.depth -= 1
        else:
            self.bare(path)

    def string(self, path: KeyPath) -> None:
        for pattern, mark in ((_LONG_BASIC, '"""'), (_LONG_LITERAL, "'''"), (_BASIC, '"'), (_LITERAL, "'")):
            if self.text.startswith(mark, self.pos):
                match = pattern.match(self.text, self.pos)
                if not match:
                    self.stop(self.pos, f"the string is never closed, write {mark} at its end", path)
                self.pos = match.end()
                return

    def bare(self, path: KeyPath) -> None:
        match = _BARE_VALUE.match(self.text, self.pos)
        if not match:
            self.stop(self.pos, "a value is missing here, write one", path)
        token = match[0]
        if token not in ("true", "false") and not _NUMBER_OR_DATE.fullmatch(token):
            if token.lower() in _TRUTHS:
                self.stop(self.pos, "write true or false, in lower case", path)
            if token[0] in _FANCY_QUOTES:
                self.stop(self.pos, 'write straight double quotes (") around the text', path)
            self.stop(self.pos, "write the text in double quotes", path)
        if len(token) > _MAX_DIGITS:
            self.stop(self.pos, "the number is too long, write a shorter one", path, limit=True)
        self.pos = match.end()

    def array(self, path: KeyPath) -> None:
        start = self.pos
        self.pos += 1
        index = 0
        while True:
            self.pos = self.end_of(_FILL)
            if self.char == "]":
                self.pos += 1
                return
            if not self.char:
                self.stop(start, "the array is never closed, write ] at its end", path)
            begin = self.pos
            child = (*path, index)
            here = self.lines.span(begin)
            if len(child) <= MAX_DEPTH:
                self.result.places[child] = Place(here, here)
            self.value(child)
            span = self.lines.span(begin, self.pos)
            if len(child) <= MAX_DEPTH:
                self.result.places[child] = Place(span, span)
            index += 1
            self.pos = self.end_of(_FILL)
            if self.char == ",":
                self.pos += 1
            elif self.char != "]":
                self.stop(start, "the array is never closed, write ] at its end, or a comma between its items", path)

    def inline_table(self, path: KeyPath) -> None:
        start = self.pos
        self.pos += 1
        self.pos = self.end_of(_SPACE)
        if self.char == "}":
            self.pos += 1
            return
        while True:
            self.pos = self.end_of(_SPACE)
            if self.char == "}":
                self.stop(self.pos, "remove the comma before the }", path)
            if self.char in ("", "\n", "#"):
                self.stop(start, "the { must be closed by a } in the same line", path)
            self.pair(path)
            self.pos = self.end_of(_SPACE)
            if self.char == "}":
                self.pos += 1
                return
            if self.char in ("", "\n", "#"):
                self.stop(start, "the { must be closed by a } in the same line", path)
            if self.char != ",":
                self.stop(self.pos, "write a comma between the keys of an inline table", path)
            self.pos += 1
