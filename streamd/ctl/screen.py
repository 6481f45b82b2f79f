"""The terminal as a screen that is drawn over and over, and its keys."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

_ENTER: Final = "\033[?1049h\033[?25l\033[?7l"
"""The other screen, no cursor, no line breaks."""
_LEAVE: Final = "\033[?7h\033[?25h\033[?1049l"
_NAMES: Final = {
    sequence.encode(): name
    for name, sequences in {
        "up": ("\033[A", "\033OA"),
        "down": ("\033[B", "\033OB"),
        "page-up": ("\033[5~",),
        "page-down": ("\033[6~",),
        "home": ("\033[H", "\033OH", "\033[1~"),
        "end": ("\033[F", "\033OF", "\033[4~"),
    }.items()
    for sequence in sequences
}


class Screen:
    """Draws on standard output, reads keys from standard input."""

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines and nothing else, in one write, so that nothing flickers."""
        # The cursor stays in the last line: a line break there would move everything up.
        text = "\r\n".join(f"{line}\033[K" for line in lines)
        sys.stdout.write(f"\033[H{text}\033[J")
        sys.stdout.flush()

    def size(self) -> tuple[int, int]:
        """Return columns and lines."""
        return shutil.get_terminal_size()

    def keys(self) -> list[str]:
        """Return the keys pressed since the last time; `q` when the terminal is gone."""
        try:
            data = os.read(sys.stdin.fileno(), 1024)
        except OSError:
            data = b""
        return split_keys(data) if data else ["q"]

    def suspend(self) -> None:
        """Give the terminal back, stop as Ctrl-Z stops, and take it again."""
        saved = termios.tcgetattr(sys.stdin)
        self._leave()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._enter(saved)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Have the terminal as a screen; it is as it was afterwards, whatever happens."""
        self._before = termios.tcgetattr(sys.stdin)
        try:
            tty.setcbreak(sys.stdin, termios.TCSANOW)
            self._enter(termios.tcgetattr(sys.stdin))
            yield
        finally:
            self._leave()

    @staticmethod
    def _enter(mode: list[object]) -> None:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, mode)  # type: ignore[arg-type]
        sys.stdout.write(_ENTER)
        sys.stdout.flush()

    def _leave(self) -> None:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
        termios.tcsetattr(sys.stdin, termios.TCSANOW, self._before)


def split_keys(data: bytes) -> list[str]:
    """Return what was typed: characters, and the names of keys that send several bytes; others are left out."""
    found = []
    while data:
        sequence = next((known for known in _NAMES if data.startswith(known)), None)
        if sequence is not None:
            found.append(_NAMES[sequence])
            data = data[len(sequence) :]
        elif data.startswith((b"\033[", b"\033O")):
            end = next((at for at in range(2, len(data)) if 0x40 <= data[at] <= 0x7E), len(data))
            data = data[end + 1 :]
        else:
            if data[0] != 0x1B:
                found.append(chr(data[0]))
            data = data[1:]
    return found
