"""Source lines as they may be shown: without secrets.

A route file must not contain secrets, but somebody will write one into it, and the diagnostic that says so must not
carry it to the journal. This works on text that may be broken in any way, so it is built to hide too much rather than
too little.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import cached_property, lru_cache
from typing import Final
from urllib.parse import unquote

MASK: Final = "***"

PLAIN_KEYS: Final = frozenset(
    {
        *("description", "enabled", "relay", "url", "limits", "memory", "cpu", "tasks", "interface", "source", "mode"),
        *("latency", "ttl", "tls_verify", "transport", "allow_visible_password", "credential", "input", "output"),
        *("input_ports", "max_outputs", "groups", "port", "removed", "stall_timeout", "progress_port", "engine"),
        *("hooks", "on_failure", "on_recovery", "delay"),
        *("mediamtx", "rtsp", "rtmp", "srt", "hls", "webrtc", "webrtc_media", "api", "metrics", "user"),
    },
)
"""Keys whose values may be shown."""

SECRET_KEYS: Final = frozenset({"passphrase", "key", "streamid", "password", "token", "secret"})
"""Keys whose values are hidden, and so are those of keys that resemble these more than any plain one."""

PLAIN_PARAMETERS: Final = frozenset(
    {
        *("app", "audio", "backup", "bitrate", "camera", "channel", "channelid", "codec", "fps", "mode", "profile"),
        *("proto", "quality", "resolution", "stream", "streamtype", "subtype", "tcp", "transport", "udp", "unicast"),
        *("user", "username", "vhost", "video"),
    },
)
"""Parameters in the query of a URL whose values may be shown."""

_FRAGMENTS: Final = ("pass", "secret", "token", "streamid", "stream_key", "streamkey", "pwd")
_SECRET_PARAMETER: Final = re.compile(
    "auth|credential|hmac|jwt|key|pass|psw|pwd|secret|sign|streamid|token|^(?:hdn(?:ea|tl|ts)|pin|pw|sig)$"
)
_PARAMETER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_PLAIN_VALUE: Final = re.compile(r"[A-Za-z0-9_.,:-]{0,32}")
_WORD: Final = re.compile(r"""(?:^[\s#]*|[{,]\s*)["']?([\w.\-]+)["']?\s*[=:]\s*(?=\S)|^\s*([\w.\-]+)\s+(?=[^\s=:#])""")
_REFERENCE: Final = re.compile(r"""\{\s*credential\s*=\s*(?:"[\w.-]*"|'[\w.-]*')\s*\}\s*(?:[,}#].*)?$""", re.ASCII)
_OTHER_TABLE: Final = re.compile(r"\{\s*(?!credential\b)[\w-]+\s*=")
_USER: Final = re.compile(r"://.*@")
_WEB_PATH: Final = re.compile(r"(https?://[^/?#\s]+/)[^?#\s]+", re.IGNORECASE)
_QUERY: Final = re.compile(r"(://[^?]*)\?.*")
_AUTHORITY: Final = re.compile(r"([^:/?#]+://)([^/?#]*)(.*)", re.DOTALL)
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
_STATEMENT: Final = re.compile(r"""\s*(?:$|\#|\[|[\w"'-]+(?:\s*\.\s*[\w"'-]+)*\s*[=:])""")
_LONGEST: Final = 4096
"""Characters of a line that are looked at, and shown at most."""
Piece = tuple[str, str]
"""Of a line: as it stands there and as it is shown."""
_LONG_QUOTE: Final = re.compile("\"\"\"|'''")


@lru_cache(maxsize=1024)
def is_secret(key: str) -> bool:
    """Return whether the value of this key must not be shown; an unknown key must resemble a plain one to be."""
    word = key.rpartition(".")[2].lower()
    if word in PLAIN_KEYS:
        return False
    if word in SECRET_KEYS or any(fragment in word for fragment in _FRAGMENTS):
        return True
    return _likeness(word, PLAIN_KEYS) < max(0.6, _likeness(word, SECRET_KEYS))


def _likeness(word: str, words: frozenset[str]) -> float:
    if len(word) > 64:
        return 0.0
    return max(SequenceMatcher(None, word, other).ratio() for other in words)


def redact_url(url: str) -> str:
    """Return a URL without user, password and query; of a webhook's the path is the secret."""
    return _WEB_PATH.sub(r"\1" + MASK, _QUERY.sub(r"\1?" + MASK, _USER.sub("://" + MASK + "@", url)))


def without_secrets(url: str) -> str:
    """Return a URL as everybody may read it: stars stand for the password and for what may be one. Never raises."""
    found = _AUTHORITY.fullmatch(url)
    if found is None or found[1].lower() == "file://":
        return url
    user, at, host = found[2].rpartition("@")
    name, colon, _password = user.partition(":")
    path, question, query = found[3].partition("?")
    shown = "&".join(map(_shown_parameter, query.split("&")))
    return f"{found[1]}{name}{colon}{MASK if colon else ''}{at}{host}{path}{question}{shown}"


def _shown_parameter(parameter: str) -> str:
    """Return a parameter of a query without its value, unless that is harmless; one without a value may be a token."""
    name, equals, value = parameter.partition("=")
    if name.lower() in PLAIN_PARAMETERS and _PLAIN_VALUE.fullmatch(value):
        return parameter
    if not value.strip("=") and not (equals and is_secret_parameter(name)):
        return MASK if parameter else ""
    shown = name if _PARAMETER_NAME.fullmatch(name) else MASK
    return f"{shown}{equals}{MASK if value else ''}"


def is_secret_parameter(name: str) -> bool:
    """Return whether a parameter of a query is named as one that holds a password or a token."""
    return bool(_SECRET_PARAMETER.search(unquote(name).lower()))


def has_secret_parameter(query: str | None) -> bool:
    """Return whether a query has a parameter that is named like a secret, with a value."""
    found = (parameter.partition("=") for parameter in re.split("[&?]", query or ""))
    return any(value and is_secret_parameter(name) for name, _equals, value in found)


class ShownLines:
    """The lines of a TOML text, broken or not, each as it may be shown."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._secrets: dict[int, bool] = {}
        self._hidden: set[int] = set()  # lines inside a secret's multi-line string, counted from 0
        closing = ""
        for index, line in enumerate(self._lines):
            if closing:
                self._hidden.add(index)
                if closing in line:
                    closing = ""
            elif (quote := _LONG_QUOTE.search(line)) and line.count(quote[0]) == 1 and _secret_start(line) is not None:
                closing = quote[0]

    def __len__(self) -> int:
        return len(self._lines)

    def line(self, number: int) -> str:
        """Return a line, counted from 1, with no character that a terminal would obey."""
        safe = "".join(shown for _raw, shown in self._pieces(number - 1))
        return "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in safe)

    def place(self, number: int, column: int, length: int) -> tuple[int, int]:
        """Return the column and the length that a part of a line, counted from 1, has in the line as it is shown."""
        pieces = self._pieces(number - 1)
        start = _shown_offset(pieces, column - 1, beyond=0)
        return start + 1, max(1, _shown_offset(pieces, column - 1 + length, beyond=1) - start)

    def _pieces(self, index: int) -> list[Piece]:
        """Return the pieces of a line, counted from 0, each as it stands there and as it is shown."""
        line = self._lines[index][:_LONGEST]
        if index in self._hidden or self._continues_secret(index):
            return [(line, MASK)]
        start = _secret_start(line)
        hidden = [] if start is None or start == len(line) else [(line[start:], MASK)]
        return [*_redact_strings(line[:start]), *hidden]

    def _continues_secret(self, index: int) -> bool:
        """Return whether the line is no statement of its own, but belongs to one above that is a secret."""
        if not index:
            return False
        if _bare_secret_key(self._lines[index - 1]) is not None:
            return True
        if _STATEMENT.match(self._lines[index]):
            return False
        return self._begins_secret(self._beginnings[index])

    @cached_property
    def _beginnings(self) -> list[int]:
        """For each line, counted from 0, the one in which the statement begins that it belongs to."""
        found: list[int] = []
        begin = 0
        for index, line in enumerate(self._lines):
            if _STATEMENT.match(line):
                begin = index
            found.append(begin)
        return found

    def _begins_secret(self, index: int) -> bool:
        """Return whether a secret begins in the line; asked once for each line of a long statement."""
        if index not in self._secrets:
            self._secrets[index] = _secret_start(self._lines[index]) is not None
        return self._secrets[index]


def _shown_offset(pieces: list[Piece], offset: int, *, beyond: int) -> int:
    """Return where an offset into a line is in the line as shown: of stars at their last, or so far beyond it."""
    begin = 0
    for raw, shown in pieces:
        if offset < len(raw):
            return begin + (offset if raw == shown else min(offset, len(shown) - 1 + beyond))
        offset -= len(raw)
        begin += len(shown)
    return begin + offset


def _secret_start(line: str) -> int | None:
    """Return where the value of the first secret key in the line begins."""
    for match in _WORD.finditer(line, 0, _LONGEST):
        if is_secret(match[1] or match[2]) and not _is_harmless(line[match.end() :]):
            return match.end()
    return _bare_secret_key(line)


def _bare_secret_key(line: str) -> int | None:
    """Return the line's length where it ends in a secret key without a value: that may follow in the next line."""
    match = re.match(r"""\s*["']?([\w.\-]+)["']?\s*[=:]\s*$""", line)
    return len(line) if match and is_secret(match[1]) else None


def _is_harmless(value: str) -> bool:
    """Return whether a value cannot be a secret: a reference to a credential, or a table of other keys."""
    return value.startswith("#") or bool(_REFERENCE.match(value)) or bool(_OTHER_TABLE.match(value))


def _redact_strings(line: str) -> list[Piece]:
    """Return the pieces of a line with the URLs in its strings redacted, and so one that is not quoted well."""
    done: list[Piece] = []
    rest = 0
    for match in _STRING.finditer(line):
        between = line[rest : match.start()]
        if "://" in between:
            break
        string = match[0]
        if "\\" in string and ("@" in string or "\\u" in string.lower()):
            string = string[0] + MASK + string[0]
        else:
            string = string[0] + redact_url(string[1:-1]) + string[0]
        done += [(between, between), (match[0], string)]
        rest = match.end()
    return [*done, (line[rest:], redact_url(line[rest:]))]
