"""A TOML document: its values, and the place of every key and value. No text, however broken, raises anything."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import Any, Final

from streamd.route.diagnostic import Diagnostic, Span
from streamd.route.mask import ShownLines
from streamd.route.scanner import KeyPath, Lines, Place, Scan, dotted, scan

MAX_SIZE: Final = 1 << 20
"""Of a file, in bytes."""
MAX_LINE: Final = 4096
"""Of a line, in characters."""
MAX_ERRORS: Final = 20
"""Syntax errors reported of one file."""
_MAX_WORK: Final = 4 << 20
"""Characters parsed over all attempts at a broken text."""
_MAX_SHOWN: Final = 240

_BAD_CHAR: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_TOML_PLACE: Final = re.compile(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", re.DOTALL)
_HEADER_LIKE: Final = re.compile(r"""\s*(?:\[|[\w."'-]+\]\s*(?:\#.*)?$)""")
_STATEMENT_LIKE: Final = re.compile(r"""\s*(?:$|\#|\[|[\w"'-]+(?:\s*\.\s*[\w"'-]+)*\s*[=:])""")
_STRING_OR_COMMENT: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|#.*|["\'].*')

_MESSAGES: Final = (
    ("Unescaped '\\'", "a backslash begins an escape in double quotes, write \\\\ or use single quotes"),
    ("Escaped character", "the escape is no valid character, write another one"),
    ("Invalid hex value", "the escape lacks hexadecimal digits, write 4 after \\u or 8 after \\U"),
    ("Expected newline", "this is no valid number or date, put text in double quotes"),
    ("Invalid date", "this is no valid date or time, put text in double quotes"),
    ("Invalid value", "this is no valid value, put text in double quotes"),
    ("Cannot overwrite", "this name is already taken further up, write another one"),
    ("Cannot declare", "this name is already taken further up, write another one"),
    ("Cannot mutate", "this name is already taken further up, write another one"),
    ("Cannot redefine", "this name is already taken further up, write another one"),
    ("Duplicate inline", "this name is already taken further up, write another one"),
)
_ESCAPES: Final = ("Unescaped '\\'", "Escaped character", "Invalid hex value")
_VALUES: Final = ("Expected newline", "Invalid date", "Invalid value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a TOML text says and where; of a broken text, what could be saved of it."""

    path: str
    text: str = field(repr=False)
    """With newlines alone, and U+FFFD for what is no UTF-8."""
    data: dict[str, Any] = field(repr=False)
    places: dict[KeyPath, Place] = field(repr=False)
    diagnostics: tuple[Diagnostic, ...]
    """Syntax errors, in the order of their lines."""

    @property
    def is_complete(self) -> bool:
        """Return whether nothing was left out; where it is False, a key that is missing may only be unreadable."""
        return not self.diagnostics


def make_diagnostic(path: str, shown: ShownLines, span: Span, key: str, message: str) -> Diagnostic:
    """Return a diagnostic with its line out of those that may be shown, as far as it is not too long for that."""
    if len(key) > _MAX_SHOWN:
        key = f"{key[:_MAX_SHOWN]}..."
    mark, length = shown.place(span.line, span.column, span.length)
    # Of a long line with a secret little is left; the caret would stand behind thousands of blanks.
    line = shown.line(span.line)[:_MAX_SHOWN] if max(span.column, mark) <= _MAX_SHOWN else ""
    span = Span(span.line, span.column, length)
    return Diagnostic(path=path, span=span, key=key, message=message, line_text=line, mark=mark)


def read_document(path: str, raw: str | bytes) -> Document:
    """Return the document in the text; errors are in it, none is raised."""
    if len(raw) > MAX_SIZE:
        message = "the file is larger than 1 MiB, split it up"
        return Document(path=path, text="", data={}, places={}, diagnostics=(_bare(path, message),))
    text = raw.decode("utf-8", errors="surrogateescape") if isinstance(raw, bytes) else raw
    return _Reader(path, text.replace("\r\n", "\n")).read()


def unreadable_document(path: str, problem: str) -> Document:
    """Return what stands for a file that cannot be read; the problem is what follows `the file`."""
    diagnostic = _bare(path, f"the file {problem}")
    return Document(path=path, text="", data={}, places={}, diagnostics=(diagnostic,))


def _bare(path: str, message: str) -> Diagnostic:
    return Diagnostic(path=path, span=Span(1, 1), key="", message=message)


class _Reader:
    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = re.sub("[\ud800-\udfff]", "\ufffd", text)
        self.shown = ShownLines(self.text)
        self.lines = text.split("\n")  # blanked as errors are found in them
        self.throwaway: list[str] = []
        self.diagnostics: list[Diagnostic] = []

    def read(self) -> Document:
        self.refuse_characters()
        data: dict[str, Any] = {}
        result = Scan()
        attempts = max(2, _MAX_WORK // (len(self.text) + 1))
        while len(self.diagnostics) < MAX_ERRORS and attempts:
            attempts -= 1
            text = "\n".join(self.lines)
            result = scan(text)
            parsed, failure = (None, None) if result.error and result.error.is_limit else _parse(text)
            if parsed is not None and result.error is None:
                data = {key: value for key, value in parsed.items() if key not in self.throwaway}
                break
            self.report(text, failure, result)
        else:
            result = Scan()
        self.diagnostics.sort(key=lambda found: (found.span.line, found.span.column))
        return Document(
            path=self.path, text=self.text, data=data, places=result.places, diagnostics=tuple(self.diagnostics)
        )

    def add(self, span: Span, message: str, key: str = "") -> None:
        if len(self.diagnostics) < MAX_ERRORS:
            self.diagnostics.append(make_diagnostic(self.path, self.shown, span, key, message))

    def refuse_characters(self) -> None:
        """Report what no TOML may contain, and blank those lines."""
        for index, line in enumerate(self.lines):
            if len(self.diagnostics) >= MAX_ERRORS:
                return
            if index == 0 and line.startswith("\ufeff"):
                self.add(Span(1, 1), "the file begins with a byte order mark, save it as UTF-8 without one")
                self.lines[0] = " " + line[1:]
            if match := _BAD_CHAR.search(line):
                self.add(Span(index + 1, match.start() + 1), _bad_character(match[0]))
            elif len(line) > MAX_LINE:
                self.add(Span(index + 1, MAX_LINE + 1), f"the line is longer than {MAX_LINE} characters, break it up")
            else:
                continue
            self.cut(index, index)

    def report(self, text: str, failure: tuple[str, int] | None, result: Scan) -> None:
        """Add the diagnostic of one syntax error, and blank the statement that it is in."""
        lines = Lines(text)
        message, offset = failure or ("", len(text))
        error = result.error
        if error is not None and error.offset <= offset:
            offset, message, key = error.offset, error.message, error.key
            start = result.statements[-1] if result.statements else offset
        else:
            start = max((begin for begin in result.statements if begin <= offset), default=offset)
            offset, message, key = _translate(text, message, offset, start, result)
        offset = min(offset, len(text))
        span = lines.span(offset)
        self.add(span, message, key)
        first = lines.span(min(start, offset)).line - 1
        self.cut(first, span.line - 1)

    def cut(self, first: int, last: int) -> None:
        """Blank the statement that begins in line `first` (from 0), at least up to line `last`."""
        was = self.lines[first]
        last = max(last, _last_line(self.lines, first))
        for index in range(first, last + 1):
            self.lines[index] = ""
        if _HEADER_LIKE.match(was):
            # The keys below would otherwise fall into the table above, and cause errors that are none.
            name = f"streamd broken {first + 1}"
            while name in self.text:
                name += "'"
            self.throwaway.append(name)
            self.lines[first] = f'["{name}"]'


def _parse(text: str) -> tuple[dict[str, Any] | None, tuple[str, int] | None]:
    """Return the values, or else what tomllib complains about and at which offset."""
    try:
        return tomllib.loads(text), None
    except RecursionError:  # the scanner's own limit is lower, but the stack may be deep already
        return None, ("", len(text))
    except ValueError as error:  # TOMLDecodeError is one; int() raises plain ones
        match = _TOML_PLACE.match(str(error)) if isinstance(error, tomllib.TOMLDecodeError) else None
        if not match or match[2] is None:
            return None, (match[1] if match else "", len(text))
        return None, (match[1], Lines(text).offset(int(match[2]), int(match[3])))


def _translate(text: str, message: str, offset: int, start: int, result: Scan) -> tuple[int, str, str]:
    """Return where an error that only tomllib sees begins, a sentence that says what to do, and the key."""
    for beginning, sentence in _MESSAGES:
        if not message.startswith(beginning):
            continue
        if beginning in _ESCAPES:
            return max(start, text.rfind("\\", start, offset)), sentence, ""
        if beginning in _VALUES:
            lines = Lines(text)
            begun = [
                (begin, dotted(path))
                for path, place in result.places.items()
                if start <= (begin := lines.offset(place.value.line, place.value.column)) <= offset
            ]
            begin, key = max(begun, default=(start, ""))
            return begin, sentence, key
        return start, sentence, ""
    return offset, "this is no valid TOML, write KEY = VALUE or [TABLE]", ""


def _last_line(lines: list[str], first: int) -> int:
    """Return the last line (from 0) of the broken statement that begins in line `first`; a guess."""
    for mark in ('"""', "'''"):
        if lines[first].count(mark) % 2:
            for index in range(first + 1, len(lines)):
                if mark in lines[index]:
                    return index
    depth = 0
    for index in range(first, min(first + 200, len(lines))):
        if index > first and re.match(r"\s*\[[^\[\],]*\]\s*(?:#.*)?$", lines[index]):
            break
        bare = _STRING_OR_COMMENT.sub("", lines[index])
        depth += sum(bare.count(char) for char in "[{") - sum(bare.count(char) for char in "]}")
        if depth <= 0:
            if index == first:
                break
            return index
    last = first
    while last + 1 < len(lines) and not _STATEMENT_LIKE.match(lines[last + 1]):
        last += 1
    return last


def _bad_character(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"the byte 0x{code - 0xDC00:02x} is no UTF-8, save the file as UTF-8"
    if char == "\r":
        return "a carriage return stands alone, save the file with Unix line ends"
    if char == "\0":
        return "the file contains a NUL character, save it as text"
    return f"the character U+{code:04X} is not allowed here, remove it"
