"""The file that carries the secrets of one unit to its FFmpeg.

systemd puts it where only the unit can read it (LoadCredential=). An output reads it as a preset (`-fpre FILE`). An
input cannot: there the file is a playlist of one entry, whose address has the passphrase in it (see `Form.PLAYLIST`).
srt-live-transmit reads no file at all: the helper that becomes it does (see streamd.plan.srt).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from streamd.route.model import Credential

LONGEST_LINE: Final = 900
"""Bytes; FFmpeg cuts the lines of a preset at 1,000 and those of a playlist at 1,024, without a word."""
PASSPHRASE_LENGTHS: Final = (10, 79)
"""What SRT takes, in bytes."""


class Form(Enum):
    """How a line's value is written."""

    OPTION = "option"
    """`option=value`, the value as it is."""
    DICTIONARY = "dictionary"
    """`option=value`, where option is `format_opts=KEY`: the value is escaped as FFmpeg's dictionaries want it."""
    PLAYLIST = "playlist"
    """`option=value` as a playlist's address: option is the address up to the `=` of its last parameter."""
    ARGUMENT = "argument"
    """`option=value` as it will stand in an address that is an argument of srt-live-transmit."""


@dataclass(frozen=True, slots=True)
class PresetLine:
    """One option with its value, or with the credential that holds the value."""

    option: str
    value: str | Credential
    form: Form = Form.OPTION


@dataclass(frozen=True, slots=True)
class Preset:
    """The text of the file, or what prevents it; never both."""

    text: str = ""
    """Contains secrets."""
    problem: str = ""
    """A few words for a person, such as `credential "venue" must not contain a line end`; contains no secret."""


def render_preset(lines: Sequence[PresetLine], secrets: Mapping[str, str]) -> Preset:
    """Return the file for these lines. `secrets`: the secret of every credential that they name."""
    rendered: list[str] = []
    for line in lines:
        if isinstance(line.value, Credential):
            whose = f'credential "{line.value.name}"'
            if line.value.name not in secrets:
                return Preset(problem=f"{whose} is missing")
            value = secrets[line.value.name]
        else:
            whose, value = _last_key(line.option), line.value
        if fault := _fault(line, value):
            return Preset(problem=f"{whose} {fault}")
        text = f"{line.option}={_escaped(value) if line.form is Form.DICTIONARY else value}"
        if len(text.encode()) > LONGEST_LINE:
            return Preset(problem=f"{whose} is too long")
        rendered.append(text)
    if any(line.form is Form.PLAYLIST for line in lines):
        rendered = ["#EXTM3U", "#EXTINF:1,", *rendered, "#EXT-X-ENDLIST"]
    return Preset(text="".join(f"{line}\n" for line in rendered))


def _last_key(option: str) -> str:
    """Return the name that matters of `passphrase`, `format_opts=passphrase` and `srt://…&passphrase`."""
    return option.rpartition("=")[2].rpartition("&")[2]


def _fault(line: PresetLine, value: str) -> str:
    if not value:
        return "is empty"
    if "\n" in value or "\r" in value:
        return "must not contain a line end"
    if "\0" in value:
        return "must not contain a NUL character"
    if _last_key(line.option) == "passphrase":
        shortest, longest = PASSPHRASE_LENGTHS
        if not shortest <= len(value.encode()) <= longest:
            return f"must have {shortest} to {longest} bytes to be an srt passphrase"
        # What comes of them there differs between FFmpeg 5.1 and 7.1.
        if line.form is Form.PLAYLIST and any(char in value for char in "&+%"):
            return "must not contain & + or % to be the passphrase of an input"
    if line.form is Form.ARGUMENT and any(char in value for char in "&%"):
        return "must not contain & or % to be used with srt-live-transmit"
    return ""


def _escaped(value: str) -> str:
    return "".join(f"\\{char}" if char in "\\':= \t" else char for char in value)
