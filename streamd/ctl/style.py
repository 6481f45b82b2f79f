"""How text goes to a terminal or elsewhere: colours, symbols, width. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_RESET: Final = "\033[0m"
_CODES: Final = {"green": "\033[32m", "yellow": "\033[33m", "red": "\033[31m", "dim": "\033[2m", "bold": "\033[1m"}
_COLOURS: Final = {
    "running": "green",
    "starting": "yellow",
    "waiting": "green",
    "starved": "yellow",
    "stalled": "red",
    "backoff": "yellow",
    "stopping": "yellow",
    "stopped": "dim",
    "disabled": "dim",
    "blocked": "red",
    "failed": "red",
}
_SYMBOLS: Final = {"stopped": "○", "disabled": "○", "stalled": "×", "blocked": "×", "failed": "×"}  # noqa: RUF001 (systemctl's)
_PLAIN: Final = str.maketrans({"●": "*", "○": "-", "×": "x", "…": "~", "├": "|", "└": "`", "─": "-"})  # noqa: RUF001
_NARROWEST: Final = 8
"""Characters that a column keeps however narrow the terminal is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What the reader of the output can show."""

    colour: bool = False
    unicode: bool = True
    width: int | None = None
    """Columns; None where lines may be of any length."""

    def paint(self, text: str, colour: str) -> str:
        """Return text in a colour or, by the name of a state, in that state's colour."""
        code = _CODES.get(_COLOURS.get(colour, colour))
        return f"{code}{text}{_RESET}" if self.colour and code else text

    def symbol(self, state: str) -> str:
        """Return the symbol of a state, in its colour."""
        return self.paint(self.draw(_SYMBOLS.get(state, "●")), state)

    def draw(self, text: str) -> str:
        """Return lines and symbols, or what stands for them where there is no Unicode."""
        return text if self.unicode else text.translate(_PLAIN)

    def shorten(self, text: str, width: int) -> str:
        """Return text cut to a width, the cut shown."""
        return text if len(text) <= width else text[: max(0, width - 1)] + self.draw("…")

    def fit(self, text: str, used: int = 0) -> str:
        """Return text cut to what `used` columns leave of the line."""
        return text if self.width is None else self.shorten(text, max(_NARROWEST, self.width - used))


def plain(text: str) -> str:
    """Return text without characters that would command a terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def table(rows: Sequence[Sequence[str]], style: Style, indent: int = 0) -> list[list[str]]:
    """Return the cells of a table padded to equal widths; where the line is too short, the widest columns are cut."""
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max((len(row[column]) for row in cells), default=0) for column in range(len(cells[0]))] if cells else []
    if style.width is not None:
        room = style.width - indent - 2 * (len(widths) - 1)
        while sum(widths) > room and max(widths) > _NARROWEST:
            widths[widths.index(max(widths))] -= 1
    return [[style.shorten(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]


def span(microseconds: int) -> str:
    """Return a length of time in at most two units, such as `3min 20s`."""
    seconds = max(0, microseconds // 1_000_000)
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def size(number: int) -> str:
    """Return a number of bytes in at most six characters, such as `45.2M`."""
    return f"{number}B" if number < 1024 else _scaled(number, 1024)


def rate(bits: int) -> str:
    """Return bit/s in at most six characters, such as `5.2M`."""
    return str(bits) if bits < 1000 else _scaled(bits, 1000)


def bitrate(bits: int) -> str:
    """Return bit/s with the unit, such as `5.2 Mbit/s`."""
    text = rate(bits)
    return f"{text} bit/s" if text.isdigit() else f"{text[:-1]} {text[-1].replace('K', 'k')}bit/s"


def _scaled(number: int, step: int) -> str:
    value = float(number)
    for unit in "KMGT":
        value /= step
        if value < 999.95 or unit == "T":
            return f"{value:.1f}{unit}"
    raise AssertionError


def count(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 route` or `3 routes`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
