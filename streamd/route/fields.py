"""Typed getters over a TOML table. They collect diagnostics, and return None for what is missing or wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from enum import StrEnum
from typing import Any, Final, TypeVar

from streamd.route.diagnostic import Diagnostic, Span, nearest
from streamd.route.document import make_diagnostic
from streamd.route.mask import MASK, PLAIN_KEYS, SECRET_KEYS, ShownLines, is_secret
from streamd.route.merge import Merged
from streamd.route.model import NO_LIMITS, Credential, Limits
from streamd.route.scanner import KeyPath, Place, dotted

CREDENTIAL_FOLDER: Final = "/etc/streamd/credentials"
CREDENTIAL_PATTERN: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?")
KNOWN_KEYS: Final = PLAIN_KEYS | SECRET_KEYS
MEMORY_RANGE: Final = (1 << 20, 1 << 50)
"""Bytes; systemd takes 64 bits, and what is more cannot even be sent to it."""

_TIMES: Final = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
_SIZES: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
DURATION: Final = re.compile(r"([0-9]{1,9}) ?(ms|s|min|h)")
SIZE: Final = re.compile(r"([0-9]{1,9})([KMGT])")
PERCENT: Final = re.compile(r"([0-9]{1,9})%")
CONTROL: Final = "\x00-\x1f\x7f-\x9f\u2028\u2029"
"""Characters that no text for people may have, as they stand between brackets in an expression."""
LONGEST_TEXT: Final = 200
TASKS_RANGE: Final = (1, 1_000_000)
_CONTROL: Final = re.compile(f"[{CONTROL}]")
_Choice = TypeVar("_Choice", bound=StrEnum)


MOST: Final = 100
"""Diagnostics of one route: a file with more is not what its author takes it for, and describing all takes long."""


class Report:
    """Collects the diagnostics of a document and the drop-ins merged over it."""

    def __init__(self, document: Merged) -> None:
        self.document = document
        self.diagnostics: list[Diagnostic] = list(document.diagnostics)
        self._shown: dict[int, ShownLines] = {}

    @property
    def is_full(self) -> bool:
        """Tell whether no further diagnostic is taken."""
        return len(self.diagnostics) >= MOST

    def at_file(self, message: str) -> None:
        """Add a diagnostic about the file as a whole."""
        self.at_key((), message)

    def at_key(self, path: KeyPath, message: str) -> None:
        """Add a diagnostic that points at the key, in the piece where it stands."""
        piece, place = self.document.origin(path)
        self._add(piece, place.key, path, message)

    def at_value(self, path: KeyPath, message: str) -> None:
        """Add a diagnostic that points at the value, in the piece where it stands."""
        piece, place = self.document.origin(path)
        self._add(piece, _shown_value(path, place), path, message)

    def missing(self, path: KeyPath, message: str) -> None:
        """Add a diagnostic about something that is not there; not where it may only be unreadable."""
        if not self.document.is_complete:
            return
        if path in self.document.origins:
            self.at_value(path, message)
        else:
            self.at_key(path, message)

    def sorted(self) -> tuple[Diagnostic, ...]:
        """Return all diagnostics in the order of their places."""
        return self.document.in_order(self.diagnostics)

    def _add(self, number: int, span: Span, path: KeyPath, message: str) -> None:
        if self.is_full:
            return
        piece = self.document.pieces[number]
        if len(self.diagnostics) == MOST - 1:
            message += "; further errors of this route are left out"
        if number not in self._shown:
            self._shown[number] = ShownLines(piece.text)
        self.diagnostics.append(make_diagnostic(piece.path, self._shown[number], span, dotted(path), message))


def _shown_value(path: KeyPath, place: Place) -> Span:
    """Return the span of a value; not even a secret's length is shown."""
    span = place.value
    return Span(span.line, span.column, len(MASK)) if path and is_secret(str(path[-1])) else span


