"""Changes a text by chance: bytes, lines, words, values and whole statements. The same seed makes the same changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

LARGEST = 200_000
"""Bytes that a mutation makes at most; what is larger than a file may be is tested elsewhere."""

TOKENS = (
    *(
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        " = ",
        ".",
        ",",
        '"',
        "'",
        '"""',
        "'''",
        "\\",
        "#",
        "\n",
        "\r\n",
        "\r",
        "\t",
    ),
    *("\0", "\x1b", "\x7f", "\ufeff", "\u2028", "\u202e", "é", "\U0001f600", "“", "\xa0", ":", "://", "@", "$", "$$"),
    *(";", "%24", "%", "?", "&", "/", "//", "\\u0000", "\\ud800", "\\U0010ffff", "\\e", "true", "false", "True"),
    *("removed = true\n", 'removed = ["latency"]\n', 'removed = ["key", "url"]\n', "enabled = false\n"),
    *("[input]\n", "[output]\n", "[output.a]\n", "[output.b]\n", '[output."x y"]\n', "[hooks]\n", "[mediamtx]\n"),
    *("output.a.url = ", "output.a = ", "input = ", "input.url = ", "[output.a.limits]\n", "[relay]\n"),
)
VALUES = (
    *(
        "true",
        "false",
        "0",
        "1",
        "-1",
        "0x10",
        "0o7",
        "1e999",
        "-0.0",
        "nan",
        "inf",
        "1_000",
        "9" * 30,
        "1" + "0" * 400,
    ),
    *("1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "[]", "{}", "[1]", '[["a"]]', '{ a = "b" }', '""', "''"),
    *('"""\na\n"""', '"\\t"', '"\\u0000"', '"\\u202e"', '" "', '"é"', "'''x'''", '"a b"', '"a;b"', '"a$b"', '"a%b"'),
    *('"200ms"', '"0ms"', '"99h"', '"150M"', '"0M"', '"9999T"', '"30%"', '"0%"', '"99999%"', '"eth0"', '"lo"'),
    *('"caller"', '"listener"', '"rendezvous"', '"direct"', '"mediamtx"', '"tcp"', '"udp"', '"studio.service"'),
    *('{ credential = "venue" }', '{ credential = "../x" }', "{ credential = 1 }", '{ credentials = "a" }'),
    *('"test:"', '"publish:"', '"file:///srv/loop.ts"', '"file://x"', '"udp://0.0.0.0:5000"', '"udp://0.0.0.0:auto"'),
    *('"udp://239.1.2.3:5000"', '"udp://[::]:5000"', '"udp://[ff02::1]:1"', '"udp://[fe80::1%25lo]:1"', '"udp://h:1"'),
    *('"srt://h:1"', '"srt://0.0.0.0:9000"', '"srt://[::1]:9000"', '"srt://h:1?mode=listener"', '"srt://239.0.0.1:1"'),
    *('"rtmp://h/live"', '"rtmps://h:443/a/b?c"', '"rtmp://u:p@h/live"', '"rtsp://h/x"', '"rtsp://u:p@h:8554/x"'),
    *('"rtsps://h/x"', '"http://h/x.m3u8"', '"https://h/x.m3u8?t=1"', '"https://h/x"', '"udp://192.0.2.1:70000"'),
    *('"udp://192.0.2.1:"', '"udp://:5000"', '"udp://"', '"srt://-h:1"', '"srt://h..x:1"', '"srt://xn--a:1"'),
    *('"0.0.0.0:8554"', '"127.0.0.1:1"', '"5000-5100"', '"5100-5000"', '"239.192.0.0/16"', '"239.192.0.1/16"'),
)
NAMES = (
    *("description", "enabled", "relay", "url", "limits", "memory", "cpu", "tasks", "interface", "source", "mode"),
    *("latency", "ttl", "tls_verify", "transport", "allow_visible_password", "credential", "passphrase", "key"),
    *("streamid", "user", "password", "removed", "stall_timeout", "on_failure", "on_recovery", "delay", "max_outputs"),
    *("input_ports", "progress_port", "groups", "port", "rtsp", "rtmp", "srt", "hls", "webrtc", "webrtc_media", "api"),
    *("desciption", "pasphrase", "x", '"quoted key"', "a.b", "ключ", "x" * 300),
)
_PAIR = re.compile(rb"^(\s*)([\w.\"'-]+)(\s*=\s*)(.*)$")


class Mutator:
    """Makes new texts out of old ones."""

    def __init__(self, dice: Random) -> None:
        """Take the source of all chance."""
        self._dice = dice
        self._ways: tuple[Callable[[bytes, Sequence[bytes]], bytes], ...] = (
            self._token,
            self._token,
            self._byte,
            self._cut,
            self._drop_line,
            self._move_line,
            self._copy_line,
            self._value,
            self._value,
            self._value,
            self._name,
            self._pair,
            self._pair,
            self._splice,
            self._splice,
            self._repeat,
        )

    def mutated(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        """Return another text; what is spliced in comes from the others."""
        dice = self._dice
        for _ in range(min(12, 1 + int(dice.expovariate(0.5)))):
            raw = dice.choice(self._ways)(raw, others)[:LARGEST]
        return raw

    def _at(self, raw: bytes) -> int:
        return self._dice.randint(0, len(raw))

    def _token(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        del others
        start = self._at(raw)
        end = min(len(raw), start + self._dice.choice((0, 0, 0, 1, 2, 8)))
        return raw[:start] + self._dice.choice(TOKENS).encode() + raw[end:]

    def _byte(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        del others
        start = self._at(raw)
        return raw[:start] + bytes([self._dice.randrange(256)]) + raw[start + self._dice.randrange(2) :]

    def _cut(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        del others
        start = self._at(raw)
        return raw[:start] + raw[start + self._dice.randint(1, 40) :]

    def _lines(self, raw: bytes) -> list[bytes]:
        return raw.split(b"\n")

    def _drop_line(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        del others
        lines = self._lines(raw)
        del lines[self._dice.randrange(len(lines))]
        return b"\n".join(lines)

    def _move_line(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        del others
        lines = self._lines(raw)
        lines.insert(self._dice.randrange(len(lines)), lines.pop(self._dice.randrange(len(lines))))
        return b"\n".join(lines)

    def _copy_line(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        lines = self._lines(raw)
        source = self._lines(self._dice.choice(others)) if others and self._dice.random() < 0.7 else lines
        lines.insert(self._dice.randint(0, len(lines)), self._dice.choice(source))
        return b"\n".join(lines)

    def _swap(self, raw: bytes, change: Callable[[re.Match[bytes]], bytes]) -> bytes:
        """Return the text with one of its `key = value` lines changed, if it has any."""
        lines = self._lines(raw)
        pairs = [(number, match) for number, line in enumerate(lines) if (match := _PAIR.match(line))]
        if pairs:
            number, match = self._dice.choice(pairs)
            lines[number] = change(match)
        return b"\n".join(lines)

    def _value(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        del others
        value = self._dice.choice(VALUES).encode()
        return self._swap(raw, lambda pair: pair[1] + pair[2] + pair[3] + value)

    def _name(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        del others
        name = self._dice.choice(NAMES).encode()
        return self._swap(raw, lambda pair: pair[1] + name + pair[3] + pair[4])

    def _pair(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        del others
        lines = self._lines(raw)
        pair = f"{self._dice.choice(NAMES)} = {self._dice.choice(VALUES)}".encode()
        lines.insert(self._dice.randint(0, len(lines)), pair)
        return b"\n".join(lines)

    def _splice(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        if not others:
            return raw
        other = self._lines(self._dice.choice(others))
        lines = self._lines(raw)
        begin = self._dice.randrange(len(other))
        at = self._dice.randint(0, len(lines))
        taken = other[begin : begin + self._dice.randint(1, 8)]
        return b"\n".join([*lines[:at], *taken, *lines[at + self._dice.choice((0, 0, len(taken))) :]])

    def _repeat(self, raw: bytes, others: Sequence[bytes]) -> bytes:
        del others
        start = self._at(raw)
        piece = raw[start : start + self._dice.randint(1, 30)]
        times = self._dice.choice((2, 3, 20, 200)) if self._dice.random() < 0.97 else 4000
        return raw[:start] + piece * times + raw[start:]