class Table:
    """One table of a document. What is not asked for by a getter is unknown to `finish`."""

    def __init__(self, report: Report, path: KeyPath, data: Mapping[str, Any]) -> None:
        self.report = report
        self.path = path
        self.data = data
        self._read: set[str] = set()

    def has(self, key: str) -> bool:
        """Return whether the key is given, rightly or not."""
        return key in self.data

    def wrong(self, key: str, message: str) -> None:
        """Report that a value is wrong."""
        self.report.at_value((*self.path, key), message)

    def misplaced(self, key: str, message: str) -> None:
        """Report that a key should not be there."""
        self.report.at_key((*self.path, key), message)

    def missing(self, key: str, message: str) -> None:
        """Report that a key should be there; not where it is, with a typing error that is reported anyway."""
        unknown = (other[:64] for other in self.data if other not in KNOWN_KEYS)
        if key not in self.data and nearest(key, unknown):
            return
        self.report.missing((*self.path, key), message)

    def string(self, key: str) -> str | None:
        """Return a string."""
        value = self._get(key)
        if value is not None and not isinstance(value, str):
            self._mistyped(key, "a string", value)
            return None
        return value

    def text(self, key: str, longest: int = LONGEST_TEXT) -> str | None:
        """Return a string for people to read: one line."""
        value = self.string(key)
        if value is None:
            return None
        if _CONTROL.search(value):
            self.wrong(key, "must be one line without control characters")
            return None
        if len(value) > longest:
            self.wrong(key, f"must be no longer than {longest} characters")
            return None
        return value

    def boolean(self, key: str) -> bool | None:
        """Return a truth value."""
        value = self._get(key)
        if value is not None and not isinstance(value, bool):
            self._mistyped(key, "true or false", value)
            return None
        return value

    def integer(self, key: str, lowest: int, highest: int) -> int | None:
        """Return an integer in a range, both ends included."""
        value = self._get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self._mistyped(key, "an integer", value)
            return None
        if not lowest <= value <= highest:
            self.wrong(key, f"must be from {lowest} to {highest}")
            return None
        return value

    def choice(self, key: str, choices: type[_Choice]) -> _Choice | None:
        """Return one of the words that the enumeration has as values."""
        value = self.string(key)
        if value is None:
            return None
        words = [str(word) for word in choices]
        if value not in words:
            listed = ", ".join(f'"{word}"' for word in words[:-1]) + f' or "{words[-1]}"'
            self.wrong(key, f"must be {listed}{nearest(value[:64], words)}")
            return None
        return choices(value)

    def duration(self, key: str, lowest: int, highest: int, *, instead: str = "") -> int | None:
        """Return a time such as "200ms" in ms; the range is in ms too, both ends included.

        `instead` says what else may be written.
        """
        value = self._get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self._mistyped(key, 'a time such as "200ms"', value)
            return None
        match = DURATION.fullmatch(value)
        if not match:
            self.wrong(key, 'write a whole number and its unit (ms, s, min or h), such as "200ms"')
            return None
        time_ms = int(match[1]) * _TIMES[match[2]]
        if not lowest <= time_ms <= highest:
            self.wrong(key, f"must be from {_duration(lowest)} to {_duration(highest)}{instead}")
            return None
        return time_ms

    def timeout(self, key: str, lowest: int, highest: int) -> int | None:
        """Return a duration in ms as `duration` does, or 0 for `off`."""
        if self._get(key) == "off":
            return 0
        return self.duration(key, lowest, highest, instead=', or "off"')

    def size(self, key: str, lowest: int, highest: int) -> int | None:
        """Return a size such as "150M" in bytes, in a range, both ends included; K is 1024, as for systemd."""
        value = self._get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self._mistyped(key, 'a size such as "150M"', value)
            return None
        match = SIZE.fullmatch(value)
        if not match:
            self.wrong(key, 'write a whole number and its unit (K, M, G or T), such as "150M"')
            return None
        size = int(match[1]) * _SIZES[match[2]]
        if size < lowest:
            self.wrong(key, f"must be at least {lowest >> 20}M")
            return None
        if size > highest:
            self.wrong(key, f"must be at most {highest >> 40}T")
            return None
        return size

    def percent(self, key: str, highest: int) -> int | None:
        """Return a percentage such as "30%" as a number; it may exceed 100."""
        value = self._get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self._mistyped(key, 'a percentage such as "30%"', value)
            return None
        match = PERCENT.fullmatch(value)
        if not match:
            self.wrong(key, 'write a whole number and a percent sign, such as "30%"')
            return None
        if not 1 <= int(match[1]) <= highest:
            self.wrong(key, f"must be from 1% to {highest}%")
            return None
        return int(match[1])

    def table(self, key: str, *, instead: str) -> Table | None:
        """Return a table below this one; `instead` is what to write where it is none."""
        value = self._get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.wrong(key, f"expected a table, found {type_name(value)}, write {instead}")
            return None
        return Table(self.report, (*self.path, key), value)

    def credential(self, key: str, suggestion: str) -> Credential | None:
        """Return the reference to a secret; a secret in plain text is refused, and never repeated."""
        if isinstance(self.data.get(key), str):
            self._read.add(key)
            self.wrong(
                key,
                f"a secret must not stand in this file, write it into {CREDENTIAL_FOLDER}/{suggestion} (mode 0600)"
                f' and {key} = {{ credential = "{suggestion}" }} here',
            )
            return None
        table = self.table(key, instead=f'{{ credential = "{suggestion}" }}')
        if table is None:
            return None
        name = table.string("credential")
        if not table.has("credential"):
            table.missing("credential", f'missing, write {{ credential = "{suggestion}" }}')
        table.finish({"credential"})
        if name is None:
            return None
        if not CREDENTIAL_PATTERN.fullmatch(name):
            table.wrong(
                "credential",
                f"must be the name of a file in {CREDENTIAL_FOLDER}, of letters, digits, dots, dashes and underscores",
            )
            return None
        return Credential(name)

    def limits(self) -> Limits:
        """Return the resource limits under the key `limits`."""
        table = self.table("limits", instead='{ memory = "150M", cpu = "30%" }')
        if table is None:
            return NO_LIMITS
        limits = Limits(
            memory=table.size("memory", *MEMORY_RANGE),
            cpu=table.percent("cpu", 100_000),
            tasks=table.integer("tasks", *TASKS_RANGE),
        )
        table.finish({"memory", "cpu", "tasks"})
        return limits

    def finish(self, valid: Iterable[str], elsewhere: Mapping[str, str] | None = None) -> None:
        """Report keys that no getter asked for: `elsewhere` says of a key where it belongs."""
        words = list(valid)
        for key in self.data:
            if self.report.is_full:
                return
            if key in self._read:
                continue
            if elsewhere and key in elsewhere:
                self.misplaced(key, elsewhere[key])
            else:
                hint = nearest(key[:64], words) or nearest(key[:64], elsewhere or ()) or ", remove it"
                self.misplaced(key, f"unknown key{hint}")

    def accept(self, keys: Iterable[str]) -> None:
        """Treat the keys as known without reading them."""
        self._read.update(keys)

    def _get(self, key: str) -> Any:  # noqa: ANN401  whatever TOML has
        self._read.add(key)
        return self.data.get(key)

    def _mistyped(self, key: str, expected: str, value: object) -> None:
        self.wrong(key, f"expected {expected}, found {type_name(value)}")


def type_name(value: object) -> str:
    """Return what a TOML value is, such as `an integer`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    for kind, name in (
        (str, "a string"),
        (int, "an integer"),
        (float, "a fraction"),
        (list, "an array"),
        (dict, "a table"),
        ((datetime, date), "a date"),
        (time, "a time of day"),
    ):
        if isinstance(value, kind):
            return name
    return "something else"


def _duration(time_ms: int) -> str:
    return f"{time_ms // 1000}s" if time_ms >= 1000 and time_ms % 1000 == 0 else f"{time_ms}ms"
